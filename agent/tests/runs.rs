//! Runs of jobs with real processes: what a manager sees over its streams.

#![cfg(test)]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test that panics has failed, and that is what it is for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use robo_agent::framing::{read_frame, write_frame};
use robo_agent::runs::Runs;
use robo_model::quantity::Millis;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::job::{
    Begun, MAX_HEAD, MAX_INPUT, MAX_TAIL, Output, RECEIVED_EVERY, RunFrame, RunOpen, RunStart, WINDOW,
};
use robo_wire::stream::{Command, MAX_CHUNK, Verdict};
use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

/// Nothing takes longer, unless it hangs.
const BOUND: Duration = Duration::from_secs(60);

fn command(argv: &[&str]) -> Command {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Command { argv, env: BTreeMap::new(), cwd: None, user: None, timeout: None, stdin: false, within: None }
}

fn sh(script: &str) -> Command {
    command(&["sh", "-c", script])
}

fn with_input(command: Command) -> Command {
    Command { stdin: true, ..command }
}

/// A manager's stream to a run.
struct Line {
    stream: DuplexStream,
    begun: Option<Begun>,
    place: u64,
    acknowledged: u64,
    out: Vec<u8>,
    err: Vec<u8>,
    missing: u64,
    taken: u64,
    verdict: Option<Verdict>,
}

impl Line {
    async fn open(runs: &Runs, open: RunOpen) -> Self {
        let (stream, theirs) = duplex(MAX_STREAM_FRAME);
        let (runs, place) = (runs.clone(), open.from);
        tokio::spawn(async move { runs.serve(open, None, theirs).await });
        let mut line = Self {
            stream,
            begun: None,
            place,
            acknowledged: place,
            out: Vec::new(),
            err: Vec::new(),
            missing: 0,
            taken: 0,
            verdict: None,
        };
        line.step().await;
        line
    }

    async fn begin(runs: &Runs, job: &str, command: Command) -> Self {
        Self::open(runs, open(job, Some(RunStart { command, background: false }), None, 0)).await
    }

    async fn again(self, runs: &Runs, job: &str) -> Self {
        let (out, err) = (self.out.clone(), self.err.clone());
        let place = self.place;
        // The stream breaks before the other one is there.
        drop(self);
        let line = Self::open(runs, open(job, None, None, place)).await;
        Self { out: [out, line.out].concat(), err: [err, line.err].concat(), ..line }
    }

    async fn say(&mut self, frame: &RunFrame) {
        write_frame(&mut self.stream, &frame.encode().unwrap()).await.unwrap();
    }

    async fn frame(&mut self) -> Option<RunFrame> {
        let frame = timeout(BOUND, read_frame(&mut self.stream, MAX_STREAM_FRAME)).await.expect("something comes");
        frame.ok().flatten().map(|frame| RunFrame::decode(frame).unwrap())
    }

    /// Takes a frame, and says how far it is.
    async fn step(&mut self) {
        match self.frame().await.expect("the stream goes on") {
            RunFrame::Begun(begun) => self.begun = Some(begun),
            RunFrame::Output(kind, place, bytes) => {
                assert!(place >= self.place, "output comes twice");
                self.missing += place - self.place;
                self.place = place + bytes.len() as u64;
                if kind == Output::Stdout {
                    self.out.extend(bytes);
                } else {
                    self.err.extend(bytes);
                }
                if self.place - self.acknowledged >= RECEIVED_EVERY {
                    self.acknowledged = self.place;
                    self.say(&RunFrame::Received(self.place)).await;
                }
            }
            RunFrame::Taken(place) => self.taken = place,
            RunFrame::Ended(ended) => self.verdict = Some(ended.verdict),
            other => panic!("{other:?}"),
        }
    }

    async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.out).contains(text) {
            assert_eq!(self.verdict, None);
            self.step().await;
        }
    }

    async fn verdict(&mut self) -> Verdict {
        while self.verdict.is_none() {
            self.step().await;
        }
        self.verdict.clone().unwrap()
    }
}

