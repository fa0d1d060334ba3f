//! `robo files` with the real programs: devices that are away, cuts, a manager that is killed, and what can be wrong.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, robo_agent};
use robo_tests::proxy::{Mode, Proxy};
use serde_json::Value;

use super::Lab;
use super::copy::noise;
use super::exec::start;
use super::faults::lab::Machine;

fn show(lab: &Lab, name: &str) -> Value {
    let run = lab.user.run(&["files", "show", name, "-o", "json"]);
    if run.code == 0 { run.json() } else { Value::Null }
}

fn until(lab: &Lab, name: &str, state: &str) -> Value {
    eventually_blocking(&format!("{name} is {state}"), || Some(show(lab, name)).filter(|view| view["state"] == state))
}

/// Starts the agent of a device that is enrolled already.
fn again(lab: &Lab, name: &str, manager: &str) -> Running {
    let mut command = Command::new(robo_agent());
    command.args(["--manager", manager, "--address", "127.0.0.1", "--state", &lab.path(name)]);
    command.env("HOME", lab.path(name)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running::start(&mut command)
}

/// Bytes of the content of files in the manager's folder.
fn stored(lab: &Lab) -> u64 {
    let all = fs::read_dir(lab.path("manager/uploads")).into_iter().flatten().flatten();
    all.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn a_file_comes_from_a_device_that_was_away_through_cuts_and_a_killed_manager() {
    let mut lab = Lab::new();
    let proxy = Proxy::start(lab.address);
    let mut machine = Machine::start(&lab, "one", &proxy.address.to_string());
    let source = PathBuf::from(lab.path("recording"));
    let size = 32 * 1024 * 1024;
    let content = noise(size, 3);
    fs::write(&source, &content).unwrap();
    machine.agent.kill();
    let from = format!("one:{}", source.display());
    let meta = ["--meta", "run=42", "--meta", "site=tokyo"];
    let put = ["files", "put", &from, "--name", "recording", "--purge"];
    lab.user.run(&[&put[..], &meta].concat()).expect(0);
    assert_eq!(show(&lab, "recording")["state"], "pending");
    let wait = lab.user.run(&["files", "get", "recording"]).expect(1);
    assert!(wait.err.contains("it is pending"), "{}", wait.err);

    // It comes, and is cut twice; then the manager is killed.
    proxy.set(Mode::Slow(2));
    machine.agent = again(&lab, "one", &proxy.address.to_string());
    for part in [4, 3] {
        eventually_blocking("some of it came", || (stored(&lab) > size as u64 / part).then_some(()));
        proxy.cut();
    }
    eventually_blocking("half of it came", || (stored(&lab) > size as u64 / 2).then_some(()));
    lab.manager.kill();
    let (before, orphan) = (stored(&lab), PathBuf::from(lab.path("manager/uploads/orphan.part")));
    fs::write(&orphan, "of nobody").unwrap();
    start(&mut lab);
    eventually_blocking("what belongs to nobody goes", || (!orphan.exists()).then_some(()));
    assert!(stored(&lab) >= before, "what came before the kill was thrown away");
    proxy.set(Mode::Pass);
    let view = until(&lab, "recording", "completed");
    assert_eq!((&view["total"], &view["sent"]), (&size.into(), &size.into()), "{view}");
    eventually_blocking("the device's own is gone", || {
        (show(&lab, "recording")["purge"]["state"] == "done").then_some(())
    });
    assert!(!source.exists());

    // Found, fetched after a cut of its own, and bit-exact.
    let list = lab.user.run(&["files", "list", "--meta", "run=42", "--meta", "site=tokyo", "-o", "name"]).expect(0);
    assert_eq!(list.out, "recording\n");
    assert_eq!(lab.user.run(&["files", "list", "--meta", "run=43", "-o", "name"]).expect(0).out, "");
    let target = PathBuf::from(lab.path("here"));
    let sha256 = view["sha256"].as_str().unwrap();
    let part = PathBuf::from(lab.path(&format!(".robo-{}.part", sha256.get(..16).unwrap())));
    fs::write(&part, &content[..1_000_000]).unwrap();
    lab.user.run(&["files", "get", "recording", target.to_str().unwrap()]).expect(0);
    assert!(fs::read(&target).unwrap() == content && !part.exists());
    let url = lab.user.run(&["files", "get", "recording", "--url"]).expect(0).out;
    let lasting = format!("https://{}/v1/projects/default/uploads/recording/content\n", lab.address);
    assert_eq!(url, lasting);

    // The device goes; the file and its link stay, until they are taken back.
    lab.user.run(&["device", "remove", "one", "--yes"]).expect(0);
    let link = lab.user.run(&["files", "share", "recording", "--ttl", "1h", "-o", "json"]).expect(0).json();
    let fetch = |code: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "-o", "/dev/null", "-w", "%{http_code}"]).arg(link["url"].as_str().unwrap());
        let told = curl.output();
        // Not every machine has one.
        let Ok(told) = told else { return };
        assert_eq!(String::from_utf8_lossy(&told.stdout), code);
    };
    fetch("200");
    let id = link["id"].as_str().unwrap();
    assert!(lab.user.run(&["files", "shares", "recording"]).expect(0).out.contains(id));
    lab.user.run(&["files", "unshare", id]).expect(0);
    fetch("404");
    lab.user.run(&["files", "unshare", id]).expect(1);
    lab.user.run(&["files", "delete", "recording"]).expect(0);
    assert!(lab.user.run(&["files", "delete", "recording"]).expect(1).err.contains("not found"));
    assert_eq!(stored(&lab), 0);
    drop(machine);
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_changes_nothing() {
    let lab = Lab::with(&["--files-max", "1MiB"]);
    let _machine = Machine::start(&lab, "one", &lab.address.to_string());
    let (small, large) = (lab.path("small"), lab.path("large"));
    fs::write(&small, noise(100_000, 1)).unwrap();
    fs::write(&large, noise(2_000_000, 2)).unwrap();
    let on = |path: &str| format!("one:{path}");
    let put = |path: &str, more: &[&str]| lab.user.run(&[&["files", "put", path], more].concat());
    let fails = |path: &str, says: &str| {
        let run = put(path, &["--name", "bad", "--replace", "--wait"]).expect(3);
        assert!(run.err.contains(says), "{says}: {}", run.err);
        assert_eq!(show(&lab, "bad")["state"], "failed");
    };
    fails(&on("/none/there"), "there is no such file");
    fails(&on("/tmp"), "robo cp -r");
    fails(&on("/dev/null"), "is a device");
    fails(&on(&large), "--files-max");
    for (path, code, says) in [
        ("two:/x", 1, "two"),
        ("/x", 1, "DEVICE:PATH"),
        ("one:", 1, "robo cp -r"),
        ("one:/x/", 1, "robo cp -r"),
        ("one,two:/x", 1, "DEVICE:PATH"),
    ] {
        let run = put(path, &[]).expect(code);
        assert!(run.err.contains(says), "{says}: {}", run.err);
    }
    assert!(put(&on(&small), &["--name", "../x"]).code == 1);
    assert!(put(&on(&small), &["--meta", "x"]).code == 1);
    assert!(put(&on(&small), &["--limit", "10"]).expect(1).err.contains("at least 1024"));

    put(&on(&small), &["--wait"]).expect(0);
    assert!(put(&on(&small), &[]).expect(1).err.contains("--replace"));
    put(&on(&small), &["--replace", "--wait"]).expect(0);
    let name = "one-small";
    let refused = lab.user.run(&["files", "cancel", name]).expect(1);
    assert!(refused.err.contains("not in progress"), "{}", refused.err);
    assert!(lab.user.run(&["files", "share", name, "--ttl", "91d"]).expect(1).err.contains("90days"));

    // As slow as it is told to be; meanwhile it cannot be deleted, or put out of its place, but cancelled.
    put(&on(&small), &["--name", "slow", "--limit", "10K"]).expect(0);
    until(&lab, "slow", "in_progress");
    assert!(lab.user.run(&["files", "delete", "slow"]).expect(1).err.contains("in progress"));
    assert!(put(&on(&small), &["--name", "slow", "--replace"]).expect(1).err.contains("in_progress"));
    lab.user.run(&["files", "cancel", "slow"]).expect(0);
    let begin = Instant::now();
    put(&on(&small), &["--name", "slow", "--replace", "--limit", "40K", "--wait"]).expect(0);
    let taken = begin.elapsed().as_secs_f64();
    assert!(taken > 100_000.0 / 40_960.0 * 0.8, "100000 bytes at 40 KiB a second came in {taken} s");
    let table = lab.user.run(&["files", "list", "--sort", "size"]).expect(0).out;
    assert!(table.starts_with("FILE") && table.contains("completed") && table.contains("failed"), "{table}");
}

