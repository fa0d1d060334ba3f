//! The agent's loop: the pilot in the middle, link, runtime, ledger and clocks around it.
//!
//! One task, one closed set of inputs. It decides nothing: it gives [`crate::pilot`] what happens, and carries out what
//! comes back, strictly in order.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use robo_model::name::DeviceName;
use robo_model::spec::{FileHash, InstanceKey};
use robo_model::state::Step;
use robo_wire::api::Facts;
use robo_wire::frame::Frame;
use robo_wire::link::Welcome;
use robo_wire::switch::Subsystem;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::backup::{self, Backup};
use crate::bearer::Bearer;
use crate::credentials::Credentials;
use crate::dial::Route;
use crate::enroll::{EnrollError, Enrolment, enroll};
use crate::facts::{addresses, facts, outbound_address};
use crate::files::{Files, keep_only};
use crate::folders::{Folders, create_dir, write_atomic};
use crate::forward::{Forwards, Policy};
use crate::identity::{Identity, IdentityError};
use crate::ledger::{LedgerError, LedgerStore, recover};
use crate::limits;
use crate::link::{self, FromLink, Say};
use crate::order::{Addresses, Report};
use crate::parts::{CERTIFICATE, LEDGER, LINK, Parts};
use crate::pilot::{LinkId, Loaded, Now, Out, Pilot};
use crate::renew;
use crate::runs::Runs;
use crate::runtime::{Place, Runtime};
use crate::shell::Shells;
use crate::ssh::trust::note_authority;
use crate::switches::Switches;
use crate::tls::TlsError;
use crate::upgrade::{self, Own, Upgrades};
use crate::uploads;
use crate::{now, uptime};

/// Reports of the runtime that may wait: more than steps that run at a time on any real device.
const MAX_REPORTS: usize = 256;

/// Wait between attempts to enrol while the manager does not answer.
const ENROL_RETRY: Duration = Duration::from_secs(2);

/// How often what a busy loop has kept waiting is asked for before the clock counts: a connection that was not read for
/// a while is not silent.
const TURNS_BEFORE_CLOCK: usize = 3;

/// The program that runs, even after its file was replaced by a newer one.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How an agent runs.
#[derive(Clone)]
pub struct Config {
    /// Its folder.
    pub state: PathBuf,
    /// The way to the manager.
    pub route: Route,
    /// The enrolment token; needed once.
    pub token: Option<String>,
    /// The manager's authority in PEM, where it was given apart from the token.
    pub ca_pem: Option<String>,
    /// The name the machine would like.
    pub name: Option<DeviceName>,
    /// What exports called `ip` get, and then the machine's other addresses; found out where none is given.
    pub addresses: Vec<IpAddr>,
    /// What people may reach through this device.
    pub forward: Policy,
    /// The folder with the public keys of the machine's SSH server.
    pub ssh: PathBuf,
    /// The user that commands and shells run as where they name none; the agent's own where nothing is given.
    pub exec_user: Option<String>,
    /// What the machine's owner forbids: nobody lets it in from afar.
    pub without: BTreeSet<Subsystem>,
    /// What instances print is copied so; it is not where nothing is given.
    pub log_backup: Option<backup::Options>,
    /// What names this boot of the machine; the kernel is asked where nothing is given. For tests.
    pub boot: Option<String>,
    /// The program of this process, where it may replace that itself.
    pub own: Option<Arc<Own>>,
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
    #[error("enrolment failed ({code}): {0}", code = .0.code())]
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
    limits::raise();
    let folders = Folders::new(&config.state);
    folders.create().map_err(folder_error)?;
    upgrade::reap_inherited();
    let own = config.own.clone();
    if !own.as_ref().is_some_and(|own| own.is_tried()) && !upgrade::end_leftovers(&folders).await {
        return Err(AgentError::InUse(config.state.clone()));
    }
    let _lock = locked(&folders).await.map_err(folder_error)?.ok_or_else(|| AgentError::InUse(config.state.clone()))?;
    note_manager(&folders, &config.route.manager);
    let switches = Switches::load(&folders.switches(), config.without.clone());
    let mut shutdown = std::pin::pin!(shutdown);
    let identity = tokio::select! {
        identity = identify(&config, &folders, &switches) => identity?,
        () = &mut shutdown => return Ok(()),
    };
    tracing::info!(device = %identity.enrolled.device, name = %identity.enrolled.name, "this device is enrolled");
    drop_token(&folders, &identity);
    let mut daemon = Daemon::start(config, keeper, (folders, switches), &identity)?;
    tokio::select! {
        // Who is told to end tries nothing any more.
        biased;
        () = shutdown => own.iter().for_each(|own| own.stay()),
        () = daemon.run() => {}
        () = abandoned(own.as_ref()) => {}
        () = begun(own.as_ref()) => {}
    }
    Ok(())
}

