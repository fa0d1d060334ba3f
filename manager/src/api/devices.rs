//! Devices, and tokens to enrol them.

use axum::Json as Answer;
use axum::extract::State;
use robo_wire::api::{DeviceView, TokenRequest, TokenView};
use robo_wire::problem::Problem;

use super::ApiState;
use super::extract::{Device, Json, Project};
use super::problem::Refusal;

/// Lists the devices, by name.
#[utoipa::path(get, path = "/v1/projects/{project}/devices", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)),
    responses((status = 200, body = Vec<DeviceView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Project(project): Project,
) -> Result<Answer<Vec<DeviceView>>, Refusal> {
    Ok(Answer(state.service.devices(&project).await?))
}

/// Shows one device.
#[utoipa::path(get, path = "/v1/projects/{project}/devices/{name}", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem)))]
pub(super) async fn inspect(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
) -> Result<Answer<DeviceView>, Refusal> {
    Ok(Answer(state.service.device(&project, &name).await?))
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/v1/projects/{project}/tokens", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), request_body = TokenRequest,
    responses((status = 200, body = TokenView), (status = 400, body = Problem)))]
pub(super) async fn create_token(
    State(state): State<ApiState>,
    Project(project): Project,
    Json(request): Json<TokenRequest>,
) -> Result<Answer<TokenView>, Refusal> {
    Ok(Answer(state.service.create_token(&project, request).await?))
}
