//! `robo device upgrade` with the real programs: agents become another one over their links, or stay what they were.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started, robo_agent};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Lab, application, instance, pid, until_as_wished};

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Server, Job;
}
Server {
	installer: process;
	run: sleep 1000;
}
Job {
	installer: script;
}
instance of Machine {
	name: one;
	instance of Server {
		name: server;
	}
	instance of Job {
		name: job;
	}
}
";

const NOTE: &str = "#!/bin/sh\necho $ROBO_STEP >> \"$HOME/steps\"\n";

/// What says that it is an agent, and is none.
const PRETENDER: &str = "#!/bin/sh\n[ \"$1\" = --version ] && echo robo-agent 9 && exit\n";

/// The agent's program, without what helps to look for faults: that is most of it, and all of it is sent.
fn program() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("robo-agent");
        let stripped = Command::new("strip").arg("-o").arg(&small).arg(robo_agent()).status();
        // Where there is no such tool it takes longer.
        let from = if stripped.is_ok_and(|status| status.success()) { small } else { robo_agent() };
        fs::read(from).unwrap()
    })
}

/// The agent's program, a little longer: another build of the same.
pub(super) fn build(version: u8) -> Vec<u8> {
    let mut program = program().to_vec();
    program.extend([version; 16]);
    program
}

pub(super) fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Puts a program in the place of `path`, as a package does: under another name first.
pub(super) fn put(path: &Path, program: &[u8]) {
    let fresh = path.with_extension("fresh");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&fresh, program).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// A manager with a program to give away.
struct Bench {
    lab: Lab,
    offered: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let offered = tempfile::tempdir().unwrap();
        let lab = Lab::start(&["--agent-binaries", offered.path().to_str().unwrap()], &[]);
        Self { lab, offered }
    }

    fn offer(&self, program: &[u8]) {
        put(&self.offered.path().join("robo-agent"), program);
    }
}