/// Waits until whoever tries this program is gone.
async fn abandoned(own: Option<&Arc<Own>>) {
    match own {
        Some(own) => own.abandoned().await,
        None => std::future::pending().await,
    }
}

/// Waits until this process is to try another program.
async fn begun(own: Option<&Arc<Own>>) {
    match own {
        Some(own) => own.begun().await,
        None => std::future::pending().await,
    }
}

/// Waits until there is another thing to tell of this program.
async fn moved(own: Option<&Arc<Own>>) {
    match own {
        Some(own) => own.moved().await,
        None => std::future::pending().await,
    }
}

/// Notes where the manager is, for who looks at the device later; nothing that runs depends on it.
fn note_manager(folders: &Folders, manager: &str) {
    let path = folders.manager();
    if std::fs::read_to_string(&path).is_ok_and(|noted| noted == manager) {
        return;
    }
    if let Err(error) = write_atomic(&path, manager.as_bytes(), 0o644) {
        tracing::warn!(%error, "cannot note the manager's address in {}", path.display());
    }
}

fn facts_of(config: &Config, addresses: &Addresses, folders: &Folders, switches: &Switches) -> Facts {
    let facts = facts(addresses, &config.ssh, folders.root(), (config.exec_user.as_deref(), switches));
    let Some(own) = &config.own else { return facts };
    Facts { program: own.known_digest().unwrap_or_default().to_owned(), upgrade: own.last(), ..facts }
}

