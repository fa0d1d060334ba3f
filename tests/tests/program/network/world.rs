//! Networks made of namespaces: a chain of machines from the world, where the manager is, to a device behind two routers
//! that hide what is below them. Nothing of it touches the network of this machine, so tests run beside one another.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started, User, robo, robo_agent};
use serde_json::Value;

/// Where the manager is.
pub(super) const MANAGER: &str = "203.0.113.1:443";

/// Network namespaces that are gone with their owner.
pub(super) struct Namespaces {
    prefix: String,
    names: Vec<&'static str>,
}

impl Namespaces {
    pub(super) fn new(names: &[&'static str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("robo-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut namespaces = Self { prefix, names: Vec::new() };
        for name in names {
            ip(&["netns", "add", &namespaces.full(name)]);
            namespaces.names.push(name);
            namespaces.ip(name, &["link", "set", "lo", "up"]);
        }
        namespaces
    }

    fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs `ip` in a namespace.
    pub(super) fn ip(&self, name: &str, arguments: &[&str]) {
        ip(&[&["-n", &self.full(name)], arguments].concat());
    }

    /// A cable between two machines: the name and the address of each end.
    pub(super) fn cable(&self, [a, b]: [(&str, &str, &str); 2]) {
        let (there, here) = (self.full(b.0), self.full(a.0));
        ip(&["link", "add", a.1, "netns", &here, "type", "veth", "peer", "name", b.1, "netns", &there]);
        for (machine, end, address) in [a, b] {
            self.ip(machine, &["address", "add", address, "dev", end]);
            self.ip(machine, &["link", "set", end, "up"]);
        }
    }

    /// Makes a machine a router that hides all who send through it out of `wan`, and lets them out as `rule` says.
    pub(super) fn hide_behind(&self, name: &str, rule: &str) {
        self.done(name, "sh", &["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
        let rules = format!(
            "table ip hide {{
                chain out {{ type nat hook postrouting priority srcnat; oifname \"wan\" masquerade; }}
                chain through {{
                    type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    iifname \"lan\" {rule}
                }}
            }}"
        );
        self.done(name, "nft", &[&rules]);
    }

    /// Loses some of what comes to a machine.
    pub(super) fn lose_some(&self, name: &str, percent: u32) {
        let rules = format!(
            "table ip lossy {{
                chain in {{
                    type filter hook input priority filter;
                    iifname != \"lo\" numgen random mod 100 < {percent} drop
                }}
            }}"
        );
        self.done(name, "nft", &[&rules]);
    }

    /// A program in a namespace.
    pub(super) fn command(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.full(name), program]);
        command
    }

    fn done(&self, name: &str, program: &str, arguments: &[&str]) {
        let output = self.command(name, program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // With it go its ends of cables, and with them the others.
            drop(Command::new("ip").args(["netns", "delete", &self.full(name)]).output());
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is there; .ci/run brings it");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A manager in the namespace `world`, at [`MANAGER`], and a user beside it.
pub(super) struct World {
    pub(super) namespaces: Namespaces,
    user: User,
    manager: Option<Running>,
}

impl World {
    /// Starts the manager; its address is one of `world`'s already.
    pub(super) fn start(namespaces: Namespaces, options: &[&str]) -> Self {
        let mut world = Self { namespaces, user: User::new(), manager: None };
        let (data, ready) = (world.path("manager"), world.path("ready"));
        let mut command = world.command();
        command.args(["manager", "--listen", "0.0.0.0:443", "--data", &data, "--ready-file", &ready]).args(options);
        if !options.contains(&"--agent-binaries") {
            command.args(["--agent-binaries", "/none"]);
        }
        world.manager = Some(Running::start(command.arg("--log-file").arg(world.path("manager.log"))));
        eventually_blocking("a manager listens", || fs::read_to_string(&ready).ok().filter(|text| !text.is_empty()));
        let (url, token) = (format!("https://{MANAGER}"), world.path("manager/admin.token"));
        let ca = world.path("manager/ca.pem");
        world.run(&["context", "add", "lab", "--url", &url, "--ca", &ca, "--token-file", &token]).expect(0);
        world
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.user.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// Runs `robo` beside the manager.
    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        Started::start(self.command().args(arguments)).wait()
    }

    fn command(&self) -> Command {
        self.command_in("world")
    }

    /// `robo` in a namespace, with the user's environment.
    pub(super) fn command_in(&self, namespace: &str) -> Command {
        self.as_user(namespace, robo().to_str().unwrap())
    }

    /// A program in a namespace, with the user's environment.
    pub(super) fn as_user(&self, namespace: &str, program: &str) -> Command {
        let mut command = self.namespaces.command(namespace, program);
        let like = self.user.command();
        command.current_dir(robo_tests::programs::root()).env_clear().stdin(Stdio::null());
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Starts the agent of a fresh device in the namespace `device`, and waits until it is enrolled and linked.
    pub(super) fn device(&self, environment: &[(&str, &str)]) -> Device {
        let token = self.path("device.token");
        fs::write(&token, self.run(&["device", "enroll", "device"]).expect(0).out).unwrap();
        let (folder, log) = (PathBuf::from(self.path("device")), PathBuf::from(self.path("device.log")));
        let mut command = self.namespaces.command("device", robo_agent().to_str().unwrap());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(["--manager", MANAGER, "--token-file", &token, "--state"]).arg(&folder);
        command.env_clear().env("PATH", path).env("HOME", &folder).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let device = Device { agent: Running::start(&mut command), folder, log };
        eventually_blocking("the agent is linked", || device.log().contains("link up").then_some(()));
        device
    }

    /// The words of `robo` in a namespace, for whoever runs it in a terminal.
    pub(super) fn words_in(&self, namespace: &str, arguments: &[&str]) -> Vec<String> {
        let mut command = self.command_in(namespace);
        command.args(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    /// Looks at the device from the inside, while its agent runs.
    pub(super) fn doctor(&self, environment: &[(&str, &str)]) -> Run {
        let mut command = self.namespaces.command("device", robo_agent().to_str().unwrap());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(["doctor", "-o", "json", "--state", &self.path("device")]);
        command.env_clear().env("PATH", path).envs(environment.iter().copied()).stdin(Stdio::null());
        Started::start(&mut command).wait()
    }

    /// What the manager says of the device.
    pub(super) fn seen(&self) -> Value {
        let devices = self.run(&["device", "list", "-o", "json"]).expect(0).json();
        devices.as_array().unwrap().iter().find(|device| device["name"] == "device").unwrap().clone()
    }

    pub(super) fn until_online(&self, online: bool) {
        let what = if online { "the device is online" } else { "the device is offline" };
        eventually_blocking(what, || (self.seen()["online"] == online).then_some(()));
    }
}

/// An agent that is ended with its owner, with all that it started.
pub(super) struct Device {
    agent: Running,
    folder: PathBuf,
    log: PathBuf,
}

impl Device {
    /// What it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the device's log:\n{}", self.log());
        }
        drop(self.agent.0.kill());
        drop(self.agent.0.wait());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(Runtime::kill_leftovers(&Folders::new(&self.folder)));
        assert!(std::thread::panicking() || ended.is_ok(), "leftovers of an agent: {ended:?}");
    }
}
