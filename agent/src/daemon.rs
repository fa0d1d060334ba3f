//! The agent's loop: the pure core in the middle, link, runtime, ledger and clock around it.
//!
//! One task, one closed set of inputs. What the core orders is carried out strictly in order: what must be on disk
//! is on disk before what relies on it begins. While the disk refuses to take it, nothing further begins, the
//! manager is told why, and the write is tried again; what runs goes on running.

use std::collections::VecDeque;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use robo_model::name::DeviceName;
use robo_model::spec::{FileHash, Generation};
use rustix::fs::FlockOperation;
use tokio::sync::mpsc;

use crate::enroll::{EnrollError, Enrolment, enroll};
use crate::facts::{addresses, facts, outbound_address};
use crate::files::{Files, keep_only};
use crate::folders::Folders;
use crate::identity::{Identity, IdentityError};
use crate::ledger::{LedgerError, LedgerStore, What};
use crate::link::{self, FromLink, Message, ToLink};
use crate::now;
use crate::order::{Addresses, Report};
use crate::reconcile::{Core, Effect, Input};
use crate::runtime::Runtime;
use crate::tls::{self, TlsError};

/// Reports of the runtime that may wait: more than steps that run at a time on any real device.
const MAX_REPORTS: usize = 256;

/// How often a write that the disk refuses is tried again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Longest time without a look at what is due: as long as the longest back-off.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Wait between attempts to enrol while the manager does not answer.
const ENROL_RETRY: Duration = Duration::from_secs(2);

