//! Jobs in the background: commands for many devices, with exactly one verdict for each.
//!
//! For each job that goes on there is one task, and below it one for each target that has no verdict yet, with a line
//! to its agent (`line`), whose output goes to a file (`kept`). The runs themselves are the agents': when the manager
//! comes back, it finds the jobs in the store and takes up their lines again.

mod kept;
pub(crate) mod line;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use robo_model::access::{Thing, Verb};
use robo_model::name::{DeviceId, JobId, ProjectName, UserName};
use robo_model::quantity::UnixMillis;
use robo_wire::job::{Ended, JobRequest, JobView, KEEP, RunStart, RunState, RunView};
use robo_wire::stream::Verdict;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::kept::{Kept, Reader, Shelf};
use self::line::{Line, Outcome};
use crate::bus::Ring;
use crate::links::Links;
use crate::service::{Service, ServiceError, now};
use crate::store::{JobCounts, JobRecord, RunRecord, StoreError};
use crate::token;

/// Most jobs that go on at a time, those that wait for devices included.
const MAX_LIVE: usize = 1024;

/// Bytes of a job's identity: short enough to be typed; it opens nothing.
const ID_BYTES: usize = 5;

/// How often it is looked whether a device that is waited for is there.
const LOOK: Duration = Duration::from_millis(250);

/// Time between two tries to write down how targets ended.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Most verdicts that are written down at once.
const BATCH: usize = 1024;

/// Most bytes of a command's words that are shown of a job.
const MAX_WORDS: usize = 1024;

/// Why a job cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// There is no such job.
    #[error("there is no job `{0}`")]
    Unknown(JobId),
    /// It has ended.
    #[error("the job `{0}` has ended")]
    Ended(JobId),
    /// The job has no such target.
    #[error("the job `{job}` has no device `{device}`")]
    NoTarget {
        /// Which job.
        job: JobId,
        /// What was asked for.
        device: String,
    },
    /// There are as many as there may be.
    #[error("{MAX_LIVE} jobs go on at this manager already")]
    TooMany,
    /// What is asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// Its output cannot be read.
    #[error("the output of a job cannot be read")]
    Output(#[source] std::io::Error),
    /// The service refuses or fails.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// One target, as it was resolved.
#[derive(Debug, Clone)]
pub(crate) struct JobTarget {
    /// As asked for.
    pub(crate) name: String,
    /// The device, or why nothing can be done on it.
    pub(crate) device: Result<DeviceId, &'static str>,
}

/// All jobs. Clones share them; when the last one is dropped, their lines end, and the commands themselves go on.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    service: Service,
    links: Arc<dyn Links>,
    shelf: Arc<Shelf>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    live: HashMap<JobId, Arc<Live>>,
    tasks: JoinSet<()>,
}

/// A job that goes on.
struct Live {
    record: JobRecord,
    running: Vec<AtomicBool>,
    cancel: CancellationToken,
    /// It begins nowhere any more.
    halt: CancellationToken,
    moved: watch::Sender<()>,
}

impl Jobs {
    /// None yet; their output lies in `folder`.
    #[must_use]
    pub fn new(service: Service, links: Arc<dyn Links>, folder: PathBuf) -> Self {
        let shelf = Arc::new(Shelf::open(folder));
        Self(Arc::new(Inner { service, links, shelf, table: Mutex::default() }))
    }

