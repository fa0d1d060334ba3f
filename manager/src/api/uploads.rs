//! Files of devices that the manager keeps: asked for, found, fetched, cancelled, removed.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json as Answer};
use http::{HeaderMap, StatusCode};
use robo_model::access::{Thing, Verb};
use robo_model::name::{FileName, ProjectName};
use robo_wire::api::{AuditOutcome, MAX_ENROLL_BODY};
use robo_wire::problem::Problem;
use robo_wire::upload::{
    AgentUpload, MAX_PAGE, PAGE, UploadPage, UploadRequest, UploadSort, UploadState, UploadView, check_meta,
};
use serde::de::DeserializeOwned;

use super::ApiState;
use super::above::check as check_above;
use super::auth::{Caller, May};
use super::extract::{Json, KeptFile, Project, Query, read_json};
use super::part::{part, range};
use super::problem::Refusal;
use crate::store::{DeviceRecord, UploadAfter, UploadFilter, UploadRecord};
use crate::uploads::UploadError;

/// Most rows that are looked at for one page: who may see few of many is told where to go on.
const MAX_LOOKED_AT: u32 = 4 * MAX_PAGE;

/// Which files, in which order.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it tells readers of the document what `listed` reads")]
pub(super) struct ListQuery {
    /// In this state.
    state: Option<UploadState>,
    /// Of this device, also of one that was removed since.
    device: Option<String>,
    /// `KEY=VALUE`; may be given again, and then all must be so.
    meta: Option<Vec<String>>,
    /// By what they are sorted.
    sort: Option<UploadSort>,
    /// `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 500.
    limit: Option<u32>,
}

/// Lists files, a page at a time.
#[utoipa::path(get, path = "/v1/projects/{project}/uploads", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ListQuery),
    responses((status = 200, body = UploadPage), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Answer<UploadPage>, Refusal> {
    let (mut filter, limit) = listed(query)?;
    let (mut uploads, mut looked) = (Vec::new(), 0);
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = loop {
        let some = state.service.store().uploads(&project, &filter, limit).await.map_err(UploadError::from)?;
        let is_last = some.len() < wanted;
        looked += limit;
        let mut full = None;
        for record in some {
            let after = UploadAfter::of(&record, filter.sort);
            if may.access.may(Verb::See, thing(&project, &record)) {
                uploads.push(state.uploads.view(&record));
            }
            filter.after = Some(after);
            if uploads.len() >= wanted {
                full.clone_from(&filter.after);
                break;
            }
        }
        match full {
            Some(after) => break Some(after),
            None if is_last => break None,
            None if looked >= MAX_LOOKED_AT => break filter.after,
            None => {}
        }
    };
    Ok(Answer(UploadPage { uploads, next: next.map(|next| next.to_string()) }))
}

/// Reads which files are asked for.
fn listed(query: Vec<(String, String)>) -> Result<(UploadFilter, u32), Refusal> {
    let (mut filter, mut limit) = (UploadFilter::default(), PAGE);
    for (key, value) in query {
        match key.as_str() {
            "state" => filter.state = Some(word(&key, &value)?),
            "sort" => filter.sort = word(&key, &value)?,
            "device" => filter.device = Some(parsed(&key, &value)?),
            "after" => filter.after = Some(parsed(&key, &value)?),
            "limit" => limit = parsed(&key, &value)?,
            "meta" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| Refusal::bad_request(format!("`meta={value}`: write `meta=KEY=VALUE`")))?;
                filter.meta.insert(key.to_owned(), value.to_owned());
            }
            other => return Err(Refusal::bad_request(format!("unknown field `{other}` of the query"))),
        }
    }
    check_meta(&filter.meta).map_err(Refusal::bad_request)?;
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::bad_request(format!("`limit` is 1 to {MAX_PAGE}")));
    }
    Ok((filter, limit))
}

fn word<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, Refusal> {
    let read = serde_json::from_value(serde_json::Value::String(value.to_owned()));
    read.map_err(|error| Refusal::bad_request(format!("`{key}`: {error}")))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(key: &str, value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|error| Refusal::bad_request(format!("`{key}={value}`: {error}")))
}

/// Asks for a file of a device: it is fetched at once, or when the device comes.
#[utoipa::path(post, path = "/v1/projects/{project}/uploads", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path)), request_body = UploadRequest,
    responses((status = 200, body = UploadView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "the name is taken"),
        (status = 413, body = Problem, description = "there is no room")))]
