//! Managers that are not there, not the right ones, or in each other's way; agents that may not come in.

use std::fs;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};

use super::{Lab, application};

#[test]
fn a_manager_that_is_down() {
    let mut lab = Lab::new();
    lab.user.run(&["status"]).expect(0);
    lab.manager.kill();
    let told = lab.user.run(&["status"]).expect(4);
    assert_eq!(told.out, "");
    for part in [&lab.address.to_string(), "lab", "→"] {
        assert!(told.err.contains(part), "`{part}` is not in:\n{}", told.err);
    }
    let graph = application(&lab.user, ONE, &[]);
    for arguments in [&["device", "list"][..], &["apply", "--yes", &graph], &["exec", "--all", "--", "true"]] {
        lab.user.run(arguments).expect(4);
    }
}

#[test]
fn another_ca() {
    let (lab, other) = (Lab::new(), Lab::new());
    lab.add_context("wrong", &other.user.folder.path().join("manager/ca.pem"));
    let told = lab.user.run(&["status", "--context", "wrong"]);
    assert!([1, 4].contains(&told.code), "{told:?}");
    assert!(told.err.contains("CA") && told.err.contains("→"), "{}", told.err);
    lab.user.run(&["status"]).expect(0);

    let file = lab.path("nothing.pem");
    fs::write(&file, "no certificate").unwrap();
    let url = format!("https://{}", lab.address);
    let add = ["context", "add", "bad", "--url", &url, "--ca", &file, "--token-file", &file];
    assert!(lab.user.run(&add).expect(1).err.contains("no certificate"));
}

#[test]
fn a_port_and_a_folder_in_use() {
    let lab = Lab::new();
    let taken = lab.address;
    let told = lab.user.run(&["manager", "--listen", &taken.to_string(), "--data", &lab.path("second")]).expect(1);
    assert!(told.err.contains(&taken.port().to_string()) && told.err.contains("in use"), "{}", told.err);
    let told = lab.user.run(&["manager", "--listen", "127.0.0.1:0", "--data", &lab.path("manager")]).expect(1);
    assert!(told.err.contains(&lab.path("manager")), "{}", told.err);
    lab.user.run(&["status"]).expect(0);
}

#[test]
fn agents_that_may_not_come_in() {
    let lab = Lab::new();
    let address = lab.address.to_string();
    let agent = |state: &str, token: Option<&str>| {
        let mut command = lab.user.command();
        command.args(["agent", "--manager", &address, "--state", &lab.path(state), "--address", "127.0.0.1"]);
        command.args(token.iter().flat_map(|token| ["--token-file", token]));
        command
    };
    let refused = |state: &str, token: Option<&str>, part: &str| {
        let told = Started::start(&mut agent(state, token)).wait().expect(1);
        assert!(told.err.contains(part), "`{part}` is not in:\n{}", told.err);
    };
    refused("none", None, "token");

    let token = lab.token("one");
    let _one = Running::start(agent("one", Some(&token)).stderr(std::process::Stdio::null()));
    eventually_blocking("the device is online", || {
        let devices = lab.user.run(&["device", "list", "-o", "json"]).expect(0).json();
        (devices[0]["online"] == true).then_some(())
    });
    refused("reused", Some(&token), "used");
    refused("one", None, "another agent");

    let garbage = lab.path("garbage.token");
    for text in ["", "garbage", &"x".repeat(100_000)] {
        fs::write(&garbage, text).unwrap();
        refused("garbage", Some(&garbage), "token");
    }
    let other = Lab::new();
    refused("foreign", Some(&other.token("one")), "");
    let devices = lab.user.run(&["device", "list", "-o", "name"]).expect(0);
    assert_eq!(devices.out, "one\n");
}

#[test]
fn a_device_that_is_not_there() {
    let lab = Lab::new();
    let graph = application(&lab.user, ONE, &[]);
    for command in [&["plan", &graph][..], &["apply", "--yes", &graph]] {
        let told = lab.user.run(command).expect(1);
        assert!(told.err.contains("lonely"), "{}", told.err);
    }
    assert!(lab.user.run(&["device", "inspect", "lonely"]).expect(1).err.contains("lonely"));
    let told = lab.user.run(&["exec", "lonely", "--", "true"]).expect(3);
    assert!(told.err.contains("lonely"), "{}", told.err);
    let status = lab.user.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["applications"].as_array().unwrap().len(), 0);
}

const ONE: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
}
instance of Machine {
	name: lonely;
}
";
