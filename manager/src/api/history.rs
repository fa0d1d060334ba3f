//! The history of an application: its revisions, their files, and how they differ.

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header;
use robo_wire::api::{RevisionDetail, RevisionDiff, RevisionView};
use robo_wire::problem::{ErrorCode, Problem};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::ApiState;
use super::extract::{Application, Hash, Number, Project, Query};
use super::problem::Refusal;
use crate::service::ServiceError;

/// Bytes read from the disk at a time.
const CHUNK: usize = 64 * 1024;

/// Lists the revisions that are kept, newest first.
#[utoipa::path(get, path = "/v1/projects/{project}/applications/{application}/revisions", tag = "history",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path)),
    responses((status = 200, body = Vec<RevisionView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
) -> Result<Answer<Vec<RevisionView>>, Refusal> {
    Ok(Answer(state.service.revisions(&project, &name).await?))
}

/// Shows one revision with what was sent: to be planned and applied again.
#[utoipa::path(get, path = "/v1/projects/{project}/applications/{application}/revisions/{number}", tag = "history",
    security(("token" = [])),
    params(("project" = String, Path), ("application" = String, Path), ("number" = u64, Path)),
    responses((status = 200, body = RevisionDetail), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Number(number): Number,
) -> Result<Answer<RevisionDetail>, Refusal> {
    Ok(Answer(state.service.revision(&project, &name, number).await?))
}

/// A source or recipe file of a revision.
#[utoipa::path(get, path = "/v1/projects/{project}/applications/{application}/revisions/{number}/files/{hash}",
    tag = "history", security(("token" = [])),
    params(("project" = String, Path), ("application" = String, Path), ("number" = u64, Path), ("hash" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 404, body = Problem)))]
pub(super) async fn file(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Number(number): Number,
    Hash(hash): Hash,
) -> Result<Response, Refusal> {
    let service = &state.service;
    service.check_revision_file(&project, &name, number, &hash).await?;
    let found = service.files().read(&hash, 0).await.map_err(ServiceError::from)?;
    let Some((file, size)) = found else {
        tracing::error!(%hash, "a revision's file is not there");
        return Err(Refusal::new(ErrorCode::NotFound, "the manager has lost this file"));
    };
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, size.to_string())];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, CHUNK))).into_response())
}

/// Which revisions.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// The older one; or the newer one, then everything is told the other way round.
    from: u64,
    /// The newer one.
    to: u64,
}

/// Says how two revisions differ.
#[utoipa::path(get, path = "/v1/projects/{project}/applications/{application}/diff", tag = "history",
    security(("token" = [])), params(("project" = String, Path), ("application" = String, Path), DiffQuery),
    responses((status = 200, body = RevisionDiff), (status = 404, body = Problem)))]
pub(super) async fn diff(
    State(state): State<ApiState>,
    Project(project): Project,
    Application(name): Application,
    Query(query): Query<DiffQuery>,
) -> Result<Answer<RevisionDiff>, Refusal> {
    Ok(Answer(state.service.revision_diff(&project, &name, (query.from, query.to)).await?))
}
