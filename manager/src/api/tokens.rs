//! Tokens with which devices enrol.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_wire::api::{EnrollTokenView, TokenRequest, TokenView};
use robo_wire::problem::Problem;

use super::ApiState;
use super::auth::Caller;
use super::extract::{Json, Project, TokenId};
use super::problem::Refusal;

/// Lists the enrolment tokens; their secrets are told when they are made and never again.
#[utoipa::path(get, path = "/v1/projects/{project}/tokens", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), responses((status = 200, body = Vec<EnrollTokenView>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Project(project): Project,
) -> Result<Answer<Vec<EnrollTokenView>>, Refusal> {
    Ok(Answer(state.service.enroll_tokens(&project).await?))
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/v1/projects/{project}/tokens", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), request_body = TokenRequest,
    responses((status = 200, body = TokenView), (status = 400, body = Problem)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Project(project): Project,
    Json(request): Json<TokenRequest>,
) -> Result<Answer<TokenView>, Refusal> {
    Ok(Answer(state.service.create_token(&project, request, &by).await?))
}

/// Revokes an enrolment token: it lets nobody in any more. Devices that came with it stay.
#[utoipa::path(delete, path = "/v1/projects/{project}/tokens/{id}", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = EnrollTokenView), (status = 404, body = Problem)))]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    Project(project): Project,
    TokenId(id): TokenId,
) -> Result<Answer<EnrollTokenView>, Refusal> {
    Ok(Answer(state.service.revoke_token(&project, &id).await?))
}
