//! Users, their tokens, what they may, and projects.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_model::access::{Decision, Thing, Verb};
use robo_model::name::UserName;
use robo_wire::api::{
    AuditOutcome, CanI, GrantRequest, GrantView, Me, NewUserToken, ProjectRequest, ProjectView, QuotaRequest,
    UserRequest, UserTokenRequest, UserTokenView, UserView,
};
use robo_wire::problem::{ErrorCode, Problem};

use super::ApiState;
use super::auth::{Caller, May};
use super::extract::{GrantId, Json, Project, TokenId, User};
use super::problem::Refusal;

/// Says who asks.
#[utoipa::path(get, path = "/v1/auth/me", tag = "access", security(("token" = [])),
    responses((status = 200, body = Me), (status = 401, body = Problem)))]
pub(super) async fn me(Extension(May { access, .. }): Extension<May>) -> Answer<Me> {
    Answer(Me { user: access.user.clone(), token: access.token(), grants: access.grants.clone() })
}

/// Says whether somebody may, and why.
#[utoipa::path(post, path = "/v1/auth/can-i", tag = "access", security(("token" = [])), request_body = CanI,
    responses((status = 200, body = Decision), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn can_i(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Json(asked): Json<CanI>,
) -> Result<Answer<Decision>, Refusal> {
    Ok(Answer(state.service.can_i(&access, &asked).await?))
}

/// Lists the users.
#[utoipa::path(get, path = "/v1/users", tag = "access", security(("token" = [])),
    responses((status = 200, body = Vec<UserView>), (status = 403, body = Problem)))]
pub(super) async fn list(State(state): State<ApiState>) -> Result<Answer<Vec<UserView>>, Refusal> {
    Ok(Answer(state.service.users().await?))
}

/// Makes a user, who may nothing yet.
#[utoipa::path(post, path = "/v1/users", tag = "access", security(("token" = [])), request_body = UserRequest,
    responses((status = 200, body = UserView), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Json(request): Json<UserRequest>,
) -> Result<Answer<UserView>, Refusal> {
    Ok(Answer(state.service.add_user(request, &by).await?))
}

/// Removes a user, with all tokens and roles.
#[utoipa::path(delete, path = "/v1/users/{user}", tag = "access", security(("token" = [])),
    params(("user" = String, Path)),
    responses((status = 200), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn remove(State(state): State<ApiState>, User(user): User) -> Result<(), Refusal> {
    Ok(state.service.remove_user(&user).await?)
}

/// Lists a user's tokens, without their secrets.
#[utoipa::path(get, path = "/v1/users/{user}/tokens", tag = "access", security(("token" = [])),
    params(("user" = String, Path)),
    responses((status = 200, body = Vec<UserTokenView>), (status = 403, body = Problem)))]
pub(super) async fn tokens(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    User(user): User,
) -> Result<Answer<Vec<UserTokenView>>, Refusal> {
    own(&may, &user)?;
    Ok(Answer(state.service.user_tokens(&user).await?))
}

/// Makes a token; its secret is told here and never again.
#[utoipa::path(post, path = "/v1/users/{user}/tokens", tag = "access", security(("token" = [])),
    params(("user" = String, Path)), request_body = UserTokenRequest,
    responses((status = 200, body = NewUserToken), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn make_token(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    User(user): User,
    Json(request): Json<UserTokenRequest>,
) -> Result<Answer<NewUserToken>, Refusal> {
    own(&may, &user)?;
    Ok(Answer(state.service.make_user_token(&may.access, &user, request).await?))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/v1/users/{user}/tokens/{id}", tag = "access", security(("token" = [])),
    params(("user" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = UserTokenView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn revoke_token(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    User(user): User,
    TokenId(id): TokenId,
) -> Result<Answer<UserTokenView>, Refusal> {
    own(&may, &user)?;
    Ok(Answer(state.service.revoke_user_token(&user, &id).await?))
}

/// Lists the roles that users have, as far as whoever asks may give them.
#[utoipa::path(get, path = "/v1/grants", tag = "access", security(("token" = [])),
    responses((status = 200, body = Vec<GrantView>)))]
pub(super) async fn grants(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
) -> Result<Answer<Vec<GrantView>>, Refusal> {
    Ok(Answer(state.service.grants(&access).await?))
}

/// Gives a user a role. The same again changes nothing.
#[utoipa::path(post, path = "/v1/grants", tag = "access", security(("token" = [])), request_body = GrantRequest,
    responses((status = 200, body = GrantView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn grant(
    State(state): State<ApiState>,
    Extension(May { access, actor }): Extension<May>,
    Json(request): Json<GrantRequest>,
) -> Result<Answer<GrantView>, Refusal> {
    let thing = format!("{} to `{}`", request.grant, request.user);
    state.service.audit(&actor, (Verb::Grant.name(), &thing), AuditOutcome::Allowed, "").await?;
    Ok(Answer(state.service.grant(&access, request).await?))
}

/// Takes a role away.
#[utoipa::path(delete, path = "/v1/grants/{id}", tag = "access", security(("token" = [])),
    params(("id" = u64, Path)),
    responses((status = 200, body = GrantView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn take_away(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    GrantId(id): GrantId,
) -> Result<Answer<GrantView>, Refusal> {
    Ok(Answer(state.service.take_away(&access, id).await?))
}

/// Lists the projects of which whoever asks sees anything.
#[utoipa::path(get, path = "/v1/projects", tag = "access", security(("token" = [])),
    responses((status = 200, body = Vec<ProjectView>)))]
pub(super) async fn projects(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
) -> Result<Answer<Vec<ProjectView>>, Refusal> {
    Ok(Answer(state.service.projects(&access).await?))
}

/// Makes a project.
#[utoipa::path(post, path = "/v1/projects", tag = "access", security(("token" = [])), request_body = ProjectRequest,
    responses((status = 200, body = ProjectView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem)))]
pub(super) async fn add_project(
    State(state): State<ApiState>,
    Json(request): Json<ProjectRequest>,
) -> Result<Answer<ProjectView>, Refusal> {
    Ok(Answer(state.service.add_project(request).await?))
}

/// Says how many devices a project may have. Those that it has stay, also where they are more.
#[utoipa::path(put, path = "/v1/projects/{project}/quota", tag = "access", security(("token" = [])),
    params(("project" = String, Path)), request_body = QuotaRequest,
    responses((status = 200, body = ProjectView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn set_quota(
    State(state): State<ApiState>,
    Project(project): Project,
    Json(request): Json<QuotaRequest>,
) -> Result<Answer<ProjectView>, Refusal> {
    Ok(Answer(state.service.set_quota(project, request.max_devices).await?))
}

/// Refuses what is about another user, to whom does not manage users.
fn own(may: &May, user: &UserName) -> Result<(), Refusal> {
    if may.access.user == *user || may.access.may(Verb::ManageUsers, Thing::Manager) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::Forbidden, format!("the tokens of `{user}` are not yours to see or change"))
        .help("`robo auth whoami` shows who you are"))
}
