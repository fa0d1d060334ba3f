//! Who has the manager's keys and is no manager: the agent goes away, writes nowhere else, and what runs runs on.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use robo_agent::folders::Folders;
use robo_agent::ledger::LedgerStore;
use robo_model::quantity::Millis;
use robo_model::spec::{Assignment, Generation, InstanceSpec};
use robo_tests::api::Packed;
use robo_tests::impostor::{Given, Impostor, Line, welcome};
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::{PATIENCE, eventually};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{Ack, FromAgent, FromManager, Update};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::super::until_as_wished;

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Sleeper;
}
Sleeper {
	installer: process;
	run: sleep 1000;
}
instance of Machine {
	name: one;
	instance of Sleeper {
		name: sleeper;
	}
}
";

/// Kinds of messages on the wire, as a stranger to our code would write them.
const ASSIGN: u8 = 66;
const ACK: u8 = 68;
const LATER: u8 = 200;

/// A device that runs something, and whose manager was robbed.
struct Robbed {
    folder: TempDir,
    address: SocketAddr,
    agent: Agent,
    process: u32,
    outside: BTreeSet<PathBuf>,
    thief: Impostor,
}

/// The process of the one instance that is one.
async fn process(manager: &Manager) -> u32 {
    until_as_wished(manager).await;
    let status = manager.api.status().await;
    status.instances.iter().find_map(|instance| instance.report.as_ref()?.pid).unwrap()
}