    /// Takes up the jobs that have not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for record in self.0.service.store().open_jobs().await? {
            let runs = self.0.service.store().runs(&record.id).await?;
            tracing::info!(job = %record.id, "a job goes on");
            self.run(record, runs, true);
        }
        Ok(())
    }

    /// Begins a job.
    ///
    /// # Errors
    /// When it cannot be: the request is wrong, there are too many, or the store fails.
    pub(crate) async fn begin(
        &self,
        project: &ProjectName,
        by: String,
        request: JobRequest,
        targets: Vec<JobTarget>,
    ) -> Result<JobView, JobError> {
        request.check().map_err(JobError::Request)?;
        if self.0.table().live.len() >= MAX_LIVE {
            return Err(JobError::TooMany);
        }
        let id = new_id()?;
        let created_at = now();
        let expires_at = request.queue.map(|time| UnixMillis(created_at.0.saturating_add(time.0)));
        let record = JobRecord {
            id,
            project: project.clone(),
            by,
            request,
            created_at,
            expires_at,
            ended_at: None,
            cancelled_by: None,
        };
        let runs: Vec<RunRecord> =
            targets.into_iter().enumerate().map(|(number, target)| self.first(&record, number, target)).collect();
        for forgotten in self.0.service.store().begin_job(&record, &runs).await? {
            self.0.shelf.remove(&forgotten);
        }
        self.0.service.bus().ring(Ring::Events(record.project.clone()));
        tracing::info!(job = %record.id, by = record.by, targets = runs.len(), "a job begins");
        let id = record.id.clone();
        self.run(record, runs, false);
        self.show(project, &id).await
    }

    /// A target at the job's begin. Of many that are there, all are asked at once: one write says so.
    fn first(&self, record: &JobRecord, number: usize, target: JobTarget) -> RunRecord {
        let is_there = target.device.as_ref().is_ok_and(|device| self.0.links.is_linked(device));
        let verdict = match &target.device {
            Err(reason) => Some(Verdict::Refused { reason: (*reason).to_owned() }),
            Ok(_) if !is_there && record.expires_at.is_none() => Some(Verdict::Offline),
            Ok(_) => None,
        };
        let at_once = record.request.concurrency.is_none() && !record.request.fail_fast;
        RunRecord {
            number,
            name: target.name,
            device: target.device.ok(),
            sent: is_there && at_once,
            ended: verdict.map(|verdict| Ended { verdict, began_at: None, ended_at: record.created_at }),
            missing: 0,
        }
    }

    /// The project's jobs, newest first, without their targets.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn list(&self, project: &ProjectName) -> Result<Vec<JobView>, JobError> {
        let all = self.0.service.store().jobs(project).await?;
        Ok(all.into_iter().map(|(record, counts)| view(record, counts, Vec::new())).collect())
    }

    /// Which of the project's jobs have a target that has one of these names.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn on(&self, project: &ProjectName, names: &[&str]) -> Result<BTreeSet<JobId>, JobError> {
        Ok(self.0.service.store().jobs_on(project, names).await?)
    }

    /// One of them, with its targets.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(crate) async fn show(&self, project: &ProjectName, id: &JobId) -> Result<JobView, JobError> {
        let (record, counts) = self.record(project, id).await?;
        let runs = self.0.service.store().runs(id).await?;
        let live = self.0.table().live.get(id).cloned();
        let is_running = |number: usize| {
            let running = live.as_ref().and_then(|live| live.running.get(number));
            running.is_some_and(|running| running.load(Ordering::Relaxed))
        };
        let runs = runs.into_iter().map(|run| {
            let running = is_running(run.number);
            run_view(run, running)
        });
        Ok(view(record, counts, runs.collect()))
    }

    async fn record(&self, project: &ProjectName, id: &JobId) -> Result<(JobRecord, JobCounts), JobError> {
        let found = self.0.service.store().job(project, id).await?;
        found.ok_or_else(|| JobError::Unknown(id.clone()))
    }

    /// Cancels a job: it begins nowhere any more, and what runs is ended.
    ///
    /// # Errors
    /// When there is none, or it has ended, or the store fails.
    pub(crate) async fn cancel(&self, project: &ProjectName, id: &JobId, by: &str) -> Result<JobView, JobError> {
        let (record, _) = self.record(project, id).await?;
        let live = self.0.table().live.get(id).cloned();
        let Some(live) = live.filter(|_| record.ended_at.is_none()) else { return Err(JobError::Ended(id.clone())) };
        self.0.service.store().cancel_job(id, by).await?;
        live.halt.cancel();
        live.cancel.cancel();
        self.show(project, id).await
    }

    /// Wakes when something of the job happens; nothing when it has ended.
    pub(crate) fn watch(&self, id: &JobId) -> Option<watch::Receiver<()>> {
        self.0.table().live.get(id).map(|live| live.moved.subscribe())
    }

    /// Reads the output of a target from its begin; nothing when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, id: &JobId, number: usize) -> Result<Option<Reader>, JobError> {
        Reader::open(&self.0.shelf.path(id, number)).map_err(JobError::Output)
    }

    fn run(&self, record: JobRecord, runs: Vec<RunRecord>, resumed: bool) {
        let cancel = CancellationToken::new();
        let halt = CancellationToken::new();
        if record.cancelled_by.is_some() {
            halt.cancel();
            cancel.cancel();
        }
        let running = runs.iter().map(|_| AtomicBool::new(false)).collect();
        let live = Arc::new(Live { record, running, cancel, halt, moved: watch::Sender::new(()) });
        let (links, shelf) = (Arc::clone(&self.0.links), Arc::clone(&self.0.shelf));
        let keeper = Keeper { live: Arc::clone(&live), service: self.0.service.clone(), links, shelf, resumed };
        let inner = Arc::downgrade(&self.0);
        let mut table = self.0.table();
        while table.tasks.try_join_next().is_some() {}
        table.live.insert(live.record.id.clone(), live);
        table.tasks.spawn(async move {
            keeper.keep(runs).await;
            if let Some(inner) = inner.upgrade() {
                inner.table().live.remove(&keeper.live.record.id);
            }
            keeper.live.moved.send_replace(());
        });
    }
}

