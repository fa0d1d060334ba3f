//! The operator: starts the manager and the agents' process, applies, and prints what it took.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use robo_model::state::Wanted;
use robo_tests::api::{Api, Packed};
use robo_wire::api::{Scope, WantedRequest};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Instances on each device of the second application, the machine itself not counted.
const EACH: usize = 5;

/// How often the manager is asked whether all is as wished: the figure is that exact.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(devices: usize, rounds: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut manager, api, address) = start_manager(folder.path(), "127.0.0.1:0").await;
    let pid = manager.id().expect("it runs");
    let names: Vec<String> = (0..devices).map(|n| format!("m{n:05}")).collect();
    let begin = Instant::now();
    let mut tokens = Vec::new();
    for name in &names {
        tokens.push((name.clone(), api.enroll_token(name).await));
    }
    let idle = resident(pid);
    let mut agents = Agents::start(&address, &tokens).await;
    agents.until("up").await;
    show("devices enrolled and linked (keys, certificates, tokens)", begin.elapsed(), devices);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let linked = resident(pid);
    println!("{:<58} {:9.1} KiB", "manager: resident memory for each linked device", (linked - idle) / devices as f64);

    exports(&api, &mut agents, &names, rounds).await;
    applies(&api, &mut agents, &names).await;
    drop(agents);
    manager.kill().await.expect("it can be ended");
}