fn open(job: &str, start: Option<RunStart>, asked: Option<Millis>, from: u64) -> RunOpen {
    RunOpen { job: job.parse().unwrap(), start, asked, from }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_command_has_its_outputs_its_input_and_one_verdict() {
    let runs = Runs::default();
    let mut line = Line::begin(&runs, "a", with_input(sh("cat; echo oops >&2; exit 7"))).await;
    line.say(&RunFrame::Input(0, b"hello ".to_vec())).await;
    line.say(&RunFrame::Input(3, b"lo world".to_vec())).await;
    line.say(&RunFrame::InputEnd).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 7 });
    assert_eq!((text(&line.out), text(&line.err), line.taken), ("hello world".into(), "oops\n".into(), 11));
    line.say(&RunFrame::Done).await;
    assert_eq!(line.frame().await, None, "nothing follows");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap().to_owned();
    let with = Command { cwd: Some(place), env: [("A".into(), "b c".into())].into(), ..sh("pwd; echo \"$A\"") };
    let mut line = Line::begin(&runs, "b", with).await;
    assert_eq!(line.verdict().await, Verdict::Ok);
    assert_eq!(text(&line.out), format!("{}\nb c\n", folder.path().canonicalize().unwrap().display()));
    let limited = Command { timeout: Some(Millis(200)), ..sh("echo begun; trap '' TERM; while :; do sleep 1; done") };
    let mut line = Line::begin(&runs, "c", limited).await;
    assert_eq!((line.verdict().await, text(&line.out)), (Verdict::Timeout, "begun\n".into()));
    let mut line = Line::begin(&runs, "d", sh("sleep 100 & echo left; exit 0")).await;
    assert_eq!((line.verdict().await, text(&line.out)), (Verdict::Ok, "left\n".into()));
    let mut line = Line::begin(&runs, "e", sh("kill -9 $$")).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 137 });
    assert_eq!(runs.count(), 0);
}

#[tokio::test]
async fn a_run_that_is_asked_for_again_is_the_same_one() {
    let (runs, folder) = (Runs::default(), tempfile::tempdir().unwrap());
    let mark = folder.path().join("mark");
    let script = format!("echo x >>{}; echo begun; read word; echo \"<$word>\"", mark.display());
    let start = || Some(RunStart { command: with_input(sh(&script)), background: false });
    let mut first = Line::begin(&runs, "a", with_input(sh(&script))).await;
    first.until("begun").await;
    first.say(&RunFrame::Input(0, b"wo".to_vec())).await;
    while first.taken < 2 {
        first.step().await;
    }
    // Doubled, late and after a cut: it is the one that runs.
    let again = Line::open(&runs, open("a", start(), Some(Millis(1)), 0)).await;
    assert_eq!((again.begun.unwrap().taken, first.frame().await), (2, None), "the newer stream takes over");
    let mut last = again.again(&runs, "a").await;
    last.say(&RunFrame::Input(2, b"rd\n".to_vec())).await;
    assert_eq!(last.verdict().await, Verdict::Ok);
    assert_eq!(text(&last.out), "begun\n<word>\n");
    // Its outcome is kept until somebody says that it is known.
    let mut later = Line::open(&runs, open("a", start(), Some(Millis(1)), last.place)).await;
    assert_eq!((later.verdict().await, later.out.len()), (Verdict::Ok, 0));
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "x\n", "it began once");
    later.say(&RunFrame::Done).await;
    assert_eq!(later.frame().await, None);
}

