//! Groups of users, and files of users, groups and roles.

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_model::access::Verb;
use robo_wire::api::{AccessAction, AccessChange, AccessRequest, AuditOutcome, GroupRequest, GroupView};
use robo_wire::problem::Problem;

use super::ApiState;
use super::auth::{Caller, May};
use super::extract::{Group, Json, User};
use super::problem::Refusal;
use crate::service::told;

/// Lists the groups, with their members and what these may by them.
#[utoipa::path(get, path = "/v1/groups", tag = "access", security(("token" = [])),
    responses((status = 200, body = Vec<GroupView>), (status = 403, body = Problem)))]
pub(super) async fn list(State(state): State<ApiState>) -> Result<Answer<Vec<GroupView>>, Refusal> {
    Ok(Answer(state.service.groups().await?))
}

/// Makes a group, with nobody in it.
#[utoipa::path(post, path = "/v1/groups", tag = "access", security(("token" = [])), request_body = GroupRequest,
    responses((status = 200, body = GroupView), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Json(request): Json<GroupRequest>,
) -> Result<Answer<GroupView>, Refusal> {
    Ok(Answer(state.service.add_group(request.name, &by).await?))
}

/// Removes a group, with its roles.
#[utoipa::path(delete, path = "/v1/groups/{group}", tag = "access", security(("token" = [])),
    params(("group" = String, Path)),
    responses((status = 200, body = GroupView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Group(group): Group,
) -> Result<Answer<GroupView>, Refusal> {
    Ok(Answer(state.service.remove_group(&group, &by).await?))
}

/// Takes a user into a group.
#[utoipa::path(put, path = "/v1/groups/{group}/members/{user}", tag = "access", security(("token" = [])),
    params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = GroupView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn join(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Group(group): Group,
    User(user): User,
) -> Result<Answer<GroupView>, Refusal> {
    Ok(Answer(state.service.set_member((&group, &user), true, &by).await?))
}

/// Takes a user out of a group: what the user is at by it ends at once.
#[utoipa::path(delete, path = "/v1/groups/{group}/members/{user}", tag = "access", security(("token" = [])),
    params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = GroupView), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn leave(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Group(group): Group,
    User(user): User,
) -> Result<Answer<GroupView>, Refusal> {
    Ok(Answer(state.service.set_member((&group, &user), false, &by).await?))
}

/// Makes users, groups and roles as a file says, and answers with what was changed.
#[utoipa::path(post, path = "/v1/access", tag = "access", security(("token" = [])), request_body = AccessRequest,
    responses((status = 200, body = Vec<AccessChange>), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn apply(
    State(state): State<ApiState>,
    Extension(May { access, actor }): Extension<May>,
    Json(request): Json<AccessRequest>,
) -> Result<Answer<Vec<AccessChange>>, Refusal> {
    let steps = state.service.plan_access(&access, &request).await?;
    let changes: Vec<AccessChange> = steps.iter().map(told).collect();
    if !request.dry_run && !steps.is_empty() {
        for change in &changes {
            let thing =
                format!("{}: {}", if change.action == AccessAction::Add { "add" } else { "remove" }, change.what);
            state.service.audit(&actor, (Verb::ManageUsers.name(), &thing), AuditOutcome::Allowed, "").await?;
        }
        state.service.change_access(&steps, access.user.as_str()).await?;
    }
    Ok(Answer(changes))
}
