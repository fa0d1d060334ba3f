//! No I/O, no clock, no randomness, no async in the pure parts; no open port in the agent; one place that prints.

use super::{code, sources};

/// The pure parts: folders end with `/`.
const PURE: [&str; 14] = [
    "model/src/",
    "wire/src/",
    "dsl/src/",
    "manager/src/plan.rs",
    "manager/src/plan/",
    "manager/src/gateway/core.rs",
    "manager/src/gateway/core/",
    "manager/src/gateway/offers.rs",
    "manager/src/acts.rs",
    "manager/src/service/circles.rs",
    "manager/src/store/rules.rs",
    "agent/src/pilot.rs",
    "agent/src/reconcile.rs",
    "agent/src/reconcile/",
];

/// What must not be named there.
const BANNED: [&str; 17] = [
    "async",
    "await",
    "fastrand",
    "getrandom",
    "rand",
    "rustix",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

/// What opens a port or a socket for others.
const LISTENERS: [&str; 4] = ["TcpListener", "TcpSocket", "UnixListener", "UnixDatagram"];

/// The one place of the agent that may listen, and why.
const LISTENS: &str = "agent/src/forward/listen.rs";

/// What prints.
const PRINTS: [&str; 7] = ["print!", "println!", "eprint!", "eprintln!", "dbg!", "std::io::stdout", "std::io::stderr"];

/// Files that may hold standard output or standard error, and why. They use no macro that prints.
const STREAMS: [(&str, &str); 7] = [
    ("agent/src/keeper.rs", "a keeper tells the agent through its standard output how the program began"),
    ("agent/src/main.rs", "the log of an agent goes to standard error"),
    ("agent/src/commands.rs", "what an agent does once is told to who asked for it"),
    ("agent/src/ssh/file.rs", "a process of a user's tells the agent through its standard output what came of it"),
    ("agent/src/upgrade/own.rs", "an agent that is tried tells through its standard output that it was welcomed"),
    ("agent/src/upgrade/trial.rs", "what is between two programs passes the log of the new one on"),
    ("cli/src/service.rs", "the log of a manager or an agent goes to standard error"),
];

#[test]
fn pure_parts_do_no_io() {
    let files = sources::rust();
    for part in PURE {
        assert!(files.iter().any(|file| file.path.starts_with(part)), "{part} is gone: this rule sees nothing");
    }
    let pure = files.iter().filter(|file| !file.is_test && PURE.iter().any(|part| file.path.starts_with(part)));
    let found: Vec<String> = pure.flat_map(|file| banned(&file.path, &file.code())).collect();
    super::none("a pure part names what is not pure", &found);
}

/// What a simulation in virtual time must not name: the same seed would tell another story.
const NOT_IN_A_SIMULATION: [&str; 8] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

#[test]
fn the_simulation_knows_only_its_seed() {
    let files: Vec<_> = sources::rust().into_iter().filter(|file| file.path.starts_with("tests/src/sim")).collect();
    assert!(files.len() > 10, "the simulation is gone: this rule sees nothing");
    let named = files.iter().flat_map(|file| {
        let code = file.code();
        let words = NOT_IN_A_SIMULATION.iter().filter(move |word| code::names(&code, word));
        words.map(|word| format!("{}: {word}", file.path))
    });
    super::none("the simulation names what is not its seed's", &named.collect::<Vec<_>>());
}

#[test]
fn the_agent_listens_on_no_port() {
    // Somebody asked for it, and it ends with them: `robo forward --reverse`.
    let is_agent = |path: &str| path.starts_with("agent/src/") && path != LISTENS;
    let agent = sources::rust().into_iter().filter(|file| is_agent(&file.path) && !file.is_test);
    let found: Vec<String> = agent.flat_map(|file| listeners(&file.path, &file.code())).collect();
    super::none("the agent names what listens", &found);
}

#[test]
fn only_the_output_of_the_command_line_prints() {
    let may = |path: &str| path.starts_with("cli/src/output") || path.starts_with("fuzz/");
    let files = sources::rust().into_iter().filter(|file| !file.is_test && !may(&file.path));
    let found: Vec<String> = files.flat_map(|file| prints(&file.path, &file.code())).collect();
    super::none("only cli/src/output prints", &found);
}

fn banned(path: &str, code: &str) -> Vec<String> {
    BANNED.iter().filter(|word| code::names(code, word)).map(|word| format!("{path}: {word}")).collect()
}

fn listeners(path: &str, code: &str) -> Vec<String> {
    LISTENERS.iter().filter(|word| code.contains(**word)).map(|word| format!("{path}: {word}")).collect()
}

fn prints(path: &str, code: &str) -> Vec<String> {
    let holds_streams = STREAMS.iter().any(|(file, _)| *file == path);
    let is_named = |word: &str| {
        word.ends_with('!') && code::names(code, word)
            || word
                .strip_prefix("std::")
                .is_some_and(|short| !holds_streams && (code::names(code, word) || code::names(code, short)))
    };
    PRINTS.iter().filter(|word| is_named(word)).map(|word| format!("{path}: {word}")).collect()
}

#[test]
fn what_is_not_pure_is_seen() {
    for word in BANNED {
        let source = if word.contains("::") { format!("use {word};") } else { format!("{word} x") };
        assert_eq!(banned("a.rs", &source), [format!("a.rs: {word}")]);
    }
    assert_eq!(banned("a.rs", "use std::time::{Duration, Instant};").len(), 1);
    assert!(banned("a.rs", "use std::time::Duration; let operand = brand;").is_empty());
    assert_eq!(listeners("a.rs", "let l = tokio::net::TcpListener::bind(a).await?;").len(), 1);
    assert_eq!(prints("a.rs", "eprintln!(\"x\")"), ["a.rs: eprintln!"]);
    assert_eq!(prints("a.rs", "use std::io; io::stdout().write(b)"), ["a.rs: std::io::stdout"]);
    assert!(prints("agent/src/keeper.rs", "std::io::stdout()").is_empty());
    assert_eq!(prints("agent/src/keeper.rs", "println!()").len(), 1);
    assert!(prints("a.rs", "command.stdout(Stdio::piped())").is_empty());
}
