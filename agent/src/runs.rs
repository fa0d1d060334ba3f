//! Runs: the commands of jobs. A run outlives the stream over which it was ordered, and begins at most once.
//!
//! For each run that goes on there is one task, which alone touches its process; a stream to it is attached and comes
//! back after a cut. A run ends with its agent: one that began later says so of every run that it does not know, and
//! begins none that may have been begun before it.

mod attach;
mod output;
mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use robo_model::name::JobId;
use robo_model::quantity::Millis;
use robo_wire::job::{ABSENT, Ended, KEEP, RunFrame, RunOpen, RunStart};
use robo_wire::stream::Verdict;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::run::Run;
use crate::framing::write_frame;
use crate::runtime::{Place, exec};

/// Most commands that run at a time: each holds some files and up to half a megabyte of output.
const MAX_RUNS: usize = 64;

/// Most runs that are remembered, those that have ended and were not fetched included: the oldest of these go first.
const MAX_REMEMBERED: usize = 512;

/// All runs of one agent. Clones share them; when the last one is dropped, their commands are ended.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    table: Mutex<Table>,
    /// How long a command in the foreground goes on while nobody takes its output.
    absent: Millis,
}

struct Table {
    runs: HashMap<JobId, Arc<Run>>,
    tasks: JoinSet<()>,
    /// What was asked for before that and is not in the table may have been begun.
    known_since: Instant,
    /// Why none begins any more.
    closed: Option<String>,
}

impl Default for Runs {
    fn default() -> Self {
        Self::with_patience(ABSENT)
    }
}

impl Runs {
    /// None yet, where commands in the foreground go on for so long while nobody takes their output.
    #[must_use]
    pub fn with_patience(absent: Millis) -> Self {
        let table = Table { runs: HashMap::new(), tasks: JoinSet::new(), known_since: Instant::now(), closed: None };
        Self(Arc::new(Inner { table: Mutex::new(table), absent }))
    }

    /// Serves a stream that the manager opened, until it or the run ends. A run that begins, begins at `place`.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, open: RunOpen, place: Option<Place>, mut stream: S) {
        match self.find_or_begin(&open, place) {
            Ok(run) => attach::serve(&run, open.from, stream).await,
            Err(verdict) => not_begun(verdict, &mut stream).await,
        }
    }

    /// Answers a stream whose run cannot begin. One that is there already is not asked for its place anew.
    pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, open: RunOpen, reason: String, mut stream: S) {
        let known = self.0.table().runs.get(&open.job).cloned();
        match known {
            Some(run) => attach::serve(&run, open.from, stream).await,
            None => not_begun(Verdict::Refused { reason }, &mut stream).await,
        }
    }

    /// Ends all that run, because of this, and begins none any more; without a reason, lets them begin again.
    pub fn close(&self, why: Option<String>) {
        let mut table = self.0.table();
        if let Some(reason) = &why {
            for run in table.runs.values().filter(|run| !run.has_ended()) {
                run.change(|state| state.cancel_because(reason));
            }
        }
        table.closed = why;
    }

    /// How many commands run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.table().going()
    }

    /// The run, begun now if it must be. What was not begun is not remembered: it may be asked for again.
    fn find_or_begin(&self, open: &RunOpen, place: Option<Place>) -> Result<Arc<Run>, Verdict> {
        let mut table = self.0.table();
        if let Some(run) = table.runs.get(&open.job) {
            return Ok(Arc::clone(run));
        }
        let lost = |reason: &str| Verdict::Lost { reason: reason.to_owned() };
        let Some(start) = &open.start else {
            return Err(lost("the device does not know of it: its agent was restarted, or it was never asked"));
        };
        if open.asked.is_some_and(|asked| asked.duration() >= table.known_since.elapsed()) {
            return Err(lost("the agent was restarted; the command may have begun before that"));
        }
        if let Some(reason) = table.closed.clone() {
            return Err(Verdict::Refused { reason });
        }
        if table.going() >= MAX_RUNS {
            let reason = format!("{MAX_RUNS} commands run on this device already; wait for one, or cancel one");
            return Err(Verdict::Refused { reason });
        }
        table.make_room();
        let (run, child) = begin(start, place, self.0.absent).map_err(|reason| Verdict::Refused { reason })?;
        let run = Arc::new(run);
        while table.tasks.try_join_next().is_some() {}
        table.runs.insert(open.job.clone(), Arc::clone(&run));
        let going = keep(Arc::downgrade(&self.0), open.job.clone(), Arc::clone(&run), child);
        table.tasks.spawn(going);
        Ok(run)
    }
}

async fn not_begun<S: AsyncWrite + Unpin>(verdict: Verdict, stream: &mut S) {
    let ended = Ended { verdict, began_at: None, ended_at: crate::now() };
    if let Ok(frame) = RunFrame::Ended(ended).encode() {
        // A peer that is gone needs none.
        write_frame(stream, &frame).await.ok();
    }
    stream.shutdown().await.ok();
}

fn begin(start: &RunStart, place: Option<Place>, absent: Millis) -> Result<(Run, tokio::process::Child), String> {
    start.command.check()?;
    let child = exec::start(&start.command, place)?;
    Ok((Run::new(start, absent), child))
}

/// Runs it to its end, and forgets it when that is known where it should be.
async fn keep(runs: Weak<Inner>, id: JobId, run: Arc<Run>, child: tokio::process::Child) {
    Box::pin(run.drive(child)).await;
    // Nobody came for it in all that time.
    let fetched = timeout(KEEP.duration(), run.until_done()).await.is_ok();
    if let Some(inner) = runs.upgrade() {
        let mut table = inner.table();
        table.runs.remove(&id);
        if !fetched {
            table.known_since = Instant::now();
        }
    }
}

impl Table {
    fn going(&self) -> usize {
        self.runs.values().filter(|run| !run.has_ended()).count()
    }

    /// Forgets the run that ended first, when there are too many; then nobody knows any more what was asked before.
    fn make_room(&mut self) {
        if self.runs.len() < MAX_REMEMBERED {
            return;
        }
        let ended = self.runs.iter().filter_map(|(id, run)| Some((run.ended_at()?, id.clone())));
        if let Some((_, id)) = ended.min() {
            self.runs.remove(&id);
            self.known_since = Instant::now();
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
