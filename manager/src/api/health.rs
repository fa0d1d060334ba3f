//! How devices are, as they say themselves; of one that does not answer, what it said last.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use robo_model::name::DeviceId;
use robo_wire::health::{HealthOpen, HealthReport, HealthView, MAX_HEALTH};
use robo_wire::problem::Problem;
use robo_wire::stream::Open;
use tokio::time::timeout;

use super::ApiState;
use super::extract::{Device, Project};
use super::problem::Refusal;
use crate::links::OpenError;
use crate::service::{ServiceError, now};
use crate::streams::{Unanswered, answer};

/// How long a device may take: its doctor asks this manager, and gives up after ten seconds.
const ANSWER: Duration = Duration::from_secs(15);

/// Asks a device how it is: what its doctor finds, and how the parts of its agent are. Of one that does not answer it is
/// what it said when it was asked last.
#[utoipa::path(get, path = "/v1/projects/{project}/devices/{name}/health", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = HealthView), (status = 404, body = Problem)))]
pub(super) async fn health(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
) -> Result<Json<HealthView>, Refusal> {
    let device = state.service.record_of(&project, &name).await?;
    let asked = timeout(ANSWER, ask(&state, &device.id)).await;
    let asked = asked.unwrap_or_else(|_| Err(format!("it does not answer within {} s", ANSWER.as_secs())));
    let store = state.service.store();
    let view = match asked {
        Ok(report) => {
            let at = now();
            store.keep_health(&device.id, &report, at).await.map_err(ServiceError::from)?;
            HealthView { live: true, why: String::new(), at: Some(at), report: Some(report) }
        }
        Err(why) => {
            let last = store.health(&device.id).await.map_err(ServiceError::from)?;
            let (report, at) = last.unzip();
            HealthView { live: false, why, at, report }
        }
    };
    Ok(Json(view))
}

/// What the device says, or why it says nothing.
async fn ask(state: &ApiState, device: &DeviceId) -> Result<HealthReport, String> {
    let stream = state.links.open(device, Open::Health(HealthOpen {})).await.map_err(|error| match error {
        OpenError::Offline => "it is offline".to_owned(),
        OpenError::Off(reason) => reason,
        OpenError::Failed(reason) => format!("its link failed: {reason}"),
    })?;
    let said = answer(stream, MAX_HEALTH).await.map_err(|why| match why {
        Unanswered::Refused(reason) => format!("it cannot tell: {reason}"),
        Unanswered::Broken(reason) => reason,
    })?;
    serde_json::from_slice(&said).map_err(|error| format!("what it says cannot be read: {error}"))
}
