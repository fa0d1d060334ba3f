//! `robo logs` with the real programs: what prints, what is chosen, cuts, and what cannot be read.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};
use robo_tests::proxy::{Mode, Proxy};
use rustix::process::Signal;
use serde_json::Value;

use super::faults::lab::Machine;
use super::{Lab, application, until_as_wished};

/// Cuts while somebody follows.
const CUTS: usize = 6;

/// Lines of one part of what is printed; a part takes a few tenths of a second.
const PART: usize = 3_000;

const LINES: usize = PART * (CUTS + 1);

/// Lets the program that counts print the part after `cut` cuts.
fn allow(lab: &Lab, cut: usize) {
    fs::write(lab.path(&format!("part-{cut}")), "").unwrap();
}

/// A host `one` with a program that counts as far as it is allowed, and one that says little.
fn graph(lab: &Lab) -> String {
    let count = lab.path("count.sh");
    let part = lab.path("part-");
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do\n\
         if [ $((i % {PART})) = 0 ]; then until [ -e {part}$((i / {PART})) ]; do sleep 0.01; done; fi\n\
         i=$((i + 1)); echo \"line $i\"; [ $((i % 50)) = 0 ] && sleep 0.01; done\n\
         exec sleep 1000\n"
    );
    fs::write(&count, script).unwrap();
    let quiet = lab.path("quiet.sh");
    fs::write(&quiet, "echo one; echo two; echo three; exec sleep 1000\n").unwrap();
    let graph = format!(
        "application app {{\n\tversion: 1.0.0;\n}}\nMachine {{\n\tinstaller: target;\n\tchildren: Count, Quiet;\n}}\n\
         Count {{\n\tinstaller: process;\n\trun: sh {count};\n}}\nQuiet {{\n\tinstaller: process;\n\trun: sh {quiet};\n}}\n\
         instance of Machine {{\n\tname: one;\n\tinstance of Count {{\n\t\tname: count;\n\t}}\n\
         \tinstance of Quiet {{\n\t\tname: quiet;\n\t}}\n}}\n"
    );
    application(&lab.user, &graph, &[])
}

fn ended(started: Started) -> String {
    started.process.signal(Signal::INT);
    started.wait().expect(0).out
}

#[test]
fn who_follows_over_cuts_gets_every_line_once() {
    let lab = Lab::new();
    let (link, way) = (Proxy::start(lab.address), Proxy::start(lab.address));
    let _machine = Machine::start(&lab, "one", &link.address.to_string());
    let graph = graph(&lab);
    let (url, ca, token) =
        (format!("https://{}", way.address), lab.path("manager/ca.pem"), lab.path("manager/admin.token"));
    let add = ["context", "add", "way", "--url", &url, "--ca", &ca, "--token-file", &token];
    lab.user.run(&add).expect(0);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let following = lab.user.start(&["--context", "way", "logs", "/one/count", "-f", "-n", "100000"]);
    allow(&lab, 0);
    for cut in 1..=CUTS {
        // A line of a part that was allowed after the last cut was noticed: whoever follows listens again. A cut before
        // that would be one that it need not notice.
        let begun = format!("line {}\n", (cut - 1) * PART + PART / 3);
        eventually_blocking("lines come", || following.so_far().0.contains(&begun).then_some(()));
        if cut % 2 == 0 {
            link.cut();
        } else {
            way.cut();
        }
        let cuts = |text: &str| text.matches("going on when it is back").count();
        eventually_blocking("the cut is noticed", || (cuts(&following.so_far().1) >= cut).then_some(()));
        allow(&lab, cut);
    }
    let last = format!("line {LINES}\n");
    eventually_blocking("the last line comes", || following.so_far().0.contains(&last).then_some(()));
    let wished: String = (1..=LINES).map(|i| format!("line {i}\n")).collect();
    assert!(ended(following) == wished, "it is not what was printed");
}

