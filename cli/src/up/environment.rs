//! Starts the manager and the agents that are not running, under a lock, and writes down each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use robo_model::name::{DeviceName, ProjectName};
use robo_model::quantity::Millis;
use robo_wire::api::TokenRequest;
use rustix::process::Signal;

use super::process::{self, ProcessId, Start};
use super::record::{AgentRecord, Record};
use super::{ADDRESS_FLAG, AGENT_COMMAND, Folder, MANAGER_COMMAND, address};
use crate::client::Client;
use crate::context::{Context, read_bounded};
use crate::error::CliError;
use crate::output::Ui;

/// How long another `robo up` or `robo down` may be at work before we give up: a gentle stop takes two minutes
/// at most.
const LOCK_WAIT: Duration = Duration::from_secs(180);

/// How long the manager may take until it listens: it may have to bring its store up to date.
const MANAGER_START: Duration = Duration::from_secs(30);

/// How long all agents may take to enrol and connect.
const AGENTS_START: Duration = Duration::from_secs(60);

/// How long an agent may take to end when it is only to be started again.
const AGENT_END: Duration = Duration::from_secs(10);

/// Time between two looks at a process or a file.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// Time between two questions to the manager.
const ASK: Duration = Duration::from_millis(100);

/// Enrolment tokens are used at once; this leaves room for a slow machine.
const TOKEN_LIFETIME: Millis = Millis::from_secs(600);

/// How much of a dead process's log is shown.
const LOG_LINES: usize = 12;

/// One of the processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The manager.
    Manager,
    /// The agent of this device.
    Agent(DeviceName),
}

impl Who {
    /// The device whose agent it is.
    pub(crate) fn device(self) -> Option<DeviceName> {
        match self {
            Self::Manager => None,
            Self::Agent(device) => Some(device),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => f.write_str("the manager"),
            Self::Agent(device) => write!(f, "the agent of {device}"),
        }
    }
}

/// The processes that this process started itself: it can tell how they ended.
pub(crate) type Children = BTreeMap<Who, Child>;

/// The environment while nobody else may change it.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(super) folder: Folder,
    pub(super) record: Record,
    _lock: File,
}

impl Environment {
    /// Waits for the lock and reads what was started.
    ///
    /// # Errors
    /// When somebody else holds the lock for too long, or the folder cannot be used.
    pub(crate) async fn lock(folder: &Folder, ui: &Ui) -> Result<Self, CliError> {
        let lock = take_lock(folder, ui).await?;
        let path = folder.record();
        let record = Record::read(&path).map_err(|error| {
            CliError::new(format!("cannot read {}: {error}", path.display()))
                .help("mend it, or remove the folder it is in: then all that ran here is forgotten")
        })?;
        Ok(Self { folder: folder.clone(), record, _lock: lock })
    }

    /// True when nothing was started here, or all of it was stopped in good order.
    pub(crate) fn is_down(&self) -> bool {
        !self.record.was_left()
    }

    /// True while it is being stopped, or after that.
    pub(crate) fn is_ending(&self) -> bool {
        self.record.stopping || self.is_down()
    }

    /// The process id of the `robo up` in another terminal that ends all this when it ends.
    pub(crate) fn other_owner(&self) -> Option<u32> {
        let owner = self.record.owner.as_ref().filter(|owner| owner.is_alive())?;
        (owner.pid != std::process::id()).then_some(owner.pid)
    }

