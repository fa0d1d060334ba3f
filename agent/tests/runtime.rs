//! The runtime with real scripts, real processes and a real keeper.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever is not expected fails the test")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

use robo_agent::folders::{Folders, InstanceFolder};
use robo_agent::order::{Context, Order, Outcome, Report, RunId};
use robo_agent::runtime::{FolderSource, Runtime, exec, logs};
use robo_model::graph::{Check, Installer, Probe, Process, RestartPolicy, Settings};
use robo_model::quantity::Millis;
use robo_model::spec::{FileHash, FileRef, InstanceKey, RecipeFiles};
use robo_model::state::Step;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::{Command, LogsOpen, StreamFrame, Verdict};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[path = "runtime/away.rs"]
mod away;
#[path = "runtime/drift.rs"]
mod drift;
#[path = "runtime/faults.rs"]
mod faults;
#[path = "runtime/told.rs"]
mod told;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is read of output at a time.
const PIECE: u64 = 64 * 1024;

struct Bench {
    folder: tempfile::TempDir,
    folders: Folders,
    runtime: Runtime,
    reports: mpsc::Receiver<Report>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().join("state"));
        folders.create().unwrap();
        let (runtime, reports) = start_runtime(&folders);
        Self { folder, folders, runtime, reports }
    }

    /// As if the agent was killed, and started again.
    fn restart(&mut self) {
        (self.runtime, self.reports) = start_runtime(&self.folders);
    }

    fn instance(&self) -> InstanceFolder {
        self.folders.instance(&key())
    }

    fn data(&self, name: &str) -> PathBuf {
        self.instance().data().join(name)
    }

    fn files(&self, files: &[(&str, &str)]) -> RecipeFiles {
        let file = |content: &str| {
            let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
            std::fs::write(self.folders.files().join(&hash), content).unwrap();
            FileRef { hash: FileHash::new(hash).unwrap(), size: content.len() as u64, executable: false }
        };
        files.iter().map(|(path, content)| (path.to_string().try_into().unwrap(), file(content))).collect()
    }

    /// The next report, whatever it is.
    async fn any_report(&mut self) -> Report {
        timeout(PATIENCE, self.reports.recv()).await.expect("a report in time").expect("a runtime")
    }

    /// The next report of steps, processes and checks; files are looked at all the time.
    async fn report(&mut self) -> Report {
        loop {
            match self.any_report().await {
                Report::Drift { .. } => {}
                report => return report,
            }
        }
    }

    async fn step(&mut self, order: Order) -> Outcome {
        let run = order.run;
        self.runtime.begin(order);
        self.ended(run).await
    }

    async fn ended(&mut self, expected: RunId) -> Outcome {
        loop {
            if let Report::StepEnded { run, outcome, .. } = self.report().await {
                assert_eq!(run, expected);
                return outcome;
            }
        }
    }

    /// Deploys a recipe with these scripts.
    async fn deploy(&mut self, files: &[(&str, &str)]) {
        let order = Order { files: self.files(files), ..order(1, Step::Deploy, Installer::Script) };
        assert_eq!(self.step(order).await, Outcome::Done);
    }

    /// Starts a process as run 2; gives its process id.
    async fn start(&mut self, run: &str) -> u32 {
        self.deploy(&[]).await;
        self.runtime.begin(order(2, Step::Start, process(run)));
        let Report::ProcessRuns { pid, adopted: false, .. } = self.report().await else { panic!("no process") };
        assert_eq!(self.ended(RunId(2)).await, Outcome::Done);
        pid
    }

    async fn process_ended(&mut self) -> (Option<i32>, String, Vec<String>) {
        loop {
            if let Report::ProcessEnded { code, reason, output, .. } = self.report().await {
                return (code, reason, output);
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let folders = self.folders.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Runtime::kill_leftovers(&folders)).unwrap();
        })
        .join()
        .unwrap();
        assert!(self.folder.path().is_dir());
    }
}

fn start_runtime(folders: &Folders) -> (Runtime, mpsc::Receiver<Report>) {
    let (give, take) = mpsc::channel(100);
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_robo-agent"));
    (Runtime::new(folders.clone(), exe, Arc::new(FolderSource(folders.files())), give), take)
}

fn key() -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: "/vm 1/web".parse().unwrap() }
}

