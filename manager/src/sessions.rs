//! Shell sessions: the manager's side of terminals that live on devices.
//!
//! For each session that goes on there is one task with a line to its agent (`line`), which records what is printed
//! (`recording`), and a state that those who use or watch it share with it (`live`). The session itself is the agent's:
//! when the manager comes back, it finds the sessions in the store and takes up their lines again.

mod line;
mod live;
mod recording;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use robo_model::access::{Thing, Verb};
use robo_model::name::{DeviceName, ProjectName, SessionId, UserName};
use robo_wire::shell::{SessionView, ShellStart};
use robo_wire::stream::Verdict;
use tokio::task::JoinSet;

use self::line::Line;
use self::recording::Recording;
use crate::bus::Ring;
use crate::links::Links;
use crate::service::{Service, ServiceError, now};
use crate::store::{DeviceRecord, SessionEnd, SessionRecord, StoreError};
use crate::token;

pub(crate) use self::live::{Crowded, Live, Place};

/// Most sessions at a time: each may hold a megabyte of output.
const MAX_LIVE: usize = 256;

/// Bytes of a session's identity: short enough to be typed; it opens nothing.
const ID_BYTES: usize = 5;

/// How long a session that has ended is remembered for clients that are cut off at that moment.
const LINGER: Duration = Duration::from_secs(2 * 60);

/// Time between two tries to write down how a session ended.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Bytes of a command's words that are kept with a session.
const MAX_WORDS: usize = 1024;

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no such session.
    #[error("there is no session `{0}`")]
    Unknown(SessionId),
    /// It has ended.
    #[error("the session `{id}` has ended: {verdict}")]
    Ended {
        /// Which.
        id: SessionId,
        /// How.
        verdict: Verdict,
    },
    /// The device is not connected.
    #[error("the device `{0}` is not connected")]
    Offline(DeviceName),
    /// There are as many as there may be.
    #[error("{MAX_LIVE} sessions go on at this manager already")]
    TooMany,
    /// As many people are there as may be.
    #[error("too many people are at the session `{0}` already")]
    Crowded(SessionId),
    /// What is to be run cannot be.
    #[error("{0}")]
    Start(String),
    /// It has no recording.
    #[error("the session `{0}` has no recording any more")]
    NoRecording(SessionId),
    /// The recording cannot be read or written.
    #[error("the recording of a session cannot be used")]
    Recording(#[source] std::io::Error),
    /// The service refuses or fails.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// All sessions. Clones share them; when the last one is dropped, their lines end, and they themselves go on.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    service: Service,
    links: Arc<dyn Links>,
    folder: PathBuf,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    live: HashMap<SessionId, Arc<Live>>,
    tasks: JoinSet<()>,
}

impl Sessions {
    /// None yet; recordings lie in `folder`.
    #[must_use]
    pub fn new(service: Service, links: Arc<dyn Links>, folder: &Path) -> Self {
        Self(Arc::new(Inner { service, links, folder: folder.to_owned(), table: Mutex::default() }))
    }

