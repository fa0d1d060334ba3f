//! Shells: sessions of people, each with a terminal and a program on it.
//!
//! A session outlives the streams over which it is used: what is printed meanwhile is kept, as far as there is room, and
//! who comes back goes on where they were. A session that nobody uses, or in which nothing happens, ends after a time
//! that its begin says; all end with the agent.
//!
//! - [`leader`]: the first process of a session; `terminal`: the pseudo-terminal.
//! - `session`: one session, and the task that runs it; `attach`: a stream to it.

mod attach;
pub mod leader;
mod session;
mod terminal;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use robo_model::name::SessionId;
use robo_wire::shell::{ShellFrame, ShellOpen, ShellStart};
use robo_wire::stream::Verdict;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;

use self::session::Session;
use self::terminal::{Program, Terminal};
use crate::framing::write_frame;
use crate::runtime::Place;

/// Most sessions at a time that run: more people than this do not look after one device at once, and each may hold a
/// megabyte of output.
pub const MAX_SESSIONS: usize = 16;

/// Most sessions that are remembered, those included that have ended and whose end may not have arrived yet.
const MAX_REMEMBERED: usize = 2 * MAX_SESSIONS;

/// All sessions of this agent; a cheap handle. When the last one is dropped, they end.
#[derive(Clone)]
pub struct Shells(Arc<Inner>);

struct Inner {
    /// The program that becomes the leader of a terminal.
    exe: PathBuf,
    table: Mutex<Table>,
    /// Held while one begins: two streams that begin the same one make one.
    beginning: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionId, Arc<Session>>,
    tasks: JoinSet<()>,
    /// Why none begins any more.
    closed: Option<String>,
}

impl Shells {
    /// None yet. `exe` is a program whose `main` asks [`crate::as_helper`].
    #[must_use]
    pub fn new(exe: PathBuf) -> Self {
        Self(Arc::new(Inner { exe, table: Mutex::default(), beginning: tokio::sync::Mutex::default() }))
    }

    /// Serves a stream that the manager opened, until it or the session ends. A session that begins, begins at `place`.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, open: ShellOpen, place: Option<Place>, mut stream: S) {
        match self.find_or_begin(&open, place).await {
            Ok(session) => attach::serve(&session, open.from, stream).await,
            Err(verdict) => not_begun(verdict, &mut stream).await,
        }
    }

    /// Answers a stream whose session cannot begin. One that is there already is not asked for its place anew.
    pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, open: ShellOpen, reason: String, mut stream: S) {
        let known = self.0.table().sessions.get(&open.session).cloned();
        match known {
            Some(session) => attach::serve(&session, open.from, stream).await,
            None => not_begun(Verdict::Refused { reason }, &mut stream).await,
        }
    }

    /// Ends all that run, because of this, and begins none any more; without a reason, lets them begin again.
    pub fn close(&self, why: Option<String>) {
        let mut table = self.0.table();
        if let Some(reason) = &why {
            for session in table.sessions.values().filter(|session| !session.has_ended()) {
                session.end_because(reason);
            }
        }
        table.closed = why;
    }

    /// How many sessions run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.table().sessions.values().filter(|session| !session.has_ended()).count()
    }

    async fn find_or_begin(&self, open: &ShellOpen, place: Option<Place>) -> Result<Arc<Session>, Verdict> {
        let _beginning = self.0.beginning.lock().await;
        if let Some(session) = self.0.table().sessions.get(&open.session) {
            return Ok(Arc::clone(session));
        }
        let Some(start) = &open.start else {
            let reason = "the device no longer has it: its agent was restarted, or it ended long ago".to_owned();
            return Err(Verdict::Lost { reason });
        };
        self.begin(&open.session, start, place).await.map_err(|reason| Verdict::Refused { reason })
    }

    async fn begin(&self, id: &SessionId, start: &ShellStart, place: Option<Place>) -> Result<Arc<Session>, String> {
        start.check()?;
        let remembered = self.0.table().sessions.len();
        if self.count() >= MAX_SESSIONS || remembered >= MAX_REMEMBERED {
            return Err(format!(
                "{MAX_SESSIONS} sessions run on this device already; end one of them with `robo session end ID`"
            ));
        }
        let (terminal, program) = Terminal::start(&self.0.exe, id, start, place).await?;
        let session = Arc::new(Session::new(start));
        let mut table = self.0.table();
        // It may have been said while the program began, which ends with this.
        if let Some(reason) = table.closed.clone() {
            return Err(reason);
        }
        tracing::info!(session = %id, "a shell session begins");
        while table.tasks.try_join_next().is_some() {}
        table.sessions.insert(id.clone(), Arc::clone(&session));
        let run = run(Arc::downgrade(&self.0), id.clone(), Arc::clone(&session), (terminal, program));
        table.tasks.spawn(run);
        Ok(session)
    }
}

async fn not_begun<S: AsyncWrite + Unpin>(verdict: Verdict, stream: &mut S) {
    if let Ok(frame) = ShellFrame::Verdict(verdict).encode() {
        // A peer that is gone needs none.
        write_frame(stream, &frame).await.ok();
    }
    stream.shutdown().await.ok();
}

/// Runs a session to its end, and forgets it when that is known where it should be.
async fn run(shells: Weak<Inner>, id: SessionId, session: Arc<Session>, (terminal, program): (Terminal, Program)) {
    Box::pin(session::run(&session, terminal, program)).await;
    tracing::info!(session = %id, "a shell session has ended");
    session.until_told().await;
    if let Some(inner) = shells.upgrade() {
        inner.table().sessions.remove(&id);
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