/// From a provider's start to all importers' update step.
async fn exports(api: &Api, agents: &mut Agents, names: &[String], rounds: usize) {
    let mut graph = String::from(
        "application exports {\n\tversion: 1.0.0;\n}\nMachine {\n\tinstaller: target;\n\tchildren: Giver, Taker;\n}\n\
         Giver {\n\tinstaller: script;\n\texports: ip, port = 1;\n}\n\
         Taker {\n\tinstaller: script;\n\timports: Giver.ip (optional), Giver.port (optional);\n}\n",
    );
    for (at, name) in names.iter().enumerate() {
        let child = if at == 0 { "Giver" } else { "Taker" };
        machine(&mut graph, name, &[child]);
    }
    let packed = Packed::new(&graph, &[]);
    api.apply(&packed).await.expect("it is applied");
    until_as_wished(api).await;
    let path = format!("/{}/giver", names.first().expect("a device"));
    let ask = |wanted| WantedRequest {
        scope: Scope { path: Some(path.parse().expect("a path")), ..Scope::default() },
        wanted,
    };
    let (mut medians, mut slowest, mut longest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        api.wanted("exports", &ask(Wanted::Stopped)).await.expect("it is stopped");
        agents.until("left").await;
        api.wanted("exports", &ask(Wanted::Started)).await.expect("it is started");
        let figures: Vec<f64> = serde_json::from_str(&agents.until("informed").await).expect("three figures");
        for (list, figure) in [&mut medians, &mut slowest, &mut longest].into_iter().zip(figures) {
            list.push(figure);
        }
    }
    let importers = names.len() - 1;
    println!("provider's start → {importers} importers' update, medians of {rounds} rounds:");
    for (what, list) in [("  p50", &mut medians), ("  p99", &mut slowest), ("  last one", &mut longest)] {
        list.sort_by(f64::total_cmp);
        println!("{what:<58} {:9.1} ms", list.get(list.len() / 2).copied().unwrap_or_default());
    }
    api.delete("exports").await.expect("it is deleted");
    while !api.status().await.instances.is_empty() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Applying a large application, until all is started.
async fn applies(api: &Api, agents: &mut Agents, names: &[String]) {
    let mut graph =
        String::from("application many {\n\tversion: 1.0.0;\n}\nMachine {\n\tinstaller: target;\n\tchildren: ");
    let children: Vec<String> = (0..EACH).map(|n| format!("C{n}")).collect();
    writeln!(graph, "{};\n}}", children.join(", ")).expect("a text takes all");
    for child in &children {
        writeln!(graph, "{child} {{\n\tinstaller: script;\n\texports: ip, port = 1;\n}}").expect("a text takes all");
    }
    let kinds: Vec<&str> = children.iter().map(String::as_str).collect();
    for name in names {
        machine(&mut graph, name, &kinds);
    }
    let packed = Packed::new(&graph, &[]);
    let begin = Instant::now();
    let plan = api.plan(&packed).await.expect("it is planned");
    let planned = begin.elapsed();
    api.apply_planned(&packed, &plan.id).await.expect("it is applied");
    let acknowledged = begin.elapsed();
    agents.until_started(names.len() * EACH).await;
    let started = begin.elapsed();
    until_as_wished(api).await;
    let known = begin.elapsed();
    let all = names.len() * (EACH + 1);
    println!("apply of {} devices × {EACH} instances ({all} with the machines), since it was sent:", names.len());
    for (what, time) in [
        ("  plan is there", planned),
        ("  acknowledged, on disk", acknowledged),
        ("  all steps done", started),
        ("  manager knows all as wished", known),
    ] {
        println!("{what:<58} {:9.0} ms", time.as_secs_f64() * 1_000.0);
    }
}

fn machine(graph: &mut String, name: &str, children: &[&str]) {
    write!(graph, "instance of Machine {{\n\tname: {name};\n").expect("a text takes all");
    for child in children {
        let name = child.to_lowercase();
        write!(graph, "\tinstance of {child} {{\n\t\tname: {name};\n\t}}\n").expect("a text takes all");
    }
    graph.push_str("}\n");
}

async fn until_as_wished(api: &Api) {
    while !api.status().await.instances.iter().all(robo_wire::api::InstanceView::is_as_wished) {
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) fn show(what: &str, time: Duration, count: usize) {
    println!("{what:<58} {:9.0} ms for {count}", time.as_secs_f64() * 1_000.0);
}

/// Resident memory in KiB.
pub(super) fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Starts the manager on the folder, at `listen`. Its process, the way to it, and where it listens.
pub(super) async fn start_manager(folder: &Path, listen: &str) -> (Child, Api, String) {
    let (data, ready) = (folder.join("manager"), folder.join("ready"));
    let mut command = Command::new(beside("robo"));
    command.args(["manager", "--listen", listen, "--data"]).arg(&data).arg("--ready-file").arg(&ready);
    // One operator makes all the tokens, as fast as it can.
    command.args(["--requests-per-second", "100000"]);
    command.arg("--log-file").arg(folder.join("manager.log")).stdin(Stdio::null()).kill_on_drop(true);
    let manager = command.spawn().expect("robo is built: cargo build --release --package robo-cli");
    let address = loop {
        match std::fs::read_to_string(&ready) {
            Ok(address) if !address.is_empty() => break address.trim().to_owned(),
            Ok(_) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    let read = |name: &str| std::fs::read_to_string(data.join(name)).expect("the manager made it");
    let api = Api::new(address.parse().expect("an address"), &read("ca.pem"), read("admin.token").trim());
    (manager, api, address)
}

fn beside(name: &str) -> PathBuf {
    std::env::current_exe().expect("a program has a path").with_file_name(name)
}

/// The agents' process.
pub(super) struct Agents {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    started: usize,
}

impl Agents {
    pub(super) async fn start(manager: &str, tokens: &[(String, String)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
        command.args([super::AGENTS, manager]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("it starts");
        let mut input = process.stdin.take().expect("a pipe");
        let line = serde_json::to_string(tokens).expect("texts") + "\n";
        input.write_all(line.as_bytes()).await.expect("it reads");
        // It ends when its input does.
        process.stdin = Some(input);
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { _process: process, lines, started: 0 }
    }

    /// What follows the first word of the next line that begins with it.
    pub(super) async fn until(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next_line().await.expect("a text").expect("the agents run on");
            let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
            if first == "started" {
                self.started = rest.parse().expect("a number");
            }
            if first == word {
                return rest.to_owned();
            }
        }
    }

    /// Until so many more instances were started than when this was asked.
    async fn until_started(&mut self, more: usize) {
        let goal = self.started + more;
        while self.started < goal {
            self.until("started").await;
        }
    }
}
