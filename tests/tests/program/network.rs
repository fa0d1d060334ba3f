//! The link in hostile networks: behind two routers that hide a device, behind a proxy alone, with loss and cuts, and from
//! one network to another. With the real programs, in network namespaces.

mod everything;
mod world;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started};

use self::world::{Device, Namespaces, World};
use super::application;

/// Silence is noticed within seconds, so that the tests do not take minutes.
const QUICK: [&str; 2] = ["--heartbeat", "1s"];

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Job;
}
Job {
	installer: script;
}
instance of Machine {
	name: device;
	instance of Job {
		name: job;
	}
}
";

/// The world, a provider's router and the one at home, with a device at its end.
fn two_routers(rule_at_home: &str) -> Namespaces {
    let namespaces = Namespaces::new(&["world", "provider", "home", "device"]);
    namespaces.cable([("provider", "wan", "203.0.113.2/24"), ("world", "lan", "203.0.113.1/24")]);
    namespaces.cable([("home", "wan", "100.64.0.2/24"), ("provider", "lan", "100.64.0.1/24")]);
    namespaces.cable([("device", "wan", "192.168.1.2/24"), ("home", "lan", "192.168.1.1/24")]);
    for (machine, router) in [("home", "100.64.0.1"), ("device", "192.168.1.1")] {
        namespaces.ip(machine, &["route", "add", "default", "via", router]);
    }
    namespaces.ip("provider", &["route", "add", "default", "via", "203.0.113.1"]);
    namespaces.hide_behind("provider", "accept");
    namespaces.hide_behind("home", rule_at_home);
    namespaces
}

/// All that a device is for: commands, an application with recipe files, its output.
fn everything_works(world: &World) {
    let graph = application(world.user(), GRAPH, &[("Job/scripts/start.sh", "#!/bin/sh\necho it has begun\n")]);
    world.run(&["apply", "--yes", &graph]).expect(0);
    assert_eq!(world.run(&["exec", "device", "--", "echo", "hello"]).expect(0).out, "hello\n");
    eventually_blocking("its output", || {
        world.run(&["logs", "/device/job"]).expect(0).out.contains("it has begun").then_some(())
    });
}

fn until_linked_again(world: &World) {
    world.until_online(true);
    assert_eq!(world.run(&["exec", "device", "--", "echo", "again"]).expect(0).out, "again\n");
}

#[test]
fn a_device_behind_two_routers_with_port_443_only() {
    let namespaces = two_routers("tcp dport 443 accept");
    let world = World::start(namespaces, &QUICK);
    let device = world.device(&[]);
    everything_works(&world);
    one_connection_and_no_open_port(&world);

    let healthy = world.doctor(&[]).expect(0).json();
    assert_eq!(healthy["ok"], true, "{healthy:#}");
    assert!(healthy["checks"].as_array().unwrap().iter().all(|check| check["status"] == "ok"), "{healthy:#}");

    // A cut somewhere on the way: neither end sees a cable pulled.
    world.namespaces.ip("home", &["link", "set", "wan", "down"]);
    world.until_online(false);
    eventually_blocking("the agent notices", || device.log().contains("link down").then_some(()));
    world.namespaces.ip("home", &["link", "set", "wan", "up"]);
    world.namespaces.ip("home", &["route", "replace", "default", "via", "100.64.0.1"]);
    until_linked_again(&world);

    // One packet in twenty is lost, both ways.
    world.namespaces.lose_some("world", 5);
    world.namespaces.lose_some("device", 5);
    for _ in 0..5 {
        let long = world.run(&["exec", "device", "--", "head", "-c", "300000", "/dev/zero"]).expect(0).out;
        assert_eq!(long.len(), 300_000);
    }
}

