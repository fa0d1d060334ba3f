//! `robo exec` with the real programs, while the manager is killed and started again.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};
use rustix::process::Signal;

use super::Lab;
use super::faults::lab::Machine;

/// Kills while a command prints.
const KILLS: usize = 3;

/// Lines that it prints between two kills; that takes some seconds.
const PART: usize = 50_000;

const LINES: usize = PART * (KILLS + 1);

/// How often the command line said that the manager is away.
fn cuts(started: &Started) -> usize {
    started.so_far().1.matches("going on when it is back").count()
}

fn kill(lab: &mut Lab, started: &Started) {
    let before = cuts(started);
    lab.manager.kill();
    eventually_blocking("the cut is noticed", || (cuts(started) > before).then_some(()));
}

/// Starts the manager again, as it was.
pub(super) fn start(lab: &mut Lab) {
    let mut command = lab.user.command();
    command.args(["manager", "--data", &lab.path("manager"), "--listen", &lab.address.to_string()]);
    command.args(["--agent-binaries", "/none", "--log-file", &lab.path("manager.log")]);
    lab.manager = Running::start(&mut command);
}

fn machines(lab: &Lab, names: &[&str]) -> Vec<Machine> {
    names.iter().map(|name| Machine::start(lab, name, &lab.address.to_string())).collect()
}

#[test]
fn a_command_in_the_foreground_outlives_its_manager_to_the_last_byte() {
    let mut lab = Lab::new();
    let names = ["one", "three", "two"];
    let _machines = machines(&lab, &names);
    let part = lab.path("part-");
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do\n\
         if [ $((i % {PART})) = 0 ]; then until [ -e {part}$((i / {PART})) ]; do sleep 0.05; done; fi\n\
         i=$((i + 1)); echo \"line $i\"; [ $((i % 1000)) = 0 ] && sleep 0.01; done; exit 7\n"
    );
    let allow = |part: usize| fs::write(lab.user.folder.path().join(format!("part-{part}")), "").unwrap();
    allow(0);
    let running = lab.user.start(&["exec", "one", "two", "three", "--", "sh", "-c", &script]);
    for number in 1..=KILLS {
        let middle = format!("| line {}\n", (number - 1) * PART + PART / 3);
        eventually_blocking("lines come", || running.so_far().0.contains(&middle).then_some(()));
        kill(&mut lab, &running);
        fs::write(lab.path(&format!("part-{number}")), "").unwrap();
        start(&mut lab);
    }
    let run = running.wait().expect(3);
    for name in names {
        let begin = format!("{name:5} | ");
        let printed = run.out.lines().filter_map(|line| line.strip_prefix(begin.as_str()));
        let wished = (1..=LINES).map(|i| format!("line {i}"));
        assert!(printed.eq(wished), "{name}: it is not what was printed");
        assert_eq!(run.err.matches(&format!("{name:6}  exit 7\n")).count(), 1, "one verdict: {}", run.err);
    }
    assert_eq!(run.out.lines().count(), 3 * LINES);
    assert!(run.err.contains("3 devices: 0 ok, 3 not"), "{}", run.err);
}

#[test]
fn input_goes_on_after_the_manager_was_killed() {
    let mut lab = Lab::new();
    let _machines = machines(&lab, &["one"]);
    let text = |part: usize| (0..40_000).map(|i| format!("{part} {i}\n")).collect::<String>();
    let mut command = lab.user.command();
    command.args(["exec", "one", "--", "sh", "-c", "cat; echo end >&2; exit 5"]).stdin(Stdio::piped());
    let mut running = Started::start(&mut command);
    let mut stdin = running.process.0.stdin.take().unwrap();
    let (give, take) = std::sync::mpsc::channel::<String>();
    let writer = std::thread::spawn(move || take.iter().for_each(|text| stdin.write_all(text.as_bytes()).unwrap()));
    let mut wished = String::new();
    for part in 0..KILLS {
        wished.push_str(&text(part));
        give.send(text(part)).unwrap();
        let middle = format!("{part} 2000\n");
        eventually_blocking("it comes back", || running.so_far().0.contains(&middle).then_some(()));
        kill(&mut lab, &running);
        start(&mut lab);
    }
    drop(give);
    let run = running.wait().expect(5);
    assert!(run.out == wished, "it is not what was written");
    assert_eq!(run.err.matches("end\n").count(), 1, "{}", run.err);
    writer.join().unwrap();
}

