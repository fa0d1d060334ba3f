//! What needs no credentials.

use axum::Json;
use axum::extract::{Request, State};
use robo_wire::api::{AuditOutcome, EnrollRequest, EnrollResponse, Health, MAX_ENROLL_BODY};
use robo_wire::problem::Problem;

use super::extract::read_json;
use super::limit::wrong;
use super::problem::Refusal;
use super::{ApiState, PeerAddress};
use crate::service::Actor;

/// Says that the manager is there.
#[utoipa::path(get, path = "/v1/health", tag = "manager", responses((status = 200, body = Health)))]
pub(super) async fn health(State(state): State<ApiState>) -> Json<Health> {
    Json(Health { version: env!("CARGO_PKG_VERSION").to_owned(), links: state.links.count() })
}

/// Enrols a device with a single-use token.
#[utoipa::path(post, path = "/v1/enroll", tag = "manager", request_body = EnrollRequest,
    responses((status = 200, body = EnrollResponse),
        (status = 403, body = Problem, description = "the token is foreign, unknown, expired or used"),
        (status = 409, body = Problem, description = "the name is taken")))]
pub(super) async fn enroll(State(state): State<ApiState>, request: Request) -> Result<Json<EnrollResponse>, Refusal> {
    let address = request.extensions().get::<PeerAddress>().cloned();
    let from = address.as_ref().map(|address| address.written.to_string());
    let request: EnrollRequest = match read_json(request.into_body(), MAX_ENROLL_BODY).await {
        Ok(request) => request,
        Err(refusal) => {
            state.service.audit_stranger(from, "enroll", "", refusal.title()).await;
            return Err(refusal);
        }
    };
    let name = request.name.as_ref().map(|name| format!("device {name}")).unwrap_or_default();
    match state.service.enroll(request, &*state.sign).await {
        Ok(enrolled) => {
            let actor = Actor { from, project: Some(enrolled.project.to_string()), ..Actor::default() };
            let device = format!("device {} ({})", enrolled.name, enrolled.device);
            state.service.audit(&actor, ("enroll", &device), AuditOutcome::Allowed, "").await?;
            Ok(Json(enrolled))
        }
        Err(error) => {
            state.service.audit_stranger(from, "enroll", &name, &error.to_string()).await;
            Err(wrong(&state, address, error.into()))
        }
    }
}
