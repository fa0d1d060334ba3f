//! Commands on devices, and the output of instances: framed both ways.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header;
use robo_model::access::{Thing, Verb};
use robo_model::label::Selector;
use robo_model::name::{ApplicationName, DeviceId, DeviceName, InstancePath, ProjectName};
use robo_model::spec::InstanceKey;
use robo_wire::api::AuditOutcome;
use robo_wire::call::{CallTicket, ResumeRequest};
use robo_wire::event::EventBody;
use robo_wire::job::ABSENT;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::{
    Command, DeviceTarget, ExecRequest, LogsOpen, MAX_TARGETS, MEDIA_TYPE, Open, Requirement, Targets, Verdict,
};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::ApiState;
use super::above::{self, Above};
use super::auth::{BegunOn, May};
use super::extract::{Project, Query};
use super::frames::BodyFrames;
use super::job::{Call, Ending, Job, OUTPUT_QUEUE, Target};
use super::problem::Refusal;
use super::within;
use crate::bus::Ring;
use crate::jobs::shortened;
use crate::service::{Access, Service, ServiceError, now};
use crate::store::{DeviceRecord, NewEvent};

/// Most bytes of a command's words that the history keeps; there is one such event for each target.
const MAX_RECORDED: usize = 1024;

/// Lines of output at first, where nothing says how many.
const DEFAULT_LINES: u32 = 100;

/// Most lines of output at first.
const MAX_LINES: u32 = 100_000;

/// Frames put into one piece of the answer at a time.
const GATHER: usize = 64;

/// Runs a command on devices. The request's body is frames: an `ExecRequest`, then input and signals. The answer's
/// too: the targets, then output of each, and one verdict for each.
#[utoipa::path(post, path = "/v1/projects/{project}/exec", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)),
    request_body(content = ExecRequest, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn exec(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    request: Request,
) -> Result<Response, Refusal> {
    let mut input = BodyFrames::new(request.into_body());
    let request = input.first(ExecRequest::decode).await?;
    request.command.check().map_err(Refusal::bad_request)?;
    let mut command = request.command.clone();
    let mut targets = resolved(&state, &may, &project, (request.targets, &mut command)).await?;
    if let Some(needs) = request.needs {
        refuse_lacking(&state, &project, needs, &mut targets).await?;
    }
    audit(&state, &may, (&command, AuditOutcome::Allowed), &targets).await?;
    let begun = begun(&targets);
    let call = match request.resumable {
        true => {
            let whose = (&project, &may.access.user);
            Some((state.calls.issue(&state.service, whose, &request.command).await?, None, 0, vec![0; targets.len()]))
        }
        false => None,
    };
    let started = Started { project, command, targets, call };
    Ok((begun, started.run(state, input)?).into_response())
}

/// Goes on with a command whose caller was cut off, also by an end of the manager. The request's body is frames: a
/// `ResumeRequest`, then input and signals; the answer is that of `exec`, of the targets that have no verdict yet.
#[utoipa::path(post, path = "/v1/projects/{project}/exec/resume", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)),
    request_body(content = ResumeRequest, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 403, body = Problem, description = "it is somebody else's call")))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    request: Request,
) -> Result<Response, Refusal> {
    let mut input = BodyFrames::new(request.into_body());
    let request = input.first(ResumeRequest::decode).await?;
    request.check().map_err(Refusal::bad_request)?;
    let (ticket, ordered) = (request.ticket, request.command);
    let (names, places) = request.targets.into_iter().map(|target| (target.name, target.place)).unzip();
    let mut command = ordered.clone();
    let targets = resolved(&state, &may, &project, (Targets::Names(names), &mut command)).await?;
    let whose = (&project, &may.access.user);
    if !state.calls.knows(&state.service, whose, &ticket, &ordered).await? {
        audit(&state, &may, (&command, AuditOutcome::Refused), &targets).await?;
        let title = "this command is not yours to go on with";
        let help = "who began it can, with the same words and in the same project, at the same manager";
        return Err(Refusal::new(ErrorCode::Forbidden, title).help(help));
    }
    audit(&state, &may, (&command, AuditOutcome::Allowed), &targets).await?;
    let begun = begun(&targets);
    let age = Duration::from_millis(now().since(ticket.asked_at).0);
    let call = Some((ticket, Some(age), request.input, places));
    let started = Started { project, command, targets, call };
    Ok((begun, started.run(state, input)?).into_response())
}

/// The targets of a command that was asked for; one within an instance learns as whom it runs there.
async fn resolved(
    state: &ApiState,
    may: &May,
    project: &ProjectName,
    (asked, command): (Targets, &mut Command),
) -> Result<Vec<Target>, Refusal> {
    let (asked, shown) = within::resolve(&state.service, project, (asked, &mut *command)).await?;
    let mut found = targets(&state.service, &may.access, project, (&asked, command.user.as_deref())).await?;
    if let (Some(shown), [only]) = (shown, found.as_mut_slice()) {
        only.shown.name = shown;
    }
    Ok(found)
}

