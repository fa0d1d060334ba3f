//! How many devices a project may have, as people and machines meet it.

use std::fs;
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started, robo_agent};

use super::Lab;

#[test]
fn a_device_beyond_the_bound_is_told_why_and_comes_when_there_is_room() {
    let lab = Lab::new();
    let user = &lab.user;
    let run = |words: &[&str]| user.run(&[&["--project", "small"], words].concat());
    user.run(&["project", "add", "small", "--max-devices", "1"]).expect(0);
    let agent = |name: &str| {
        let (token, state) = (lab.path(&format!("{name}.token")), lab.path(name));
        if !fs::exists(&token).unwrap() {
            fs::write(&token, run(&["device", "enroll", name]).expect(0).out).unwrap();
        }
        let mut command = Command::new(robo_agent());
        command.args(["--manager", &lab.address.to_string(), "--state", &state, "--token-file", &token]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let online = |name: &str| {
        eventually_blocking("it is online", || {
            let device = run(&["device", "inspect", name, "-o", "json"]);
            (device.code == 0 && device.json()["online"] == true).then_some(())
        });
    };
    let _first = Running::start(agent("a").stderr(Stdio::null()));
    online("a");
    let told = Started::start(&mut agent("b")).wait().expect(1).err;
    assert!(told.contains("AGT_PROJECT_FULL") && told.contains("as many devices as it may have: 1"), "{told}");

    let told = user.run(&["project", "set", "small", "--max-devices", "2"]).expect(0).err;
    assert!(told.contains("may have 2 devices; it has 1"), "{told}");
    let _second = Running::start(agent("b").stderr(Stdio::null()));
    online("b");
    let list = user.run(&["project", "list"]).expect(0).out;
    assert!(list.lines().any(|line| line.contains("small") && line.contains("2 of 2")), "{list}");
    let told = user.run(&["project", "set", "small", "--max-devices", "1"]).expect(0).err;
    assert!(told.contains("it has 2, which stay"), "{told}");
    assert_eq!(run(&["device", "list", "-o", "name"]).expect(0).out.lines().count(), 2);
    let told = user.run(&["project", "set", "small", "--max-devices", "none"]).expect(0).err;
    assert!(told.contains("any number of devices"), "{told}");

    for (words, expect) in [
        (["project", "set", "small", "--max-devices", "many"], "write a number, or none"),
        (["project", "set", "other", "--max-devices", "1"], "no project `other`"),
        (["project", "add", "small", "--max-devices", "7"], "robo project set small"),
    ] {
        let told = user.run(&words).expect(1).err;
        assert!(told.contains(expect), "{words:?}: {told}");
    }
}
