//! Calls about jobs.

use reqwest::Method;
use robo_model::name::{DeviceName, JobId, UserName};
use robo_model::quantity::UnixMillis;
use robo_wire::job::{JobRequest, JobState, JobView};
use serde::Serialize;

use super::{ByteStream, Client, ClientError};

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct JobQuery {
    /// Those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<JobState>,
    /// Those that this user ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<UserName>,
    /// Those on this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<DeviceName>,
    /// Those on devices whose labels match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) selector: Option<String>,
    /// Those that were ordered since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<UnixMillis>,
    /// The newest so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
}

impl Client {
    /// The jobs that are known and all of what is asked for, newest first, without their targets.
    pub(crate) async fn jobs(&self, query: &JobQuery) -> Result<Vec<JobView>, ClientError> {
        self.json(self.request(Method::GET, "jobs").query(query)).await
    }

    /// Begins a job.
    pub(crate) async fn begin_job(&self, request: &JobRequest) -> Result<JobView, ClientError> {
        self.json(self.request(Method::POST, "jobs").json(request)).await
    }

    /// One job, with its targets.
    pub(crate) async fn job(&self, id: &JobId) -> Result<JobView, ClientError> {
        self.json(self.request(Method::GET, &format!("jobs/{id}"))).await
    }

    /// Cancels a job.
    pub(crate) async fn cancel_job(&self, id: &JobId) -> Result<JobView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("jobs/{id}"))).await
    }

    /// The output of a job, of one device or of all; with `follow` until every target has its verdict.
    pub(crate) async fn job_output(
        &self,
        id: &JobId,
        device: Option<&str>,
        follow: bool,
    ) -> Result<ByteStream, ClientError> {
        let query = (device.map(|device| ("device", device)), ("follow", if follow { "true" } else { "false" }));
        let query: Vec<(&str, &str)> = query.0.into_iter().chain([query.1]).collect();
        self.framed_get(&format!("jobs/{id}/output"), &query).await
    }
}