/// Refuses the devices that lack what a command needs.
async fn refuse_lacking(
    state: &ApiState,
    project: &ProjectName,
    needs: Requirement,
    targets: &mut [Target],
) -> Result<(), Refusal> {
    let devices = state.service.store().devices(project).await.map_err(ServiceError::from)?;
    let has = |device: &DeviceRecord| device.facts.capabilities.iter().any(|name| name == needs.capability());
    let having: HashSet<DeviceId> = devices.into_iter().filter(has).map(|device| device.id).collect();
    for target in targets {
        if target.device.as_ref().is_ok_and(|id| !having.contains(id)) {
            target.device = Err(needs.lacking());
        }
    }
    Ok(())
}

/// The devices on which something begins, and those of them where it takes the right to `root`.
fn begun(targets: &[Target]) -> (Extension<BegunOn>, Extension<Above>) {
    let begun = || targets.iter().filter(|target| target.device.is_ok());
    let on = begun().filter_map(|target| target.shown.device.clone()).collect();
    let above = begun().filter(|target| target.is_above).filter_map(|target| target.shown.device.clone()).collect();
    (Extension(BegunOn(on)), Extension(Above(above)))
}

/// A command that may begin, or go on.
struct Started {
    project: ProjectName,
    command: Command,
    targets: Vec<Target>,
    /// Of a caller that can come back: its ticket, how old that is, and where input and outputs go on.
    call: Option<(CallTicket, Option<Duration>, u64, Vec<u64>)>,
}

impl Started {
    fn run(self, state: ApiState, input: BodyFrames) -> Result<Response, Refusal> {
        let Self { project, command, targets, call } = self;
        let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
        let held = call.as_ref().map(|(ticket, ..)| state.calls.hold(&ticket.id));
        let id = match &call {
            Some((ticket, ..)) => ticket.id.clone(),
            None => crate::jobs::new_id()?,
        };
        let taken_over = held.as_ref().map(|held| held.taken_over.clone()).unwrap_or_default();
        let call = call.map(|(ticket, age, input, places)| Call { ticket, age, input, places, taken_over });
        let job = Job {
            links: state.links,
            open: Open::Exec(command.clone()),
            job: Some(id),
            targets: targets.clone(),
            output: output.clone(),
            call,
        };
        tokio::spawn(async move {
            let Ending { mut verdicts, settled } = job.run(Some(input)).await;
            let (mut output, mut targets) = (Some(output), targets);
            if let (Some(settled), Some(held)) = (settled, held) {
                // There is nobody at its other end.
                output = None;
                if held.comes_back(ABSENT.duration()).await {
                    let mut settled = settled.into_iter().zip(targets).zip(verdicts);
                    (targets, verdicts) = settled
                        .by_ref()
                        .filter(|((settled, _), _)| *settled)
                        .map(|((_, target), verdict)| (target, verdict))
                        .unzip();
                }
            }
            record(&state.service, &project, &command, &targets, verdicts).await;
            // The answer ends when the history knows.
            drop(output);
        });
        Ok(framed(answer))
    }
}

/// Which output.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// The application.
    #[param(value_type = String)]
    application: ApplicationName,
    /// The instance in it.
    #[param(value_type = String)]
    path: InstancePath,
    /// How many of the last lines at first; 100 where it is left out.
    lines: Option<u32>,
    /// Go on with what comes.
    #[serde(default)]
    follow: bool,
}

/// Tells the output of an instance, framed as that of a command with one target.
#[utoipa::path(get, path = "/v1/projects/{project}/logs", tag = "applications", security(("token" = [])),
    params(("project" = String, Path), LogsQuery),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 404, body = Problem)))]
