//! Devices that freeze, links that are cut, slow or half-open, clocks that jump: with the real programs.

pub(super) mod lab;
mod net;

use std::fs;

use robo_tests::eventually_blocking;
use robo_tests::programs::User;
use robo_tests::proxy::{Mode, Proxy};
use rustix::process::Signal;
use serde_json::Value;

use self::lab::{Clock, Machine};
use self::net::Namespace;
use super::{Lab, application, events, find, instance, is_as_wished, last_event, pid, signal, state, until_as_wished};

/// `Taker` cannot do without `Giver`, which is on another machine.
const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Giver, Taker;
}
Giver {
	installer: process;
	exports: ip, port = 1;
	run: sleep 1000;
	restart: always;
	lease: 3s;
}
Taker {
	installer: process;
	imports: Giver.ip, Giver.port;
	run: sleep 1000;
	restart: always;
}
instance of Machine {
	name: a;
	instance of Giver {
		name: giver;
	}
}
instance of Machine {
	name: b;
	instance of Taker {
		name: taker;
	}
}
";

const GIVER: &str = "/a/giver";
const TAKER: &str = "/b/taker";

/// Silence is noticed within seconds, so that the tests do not take minutes.
const QUICK: [&str; 4] = ["--heartbeat", "1s", "--silent-after", "4s"];

#[test]
fn a_frozen_device_is_a_problem_and_comes_back_as_it_was() {
    let lab = Lab::with(&QUICK);
    let (a, b) =
        (Machine::start(&lab, "a", &lab.address.to_string()), Machine::start(&lab, "b", &lab.address.to_string()));
    let graph = application(&lab.user, GRAPH, &[]);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let before = pids(&lab.user);
    let event = last_event(&lab.user);

    a.agent.signal(Signal::STOP);
    eventually_blocking("the machine is a problem", || (state(&lab.user, "/a") == "PROBLEM").then_some(()));
    eventually_blocking("who needs it has stopped", || (state(&lab.user, TAKER) == "UNRESOLVED").then_some(()));
    assert_eq!(instance(&lab.user, GIVER)["lapsed"], true);
    assert!(happened(&lab.user, event, "lease-ended", GIVER));
    assert!(!is_as_wished(&lab.user));
    let shown = lab.user.run(&["status"]).expect(0).out;
    assert!(shown.contains("PROBLEM") && shown.contains("exports withdrawn"), "{shown}");

    a.agent.signal(Signal::CONT);
    until_as_wished(&lab.user);
    let after = pids(&lab.user);
    assert_eq!(after.0, before.0, "what ran on the frozen machine was restarted");
    assert_ne!(after.1, before.1, "it had to stop, and starts anew");
    assert_eq!(state(&lab.user, "/a"), "DEPLOYED_STARTED");
    drop((a, b));
}

#[test]
fn a_frozen_manager_changes_nothing_on_the_machines() {
    let lab = Lab::with(&QUICK);
    let (a, b) =
        (Machine::start(&lab, "a", &lab.address.to_string()), Machine::start(&lab, "b", &lab.address.to_string()));
    let graph = application(&lab.user, GRAPH, &[]);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let (before, event) = (pids(&lab.user), last_event(&lab.user));
    lab.manager.signal(Signal::STOP);
    for machine in [&a, &b] {
        eventually_blocking("the agent notices", || machine.log().contains("link down").then_some(()));
    }
    lab.manager.signal(Signal::CONT);
    until_as_wished(&lab.user);
    assert_eq!(pids(&lab.user), before);
    let moved: Vec<Value> =
        events(&lab.user, event).into_iter().filter(|e| e["kind"] == "state" && e["path"] == TAKER).collect();
    assert_eq!(moved, [Value::Null; 0], "it stopped or started although nothing happened to it");
    drop((a, b));
}

