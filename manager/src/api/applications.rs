//! Applications: plan, apply, status, overrides, deletion.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_model::name::ApplicationName;
use robo_wire::api::{Accepted, ApplicationView, Applied, ApplyRequest, PlanRequest, Status, WantedRequest};
use robo_wire::plan::Plan;
use robo_wire::problem::Problem;
use serde::Deserialize;

use super::ApiState;
use super::auth::Caller;
use super::extract::{Application, Json, Project, Query};
use super::problem::Refusal;

/// Says what an apply would do.
#[utoipa::path(post, path = "/v1/projects/{project}/plan", tag = "applications", security(("token" = [])),
    params(("project" = String, Path)), request_body = PlanRequest,
    responses((status = 200, body = Plan), (status = 409, body = Problem, description = "files are missing"),
        (status = 422, body = Problem, description = "the graph has errors, or cannot be planned")))]
pub(super) async fn plan(
    State(state): State<ApiState>,
    Project(project): Project,
    Json(request): Json<PlanRequest>,
) -> Result<Answer<Plan>, Refusal> {
    Ok(Answer(state.service.plan(&project, request).await?))
}

/// Applies, when the plan that was agreed to still comes out.
#[utoipa::path(post, path = "/v1/projects/{project}/apply", tag = "applications", security(("token" = [])),
    params(("project" = String, Path)), request_body = ApplyRequest,
    responses((status = 200, body = Applied),
        (status = 409, body = Problem, description = "the plan has moved, or files are missing"),
        (status = 422, body = Problem, description = "the graph has errors, or cannot be planned")))]
pub(super) async fn apply(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Project(project): Project,
    Json(request): Json<ApplyRequest>,
) -> Result<Answer<Applied>, Refusal> {
    Ok(Answer(state.service.apply(&project, request, &by).await?))
}

/// Lists the applications, by name.
#[utoipa::path(get, path = "/v1/projects/{project}/applications", tag = "applications", security(("token" = [])),
    params(("project" = String, Path)), responses((status = 200, body = Vec<ApplicationView>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Project(project): Project,
) -> Result<Answer<Vec<ApplicationView>>, Refusal> {
    Ok(Answer(state.service.applications(&project).await?))
}

/// How to delete.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    /// Also when other applications import from it; these are bound to it no longer.
    #[serde(default)]
    force: bool,
}

/// Deletes an application; all its instances are stopped and removed.
#[utoipa::path(delete, path = "/v1/projects/{project}/applications/{application}", tag = "applications",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path), DeleteQuery),
    responses((status = 200, body = Accepted), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "other applications import from it")))]
pub(super) async fn delete(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Query(query): Query<DeleteQuery>,
) -> Result<Answer<Accepted>, Refusal> {
    Ok(Answer(state.service.delete(&project, &name, query.force).await?))
}

/// Starts, stops or undeploys an instance with all below it, or everything.
#[utoipa::path(post, path = "/v1/projects/{project}/applications/{application}/wanted", tag = "applications",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path)),
    request_body = WantedRequest, responses((status = 200, body = Accepted), (status = 404, body = Problem)))]
pub(super) async fn wanted(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Json(request): Json<WantedRequest>,
) -> Result<Answer<Accepted>, Refusal> {
    Ok(Answer(state.service.wanted(&project, &name, request).await?))
}

/// Which applications.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusQuery {
    /// Only this one.
    #[param(value_type = Option<String>)]
    application: Option<ApplicationName>,
    /// Looks twice, and takes an instance for settled only when its device, too, knows what others offer by now, and has
    /// told of itself since.
    #[serde(default)]
    in_step: bool,
}

/// Shows what should be, and what is.
#[utoipa::path(get, path = "/v1/projects/{project}/status", tag = "applications", security(("token" = [])),
    params(("project" = String, Path), StatusQuery),
    responses((status = 200, body = Status), (status = 404, body = Problem)))]
pub(super) async fn status(
    State(state): State<ApiState>,
    Project(project): Project,
    Query(query): Query<StatusQuery>,
) -> Result<Answer<Status>, Refusal> {
    let application = query.application.as_ref();
    let status = match query.in_step {
        true => state.service.status_in_step(state.links.as_ref(), &project, application).await?,
        false => state.service.status(&project, application).await?,
    };
    Ok(Answer(status))
}
