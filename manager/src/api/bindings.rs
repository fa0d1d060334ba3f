//! Which applications an application imports from.

use axum::Json as Answer;
use axum::extract::State;
use robo_wire::api::{Accepted, BindRequest, BindingView};
use robo_wire::problem::Problem;

use super::ApiState;
use super::extract::{Application, Json, Prefix, Project};
use super::problem::Refusal;

/// Lists the prefixes that an application imports from others, each with the applications that it is bound to and
/// those that it could be bound to.
#[utoipa::path(get, path = "/v1/projects/{project}/applications/{application}/bindings", tag = "applications",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path)),
    responses((status = 200, body = Vec<BindingView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
) -> Result<Answer<Vec<BindingView>>, Refusal> {
    Ok(Answer(state.service.bindings(&project, &name).await?))
}

/// Replaces all bindings of a prefix; the answer names the instances that import from it.
#[utoipa::path(put, path = "/v1/projects/{project}/applications/{application}/bindings/{prefix}",
    tag = "applications", security(("token" = [])),
    params(("project" = String, Path), ("application" = String, Path), ("prefix" = String, Path)),
    request_body = BindRequest,
    responses((status = 200, body = Accepted),
        (status = 400, body = Problem, description = "one of the applications does not offer the prefix"),
        (status = 404, body = Problem, description = "an application is unknown, or the prefix is not imported")))]
pub(super) async fn bind(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Prefix(prefix): Prefix,
    Json(request): Json<BindRequest>,
) -> Result<Answer<Accepted>, Refusal> {
    Ok(Answer(state.service.bind(&project, &name, &prefix, request).await?))
}
