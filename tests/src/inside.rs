//! The real manager and real agents as tasks of this process: real TLS, real files, real keepers, port 0.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use robo_agent::dial::Route;
use robo_agent::forward::Policy;
use robo_manager::ca::DEVICE_LIFETIME;
use robo_manager::limits::REQUESTS;
use robo_manager::plan::PortRanges;
use robo_manager::server::{Config, ManagerError, Server};
use robo_manager::watchman::SILENT_AFTER;
use robo_model::quantity::Millis;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::programs::robo_agent;

/// Agents speak up this often in tests: silence is noticed after twice this time.
const HEARTBEAT: Millis = Millis::from_secs(5);

/// A manager that ends with its owner.
pub struct Manager {
    /// Its folder.
    pub data: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// The API as the first administrator.
    pub api: Api,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Manager {
    /// Starts one on `data`, at a port of its own.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn start(data: &Path) -> Self {
        Self::start_at(data, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("the manager starts")
    }

    /// Starts one on `data`, at `listen`.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start_at(data: &Path, listen: SocketAddr) -> Result<Self, ManagerError> {
        Self::start_with(Self::config(data, listen)).await
    }

    /// How one runs on `data`, at `listen`, where nothing else is said.
    #[must_use]
    pub fn config(data: &Path, listen: SocketAddr) -> Config {
        Config {
            listen: Some(listen),
            relay: None,
            data: data.to_owned(),
            heartbeat: HEARTBEAT,
            silent_after: SILENT_AFTER,
            device_lifetime: DEVICE_LIFETIME,
            agent_binaries: None,
            forbidden_ports: PortRanges::default(),
            requests: REQUESTS,
            login: None,
            files_max: robo_manager::uploads::FILES_MAX,
            audit_keep: None,
        }
    }

    /// Starts one that runs so.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start_with(config: Config) -> Result<Self, ManagerError> {
        let data = config.data.clone();
        let server = Server::bind(config).await?;
        let address = server.local_addr().expect("it listens");
        let ca = server.ca_pem().to_owned();
        let token = std::fs::read_to_string(data.join("admin.token")).expect("the administrator's token");
        let api = Api::new(address, &ca, token.trim());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Ok(Self { data, address, api, stop: Some(stop), task })
    }

    /// Ends it gently and waits for the end.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.expect("the manager ends well");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An agent that ends with its owner; what it started is ended too.
pub struct Agent {
    /// Its folder.
    pub state: PathBuf,
    task: Option<JoinHandle<()>>,
    /// The user that commands run as from its next start on; the agent's own where nothing is given.
    pub exec_user: Option<String>,
    /// What the machine's owner forbids from its next start on.
    pub without: BTreeSet<robo_wire::switch::Subsystem>,
}

impl Agent {
    /// Starts an agent of that name at `manager`, enrolled with a fresh token, in a folder below `below`.
    ///
    /// # Panics
    /// When no token can be had.
    pub async fn start(manager: &Manager, below: &Path, name: &str, address: &str) -> Self {
        Self::start_through(manager, below, (name, address), manager.address).await
    }

    /// The same, for one that dials `through` something. `device` is its name and its address.
    ///
    /// # Panics
    /// When no token can be had.
    pub async fn start_through(
        manager: &Manager,
        below: &Path,
        (name, address): (&str, &str),
        through: SocketAddr,
    ) -> Self {
        let token = manager.api.enroll_token(name).await;
        let mut agent = Self { state: below.join(name), task: None, exec_user: None, without: BTreeSet::new() };
        agent.resume_on(Route::direct(through.to_string()), Some(token), address);
        agent
    }

    /// Starts an agent on a folder of its own.
    #[must_use]
    pub fn on(state: &Path, manager: &Manager, token: Option<String>, address: &str) -> Self {
        let mut agent = Self { state: state.to_owned(), task: None, exec_user: None, without: BTreeSet::new() };
        agent.resume(manager, token, address);
        agent
    }

    /// The same, on another way to the manager than the straight one.
    ///
    /// # Panics
    /// When no token can be had.
    pub async fn start_on(route: Route, manager: &Manager, below: &Path, name: &str) -> Self {
        let token = manager.api.enroll_token(name).await;
        let mut agent = Self { state: below.join(name), task: None, exec_user: None, without: BTreeSet::new() };
        agent.resume_on(route, Some(token), "127.0.0.1");
        agent
    }

    /// Starts it again on its folder.
    pub fn resume(&mut self, manager: &Manager, token: Option<String>, address: &str) {
        self.resume_on(Route::direct(manager.address.to_string()), token, address);
    }

    fn resume_on(&mut self, route: Route, token: Option<String>, address: &str) {
        let config = robo_agent::Config {
            state: self.state.clone(),
            route,
            token,
            ca_pem: None,
            name: None,
            addresses: vec![address.parse().expect("an IP address")],
            forward: Policy::default(),
            ssh: PathBuf::from("/etc/ssh"),
            exec_user: self.exec_user.clone(),
            without: self.without.clone(),
            log_backup: None,
            boot: None,
            own: None,
        };
        // It may have to be built first, which is nothing that a test should wait for in vain.
        let keeper = robo_agent();
        self.task = Some(tokio::spawn(async move {
            let never = std::future::pending();
            if let Err(error) = robo_agent::run_with_keeper(config, keeper, never).await {
                panic!("an agent ended: {error}");
            }
        }));
    }

    /// Ends it as a crash would: in the middle of whatever it does. What it started goes on.
    pub async fn crash(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            drop(task.await);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let folders = robo_agent::folders::Folders::new(&self.state);
        // On a thread of its own: a runtime may already run on this one.
        let end = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(robo_agent::runtime::Runtime::kill_leftovers(&folders)).map(drop)
        });
        let ended = end.join();
        assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "leftovers of an agent: {ended:?}");
    }
}

/// A folder for everything of one test.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}
