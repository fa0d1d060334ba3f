//! Whole bundles: what is in them, and that no secret is.

use std::collections::BTreeMap;

use robo_wire::frame::MAX_STREAM_FRAME;
use tokio::io::duplex;

use super::bundle::tests::unpacked;
use super::*;
use crate::framing::read_frame;
use crate::keeper::output::{Log, Shelf};
use crate::keeper::record::{Exit, Spec};
use crate::ledger::{Part, encode, examples};
use crate::order::RunId;

/// All that must not come out; each stands somewhere in the folder of [`planted`].
const SECRETS: [&str; 7] =
    ["swordfish-1", "swordfish-2", "swordfish-3", "swordfish-4", "swordfish-5", "c3dvcmRmaXNo", "BEGIN EC PRIVATE"];

/// The folder of an agent with an instance, and secrets in all places.
fn planted(folder: &Path) -> Folders {
    let folders = Folders::new(folder);
    folders.create().unwrap();
    folders.create_log().unwrap();
    let key = "-----BEGIN EC PRIVATE KEY-----\nc3dvcmRmaXNoc3dvcmRmaXNoc3dvcmRmaXNoc3dvcmRmaXNo\n-----END EC PRIVATE KEY-----\n";
    fs::write(folders.identity().join("key.pem"), key).unwrap();
    let mut ledger = examples::ledger();
    let (name, record) = ledger.state.records.iter_mut().next().unwrap();
    record.spec.installer = serde_json::from_str(
        r#"{"kind": "process", "run": "web --token swordfish-2 --port 80", "env": {"DB_PASSWORD": "swordfish-1"}}"#,
    )
    .unwrap();
    record.told.exports.insert("Web.apiKey".parse().unwrap(), "swordfish-3".to_owned());
    let instance = folders.instance(name);
    ledger.assignment.instances = vec![record.spec.clone()];
    for part in Part::ALL {
        fs::write(folders.ledger().join(part.file_name()), encode(&ledger, part)).unwrap();
    }
    instance.create(None).unwrap();
    // What an instance says of others' secrets, in its own words.
    let said = format!("I know swordfish-1 and [swordfish-3]\nurl=amqp://me:swordfish-4@host\n{key}all is well\n");
    Log::open(&instance.logs()).unwrap().write(said.as_bytes()).unwrap();
    Log::open_on(Shelf::of_agent(&folders.log())).unwrap().write(b"link up password=swordfish-5\n").unwrap();
    let run = instance.run(RunId(3));
    fs::create_dir_all(run.path()).unwrap();
    run.write_spec(&Spec {
        argv: vec!["web".to_owned(), "--token".to_owned(), "swordfish-2".to_owned()],
        env: BTreeMap::from([("DB_PASSWORD".to_owned(), "swordfish-1".to_owned())]),
        cwd: "/".into(),
        user: None,
        logs: instance.logs(),
        begun_at: crate::now(),
        open_files: None,
    })
    .unwrap();
    run.write_exit(&Exit { code: Some(3), output: vec!["secret: swordfish-5".to_owned()], ..Exit::default() }).unwrap();
    folders
}

fn options(state: &Path, without_logs: bool) -> Options {
    Options { doctor: doctor::Options { state: state.to_owned(), route: Ok(None) }, without_logs }
}

async fn bundle(state: &Path, without_logs: bool) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar.gz");
    to_file(options(state, without_logs), &path).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the bundle");
    unpacked(&fs::read(path).unwrap())
}

#[tokio::test]
async fn everything_is_there_but_secrets() {
    let folder = tempfile::tempdir().unwrap();
    planted(folder.path());
    let files = bundle(folder.path(), false).await;
    for (name, text) in &files {
        for secret in SECRETS {
            assert!(!text.contains(secret) && !name.contains(secret), "{secret} in {name}: {text}");
        }
    }
    let has = |name: &str, what: &str| assert!(files[name].contains(what), "{what} in {name}: {}", files[name]);
    has("doctor.txt", "AGT_NOT_RUNNING");
    has("doctor.json", "\"checks\"");
    has("facts.json", env!("CARGO_PKG_VERSION"));
    has("ledger.json", "\"generation\": 4");
    has("instances.jsonl", "\"path\":\"/vm/web\"");
    has("instances.jsonl", "\"DB_PASSWORD\":\"[redacted]\"");
    has("assignment.jsonl", "--token [redacted] --port 80");
    has("keepers.jsonl", "\"variables\":[\"DB_PASSWORD\"]");
    has("keepers.jsonl", "\"code\":3");
    has("log/agent.log", "link up password=[redacted]\n");
    has("log/instances/shop/vm/web/output.log", "I know [redacted] and [[redacted]]\nurl=amqp://[redacted]@host\n");
    has("log/instances/shop/vm/web/output.log", "all is well\n");
    has("system/meminfo", "MemTotal");
    has("system/disks", "bytes free");
    for name in files.keys().filter(|name| *name != "MANIFEST") {
        has("MANIFEST", &format!("  {name}  "));
    }
    let files = bundle(folder.path(), true).await;
    assert!(files.contains_key("log/agent.log") && !files.keys().any(|name| name.contains("instances/")), "{files:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_the_rest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let files = bundle(&folder.path().join("none"), false).await;
    let manifest = &files["MANIFEST"];
    assert!(manifest.lines().any(|line| line.starts_with("missing   log/agent.log  ")), "{manifest}");
    assert!(files["doctor.txt"].contains("AGT_STATE_FOLDER") && files.contains_key("system/meminfo"), "{manifest}");
    let folders = planted(folder.path());
    fs::write(folders.ledger().join(Part::State.file_name()), "nonsense").unwrap();
    let logs = folders.log();
    fs::remove_dir_all(&logs).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &logs).unwrap();
    let files = bundle(folder.path(), false).await;
    assert!(files["ledger.json"].contains("\"state\": \"lost: "), "{}", files["ledger.json"]);
    assert!(!files.contains_key("log/agent.log") && files.contains_key("log/instances/shop/vm/web/output.log"));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there");
    fs::create_dir(&path).unwrap();
    assert!(to_file(options(folder.path(), false), &path).await.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(to_file(options(folder.path(), false), &folder.path().join("none/a")).await.is_err());
}

#[tokio::test]
async fn a_stream_tells_the_archive_and_ends_with_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let folders = planted(folder.path());
    // Nobody listens there.
    let route = || Route::direct("127.0.0.1:1");
    let (mut ours, theirs) = duplex(MAX_STREAM_FRAME);
    let serving = tokio::spawn(serve(folders.clone(), route(), CollectOpen::default(), theirs));
    let (mut bytes, mut verdict) = (Vec::new(), None);
    while let Some(frame) = read_frame(&mut ours, MAX_STREAM_FRAME).await.unwrap() {
        let frame = StreamFrame::decode(frame).unwrap();
        if let StreamFrame::Stdout(piece) = &frame {
            bytes.extend_from_slice(piece);
        } else {
            assert!(verdict.replace(frame).is_none());
        }
    }
    serving.await.unwrap();
    assert_eq!(verdict, Some(StreamFrame::Verdict(Verdict::Ok)));
    assert!(unpacked(&bytes)["doctor.txt"].contains("AGT_CONNECT"));
    let (ours, theirs) = duplex(1);
    let serving = tokio::spawn(serve(folders, route(), CollectOpen::default(), theirs));
    drop(ours);
    serving.await.unwrap();
}
