//! The programs that `robo up` started, to be killed, frozen and started again as they were.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde_json::Value;

use super::signal;

/// How many kills a test does: what ROBO_KILLS says, or `usual`.
pub(super) fn kills(usual: usize) -> usize {
    std::env::var("ROBO_KILLS").map_or(usual, |text| text.parse().expect("ROBO_KILLS is a number"))
}

/// A program that `robo up` started, which can be killed and started again as it was.
pub(super) struct Victim {
    pid: u32,
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    /// When we started it again.
    running: Option<Running>,
    /// What it said since then.
    said: File,
}

impl Victim {
    /// The manager by the name `manager`, the agents by those of their devices.
    pub(super) fn all(user: &User) -> impl Iterator<Item = (String, Self)> {
        let record: Value = serde_json::from_slice(&fs::read(user.state().join("up/up.json")).unwrap()).unwrap();
        let number = |process: &Value| u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
        let mut manager = Self::of(number(&record["manager"]));
        // It got a port of its own; whoever knows it would not find it at another one.
        let listen = manager.words.iter().position(|word| word == "--listen").unwrap();
        manager.words[listen + 1] = record["address"].as_str().unwrap().into();
        let agents = record["agents"].as_object().unwrap().clone();
        let agents = agents.into_iter().map(move |(name, agent)| (name, Self::of(number(&agent["process"]))));
        std::iter::once(("manager".to_owned(), manager)).chain(agents)
    }

    fn of(pid: u32) -> Self {
        let list = |name: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            let parts = bytes.split(|b| *b == 0).filter(|part| !part.is_empty());
            parts.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let mut words: Vec<OsString> = list("cmdline").into_iter().map(OsString::from_vec).collect();
        // The token was given once, through a pipe; by now it has an identity.
        if let Some(token) = words.iter().position(|word| word == "--token-file") {
            words.drain(token..=token + 1);
        }
        let environment = list("environ").into_iter().map(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap();
            (OsString::from_vec(pair[..at].to_vec()), OsString::from_vec(pair[at + 1..].to_vec()))
        });
        let environment = environment.collect();
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        Self { pid, words, environment, folder, running: None, said: tempfile::tempfile().unwrap() }
    }

    pub(super) fn kill(&mut self) {
        match &mut self.running {
            Some(running) => running.kill(),
            None => {
                let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).unwrap();
                let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
                signal(self.pid, Signal::KILL);
                // Readable once its last thread has ended: a thread that the disk holds up in a write still has the
                // port and the folder's lock, while the process shows no command line any more.
                eventually_blocking("it is gone", || {
                    let mut ends = [PollFd::new(&process, PollFlags::IN)];
                    (poll(&mut ends, Some(&Timespec::default())).unwrap() > 0).then_some(())
                });
            }
        }
    }

    pub(super) fn start(&mut self) {
        let (program, arguments) = self.words.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.said.try_clone().unwrap()).process_group(0);
        self.running = Some(Running::start(&mut command));
    }

    /// Fails when it ended although nobody killed it, and shows what it said.
    pub(super) fn expect_running(&mut self) {
        let Some(ended) = self.running.as_mut().and_then(Running::ending) else { return };
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        panic!("it ended by itself, {ended}, and said:\n{said}");
    }
}