    /// Writes down that this process ends everything when it ends, or that nobody does.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn own(&mut self, own: bool) -> Result<(), CliError> {
        self.record.owner = if own { ProcessId::of(std::process::id()) } else { None };
        self.save()
    }

    /// Every process that should run and does not, and how it ended as far as that is known.
    pub(crate) fn ended(&self, children: &mut Children) -> Vec<(Who, String)> {
        let agents = self.record.agents.iter().filter_map(|(d, a)| Some((Who::Agent(d.clone()), a.process.as_ref()?)));
        let all = self.record.manager.iter().map(|process| (Who::Manager, process)).chain(agents);
        all.filter(|(_, process)| !process.is_alive())
            .map(|(who, _)| {
                let ending = how_it_ended(&who, children);
                (who, ending)
            })
            .collect()
    }

    /// Starts the manager, unless it runs; returns the context to reach it.
    ///
    /// # Errors
    /// When it ends or does not listen in time; then it is not left running.
    pub(crate) async fn start_manager(&mut self, children: &mut Children) -> Result<Context, CliError> {
        self.end_strays().await;
        self.record.stopping = false;
        if !self.record.manager.as_ref().is_some_and(ProcessId::is_alive) {
            self.spawn_manager(children)?;
        }
        // Also when it ran already: whoever started it may have been killed before it listened.
        let address = self.wait_for_manager(children).await?;
        self.record.address = Some(address);
        self.save()?;
        self.context(address)
    }

    fn context(&self, address: SocketAddr) -> Result<Context, CliError> {
        let ca = self.folder.ca();
        let unreadable = |error| CliError::new(format!("cannot read {}: {error}", ca.display()));
        Ok(Context {
            url: format!("https://{address}"),
            ca: read_bounded(&ca).map_err(unreadable)?,
            token_file: Some(self.folder.token()),
            token: None,
            login: None,
            project: None,
        })
    }

    /// A client for the manager as the record has it; nothing when it never ran.
    ///
    /// # Errors
    /// When its context is unusable.
    pub(crate) fn current_client(&self, project: Option<&ProjectName>) -> Result<Option<Client>, CliError> {
        let Some(address) = self.record.address else { return Ok(None) };
        Self::client(&self.context(address)?, project).map(Some)
    }

    fn spawn_manager(&mut self, children: &mut Children) -> Result<(), CliError> {
        let ready = self.folder.ready();
        super::stop::there(std::fs::remove_file(&ready))
            .map_err(|error| CliError::new(format!("cannot remove {}: {error}", ready.display())))?;
        // The port it had, so that agents and contexts find it again; another one when that is taken by now.
        let listen = self.record.address.filter(|address| TcpListener::bind(address).is_ok());
        let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let start = Start {
            args: vec![
                MANAGER_COMMAND.into(),
                "--listen".into(),
                listen.to_string().into(),
                "--data".into(),
                self.folder.manager().into(),
                "--ready-file".into(),
                ready.into(),
            ],
            log: self.log(&Who::Manager),
            input: None,
        };
        self.record.manager = Some(spawn(Who::Manager, start, children)?);
        self.save()
    }

    async fn wait_for_manager(&self, children: &mut Children) -> Result<SocketAddr, CliError> {
        let ready = self.folder.ready();
        let until = Instant::now() + MANAGER_START;
        loop {
            if let Some(address) = std::fs::read_to_string(&ready).ok().and_then(|text| text.trim().parse().ok()) {
                return Ok(address);
            }
            if !self.record.manager.as_ref().is_some_and(ProcessId::is_alive) {
                return Err(self.dead(&Who::Manager, &how_it_ended(&Who::Manager, children)));
            }
            if Instant::now() > until {
                return Err(self.dead(&Who::Manager, &format!("does not listen after {} s", MANAGER_START.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts the agents of `hosts` that do not run, and waits until all of them are connected.
    ///
    /// # Errors
    /// When one cannot be started, ends, or does not connect in time.
    pub(crate) async fn start_agents(
        &mut self,
        hosts: &BTreeSet<DeviceName>,
        client: &Client,
        children: &mut Children,
    ) -> Result<(), CliError> {
        self.end_lost_agents().await?;
        let idle: Vec<&DeviceName> = hosts.iter().filter(|host| !self.is_running(host)).collect();
        let mut tokens = Vec::new();
        for host in idle {
            tokens.push((host, self.token_for(host, client).await?));
        }
        {
            let _turn = machine_lock();
            for (host, token) in tokens {
                self.spawn_agent(host, token, children)?;
            }
        }
        self.wait_for_agents(hosts, client, children).await
    }

    /// Ends the agents of machines that no application has any more. Their identity and address are kept.
    ///
    /// # Errors
    /// When the manager does not answer, or the record cannot be written.
    pub(crate) async fn end_idle_agents(
        &mut self,
        hosts: &BTreeSet<DeviceName>,
        client: &Client,
    ) -> Result<(), CliError> {
        let busy: BTreeSet<DeviceName> = client.status(None).await?.instances.into_iter().map(|i| i.device).collect();
        let idle = |name: &DeviceName| !hosts.contains(name) && !busy.contains(name);
        let ended: Vec<ProcessId> =
            self.record.agents.iter_mut().filter(|(n, _)| idle(n)).filter_map(|(_, a)| a.process.take()).collect();
        // Written down first: what ends now ends on purpose.
        self.save()?;
        for process in ended {
            end(&process, AGENT_END).await;
        }
        Ok(())
    }

    fn is_running(&self, host: &DeviceName) -> bool {
        self.record.agents.get(host).and_then(|a| a.process.as_ref()).is_some_and(ProcessId::is_alive)
    }

    /// Ends agents that dial an address where the manager no longer listens.
    async fn end_lost_agents(&mut self) -> Result<(), CliError> {
        let address = self.record.address;
        for agent in self.record.agents.values_mut().filter(|a| a.manager != address) {
            if let Some(process) = agent.process.take() {
                end(&process, AGENT_END).await;
            }
        }
        self.save()
    }

    /// A token, for an agent that has no identity yet.
    async fn token_for(&self, host: &DeviceName, client: &Client) -> Result<Option<String>, CliError> {
        let has_identity = self.record.agents.get(host).is_some_and(|a| a.enrolled) && self.folder.agent(host).exists();
        if has_identity {
            return Ok(None);
        }
        let request = TokenRequest {
            name: Some(host.clone()),
            lifetime: Some(TOKEN_LIFETIME),
            replace: true,
            ..TokenRequest::default()
        };
        Ok(Some(client.make_token(&request).await?.token))
    }

    fn spawn_agent(
        &mut self,
        host: &DeviceName,
        token: Option<String>,
        children: &mut Children,
    ) -> Result<(), CliError> {
        let Some(manager) = self.record.address else { return Err(CliError::new("the manager has no address")) };
        let address = self.address_for(host)?;
        let mut args = vec![AGENT_COMMAND.into(), "--manager".into(), manager.to_string().into()];
        args.extend(["--name".into(), host.as_str().into(), ADDRESS_FLAG.into(), address.to_string().into()]);
        args.extend(["--state".into(), self.folder.agent(host).into(), "--ca".into(), self.folder.ca().into()]);
        if token.is_some() {
            args.extend(["--token-file".into(), "-".into()]);
        }
        let who = Who::Agent(host.clone());
        let enrolled = token.is_none();
        let start = Start { args, log: self.log(&who), input: token };
        let process = spawn(who, start, children)?;
        let record = AgentRecord { address, enrolled, manager: Some(manager), process: Some(process) };
        self.record.agents.insert(host.clone(), record);
        self.save()
    }

    fn address_for(&self, host: &DeviceName) -> Result<Ipv4Addr, CliError> {
        let running = |a: &AgentRecord| a.process.as_ref().is_some_and(ProcessId::is_alive);
        let mine: BTreeSet<Ipv4Addr> = self.record.agents.values().filter(|a| running(a)).map(|a| a.address).collect();
        let others = address::in_use().into_iter().filter(|address| !mine.contains(address));
        let kept = self.record.agents.iter().filter(|(name, _)| *name != host).map(|(_, a)| a.address);
        let taken = others.chain(kept).collect();
        address::choose(self.record.agents.get(host).map(|a| a.address), &taken).map_err(|error| {
            CliError::new(error.to_string())
                .help("end what is not needed: `robo down`, also with other ROBO_STATE_DIRs")
        })
    }

    async fn wait_for_agents(
        &mut self,
        hosts: &BTreeSet<DeviceName>,
        client: &Client,
        children: &mut Children,
    ) -> Result<(), CliError> {
        let until = Instant::now() + AGENTS_START;
        loop {
            let online: BTreeSet<DeviceName> =
                client.devices().await?.into_iter().filter(|d| d.online).map(|d| d.name).collect();
            let Some(missing) = hosts.difference(&online).next() else { break };
            if let Some((who, how)) = self.ended(children).into_iter().next() {
                return Err(self.dead(&who, &how));
            }
            if Instant::now() > until {
                let how = format!("is not connected after {} s", AGENTS_START.as_secs());
                return Err(self.dead(&Who::Agent(missing.clone()), &how));
            }
            tokio::time::sleep(ASK).await;
        }
        for host in hosts {
            if let Some(agent) = self.record.agents.get_mut(host) {
                agent.enrolled = true;
            }
        }
        self.save()
    }

    /// Ends processes of this environment that the record does not know: whoever started them was killed before it
    /// could write them down.
    pub(crate) async fn end_strays(&self) {
        let known: BTreeSet<u32> = self.record.processes().map(|p| p.pid).collect();
        let commands = [MANAGER_COMMAND, AGENT_COMMAND];
        for stray in process::started_below(self.folder.path(), &commands) {
            if !known.contains(&stray.pid) {
                tracing::info!("process {} was left behind by a killed `robo up` and is ended", stray.pid);
                end(&stray, AGENT_END).await;
            }
        }
    }

    /// The error for a process that does not do what it should, with the end of its log.
    pub(crate) fn dead(&self, who: &Who, how: &str) -> CliError {
        let log = self.log(who);
        let error = CliError::new(format!("{who} {how}"));
        let lines = process::last_lines(&log, LOG_LINES);
        lines.into_iter().fold(error, |error, line| error.note(line)).help(format!("the whole log: {}", log.display()))
    }

    fn log(&self, who: &Who) -> std::path::PathBuf {
        self.folder.logs().join(match who {
            Who::Manager => "manager.log".to_owned(),
            Who::Agent(device) => format!("agent-{device}.log"),
        })
    }

    /// A client for the manager that runs here.
    ///
    /// # Errors
    /// When its context is unusable.
    pub(crate) fn client(context: &Context, project: Option<&ProjectName>) -> Result<Client, CliError> {
        Client::new(super::CONTEXT, context, project.cloned().unwrap_or_else(ProjectName::default_project))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn save(&self) -> Result<(), CliError> {
        let path = self.folder.record();
        self.record.write(&path).map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))
    }
}

fn spawn(who: Who, start: Start, children: &mut Children) -> Result<ProcessId, CliError> {
    let mut child = start.spawn().map_err(|error| CliError::new(format!("{who} cannot be started: {error}")))?;
    let Some(id) = ProcessId::of(child.id()) else {
        let how = child.wait().map_or_else(|_| "ended".to_owned(), process::ending);
        return Err(CliError::new(format!("{who} {how} right after its start")));
    };
    children.insert(who, child);
    Ok(id)
}

fn how_it_ended(who: &Who, children: &mut Children) -> String {
    let status = children.get_mut(who).and_then(|child| child.try_wait().ok().flatten());
    status.map_or_else(|| "has ended".to_owned(), process::ending)
}

/// Ends a process: gently, and after `patience` at once.
pub(super) async fn end(process: &ProcessId, patience: Duration) {
    process.signal(Signal::TERM);
    let until = Instant::now() + patience;
    while process.is_alive() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    process.signal(Signal::KILL);
}

async fn take_lock(folder: &Folder, ui: &Ui) -> Result<File, CliError> {
    for needed in [folder.path(), &folder.agents(), &folder.logs()] {
        make_private(needed)
            .map_err(|error| CliError::new(format!("cannot make the folder {}: {error}", needed.display())))?;
    }
    let path = folder.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| CliError::new(format!("cannot open {}: {error}", path.display())))?;
    let until = Instant::now() + LOCK_WAIT;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                if !told {
                    ui.note("Another `robo up` or `robo down` is at work here; waiting for it.");
                    told = true;
                }
            }
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::new(
                    "another `robo up` or `robo down` is at work here and does not come to an end",
                )
                .help(format!("see which: `fuser {}`", path.display())));
            }
            Err(TryLockError::Error(error)) => {
                return Err(CliError::new(format!("cannot lock {}: {error}", path.display())));
            }
        }
        tokio::time::sleep(ASK).await;
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Keeps the `robo up`s of other folders from choosing the same addresses at the same moment. Best effort: where
/// the file cannot be had, the looks at running agents must do.
fn machine_lock() -> Option<File> {
    let path = std::env::temp_dir().join("robo-up-addresses.lock");
    let open = || {
        // Never waits: in a folder for everybody the name may stand for anything.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        File::options().read(true).custom_flags(flags).open(&path)
    };
    let file = open().or_else(|_| File::create_new(&path)).or_else(|_| open()).ok()?;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}