/// All files below `root` that are not below `agent`.
fn outside(root: &Path, agent: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path == agent || path.ends_with("manager") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

impl Robbed {
    async fn new() -> Self {
        let folder = folder();
        let data = folder.path().join("manager");
        let manager = Manager::start(&data).await;
        let agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
        eventually("a device", || async { manager.api.devices().await.pop() }).await;
        manager.api.apply(&Packed::new(GRAPH, &[])).await.unwrap();
        let process = process(&manager).await;
        let address = manager.address;
        manager.stop().await;
        let thief = Impostor::take(&data, address).await;
        let outside = outside(folder.path(), &agent.state);
        Self { folder, address, agent, process, outside, thief }
    }

    /// What the agent has on its disk.
    fn assignment(&self) -> Assignment {
        LedgerStore::inspect(&Folders::new(&self.agent.state).ledger()).unwrap().ledger.assignment
    }

    /// The same, numbered anew, with one more instance that has a script.
    fn with_script(&self, hash: &str, size: u64) -> Assignment {
        let mut assignment = self.assignment();
        let more: InstanceSpec = serde_json::from_value(json!({
            "key": {"application": "app", "path": "/one/script"}, "component": "Script", "installer": {"kind": "script"},
            "files": {"scripts/start.sh": {"hash": hash, "size": size, "executable": true}}, "wanted": "started",
        }))
        .unwrap();
        assignment.generation = assignment.generation.next();
        assignment.instances.push(more);
        assignment
    }

    /// Nothing was written elsewhere, and the true manager finds what ran before.
    async fn assert_unharmed(self) {
        assert_eq!(outside(self.folder.path(), &self.agent.state), self.outside);
        drop(self.thief);
        let data = self.folder.path().join("manager");
        let manager =
            eventually("the manager is back", || async { Manager::start_at(&data, self.address).await.ok() }).await;
        eventually("the device is back", || async { manager.api.devices().await.pop()?.online.then_some(()) }).await;
        assert_eq!(process(&manager).await, self.process, "it was not restarted");
    }
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    frame::encode(kind, body, MAX_CONTROL_FRAME).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_talks_nonsense_is_left_and_what_runs_runs_on() {
    let mut robbed = Robbed::new().await;
    let assign = FromManager::Assign(robbed.assignment()).encode().unwrap();
    let other = |protocol| {
        let FromManager::Welcome(mut welcome) = welcome(Millis::from_secs(5)) else { panic!("no welcome") };
        welcome.protocol = protocol;
        FromManager::Welcome(welcome).encode().unwrap()
    };
    let deep = raw(ASSIGN, &vec![0x81; 1024 * 1024]);
    for bytes in [&[0xff; 64][..], &[0; 64], &assign, &deep, &other(0), &other(999), &raw(65, b"\xa1\x61")] {
        let mut line = robbed.thief.link().await;
        line.send(bytes).await;
        line.end().await;
        // It comes back the sooner for it.
        drop(robbed.thief.welcomed().await);
    }
    let ack = FromManager::Ack(Ack { seq: u64::MAX, events_stored: u64::MAX }).encode().unwrap();
    let again = welcome(Millis::from_secs(5)).encode().unwrap();
    let large = [&u32::try_from(MAX_CONTROL_FRAME + 1).unwrap().to_be_bytes()[..], &[ASSIGN]].concat();
    let cut = assign.iter().take(assign.len() / 2).copied().collect::<Vec<_>>();
    let cut = raw(ASSIGN, cut.get(5..).unwrap());
    for bytes in [&[0xff; 64][..], &large, &deep, &raw(ACK, b"nonsense"), &ack, &again, &cut] {
        let mut line = robbed.thief.welcomed().await;
        line.send(bytes).await;
        line.end().await;
    }
    // One that wants to be told every moment, and says nothing itself.
    for heartbeat in [Millis(0), Millis(100)] {
        let mut line = robbed.thief.link().await;
        line.say(&welcome(heartbeat)).await;
        line.end().await;
    }
    // What nobody knows is passed over: a later version may say it.
    let mut line = robbed.thief.welcomed().await;
    line.send(&raw(LATER, &vec![0x81; 1024 * 1024])).await;
    line.say(&FromManager::Assign(Assignment::default())).await;
    assert!(refused(&mut line).await.contains("older"));
    drop(line);
    robbed.assert_unharmed().await;
}

/// Why the agent does not take an assignment. What else it says is heard.
async fn refused(line: &mut Line) -> String {
    loop {
        let said = line.hear().await.expect("the link stays");
        if let FromAgent::Refused(refused) = said {
            return refused.reason;
        }
        assert!(!matches!(said, FromAgent::Accepted(_)), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_is_old_or_leads_elsewhere_is_not_taken() {
    let mut robbed = Robbed::new().await;
    let now = robbed.assignment();
    let older = Assignment { generation: Generation(now.generation.0 - 1), instances: Vec::new() };
    let other = Assignment { generation: now.generation, instances: Vec::new() };
    let mut twice = now.clone();
    twice.generation = now.generation.next();
    twice.instances.extend(now.instances.clone());
    let mut line = robbed.thief.welcomed().await;
    for (assignment, why) in [(older, "older"), (other, "another assignment"), (twice, "twice")] {
        // Once more is the same.
        for _ in 0..2 {
            line.say(&FromManager::Assign(assignment.clone())).await;
            let reason = refused(&mut line).await;
            assert!(reason.contains(why), "{reason}");
        }
    }
    drop(line);
    let good = FromManager::Assign(robbed.with_script(&"ab".repeat(32), 9)).encode().unwrap();
    let long = "../".repeat(21);
    for (from, to) in [
        ("scripts/start.sh", "../../../evil.sh"),
        ("scripts/start.sh", "/tmp/robo-evil.s"),
        ("scripts/start.sh", "scripts/../../.e"),
        ("/one/script", "/../../evil"),
        ("/one/script", "one/../../e"),
        ("abababababababababababababababababababababababababababababababab", &format!("{long}a")),
    ] {
        let at = good.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bad = good.clone();
        bad.splice(at..at + from.len(), to.bytes());
        assert_eq!(bad.len(), good.len(), "{to}");
        let mut line = robbed.thief.welcomed().await;
        line.send(&bad).await;
        line.end().await;
        assert_eq!(robbed.assignment(), now, "{to}");
    }
    robbed.assert_unharmed().await;
}

/// How many bytes all files in a folder have.
fn size_of(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |it| it.len())).sum()
}

/// Hears until the agent tells that a step of the instance at `path` failed.
async fn until_failed(line: &mut Line, path: &str) {
    loop {
        let Some(said) = line.hear().await else { panic!("the link stays") };
        if let FromAgent::Update(Update { seq, reports, events, more: false, .. }) = said {
            let events_stored = events.last().map_or(0, |event| event.seq);
            line.say(&FromManager::Ack(Ack { seq, events_stored })).await;
            if reports.iter().any(|report| report.path.as_str() == path && report.failure.is_some()) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_digest_or_without_end_are_not_taken() {
    const SIZE: u64 = 4096;
    let mut robbed = Robbed::new().await;
    let assignment = robbed.with_script(&"ab".repeat(32), SIZE);
    let answer = |head: &str, body: &[u8]| [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat();
    let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
    let given = [
        // Others of the right length.
        Given { begin: answer("206 Partial Content\r\ncontent-length: 4096", &[b'x'; 4096]), without_end: Vec::new() },
        Given { begin: answer("200 OK\r\ntransfer-encoding: chunked", b""), without_end: chunk },
        Given { begin: answer("200 OK\r\ncontent-length: 1000000000000", b""), without_end: vec![b'x'; 65536] },
        Given { begin: b"HTTP/1.1 200 OK\r\nx: ".to_vec(), without_end: vec![b'x'; 65536] },
        Given { begin: vec![0xff; 4096], without_end: Vec::new() },
        Given::default(),
    ];
    robbed.thief.give(given[0].clone());
    let mut line = robbed.thief.welcomed().await;
    line.say(&FromManager::Assign(assignment)).await;
    let files = Folders::new(&robbed.agent.state).files();
    for (round, next) in given.iter().enumerate() {
        robbed.thief.give(next.clone());
        robbed.thief.asked(2 * (round + 1)).await;
        assert!(size_of(&files) <= 4 * SIZE, "round {round}: {} bytes", size_of(&files));
    }
    until_failed(&mut line, "/one/script").await;
    assert!(!files.join("ab".repeat(32)).exists());
    assert!(size_of(&files) <= 4 * SIZE);
    drop(line);
    robbed.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_end_end_the_link_and_nothing_else() {
    let mut robbed = Robbed::new().await;
    let line = robbed.thief.welcomed().await;
    let mut open = Vec::new();
    // More than an agent takes at a time; each with what is no request.
    while let Some(mut stream) = line.open().await {
        if stream.write_all(&[0, 0, 0, 1]).await.is_err() || open.len() > 10_000 {
            break;
        }
        open.push(stream);
    }
    assert!(open.len() < 1_000, "the agent holds {} streams", open.len());
    line.end().await;
    let line = robbed.thief.welcomed().await;
    for bytes in [&[0xff; 64][..], &raw(1, b"nonsense"), &raw(LATER, b""), &raw(1, &vec![0x81; 50_000])] {
        let mut stream = line.open().await.unwrap();
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
        drop(tokio::time::timeout(PATIENCE, end).await.expect("the stream ends"));
    }
    drop(line);
    robbed.assert_unharmed().await;
}
