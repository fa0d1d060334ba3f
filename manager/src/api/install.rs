//! What makes a machine a device: asked for by machines that are none yet, so without credentials; and how far they are.

use std::io::SeekFrom;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use robo_wire::api::{InstallReport, InstallView, MAX_INSTALL_REPORT};
use robo_wire::problem::{ErrorCode, Problem};
use serde::Deserialize;
use tokio::io::AsyncSeekExt as _;

use super::auth::May;
use super::extract::{ArchitectureName, Project, Query, read_json};
use super::limit::{too_many, wrong};
use super::part::{part, range};
use super::problem::Refusal;
use super::{ApiState, PeerAddress};
use crate::install::{self, Architecture, ManagerAddress};
use crate::service::ServiceError;

/// The port of a URL that names none.
const HTTPS_PORT: u16 = 443;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptQuery {
    /// `HOST[:PORT]` under which devices reach the manager; without it the one of the request.
    manager: Option<String>,
}

/// The script that installs the agent. Compare its SHA-256 before it runs.
#[utoipa::path(get, path = "/v1/install.sh", tag = "install", params(ScriptQuery),
    responses((status = 200, body = String, content_type = "text/x-shellscript"), (status = 400, body = Problem)))]
pub(super) async fn script(
    State(state): State<ApiState>,
    Query(query): Query<ScriptQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = query.manager.or_else(|| asked_host(&request)).unwrap_or_default();
    let address = ManagerAddress::read(&asked, HTTPS_PORT)
        .ok_or_else(|| Refusal::bad_request("the manager's address must be HOST or HOST:PORT"))?;
    let programs = state.programs.clone();
    let hashing = tokio::task::spawn_blocking(move || programs.hashes());
    let hashes = hashing.await.map_err(|error| ServiceError::Broken(error.to_string()))?;
    let text = install::script(&address, state.service.ca_fingerprint(), &hashes);
    Ok(([(header::CONTENT_TYPE, "text/x-shellscript"), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

/// The agent's program for machines of an architecture, as `uname -m` calls it, from `Range: bytes=N-` on or whole. The
/// script has its SHA-256.
#[utoipa::path(get, path = "/v1/install/agent/{architecture}", tag = "install",
    params(("architecture" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn agent(
    State(state): State<ApiState>,
    ArchitectureName(architecture): ArchitectureName,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let lacking = || {
        Refusal::new(ErrorCode::NotFound, format!("there is no agent for the architecture `{architecture}`"))
            .help("put it as robo-agent-ARCHITECTURE into the folder that `robo manager --agent-binaries DIR` names")
    };
    let path = Architecture::named(&architecture).and_then(|of| state.programs.path(of)).ok_or_else(lacking)?;
    let unreadable = |error: std::io::Error| {
        tracing::error!(path = %path.display(), %error, "cannot read an agent's program");
        lacking()
    };
    let wanted = range(&headers)?;
    let mut file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    if let Some(from) = wanted.map(|wanted| wanted.from).filter(|from| *from < size) {
        file.seek(SeekFrom::Start(from)).await.map_err(unreadable)?;
    }
    Ok(part(file, size, wanted))
}

/// How far a machine is that becomes a device. Its credential is the SHA-256 of its enrolment token.
#[utoipa::path(post, path = "/v1/install/report", tag = "install", request_body = InstallReport,
    responses((status = 204, description = "it is remembered"), (status = 400, body = Problem),
        (status = 403, body = Problem, description = "the token is unknown, expired or used up"),
        (status = 429, body = Problem)))]
pub(super) async fn report(State(state): State<ApiState>, request: Request) -> Result<StatusCode, Refusal> {
    let address = request.extensions().get::<PeerAddress>().cloned();
    let from = address.as_ref().map(|address| address.written.to_string());
    let report: InstallReport = read_json(request.into_body(), MAX_INSTALL_REPORT).await?;
    if let Err(error) = state.service.check_reporter(&report.token_hash).await {
        state.service.audit_stranger(from, "report", "", &error.to_string()).await;
        return Err(wrong(&state, address, error.into()));
    }
    // After the token: nobody makes up hashes to fill the buckets.
    state.limits.report(&report.token_hash, Instant::now()).map_err(too_many)?;
    state.service.report_install(report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the machines that are on their way to become devices, or failed on it: those whose labels whoever asks may see.
#[utoipa::path(get, path = "/v1/projects/{project}/installs", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)),
    responses((status = 200, body = Vec<InstallView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Project(project): Project,
) -> Result<Json<Vec<InstallView>>, Refusal> {
    let mut installs = state.service.installs(&project).await?;
    installs.retain(|install| access.sees(&project, &install.labels));
    Ok(Json(installs))
}

/// The host that was asked: HTTP/2 has it in the address, HTTP/1.1 in a header.
fn asked_host(request: &Request) -> Option<String> {
    let authority = request.uri().authority().map(ToString::to_string);
    authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok().map(ToOwned::to_owned))
}
