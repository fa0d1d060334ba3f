//! Jobs in the background: ordered, listed, cancelled, and their output.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use bytes::Bytes;
use robo_model::access::{Thing, Verb};
use robo_model::label::Selector;
use robo_model::name::{DeviceName, JobId, ProjectName, UserName};
use robo_wire::api::AuditOutcome;
use robo_wire::job::{JobRequest, JobState, JobView, Output};
use robo_wire::problem::Problem;
use robo_wire::stream::{Answer as Said, DeviceTarget, MAX_CHUNK, StreamFrame, Verdict};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::ApiState;
use super::auth::{Caller, May};
use super::exec::{audit, framed, targets};
use super::extract::{Job, Json, Project, Query};
use super::job::OUTPUT_QUEUE;
use super::problem::Refusal;
use super::within;
use crate::jobs::{JobError, JobTarget, Jobs};
use crate::service::ServiceError;

/// How long at most it is waited for news of a job before it is looked at again: a bell may be missed.
const LOOK: Duration = Duration::from_secs(5);

/// What happens within this time is told together: each telling looks at every target.
const TOGETHER: Duration = Duration::from_millis(50);

/// Which jobs: those that are all of what is given.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In this state.
    state: Option<JobState>,
    /// Ordered by this user.
    #[param(value_type = Option<String>)]
    user: Option<UserName>,
    /// On this device, also one that was removed since.
    #[param(value_type = Option<String>)]
    device: Option<DeviceName>,
    /// On a device whose labels match now.
    selector: Option<String>,
    /// Ordered since then, in milliseconds since 1970.
    since: Option<u64>,
    /// The newest so many, at least one; all where it is left out.
    limit: Option<u32>,
}

/// Lists the jobs, newest first, without their targets.
#[utoipa::path(get, path = "/v1/projects/{project}/jobs", tag = "jobs", security(("token" = [])),
    params(("project" = String, Path), ListQuery),
    responses((status = 200, body = Vec<JobView>), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Vec<JobView>>, Refusal> {
    if query.limit == Some(0) {
        return Err(Refusal::bad_request("`limit` is at least 1"));
    }
    let on = on(&state, &may, &project, &query).await?;
    let mut jobs = state.jobs.list(&project).await?;
    jobs.retain(|job| {
        is_theirs(&may, &project, job, Verb::See)
            && query.state.is_none_or(|state| job.state() == state)
            && query.user.as_ref().is_none_or(|user| job.by == user.as_str())
            && query.since.is_none_or(|since| job.created_at.0 >= since)
            && on.as_ref().is_none_or(|on| on.contains(&job.id))
    });
    jobs.truncate(query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    Ok(Answer(jobs))
}

/// The jobs on the devices that are asked for; nothing when it is not asked for devices.
async fn on(
    state: &ApiState,
    may: &May,
    project: &ProjectName,
    query: &ListQuery,
) -> Result<Option<BTreeSet<JobId>>, Refusal> {
    match (&query.device, &query.selector) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("`device` and `selector` are not given together")),
        (None, None) => Ok(None),
        (Some(device), None) => {
            let on = state.jobs.on(project, &[device.as_str()]).await?;
            if on.is_empty() {
                state.service.record_of(project, device).await?;
            }
            Ok(Some(on))
        }
        (None, Some(text)) => {
            let selector: Selector = text.parse().map_err(ServiceError::Label)?;
            let mut devices = state.service.store().devices(project).await.map_err(ServiceError::from)?;
            devices.retain(|device| may.access.sees(project, &device.labels) && selector.matches(&device.labels));
            let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
            Ok(Some(state.jobs.on(project, &names).await?))
        }
    }
}

/// Begins a job in the background: it goes on without the client, and keeps its output.
#[utoipa::path(post, path = "/v1/projects/{project}/jobs", tag = "jobs", security(("token" = [])),
    params(("project" = String, Path)), request_body = JobRequest,
    responses((status = 200, body = JobView), (status = 400, body = Problem), (status = 413, body = Problem),
        (status = 503, body = Problem, description = "too many jobs go on")))]
pub(super) async fn begin(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Json(mut request): Json<JobRequest>,
) -> Result<Answer<JobView>, Refusal> {
    let asked = (request.targets, &mut request.command);
    // A job is found by its devices' names.
    (request.targets, _) = within::resolve(&state.service, &project, asked).await?;
    let asked = (&request.targets, request.command.user.as_deref());
    let found = targets(&state.service, &may.access, &project, asked).await?;
    audit(&state, &may, (&request.command, AuditOutcome::Allowed), &found).await?;
    let found = found.into_iter().map(|target| JobTarget { name: target.shown.name, device: target.device });
    Ok(Answer(state.jobs.begin(&project, by, request, found.collect()).await?))
}

/// Shows one job, with all its targets.
#[utoipa::path(get, path = "/v1/projects/{project}/jobs/{id}", tag = "jobs", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = JobView), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Job(id): Job,
) -> Result<Answer<JobView>, Refusal> {
    Ok(Answer(theirs(&state, &may, (&project, id), Verb::See).await?))
}

