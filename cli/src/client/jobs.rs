//! Calls about jobs.

use reqwest::Method;
use robo_model::name::JobId;
use robo_wire::job::{JobRequest, JobView};

use super::{ByteStream, Client, ClientError};

impl Client {
    /// All jobs that are known, newest first, without their targets.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobView>, ClientError> {
        self.json(self.request(Method::GET, "jobs")).await
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
