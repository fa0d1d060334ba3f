//! Which files of logs a device has, as it says itself.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use robo_wire::log_files::{LogFiles, LogFilesOpen, MAX_LOG_FILES_ANSWER};
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::Open;
use tokio::time::timeout;

use super::ApiState;
use super::extract::{Device, Project};
use super::problem::Refusal;
use super::tail::not_opened;
use crate::streams::{Unanswered, answer};

/// How long a device may take: it looks at some thousand files at most.
const ANSWER: Duration = Duration::from_secs(15);

/// Tells the files of logs on a device: of its agent, of its backup of logs, and of its instances.
#[utoipa::path(get, path = "/v1/projects/{project}/devices/{name}/log-files", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = LogFiles), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the device cannot, and says why; or its agent is too old"),
        (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn log_files(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
) -> Result<Json<LogFiles>, Refusal> {
    let device = state.service.record_of(&project, &name).await?;
    let refused = |reason: String| {
        Refusal::new(ErrorCode::Conflict, format!("device `{}` does not tell its log files", device.name))
            .detail(reason)
    };
    let ask = async {
        let opened = state.links.open(&device.id, Open::LogFiles(LogFilesOpen {})).await;
        let stream = opened.map_err(|error| not_opened(&device.name, error))?;
        answer(stream, MAX_LOG_FILES_ANSWER).await.map_err(|why| match why {
            Unanswered::Refused(reason) | Unanswered::Broken(reason) => refused(reason),
        })
    };
    let late = || refused(format!("it does not answer within {} s", ANSWER.as_secs()));
    let said = timeout(ANSWER, ask).await.map_err(|_| late())??;
    serde_json::from_slice(&said).map(Json).map_err(|error| refused(format!("what it says cannot be read: {error}")))
}
