//! The only part of the agent that touches the machine: carries out what the reconciler orders, and reports.
//!
//! Everything that must survive the agent lies in the folders of runs (see [`crate::keeper`]); what is in memory here
//! is only who waits for what. So an order that is given again after a restart goes on where it was.
//!
//! - [`step`](self): one order from its begin to its report; `script`, `supervise` and `recipe` are its parts.
//! - `kept`: a run and its keeper; `ending`: ends what runs.
//! - `managed`: the files of recipes, which others may change behind our back.
//! - `environment`: what scripts and programs are told; `check`: whether an instance is well.
//! - [`exec`], [`logs`]: streams that the manager opens; [`Place`]: where they run within an instance.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use robo_model::graph::Installer;
use robo_model::spec::{FileRef, InstanceKey};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::bearer::Bearer;
use crate::folders::{Folders, InstanceFolder};
use crate::keeper::user::User;
use crate::order::{Context, Order, Report, RunId};

pub use self::ending::Ended;
pub use self::place::Place;

mod check;
pub(crate) mod ending;
mod environment;
pub mod exec;
mod kept;
pub mod logs;
mod managed;
pub(crate) mod place;
mod recipe;
mod script;
mod step;
mod supervise;

/// Where programs are looked for when the agent itself was not told.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Steps at a time, and as many besides that end something: each has files open and processes that it starts, and a
/// machine that begins a thousand at once does nothing else for a minute.
const MAX_STEPS: usize = 64;

/// Gives local copies of recipe files: from the manager, in tests from a folder.
pub trait FileSource: Send + Sync {
    /// The path of a whole and verified copy of `file`, or one sentence why there is none.
    fn fetch<'a>(&'a self, file: &'a FileRef) -> BoxFuture<'a, Result<PathBuf, String>>;
}

/// Files in a folder, named by their hash; for tests and machines without a manager.
#[derive(Debug, Clone)]
pub struct FolderSource(pub PathBuf);

impl FileSource for FolderSource {
    fn fetch<'a>(&'a self, file: &'a FileRef) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            let path = self.0.join(file.hash.as_str());
            let bytes = tokio::fs::read(&path).await.map_err(|e| format!("there is no file {}: {e}", file.hash))?;
            let found = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
            if found == file.hash.as_str() { Ok(path) } else { Err(format!("the file {} is damaged", file.hash)) }
        })
    }
}

/// Carries out orders; a cheap handle. When the last one is dropped nothing more is reported, and what runs runs on.
///
/// Its methods must be called within a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("folders", &self.inner.0.folders).finish_non_exhaustive()
    }
}

struct Inner(Arc<Shared>);

impl Drop for Inner {
    fn drop(&mut self) {
        self.0.closing.cancel();
    }
}

/// What all tasks of a runtime share.
struct Shared {
    folders: Folders,
    exe: PathBuf,
    files: Arc<dyn FileSource>,
    reports: mpsc::Sender<Report>,
    /// `PATH` of what is run.
    path: String,
    /// Whom the agent runs as.
    user: User,
    closing: CancellationToken,
    table: Mutex<Table>,
    /// Room for steps that bring something up.
    beginning: Semaphore,
    /// Room for steps that end something: they do not wait for others to come up.
    ending: Semaphore,
    /// There is news in [`Table::files`].
    files_moved: Notify,
    /// Which device this is, for what runs on it; nothing where nobody said.
    bearer: Mutex<Option<Bearer>>,
}

#[derive(Default)]
struct Table {
    /// Steps under way; the token aborts one.
    steps: HashMap<(InstanceKey, RunId), CancellationToken>,
    /// Who looks after a started instance, and since which run; the token ends that.
    watched: HashMap<InstanceKey, (RunId, CancellationToken)>,
    /// The newest address of an instance, for its checks.
    addresses: HashMap<InstanceKey, String>,
    /// What the next look at recipe files has to know.
    files: BTreeMap<InstanceKey, managed::News>,
}

impl Runtime {
    /// A runtime that keeps everything in `folders`, starts keepers from `exe`, takes recipe files from `files` and
    /// sends what happens to `reports`; a full channel makes steps wait, not fail.
    #[must_use]
    pub fn new(folders: Folders, exe: PathBuf, files: Arc<dyn FileSource>, reports: mpsc::Sender<Report>) -> Self {
        let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        let shared = Shared {
            folders,
            exe,
            files,
            reports,
            path: path.unwrap_or_else(|| DEFAULT_PATH.to_owned()),
            user: User::own(),
            closing: CancellationToken::new(),
            table: Mutex::default(),
            beginning: Semaphore::new(MAX_STEPS),
            ending: Semaphore::new(MAX_STEPS),
            files_moved: Notify::new(),
            bearer: Mutex::default(),
        };
        let shared = Arc::new(shared);
        shared.spawn(managed::watch(Arc::clone(&shared)));
        Self { inner: Arc::new(Inner(shared)) }
    }

    /// Says which device this is: what is begun from here on is told so.
    pub fn set_bearer(&self, bearer: Bearer) {
        *self.shared().bearer.lock().unwrap_or_else(PoisonError::into_inner) = Some(bearer);
    }

