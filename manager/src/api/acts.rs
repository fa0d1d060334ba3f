//! What is done once on request.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_wire::api::{ActAnswer, ActRequest};
use robo_wire::problem::Problem;

use super::ApiState;
use super::auth::Caller;
use super::extract::{Application, Json, Project};
use super::problem::Refusal;

/// Cancels running steps, or tries again what failed or is held. The answer comes when each device that has some of the
/// instances has its verdict; a device that does nothing because there is nothing to do answers `ok`.
#[utoipa::path(post, path = "/v1/projects/{project}/applications/{application}/act", tag = "applications",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path)),
    request_body = ActRequest,
    responses((status = 200, body = ActAnswer),
        (status = 404, body = Problem, description = "the application, the instance or the component is unknown")))]
pub(super) async fn act(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Project(project): Project,
    Application(name): Application,
    Json(request): Json<ActRequest>,
) -> Result<Answer<ActAnswer>, Refusal> {
    Ok(Answer(state.service.act(&*state.links, &project, &name, &request, &by).await?))
}
