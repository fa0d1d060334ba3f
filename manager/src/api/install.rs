//! What makes a machine a device: asked for by machines that are none yet, so without credentials.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header;
use robo_wire::problem::{ErrorCode, Problem};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::ApiState;
use super::extract::{ArchitectureName, Query};
use super::problem::Refusal;
use crate::install::{self, Architecture, ManagerAddress};
use crate::service::ServiceError;

/// Bytes read from the disk at a time.
const CHUNK: usize = 64 * 1024;

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

/// The agent's program for machines of an architecture, as `uname -m` calls it. The script has its SHA-256.
#[utoipa::path(get, path = "/v1/install/agent/{architecture}", tag = "install",
    params(("architecture" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem)))]
pub(super) async fn agent(
    State(state): State<ApiState>,
    ArchitectureName(architecture): ArchitectureName,
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
    let file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
    let bytes = file.metadata().await.map_err(unreadable)?.len();
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let length = (header::CONTENT_LENGTH, bytes.to_string());
    Ok(([kind, length], Body::from_stream(ReaderStream::with_capacity(file, CHUNK))).into_response())
}

/// The host that was asked: HTTP/2 has it in the address, HTTP/1.1 in a header.
fn asked_host(request: &Request) -> Option<String> {
    let authority = request.uri().authority().map(ToString::to_string);
    authority.or_else(|| request.headers().get(header::HOST)?.to_str().ok().map(ToOwned::to_owned))
}
