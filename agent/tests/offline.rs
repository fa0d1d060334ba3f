//! The real agent without a manager: it boots, its ledger is damaged, and what it was told runs and runs on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use robo_agent::folders::Folders;
use robo_agent::identity::{Enrolled, Identity, key_and_request};
use robo_agent::ledger::{Ledger, Part, decode, encode};
use robo_model::graph::Installer;
use robo_model::resolve::Provider;
use robo_model::spec::{Generation, InstanceSpec};
use robo_model::state::InstanceState;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the machine is booted, unless this variable says otherwise.
const COLD_BOOTS: usize = 20;
const COLD_BOOTS_VARIABLE: &str = "ROBO_COLD_BOOTS";

/// Each with what must be started before it. `Geo` is on another device; what it offered is in the ledger.
const INSTANCES: [(&str, &str, &[&str], &[&str]); 6] = [
    ("/vm/db", "Db", &[], &[]),
    ("/vm/queue", "Queue", &["Geo"], &[]),
    ("/vm/app", "App", &["Db", "Queue"], &["db", "queue"]),
    ("/vm/app/plugin", "Plugin", &[], &["app"]),
    ("/vm/web", "Web", &["App", "Geo"], &["app"]),
    ("/vm/probe", "Probe", &["Plugin", "Db"], &["plugin", "db"]),
];