/// The program that runs, even after its file was replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How an agent runs.
#[derive(Clone)]
pub struct Config {
    /// Its folder.
    pub state: PathBuf,
    /// `host:port` of the manager.
    pub manager: String,
    /// The enrolment token; needed once.
    pub token: Option<String>,
    /// The manager's authority in PEM, where it was given apart from the token.
    pub ca_pem: Option<String>,
    /// The name the machine would like.
    pub name: Option<DeviceName>,
    /// What exports called `ip` get, and then the machine's other addresses; found out where none is given.
    pub addresses: Vec<IpAddr>,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The folder cannot be made or locked.
    #[error("cannot use the folder {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent uses the folder.
    #[error("another agent runs on {0}; end it first, or give this one a folder of its own with --state")]
    InUse(PathBuf),
    /// The device is not enrolled and has no token.
    #[error("this device is not enrolled yet: give it a token (make one with `robo device enroll`)")]
    NoToken,
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Enrolment failed for good.
    #[error("enrolment failed: {0}")]
    Enroll(#[from] EnrollError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Runs an agent until `shutdown` is there. What it started goes on running without it.
///
/// Keepers are this program again, so its `main` must pass `keeper FOLDER` on to [`crate::keeper::main`].
///
/// # Errors
/// When it cannot begin; once it runs, it goes on whatever happens.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    run_with_keeper(config, PathBuf::from(THIS_PROGRAM), shutdown).await
}

/// Like [`run`], for a program that is no keeper itself: `keeper` is one.
///
/// # Errors
/// When it cannot begin.
pub async fn run_with_keeper(
    config: Config,
    keeper: PathBuf,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let folder_error = |source| AgentError::Folder { path: config.state.clone(), source };
    let folders = Folders::new(&config.state);
    folders.create().map_err(folder_error)?;
    let _lock = lock(folders.root()).map_err(folder_error)?.ok_or_else(|| AgentError::InUse(config.state.clone()))?;
    let mut shutdown = std::pin::pin!(shutdown);
    let identity = tokio::select! {
        identity = identify(&config, &folders) => identity?,
        () = &mut shutdown => return Ok(()),
    };
    tracing::info!(device = %identity.enrolled.device, name = %identity.enrolled.name, "this device is enrolled");
    let mut daemon = Daemon::start(config, keeper, folders, &identity)?;
    tokio::select! {
        () = daemon.run() => {}
        () = shutdown => {}
    }
    Ok(())
}

async fn identify(config: &Config, folders: &Folders) -> Result<Identity, AgentError> {
    if let Some(identity) = Identity::load(&folders.identity())? {
        return Ok(identity);
    }
    let token = config.token.clone().ok_or(AgentError::NoToken)?;
    let enrolment = Enrolment { token, ca_pem: config.ca_pem.clone(), name: config.name.clone() };
    loop {
        let about = facts(&addresses_of(config));
        match enroll(&config.manager, &folders.identity(), &enrolment, about).await {
            Ok(identity) => return Ok(identity),
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "cannot enrol yet; trying again");
                tokio::time::sleep(ENROL_RETRY.mul_f64(0.5 + fastrand::f64())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the lock that tells other agents that this folder is in use; nothing when another has it.
fn lock(root: &Path) -> std::io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What names this boot of the machine; the same text for ever where the kernel does not say.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn addresses_of(config: &Config) -> Addresses {
    addresses(&config.addresses, outbound_address(&config.manager))
}

struct Daemon {
    core: Core,
    ledger: LedgerStore,
    runtime: Runtime,
    folders: Folders,
    reports: mpsc::Receiver<Report>,
    from_link: mpsc::Receiver<FromLink>,
    to_link: mpsc::Sender<ToLink>,
    /// The session that is up, and whether an update may go.
    session: Option<(u64, bool)>,
    /// What is ordered and not carried out yet: not empty only while the disk refuses.
    pending: VecDeque<Effect>,
    /// For the link's greeting, which asks from another task.
    generation: Arc<AtomicU64>,
}

/// What the loop waits for.
enum Event {
    Input(Input),
    Link(FromLink),
    Disk,
    Gone,
}

impl Daemon {
    fn start(config: Config, keeper: PathBuf, folders: Folders, identity: &Identity) -> Result<Self, AgentError> {
        let (ledger, loaded) = LedgerStore::open(&folders.ledger())?;
        let (give_reports, reports) = mpsc::channel(MAX_REPORTS);
        let http = tls::enrolled(identity, b"http/1.1")?;
        let files = Arc::new(Files::new(folders.files(), config.manager.clone(), http));
        let runtime = Runtime::new(folders.clone(), keeper, files, give_reports);
        let (mut core, mut effects) = Core::new(loaded, addresses_of(&config), now());
        effects.extend(core.handle(now(), Input::Boot(boot_id())));
        let generation = Arc::new(AtomicU64::new(core.ledger().assignment.generation.0));
        let (give_link, from_link) = mpsc::channel(link::QUEUE);
        let (to_link, take_link) = mpsc::channel(link::TELL_QUEUE);
        let link_config = link::Config {
            manager: config.manager,
            tls: tls::enrolled(identity, robo_wire::ALPN_LINK)?,
            addresses: config.addresses,
            folders: folders.clone(),
        };
        let asked = Arc::clone(&generation);
        let generation_now = move || Generation(asked.load(Ordering::Acquire));
        drop(tokio::spawn(link::run(link_config, generation_now, give_link, take_link)));
        let pending = effects.into();
        Ok(Self { core, ledger, runtime, folders, reports, from_link, to_link, session: None, pending, generation })
    }

    async fn run(&mut self) {
        self.carry_out().await;
        loop {
            match self.next().await {
                Event::Input(input) => self.take(input).await,
                Event::Link(message) => self.link(message).await,
                Event::Disk => self.carry_out().await,
                Event::Gone => return,
            }
        }
    }

    /// While the disk refuses, only time passes: inputs wait in their bounded queues.
    async fn next(&mut self) -> Event {
        if !self.pending.is_empty() {
            tokio::time::sleep(DISK_RETRY).await;
            return Event::Disk;
        }
        // A clock that is set back must not make a retry wait for a day.
        let wake = self.core.wake_at().map(|at| Duration::from_millis(at.since(now()).0).min(LONGEST_SLEEP));
        tokio::select! {
            report = self.reports.recv() => report.map_or(Event::Gone, |r| Event::Input(Input::Report(r))),
            message = self.from_link.recv() => message.map_or(Event::Gone, Event::Link),
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Event::Input(Input::Tick),
        }
    }

    /// Gives the core an input, and with it every report that waits already: one write of the ledger serves them all.
    async fn take(&mut self, input: Input) {
        let mut write: Option<What> = None;
        let mut effects = VecDeque::new();
        let waiting = std::iter::from_fn(|| self.reports.try_recv().ok()).take(MAX_REPORTS).map(Input::Report);
        for input in std::iter::once(input).chain(waiting) {
            for effect in self.core.handle(now(), input) {
                if let Effect::Persist(what) = effect {
                    write = Some(write.map_or(what, |so_far| so_far.and(what)));
                } else {
                    effects.push_back(effect);
                }
            }
        }
        self.pending.extend(write.map(Effect::Persist));
        self.pending.append(&mut effects);
        self.carry_out().await;
    }

    async fn link(&mut self, message: FromLink) {
        match message {
            FromLink::Up { session, addresses, welcome } => {
                // Nothing may be told in this session before the core knows of it: what it made for an earlier one
                // takes events for told that this manager never saw.
                self.session = None;
                self.take(Input::Addresses(addresses)).await;
                self.take(Input::Connected { events_stored: welcome.events_stored }).await;
                self.session = Some((session, true));
            }
            FromLink::Assign(assignment) => {
                let generation = assignment.generation;
                self.take(Input::Assigned(assignment)).await;
                if !self.pending.is_empty() {
                    let reason = "the device's disk does not take the ledger; it is tried again".to_owned();
                    self.tell(Message::Refused(generation, reason));
                }
                self.drop_old_files();
            }
            FromLink::Imports(change) => self.take(Input::Imports(change)).await,
            FromLink::Stored(ack) => {
                if let Some((_, ready)) = &mut self.session {
                    *ready = true;
                }
                self.take(Input::Stored { events_stored: ack.events_stored }).await;
            }
            FromLink::Down => self.session = None,
        }
        self.tell_update();
    }

    /// Carries out what is ordered, in order, until nothing is left or the disk refuses.
    async fn carry_out(&mut self) {
        while let Some(effect) = self.pending.pop_front() {
            match effect {
                Effect::Persist(what) => {
                    if let Err(error) = self.ledger.save(self.core.ledger(), what) {
                        tracing::error!(%error, "the ledger cannot be written; nothing new is begun until it can");
                        self.pending.push_front(Effect::Persist(what));
                        return;
                    }
                    self.generation.store(self.core.ledger().assignment.generation.0, Ordering::Release);
                }
                Effect::Begin(order) => self.runtime.begin(order),
                Effect::Watch(order) => self.runtime.watch(order),
                Effect::Abort { key, run } => self.runtime.abort(&key, run),
                Effect::Context(context) => self.runtime.context(&context),
                Effect::Forget(key) => {
                    if let Err(reason) = self.runtime.forget(&key).await {
                        tracing::warn!(instance = %key, reason, "cannot remove the folder of an instance that is gone");
                    }
                }
                Effect::Accepted(generation) => self.tell(Message::Accepted(generation)),
                Effect::Refused { generation, reason } => self.tell(Message::Refused(generation, reason)),
                // What these say goes over the link as soon as it can say it.
                Effect::Tell | Effect::Acted(_) | Effect::Resync => {}
            }
        }
        self.tell_update();
    }

    /// Tells what is to be told, one update at a time.
    fn tell_update(&mut self) {
        if !matches!(self.session, Some((_, true))) {
            return;
        }
        if let Some(update) = self.core.next_update() {
            if let Some((_, ready)) = &mut self.session {
                *ready = false;
            }
            self.tell(Message::Update(update));
        }
    }

    /// Never waits: the link may be busy dialling for hours, and what runs here must be looked after meanwhile. What a
    /// full queue does not take belongs to a session that is over; the next one tells everything again.
    fn tell(&mut self, message: Message) {
        if let Some((session, _)) = self.session
            && self.to_link.try_send(ToLink { session, message }).is_err()
        {
            self.session = None;
        }
    }

    /// Recipe files that no assigned instance names any more go.
    fn drop_old_files(&self) {
        let assignment = &self.core.ledger().assignment;
        let needed: std::collections::BTreeSet<FileHash> =
            assignment.instances.iter().flat_map(|spec| spec.files.values().map(|f| f.hash.clone())).collect();
        if let Err(error) = keep_only(&self.folders.files(), &needed) {
            tracing::warn!(%error, "cannot tidy the folder of recipe files");
        }
    }
}