/// An identity that no job has had.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn new_id() -> Result<JobId, JobError> {
    let id = token::random_hex(ID_BYTES).map_err(ServiceError::from)?;
    Ok(JobId::new(&id).map_err(|error| ServiceError::Broken(error.to_string()))?)
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps one job.
#[derive(Clone)]
struct Keeper {
    live: Arc<Live>,
    service: Service,
    links: Arc<dyn Links>,
    shelf: Arc<Shelf>,
    /// An earlier manager process began it.
    resumed: bool,
}

/// A target has ended.
struct End {
    number: usize,
    outcome: Outcome,
    missing: u64,
}

impl Keeper {
    /// Keeps the job until every target has its verdict and that is written down.
    async fn keep(&self, runs: Vec<RunRecord>) {
        let record = &self.live.record;
        if record.request.fail_fast && runs.iter().any(|run| run.ended.as_ref().is_some_and(is_bad)) {
            self.live.halt.cancel();
        }
        let permits =
            record.request.concurrency.and_then(|n| usize::try_from(n).ok()).unwrap_or(Semaphore::MAX_PERMITS);
        let gate = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let (give, mut ends) = mpsc::channel(BATCH);
        let mut tasks = JoinSet::new();
        for run in runs.into_iter().filter(|run| run.ended.is_none()) {
            let (keeper, gate, give) = (self.clone(), Arc::clone(&gate), give.clone());
            tasks.spawn(async move {
                let end = Box::pin(keeper.target(run, &gate)).await;
                // The receiver is there until all have ended.
                drop(give.send(end).await);
            });
        }
        drop(give);
        let mut batch = Vec::new();
        let mut forbidden = std::pin::pin!(self.forbidden());
        loop {
            let some = tokio::select! {
                some = ends.recv_many(&mut batch, BATCH) => some,
                () = &mut forbidden, if !self.live.cancel.is_cancelled() => {
                    tracing::info!(job = %record.id, by = record.by, "cancelled: the right to it was taken away");
                    self.live.halt.cancel();
                    self.live.cancel.cancel();
                    continue;
                }
            };
            if some == 0 {
                break;
            }
            let written: Vec<_> =
                batch.iter().map(|end| (end.number, end.outcome.ended.clone(), end.missing)).collect();
            while let Err(error) = self.service.store().end_runs(&record.id, &written).await {
                self.complain(&error).await;
            }
            for end in batch.drain(..) {
                if let Some(running) = self.live.running.get(end.number) {
                    running.store(false, Ordering::Relaxed);
                }
                // Only now: an agent that forgets it earlier could not tell it again.
                tokio::spawn(end.outcome.acknowledge());
            }
            self.live.moved.send_replace(());
        }
        while let Err(error) = self.service.store().end_job(record, now()).await {
            self.complain(&error).await;
        }
        self.service.bus().ring(Ring::Events(record.project.clone()));
        tracing::info!(job = %record.id, "a job has ended");
    }

    /// Waits until whoever ordered it may run commands on no device of the project any more, or none as the user that it
    /// names and could.
    async fn forbidden(&self) {
        let record = &self.live.record;
        let mut moved = self.service.rights_moved();
        let thing = Thing::SomeDevice(&record.project);
        let could = record.request.command.user.is_some() && self.may(Verb::Root, thing).await == Ok(true);
        loop {
            moved.borrow_and_update();
            if self.may(Verb::Exec, thing).await == Ok(false)
                || (could && self.may(Verb::Root, thing).await == Ok(false))
            {
                return;
            }
            // The sender is in the service.
            drop(moved.changed().await);
        }
    }