/// A machine with an agent on it, gone with its owner.
struct Machine {
    folder: tempfile::TempDir,
    folders: Folders,
    agent: Option<Child>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().join("state"));
        folders.create().unwrap();
        enrol(&folders);
        let machine = Self { folder, folders, agent: None };
        let ledger = machine.assigned();
        for part in [Part::Assignment, Part::Imports] {
            fs::write(machine.part(part.file_name()), encode(&ledger, part)).unwrap();
        }
        machine
    }

    fn assigned(&self) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.assignment.generation = Generation(3);
        ledger.assignment.instances.push(spec("/vm", "Vm", r#"{"kind": "target"}"#, &[]));
        for (path, component, imports, _) in INSTANCES {
            let name = path.rsplit_once('/').unwrap().1;
            let log = self.log_path();
            let run = format!("sh -c 'echo {name} >> {}; exec sleep 1000'", log.display());
            let installer = format!(r#"{{"kind": "process", "run": {}}}"#, serde_json::to_string(&run).unwrap());
            ledger.assignment.instances.push(spec(path, component, &installer, imports));
        }
        ledger.assignment.instances.sort_by(|a, b| a.key.cmp(&b.key));
        let geo =
            r#"{"key": {"application": "shop", "path": "/far/geo"}, "component": "Geo", "exports": {"Geo.x": "1"}}"#;
        let geo: Provider = serde_json::from_str(geo).unwrap();
        ledger.imports.insert(geo.key.clone(), geo);
        ledger
    }

    /// Starts the agent; nobody listens where it looks for its manager.
    fn start(&mut self, boot: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robo-agent"));
        command.args(["--manager", "127.0.0.1:1", "--address", "127.0.0.1", "--boot-id", boot, "--state"]);
        command.arg(self.folders.root()).env("ROBO_LOG", "warn").stderr(Stdio::null());
        self.agent = Some(command.spawn().unwrap());
    }

    fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// As if the power went: the agent, and then all keepers and what they look after, at once.
    fn cut_power(&mut self) {
        self.kill_agent();
        let mut open = vec![self.folders.root().join("instances")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else if entry.file_name() == "run.json" && !entry.path().with_file_name("exit.json").exists() {
                    let running: serde_json::Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
                    for process in ["keeper", "child"] {
                        kill(running.get(process));
                    }
                }
            }
        }
    }

    fn part(&self, name: &str) -> PathBuf {
        self.folders.ledger().join(name)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("order")
    }

    /// Who was started since the last time, in order.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        fs::remove_file(self.log_path()).ok();
        text.lines().map(str::to_owned).collect()
    }

    /// The processes of all instances, when all of them are started and the ledger is whole.
    fn started(&self) -> Option<BTreeMap<String, u32>> {
        let mut ledger = Ledger::default();
        for part in Part::ALL {
            decode(part, &fs::read(self.part(part.file_name())).ok()?, &mut ledger).ok()?;
        }
        let records = ledger.state.records.values();
        let pids: BTreeMap<String, u32> = records
            .filter(|record| record.state == InstanceState::DeployedStarted && record.run.is_none())
            .filter(|record| matches!(record.spec.installer, Installer::Process(_)))
            .filter_map(|record| Some((record.spec.key.path.to_string(), record.process.as_ref()?.pid?)))
            .collect();
        (pids.len() == INSTANCES.len()).then_some(pids)
    }

    fn until_started(&self) -> BTreeMap<String, u32> {
        let begin = Instant::now();
        loop {
            if let Some(pids) = self.started() {
                return pids;
            }
            assert!(begin.elapsed() < PATIENCE, "not all is started: {}", self.describe());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn describe(&self) -> String {
        fs::read_to_string(self.part("state")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut_power();
    }
}

fn enrol(folders: &Folders) {
    let (key_pem, _) = key_and_request(&folders.identity()).unwrap();
    let pair = rcgen::KeyPair::from_pem(&key_pem).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["robo".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let enrolled = r#"{"device": "d-1", "name": "robot", "project": "default"}"#;
    let enrolled: Enrolled = serde_json::from_str(enrolled).unwrap();
    let (certificate_pem, ca_pem) = (certificate.pem(), certificate.pem());
    Identity { enrolled, key_pem, certificate_pem, ca_pem }.save(&folders.identity()).unwrap();
}

fn spec(path: &str, component: &str, installer: &str, imports: &[&str]) -> InstanceSpec {
    let imports: Vec<String> =
        imports.iter().map(|prefix| format!(r#"{{"prefix": "{prefix}", "variable": null}}"#)).collect();
    let text = format!(
        r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "{component}", "installer": {installer},
            "exports": {{"{component}.x": {{"kind": "text", "value": "1"}}}}, "imports": [{}]}}"#,
        imports.join(", ")
    );
    serde_json::from_str(&text).unwrap()
}

fn kill(process: Option<&serde_json::Value>) {
    let number = |name: &str| process.and_then(|process| process.get(name)?.as_u64());
    let pid = number("pid").and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().unwrap()));
    let Some(pid) = pid else { return };
    // Only the one that was written down: its id may be another's by now.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19)?.parse().ok());
    if start.is_some() && start == number("start") {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}

/// A file of the ledger by its name, and what is in it from now on.
type File = (&'static str, &'static [u8]);

fn check_order(log: &[String], boot: usize) {
    assert_eq!(log.len(), INSTANCES.len(), "boot {boot}: {log:?}");
    let place = |name: &str| log.iter().position(|line| line == name).unwrap();
    for (path, _, _, before) in INSTANCES {
        let name = path.rsplit_once('/').unwrap().1;
        for first in before {
            assert!(place(first) < place(name), "boot {boot}: {name} before {first}: {log:?}");
        }
    }
}

#[test]
fn a_cold_boot_brings_everything_up_in_its_order() {
    let boots =
        std::env::var_os(COLD_BOOTS_VARIABLE).and_then(|text| text.to_str()?.parse().ok()).unwrap_or(COLD_BOOTS);
    let mut machine = Machine::new();
    let mut before = BTreeMap::new();
    for boot in 0..boots {
        machine.start(&format!("boot-{boot}"));
        let begin = Instant::now();
        // What the ledger of the boot before says does not count.
        let pids = loop {
            let pids = machine.until_started();
            if pids.values().all(|pid| !before.values().any(|old| old == pid)) {
                break pids;
            }
            assert!(begin.elapsed() < PATIENCE, "boot {boot}: {}", machine.describe());
            std::thread::sleep(Duration::from_millis(10));
        };
        check_order(&machine.log(), boot);
        before = pids;
        machine.cut_power();
    }
}

#[test]
fn a_damaged_ledger_ends_nothing_that_runs() {
    let mut machine = Machine::new();
    machine.start("one");
    let pids = machine.until_started();
    machine.log();
    let damages: [(&str, &[File]); 6] = [
        ("state torn", &[("state", b"robo-ledger 1 ab")]),
        ("state and the one before lost", &[("state", b""), ("state.old", b"\0\0\0\0")]),
        ("assignment lost", &[("assignment", b"garbage\n"), ("assignment.old", b"garbage\n")]),
        ("imports lost", &[("imports", b""), ("imports.old", b"")]),
        ("assignment and imports torn", &[("assignment", b"robo-led"), ("imports", b"robo-led")]),
        ("state lost, with a state of before", &[("state", b"{}")]),
    ];
    for (what, files) in damages {
        machine.kill_agent();
        for (name, bytes) in files {
            fs::write(machine.part(name), bytes).unwrap();
        }
        machine.start("one");
        let now = machine.until_started();
        assert_eq!(now, pids, "{what}: something was started again");
        assert_eq!(machine.log(), Vec::<String>::new(), "{what}");
        let aside = |name: &str| Path::new(&machine.part(&format!("{name}.damaged-1"))).exists();
        assert!(aside(files[0].0), "{what}: nothing was put aside");
    }

    // One of a newer version: nothing is touched, and the agent says so.
    machine.kill_agent();
    let newer = b"robo-ledger 99 whatever\n";
    fs::write(machine.part("state"), newer).unwrap();
    machine.start("one");
    let status = machine.agent.take().unwrap().wait().unwrap();
    assert!(!status.success());
    assert_eq!(fs::read(machine.part("state")).unwrap(), newer);
    assert!(pids.values().all(|pid| Path::new(&format!("/proc/{pid}")).exists()));
}
