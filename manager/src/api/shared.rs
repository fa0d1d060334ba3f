//! Links to files: made, listed, taken back, and used by whoever has one.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use futures_util::StreamExt as _;
use http::{HeaderValue, header};
use robo_model::access::Verb;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::upload::{ShareRequest, ShareView};

use super::auth::{Caller, May};
use super::extract::{Json, KeptFile, Project, TokenId};
use super::limit::{too_many, wrong};
use super::part::{part, range};
use super::problem::Refusal;
use super::uploads::theirs;
use super::{ApiState, PeerAddress};
use crate::service::{Actor, now};
use crate::uploads::SharedFile;

/// Makes a link to a file that is whole. Its secret is told in this answer and never again.
#[utoipa::path(post, path = "/v1/projects/{project}/uploads/{file}/shares", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)), request_body = ShareRequest,
    responses((status = 200, body = ShareView), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the file is not whole"), (status = 413, body = Problem)))]
pub(super) async fn share(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
    Json(request): Json<ShareRequest>,
) -> Result<Answer<ShareView>, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::Copy).await?;
    Ok(Answer(state.uploads.share(&record, by, &request, now()).await?))
}

/// Lists the links to a file that are good; their secrets are nowhere any more.
#[utoipa::path(get, path = "/v1/projects/{project}/uploads/{file}/shares", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)),
    responses((status = 200, body = Vec<ShareView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
) -> Result<Answer<Vec<ShareView>>, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::Copy).await?;
    Ok(Answer(state.uploads.shares(&record, now()).await?))
}

/// Takes a link back: from now on it opens nothing.
#[utoipa::path(delete, path = "/v1/projects/{project}/shares/{id}", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ShareView), (status = 404, body = Problem)))]
pub(super) async fn unshare(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    TokenId(id): TokenId,
) -> Result<Answer<ShareView>, Refusal> {
    let link = state.uploads.link(&project, &id, now()).await?;
    theirs(&state, &may, (&project, &link.file), Verb::Copy).await?;
    Ok(Answer(state.uploads.unshare(link).await?))
}

/// The file behind a link, or a range of it. Needs nothing but the link; a wrong one and one whose time is over are told
/// alike.
#[utoipa::path(get, path = "/v1/shared/{secret}", tag = "uploads", params(("secret" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem), (status = 416, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn content(
    State(state): State<ApiState>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let address = request.extensions().get::<PeerAddress>().cloned();
    let from = address.as_ref().map(|address| address.written.to_string());
    if let Some(Err(wait)) = address.as_ref().map(|address| state.limits.shared(address.ip, Instant::now())) {
        return Err(too_many(wait));
    }
    let at = now();
    let Some(link) = state.uploads.opens(&secret, at).await? else {
        state.service.audit_stranger(from, "shared", "", "no such link").await;
        return Err(wrong(&state, address, Refusal::new(ErrorCode::NotFound, "there is nothing here")));
    };
    let wanted = range(request.headers())?;
    let actor = Actor { from, project: Some(link.project.to_string()), ..Actor::default() };
    let thing = format!("file {} by link {}", link.file, link.id);
    state.service.audit_use(&actor, ("shared", &thing), &format!("made by {}", link.by)).await?;
    let SharedFile { file, size, permit } = state.uploads.read_shared(&link, wanted.map_or(0, |w| w.from)).await?;
    let (mut parts, body) = part(file, size, wanted).into_parts();
    // Its time ends for who reads at that moment, too.
    let over = tokio::time::sleep(link.expires_at.since(at).duration());
    let bytes = body.into_data_stream().take_until(over).map(move |bytes| {
        let _held = &permit;
        bytes
    });
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
    ] {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    // A name has no quote in it.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", link.file)) {
        parts.headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok((parts, Body::from_stream(bytes)).into_response())
}
