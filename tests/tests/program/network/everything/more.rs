//! What people who look after devices do beside commands, terminals and copies: logs, bundles, lists, names, jobs that are
//! looked for, applications by hand, users and groups, tokens, projects.

use std::fs;

use robo_tests::eventually_blocking;
use robo_tests::programs::Started;
use serde_json::Value;

use super::{Bare, GRAPH, World};
use crate::program::application;

/// A journal with one line, for whoever asks for the unit that is there.
pub(super) const JOURNALCTL: &str = "#!/bin/sh\ncase \"$*\" in *--unit=there*) echo \
    '{\"__CURSOR\":\"c=1\",\"__REALTIME_TIMESTAMP\":\"1700000000000000\",\"MESSAGE\":\"accepted a key\"}' ;; esac\n";

pub(super) fn json(world: &World, arguments: &[&str]) -> Value {
    world.run(&[arguments, &["-o", "json"]].concat()).expect(0).json()
}

/// The agent's log, a unit of the machine's journal, and all that helps in one archive.
pub(super) fn logs_and_bundles(world: &World) {
    assert!(world.run(&["logs", "--agent", "device", "-n", "1000"]).expect(0).out.contains("link up"));
    assert_eq!(world.run(&["logs", "--agent", "device", "--since", "1h", "--grep", "no such line"]).expect(0).out, "");
    assert_eq!(world.run(&["logs", "--unit", "there", "--on", "device"]).expect(0).out, "accepted a key\n");
    assert!(world.run(&["logs", "/device/job", "-t"]).expect(0).out.starts_with("20"));
    let bundle = world.path("bundle.tar.gz");
    world.run(&["device", "collect", "device", "-O", &bundle]).expect(0);
    assert_eq!(fs::read(&bundle).unwrap().get(..2), Some(&[0x1f, 0x8b][..]), "it is packed");
}

/// Records, questions, names, labels; and how the device says it is.
pub(super) fn records(world: &World) {
    let listed = |arguments: &[&str]| {
        world.run(&[&["device", "list", "-o", "name"], arguments].concat()).expect(0).out.trim().to_owned()
    };
    assert_eq!(listed(&["-l", "site=lab,arm"]), "device");
    assert_eq!(listed(&["--where", "state = online and label.site = lab and cores >= 1"]), "device");
    assert_eq!(listed(&["--where", "state = offline"]), "");
    let mut watch = world.command_in("world");
    let watch = Started::start(watch.args(["device", "list", "--watch"]));
    eventually_blocking("it is watched", || watch.so_far().0.contains("added").then_some(()));
    world.run(&["device", "label", "-l", "site=lab", "arm-", "hall=3"]).expect(0);
    eventually_blocking("the change is seen", || watch.so_far().0.contains("changed").then_some(()));
    drop(watch);
    let record = json(world, &["device", "inspect", "device"]);
    assert_eq!(record["labels"], serde_json::json!({"hall": "3", "site": "lab"}));
    assert_eq!(record["health"]["live"], true, "{record:#}");
    assert!(world.run(&["device", "inspect", "device"]).expect(0).out.contains("link"), "the parts of its agent");
    assert_eq!(json(world, &["device", "list", "--installing"]), serde_json::json!([]));
}

/// Jobs that are looked for, and one that is ended; commands as somebody else, somewhere else.
pub(super) fn jobs(world: &World) {
    let long = world.run(&["exec", "--background", "device", "--", "sleep", "600"]).expect(0).out.trim().to_owned();
    let going = || json(world, &["job", "list", "--state", "going", "--on", "device", "--since", "1h"]);
    assert_eq!(going().as_array().unwrap().len(), 1);
    assert_eq!(json(world, &["job", "list", "-l", "site=lab", "-n", "1"])[0]["id"], *long);
    world.run(&["job", "cancel", &long]).expect(0);
    eventually_blocking("it has ended", || going().as_array().unwrap().is_empty().then_some(()));
    assert_eq!(json(world, &["job", "show", &long])["runs"][0]["device"], "device");
    assert_eq!(world.run(&["exec", "--user", "nobody", "device", "--", "id", "-un"]).expect(0).out, "nobody\n");
    let somewhere = ["exec", "--cwd", "/usr", "--env", "WORD=said", "--shell", "device", "--", "echo $WORD $PWD"];
    assert_eq!(world.run(&somewhere).expect(0).out, "said /usr\n");
    let many = ["exec", "--all", "--concurrency", "1", "--fail-fast", "--", "false"];
    world.run(&many).expect(3);
    assert!(world.run(&["exec", "--all", "--group", "--", "echo", "same"]).expect(0).out.contains("same"));
}