/// Cancels a job: it begins nowhere any more, and what runs is ended.
#[utoipa::path(delete, path = "/v1/projects/{project}/jobs/{id}", tag = "jobs", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = JobView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has ended")))]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Job(id): Job,
) -> Result<Answer<JobView>, Refusal> {
    theirs(&state, &may, (&project, id.clone()), Verb::Exec).await?;
    Ok(Answer(state.jobs.cancel(&project, &id, &by).await?))
}

/// Which output.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputQuery {
    /// Only of this device.
    device: Option<String>,
    /// Go on until every target has its verdict.
    #[serde(default)]
    follow: bool,
}

/// Tells the output of a job, framed as that of a command. A target that has no verdict yet gets none here, unless it is
/// followed.
#[utoipa::path(get, path = "/v1/projects/{project}/jobs/{id}/output", tag = "jobs", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path), OutputQuery),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 404, body = Problem)))]
pub(super) async fn output(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Job(id): Job,
    Query(query): Query<OutputQuery>,
) -> Result<Response, Refusal> {
    let view = theirs(&state, &may, (&project, id.clone()), Verb::Exec).await?;
    let wanted = |name: &str| query.device.as_deref().is_none_or(|device| device == name);
    let numbers: Vec<usize> =
        view.runs.iter().enumerate().filter(|(_, run)| wanted(&run.device)).map(|(number, _)| number).collect();
    if let (Some(device), []) = (query.device, numbers.as_slice()) {
        return Err(JobError::NoTarget { job: id, device }.into());
    }
    let (give, answer) = mpsc::channel(OUTPUT_QUEUE);
    let teller = Teller { jobs: state.jobs.clone(), numbers, give };
    tokio::spawn(async move {
        if let Err(error) = teller.tell(&project, view, query.follow).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the output of a job breaks off");
        }
    });
    Ok(framed(answer))
}

/// A job is for who ordered it, and for who has the right in the project as a whole: it may be on any device.
fn is_theirs(may: &May, project: &ProjectName, job: &JobView, verb: Verb) -> bool {
    job.by == may.access.user.as_str() || may.access.may(verb, Thing::Project(project))
}

async fn theirs(
    state: &ApiState,
    may: &May,
    (project, id): (&ProjectName, JobId),
    verb: Verb,
) -> Result<JobView, Refusal> {
    let job = state.jobs.show(project, &id).await?;
    if is_theirs(may, project, &job, verb) {
        return Ok(job);
    }
    may.check_whole(verb, project)?;
    Ok(job)
}

/// Tells a client the output of some targets of a job.
struct Teller {
    jobs: Jobs,
    numbers: Vec<usize>,
    give: mpsc::Sender<Bytes>,
}

/// How far one target was told.
struct Told {
    number: usize,
    place: u64,
    ended: bool,
}

impl Teller {
    async fn tell(&self, project: &ProjectName, mut view: JobView, follow: bool) -> Result<(), JobError> {
        let shown = |number: &usize| view.runs.get(*number).map(|run| run.device.clone());
        let shown = self.numbers.iter().filter_map(shown).map(|name| DeviceTarget { device: name.parse().ok(), name });
        if !self.say(&Said::Targets(shown.collect())).await {
            return Ok(());
        }
        let fresh = |number: &usize| Told { number: *number, place: 0, ended: false };
        let mut told: Vec<Told> = self.numbers.iter().map(fresh).collect();
        loop {
            // Before the look, so that what happens after it is heard.
            let moved = self.jobs.watch(&view.id);
            view = self.jobs.show(project, &view.id).await?;
            for (shown, one) in told.iter_mut().enumerate().filter(|(_, one)| !one.ended) {
                if !self.tell_one(&view, u32::try_from(shown).unwrap_or(u32::MAX), one).await? {
                    return Ok(());
                }
            }
            if !follow || told.iter().all(|one| one.ended) {
                return Ok(());
            }
            let Some(mut moved) = moved else { continue };
            tokio::select! {
                _ = moved.changed() => tokio::time::sleep(TOGETHER).await,
                () = tokio::time::sleep(LOOK) => {}
                () = self.give.closed() => return Ok(()),
            }
        }
    }

    /// Tells what is new of a target; false when the client is gone.
    async fn tell_one(&self, view: &JobView, shown: u32, one: &mut Told) -> Result<bool, JobError> {
        let verdict = view.runs.get(one.number).and_then(|run| run.outcome.clone());
        if let Some(mut reader) = self.jobs.read(&view.id, one.number)? {
            while let Some((kind, place, bytes)) = reader.next().map_err(JobError::Output)? {
                if place < one.place {
                    continue;
                }
                for piece in bytes.chunks(MAX_CHUNK) {
                    let frame = match kind {
                        Output::Stdout => StreamFrame::Stdout(piece.to_vec()),
                        Output::Stderr => StreamFrame::Stderr(piece.to_vec()),
                    };
                    if !self.say(&Said::From(shown, frame)).await {
                        return Ok(false);
                    }
                }
                one.place = place + bytes.len() as u64;
            }
        }
        let Some(verdict) = verdict else { return Ok(true) };
        one.ended = true;
        Ok(self.say(&Said::From(shown, StreamFrame::Verdict(verdict))).await)
    }

    async fn say(&self, answer: &Said) -> bool {
        match answer.encode() {
            Ok(bytes) => self.give.send(bytes.into()).await.is_ok(),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be sent");
                false
            }
        }
    }
}