#[tokio::test]
async fn what_may_have_begun_before_does_not_begin() {
    let (runs, folder) = (Runs::default(), tempfile::tempdir().unwrap());
    let mark = folder.path().join("mark");
    let start = || Some(RunStart { command: command(&["touch", mark.to_str().unwrap()]), background: true });
    for (ask, says) in [
        (open("a", start(), Some(Millis::from_secs(3600)), 0), "may have begun"),
        (open("a", start(), Some(Millis(u64::MAX)), 0), "may have begun"),
        (open("a", None, None, 0), "agent was restarted"),
    ] {
        let mut line = Line::open(&runs, ask).await;
        let verdict = line.verdict().await;
        assert!(matches!(&verdict, Verdict::Lost { reason } if reason.contains(says)), "{verdict:?}");
    }
    assert!(!mark.exists());
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Asked for a moment ago, when this agent was there and would know: it can only have got lost on the way.
    let mut line = Line::open(&runs, open("a", start(), Some(Millis(1)), 0)).await;
    assert_eq!((line.verdict().await, mark.exists()), (Verdict::Ok, true));
}

#[tokio::test]
async fn cuts_lose_nothing_and_a_window_holds_the_command_up() {
    let runs = Runs::default();
    let total: u64 = 8 * 1024 * 1024;
    let script = format!("i=0; while [ $i -lt {} ]; do i=$((i + 1)); printf '%0255d\\n' $i; done", total / 256);
    let mut line = Line::begin(&runs, "a", sh(&script)).await;
    for cut in 1..=5 {
        while line.place < total * cut / 7 {
            line.step().await;
        }
        line = line.again(&runs, "a").await;
    }
    assert_eq!((line.verdict().await, line.missing), (Verdict::Ok, 0));
    let expect: Vec<u8> = (1..=total / 256).flat_map(|i| format!("{i:0255}\n").into_bytes()).collect();
    assert!(line.out == expect, "{} bytes are not what was printed", line.out.len());

    // Nobody says that anything has arrived: only so much comes.
    let mut line = Line::begin(&runs, "b", command(&["yes"])).await;
    line.acknowledged = u64::MAX / 2;
    while line.place < WINDOW {
        let frame = line.frame().await.unwrap();
        let RunFrame::Output(_, place, bytes) = frame else { panic!("{frame:?}") };
        line.place = place + bytes.len() as u64;
    }
    assert!(timeout(Duration::from_millis(200), line.frame()).await.is_err_and(|_| line.place <= WINDOW + 64 * 1024));
    line.say(&RunFrame::Cancel).await;
    line.say(&RunFrame::Received(line.place)).await;
    line.acknowledged = line.place;
    assert_eq!(line.verdict().await, Verdict::Cancelled { reason: "on request".into() });
}

#[tokio::test]
async fn in_the_background_nothing_holds_it_up_and_begin_and_end_are_kept() {
    let runs = Runs::default();
    let many = 40_000;
    let command = sh(&format!("i=0; while [ $i -lt {many} ]; do i=$((i + 1)); printf '%063d\\n' $i; done; exit 3"));
    let start = Some(RunStart { command, background: true });
    let line = Line::open(&runs, open("a", start, None, 0)).await;
    // Nobody is there while it runs.
    drop(line);
    while runs.count() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut line = Line::open(&runs, open("a", None, None, 0)).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 3 });
    let all: Vec<u8> = (1..=many).flat_map(|i| format!("{i:063}\n").into_bytes()).collect();
    let (head, tail) = (usize::try_from(MAX_HEAD).unwrap(), usize::try_from(MAX_TAIL).unwrap());
    assert!(line.out[..head] == all[..head] && line.out[head..] == all[all.len() - tail..]);
    assert_eq!(line.missing, (all.len() - head - tail) as u64);
}