    /// Takes up the lines of the sessions whose end is not known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for record in self.0.service.store().open_sessions().await? {
            let recording = line::resume_recording(&self.0.folder, &record);
            tracing::info!(session = %record.id, device = %record.name, "a session goes on");
            self.run(record, None, recording);
        }
        Ok(())
    }

    /// Begins a session on a device.
    ///
    /// # Errors
    /// When it cannot be: the device is offline, there are too many, the disk or the store fails.
    pub(crate) async fn begin(
        &self,
        device: &DeviceRecord,
        by: String,
        start: ShellStart,
    ) -> Result<Arc<Live>, SessionError> {
        start.check().map_err(SessionError::Start)?;
        if !self.0.links.is_linked(&device.id) {
            return Err(SessionError::Offline(device.name.clone()));
        }
        if self.0.table().live.len() >= MAX_LIVE {
            return Err(SessionError::TooMany);
        }
        let id = token::random_hex(ID_BYTES).map_err(ServiceError::from)?;
        let id = SessionId::new(&id).map_err(|error| ServiceError::Broken(error.to_string()))?;
        let record = SessionRecord {
            id,
            project: device.project.clone(),
            device: device.id.clone(),
            name: device.name.clone(),
            by,
            command: shortened(&start.argv),
            user: start.user.clone(),
            keep: start.keep,
            size: start.size,
            started_at: now(),
            end: None,
        };
        let title = format!("{} {}", record.name, record.command.join(" "));
        let header = (record.size, title.trim_end());
        // Without a recording there is no session: what people do as somebody's operator can be looked at.
        let recording = Recording::create(&self.0.folder, &record.id, header, record.started_at)
            .map_err(SessionError::Recording)?;
        for forgotten in self.0.service.store().begin_session(&record).await? {
            recording::remove(&self.0.folder, &forgotten);
        }
        self.0.service.bus().ring(Ring::Events(record.project.clone()));
        tracing::info!(session = %record.id, device = %record.name, by = record.by, "a session begins");
        Ok(self.run(record, Some(start), Some(recording)))
    }

    /// A session that goes on, or has ended a moment ago.
    ///
    /// # Errors
    /// When there is none, or it has ended.
    pub(crate) async fn live(&self, project: &ProjectName, id: &SessionId) -> Result<Arc<Live>, SessionError> {
        let found = self.0.table().live.get(id).filter(|live| live.record.project == *project).cloned();
        match found {
            Some(live) => Ok(live),
            None => match self.record(project, id).await?.end {
                Some(end) => Err(SessionError::Ended { id: id.clone(), verdict: end.verdict }),
                None => Err(SessionError::Unknown(id.clone())),
            },
        }
    }

    async fn record(&self, project: &ProjectName, id: &SessionId) -> Result<SessionRecord, SessionError> {
        let found = self.0.service.store().session(project, id).await?;
        found.ok_or_else(|| SessionError::Unknown(id.clone()))
    }

    /// The project's sessions, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn list(&self, project: &ProjectName) -> Result<Vec<SessionView>, SessionError> {
        let all = self.0.service.store().sessions(project).await?;
        Ok(all.into_iter().map(|record| self.view(record)).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(crate) async fn show(&self, project: &ProjectName, id: &SessionId) -> Result<SessionView, SessionError> {
        Ok(self.view(self.record(project, id).await?))
    }

    /// Ends a session. One whose device is away ends when that is back, or when its time is over.
    ///
    /// # Errors
    /// When there is none, or it has ended.
    pub(crate) async fn end(
        &self,
        project: &ProjectName,
        id: &SessionId,
        by: String,
    ) -> Result<SessionView, SessionError> {
        let live = self.live(project, id).await?;
        if let Some(verdict) = live.look().verdict.clone() {
            return Err(SessionError::Ended { id: id.clone(), verdict });
        }
        live.change(|state| state.end_by = Some(state.end_by.take().unwrap_or(by)));
        self.show(project, id).await
    }

    /// A session's recording, as far as it is.
    ///
    /// # Errors
    /// When there is no such session, or its recording cannot be read.
    pub(crate) async fn recording(&self, project: &ProjectName, id: &SessionId) -> Result<Vec<u8>, SessionError> {
        let record = self.record(project, id).await?;
        match tokio::fs::read(recording::path(&self.0.folder, &record.id)).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(SessionError::NoRecording(id.clone())),
            Err(error) => Err(SessionError::Recording(error)),
        }
    }

    fn view(&self, record: SessionRecord) -> SessionView {
        let live = self.0.table().live.get(&record.id).cloned();
        let (mut users, mut watchers, mut reachable) = (0, 0, false);
        if let Some(live) = &live {
            let state = live.look();
            (users, watchers) = state.crowd();
            reachable = state.reachable;
        }
        let path = recording::path(&self.0.folder, &record.id);
        let (ended_at, verdict, ended_by) = match record.end {
            Some(end) => (Some(end.at), Some(end.verdict), end.by),
            None => (None, None, None),
        };
        SessionView {
            id: record.id,
            device: record.name,
            by: record.by,
            command: record.command,
            user: record.user,
            started_at: record.started_at,
            ended_at,
            verdict,
            ended_by,
            users,
            watchers,
            reachable,
            recorded: std::fs::metadata(path).map_or(0, |data| data.len()),
        }
    }

    fn run(&self, record: SessionRecord, start: Option<ShellStart>, recording: Option<Recording>) -> Arc<Live> {
        let place = recording.as_ref().map_or(0, Recording::place);
        let live = Arc::new(Live::new(record, place));
        // One that was taken up again had begun.
        live.look().began = start.is_none();
        let line = Line { links: Arc::clone(&self.0.links), live: Arc::clone(&live), start, recording };
        let mut table = self.0.table();
        while table.tasks.try_join_next().is_some() {}
        table.live.insert(live.record.id.clone(), Arc::clone(&live));
        table.tasks.spawn(keep(line, self.0.service.clone(), Arc::downgrade(&self.0)));
        live
    }
}