/// What stands on the device, by hand: stopped and started, another revision and back.
pub(super) fn operations(world: &World) {
    world.run(&["stop", "/device/job"]).expect(0);
    world.run(&["status", "--check"]).expect(0);
    world.run(&["start", "/device/job"]).expect(0);
    world.run(&["retry", "/device/job"]).expect(0);
    world.run(&["cancel", "/device/job"]).expect(0);
    let graph = application(world.user(), GRAPH, &[("Job/scripts/start.sh", "#!/bin/sh\necho another one\n")]);
    let plan = world.path("plan.json");
    world.run(&["plan", &graph, "--out", &plan]).expect(2);
    world.run(&["apply", "--yes", &plan]).expect(0);
    assert_eq!(world.run(&["history", "-o", "name"]).expect(0).out, "2\n1\n");
    assert!(world.run(&["diff", "1", "2"]).expect(0).out.contains("another one"));
    world.run(&["rollback", "--yes"]).expect(0);
    world.run(&["status", "--check"]).expect(0);
}

/// Users, their groups and tokens, and what they may; the log of all that.
pub(super) fn users(world: &World) {
    world.run(&["user", "add", "eve"]).expect(0);
    world.run(&["group", "create", "ops"]).expect(0);
    world.run(&["group", "add", "ops", "eve"]).expect(0);
    world.run(&["user", "grant", "ops", "operator", "-l", "site=lab"]).expect(0);
    let token = world.run(&["user", "token", "add", "eve"]).expect(0).out;
    let file = world.path("eve.token");
    fs::write(&file, &token).unwrap();
    let (url, ca) = ("https://203.0.113.1:443", world.path("manager/ca.pem"));
    world.run(&["context", "add", "eve", "--url", url, "--ca", &ca, "--token-file", &file]).expect(0);
    let as_eve = |arguments: &[&str]| world.run(&[&["--context", "eve"], arguments].concat());
    assert_eq!(as_eve(&["auth", "whoami", "-o", "name"]).expect(0).out, "eve\n");
    as_eve(&["exec", "device", "--", "true"]).expect(0);
    as_eve(&["auth", "can-i", "manage-devices", "device", "--why"]).expect(3);
    as_eve(&["device", "revoke", "device", "--yes", "--reason", "spite"]).expect(1);
    world.run(&["group", "remove", "ops", "eve"]).expect(0);
    as_eve(&["exec", "device", "--", "true"]).expect(1);
    let lines = ["audit", "list", "--who", "eve", "--thing", "device", "--since", "1h", "-o", "json"];
    let lines = world.run(&lines).expect(0).out;
    let outcomes: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&outcomes[0]["outcome"], &outcomes[1]["outcome"]), (&"allowed".into(), &"refused".into()), "{lines}");
    let all = world.path("users.yaml");
    fs::write(&all, "users:\n- {name: pipeline, kind: machine}\n").unwrap();
    world.run(&["user", "apply", &all, "--yes"]).expect(0);
    world.run(&["context", "use", "lab"]).expect(0);
}

/// Tokens that are made and taken back, a second agent that waits to be let in, another project.
pub(super) fn comings_and_goings(world: &World, machine: &Bare<'_>) {
    world.run(&["device", "enroll", "never"]).expect(0);
    let tokens = json(world, &["device", "token", "list"]);
    let never = tokens.as_array().unwrap().iter().find(|token| token["name"] == "never").unwrap();
    world.run(&["device", "token", "revoke", never["id"].as_str().unwrap()]).expect(0);

    let token = world.path("second.token");
    fs::write(&token, world.run(&["device", "enroll", "second", "--approve"]).expect(0).out).unwrap();
    let program = machine.home(".local/bin/robo-agent");
    let state = machine.home("second");
    let (program, state) = (program.to_str().unwrap(), state.to_str().unwrap());
    let mut second =
        machine.command(&[program, "--manager", "203.0.113.1:443", "--state", state, "--token-file", &token]);
    let second = Started::start(&mut second);
    let is = |state: &str| {
        let devices = json(world, &["device", "list"]);
        devices.as_array().unwrap().iter().any(|device| device["name"] == "second" && device["state"] == state)
    };
    eventually_blocking("it waits to be let in", || is("pending").then_some(()));
    world.run(&["device", "accept", "second"]).expect(0);
    eventually_blocking("it is let in", || is("online").then_some(()));
    world.run(&["device", "rename", "second", "other"]).expect(0);
    assert_eq!(world.run(&["exec", "other", "--", "echo", "here"]).expect(0).out, "here\n");
    world.run(&["project", "add", "attic"]).expect(0);
    world.run(&["device", "move", "other", "attic"]).expect(0);
    eventually_blocking("it is there", || {
        let run = world.run(&["--project", "attic", "exec", "other", "--", "echo", "here"]);
        (run.out == "here\n").then_some(())
    });
    world.run(&["--project", "attic", "device", "remove", "other", "--yes"]).expect(0);
    eventually_blocking("it hears that it is gone", || second.so_far().1.contains("removed").then_some(()));
}
