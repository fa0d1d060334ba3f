//! `robo device switch` with the real programs: what is off lets nobody in, whatever is started anew, and what is under
//! way ends.

use std::net::{TcpListener, TcpStream};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started};
use serde_json::Value;

use super::Lab;
use super::faults::lab::Machine;

fn switch(lab: &Lab, words: &[&str]) -> Run {
    lab.user.run(&[&["device", "switch"], words].concat())
}

/// The part of the agent by that name, as `inspect` shows it.
fn part(lab: &Lab, device: &str, name: &str) -> Option<Value> {
    let shown = lab.user.run(&["device", "inspect", device, "-o", "json"]).expect(0).json();
    let parts = shown["health"]["report"]["parts"].as_array()?.clone();
    parts.into_iter().find(|part| part["name"] == name)
}

fn is_off(lab: &Lab, device: &str, name: &str) -> bool {
    part(lab, device, name).is_some_and(|part| part["off"] == "admin" && part["since"].as_u64() > Some(0))
}

#[test]
fn what_is_off_lets_nobody_in_until_it_is_on() {
    let lab = Lab::new();
    let mut machine = Machine::start(&lab, "one", &lab.address.to_string());
    let reason = "is switched off on this device: by admin, at 20";
    switch(&lab, &["exec=off", "copy=off", "logs=off", "collect=off", "one"]).expect(0);
    eventually_blocking("all is shown as off", || {
        ["commands", "copies", "logs", "collect"].iter().all(|name| is_off(&lab, "one", name)).then_some(())
    });
    for (words, code) in [
        (&["exec", "one", "--", "true"][..], 3),
        (&["exec", "one", "--background", "--", "true"], 0),
        (&["cp", "one:/etc/hostname", "here"], 3),
        (&["logs", "--agent", "one"], 1),
        (&["device", "collect", "one", "-O", "bundle"], 1),
    ] {
        let run = lab.user.run(words).expect(code);
        assert!(code == 0 || run.err.contains(reason), "{words:?}: {}", run.err);
    }
    let shown = lab.user.run(&["device", "inspect", "one"]).expect(0).out;
    assert!(shown.contains("exec, by admin since 20") && !shown.contains("shell, by"), "{shown}");

    // Whoever is started anew: nobody is let in.
    machine.agent.kill();
    machine.again(&lab, &[]);
    assert!(lab.user.run(&["exec", "one", "--", "true"]).expect(3).err.contains(reason));
    assert!(is_off(&lab, "one", "commands"));
    switch(&lab, &["exec=on", "--all"]).expect(0);
    eventually_blocking("commands run again", || {
        (lab.user.run(&["exec", "one", "--", "true"]).code == 0).then_some(())
    });
    assert!(!is_off(&lab, "one", "commands") && is_off(&lab, "one", "copies"));
    let run = switch(&lab, &["exec=off", "nobody", "one", "-o", "json"]).expect(3);
    assert_eq!(run.json().as_array().unwrap().len(), 2, "each has its result");
}

#[test]
fn what_is_under_way_ends_when_it_is_switched_off() {
    let lab = Lab::new();
    let _machine = Machine::start(&lab, "one", &lab.address.to_string());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = format!("{}:one:{}", free.port(), listener.local_addr().unwrap().port());
    let _forward = Running::start(lab.user.command().args(["forward", &spec]));
    let mut through = eventually_blocking("it listens", || TcpStream::connect(free).ok());
    let (mut there, _) = listener.accept().unwrap();
    let command = lab.user.start(&["exec", "one", "--", "sh", "-c", "echo begun; exec sleep 4711"]);
    eventually_blocking("it runs", || command.so_far().0.contains("begun").then_some(()));
    let job = lab.user.run(&["exec", "one", "-b", "--", "sleep", "4711"]).expect(0).out.trim().to_owned();
    let running =
        || lab.user.run(&["job", "show", &job, "-o", "json"]).expect(0).json()["runs"][0]["state"] == "running";
    eventually_blocking("the job runs", || running().then_some(()));

    switch(&lab, &["exec=off", "forward=off", "one"]).expect(0);
    let ended: Run = Started::wait(command).expect(3);
    assert!(ended.err.contains("`exec` is switched off on this device: by admin"), "{}", ended.err);
    let told = lab.user.run(&["job", "wait", &job]);
    assert_ne!(told.code, 0);
    let shown = lab.user.run(&["job", "show", &job, "-o", "json"]).expect(0).json();
    let outcome = &shown["runs"][0]["outcome"];
    assert!(outcome["verdict"] == "cancelled" && outcome["reason"].to_string().contains("switched off"), "{shown}");
    // Both ends of the connection are gone.
    use std::io::Read as _;
    for socket in [&mut there, &mut through] {
        let mut byte = [0];
        assert!(socket.read(&mut byte).map_or(true, |count| count == 0));
    }
}

#[test]
fn what_the_owner_forbids_nobody_switches_on() {
    let lab = Lab::new();
    let without = [("ROBO_WITHOUT".to_owned(), "exec,forward".to_owned())];
    let mut machine = Machine::start_with(&lab, "one", &lab.address.to_string(), &without);
    let refused = || lab.user.run(&["exec", "one", "--", "true"]).expect(3).err;
    assert!(refused().contains("the owner of this machine forbids `exec`"), "{}", refused());
    let run = switch(&lab, &["exec=on", "one"]).expect(3);
    assert!(run.out.contains("failed") && run.out.contains("owner forbids `exec`"), "{run:?}");
    let forbidden = part(&lab, "one", "commands").unwrap();
    assert_eq!(forbidden["off"], "the machine's owner");
    let shown = lab.user.run(&["device", "inspect", "one"]).expect(0).out;
    assert!(shown.lines().any(|line| line.starts_with("without") && line.ends_with("exec, forward")), "{shown}");
    machine.agent.kill();
    machine.again(&lab, &[]);
    lab.user.run(&["exec", "one", "--", "true"]).expect(0);
}
