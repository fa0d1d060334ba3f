//! What agents fetch.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use http::HeaderMap;
use robo_wire::api::{CertificateRequest, CertificateView, KeyView, MAX_ENROLL_BODY};
use robo_wire::problem::{ErrorCode, Problem};

use super::extract::{Hash, read_json};
use super::part::{part, range};
use super::problem::Refusal;
use super::{ApiState, PeerDevice};
use crate::service::ServiceError;
use crate::store::DeviceRecord;

/// A file of the device's assignment, from `Range: bytes=N-` on or whole.
#[utoipa::path(get, path = "/v1/agent/files/{hash}", tag = "agent", params(("hash" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 416, body = Problem)))]
pub(super) async fn file(
    State(state): State<ApiState>,
    Extension(device): Extension<DeviceRecord>,
    Hash(hash): Hash,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let service = &state.service;
    if !service.store().is_assigned_file(&device.id, &hash).await.map_err(ServiceError::from)? {
        return Err(Refusal::new(ErrorCode::Forbidden, "no instance of this device has this file"));
    }
    let wanted = range(&headers)?;
    let found =
        service.files().read(&hash, wanted.map_or(0, |wanted| wanted.from)).await.map_err(ServiceError::from)?;
    let Some((file, size)) = found else {
        tracing::error!(%hash, "an assigned file is not there");
        return Err(
            Refusal::new(ErrorCode::NotFound, "the manager has lost this file").help("apply the application again")
        );
    };
    Ok(part(file, size, wanted))
}

/// Certifies the device's next key. It takes the place of the one that the device has when it is used first.
#[utoipa::path(post, path = "/v1/agent/certificate", tag = "agent", request_body = CertificateRequest,
    responses((status = 200, body = CertificateView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem)))]
pub(super) async fn renew(
    State(state): State<ApiState>,
    Extension(device): Extension<DeviceRecord>,
    request: Request,
) -> Result<Json<CertificateView>, Refusal> {
    let asked: CertificateRequest = read_json(request.into_body(), MAX_ENROLL_BODY).await?;
    Ok(Json(state.service.certify(&device, &asked.certificate_request, &*state.sign).await?))
}

/// Says which key the device has, which it thereby uses.
#[utoipa::path(get, path = "/v1/agent/certificate", tag = "agent",
    responses((status = 200, body = KeyView), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn key(
    State(state): State<ApiState>,
    Extension(device): Extension<DeviceRecord>,
    Extension(PeerDevice(peer)): Extension<PeerDevice>,
) -> Result<Json<KeyView>, Refusal> {
    Ok(Json(state.service.use_key(&device, &peer.key_fingerprint).await?))
}
