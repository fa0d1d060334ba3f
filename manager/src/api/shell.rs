//! Shell sessions: framed both ways for those who use one, one way for those who watch.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use http::header;
use robo_model::access::{Thing, Verb};
use robo_model::name::{ProjectName, SessionId};
use robo_wire::api::AuditOutcome;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::shell::{AttachRequest, Joined, SessionView, ShellFrame, ShellRequest, ShellStart};
use robo_wire::stream::{MAX_CHUNK, Verdict};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::ApiState;
use super::above::{self, Above};
use super::auth::{BegunOn, Caller, May};
use super::exec::framed;
use super::extract::{Device, Project, Query, Session};
use super::frames::BodyFrames;
use super::problem::Refusal;
use super::within;
use crate::service::ServiceError;
use crate::sessions::{Crowded, Live, Place, SessionError};
use crate::store::DeviceRecord;

/// Frames on their way to one client. Few, so that a slow one is noticed.
const OUTPUT_QUEUE: usize = 8;

/// The media type of recordings.
const ASCIICAST: &str = "application/x-asciicast";

/// Begins a shell session on a device. The request's body is frames: a `ShellRequest`, then input and sizes. The
/// answer's too: who and where, then output, and how it ended. When the connection breaks the session goes on, and
/// `attach` comes back to it.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/shell", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    request_body(content = ShellRequest, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Joined, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "the device is offline, or there are too many sessions")))]
pub(super) async fn shell(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    request: Request,
) -> Result<Response, Refusal> {
    let mut input = BodyFrames::new(request.into_body());
    let mut request = input.first(ShellRequest::decode).await?;
    let device = state.service.record_of(&project, &name).await?;
    begin_within(&state, &may, (&project, &device), &mut request.start).await?;
    let above = above(&state, &may, (&project, &device), request.start.user.as_deref()).await?;
    let size = request.start.size;
    let live = state.sessions.begin(&device, by, request.start).await?;
    let place = live.change(|state| state.join(request.client, None, size)).map_err(|Crowded| crowded(&live))?;
    Ok((above, on(&live, serve(Arc::clone(&live), place, Some((request.client, input))))).into_response())
}

/// Comes back to a session, or joins somebody else's. Framed as the answer of its begin; the request's first frame is
/// an `AttachRequest`.
#[utoipa::path(post, path = "/v1/projects/{project}/sessions/{id}/attach", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    request_body(content = AttachRequest, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Joined, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has ended")))]
pub(super) async fn attach(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Session(id): Session,
    request: Request,
) -> Result<Response, Refusal> {
    check(&state, &may, (&project, &id), Verb::Shell).await?;
    let mut input = BodyFrames::new(request.into_body());
    let request = input.first(AttachRequest::decode).await?;
    if request.size != request.size.bounded() {
        return Err(Refusal::bad_request("no terminal has this size"));
    }
    let live = state.sessions.live(&project, &id).await?;
    // It may be called something else by now. The session of one that is gone ends.
    let device = state.service.store().device(&live.record.device).await.map_err(ServiceError::from)?;
    let device = device.ok_or_else(|| SessionError::Unknown(live.record.id.clone()))?;
    let above = above(&state, &may, (&project, &device), live.record.user.as_deref()).await?;
    if request.from.is_none() {
        refuse_ended(&live)?;
        tracing::info!(session = %id, by, "joined");
    }
    let joined = live.change(|state| state.join(request.client, request.from, request.size));
    let place = joined.map_err(|Crowded| crowded(&live))?;
    Ok((above, on(&live, serve(Arc::clone(&live), place, Some((request.client, input))))).into_response())
}

/// What who watches has seen.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchQuery {
    /// The place of the next byte of output, for a client that comes back.
    from: Option<u64>,
}

/// Watches a session: what is printed, and how it ends.
#[utoipa::path(get, path = "/v1/projects/{project}/sessions/{id}/watch", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path), WatchQuery),
    responses((status = 200, body = Joined, content_type = "application/vnd.robo.frames"),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "it has ended")))]
pub(super) async fn watch(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Session(id): Session,
    Query(query): Query<WatchQuery>,
) -> Result<Response, Refusal> {
    check(&state, &may, (&project, &id), Verb::Shell).await?;
    let live = state.sessions.live(&project, &id).await?;
    if query.from.is_none() {
        refuse_ended(&live)?;
        tracing::info!(session = %id, by, "watched");
    }
    let place = live.change(|state| state.join_to_watch(query.from)).map_err(|Crowded| crowded(&live))?;
    Ok(on(&live, serve(Arc::clone(&live), place, None)))
}