/// Keeps a session's line to its end, writes that down, and forgets the session when everybody knows.
async fn keep(mut line: Line, service: Service, sessions: Weak<Inner>) {
    let live = Arc::clone(&line.live);
    let verdict = tokio::select! {
        verdict = Box::pin(line.run()) => verdict,
        never = while_allowed(&service, &live) => match never {},
    };
    let (live, recording) = (line.live, line.recording);
    let finished = recording.map_or(Ok(()), |recording| recording.finish(now()));
    if let Err(error) = finished {
        tracing::warn!(session = %live.record.id, %error, "a recording cannot be finished");
    }
    let end = SessionEnd { at: now(), verdict: verdict.clone(), by: live.look().end_by.clone() };
    tracing::info!(session = %live.record.id, device = %live.record.name, %verdict, "a session has ended");
    while let Err(error) = service.store().end_session(&live.record, &end).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the end of a session cannot be written down");
        tokio::time::sleep(STORE_PAUSE).await;
    }
    service.bus().ring(Ring::Events(live.record.project.clone()));
    live.change(|state| {
        // At the end: before, a full-screen program may stand over it.
        if let Some(by) = &end.by {
            state.say(format!("the session was ended by {by}"));
        }
        (state.reachable, state.verdict) = (false, Some(verdict));
    });
    tokio::time::sleep(LINGER).await;
    if let Some(inner) = sessions.upgrade() {
        inner.table().live.remove(&live.record.id);
    }
}

/// Ends a session as soon as whoever began it may not use one on its device any more.
async fn while_allowed(service: &Service, live: &Live) -> Infallible {
    let mut moved = service.rights_moved();
    loop {
        moved.borrow_and_update();
        if let Some(why) = why_forbidden(service, &live.record).await.unwrap_or(None) {
            live.change(|state| state.end_by = Some(why.to_owned()));
        }
        // The sender is in the service.
        drop(moved.changed().await);
    }
}

async fn why_forbidden(service: &Service, record: &SessionRecord) -> Result<Option<&'static str>, ServiceError> {
    const TAKEN: Option<&str> = Some("robo: the right to it was taken away");
    let Some(device) = service.store().device(&record.device).await? else { return Ok(None) };
    if device.project != record.project {
        return Ok(Some("robo: the device was moved to another project"));
    }
    // A name of an older version, which was none of a user.
    let Ok(user) = UserName::new(&record.by) else { return Ok(TAKEN) };
    let thing = Thing::Device(&record.project, &device.labels);
    let verbs = [Some(Verb::Shell), device.facts.is_above(record.user.as_deref()).then_some(Verb::Root)];
    for verb in verbs.into_iter().flatten() {
        if !service.user_may(&user, verb, thing).await?.allowed {
            return Ok(TAKEN);
        }
    }
    Ok(None)
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words as far as they are kept.
fn shortened(argv: &[String]) -> Vec<String> {
    let mut left = MAX_WORDS;
    let mut words = Vec::new();
    for word in argv {
        let kept = word.get(..word.floor_char_boundary(left)).unwrap_or_default();
        words.push(if kept.len() < word.len() { format!("{kept}…") } else { kept.to_owned() });
        left = left.saturating_sub(kept.len() + 1);
        if left == 0 {
            break;
        }
    }
    words
}
