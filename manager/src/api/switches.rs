//! What is switched off on devices.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_model::access::Verb;
use robo_wire::api::AuditOutcome;
use robo_wire::problem::Problem;
use robo_wire::stream::Targets;
use robo_wire::switch::{SwitchRequest, SwitchResult};

use super::ApiState;
use super::auth::{Caller, May};
use super::extract::{Json, Project};
use super::problem::Refusal;

/// What to do about what is switched off.
pub(super) const SWITCH_ON: &str = "who may manage devices switches it on again: `robo device switch`";

/// Switches parts of devices' agents off and on: a result for each device. What is under way there ends.
#[utoipa::path(post, path = "/v1/projects/{project}/switches", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), request_body = SwitchRequest,
    responses((status = 200, body = Vec<SwitchResult>), (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn switch(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Json(request): Json<SwitchRequest>,
) -> Result<Answer<Vec<SwitchResult>>, Refusal> {
    if request.set.is_empty() {
        return Err(Refusal::bad_request("nothing is to be switched: `set` is empty"));
    }
    let words: Vec<String> =
        request.set.iter().map(|(name, on)| format!("{name}={}", if *on { "on" } else { "off" })).collect();
    let what = format!("switch {}", words.join(" "));
    let asked = match &request.targets {
        Targets::Names(names) => names.join(" "),
        Targets::Selector(selector) => format!("those with {selector}"),
        Targets::All => "all".to_owned(),
    };
    // Before it is done; events tell what came of it.
    let thing = format!("devices: {asked}");
    state.service.audit(&may.actor, (Verb::ManageDevices.name(), &thing), AuditOutcome::Allowed, &what).await?;
    Ok(Answer(state.service.switch_devices(&project, request, &by).await?))
}