#[test]
fn logs_of_instances_the_agent_and_units() {
    let lab = Lab::new();
    let programs = Path::new(&lab.path("bin")).to_owned();
    let machine = Machine::start(&lab, "one", &lab.address.to_string());
    (0..=CUTS).for_each(|cut| allow(&lab, cut));
    let graph = graph(&lab);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let logs = |arguments: &[&str]| lab.user.run(&[&["logs"], arguments].concat());
    let first = format!("line {LINES}");
    eventually_blocking("all is printed", || logs(&["/one/count", "-n", "1"]).out.contains(&first).then_some(()));

    assert_eq!(logs(&["app", "/one/quiet"]).expect(0).out, "one\ntwo\nthree\n");
    assert_eq!(logs(&["/one/quiet", "-n", "1"]).expect(0).out, "three\n");
    assert_eq!(logs(&["/one/quiet", "--grep", "^t", "-n", "1"]).expect(0).out, "three\n");
    assert_eq!(logs(&["/one/quiet", "--since", "1h"]).expect(0).out.lines().count(), 3);
    assert_eq!(logs(&["/one/quiet", "--until", "1h"]).expect(0).out, "");
    assert_eq!(logs(&["/one/count", "--since", "1h", "--grep", "line 1[0-9]$"]).expect(0).out.lines().count(), 10);
    let both = logs(&["/one/quiet", "/one/count", "-n", "1"]).expect(0).out;
    let mut both: Vec<&str> = both.lines().collect();
    both.sort_unstable();
    assert_eq!(both, [format!("/one/count | {first}").as_str(), "/one/quiet | three"]);
    let timed = logs(&["/one/quiet", "-t"]).expect(0).out;
    assert!(timed.lines().all(|line| line.starts_with("20") && line.len() > 20), "{timed}");
    let data = logs(&["/one/quiet", "-n", "1", "-o", "json"]).expect(0);
    let data: Value = serde_json::from_str(&data.out).unwrap();
    assert_eq!(
        (&data["device"], &data["source"], &data["text"]),
        (&"one".into(), &"/one/quiet".into(), &"three".into())
    );
    assert!(data["at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{data}");

    assert!(logs(&["--agent", "one"]).expect(0).out.contains("link up"));
    let kept = fs::read_to_string(Path::new(&lab.path("one")).join("log/agent.log")).unwrap();
    // Each asks the clock for itself.
    let said = |log: &str| log.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect::<Vec<_>>();
    assert_eq!(said(&kept), said(&machine.log()), "both logs have the same");
    drop(machine);
    let offline = logs(&["--agent", "one"]).expect(3);
    assert!(offline.err.contains("offline"), "{}", offline.err);

    // Another one, whose system has a journal that we know.
    fs::create_dir(&programs).unwrap();
    let entry = r#"{"__CURSOR":"c=1","__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"accepted a key"}"#;
    let program = |name: &str, text: &str| {
        fs::write(programs.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("journalctl", &format!("case \"$*\" in *--unit=ssh*) echo '{entry}' ;; esac"));
    program("systemctl", "echo not-found");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let _machine = Machine::start_with(&lab, "two", &lab.address.to_string(), &[("PATH".to_owned(), path)]);
    assert_eq!(logs(&["--unit", "ssh", "--on", "two"]).expect(0).out, "accepted a key\n");
    let none = logs(&["--unit", "ssh", "--unit", "none", "--on", "two"]).expect(3);
    assert_eq!(none.out, "two ssh | accepted a key\n");
    assert!(none.err.contains("no unit `none`"), "{}", none.err);

    for (bad, says) in [
        (&["/one/none"][..], "there is no instance"),
        (&[], "no instance is given"),
        (&["--agent", "none"], "none"),
        (&["/one/quiet", "--grep", "("], "regular expression"),
        (&["/one/quiet", "-n", "100001"], "at most 100000"),
        (&["/one/quiet", "--since", "1m", "--until", "1h"], "no line is between them"),
    ] {
        let run = logs(bad);
        assert!(run.code != 0 && run.err.contains(says), "{bad:?}: {run:?}");
    }
}

#[test]
fn logs_without_end_hold_up_no_command() {
    let lab = Lab::new();
    // A link on which far less goes through than is printed.
    let link = Proxy::start(lab.address);
    let _machine = Machine::start(&lab, "one", &link.address.to_string());
    let much = lab.path("much.sh");
    // Two megabytes a second, in lines of which nobody has to count many.
    let line = "x".repeat(2_000);
    fs::write(&much, format!("while :; do for i in 1 2 3 4 5 6 7 8 9 10; do echo {line}; done; sleep 0.01; done\n"))
        .unwrap();
    let graph = format!(
        "application app {{\n\tversion: 1.0.0;\n}}\nMachine {{\n\tinstaller: target;\n\tchildren: Much;\n}}\n\
         Much {{\n\tinstaller: process;\n\trun: sh {much};\n}}\n\
         instance of Machine {{\n\tname: one;\n\tinstance of Much {{\n\t\tname: much;\n\t}}\n}}\n"
    );
    lab.user.run(&["apply", "--yes", &application(&lab.user, &graph, &[])]).expect(0);
    until_as_wished(&lab.user);
    link.set(Mode::Slow(20));
    let follow = |words: &[&str]| {
        let mut command = lab.user.command();
        // Whoever shows all of it to a terminal keeps none of it.
        command.args(["logs", "/one/much", "-f"]).args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::start(command.stderr(Stdio::null()));
        let (mut out, seen) = (running.0.stdout.take().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = vec![0; 65_536];
            while let Ok(read @ 1..) = out.read(&mut piece) {
                counted.fetch_add(read as u64, Ordering::SeqCst);
            }
        });
        (running, seen)
    };
    let followers = [follow(&["-n", "0"]), follow(&["-n", "1000"]), follow(&["-t"])];
    let seen = || followers.each_ref().map(|(_, seen)| seen.load(Ordering::SeqCst));
    eventually_blocking("all of them are shown something", || seen().iter().all(|seen| *seen > 0).then_some(()));
    for round in 0..5 {
        let before = seen();
        assert_eq!(lab.user.run(&["exec", "one", "--", "echo", "at once"]).expect(0).out, "at once\n");
        eventually_blocking("the logs go on", || {
            seen().iter().zip(before).all(|(now, before)| *now > before).then_some(())
        });
        println!("round {round}: {:?} bytes of logs", seen());
    }
}