    /// Whether whoever ordered it may do this there now.
    async fn may(&self, verb: Verb, thing: Thing<'_>) -> Result<bool, String> {
        // A name that is none of a user has no rights.
        let Ok(user) = UserName::new(&self.live.record.by) else { return Ok(false) };
        let decision = self.service.user_may(&user, verb, thing).await.map_err(|error| error.to_string())?;
        Ok(decision.allowed)
    }

    /// Refuses to begin on a device on which whoever ordered it may not run commands any more.
    async fn check(&self, device: &DeviceId) -> Result<(), Verdict> {
        let project = &self.live.record.project;
        let found = self.service.store().device(device).await.map_err(|error| error.to_string());
        let may = match found {
            Ok(Some(device)) if device.project != *project => {
                let reason = format!("the device is in project `{project}` no more");
                return Err(Verdict::Refused { reason });
            }
            Ok(Some(device)) => {
                let thing = Thing::Device(project, &device.labels);
                // What the device wants may be more than it was when the job was ordered.
                let is_above = device.facts.is_above(self.live.record.request.command.user.as_deref());
                match self.may(Verb::Exec, thing).await {
                    Ok(true) if is_above => self.may(Verb::Root, thing).await,
                    may => may,
                }
            }
            Ok(None) => Ok(true),
            Err(error) => Err(error),
        };
        match may {
            Ok(true) => Ok(()),
            Ok(false) => {
                let reason = format!("`{}` may not run commands there any more", self.live.record.by);
                Err(Verdict::Refused { reason })
            }
            Err(reason) => Err(Verdict::Lost { reason }),
        }
    }

    /// A disk that is full now may not be in a moment; what happened is worth waiting.
    async fn complain(&self, error: &StoreError) {
        let job = &self.live.record.id;
        tracing::error!(error = error as &dyn std::error::Error, %job, "what became of a job cannot be written down");
        tokio::time::sleep(STORE_PAUSE).await;
    }

    /// Runs it on one device.
    async fn target(&self, mut run: RunRecord, gate: &Semaphore) -> End {
        let number = run.number;
        let (outcome, missing) = loop {
            match self.try_target(&run, gate).await {
                // It went before it was asked: one that waits for devices goes on waiting.
                Ok((outcome, _))
                    if outcome.ended.verdict == Verdict::Offline && self.live.record.expires_at.is_some() =>
                {
                    run.sent = false;
                }
                Ok(done) => break done,
                Err(verdict) => break (Outcome::here(verdict), 0),
            }
        };
        if self.live.record.request.fail_fast && is_bad(&outcome.ended) {
            self.live.halt.cancel();
        }
        End { number, outcome, missing }
    }

    async fn try_target(&self, run: &RunRecord, gate: &Semaphore) -> Result<(Outcome, u64), Verdict> {
        let record = &self.live.record;
        let lost = |reason: String| Verdict::Lost { reason };
        let device = run.device.clone().ok_or_else(|| lost("it has no device".to_owned()))?;
        let _permit = loop {
            if !run.sent {
                self.until_there(&device).await?;
            }
            let permit = tokio::select! {
                permit = gate.acquire() => permit.map_err(|error| lost(error.to_string()))?,
                () = self.live.halt.cancelled(), if !run.sent => return Err(self.not_begun()),
            };
            // It may have gone while others were first.
            if run.sent || self.links.is_linked(&device) || record.expires_at.is_none() {
                break permit;
            }
        };
        if self.live.halt.is_cancelled() && !run.sent {
            return Err(self.not_begun());
        }
        // After a restart nobody knows whether a device that was to be asked was asked: it is not asked to begin.
        let fresh = !run.sent || !self.resumed;
        if !run.sent {
            self.check(&device).await?;
            let store = self.service.store();
            store.send_run(&record.id, run.number).await.map_err(|error| lost(error.to_string()))?;
        }
        let start = fresh.then(|| RunStart { command: record.request.command.clone(), background: true });
        let pair = (record.id.clone(), device);
        let mut line = Line::new(Arc::clone(&self.links), pair, start, KEEP, self.live.cancel.clone());
        let (live, number) = (Arc::clone(&self.live), run.number);
        let begun = move || {
            if let Some(running) = live.running.get(number) {
                running.store(true, Ordering::Relaxed);
            }
            live.moved.send_replace(());
        };
        let path = self.shelf.path(&record.id, run.number);
        let mut kept = Kept::open(Arc::clone(&self.shelf), path, begun)
            .map_err(|error| lost(format!("the manager cannot keep its output: {error}")))?;
        let outcome = line.run(&mut kept, None).await;
        kept.sync().map_err(|error| lost(format!("the manager cannot keep its output: {error}")))?;
        Ok((outcome, kept.missing()))
    }