pub(super) async fn logs(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Refusal> {
    let device = state.service.device_of(&project, &query.application, &query.path).await?;
    may.check(Verb::Logs, &project, &device.labels)?;
    let begun_on = BegunOn(vec![device.name.clone()]);
    let lines = query.lines.unwrap_or(DEFAULT_LINES).min(MAX_LINES);
    let key = InstanceKey { application: query.application, path: query.path };
    let open = Open::Logs(LogsOpen { key, lines, follow: query.follow });
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    let job = Job { links: state.links, open, job: None, targets: vec![target(&device)], output, call: None };
    tokio::spawn(async move { job.run(None).await });
    Ok((Extension(begun_on), framed(answer)).into_response())
}

/// The devices that were named, each once, or those that match, for a command as this user. What somebody does not see is not there.
pub(super) async fn targets(
    service: &Service,
    access: &Access,
    project: &ProjectName,
    (asked, user): (&Targets, Option<&str>),
) -> Result<Vec<Target>, Refusal> {
    let mut devices = service.store().devices(project).await.map_err(ServiceError::from)?;
    devices.retain(|device| access.sees(project, &device.labels));
    let may = |verb: Verb, device: &DeviceRecord| access.may(verb, Thing::Device(project, &device.labels));
    let target = |device: &DeviceRecord| {
        let is_above = device.facts.is_above(user);
        let id = match (may(Verb::Exec, device), !is_above || may(Verb::Root, device)) {
            (false, _) => Err("you may not run commands there"),
            (true, false) => Err(above::REASON),
            (true, true) => Ok(device.id.clone()),
        };
        Target { device: id, is_above, ..target(device) }
    };
    let found: Vec<Target> = match asked {
        Targets::All => devices.iter().map(target).collect(),
        Targets::Selector(text) => {
            let selector: Selector = text.parse().map_err(ServiceError::Label)?;
            devices.iter().filter(|device| selector.matches(&device.labels)).map(target).collect()
        }
        Targets::Names(names) => {
            let by_name: BTreeMap<&str, &DeviceRecord> = devices.iter().map(|d| (d.name.as_str(), d)).collect();
            let mut seen = HashSet::new();
            let once = names.iter().filter(|name| seen.insert(name.as_str()));
            once.map(|name| by_name.get(name.as_str()).map_or_else(|| missing(name), |device| target(device))).collect()
        }
    };
    if found.len() > MAX_TARGETS {
        let title = format!("{} devices were named, at most {MAX_TARGETS} are allowed at once", found.len());
        return Err(Refusal::new(ErrorCode::TooLarge, title));
    }
    Ok(found)
}

fn target(device: &DeviceRecord) -> Target {
    let shown = DeviceTarget { name: device.name.to_string(), device: Some(device.name.clone()) };
    Target { shown, device: Ok(device.id.clone()), is_above: false }
}

fn missing(name: &str) -> Target {
    let shown = DeviceTarget { name: name.to_owned(), device: None };
    Target { shown, device: Err("there is no such device"), is_above: false }
}

/// Writes down who runs what where, before it begins.
pub(super) async fn audit(
    state: &ApiState,
    may: &May,
    (command, outcome): (&Command, AuditOutcome),
    targets: &[Target],
) -> Result<(), ServiceError> {
    let on: Vec<&str> = targets.iter().map(|target| target.shown.name.as_str()).collect();
    let words = shortened(&command.argv, MAX_RECORDED).join(" ");
    let words = match &command.within {
        Some(key) => format!("in {key}: {words}"),
        None => words,
    };
    let of = |wanted: Result<(), &str>| -> Vec<&str> {
        let is_it =
            |target: &&Target| target.is_above && target.device.as_ref().map(drop).map_err(|why| *why) == wanted;
        targets.iter().filter(is_it).map(|target| target.shown.name.as_str()).collect()
    };
    let what = format!("as {}: {words}", command.user.as_deref().unwrap_or_default());
    // A call that somebody else goes on with is refused as a whole, and its line says so.
    let allowed = if outcome == AuditOutcome::Allowed { of(Ok(())) } else { Vec::new() };
    above::tell(state, may, (&allowed, &of(Err(above::REASON))), &what).await?;
    let devices = if on.len() == 1 { "device" } else { "devices" };
    let thing = format!("{} {devices}: {}", on.len(), on.join(" "));
    state.service.audit(&may.actor, (Verb::Exec.name(), &thing), outcome, &words).await
}

/// The answer: frames as they come, those that are there together in one piece.
pub(super) fn framed(answer: mpsc::Receiver<Bytes>) -> Response {
    let pieces = stream::unfold(answer, |mut answer| async move {
        let mut frames = Vec::new();
        if answer.recv_many(&mut frames, GATHER).await == 0 {
            return None;
        }
        let piece = match <[Bytes; 1]>::try_from(frames) {
            Ok([frame]) => frame,
            Err(frames) => frames.concat().into(),
        };
        Some((Ok::<_, std::convert::Infallible>(piece), answer))
    });
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(pieces)).into_response()
}

/// Writes down who was told to run what, and how it ended.
async fn record(
    service: &Service,
    project: &ProjectName,
    command: &Command,
    targets: &[Target],
    verdicts: Vec<Verdict>,
) {
    let words = shortened(&command.argv, MAX_RECORDED);
    let at = now();
    let event = |(target, verdict): (&Target, Verdict)| {
        let device: Option<DeviceName> = target.shown.device.clone();
        device.map(|device| NewEvent {
            at,
            device: Some(device),
            application: command.within.as_ref().map(|key| key.application.clone()),
            path: command.within.as_ref().map(|key| key.path.clone()),
            body: EventBody::Executed { command: words.clone(), verdict },
        })
    };
    let events: Vec<NewEvent> = targets.iter().zip(verdicts).filter_map(event).collect();
    match service.store().add_events(project, &events).await {
        Ok(_) => service.bus().ring(Ring::Events(project.clone())),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a command cannot be written down"),
    }
}