#[tokio::test]
async fn who_cancels_an_endless_output_ends_it_however_fast_it_comes() {
    let runs = Runs::default();
    for round in 0..40 {
        let start = Some(RunStart { command: command(&["yes"]), background: true });
        let mut line = Line::open(&runs, open(&format!("r{round}"), start, None, 0)).await;
        line.until("y\ny\n").await;
        line.say(&RunFrame::Cancel).await;
        assert_eq!(line.verdict().await, Verdict::Cancelled { reason: "on request".into() }, "round {round}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_reason() {
    let runs = Runs::default();
    let check = async |command: Command, says: &str| {
        let mut line = Line::begin(&runs, "a", command).await;
        let verdict = line.verdict().await;
        assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains(says)), "{says}: {verdict:?}");
    };
    check(command(&["no-such-program"]), "no program `no-such-program`").await;
    check(command(&[]), "no words").await;
    check(command(&["a\0"]), "zero byte").await;
    check(Command { cwd: Some("/no/such".into()), ..command(&["true"]) }, "no folder `/no/such`").await;
    check(Command { cwd: Some("/etc/passwd".into()), ..command(&["true"]) }, "no folder").await;
    check(Command { user: Some("no-such-user".into()), ..command(&["true"]) }, "no user `no-such-user`").await;
    if !rustix::process::geteuid().is_root() {
        check(Command { user: Some("root".into()), ..command(&["true"]) }, "may not run anything as `root`").await;
    } else if Path::new("/etc/passwd").exists() {
        let mut line =
            Line::begin(&runs, "b", Command { user: Some("nobody".into()), ..sh("id -un; echo $HOME $USER") }).await;
        assert_eq!(line.verdict().await, Verdict::Ok, "{}", text(&line.err));
        assert!(
            text(&line.out).starts_with("nobody\n") && text(&line.out).ends_with(" nobody\n"),
            "{}",
            text(&line.out)
        );
    }
    // A manager that does not keep the rules loses its stream, and the run goes on.
    let mut line = Line::begin(&runs, "c", with_input(command(&["cat"]))).await;
    let nowhere = RunFrame::Received(u64::MAX).encode().unwrap();
    for wrong in [RunFrame::Input(5, b"gap".to_vec()).encode().unwrap(), vec![0, 0, 0, 2, 98, 1], nowhere] {
        write_frame(&mut line.stream, &wrong).await.unwrap();
        assert_eq!(line.frame().await, None);
        line = line.again(&runs, "c").await;
    }
    line.say(&RunFrame::Signal(12_345)).await;
    line.say(&RunFrame::Done).await;
    line.say(&RunFrame::Received(1 << 40)).await;
    line.say(&RunFrame::Input(0, vec![b'x'; MAX_CHUNK])).await;
    line.say(&RunFrame::InputEnd).await;
    assert_eq!((line.verdict().await, line.out.len()), (Verdict::Ok, MAX_CHUNK));
    let mut line = Line::begin(&runs, "d", with_input(sh("sleep 100"))).await;
    for piece in 0..=MAX_INPUT / MAX_CHUNK + 4 {
        let frame = RunFrame::Input((piece * MAX_CHUNK) as u64, vec![0; MAX_CHUNK]).encode().unwrap();
        if write_frame(&mut line.stream, &frame).await.is_err() {
            break;
        }
    }
    while line.frame().await.is_some() {}
    let mut line = line.again(&runs, "d").await;
    line.say(&RunFrame::Signal(15)).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 143 });
}

#[tokio::test]
async fn a_caller_that_never_comes_back_ends_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ended");
    let runs = Runs::with_patience(Millis(50));
    let script = format!("trap 'echo > {}; exit 3' TERM; echo ready; while :; do sleep 0.02; done", mark.display());
    let mut line = Line::begin(&runs, "j1", sh(&script)).await;
    line.until("ready\n").await;
    drop(line);
    let ended = async {
        while runs.count() > 0 || !mark.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, ended).await.expect("it is ended");
    // Who comes too late learns why.
    let mut late = Line::open(&runs, open("j1", None, None, 6)).await;
    let told = late.verdict().await;
    assert!(matches!(&told, Verdict::Cancelled { reason } if reason.contains("nobody came back")), "{told:?}");
}
