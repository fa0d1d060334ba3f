//! The audit log.

use axum::Json as Answer;
use axum::extract::State;
use robo_model::quantity::UnixMillis;
use robo_wire::api::{AuditEntry, AuditVerdict};
use robo_wire::problem::Problem;
use serde::Deserialize;

use super::ApiState;
use super::extract::{Project, Query};
use super::problem::Refusal;
use crate::service::MAX_AUDIT;
use crate::store::AuditFilter;

/// Lines told where nothing says how many.
const DEFAULT_LINES: u32 = 100;

/// Which lines.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Only those of this user or device.
    who: Option<String>,
    /// Only those with this verb.
    verb: Option<String>,
    /// Only those of things whose text has this in it.
    thing: Option<String>,
    /// Only those since then, in milliseconds since 1970.
    since: Option<u64>,
    /// Only those until then, in milliseconds since 1970.
    until: Option<u64>,
    /// Only those before this line.
    before: Option<u64>,
    /// At most so many, the newest: 100 where it is left out, at most 10,000.
    limit: Option<u32>,
}

impl AuditQuery {
    fn filter(self, project: Option<String>) -> AuditFilter {
        let limit = self.limit.unwrap_or(DEFAULT_LINES).min(MAX_AUDIT);
        AuditFilter {
            project,
            who: self.who,
            verb: self.verb,
            thing: self.thing,
            since: self.since.map(UnixMillis),
            until: self.until.map(UnixMillis),
            before: self.before,
            limit,
        }
    }
}

/// Lists what was done and refused in a project, the oldest first.
#[utoipa::path(get, path = "/v1/projects/{project}/audit", tag = "access", security(("token" = [])),
    params(("project" = String, Path), AuditQuery),
    responses((status = 200, body = Vec<AuditEntry>), (status = 403, body = Problem)))]
pub(super) async fn of_project(
    State(state): State<ApiState>,
    Project(project): Project,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<Vec<AuditEntry>>, Refusal> {
    Ok(Answer(state.service.audit_log(&query.filter(Some(project.to_string()))).await?))
}

/// Lists what was done and refused, the oldest first.
#[utoipa::path(get, path = "/v1/audit", tag = "access", security(("token" = [])), params(AuditQuery),
    responses((status = 200, body = Vec<AuditEntry>), (status = 403, body = Problem)))]
pub(super) async fn all(
    State(state): State<ApiState>,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<Vec<AuditEntry>>, Refusal> {
    Ok(Answer(state.service.audit_log(&query.filter(None)).await?))
}

/// Looks at each line of the audit log whether it is what was written.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "access", security(("token" = [])),
    responses((status = 200, body = AuditVerdict), (status = 403, body = Problem)))]
pub(super) async fn verify(State(state): State<ApiState>) -> Result<Answer<AuditVerdict>, Refusal> {
    Ok(Answer(state.service.verify_audit().await?))
}
