//! Many devices as a user has them: lists, questions, names and labels.

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};

use super::Lab;

/// An agent of this name, which ends with its owner.
fn agent(lab: &Lab, name: &str) -> Running {
    let token = lab.token(name);
    let mut command = lab.user.command();
    command.args(["agent", "--manager", &lab.address.to_string(), "--state", &lab.path(name)]);
    command.args(["--address", "127.0.0.1", "--token-file", &token]).stderr(std::process::Stdio::null());
    Running::start(&mut command)
}

fn listed(lab: &Lab, question: &str) -> String {
    lab.user.run(&["device", "list", "-o", "name", "--where", question]).expect(0).out
}

#[test]
fn devices_are_listed_by_what_is_asked_and_watched_as_they_change() {
    let lab = Lab::new();
    let _one = agent(&lab, "one");
    eventually_blocking("it is online", || (listed(&lab, "state = online") == "one\n").then_some(()));
    assert_eq!(listed(&lab, "cores >= 1 and memory > 1MiB and not label.gpu"), "one\n");
    let nothing = lab.user.run(&["device", "list", "--where", "state = offline"]).expect(0);
    assert_eq!((nothing.out.as_str(), nothing.err.contains("Of no device")), ("", true));
    let unknown = lab.user.run(&["device", "list", "--where", "metric.battery > 20", "-o", "json"]).expect(0);
    assert!(unknown.err.contains("no device tells `metric.battery`") && unknown.out == "[]\n", "{unknown:?}");
    let wrong = lab.user.run(&["device", "list", "--where", "state = online cores"]).expect(1);
    assert!(wrong.err.contains("`and` or `or` is missing"), "{wrong:?}");
    assert!(wrong.err.contains("state = online cores\n                 ^^^^^\n"), "{wrong:?}");
    lab.user.run(&["device", "list", "-l", "a,,b"]).expect(1);

    let mut command = lab.user.command();
    let watching = Started::start(command.args(["device", "list", "--watch", "-l", "!hidden"]));
    let changes = || -> Vec<(String, String)> {
        let (out, _) = watching.so_far();
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let line = |line: &str| {
            let change: serde_json::Value = serde_json::from_str(line).unwrap();
            (change["change"].as_str().unwrap().to_owned(), change["device"]["name"].as_str().unwrap().to_owned())
        };
        whole.lines().map(line).collect()
    };
    let until = |what: &str, device: &str| {
        let is = |(change, name): &(String, String)| change == what && name == device;
        eventually_blocking("a change is shown", || changes().iter().any(is).then_some(()));
    };
    until("added", "one");
    let _two = agent(&lab, "two");
    until("added", "two");
    lab.user.run(&["device", "label", "one", "site=tokyo"]).expect(0);
    until("changed", "one");
    lab.user.run(&["device", "label", "one", "hidden="]).expect(0);
    until("removed", "one");
}

#[test]
fn devices_are_renamed_and_labelled_in_one_go() {
    let lab = Lab::new();
    let agents = [agent(&lab, "one"), agent(&lab, "two")];
    eventually_blocking("both are online", || (listed(&lab, "state = online") == "one\ntwo\n").then_some(()));
    let id = || lab.user.run(&["device", "inspect", "hall", "-o", "json"]).expect(0).json()["id"].clone();
    let before = lab.user.run(&["device", "inspect", "one", "-o", "json"]).expect(0).json()["id"].clone();
    assert!(lab.user.run(&["device", "rename", "one", "hall"]).expect(0).err.contains("one is called hall now"));
    assert_eq!(id(), before);
    assert_eq!(lab.user.run(&["exec", "hall", "--", "echo", "here"]).expect(0).out, "here\n", "by the same link");
    assert!(lab.user.run(&["device", "rename", "hall", "two"]).expect(1).err.contains("another device `two`"));
    assert!(lab.user.run(&["device", "rename", "one", "x"]).expect(1).err.contains("no device `one`"));
    lab.user.run(&["device", "rename", "hall", "a b"]).expect(1);

    let some = lab.user.run(&["device", "label", "hall", "two", "tow", "site=tokyo", "arm"]).expect(3);
    let lines: Vec<Vec<&str>> = some.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["hall", "changed", "arm", "site=tokyo"]);
    assert!(some.out.contains("no device `tow`; did you mean `two`?"), "{some:?}");
    let dry = lab.user.run(&["device", "label", "-l", "site=tokyo", "arm-", "--dry-run"]).expect(0);
    assert!(dry.out.contains("would change"), "{dry:?}");
    let all = lab.user.run(&["device", "label", "--all", "arm-", "-o", "json"]).expect(0).json();
    assert_eq!(all[0]["labels"], serde_json::json!({"site": "tokyo"}));
    assert!(lab.user.run(&["device", "label", "hall"]).expect(1).err.contains("no label is given"));
    assert!(lab.user.run(&["device", "label", "hall", "a=1", "a-"]).expect(1).err.contains("given twice"));
    drop(agents);
}