fn order(run: u64, step: Step, installer: Installer) -> Order {
    let context = Context {
        key: key(),
        component: "Web".parse().unwrap(),
        address: "127.0.0.1".to_owned(),
        exports: [("Web.port".parse().unwrap(), "80".to_owned())].into(),
        ancestors: Vec::new(),
        imports: BTreeMap::new(),
        changes: Vec::new(),
    };
    Order {
        key: key(),
        run: RunId(run),
        step,
        installer,
        files: RecipeFiles::new(),
        settings: Settings::default(),
        context,
        process: None,
        deadline: Millis::from_secs(60),
    }
}

fn process(run: &str) -> Installer {
    Installer::Process(Process { run: run.to_owned(), restart: RestartPolicy::Always, env: BTreeMap::new() })
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(signal: &str, pid: u32) {
    assert!(Program::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    let wait = async {
        while !true_now() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn failure(outcome: Outcome) -> (String, Option<i32>, Vec<String>) {
    let Outcome::Failed { reason, exit_code, output } = outcome else { panic!("it did not fail") };
    (reason, exit_code, output)
}

#[tokio::test]
async fn scripts_run_through_the_whole_cycle() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\necho $ROBO_STEP $port $ROBOCONF_INSTANCE_NAME \"$PWD\" >> \"$HOME/steps\"; cat \"$ROBOCONF_FILES_DIR/x\" >> \"$HOME/steps\"\n";
    // Without `#!`, and in another language by its ending alone.
    let update = "test -r \"$ROBO_CONTEXT\" && echo update >> \"$HOME/steps\"\n";
    bench
        .deploy(&[
            ("scripts/deploy.sh", script),
            ("scripts/start-it", script),
            ("scripts/update.sh", update),
            ("files/x", "x\n"),
        ])
        .await;
    for (run, step) in [(2, Step::Start), (3, Step::Update), (4, Step::Stop)] {
        assert_eq!(bench.step(order(run, step, Installer::Script)).await, Outcome::Done, "{step}");
    }
    let cwd = bench.instance().recipe().join("scripts").display().to_string();
    let expect = format!("deploy 80 web {cwd}\nx\nstart 80 web {cwd}\nx\nupdate\n");
    assert_eq!(std::fs::read_to_string(bench.data("steps")).unwrap(), expect);
    assert_eq!(bench.step(order(5, Step::Undeploy, Installer::Script)).await, Outcome::Done);
    assert!(!bench.instance().recipe().exists() && !bench.instance().data().exists());
    assert!(bench.instance().logs().exists());
    bench.runtime.forget(&key()).await.unwrap();
    assert!(!bench.instance().path().exists());
}

#[tokio::test]
async fn a_failed_script_says_why() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\nfor i in $(seq 30); do echo line $i; done; echo last >&2; exit 3\n";
    bench.deploy(&[("scripts/start.sh", script), ("scripts/stop", "#!/no/such/interpreter\n")]).await;
    let (reason, code, output) = failure(bench.step(order(2, Step::Start, Installer::Script)).await);
    assert_eq!((reason.as_str(), code), ("`start.sh` ended with exit code 3", Some(3)));
    assert_eq!((output.len(), output[0].as_str(), output[19].as_str()), (20, "line 12", "last"));
    let (reason, ..) = failure(bench.step(order(3, Step::Stop, Installer::Script)).await);
    assert!(reason.contains("interpreter in its first line does not exist"), "{reason}");
    let mut unknown = order(4, Step::Start, Installer::Script);
    unknown.settings.user = Some("no-such-user".to_owned());
    let (reason, ..) = failure(bench.step(unknown).await);
    assert!(reason.contains("no user `no-such-user`"), "{reason}");
    let puppet = Installer::Other { name: "puppet".to_owned() };
    let (reason, ..) = failure(bench.step(order(5, Step::Deploy, puppet)).await);
    assert_eq!(reason, "this device has no installer `puppet`; it has script, process, logger");
    let container = serde_json::from_str(r#"{"kind": "container", "image": "nginx"}"#).unwrap();
    let (reason, ..) = failure(bench.step(order(6, Step::Deploy, container)).await);
    assert_eq!(reason, "this device has no installer `container`; it has script, process, logger");
}

#[tokio::test]
async fn a_missing_file_fails_the_deploy() {
    let mut bench = Bench::new();
    let files = bench.files(&[("scripts/start.sh", "x")]);
    std::fs::remove_file(bench.folders.files().join(files.values().next().unwrap().hash.as_str())).unwrap();
    let (reason, ..) = failure(bench.step(Order { files, ..order(1, Step::Deploy, Installer::Script) }).await);
    assert!(reason.starts_with("cannot get the recipe file `scripts/start.sh`"), "{reason}");
}

#[tokio::test]
async fn a_hanging_script_is_killed_with_all_it_started() {
    let mut bench = Bench::new();
    let script =
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 & echo $! > \"$HOME/pid\"; echo hanging; while :; do sleep 1000; done\n";
    bench.deploy(&[("scripts/start.sh", script)]).await;
    let hanging = Order { deadline: Millis(500), ..order(2, Step::Start, Installer::Script) };
    let (reason, code, output) = failure(bench.step(hanging).await);
    assert_eq!((reason.as_str(), code), ("`start.sh` timed out after 500ms", None));
    assert_eq!(output, ["hanging"]);
    let pid = std::fs::read_to_string(bench.data("pid")).unwrap().trim().parse().unwrap();
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_step_is_aborted() {
    let mut bench = Bench::new();
    bench.deploy(&[("scripts/start.sh", "#!/bin/sh\necho begun > \"$HOME/begun\"; exec sleep 1000\n")]).await;
    bench.runtime.begin(order(2, Step::Start, Installer::Script));
    let begun = bench.data("begun");
    until("begun", || begun.exists()).await;
    bench.runtime.abort(&key(), RunId(2));
    assert_eq!(failure(bench.ended(RunId(2)).await).0, "`start.sh` was aborted");
}

#[tokio::test]
async fn much_output_costs_four_mebibytes() {
    let mut bench = Bench::new();
    bench.deploy(&[("scripts/start.sh", "#!/bin/sh\nyes robo | head -c 200000000; echo; echo end\n")]).await;
    assert_eq!(bench.step(order(2, Step::Start, Installer::Script)).await, Outcome::Done);
    let logs = bench.instance().logs();
    let size: u64 = std::fs::read_dir(&logs).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    // Of four files the last may be new, and each lacks what did not fit into it as a whole.
    let least = 3 * ((1 << 20) - PIECE);
    assert!((least..=4 << 20).contains(&size), "{size}");
    assert!(std::fs::read_to_string(logs.join("output.log")).unwrap().ends_with("\nend\n"));
}

#[tokio::test]
async fn a_run_is_begun_once_whatever_happens_to_the_agent() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\necho run >> \"$HOME/runs\"; while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done; exit 4\n";
    bench.deploy(&[("scripts/start.sh", script)]).await;
    let runs = bench.data("runs");
    let starting = || order(2, Step::Start, Installer::Script);
    bench.runtime.begin(starting());
    bench.runtime.begin(starting());
    until("begun", || runs.exists()).await;
    for _ in 0..3 {
        bench.restart();
        bench.runtime.begin(starting());
    }
    // It ends while no agent is there.
    bench.restart();
    std::fs::write(bench.data("go"), "").unwrap();
    let exit = bench.instance().path().join("@runs/2/exit.json");
    until("ended", || exit.exists()).await;
    let (reason, code, _) = failure(bench.step(starting()).await);
    assert_eq!(code, Some(4), "{reason}");
    assert_eq!(std::fs::read_to_string(&runs).unwrap(), "run\n");
}

#[tokio::test]
async fn an_agent_that_ends_at_any_instant_begins_nothing_twice() {
    let mut bench = Bench::new();
    bench.deploy(&[("scripts/start.sh", "#!/bin/sh\necho run >> \"$HOME/runs\"\n")]).await;
    for run in 2..30 {
        let starting = || order(run, Step::Start, Installer::Script);
        bench.runtime.begin(starting());
        // Lets it come a little further each time.
        for _ in 0..run * 3 {
            tokio::task::yield_now().await;
        }
        bench.restart();
        assert_eq!(bench.step(starting()).await, Outcome::Done);
        assert_eq!(std::fs::read_to_string(bench.data("runs")).unwrap().lines().count() as u64, run - 1);
    }
    // Old runs are not kept for ever.
    assert!(std::fs::read_dir(bench.instance().path().join("@runs")).unwrap().count() < 12);
}

#[tokio::test]
async fn a_daemon_that_a_script_leaves_runs_on_and_is_heard() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\n(while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done; echo from the daemon; exec sleep 1000) &\necho $! > \"$HOME/pid\"\n";
    bench.deploy(&[("scripts/start.sh", script)]).await;
    assert_eq!(bench.step(order(2, Step::Start, Installer::Script)).await, Outcome::Done);
    let pid = std::fs::read_to_string(bench.data("pid")).unwrap().trim().parse().unwrap();
    assert!(alive(pid));
    std::fs::write(bench.data("go"), "").unwrap();
    let log = bench.instance().logs().join("output.log");
    until("its output", || std::fs::read_to_string(&log).is_ok_and(|text| text == "from the daemon\n")).await;
    let ended = Runtime::kill_leftovers(&bench.folders).await.unwrap();
    assert_eq!((ended.found, ended.left), (1, 0));
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_process_is_started_watched_and_stopped() {
    let mut bench = Bench::new();
    let pid = bench.start("sh -c 'echo hello; exec sleep 1000'").await;
    kill("-9", pid);
    let (code, reason, output) = bench.process_ended().await;
    assert_eq!((code, reason.as_str(), output), (None, "was killed by signal 9 (KILL)", vec!["hello".to_owned()]));
    // The next one ignores TERM, and so does its child.
    let stubborn = "sh -c \"trap '' TERM; sh -c 'while :; do sleep 1; done' & while :; do sleep 1; done\"";
    bench.runtime.begin(order(3, Step::Start, process(stubborn)));
    let Report::ProcessRuns { pid, .. } = bench.report().await else { panic!() };
    assert_eq!(bench.ended(RunId(3)).await, Outcome::Done);
    let mut stop = Order { process: Some(RunId(3)), ..order(4, Step::Stop, process(stubborn)) };
    stop.settings.stop_timeout = Some(Millis(300));
    assert_eq!(bench.step(stop).await, Outcome::Done);
    assert!(!alive(pid));
    assert_eq!(Runtime::kill_leftovers(&bench.folders).await.unwrap().found, 0);
    bench.reports.try_recv().expect_err("a stop is no end by itself");
}

#[tokio::test]
async fn a_process_that_cannot_live_fails_its_start() {
    let mut bench = Bench::new();
    bench.deploy(&[]).await;
    let (reason, code, output) = failure(bench.step(order(2, Step::Start, process("sh -c 'echo oh; exit 7'"))).await);
    assert_eq!((reason.as_str(), code), ("`sh` ended with exit code 7", Some(7)));
    assert_eq!(output, ["oh"]);
    let (reason, ..) = failure(bench.step(order(3, Step::Start, process("no-such-program"))).await);
    assert!(reason.contains("no program `no-such-program`"), "{reason}");
    let mut checked = Order { deadline: Millis(400), ..order(4, Step::Start, process("sleep 1000")) };
    let probe = Probe::Tcp { port: "1".to_owned() };
    checked.settings.check = Some(Check { probe, every: Millis(50), timeout: Millis(1000) });
    let (reason, ..) = failure(bench.step(checked).await);
    assert!(reason.starts_with("timed out after 400ms: the check fails: a connection to 127.0.0.1:1"), "{reason}");
    assert_eq!(Runtime::kill_leftovers(&bench.folders).await.unwrap().found, 0);
}

#[tokio::test]
async fn a_process_is_taken_up_by_the_next_agent() {
    let mut bench = Bench::new();
    let pid = bench.start("sleep 1000").await;
    bench.restart();
    bench.runtime.watch(order(2, Step::Start, process("sleep 1000")));
    let expect = Report::ProcessRuns { key: key(), run: RunId(2), pid, adopted: true };
    assert_eq!(bench.report().await, expect);
    kill("-TERM", pid);
    assert_eq!(bench.process_ended().await.1, "was killed by signal 15 (TERM)");
    // And one that ended while nobody looked.
    bench.restart();
    bench.runtime.watch(order(2, Step::Start, process("sleep 1000")));
    assert_eq!(bench.process_ended().await.1, "was killed by signal 15 (TERM)");
    bench.runtime.watch(order(77, Step::Start, process("sleep 1000")));
    assert!(bench.process_ended().await.1.starts_with("is not known here"));
}

#[tokio::test]
async fn a_process_whose_id_was_used_again_is_not_taken_up_nor_killed() {
    let mut bench = Bench::new();
    let pid = bench.start("sleep 1000").await;
    let record = bench.instance().path().join("@runs/2/run.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    bench.restart();
    kill("-9", parent(pid));
    for part in ["keeper", "child"] {
        value[part]["start"] = 1.into();
    }
    std::fs::write(&record, value.to_string()).unwrap();
    let mut other = Program::new("sleep").arg("1000").spawn().unwrap();
    value["child"]["pid"] = other.id().into();
    value["keeper"]["pid"] = other.id().into();
    std::fs::write(&record, value.to_string()).unwrap();
    bench.runtime.watch(order(2, Step::Start, process("sleep 1000")));
    assert!(bench.process_ended().await.1.contains("ended with the keeper"));
    assert!(alive(other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    std::fs::write(&record, text).unwrap();
}

#[tokio::test]
async fn a_killed_keeper_takes_its_process_with_it() {
    let mut bench = Bench::new();
    let pid = bench.start("sh -c \"trap '' PIPE TERM; while :; do sleep 0.1; done\"").await;
    kill("-9", parent(pid));
    assert!(bench.process_ended().await.1.contains("ended with the keeper"));
    assert!(!alive(pid));
    // A step whose keeper was killed is not begun again.
    bench.deploy(&[("scripts/stop.sh", "#!/bin/sh\necho $$ >> \"$HOME/pid\"; exec sleep 1000\n")]).await;
    let file = bench.data("pid");
    bench.runtime.begin(order(3, Step::Stop, Installer::Script));
    until("begun", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))).await;
    let pid = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    kill("-9", parent(pid));
    assert!(failure(bench.ended(RunId(3)).await).0.contains("ended with the keeper"));
    bench.restart();
    assert!(failure(bench.step(order(3, Step::Stop, Installer::Script)).await).0.contains("ended with the keeper"));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn health_is_reported_when_it_changes() {
    let mut bench = Bench::new();
    bench.deploy(&[]).await;
    let mut start = order(2, Step::Start, Installer::Script);
    std::fs::write(bench.data("well"), "").unwrap();
    let probe = Probe::Run { command: "sh -c 'test -e \"$HOME/well\" || { echo not well; exit 1; }'".to_owned() };
    start.settings.check = Some(Check { probe, every: Millis(20), timeout: Millis(5000) });
    assert_eq!(bench.step(start).await, Outcome::Done);
    std::fs::remove_file(bench.data("well")).unwrap();
    let Report::Health { healthy: false, reason, .. } = bench.report().await else { panic!() };
    assert!(reason.ends_with("exit status: 1: not well"), "{reason}");
    std::fs::write(bench.data("well"), "").unwrap();
    assert!(matches!(bench.report().await, Report::Health { healthy: true, .. }));
    assert_eq!(bench.step(order(3, Step::Stop, Installer::Script)).await, Outcome::Done);
}

#[tokio::test]
async fn the_logger_writes_a_line_for_each_step() {
    let mut bench = Bench::new();
    let steps = [Step::Deploy, Step::Start, Step::Update, Step::Stop, Step::Undeploy];
    for (run, step) in steps.into_iter().enumerate() {
        assert_eq!(bench.step(order(run as u64, step, Installer::Logger)).await, Outcome::Done);
    }
    let text = std::fs::read_to_string(bench.instance().logs().join("output.log")).unwrap();
    let words: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["deploy", "start", "update", "stop", "undeploy"]);
    assert!(text.contains(" ROBOCONF_INSTANCE_PATH ") && text.contains(" port"));
}

/// Runs a command over a stream; gives both outputs and the verdict.
async fn run(command: Command, input: Vec<StreamFrame>) -> (Vec<u8>, Vec<u8>, Verdict) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = tokio::spawn(exec::exec(command, far));
    let (mut reader, mut writer) = tokio::io::split(near);
    let write = async {
        for frame in input {
            if writer.write_all(&frame.encode().unwrap()).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match next_frame(&mut reader).await.expect("a verdict") {
                StreamFrame::Stdout(data) => out.extend(data),
                StreamFrame::Stderr(data) => err.extend(data),
                StreamFrame::Verdict(verdict) => break (out, err, verdict),
                other => panic!("{other:?}"),
            }
        }
    };
    let (got, ()) = timeout(PATIENCE, async { tokio::join!(read, write) }).await.expect("an end in time");
    assert!(next_frame(&mut reader).await.is_none(), "nothing follows a verdict");
    serve.await.unwrap();
    got
}

async fn next_frame(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<StreamFrame> {
    let frame = robo_agent::framing::read_frame(reader, MAX_STREAM_FRAME).await.unwrap();
    frame.map(|frame| StreamFrame::decode(frame).unwrap())
}

fn command(argv: &[&str]) -> Command {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Command { argv, env: BTreeMap::new(), cwd: None, user: None, timeout: None, stdin: false, within: None }
}

fn sh(script: &str) -> Command {
    command(&["sh", "-c", script])
}

#[tokio::test]
async fn exec_keeps_streams_apart_and_gives_the_code() {
    let (out, err, verdict) = run(sh("echo out; echo err >&2; exit 7"), vec![]).await;
    assert_eq!((out.as_slice(), err.as_slice(), verdict), (&b"out\n"[..], &b"err\n"[..], Verdict::Failed { code: 7 }));
    assert_eq!(run(command(&["true"]), vec![]).await.2, Verdict::Ok);
    assert_eq!(run(sh("kill -9 $$"), vec![]).await.2, Verdict::Failed { code: 137 });
    let with_env = Command { env: [("A".into(), "b c".into())].into(), cwd: Some("/tmp".into()), ..sh("echo $A; pwd") };
    assert_eq!(run(with_env, vec![]).await.0, b"b c\n/tmp\n");
}

#[tokio::test]
async fn exec_refuses_what_it_cannot_run() {
    for (command, part) in [
        (command(&["no-such-program"]), "no program `no-such-program`"),
        (Command { cwd: Some("/no/such".into()), ..command(&["true"]) }, "no folder `/no/such`"),
        (command(&[]), "no command"),
    ] {
        let (_, _, verdict) = run(command, vec![]).await;
        assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains(part)), "{verdict:?}");
    }
}

/// A user of this machine with groups beside its own, else one without privileges; nothing where we may become nobody.
fn another_user() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let users = read("/etc/passwd");
    let is_user = |name: &&str| users.lines().any(|line| line.starts_with(&format!("{name}:")));
    let groups = read("/etc/group");
    let members = groups.lines().filter_map(|line| line.split(':').nth(3)).flat_map(|members| members.split(','));
    let found = members.filter(|name| !name.is_empty() && *name != "root").find(is_user).unwrap_or("nobody").to_owned();
    rustix::process::geteuid().is_root().then_some(found)
}

#[tokio::test]
async fn another_user_has_all_of_its_groups_and_none_of_ours() {
    let Some(user) = another_user() else { return };
    let sorted = |text: &[u8]| {
        let mut all: Vec<u32> =
            std::str::from_utf8(text).unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect();
        all.sort_unstable();
        all
    };
    let known = std::process::Command::new("id").args(["-G", &user]).output().unwrap().stdout;
    let as_user = |command: Command| Command { user: Some(user.clone()), cwd: Some("/".into()), ..command };
    let (out, err, verdict) = run(as_user(command(&["id", "-G"])), vec![]).await;
    assert_eq!(verdict, Verdict::Ok, "{}", String::from_utf8_lossy(&err));
    assert_eq!(sorted(&out), sorted(&known), "{user}");
    let ids = "test $(id -u) = $(id -ru) && test $(id -un) = $0 && ! echo x >/etc/robo-test";
    let (_, err, verdict) = run(as_user(command(&["sh", "-c", ids, &user])), vec![]).await;
    assert_eq!(verdict, Verdict::Ok, "{}", String::from_utf8_lossy(&err));

    // The same for steps, whose keeper starts them.
    let mut bench = Bench::new();
    std::fs::set_permissions(bench.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut deploy = order(1, Step::Deploy, Installer::Script);
    deploy.settings.user = Some(user.clone());
    deploy.files = bench.files(&[("scripts/deploy.sh", "#!/bin/sh\nid -G\n")]);
    assert_eq!(bench.step(deploy).await, Outcome::Done);
    let log = std::fs::read(bench.instance().logs().join("output.log")).unwrap();
    assert_eq!(sorted(&log), sorted(&known), "{user}");

    // A folder that is not for it.
    let private = tempfile::tempdir().unwrap();
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let there = Command { cwd: Some(private.path().to_str().unwrap().into()), ..as_user(command(&["true"])) };
    let verdict = run(there, vec![]).await.2;
    assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains("may not run")), "{verdict:?}");
}

