//! `robo-agent` is replaced by a new version, while it runs, and is started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, robo_agent};
use rustix::process::Signal;

use super::{Lab, application, instance, last_event, pid, until_as_wished};

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
	exports: ip, port = 1;
	run: sleep 1000;
}
Job {
	installer: script;
	imports: Server.ip, Server.port;
}
instance of Machine {
	name: m;
	instance of Server {
		name: server;
	}
	instance of Job {
		name: job;
	}
}
";

const NOTE: &str = "#!/bin/sh\necho $ROBO_STEP >> \"$HOME/steps\"\n";

/// Puts a program in the place of `path`, as a package does: under another name first. It is ours, a little longer.
fn install(path: &Path, version: u8) {
    let fresh = path.with_extension("new");
    let mut program = fs::read(robo_agent()).unwrap();
    program.extend([version; 16]);
    fs::write(&fresh, program).unwrap();
    let mode = fs::metadata(robo_agent()).unwrap().permissions();
    fs::set_permissions(&fresh, mode).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[test]
fn a_new_version_of_the_agent_touches_nothing_that_runs() {
    let lab = Lab::new();
    let (program, state) = (lab.user.folder.path().join("bin-robo-agent"), lab.path("m"));
    install(&program, 1);
    let _leftovers = Leftovers(PathBuf::from(&state));
    let start = |token: Option<&str>| {
        let mut command = Command::new(&program);
        command.args(["--manager", &lab.address.to_string(), "--state", &state, "--address", "127.0.0.1"]);
        command.args(token.iter().flat_map(|token| ["--token-file", token]));
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let mut agent = start(Some(&lab.token("m")));
    eventually_blocking("the device is there", || lab.user.run(&["device", "list"]).out.contains('m').then_some(()));
    let steps = Path::new(&state).join("instances/app/m/job/@data/steps");
    let scripts = ["deploy", "start", "update", "stop"].map(|step| format!("Job/scripts/{step}.sh"));
    let files: Vec<(&str, &str)> = scripts.iter().map(|path| (path.as_str(), NOTE)).collect();
    let graph = application(&lab.user, GRAPH, &files);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let ran = || fs::read_to_string(&steps).unwrap();
    let (before, ran_before) = (pid(&instance(&lab.user, "/m/server")), ran());
    assert_eq!(ran_before, "deploy\nstart\n");

    for version in 2..5 {
        // Replaced while the old one runs; then it is told to end, as by a package, or dies.
        install(&program, version);
        let event = last_event(&lab.user);
        if version % 2 == 0 {
            agent.signal(Signal::TERM);
            assert_eq!(agent.ended(), Some(0));
        } else {
            agent.kill();
        }
        agent = start(None);
        eventually_blocking("the device is back", || {
            let events = super::events(&lab.user, event);
            events.iter().any(|e| e["kind"] == "online").then_some(())
        });
        until_as_wished(&lab.user);
        assert_eq!(pid(&instance(&lab.user, "/m/server")), before, "version {version}: it was started again");
        assert_eq!(ran(), ran_before, "version {version}: a step ran");
        let adopted = super::events(&lab.user, event);
        assert!(!adopted.iter().any(|e| e["kind"] == "state"), "version {version}: {adopted:?}");
    }

    // An agent whose file was replaced begins steps as ever: with the program that it is.
    install(&program, 9);
    application(&lab.user, &GRAPH.replace("port = 1", "port = 2"), &files);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    assert!(ran().starts_with(&format!("{ran_before}update\n")) || ran().contains("start\nstop\nstart"), "{}", ran());
}

/// What the agent started ends with the test.
struct Leftovers(PathBuf);

impl Drop for Leftovers {
    fn drop(&mut self) {
        let folders = Folders::new(&self.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        drop(runtime.block_on(Runtime::kill_leftovers(&folders)));
    }
}

#[test]
fn an_agent_is_the_same_device_in_another_folder_from_its_next_start() {
    let lab = Lab::new();
    let (first, second, keys) = (lab.path("one/state"), lab.path("other/state"), lab.path("keys"));
    fs::create_dir_all(&keys).unwrap();
    fs::write(format!("{keys}/ssh_host_ed25519_key.pub"), "ssh-ed25519 AAAA\n").unwrap();
    let start = |state: &str, more: &[&str]| {
        let mut command = Command::new(robo_agent());
        command.args(["--manager", &lab.address.to_string(), "--state", state]).args(more);
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let inspect = || lab.user.run(&["device", "inspect", "m", "-o", "json"]);
    let online = || eventually_blocking("it is online", || (inspect().json()["online"] == true).then_some(()));
    let mut agent = start(&first, &["--ssh-keys", "/none", "--token-file", &lab.token("m")]);
    eventually_blocking("it is there", || (inspect().code == 0).then_some(()));
    online();
    let before = inspect().json();
    assert_eq!(before["facts"]["ssh_host_keys"], serde_json::Value::Null);
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended(), Some(0));
    fs::create_dir_all(lab.path("other")).unwrap();
    fs::rename(&first, &second).unwrap();
    let event = last_event(&lab.user);
    let mut agent = start(&second, &["--ssh-keys", &keys]);
    eventually_blocking("it is back", || {
        super::events(&lab.user, event).iter().any(|event| event["kind"] == "online").then_some(())
    });
    let after = inspect().json();
    assert_eq!(after["id"], before["id"]);
    assert_eq!(after["facts"]["ssh_host_keys"], serde_json::json!(["ssh-ed25519 AAAA"]));
    assert!(!Path::new(&first).exists(), "nothing is made where it was");
    agent.kill();
}