    /// Begins a step; its end is reported. A run that is under way is not begun again, one that ended while no agent
    /// was there is reported.
    pub fn begin(&self, order: Order) {
        let shared = self.shared();
        if let Some(abort) = shared.enter(&order) {
            shared.spawn(step::carry_out(Arc::clone(shared), order, abort));
        }
    }

    /// Takes up the process of `order.run`, which a former agent started: reports `ProcessRuns` if it still runs, else
    /// `ProcessEnded`. For an installer without a process, its check goes on; without one, nobody looks after it any more.
    pub fn watch(&self, order: Order) {
        let shared = self.shared();
        shared.note_address(&order.context);
        if !matches!(order.installer, Installer::Process(_)) && order.settings.check.is_none() {
            return shared.detach(&order.key);
        }
        let token = shared.attach(&order.key, order.run);
        shared.spawn(supervise::adopt(Arc::clone(shared), order, token));
    }

    /// Ends a step that is under way: what it started gets TERM, and after a grace KILL. It then ends as failed.
    pub fn abort(&self, key: &InstanceKey, run: RunId) {
        if let Some(token) = self.shared().table().steps.get(&(key.clone(), run)) {
            token.cancel();
        }
    }

    /// Tells an instance its new context: rewrites its file, and checks go to the new address.
    pub fn context(&self, context: &Context) {
        let shared = self.shared();
        shared.note_address(context);
        let folder = shared.folders.instance(&context.key);
        if folder.path().is_dir()
            && let Err(error) = environment::write_context(&folder, context)
        {
            tracing::warn!(instance = %context.key, %error, "cannot write what the instance is told");
        }
    }

    /// Removes everything of the instance `key`, its output too, and ends what is left of its processes. Its
    /// children stay.
    ///
    /// # Errors
    /// Says what could not be ended or removed.
    pub async fn forget(&self, key: &InstanceKey) -> Result<(), String> {
        let shared = self.shared();
        shared.detach(key);
        shared.leave_files(key).await?;
        shared.forget_files(key);
        shared.table().addresses.remove(key);
        let folder = shared.folders.instance(key);
        ending::end_instance(&folder).await?;
        in_background(move || folder.remove().map_err(|e| explain("remove the instance's folder", folder.path(), &e)))
            .await
    }

    /// Ends every process that still runs below the state folder of `folders`: TERM, a bounded wait, KILL.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub async fn kill_leftovers(folders: &Folders) -> std::io::Result<Ended> {
        ending::end_all(folders.all_runs()?).await
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.0
    }
}

impl Shared {
    fn folder(&self, order: &Order) -> InstanceFolder {
        self.folders.instance(&order.key)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        tokio::spawn(async move { closing.run_until_cancelled(task).await });
    }

    async fn report(&self, report: Report) {
        // The daemon is gone, and with it everybody who would want to know.
        self.reports.send(report).await.ok();
    }

    /// Notes that a step is under way; nothing when it already is, or when its process already runs under our eyes.
    fn enter(&self, order: &Order) -> Option<CancellationToken> {
        self.note_address(&order.context);
        let mut table = self.table();
        let name = (order.key.clone(), order.run);
        if table.steps.contains_key(&name) || table.watched.get(&order.key).is_some_and(|(run, _)| *run == order.run) {
            return None;
        }
        // Not a child of `closing`: what runs when the agent ends runs on.
        let abort = CancellationToken::new();
        table.steps.insert(name, abort.clone());
        Some(abort)
    }

    fn leave(&self, order: &Order) {
        self.table().steps.remove(&(order.key.clone(), order.run));
    }

    /// Makes the run `run` the one that is looked after for `key`, until the token is cancelled.
    fn attach(&self, key: &InstanceKey, run: RunId) -> CancellationToken {
        let token = self.closing.child_token();
        if let Some((_, old)) = self.table().watched.insert(key.clone(), (run, token.clone())) {
            old.cancel();
        }
        token
    }

    /// Nobody looks after `key` from here on: it is being stopped.
    fn detach(&self, key: &InstanceKey) {
        if let Some((_, token)) = self.table().watched.remove(key) {
            token.cancel();
        }
    }

    /// As [`Self::detach`], if it is still `run` that is looked after.
    fn detach_run(&self, key: &InstanceKey, run: RunId) {
        let mut table = self.table();
        if table.watched.get(key).is_some_and(|(watched, _)| *watched == run)
            && let Some((_, token)) = table.watched.remove(key)
        {
            token.cancel();
        }
    }

    fn note_address(&self, context: &Context) {
        self.table().addresses.insert(context.key.clone(), context.address.clone());
    }

    fn address(&self, key: &InstanceKey) -> String {
        self.table().addresses.get(key).cloned().unwrap_or_default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can panic half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what may block away from the reactor.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(e.to_string()))
}

/// One sentence on a failed file operation: `doing` is what was tried.
fn explain(doing: &str, path: &Path, error: &std::io::Error) -> String {
    if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        format!("cannot {doing}: the disk with `{}` is full", path.display())
    } else {
        format!("cannot {doing} `{}`: {error}", path.display())
    }
}