async fn identify(config: &Config, folders: &Folders, switches: &Switches) -> Result<Identity, AgentError> {
    if let Some(identity) = Identity::load(&folders.identity())? {
        return enrolled_anew(config, (folders, switches), identity).await;
    }
    let token = config.token.clone().ok_or(AgentError::NoToken)?;
    let enrolment = Enrolment { token, ca_pem: config.ca_pem.clone(), name: config.name.clone() };
    loop {
        let about = facts_of(config, &addresses_of(config), folders, switches);
        match enroll(&config.route, &folders.identity(), &enrolment, about).await {
            Ok(identity) => return Ok(identity),
            Err(error) if error.is_passing() => {
                tracing::warn!(code = %error.code(), %error, "cannot enrol yet; trying again");
                tokio::time::sleep(ENROL_RETRY.mul_f64(0.5 + fastrand::f64())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the token that waited in the folder when it has done its work; one with which this device did not come stays.
fn drop_token(folders: &Folders, identity: &Identity) {
    let path = folders.token();
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    let hash = hex::encode(Sha256::digest(text.trim()));
    if identity.enrolled.token_hash.as_ref().is_some_and(|used| *used != hash) {
        return;
    }
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, "cannot remove {}; its token was used, and is good for nothing any more", path.display());
    }
}

/// A machine that has an identity, and is given a token that it did not come with, enrols anew with that: it was shut out,
/// or is to be another device. When that cannot be, it stays who it is.
async fn enrolled_anew(
    config: &Config,
    (folders, switches): (&Folders, &Switches),
    identity: Identity,
) -> Result<Identity, AgentError> {
    let Some(token) = config.token.clone() else { return Ok(identity) };
    let enrolment = Enrolment { token, ca_pem: config.ca_pem.clone(), name: config.name.clone() };
    if identity.enrolled.token_hash.as_ref().is_none_or(|hash| *hash == enrolment.token_hash()) {
        return Ok(identity);
    }
    let anew = Identity::anew(&folders.identity());
    let folder_error = |source| AgentError::Folder { path: anew.clone(), source };
    create_dir(&anew).map_err(folder_error)?;
    let about = facts_of(config, &addresses_of(config), folders, switches);
    match enroll(&config.route, &anew, &enrolment, about).await {
        Ok(_) => Ok(Identity::keep_anew(&folders.identity())?.ok_or(AgentError::NoToken)?),
        Err(error) => {
            tracing::warn!(%error, "cannot enrol anew with this token; this device stays who it is");
            Ok(Identity::load(&folders.identity())?.ok_or(AgentError::NoToken)?)
        }
    }
}

/// Takes the state folder for this agent; nothing when another has it.
async fn locked(folders: &Folders) -> std::io::Result<Option<File>> {
    let folders = folders.clone();
    tokio::task::spawn_blocking(move || folders.lock()).await.map_err(std::io::Error::other)?
}

/// What names this boot of the machine; the same text for ever where the kernel does not say.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn addresses_of(config: &Config) -> Addresses {
    addresses(&config.addresses, outbound_address(&config.route.first_hop()), &Addresses::default())
}

struct Daemon {
    config: Config,
    pilot: Pilot,
    ledger: LedgerStore,
    runtime: Runtime,
    folders: Folders,
    reports: mpsc::Receiver<Report>,
    from_link: mpsc::Receiver<FromLink>,
    /// The connection that is there, and where to say something on it.
    link: Option<(LinkId, mpsc::Sender<Say>)>,
    /// The address that it leaves from.
    leaves: Option<IpAddr>,
    /// Which device this is, as the manager said last.
    bearer: Bearer,
    /// What is shown when something is dialled.
    credentials: Arc<Credentials>,
    /// A new key that is being certified.
    renewal: Option<JoinHandle<()>>,
    /// Folders that are being removed: no folder is made meanwhile, it might be in one that goes.
    removals: JoinSet<()>,
    /// Copies what instances print, where that is wished.
    backup: Option<Arc<Backup>>,
    /// Says that a link is up.
    linked: Arc<Notify>,
    /// How all of these are.
    parts: Parts,
    /// What is off.
    switches: Switches,
    /// What is to be done first.
    outs: Vec<Out>,
}

/// What the loop waits for.
enum Event {
    Report(Report),
    Link(FromLink),
    Time,
    /// There is another thing to tell of this program.
    Own,
    Gone,
}

impl Daemon {
    fn start(
        config: Config,
        keeper: PathBuf,
        (folders, switches): (Folders, Switches),
        identity: &Identity,
    ) -> Result<Self, AgentError> {
        let (ledger, loaded) = open_ledger(&folders)?;
        let parts = Parts::default();
        parts.works(LEDGER, "");
        parts.rests(CERTIFICATE);
        let (give_reports, reports) = mpsc::channel(MAX_REPORTS);
        let credentials = Credentials::new(identity)?;
        let files = Arc::new(Files::new(folders.files(), config.route.clone(), Arc::clone(&credentials)));
        let (shells, exe) = (Shells::new(keeper.clone()), Arc::from(keeper.as_path()));
        let runtime = Runtime::new(folders.clone(), keeper, files, give_reports);
        let bearer = Bearer::load(&folders.bearer(), &identity.enrolled);
        runtime.set_bearer(bearer.clone());
        let boot = config.boot.clone().unwrap_or_else(boot_id);
        let (pilot, outs) = Pilot::new(loaded, addresses_of(&config), boot, time());
        let (give_link, from_link) = mpsc::channel(link::QUEUE);
        let link_config = link::Config {
            exe,
            route: config.route.clone(),
            credentials: Arc::clone(&credentials),
            folders: folders.clone(),
            log_backup: config.log_backup.as_ref().map(|options| options.folder.clone()),
            shells,
            exec_user: config.exec_user.clone(),
            switches: switches.clone(),
            runs: Runs::default(),
            forwards: Forwards::new(config.forward),
            parts: parts.clone(),
            upgrades: Upgrades::new(config.own.clone(), folders.clone()),
        };
        if let Some(own) = config.own.clone() {
            own.recall(&folders);
            let folders = folders.clone();
            drop(tokio::spawn(async move { own.look(&folders).await }));
        }
        drop(tokio::spawn(link::run(link_config, give_link)));
        let linked = Arc::new(Notify::new());
        let told = (Arc::clone(&credentials), Arc::clone(&linked));
        drop(tokio::spawn(uploads::tell(config.route.clone(), folders.uploads(), told.0, told.1)));
        let removals = JoinSet::new();
        let backup = config.log_backup.as_ref().and_then(|options| back_up(&folders, options, &parts));
        let renewal = None;
        let (link, leaves) = (None, None);
        Ok(Self {
            config,
            pilot,
            ledger,
            runtime,
            folders,
            reports,
            from_link,
            link,
            leaves,
            bearer,
            credentials,
            renewal,
            removals,
            backup,
            linked,
            parts,
            switches,
            outs,
        })
    }

    async fn run(&mut self) {
        let outs = std::mem::take(&mut self.outs);
        self.carry_out(outs).await;
        loop {
            match self.next().await {
                Event::Report(report) => {
                    let waiting = std::iter::from_fn(|| self.reports.try_recv().ok()).take(MAX_REPORTS);
                    let outs = self.pilot.reports(time(), std::iter::once(report).chain(waiting));
                    self.carry_out(outs).await;
                }
                Event::Link(message) => self.link(message).await,
                Event::Time => self.pass_time().await,
                Event::Own if self.link.is_some() => self.link(FromLink::Network).await,
                // The next hello has it; and addresses are asked for on a link alone.
                Event::Own => {}
                Event::Gone => return,
            }
        }
    }

    async fn next(&mut self) -> Event {
        let wake = self.pilot.wake_in(time()).map(|wait| wait.duration());
        tokio::select! {
            // While the disk refuses, reports wait where they are bounded.
            report = self.reports.recv(), if !self.pilot.is_writing() => report.map_or(Event::Gone, Event::Report),
            message = self.from_link.recv() => message.map_or(Event::Gone, Event::Link),
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Event::Time,
            () = moved(self.config.own.as_ref()) => Event::Own,
        }
    }

    async fn pass_time(&mut self) {
        for _ in 0..TURNS_BEFORE_CLOCK {
            tokio::task::yield_now().await;
            while let Ok(message) = self.from_link.try_recv() {
                self.link(message).await;
            }
        }
        while self.removals.try_join_next().is_some() {}
        let outs = self.pilot.tick(time());
        self.carry_out(outs).await;
    }

    async fn link(&mut self, message: FromLink) {
        let outs = match message {
            FromLink::Open { address, say } => {
                let addresses = addresses(&self.config.addresses, address, self.pilot.core().addresses());
                let facts = facts_of(&self.config, &addresses, &self.folders, &self.switches);
                let (id, outs) = self.pilot.connect(time(), addresses, facts);
                (self.link, self.leaves) = (Some((id, say)), address);
                outs
            }
            FromLink::Network => {
                let addresses = addresses(&self.config.addresses, self.leaves, self.pilot.core().addresses());
                let facts = facts_of(&self.config, &addresses, &self.folders, &self.switches);
                self.pilot.network(time(), addresses, facts)
            }
            FromLink::Frame(frame) => self.frame(&frame),
            FromLink::Place { key, answer } => {
                // Whoever asked may have gone.
                drop(answer.send(self.place(&key)));
                return;
            }
            FromLink::Heard => {
                if let Some((id, _)) = self.link {
                    self.pilot.heard(time(), id);
                }
                return;
            }
            FromLink::Closed => match self.link.take() {
                Some((id, _)) => self.pilot.hung_up(time(), id),
                None => return,
            },
        };
        self.carry_out(outs).await;
    }

    /// Where an instance runs.
    fn place(&self, key: &InstanceKey) -> Result<Place, String> {
        let order = self.pilot.core().as_started(key);
        let order = order.ok_or_else(|| format!("`{key}` is no instance that this device runs"))?;
        self.runtime.place(&order)
    }

    fn frame(&mut self, frame: &Frame) -> Vec<Out> {
        let id = self.link.as_ref().map(|(id, _)| *id);
        id.map(|id| self.pilot.frame(time(), id, frame)).unwrap_or_default()
    }

    /// Carries out what is ordered, in order, until nothing is left.
    async fn carry_out(&mut self, outs: Vec<Out>) {
        let mut outs = VecDeque::from(outs);
        while let Some(out) = outs.pop_front() {
            match out {
                Out::Write(files) => outs.extend(match self.ledger.save(&files) {
                    Ok(()) => {
                        self.parts.works(LEDGER, "");
                        self.pilot.persisted(time())
                    }
                    Err(error) => {
                        self.parts.fails(LEDGER, &error);
                        tracing::error!(%error, "the ledger cannot be written; nothing new is begun until it can");
                        self.pilot.persist_failed(time())
                    }
                }),
                Out::Begin(order) => {
                    if order.step == Step::Deploy {
                        while self.removals.join_next().await.is_some() {}
                    }
                    self.runtime.begin(order);
                }
                Out::Watch(order) => self.runtime.watch(order),
                Out::Abort { key, run } => self.runtime.abort(&key, run),
                Out::Context(context) => self.runtime.context(&context),
                Out::Forget(key) => self.forget(key),
                Out::Tidy(needed) => self.drop_old_files(&needed),
                Out::Send(id, bytes) => outs.extend(self.say(id, Say::Bytes(bytes))),
                Out::Up(id, welcome) => {
                    tracing::info!(name = %welcome.name, manager = %self.config.route, "link up");
                    self.parts.works(LINK, self.config.route.to_string());
                    self.config.own.iter().for_each(|own| own.welcomed());
                    let Welcome { name, project, ssh_authority, .. } = welcome;
                    note_authority(&self.folders, ssh_authority.as_deref());
                    self.called(Bearer { name, project, ..self.bearer.clone() });
                    outs.extend(self.say(id, Say::Welcomed));
                    self.linked.notify_one();
                }
                Out::Named(name) => {
                    tracing::info!(%name, "this device has another name now");
                    self.called(Bearer { name, ..self.bearer.clone() });
                }
                Out::Switches(told) => self.switches.set(told),
                Out::Renew => self.renew(),
                Out::HangUp(id, why) => {
                    // A full queue ends it as well: its other end goes with the sender.
                    drop(self.say(id, Say::HangUp(why)));
                    self.link.take_if(|(link, _)| *link == id);
                }
            }
        }
    }

    /// The manager says what the device is called: what is begun from here on is told so.
    fn called(&mut self, bearer: Bearer) {
        if bearer != self.bearer {
            bearer.note(&self.folders.bearer());
            self.runtime.set_bearer(bearer.clone());
            self.bearer = bearer;
        }
    }

    /// Has a new key certified, unless that is under way.
    fn renew(&mut self) {
        if self.renewal.as_ref().is_some_and(|renewal| !renewal.is_finished()) {
            return;
        }
        let (route, folder) = (self.config.route.clone(), self.folders.identity());
        self.renewal =
            Some(tokio::spawn(renew::renew(route, folder, Arc::clone(&self.credentials), self.parts.clone())));
    }

    /// Never waits: the link may be stuck for a minute, and what runs here must be looked after meanwhile.
    fn say(&mut self, id: LinkId, message: Say) -> Vec<Out> {
        let Some((_, say)) = self.link.as_ref().filter(|(link, _)| *link == id) else { return Vec::new() };
        if say.try_send(message).is_ok() {
            return Vec::new();
        }
        self.link = None;
        self.pilot.hung_up(time(), id)
    }

    /// Removes what is left of an instance. Ending what it left behind takes time; the loop has none.
    fn forget(&mut self, key: InstanceKey) {
        let (runtime, backup) = (self.runtime.clone(), self.backup.clone());
        drop(self.removals.spawn(async move {
            if let Some(backup) = backup {
                backup.last_look(&key).await;
            }
            if let Err(reason) = runtime.forget(&key).await {
                tracing::warn!(instance = %key, reason, "cannot remove the folder of an instance that is gone");
            }
        }));
    }

    /// Recipe files that no assigned instance names any more go.
    fn drop_old_files(&self, needed: &BTreeSet<FileHash>) {
        if let Err(error) = keep_only(&self.folders.files(), needed) {
            tracing::warn!(%error, "cannot tidy the folder of recipe files");
        }
    }
}

/// Has what instances print copied. An agent that cannot do that does all else.
fn back_up(folders: &Folders, options: &backup::Options, parts: &Parts) -> Option<Arc<Backup>> {
    let started = Backup::start(folders.clone(), options, parts.clone());
    started.inspect_err(|error| tracing::error!(%error, "logs are not copied: no thread can be had")).ok().map(Arc::new)
}

/// Opens the ledger, and makes it whole where it is damaged.
fn open_ledger(folders: &Folders) -> Result<(LedgerStore, Loaded), AgentError> {
    let (store, found) = LedgerStore::open(&folders.ledger())?;
    let (loaded, notes) = recover::recover(found, folders, now())
        .map_err(|source| AgentError::Folder { path: folders.root().to_owned(), source })?;
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok((store, loaded))
}

/// The time, by both clocks.
fn time() -> Now {
    Now { wall: now(), steady: uptime() }
}
