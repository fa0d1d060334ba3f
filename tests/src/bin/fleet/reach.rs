//! All devices at once: a command on each, and all of them back after the manager was killed.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::Method;
use robo_tests::api::Api;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::stream::{Answer, Command, ExecRequest, StreamFrame, Targets, Verdict};

use super::operator::{Agents, resident, show, start_manager};

/// Agents of one process: it has about two descriptors for each, of which a process may usually have some thousands.
const PER_PROCESS: usize = 2_500;

/// How long the manager has to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(5);

pub(super) async fn run(devices: usize, rounds: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut manager, api, address) = start_manager(folder.path(), "127.0.0.1:0").await;
    let begin = Instant::now();
    let mut tokens = Vec::new();
    for number in 0..devices {
        let name = format!("m{number:05}");
        let token = api.enroll_token(&name).await;
        tokens.push((name, token));
    }
    let idle = resident(manager.id().expect("it runs"));
    let mut processes = Vec::new();
    for some in tokens.chunks(PER_PROCESS) {
        processes.push(Agents::start(&address, some).await);
    }
    for agents in &mut processes {
        agents.until("up").await;
    }
    show("devices enrolled and linked (keys, certificates, tokens)", begin.elapsed(), devices);
    tokio::time::sleep(REST).await;
    let linked = resident(manager.id().expect("it runs"));
    println!("{:<58} {:9.1} KiB", "manager: resident memory for each linked device", (linked - idle) / devices as f64);

    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (first, last) = exec(&api, devices).await;
        firsts.push(first);
        lasts.push(last);
    }
    println!("exec of `true` on all {devices}, medians of {rounds} rounds:");
    show("  first verdict", median(&mut firsts), devices);
    show("  last verdict", median(&mut lasts), devices);

    let mut times = Vec::new();
    for _ in 0..rounds.min(3) {
        manager.kill().await.expect("it can be ended");
        let begin = Instant::now();
        std::fs::remove_file(folder.path().join("ready")).expect("it was there");
        manager = start_manager(folder.path(), &address).await.0;
        for agents in &mut processes {
            agents.until("up").await;
        }
        times.push(begin.elapsed());
    }
    show("all back after `kill -9` of the manager, median", median(&mut times), devices);
    drop(processes);
    manager.kill().await.expect("it can be ended");
}

/// Runs a command on every device; the times to the first and to the last verdict.
async fn exec(api: &Api, devices: usize) -> (Duration, Duration) {
    let command = Command {
        argv: vec!["true".to_owned()],
        env: std::collections::BTreeMap::new(),
        cwd: None,
        user: None,
        timeout: None,
        stdin: false,
        within: None,
    };
    let body = ExecRequest { targets: Targets::All, command, resumable: false, needs: None }.encode().expect("small");
    let begin = Instant::now();
    let answer = api.framed(Method::POST, "/projects/default/exec", Some(body.into())).await.expect("an answer");
    let (mut bytes, mut buffer) = (answer.bytes_stream(), Vec::new());
    let (mut first, mut ok) = (None, 0);
    while ok < devices {
        buffer.extend(bytes.next().await.expect("every device has its verdict").expect("the manager goes on"));
        while let Some(frame) = frame::take(&mut buffer, MAX_CONTROL_FRAME).expect("our manager's frames") {
            let answer = Answer::decode(frame).expect("our manager's frames");
            if let Answer::From(_, StreamFrame::Verdict(verdict)) = answer {
                assert_eq!(verdict, Verdict::Ok, "every device can do that");
                first.get_or_insert_with(|| begin.elapsed());
                ok += 1;
            }
        }
    }
    (first.unwrap_or_default(), begin.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