#[test]
fn links_that_are_cut_slow_and_half_open() {
    let lab = Lab::with(&QUICK);
    let proxy = Proxy::start(lab.address);
    let address = proxy.address.to_string();
    let (a, b) = (Machine::start(&lab, "a", &lab.address.to_string()), Machine::start(&lab, "b", &address));
    let graph = application(&lab.user, GRAPH, &[]);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let before = pids(&lab.user);

    // Half open: bytes are taken and go nowhere. Meanwhile what it imports changes; it goes on with what it knows.
    let event = last_event(&lab.user);
    proxy.set(Mode::Stall);
    eventually_blocking("the device is offline", || device_is(&lab.user, "b", false).then_some(()));
    application(&lab.user, &GRAPH.replace("port = 1", "port = 2"), &[]);
    lab.user.run(&["apply", "--yes", "--no-wait", &graph]).expect(0);
    eventually_blocking("the provider has its new port", || {
        let report = instance(&lab.user, GIVER)["report"].clone();
        (report["exports"]["Giver.port"] == "2").then_some(())
    });
    assert!(fs::exists(format!("/proc/{}", before.1)).unwrap(), "it stopped because its link was down");
    proxy.set(Mode::Pass);
    until_as_wished(&lab.user);
    eventually_blocking("it is told", || happened(&lab.user, event, "updated", TAKER).then_some(()));
    assert_eq!(pids(&lab.user).1, before.1, "a reconnect restarted it");

    // Slow, and cut again and again, in the middle of whatever is said.
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..10 {
        proxy.set(if random.bool() { Mode::Slow(random.u64(1..120)) } else { Mode::Pass });
        let port = format!("port = {}", round + 3);
        application(&lab.user, &GRAPH.replace("port = 1", &port), &[]);
        lab.user.run(&["apply", "--yes", "--no-wait", &graph]).expect(0);
        // Not a wait for anything: the random moment is what is tried.
        std::thread::sleep(std::time::Duration::from_millis(random.u64(..700)));
        proxy.cut();
    }
    proxy.set(Mode::Pass);
    until_as_wished(&lab.user);
    assert_eq!(instance(&lab.user, GIVER)["report"]["exports"]["Giver.port"], "12", "the last one counts");
    drop((a, b));
}

#[test]
fn a_machine_whose_network_goes_down() {
    let lab = Lab::with(&[&QUICK[..], &["--listen", "0.0.0.0:0"]].concat());
    let Some(namespace) = Namespace::new() else {
        return println!("network namespaces are not permitted here");
    };
    let manager = format!("{}:{}", namespace.host, lab.address.port());
    let a = Machine::start(&lab, "a", &lab.address.to_string());
    let b = Machine::start_in(&lab, "b", &manager, &namespace);
    let graph = application(&lab.user, GRAPH, &[]);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let before = pids(&lab.user);
    for _ in 0..2 {
        namespace.link("down");
        eventually_blocking("the device is offline", || device_is(&lab.user, "b", false).then_some(()));
        namespace.link("up");
        until_as_wished(&lab.user);
        assert_eq!(pids(&lab.user), before, "a reconnect restarted something");
    }
    drop((a, b));
}

#[test]
fn clocks_that_jump() {
    let Some(clocks) = Clock::pair() else {
        panic!("libfaketime is not installed; .ci/run brings it");
    };
    let [of_manager, of_agent] = clocks;
    let lab = Lab::with_environment(&QUICK, &of_manager.environment());
    let a = Machine::start(&lab, "a", &lab.address.to_string());
    let b = Machine::start_under(&lab, "b", &lab.address.to_string(), &of_agent);
    let graph = application(&lab.user, GRAPH, &[]);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    let event = last_event(&lab.user);
    for offset in ["+2d", "-3d", "+30d", "+0"] {
        of_manager.set(offset);
        crash_and_come_back(&lab.user);
        of_agent.set(offset);
        crash_and_come_back(&lab.user);
    }
    let gone: Vec<Value> =
        events(&lab.user, event).into_iter().filter(|e| e["kind"] == "offline" || e["kind"] == "lease-ended").collect();
    assert_eq!(gone, [Value::Null; 0], "a clock that was set ended a link or a lease");
    drop((a, b));
}

/// A process that dies is started again in time, whatever the clock says.
fn crash_and_come_back(user: &User) {
    let before = pids(user).1;
    signal(before, Signal::KILL);
    eventually_blocking("it runs again", || {
        let status = user.run(&["status", "-o", "json"]).expect(0).json();
        let report = find(&status, TAKER)["report"].clone();
        (report["state"] == "DEPLOYED_STARTED" && report["pid"].as_u64().is_some_and(|pid| pid != u64::from(before)))
            .then_some(())
    });
}

fn pids(user: &User) -> (u32, u32) {
    let status = user.run(&["status", "-o", "json"]).expect(0).json();
    (pid(&find(&status, GIVER)), pid(&find(&status, TAKER)))
}

fn happened(user: &User, after: u64, kind: &str, path: &str) -> bool {
    events(user, after).iter().any(|event| event["kind"] == kind && event["path"] == path)
}

fn device_is(user: &User, name: &str, online: bool) -> bool {
    let devices = user.run(&["device", "list", "-o", "json"]).expect(0).json();
    devices.as_array().unwrap().iter().any(|device| device["name"] == name && device["online"] == online)
}
