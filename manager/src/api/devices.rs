//! Devices.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use http::HeaderValue;
use robo_model::access::Verb;
use robo_model::name::DeviceName;
use robo_wire::api::{
    Accepted, AuditOutcome, DeviceChange, DeviceView, LabelResult, LabelsRequest, MoveRequest, NOTICE_HEADER,
    RenameRequest, StandingRequest,
};
use robo_wire::problem::Problem;
use serde::Deserialize;

use super::ApiState;
use super::auth::{Caller, May};
use super::extract::{Device, Json, Project, Query};
use super::problem::Refusal;
use crate::service::{Actor, DeviceFilter};

/// Which devices are listed.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Those whose labels match, as in `site=tokyo,gpu`.
    selector: Option<String>,
    /// Those of which this is so, as in `state = online and memory >= 8GiB`.
    r#where: Option<String>,
    /// Those behind this name.
    #[param(value_type = Option<String>)]
    after: Option<DeviceName>,
    /// So many at most: 1 to 1,000. All where it is left out.
    limit: Option<usize>,
}

/// Lists the devices, by name: those that whoever asks may see. Where a question asks for what no device ever tells, the
/// answer is empty, and its header `robo-notice` says so.
#[utoipa::path(get, path = "/v1/projects/{project}/devices", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ListQuery),
    responses((status = 200, body = Vec<DeviceView>), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Project(project): Project,
    Query(query): Query<ListQuery>,
) -> Result<Response, Refusal> {
    let ListQuery { selector, r#where, after, limit } = query;
    let filter = DeviceFilter::read(selector.as_deref(), r#where.as_deref(), after, limit)?;
    let sees = |device: &DeviceView| access.sees(&project, &device.labels);
    let mut answer = Answer(state.service.devices_where(&project, &filter, sees).await?).into_response();
    if let Some(notice) = filter.notice().and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.headers_mut().insert(NOTICE_HEADER, notice);
    }
    Ok(answer)
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

/// Changes a device's labels.
#[utoipa::path(patch, path = "/v1/projects/{project}/devices/{name}", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)), request_body = DeviceChange,
    responses((status = 200, body = DeviceView), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn change(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
    Json(change): Json<DeviceChange>,
) -> Result<Answer<DeviceView>, Refusal> {
    Ok(Answer(state.service.change_device(&project, &name, change).await?))
}

/// How a device is removed.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// Even when it is the host of an application, which then has none.
    #[serde(default)]
    force: bool,
}

/// Removes a device; it has to be enrolled to come back. Answers with the hosts that have no device now.
#[utoipa::path(delete, path = "/v1/projects/{project}/devices/{name}", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path), RemoveQuery),
    responses((status = 200, body = Accepted), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is the host of an application")))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
    Query(query): Query<RemoveQuery>,
) -> Result<Answer<Accepted>, Refusal> {
    Ok(Answer(state.service.remove_device(&project, &name, query.force).await?))
}

/// Lets a device in, or shuts it out.
#[utoipa::path(put, path = "/v1/projects/{project}/devices/{name}/standing", tag = "devices",
    security(("token" = [])), params(("project" = String, Path), ("name" = String, Path)),
    request_body = StandingRequest,
    responses((status = 200, body = DeviceView), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn standing(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Project(project): Project,
    Device(name): Device,
    Json(request): Json<StandingRequest>,
) -> Result<Answer<DeviceView>, Refusal> {
    Ok(Answer(state.service.set_standing(&project, &name, request, &by).await?))
}

/// Has a device make itself a new key: at once, or when it comes next.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/rotate-key", tag = "devices",
    security(("token" = [])), params(("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is not let in")))]
pub(super) async fn rotate_key(
    State(state): State<ApiState>,
    Project(project): Project,
    Device(name): Device,
) -> Result<Answer<DeviceView>, Refusal> {
    Ok(Answer(state.service.rotate_key(&project, &name).await?))
}

/// Gives a device another name; it stays the same device, and the old name is free.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/rename", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)), request_body = RenameRequest,
    responses((status = 200, body = DeviceView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the name is taken, or applications name the device")))]
pub(super) async fn rename(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Project(project): Project,
    Device(name): Device,
    Json(request): Json<RenameRequest>,
) -> Result<Answer<DeviceView>, Refusal> {
    Ok(Answer(state.service.rename_device(&project, &name, &request.name, &by).await?))
}

/// Changes labels of many devices: a result for each.
#[utoipa::path(post, path = "/v1/projects/{project}/labels", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), request_body = LabelsRequest,
    responses((status = 200, body = Vec<LabelResult>), (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn label(
    State(state): State<ApiState>,
    Project(project): Project,
    Json(request): Json<LabelsRequest>,
) -> Result<Answer<Vec<LabelResult>>, Refusal> {
    Ok(Answer(state.service.label_devices(&project, request).await?))
}

/// Takes a device to another project: the same device with the same key, connected or not.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/move", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)), request_body = MoveRequest,
    responses((status = 200, body = DeviceView), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the name is taken there, or something is on the device")))]
pub(super) async fn move_to(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    Json(request): Json<MoveRequest>,
) -> Result<Answer<DeviceView>, Refusal> {
    let to = request.project;
    may.check_whole(Verb::ManageDevices, &to)?;
    let moved = state.service.relocate_device(&project, &name, &to, &by).await?;
    if to != project {
        // The other project's log has a line, too.
        let actor = Actor { project: Some(to.to_string()), ..(*may.actor).clone() };
        let thing = format!("device {name} from project `{project}`");
        state.service.audit(&actor, (Verb::ManageDevices.name(), &thing), AuditOutcome::Allowed, "").await?;
    }
    Ok(Answer(moved))
}
