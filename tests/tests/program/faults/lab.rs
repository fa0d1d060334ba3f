//! Machines with an agent each, and clocks that can be set for one program alone.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, robo};

use super::net::Namespace;
use crate::program::Lab;

/// An agent that is ended with its owner, with all that it started.
pub(in crate::program) struct Machine {
    pub(in crate::program) agent: Running,
    folder: PathBuf,
    log: PathBuf,
}

impl Machine {
    /// Starts the agent of a fresh device and waits until it is enrolled.
    pub(in crate::program) fn start(lab: &Lab, name: &str, manager: &str) -> Self {
        Self::run(lab, name, manager, Command::new(robo()), &[])
    }

    /// The same, with variables of its own.
    pub(in crate::program) fn start_with(
        lab: &Lab,
        name: &str,
        manager: &str,
        environment: &[(String, String)],
    ) -> Self {
        Self::run(lab, name, manager, Command::new(robo()), environment)
    }

    /// The same, by a command that ends in `robo`.
    pub(in crate::program) fn start_by(
        lab: &Lab,
        name: &str,
        manager: &str,
        command: Command,
        environment: &[(String, String)],
    ) -> Self {
        Self::run(lab, name, manager, command, environment)
    }

    /// The same, in a network namespace.
    pub(super) fn start_in(lab: &Lab, name: &str, manager: &str, namespace: &Namespace) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.name]).arg(robo());
        Self::run(lab, name, manager, command, &[])
    }

    /// The same, with a clock of its own.
    pub(super) fn start_under(lab: &Lab, name: &str, manager: &str, clock: &Clock) -> Self {
        Self::run(lab, name, manager, Command::new(robo()), &clock.environment())
    }

    fn run(lab: &Lab, name: &str, manager: &str, mut command: Command, environment: &[(String, String)]) -> Self {
        let (folder, log) = (PathBuf::from(lab.path(name)), PathBuf::from(lab.path(&format!("{name}.log"))));
        let token = lab.token(name);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(["agent", "--manager", manager, "--token-file", &token, "--address", "127.0.0.1", "--state"]);
        command.arg(&folder).arg("--log-file").arg(&log).env_clear().env("PATH", path).env("HOME", &folder);
        command.envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let machine = Self { agent: Running::start(&mut command), folder, log };
        eventually_blocking("the agent is linked", || machine.log().contains("link up").then_some(()));
        machine
    }

    /// Starts its agent again after it ended, with these variables, and waits until it is linked.
    pub(in crate::program) fn again(&mut self, lab: &Lab, environment: &[(String, String)]) {
        let before = self.log().matches("link up").count();
        self.again_alone(lab, environment);
        eventually_blocking("the agent is linked again", || {
            (self.log().matches("link up").count() > before).then_some(())
        });
    }

    /// The same, without waiting for its link.
    pub(in crate::program) fn again_alone(&mut self, lab: &Lab, environment: &[(String, String)]) {
        let mut command = Command::new(robo());
        command.args(["agent", "--manager", &lab.address.to_string(), "--address", "127.0.0.1", "--state"]);
        command.arg(&self.folder).arg("--log-file").arg(&self.log).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &self.folder);
        command.envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.agent = Running::start(&mut command);
    }

    /// What it has logged.
    pub(in crate::program) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.agent.0.kill());
        drop(self.agent.0.wait());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(Runtime::kill_leftovers(&Folders::new(&self.folder)));
        assert!(std::thread::panicking() || ended.is_ok(), "leftovers of an agent: {ended:?}");
    }
}

/// A clock for one program, through libfaketime.
pub(super) struct Clock {
    library: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Clock {
    /// Two of them, right for now; nothing where the library is not there.
    pub(super) fn pair() -> Option<[Self; 2]> {
        let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
        let library = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.exists())?;
        let clock = || {
            let clock = Self { library: library.clone(), file: tempfile::NamedTempFile::new().unwrap() };
            clock.set("+0");
            clock
        };
        Some([clock(), clock()])
    }

    /// Sets it: `+2d` is two days ahead.
    pub(super) fn set(&self, offset: &str) {
        // Under another name first: the library reads it at any moment.
        let path = self.file.path();
        let new = path.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, path).unwrap();
    }

    /// Only the time of day is wrong: no kernel sets the monotonic clock.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            set("LD_PRELOAD", self.library.to_str().unwrap()),
            set("FAKETIME_TIMESTAMP_FILE", self.file.path().to_str().unwrap()),
            set("FAKETIME_NO_CACHE", "1"),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            set("DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}
