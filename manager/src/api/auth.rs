//! Who asks.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header;
use robo_wire::api::Standing;
use robo_wire::problem::ErrorCode;

use super::problem::Refusal;
use super::{ApiState, PeerDevice};
use crate::service::{ServiceError, now};
use crate::store::DeviceRecord;

/// Who asks: the name of the token; an extension of every request of a person or a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

/// Lets through who has a token; handlers find its [`Caller`].
pub(super) async fn person(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    const HELP: &str = "`robo context use` chooses a manager with its token";
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The scheme is case-insensitive (RFC 9110, 11.1).
    let token =
        header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        return Err(Refusal::new(ErrorCode::Unauthorized, "this needs a token").help(HELP));
    };
    match state.service.who(token).await? {
        Some(who) => {
            tracing::debug!(who, "authenticated");
            request.extensions_mut().insert(Caller(who));
            Ok(next.run(request).await)
        }
        None => Err(Refusal::new(ErrorCode::Unauthorized, "this token is not known here").help(HELP)),
    }
}

/// Lets through a device that may connect, with a certificate that has not ended; handlers find its [`DeviceRecord`].
pub(super) async fn device(State(state): State<ApiState>, request: Request, next: Next) -> Result<Response, Refusal> {
    if let Some(PeerDevice(peer)) = request.extensions().get::<PeerDevice>()
        && peer.certificate_ends <= now()
    {
        return Err(
            Refusal::new(ErrorCode::Unauthorized, "the device's certificate has ended").help("it has to renew it")
        );
    }
    renewing_device(State(state), request, next).await
}

/// Lets through a device that may connect, also with a certificate that has ended: for getting the next one.
pub(super) async fn renewing_device(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let Some(PeerDevice(peer)) = request.extensions().get::<PeerDevice>().cloned() else {
        return Err(Refusal::new(ErrorCode::Unauthorized, "this needs a device's certificate"));
    };
    let record: Option<DeviceRecord> = state.service.store().device(&peer.device).await.map_err(ServiceError::from)?;
    match record.filter(|record| record.has_key(&peer.key_fingerprint)) {
        Some(record) if record.standing != Standing::Accepted => {
            Err(Refusal::new(ErrorCode::Forbidden, "the device may not connect").help("an operator has to let it in"))
        }
        Some(record) => {
            request.extensions_mut().insert(record);
            Ok(next.run(request).await)
        }
        None => Err(Refusal::new(ErrorCode::Unauthorized, "the device is not enrolled here with this key")
            .help("enrol it again")),
    }
}