/// Lists the sessions, newest first: those that go on, and the last ones that have ended.
#[utoipa::path(get, path = "/v1/projects/{project}/sessions", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path)),
    responses((status = 200, body = Vec<SessionView>), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Project(project): Project,
) -> Result<Answer<Vec<SessionView>>, Refusal> {
    let mut sessions = state.sessions.list(&project).await?;
    if !access.may(Verb::See, Thing::Project(&project)) {
        let mut devices = state.service.store().devices(&project).await.map_err(ServiceError::from)?;
        devices.retain(|device| access.sees(&project, &device.labels));
        sessions.retain(|session| devices.iter().any(|device| device.name == session.device));
    }
    Ok(Answer(sessions))
}

/// Shows one session.
#[utoipa::path(get, path = "/v1/projects/{project}/sessions/{id}", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = SessionView), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Session(id): Session,
) -> Result<Answer<SessionView>, Refusal> {
    check(&state, &may, (&project, &id), Verb::See).await?;
    Ok(Answer(state.sessions.show(&project, &id).await?))
}

/// Ends a session, whoever is at it. One whose device is out of reach ends when that is back, or its time is over.
#[utoipa::path(delete, path = "/v1/projects/{project}/sessions/{id}", tag = "sessions", security(("token" = [])),
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = SessionView), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has ended")))]
pub(super) async fn end(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Session(id): Session,
) -> Result<Answer<SessionView>, Refusal> {
    check(&state, &may, (&project, &id), Verb::Shell).await?;
    Ok(Answer(state.sessions.end(&project, &id, by).await?))
}

/// Gives a session's recording, as far as it is.
#[utoipa::path(get, path = "/v1/projects/{project}/sessions/{id}/recording", tag = "sessions",
    security(("token" = [])), params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = String, content_type = "application/x-asciicast"),
        (status = 404, body = Problem)))]
pub(super) async fn recording(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Session(id): Session,
) -> Result<Response, Refusal> {
    check(&state, &may, (&project, &id), Verb::Shell).await?;
    let bytes = state.sessions.recording(&project, &id).await?;
    Ok(([(header::CONTENT_TYPE, ASCIICAST)], bytes).into_response())
}

/// Refuses what is not allowed on the session's device. Where that is gone, it takes the right to all devices.
async fn check(
    state: &ApiState,
    may: &May,
    (project, id): (&ProjectName, &SessionId),
    verb: Verb,
) -> Result<(), Refusal> {
    let session = state.sessions.show(project, id).await?;
    let device = state.service.store().device_named(project, &session.device).await.map_err(ServiceError::from)?;
    match device {
        Some(device) if !may.access.sees(project, &device.labels) => Err(SessionError::Unknown(id.clone()).into()),
        Some(device) => may.check(verb, project, &device.labels),
        None => may.check_whole(verb, project),
    }
}

/// Refuses to type as another user than the device's own, unless that is allowed there.
async fn above(
    state: &ApiState,
    may: &May,
    on: (&ProjectName, &DeviceRecord),
    user: Option<&str>,
) -> Result<Extension<Above>, Refusal> {
    let above = match user.filter(|user| on.1.facts.is_above(Some(user))) {
        Some(user) => above::check(state, may, on, ("shell", &format!("as {user}"))).await?,
        None => Above(Vec::new()),
    };
    Ok(Extension(above))
}

/// Of a session within an instance: looks that this is its device, says as whom it runs there, and writes it down.
async fn begin_within(
    state: &ApiState,
    may: &May,
    (project, device): (&ProjectName, &DeviceRecord),
    start: &mut ShellStart,
) -> Result<(), Refusal> {
    let Some(key) = &start.within else { return Ok(()) };
    let there = state.service.device_of(project, &key.application, &key.path).await?;
    if there.id != device.id {
        let title = format!("`{key}` is not on the device `{}`", device.name);
        return Err(Refusal::new(ErrorCode::Conflict, title).help("ask again: it may have moved just now"));
    }
    if start.user.is_none() {
        start.user = within::user(&state.service, device, key).await?;
    }
    let thing = format!("device {}", device.name);
    let detail = format!("in {key}");
    Ok(state.service.audit(&may.actor, (Verb::Shell.name(), &thing), AuditOutcome::Allowed, &detail).await?)
}

/// The answer, which ends with the right to the session's device.
fn on(live: &Live, response: Response) -> Response {
    (Extension(BegunOn(vec![live.record.name.clone()])), response).into_response()
}

fn crowded(live: &Live) -> Refusal {
    SessionError::Crowded(live.record.id.clone()).into()
}

fn refuse_ended(live: &Live) -> Result<(), Refusal> {
    match live.look().verdict.clone() {
        Some(verdict) => Err(SessionError::Ended { id: live.record.id.clone(), verdict }.into()),
        None => Ok(()),
    }
}

/// Answers somebody who is at the session, as long as both are there.
fn serve(live: Arc<Live>, place: Place, input: Option<(u64, BodyFrames)>) -> Response {
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(async move {
        let leaving = Leaving { live: &live, viewer: place.viewer };
        let client = input.as_ref().map(|(client, _)| *client);
        tokio::select! {
            () = tell(&live, place, client, &output) => {}
            () = hear(&live, input) => {}
            () = output.closed() => {}
        }
        drop(leaving);
    });
    framed(answer)
}