pub(super) async fn put(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Json(request): Json<UploadRequest>,
) -> Result<Answer<UploadView>, Refusal> {
    let thing = format!("device {}", request.device);
    let purge = if request.purge { ", and remove it there" } else { "" };
    let what = format!("keep {}{purge}", request.path);
    let device = state.service.record_of(&project, &request.device).await?;
    if !may.access.sees(&project, &device.labels) {
        // As for a device that is not there.
        let (name, near) = (request.device, None);
        return Err(crate::service::ServiceError::NoDevice { name, near }.into());
    }
    if let Err(refusal) = may.check(Verb::Copy, &project, &device.labels) {
        state.service.audit_refused(&may.actor, (Verb::Copy.name(), &thing), &what).await?;
        return Err(refusal);
    }
    state.service.audit(&may.actor, (Verb::Copy.name(), &thing), AuditOutcome::Allowed, &what).await?;
    if device.facts.is_agent_above() {
        // The agent reads it with its own rights.
        check_above(&state, &may, (&project, &device), ("copy", &what)).await?;
    }
    if let Some(name) = request.name.as_ref().filter(|_| request.replace)
        && let Ok(old) = state.uploads.record(&project, name).await
    {
        // It may be of a device on which less is allowed.
        judged(&may, &project, &old, Verb::Copy)?;
    }
    Ok(Answer(state.uploads.put(&device, by, request).await?))
}

/// Shows a file.
#[utoipa::path(get, path = "/v1/projects/{project}/uploads/{file}", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)),
    responses((status = 200, body = UploadView), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
) -> Result<Answer<UploadView>, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::See).await?;
    Ok(Answer(state.uploads.view(&record)))
}

/// The content of a file that is whole, or a range of it: the lasting link for who has a token.
#[utoipa::path(get, path = "/v1/projects/{project}/uploads/{file}/content", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 416, body = Problem)))]
pub(super) async fn content(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::Copy).await?;
    let wanted = range(&headers)?;
    let (file, size) = state.uploads.read(&record, wanted.map_or(0, |wanted| wanted.from)).await?;
    Ok(part(file, size, wanted))
}

/// Cancels a file that is to come.
#[utoipa::path(post, path = "/v1/projects/{project}/uploads/{file}/cancel", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)),
    responses((status = 200, body = UploadView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is over")))]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
) -> Result<Answer<UploadView>, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::Copy).await?;
    Ok(Answer(state.uploads.cancel(&record, &by).await?))
}

/// Removes a file with its links; not while it is on its way.
#[utoipa::path(delete, path = "/v1/projects/{project}/uploads/{file}", tag = "uploads", security(("token" = [])),
    params(("project" = String, Path), ("file" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    KeptFile(name): KeptFile,
) -> Result<StatusCode, Refusal> {
    let record = theirs(&state, &may, (&project, &name), Verb::Copy).await?;
    state.uploads.remove(&record).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a device's wish that a file of its own is fetched, into its own project. The wish is on the disk when the answer
/// is there, which has the file's name. One that is told again is one.
#[utoipa::path(post, path = "/v1/agent/uploads", tag = "agent", request_body = AgentUpload,
    responses((status = 200, body = FileName), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem, description = "there is no room")))]
pub(super) async fn wished(
    State(state): State<ApiState>,
    Extension(device): Extension<DeviceRecord>,
    request: Request,
) -> Result<Answer<FileName>, Refusal> {
    let wish: AgentUpload = read_json(request.into_body(), MAX_ENROLL_BODY).await?;
    let actor = crate::service::Actor {
        who: Some(format!("device {}", device.name)),
        project: Some(device.project.to_string()),
        ..crate::service::Actor::default()
    };
    let (thing, what) = (format!("device {}", device.name), format!("keep {}", wish.path));
    state.service.audit(&actor, (Verb::Copy.name(), &thing), AuditOutcome::Allowed, &what).await?;
    Ok(Answer(state.uploads.wished(&device, wish).await?))
}

/// What a file is judged by: its device, and the project where that is gone from there.
const fn thing<'a>(project: &'a ProjectName, record: &'a UploadRecord) -> Thing<'a> {
    match &record.labels {
        Some(labels) => Thing::Device(project, labels),
        None => Thing::Project(project),
    }
}

/// The file of this name, if whoever asks may do this with it. One that they may not see is not there.
pub(super) async fn theirs(
    state: &ApiState,
    may: &May,
    (project, name): (&ProjectName, &FileName),
    verb: Verb,
) -> Result<UploadRecord, Refusal> {
    let record = state.uploads.record(project, name).await?;
    judged(may, project, &record, verb)?;
    Ok(record)
}

fn judged(may: &May, project: &ProjectName, record: &UploadRecord, verb: Verb) -> Result<(), Refusal> {
    if !may.access.may(Verb::See, thing(project, record)) {
        return Err(UploadError::Unknown(record.name.clone()).into());
    }
    match &record.labels {
        Some(labels) => may.check(verb, project, labels),
        None => may.check_whole(verb, project),
    }
}