#[test]
fn a_device_queues_a_file_without_a_link() {
    let lab = Lab::new();
    let mut machine = Machine::start(&lab, "one", &lab.address.to_string());
    machine.agent.kill();
    let state = lab.path("one");
    let upload = |arguments: &[&str]| {
        let mut command = Command::new(robo_agent());
        command.args(["upload", "--state", &state]).args(arguments).output().unwrap()
    };
    let bag = lab.path("run.bag");
    assert!(!upload(&[&bag]).status.success(), "there is no such file yet");
    fs::write(&bag, noise(300_000, 5)).unwrap();
    assert!(!upload(&[&lab.path("")]).status.success(), "a folder is none");
    assert!(!upload(&[&bag, "--meta", "x"]).status.success());
    assert!(!upload(&[&bag, "--state", "/none/there"]).status.success());
    let done = upload(&[&bag, "--meta", "run=7"]);
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).starts_with("queued: "), "{done:?}");
    assert!(upload(&[&bag, "--name", "second"]).status.success());
    assert_eq!(fs::read_dir(lab.path("one/uploads")).unwrap().count(), 2);
    assert_eq!(lab.user.run(&["files", "list", "-o", "name"]).expect(0).out, "");

    machine.agent = again(&lab, "one", &lab.address.to_string());
    let view = until(&lab, "one-run.bag", "completed");
    assert_eq!((&view["by"], &view["meta"]["run"]), (&"device one".into(), &"7".into()), "{view}");
    until(&lab, "second", "completed");
    eventually_blocking("the queue is empty", || {
        (fs::read_dir(lab.path("one/uploads")).unwrap().count() == 0).then_some(())
    });
    let target = lab.path("here");
    lab.user.run(&["files", "get", "one-run.bag", &target]).expect(0);
    assert!(fs::read(&target).unwrap() == fs::read(&bag).unwrap());
    // And while it is linked.
    assert!(upload(&[&bag, "--name", "third"]).status.success());
    until(&lab, "third", "completed");
}