/// Gives the place free again, however the connection ends.
struct Leaving<'a> {
    live: &'a Live,
    viewer: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.live.change(|state| state.leave(self.viewer));
    }
}

/// What a client was told already.
struct Told<'a> {
    live: &'a Live,
    client: Option<u64>,
    output: u64,
    taken: u64,
    notice: u64,
    reachable: bool,
}

/// Tells a client everything until the session has ended, or the client is gone.
async fn tell(live: &Live, place: Place, client: Option<u64>, output: &mpsc::Sender<Bytes>) {
    let mut moved = live.watch();
    let (size, notice) = {
        let state = live.look();
        (state.size, state.notice.0)
    };
    let record = &live.record;
    let joined = Joined {
        session: record.id.clone(),
        device: record.name.clone(),
        from: place.from,
        taken: place.taken,
        keep: record.keep,
        size,
    };
    if !send(output, &ShellFrame::Joined(joined)).await {
        return;
    }
    // Of a session that begins, nobody says that it is not there yet.
    let reachable = !live.look().began || live.look().reachable;
    let taken = place.taken.unwrap_or(0);
    let mut told = Told { live, client, output: place.from, taken, notice, reachable: true };
    if !reachable {
        told.reachable = false;
        if !send(output, &ShellFrame::Reachable(false)).await {
            return;
        }
    }
    loop {
        moved.borrow_and_update();
        let Some(frame) = told.next() else {
            // The sender is in the session.
            moved.changed().await.ok();
            continue;
        };
        let is_end = matches!(frame, ShellFrame::Verdict(_));
        if !send(output, &frame).await || is_end {
            return;
        }
        if let ShellFrame::Output(..) = frame {
            live.change(|state| state.delivered(place.viewer, told.output));
        }
    }
}

impl Told<'_> {
    /// What is to be told next, if anything is.
    fn next(&mut self) -> Option<ShellFrame> {
        let state = self.live.look();
        let taken = self.client.map_or(0, |client| state.taken(client));
        if taken > self.taken {
            self.taken = taken;
            return Some(ShellFrame::Taken(taken));
        }
        if let Some((place, bytes)) = state.output.read(self.output, MAX_CHUNK) {
            self.output = place + bytes.len() as u64;
            return Some(ShellFrame::Output(place, bytes));
        }
        if state.notice.0 > self.notice {
            self.notice = state.notice.0;
            return Some(ShellFrame::Notice(state.notice.1.clone()));
        }
        if let Some(verdict) = &state.verdict {
            return Some(ShellFrame::Verdict(Verdict::clone(verdict)));
        }
        if state.began && state.reachable != self.reachable {
            self.reachable = state.reachable;
            return Some(ShellFrame::Reachable(state.reachable));
        }
        None
    }
}

/// Waits until the client takes it; false when it is gone.
async fn send(output: &mpsc::Sender<Bytes>, frame: &ShellFrame) -> bool {
    match frame.encode() {
        Ok(bytes) => output.send(bytes.into()).await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "a frame of a session cannot be sent");
            false
        }
    }
}

/// Takes what a client sends until it goes. Whoever watches sends nothing, and goes with the connection.
async fn hear(live: &Live, input: Option<(u64, BodyFrames)>) {
    let Some((client, mut frames)) = input else { return std::future::pending().await };
    loop {
        let frame = match frames.next(MAX_STREAM_FRAME).await.map(|frame| frame.map(ShellFrame::decode)) {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return,
            Ok(Some(Err(error))) => return tracing::info!(%error, "a client says what cannot be read"),
            Err(error) => return tracing::debug!(%error, "a client went away"),
        };
        match frame {
            ShellFrame::Input(place, bytes) => {
                if !typed(live, client, place, &bytes).await {
                    return tracing::info!("a client's input has a gap");
                }
            }
            ShellFrame::Resize(size) => live.change(|state| state.size = size),
            // Of a newer version, or not a client's to say: to end a session is another request.
            ShellFrame::End
            | ShellFrame::Present(_)
            | ShellFrame::Redraw
            | ShellFrame::Attached(_)
            | ShellFrame::Output(..)
            | ShellFrame::Taken(_)
            | ShellFrame::Notice(_)
            | ShellFrame::Reachable(_)
            | ShellFrame::Joined(_)
            | ShellFrame::Verdict(_)
            | ShellFrame::Unknown(_) => {}
        }
    }
}

/// Waits for room; false when a part before it is missing.
async fn typed(live: &Live, client: u64, place: u64, bytes: &[u8]) -> bool {
    let mut moved = live.watch();
    loop {
        moved.borrow_and_update();
        match live.change_if(|state| state.typed(client, place, bytes)) {
            Some(true) => return true,
            None => return false,
            // The sender is in the session.
            Some(false) => drop(moved.changed().await),
        }
    }
}