#[tokio::test]
async fn exec_gives_back_every_byte() {
    let data: Vec<u8> = (0..10_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut input: Vec<StreamFrame> = data.chunks(30_000).map(|piece| StreamFrame::Stdin(piece.to_vec())).collect();
    input.push(StreamFrame::StdinEnd);
    let (out, _, verdict) = run(Command { stdin: true, ..command(&["cat"]) }, input).await;
    assert!(out == data && verdict == Verdict::Ok, "{} bytes, {verdict:?}", out.len());
    // Input that nobody reads harms nobody.
    let input = vec![StreamFrame::Stdin(vec![0; 30_000]); 3];
    assert_eq!(run(Command { stdin: true, ..command(&["true"]) }, input).await.2, Verdict::Ok);
}

#[tokio::test]
async fn exec_ends_by_time_signal_or_silence() {
    let limited = Command { timeout: Some(Millis(200)), ..sh("echo begun; trap '' TERM; while :; do sleep 1; done") };
    let (out, _, verdict) = run(limited, vec![]).await;
    assert_eq!((out.as_slice(), verdict), (&b"begun\n"[..], Verdict::Timeout));
    assert_eq!(run(sh("exec sleep 1000"), vec![StreamFrame::Signal(2)]).await.2, Verdict::Failed { code: 130 });
    let (out, _, verdict) = run(sh("sleep 1000 & echo $!; exit 0"), vec![]).await;
    assert_eq!(verdict, Verdict::Ok);
    kill("-9", String::from_utf8(out).unwrap().trim().parse().unwrap());
}

#[tokio::test]
async fn exec_ends_with_its_stream() {
    let (mut near, far) = tokio::io::duplex(1024);
    let serve = tokio::spawn(exec::exec(sh("echo $$; exec sleep 1000"), far));
    let Some(StreamFrame::Stdout(pid)) = next_frame(&mut near).await else { panic!() };
    drop(near);
    timeout(PATIENCE, serve).await.unwrap().unwrap();
    assert!(!alive(String::from_utf8(pid).unwrap().trim().parse().unwrap()));
}

#[tokio::test]
async fn logs_follow_what_comes() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\nseq 5; while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done; seq 6 400000; echo end\n";
    bench.deploy(&[("scripts/start.sh", script)]).await;
    let open = LogsOpen { key: key(), lines: 2, follow: true };
    bench.runtime.begin(order(2, Step::Start, Installer::Script));
    let log = bench.instance().logs().join("output.log");
    until("first lines", || std::fs::read_to_string(&log).is_ok_and(|text| text == "1\n2\n3\n4\n5\n")).await;
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let serve = tokio::spawn(logs::logs(bench.folders.clone(), open, far));
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(b"\nend\n") {
            let Some(StreamFrame::Stdout(data)) = next_frame(&mut near).await else { panic!("no output") };
            if text.is_empty() {
                std::fs::write(bench.data("go"), "").unwrap();
            }
            text.extend(data);
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    let expect: String = (4..=400_000).map(|i| format!("{i}\n")).chain(["end\n".to_owned()]).collect();
    assert!(text == expect.as_bytes(), "{} bytes of {}", text.len(), expect.len());
    drop(near);
    timeout(PATIENCE, serve).await.unwrap().unwrap();
}

#[tokio::test]
async fn logs_end_with_a_verdict() {
    let bench = Bench::new();
    let ask = async |lines| {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let open = LogsOpen { key: key(), lines, follow: false };
        logs::logs(bench.folders.clone(), open, far).await;
        let mut frames = Vec::new();
        while let Some(frame) = next_frame(&mut near).await {
            frames.push(frame);
        }
        frames
    };
    assert!(
        matches!(ask(5).await.as_slice(), [StreamFrame::Verdict(Verdict::Refused { reason })] if reason.contains("shop/vm 1/web"))
    );
    let logs = bench.instance().logs();
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("output.log"), "a\nb\n").unwrap();
    assert_eq!(ask(1).await, [StreamFrame::Stdout(b"b\n".to_vec()), StreamFrame::Verdict(Verdict::Ok)]);
    assert!(Path::new(&logs).exists());
}
