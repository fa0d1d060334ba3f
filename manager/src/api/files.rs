//! Files on their way in.

use axum::Json as Answer;
use axum::extract::{Request, State};
use http::{StatusCode, header};
use robo_wire::api::{FileHashes, MAX_FILE_BYTES};
use robo_wire::problem::{ErrorCode, Problem};

use super::ApiState;
use super::extract::{Hash, Json, Project};
use super::pace::paced;
use super::problem::Refusal;
use crate::service::ServiceError;

/// Most files asked about at once: a bundle's sources and recipes.
const MAX_HASHES: usize = 20_000;

/// Says which of these files the manager lacks.
#[utoipa::path(post, path = "/v1/projects/{project}/files/missing", tag = "files", security(("token" = [])),
    params(("project" = String, Path)), request_body = FileHashes,
    responses((status = 200, body = FileHashes), (status = 413, body = Problem)))]
pub(super) async fn missing(
    State(state): State<ApiState>,
    Project(_): Project,
    Json(asked): Json<FileHashes>,
) -> Result<Answer<FileHashes>, Refusal> {
    let count = asked.hashes.len();
    if count > MAX_HASHES {
        let title = format!("{count} files were asked about, at most {MAX_HASHES} are allowed at once");
        return Err(Refusal::new(ErrorCode::TooLarge, title));
    }
    let files = state.service.files().clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut hashes = Vec::new();
        for hash in asked.hashes {
            if files.size(&hash)?.is_none() {
                hashes.push(hash);
            }
        }
        Ok::<_, ServiceError>(FileHashes { hashes })
    });
    Ok(Answer(looking.await.unwrap_or_else(|error| Err(ServiceError::Broken(error.to_string())))?))
}

/// Uploads a file. It is on the manager's disk when the answer is there.
#[utoipa::path(put, path = "/v1/projects/{project}/files/{hash}", tag = "files", security(("token" = [])),
    params(("project" = String, Path), ("hash" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = 413, body = Problem), (status = 422, body = Problem, description = "other bytes than announced")))]
pub(super) async fn upload(
    State(state): State<ApiState>,
    Project(_): Project,
    Hash(hash): Hash,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes| bytes > MAX_FILE_BYTES) {
        return Err(ServiceError::from(crate::files::FilesError::TooLarge { max: MAX_FILE_BYTES }).into());
    }
    let bytes = paced(request.into_body()).into_data_stream();
    state.service.files().put(&hash, MAX_FILE_BYTES, bytes).await.map_err(ServiceError::from)?;
    Ok(StatusCode::NO_CONTENT)
}