/// Outbound only: the agent holds one connection and listens nowhere.
fn one_connection_and_no_open_port(world: &World) {
    let table = world.namespaces.command("device", "cat").args(["/proc/net/tcp", "/proc/net/tcp6"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let states: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    // As in the kernel's tcp_states.h: 1 is established, 0A listens.
    assert_eq!(states.iter().filter(|state| **state == "01").count(), 1, "{table}");
    assert!(!states.contains(&"0A"), "{table}");
}

#[test]
fn a_device_that_reaches_a_proxy_and_nothing_else() {
    let namespaces = two_routers("drop");
    let world = World::start(namespaces, &QUICK);
    let configuration = world.path("tinyproxy.conf");
    let lines =
        "Port 3128\nListen 192.168.1.1\nTimeout 600\nConnectPort 443\nBasicAuth robo open-sesame\nMaxClients 50\n";
    fs::write(&configuration, lines).unwrap();
    let mut command = world.namespaces.command("home", "tinyproxy");
    let proxy = command.args(["-d", "-c", &configuration]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut proxy = Running::start(proxy);

    let address = "http://robo:open%2Dsesame@192.168.1.1:3128";
    let device = world.device(&[("HTTPS_PROXY", address), ("NO_PROXY", "localhost,203.0.113.0/28:444")]);
    everything_works(&world);
    one_connection_and_no_open_port(&world);
    assert!(device.log().contains("203.0.113.1:443 through the proxy http://192.168.1.1:3128"), "{}", device.log());

    // People behind it go the same way.
    let status = |variables: &[(&str, &str)]| {
        Started::start(world.command_in("device").args(["device", "list"]).envs(variables.iter().copied())).wait()
    };
    status(&[("HTTPS_PROXY", address)]).expect(0);
    let refused = status(&[("https_proxy", "http://robo:wrong@192.168.1.1:3128")]).expect(4);
    assert!(refused.err.contains("through the proxy http://192.168.1.1:3128"), "{}", refused.err);
    assert!(!refused.err.contains("wrong"), "{}", refused.err);

    let variables = [("HTTPS_PROXY", address)];
    world.doctor(&variables).expect(0);
    let code = |run: Run| {
        let report = run.expect(1).json();
        let failed = report["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "failed");
        failed.map(|check| check["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(code(world.doctor(&[("HTTPS_PROXY", "socks5://192.168.1.1:3128")])), ["AGT_PROXY_SETTING"]);

    proxy.kill();
    assert_eq!(code(world.doctor(&variables)), ["AGT_PROXY"]);
    world.until_online(false);
    let told = "through the proxy http://192.168.1.1:3128: it cannot be reached";
    eventually_blocking("the agent says why", || device.log().contains(told).then_some(()));
    let proxy = Running::start(&mut command);
    until_linked_again(&world);
    assert!(!device.log().contains("sesame"), "a password in the log: {}", device.log());
    drop((proxy, device));
}

/// A robot that leaves one network for another: its old address is gone, and with it the way its link took.
#[test]
fn a_device_that_moves_to_another_network() {
    let namespaces = Namespaces::new(&["world", "device"]);
    namespaces.ip("world", &["address", "add", "203.0.113.1/32", "dev", "lo"]);
    namespaces.cable([("device", "hall", "10.1.0.2/24"), ("world", "first", "10.1.0.1/24")]);
    namespaces.cable([("device", "yard", "10.2.0.2/24"), ("world", "second", "10.2.0.1/24")]);
    namespaces.ip("device", &["route", "add", "default", "via", "10.1.0.1"]);
    // The usual heartbeat: silence is noticed after a minute.
    let world = World::start(namespaces, &[]);
    let device = world.device(&[]);
    assert_eq!(world.seen()["facts"]["address"], "10.1.0.2");

    // The address goes, and the way with it.
    let begun = Instant::now();
    world.namespaces.ip("device", &["address", "delete", "10.1.0.2/24", "dev", "hall"]);
    world.namespaces.ip("device", &["route", "add", "default", "via", "10.2.0.1"]);
    moved(&world, &device, "10.2.0.2", 1);
    let gone = begun.elapsed();

    // The old address is there, but another way is better.
    world.namespaces.ip("device", &["address", "add", "10.1.0.2/24", "dev", "hall"]);
    let begun = Instant::now();
    world.namespaces.ip("device", &["route", "replace", "default", "via", "10.1.0.1"]);
    moved(&world, &device, "10.1.0.2", 2);
    let better = begun.elapsed();
    println!("linked again {gone:?} after the address was gone, {better:?} after the route was another");
    let silence = Duration::from_secs(60);
    assert!(gone < silence / 2 && better < silence / 2, "{gone:?} {better:?}: only silence was noticed");
}

/// An address that comes and goes beside the one that the link leaves from: the manager knows it soon, by the same link.
#[test]
fn an_address_that_comes_is_told_on_the_same_link() {
    let namespaces = Namespaces::new(&["world", "device"]);
    namespaces.cable([("device", "hall", "10.1.0.2/24"), ("world", "first", "10.1.0.1/24")]);
    namespaces.cable([("device", "yard", "10.2.0.2/24"), ("world", "second", "10.2.0.1/24")]);
    namespaces.ip("world", &["address", "add", "203.0.113.1/32", "dev", "lo"]);
    namespaces.ip("device", &["route", "add", "default", "via", "10.1.0.1"]);
    let world = World::start(namespaces, &[]);
    let device = world.device(&[]);
    // An address of IPv6 comes by itself, when the machine has made sure that nobody else has it.
    let yard = || -> Option<Vec<String>> {
        let seen = world.seen();
        let interfaces = seen["facts"]["interfaces"].as_array().cloned().unwrap_or_default();
        let yard = interfaces.into_iter().find(|one| one["name"] == "yard")?;
        let all = yard["addresses"].as_array()?.iter().filter_map(|address| address.as_str());
        Some(all.filter(|address| !address.contains(':')).map(str::to_owned).collect())
    };
    let is = |expect: &[&str]| yard().is_some_and(|addresses| addresses == expect);
    assert!(is(&["10.2.0.2"]), "{:#}", world.seen());
    world.namespaces.ip("device", &["address", "add", "10.2.0.9/24", "dev", "yard"]);
    eventually_blocking("the new address is known", || is(&["10.2.0.2", "10.2.0.9"]).then_some(()));
    world.namespaces.ip("device", &["address", "delete", "10.2.0.9/24", "dev", "yard"]);
    eventually_blocking("the old one is gone", || is(&["10.2.0.2"]).then_some(()));
    assert_eq!(device.log().matches("link up").count(), 1, "{}", device.log());
    let shown = world.run(&["device", "inspect", "device"]).expect(0).out;
    assert!(shown.contains("interface     yard  10.2.0.2"), "{shown}");
}

fn moved(world: &World, device: &Device, to: &str, times: usize) {
    let told = format!("leaves from {to} now");
    eventually_blocking("the agent notices", || device.log().contains(&told).then_some(()));
    eventually_blocking("it is linked again", || (device.log().matches("link up").count() > times).then_some(()));
    until_linked_again(world);
}
