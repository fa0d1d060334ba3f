//! The real programs, as a user has them. Each test has folders, processes and loopback addresses of its own.

mod collect;
mod copy;
mod crash;
mod disk;
mod exec;
mod faults;
mod files;
mod fleet;
mod forward;
mod groups;
mod history;
mod input;
mod install;
mod installing;
mod log_backup;
mod login;
mod logs;
mod manager;
mod network;
mod quota;
mod relay;
mod shell;
mod shop;
mod ssh;
mod ssh_certificates;
mod ssh_keys;
mod steps;
mod switches;
mod system_update;
mod terminal;
mod unit;
mod upgrade;
mod upgrading;
mod victim;
mod within;
mod writes;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, User};
use serde_json::Value;

/// Writes a graph, and the files of its recipes, to a folder of the user's; scripts can be run.
fn application(user: &User, graph: &str, files: &[(&str, &str)]) -> String {
    let folder = user.folder.path().join("application");
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(&folder.join("app.graph"), graph);
    for (path, text) in files {
        let path = folder.join(path);
        write(&path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.join("app.graph").to_str().unwrap().to_owned()
}

/// What `robo status` knows of one instance.
fn instance(user: &User, path: &str) -> Value {
    let status = user.run(&["status", "-o", "json"]).expect(0).json();
    find(&status, path)
}

fn find(status: &Value, path: &str) -> Value {
    let instances = status["instances"].as_array().unwrap();
    instances.iter().find(|i| i["path"] == path).unwrap_or_else(|| panic!("no {path} in {status:#}")).clone()
}

fn state(user: &User, path: &str) -> String {
    instance(user, path)["state"].as_str().unwrap().to_owned()
}

/// The process of an instance.
fn pid(instance: &Value) -> u32 {
    let pid = instance["report"]["pid"].as_u64().unwrap_or_else(|| panic!("no process: {instance:#}"));
    pid.try_into().unwrap()
}

fn is_as_wished(user: &User) -> bool {
    user.run(&["status", "--check"]).code == 0
}

fn until_as_wished(user: &User) {
    eventually_blocking("everything as wished", || is_as_wished(user).then_some(()));
}

/// All events after the one with this number.
fn events(user: &User, after: u64) -> Vec<Value> {
    let run = user.run(&["events", "-o", "json", "-n", "10000", "--since", &after.to_string()]).expect(0);
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of the newest event.
fn last_event(user: &User) -> u64 {
    let run = user.run(&["events", "-o", "json", "-n", "1"]).expect(0);
    let event: Value = serde_json::from_str(&run.out).unwrap();
    event["id"].as_u64().unwrap()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Processes that have to do with a folder: by command line, environment, or where they work.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    let needle = folder.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    let ours = |(pid, proc): (u32, PathBuf)| {
        let read = |name: &str| String::from_utf8_lossy(&fs::read(proc.join(name)).unwrap_or_default()).into_owned();
        let line = read("cmdline");
        let cwd = fs::read_link(proc.join("cwd")).unwrap_or_default();
        let ours = line.contains(needle) || read("environ").contains(needle) || cwd.starts_with(folder);
        // A program that ended and is not yet collected has no command line.
        (ours && !line.is_empty()).then(|| (pid, line.replace('\0', " ")))
    };
    all.filter_map(ours).filter(|(pid, _)| *pid != std::process::id()).collect()
}

/// A manager by itself, and a user who knows it.
struct Lab {
    user: User,
    address: SocketAddr,
    manager: Running,
}

impl Lab {
    fn new() -> Self {
        Self::with(&[])
    }

    /// With these arguments for the manager.
    fn with(arguments: &[&str]) -> Self {
        Self::with_environment(arguments, &[])
    }

    fn with_environment(arguments: &[&str], environment: &[(String, String)]) -> Self {
        // It would read the agent's whole program, which takes an unoptimised build some seconds.
        let nothing_to_install = ["--agent-binaries", "/none"];
        Self::start(&[arguments, &nothing_to_install].concat(), environment)
    }

    /// With these arguments and no others.
    fn start(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let user = User::new();
        let folder = user.folder.path();
        let (data, ready) = (folder.join("manager"), folder.join("ready"));
        let mut command = user.command();
        command.args(["manager", "--data"]).arg(&data).arg("--ready-file").arg(&ready);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(arguments).envs(environment.iter().cloned());
        let manager = Running::start(command.arg("--log-file").arg(folder.join("manager.log")));
        let address: SocketAddr =
            eventually_blocking("a manager listens", || fs::read_to_string(&ready).ok()?.trim().parse().ok());
        let address = if address.ip().is_unspecified() { ([127, 0, 0, 1], address.port()).into() } else { address };
        let lab = Self { user, address, manager };
        lab.add_context("lab", &data.join("ca.pem"));
        lab
    }

    fn path(&self, name: &str) -> String {
        self.user.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a context for this manager with the CA of that file.
    fn add_context(&self, name: &str, ca: &Path) {
        let url = format!("https://{}", self.address);
        let token = self.path("manager/admin.token");
        let ca = ca.to_str().unwrap();
        let add = ["context", "add", name, "--url", &url, "--ca", ca, "--token-file", &token];
        self.user.run(&add).expect(0);
    }

    /// A file with a fresh token.
    fn token(&self, device: &str) -> String {
        let file = self.path(&format!("{device}.token"));
        fs::write(&file, self.user.run(&["device", "enroll", device]).expect(0).out).unwrap();
        file
    }
}
