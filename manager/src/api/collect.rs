//! What devices collect for who looks for a fault. The manager passes the archive on and keeps nothing of it.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use robo_model::access::Verb;
use robo_wire::api::AuditOutcome;
use robo_wire::collect::CollectOpen;
use robo_wire::problem::Problem;
use robo_wire::stream::{Open, Verdict};
use serde::Deserialize;

use super::ApiState;
use super::auth::May;
use super::extract::{Device, Project, Query};
use super::problem::Refusal;
use super::tail::begin;

/// What to collect.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectQuery {
    /// Leave out what instances print.
    #[serde(default)]
    without_logs: bool,
}

/// Collects what helps to find a fault on a device. The answer is framed: a `.tar.gz` in pieces of output, and one
/// verdict. An answer without a verdict was cut, and what came of it is of no use: ask again.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/collect", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path), CollectQuery),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 404, body = Problem), (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn collect(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    Query(query): Query<CollectQuery>,
) -> Result<Response, Refusal> {
    let open = CollectOpen { without_logs: query.without_logs };
    let (thing, what) =
        (format!("device {name}"), if open.without_logs { "a bundle without logs" } else { "a bundle" });
    state.service.audit(&may.actor, (Verb::Copy.name(), &thing), AuditOutcome::Allowed, what).await?;
    let device = state.service.record_of(&project, &name).await?;
    begin(&state, &device, Open::Collect(open)).await
}