#[test]
fn ctrl_c_reaches_a_command_whose_manager_was_killed() {
    let mut lab = Lab::new();
    let _machines = machines(&lab, &["one"]);
    let go = lab.path("go");
    let script = format!(
        "trap 'echo ended; exit 9' INT; echo ready; while :; do [ -e {go} ] && rm {go} && echo gone on; sleep 0.05; done"
    );
    let ready = |running: &Started, text: &str| {
        eventually_blocking("it prints", || running.so_far().0.contains(text).then_some(()));
    };
    // After it is back, and while it is away.
    let running = lab.user.start(&["exec", "one", "--", "sh", "-c", &script]);
    ready(&running, "ready");
    kill(&mut lab, &running);
    start(&mut lab);
    fs::write(&go, "").unwrap();
    ready(&running, "gone on");
    running.process.signal(Signal::INT);
    assert_eq!(running.wait().expect(9).out, "ready\ngone on\nended\n");

    let running = lab.user.start(&["exec", "one", "--", "sh", "-c", &script]);
    ready(&running, "ready");
    kill(&mut lab, &running);
    running.process.signal(Signal::INT);
    start(&mut lab);
    assert_eq!(running.wait().expect(9).out, "ready\nended\n");
}

#[test]
fn streams_are_sent_again_when_the_manager_says_so() {
    // So little that most have to come again.
    let lab = Lab::with(&["--requests-per-second", "1"]);
    let _machines = machines(&lab, &["one"]);
    let text: String = (0..60_000).map(|i| format!("{i}\n")).collect();
    let source = lab.path("source");
    fs::write(&source, &text).unwrap();
    let copy = |number: usize| lab.path(&format!("copy-{number}"));
    let started = (0..6).map(|number| {
        let with_input = || Stdio::from(fs::File::open(&source).unwrap());
        let cat = Started::start(lab.user.command().args(["exec", "one", "--", "cat"]).stdin(with_input()));
        let cp = lab.user.start(&["cp", &source, &format!("one:{}", copy(number))]);
        (cat, cp, lab.user.start(&["logs", "--agent", "one", "-n", "1"]))
    });
    let started: Vec<_> = started.collect();
    for (number, (cat, cp, logs)) in started.into_iter().enumerate() {
        assert!(cat.wait().expect(0).out == text, "it is not what went in");
        cp.wait().expect(0);
        assert!(fs::read_to_string(copy(number)).unwrap() == text, "it is not what was copied");
        assert_eq!(logs.wait().expect(0).out.lines().count(), 1);
    }
    let audit = lab.user.run(&["audit", "list", "-o", "json"]).expect(0).out;
    assert!(audit.contains("\"requests\""), "nobody was told to wait: {audit}");
}

#[test]
fn jobs_are_listed_as_they_are_asked_for() {
    let lab = Lab::new();
    let _machines = machines(&lab, &["one"]);
    let run = |arguments: &[&str]| lab.user.run(&[&["job", "list"], arguments].concat());
    let begin = |words: &[&str]| {
        let begun = lab.user.run(&[&["exec", "one", "--background", "--"], words].concat()).expect(0).out;
        begun.trim().to_owned()
    };
    let (good, bad) = (begin(&["true"]), begin(&["false"]));
    lab.user.run(&["job", "wait", &good]).expect(0);
    lab.user.run(&["job", "wait", &bad]).expect(3);
    let names = |arguments: &[&str]| run(&[arguments, &["-o", "name"]].concat()).expect(0).out;
    assert_eq!(names(&["--state", "ok"]), format!("{good}\n"));
    assert_eq!(names(&["--state", "failed", "--user", "admin", "--on", "one", "--since", "1h"]), format!("{bad}\n"));
    assert_eq!(names(&["-n", "1"]), format!("{bad}\n"));
    assert_eq!(names(&["--user", "nobody"]), "");
    assert!(run(&["-l", "site=tokyo"]).expect(0).err.contains("No job is all of that"));
    assert!(run(&["--on", "ghost"]).expect(1).err.contains("ghost"));
    assert!(run(&["--state", "done"]).expect(1).err.contains("there are going, cancelling"));
    assert!(run(&["--since", "yesterday"]).expect(1).err.contains("how long ago"));
    assert!(run(&["-l", ",,"]).expect(1).err.contains(",,"));
    assert!(run(&["--on", "one", "-l", "a"]).expect(1).err.contains("cannot be used with"));
    assert!(run(&["-n", "0"]).expect(1).err.contains("--lines"));
}