    fn not_begun(&self) -> Verdict {
        let reason =
            if self.live.cancel.is_cancelled() { "not begun" } else { "not begun, because it failed elsewhere" };
        Verdict::Cancelled { reason: reason.to_owned() }
    }

    /// Waits until the device is there.
    async fn until_there(&self, device: &DeviceId) -> Result<(), Verdict> {
        loop {
            if self.live.halt.is_cancelled() {
                return Err(self.not_begun());
            }
            let left = match self.live.record.expires_at {
                // One that is not waited for is asked at once, and then it is known.
                None => return Ok(()),
                Some(at) => at.0.saturating_sub(now().0),
            };
            if left == 0 {
                return Err(Verdict::Expired);
            }
            if self.links.is_linked(device) {
                return Ok(());
            }
            let pause = LOOK.min(Duration::from_millis(left));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.live.halt.cancelled() => {}
            }
        }
    }
}

fn is_bad(ended: &Ended) -> bool {
    ended.verdict != Verdict::Ok
}

fn view(record: JobRecord, counts: JobCounts, runs: Vec<RunView>) -> JobView {
    let command = record.request.command;
    JobView {
        id: record.id,
        by: record.by,
        command: shortened(&command.argv, MAX_WORDS),
        user: command.user,
        cwd: command.cwd,
        within: command.within,
        env: command.env.into_keys().collect(),
        created_at: record.created_at,
        expires_at: record.expires_at,
        ended_at: record.ended_at,
        cancelled_by: record.cancelled_by,
        targets: counts.targets,
        ok: counts.ok,
        not_ok: counts.not_ok,
        runs,
    }
}

fn run_view(run: RunRecord, is_running: bool) -> RunView {
    let state = match (&run.ended, is_running, run.sent) {
        (Some(_), ..) => RunState::Ended,
        (None, true, _) => RunState::Running,
        (None, false, true) => RunState::Sent,
        (None, false, false) => RunState::Queued,
    };
    let (outcome, began_at, ended_at) = match run.ended {
        Some(ended) => (Some(ended.verdict), ended.began_at, Some(ended.ended_at)),
        None => (None, None, None),
    };
    RunView { device: run.name, state, outcome, began_at, ended_at, missing: run.missing }
}

/// The words of a command as far as `most` bytes allow: of a long one its begin, so that those behind it are seen, too.
pub(crate) fn shortened(argv: &[String], most: usize) -> Vec<String> {
    let mut left = most;
    let mut words = Vec::new();
    for word in argv {
        let fits = word.len() <= left;
        let kept = word.get(..word.floor_char_boundary(left / 8)).unwrap_or_default();
        words.push(if fits { word.clone() } else { format!("{kept}…") });
        left = left.saturating_sub(if fits { word.len() } else { kept.len() } + 1);
        if left == 0 {
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_bounded_and_shows_what_stands_behind_a_long_word() {
        const MOST: usize = 1024;
        let of = |words: &[&str]| shortened(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), MOST);
        assert_eq!(of(&["sh", "-c", "true"]), ["sh", "-c", "true"]);
        let long = "é".repeat(MOST);
        let kept = of(&["sh", "-c", &long, "name", "word"]);
        assert_eq!((kept[3].as_str(), kept[4].as_str()), ("name", "word"));
        assert!(kept[2].starts_with("éé") && kept[2].ends_with('…'), "{kept:?}");
        let many = of(&vec![long.as_str(); 10_000]);
        assert!(many.len() <= MOST && many.concat().len() <= MOST * '…'.len_utf8(), "{} words", many.len());
    }
}