impl std::ops::Deref for Bench {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

/// A device with a program of its own.
struct Device {
    name: &'static str,
    program: PathBuf,
    state: PathBuf,
    agent: Running,
    arguments: Vec<String>,
}

impl Device {
    fn start(lab: &Lab, name: &'static str, more: &[&str]) -> Self {
        let program = Path::new(&lab.path("")).join(name).join("bin/robo-agent");
        let state = Path::new(&lab.path("")).join(name).join("state");
        put(&program, &build(0));
        let address = lab.address.to_string();
        let mut arguments = ["--manager", &address, "--state", state.to_str().unwrap(), "--address", "127.0.0.1"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let first = [arguments.as_slice(), &["--token-file".to_owned(), lab.token(name)]].concat();
        let device = Self { name, agent: run(&program, &first), program, state, arguments };
        eventually_blocking("its program is known", || (device.facts(lab)["program"] == sha(&build(0))).then_some(()));
        // What it was enrolled with is gone, as it is on any device.
        fs::remove_file(lab.path(&format!("{name}.token"))).unwrap();
        device
    }

    fn facts(&self, lab: &Lab) -> Value {
        lab.user
            .run(&["device", "list", "-o", "json"])
            .expect(0)
            .json()
            .as_array()
            .unwrap()
            .iter()
            .find(|device| device["name"] == self.name && device["online"] == true)
            .map(|device| device["facts"].clone())
            .unwrap_or_default()
    }

    fn in_place(&self) -> String {
        sha(&fs::read(&self.program).unwrap())
    }

    /// The program is the one before, nothing is left of another one, and the device does what it is told.
    fn is_as_before(&mut self, lab: &Lab) {
        assert!(self.agent.ending().is_none(), "the agent's process is another one");
        eventually_blocking("it is back", || (self.facts(lab)["program"] == sha(&build(0))).then_some(()));
        assert_eq!(self.in_place(), sha(&build(0)));
        let left: Vec<_> = fs::read_dir(self.program.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        eventually_blocking("it does what it is told", || {
            (lab.user.run(&["exec", self.name, "-n", "--", "true"]).code == 0).then_some(())
        });
    }
}

fn run(program: &Path, arguments: &[String]) -> Running {
    let mut command = Command::new(program);
    Running::start(command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

impl Drop for Device {
    /// What the agent started ends with the test.
    fn drop(&mut self) {
        let folders = Folders::new(&self.state);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        drop(runtime.block_on(Runtime::kill_leftovers(&folders)));
    }
}

/// True while something runs with this command line.
fn runs(line: &str) -> bool {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|words| words.trim_end_matches('\0').replace('\0', " ") == line)
}

fn deploy(lab: &Lab) {
    let scripts = ["deploy", "start", "stop"].map(|step| format!("Job/scripts/{step}.sh"));
    let files: Vec<(&str, &str)> = scripts.iter().map(|path| (path.as_str(), NOTE)).collect();
    let graph = application(&lab.user, GRAPH, &files);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    until_as_wished(&lab.user);
}

fn verdict(run: &Run, device: &str) -> Value {
    let rows = run.json();
    let row = rows.as_array().unwrap().iter().find(|row| row["device"] == device);
    row.unwrap_or_else(|| panic!("no {device} in {rows:#}")).clone()
}

#[test]
fn an_agent_becomes_another_program_over_its_link_and_what_runs_runs_on() {
    let lab = Bench::new();
    let device = Device::start(&lab, "one", &[]);
    deploy(&lab);
    let steps = device.state.join("instances/app/one/job/@data/steps");
    let (before, ran) = (pid(&instance(&lab.user, "/one/server")), fs::read_to_string(&steps).unwrap());
    lab.offer(&build(1));
    let would = lab.user.run(&["device", "upgrade", "--all", "--dry-run", "-o", "json"]).expect(0);
    assert_eq!(verdict(&would, "one")["verdict"], "would_upgrade");
    assert_eq!(device.in_place(), sha(&build(0)));

    for (old, new) in [(0, 1), (1, 2)] {
        lab.offer(&build(new));
        let done = lab.user.run(&["device", "upgrade", "one", "-o", "json"]).expect(0);
        let row = verdict(&done, "one");
        assert_eq!((&row["verdict"], &row["to"]), (&Value::from("upgraded"), &Value::from(sha(&build(new)))));
        assert_eq!((device.in_place(), &row["from"]), (sha(&build(new)), &Value::from(sha(&build(old)))));
        let previous = device.program.with_file_name("robo-agent.previous");
        assert_eq!(sha(&fs::read(previous).unwrap()), sha(&build(old)));
        // A service manager that started it notices nothing.
        let own = fs::read_link(format!("/proc/{}/exe", device.agent.0.id())).unwrap();
        assert_eq!(own, device.program.canonicalize().unwrap());
        until_as_wished(&lab.user);
        assert_eq!(pid(&instance(&lab.user, "/one/server")), before, "it was started again");
        assert_eq!(fs::read_to_string(&steps).unwrap(), ran, "a step ran");
    }
    let again = lab.user.run(&["device", "upgrade", "one"]).expect(0);
    assert!(again.out.contains("same"), "{again:?}");
    eventually_blocking("it says what it is", || (device.facts(&lab)["program"] == sha(&build(2))).then_some(()));
    let shown = lab.user.run(&["device", "inspect", "one"]).expect(0).out;
    assert!(shown.contains(&sha(&build(2))) && shown.contains("ended well at"), "{shown}");
    assert_eq!(fs::read_dir(device.state.join("upgrade")).unwrap().count(), 1, "nothing is left but the outcome");

    // Whoever is at work there is asked first.
    let mut command = lab.user.command();
    let working = Started::start(command.args(["exec", "one", "-n", "--", "sh", "-c", "echo here; exec sleep 1000"]));
    eventually_blocking("somebody works there", || working.so_far().0.contains("here").then_some(()));
    lab.offer(&build(3));
    let refused = lab.user.run(&["device", "upgrade", "one"]).expect(3);
    assert!(refused.out.contains("AGT_UPGRADE_IN_USE") && refused.out.contains("1 of commands"), "{refused:?}");
    lab.user.run(&["device", "upgrade", "one", "--force"]).expect(0);
    assert_eq!(device.in_place(), sha(&build(3)));
    assert_eq!(pid(&instance(&lab.user, "/one/server")), before, "it was started again");
}

#[test]
fn a_program_that_is_of_no_use_gives_way_to_the_one_before() {
    let lab = Bench::new();
    let mut device = Device::start(&lab, "one", &["--trial-time", "3s"]);
    deploy(&lab);
    let before = pid(&instance(&lab.user, "/one/server"));
    let crashes = format!("{PRETENDER}echo I cannot >&2\nexit 7\n");
    let hangs = format!("{PRETENDER}echo I wait >&2\nexec sleep 4712\n");
    for (program, code, expect) in [
        (crashes.as_str(), "AGT_UPGRADE_TRIAL", "it ended with exit status: 7; its last lines:\nI cannot"),
        (&hangs, "AGT_UPGRADE_TRIAL", "the manager did not welcome it within 3s; its last lines:\nI wait"),
        ("no program", "AGT_PROGRAM", "no program for this machine"),
        ("#!/bin/sh\necho something else\n", "AGT_PROGRAM", "it says `something else`"),
    ] {
        lab.offer(program.as_bytes());
        let failed = lab.user.run(&["device", "upgrade", "one", "-o", "json"]).expect(3);
        let row = verdict(&failed, "one");
        assert_eq!((&row["verdict"], &row["code"]), (&Value::from("failed"), &Value::from(code)), "{row:#}");
        assert!(row["reason"].as_str().unwrap().contains(expect), "{row:#}");
        device.is_as_before(&lab);
        assert_eq!(pid(&instance(&lab.user, "/one/server")), before, "it was started again");
        eventually_blocking("it says why", || (device.facts(&lab)["upgrade"]["code"] == code).then_some(()));
        assert!(!runs("sleep 4712"), "what was tried still runs");
    }
    let shown = lab.user.run(&["device", "inspect", "one"]).expect(0).out;
    assert!(shown.contains("failed AGT_PROGRAM"), "{shown}");
}

#[test]
fn an_agent_that_is_killed_while_it_tries_another_program_goes_on_as_before() {
    let lab = Bench::new();
    let mut device = Device::start(&lab, "one", &[]);
    deploy(&lab);
    let before = pid(&instance(&lab.user, "/one/server"));
    lab.offer(format!("{PRETENDER}exec sleep 4711\n").as_bytes());
    let mut command = lab.user.command();
    let asking = Started::start(command.args(["device", "upgrade", "one", "-o", "json"]));
    let note = device.state.join("upgrade/trial.json");
    eventually_blocking("the program is tried", || {
        let note: Value = serde_json::from_slice(&fs::read(&note).ok()?).ok()?;
        note["child"]["pid"].as_u64()
    });
    eventually_blocking("it hangs", || runs("sleep 4711").then_some(()));
    device.agent.kill();
    device.agent = run(&device.program, &device.arguments);
    device.is_as_before(&lab);
    assert!(!runs("sleep 4711"), "what was tried still runs");
    assert_eq!(pid(&instance(&lab.user, "/one/server")), before, "it was started again");
    let failed = asking.wait().expect(3);
    assert_eq!(verdict(&failed, "one")["code"], "AGT_UPGRADE_CUT", "{failed:?}");
}

#[test]
fn of_two_devices_one_stays_what_it_was() {
    let lab = Bench::new();
    let good = Device::start(&lab, "good", &[]);
    let mut bad = Device::start(&lab, "bad", &["--trial-time", "1ms"]);
    lab.offer(&build(1));
    let done = lab.user.run(&["device", "upgrade", "good", "bad", "nobody", "-o", "json"]).expect(3);
    let rows = done.json();
    let names: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["device"]).collect();
    assert_eq!(names, ["good", "bad", "nobody"]);
    assert_eq!(verdict(&done, "good")["verdict"], "upgraded");
    assert_eq!(verdict(&done, "bad")["code"], "AGT_UPGRADE_TRIAL");
    assert_eq!(verdict(&done, "nobody")["verdict"], "refused");
    assert_eq!(good.in_place(), sha(&build(1)));
    bad.is_as_before(&lab);
}
