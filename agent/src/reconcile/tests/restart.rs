//! An agent that comes back, to what it left or to a part of it.

use robo_model::graph::{AddressKind, Check, ExportValue, Probe};
use robo_model::quantity::Millis;
use robo_model::state::{InstanceState, Step, Wanted};
use robo_wire::event::EventBody;

use super::super::sim::{failed, key, provider, spec};
use super::{Effect, Input, VM, WEB, edit, web, world};
use crate::ledger::Hold;
use crate::order::{Addresses, Outcome};

fn two(main: &str, other: &str) -> Addresses {
    Addresses { main: main.to_owned(), all: vec![main.to_owned(), other.to_owned()] }
}

#[test]
fn a_start_without_a_network_moves_nothing() {
    let mut world = web("run --listen $(ip)", &[]);
    world.run();
    world.ordered();
    let check = |world: &mut super::World, expect: &[&str]| {
        world.run();
        assert_eq!(world.ordered(), expect);
        assert_eq!(world.report(WEB).exports[&"Web.ip".parse().unwrap()], world.core.addresses().main);
    };
    world.found = Addresses::only("172.17.0.1");
    world.crash();
    check(&mut world, &["watch /vm/web"]);
    world.input(Input::Addresses(Addresses::only("10.0.0.1")));
    check(&mut world, &[]);
    world.input(Input::Addresses(Addresses::only("10.0.0.9")));
    check(&mut world, &["stop /vm/web", "start /vm/web"]);
    world.crash();
    check(&mut world, &["watch /vm/web"]);
    assert_eq!(world.core.addresses().main, "10.0.0.9");
}

#[test]
fn a_ledger_without_addresses_has_them_from_what_was_told() {
    let mut world = web("run --listen $(ip)", &[]);
    world.run();
    let mut ledger = world.core.ledger().clone();
    ledger.state.addresses = Addresses::default();
    let (core, effects) = super::super::Core::new(ledger, Addresses::only("172.17.0.1"), world.now);
    assert_eq!(core.addresses(), &two("10.0.0.1", "172.17.0.1"));
    assert!(matches!(&effects[..], [Effect::Watch(_)]), "{effects:?}");
}

#[test]
fn a_value_that_cannot_be_made_any_more_stops_nothing() {
    let mut world = web("run --six $(ip6)", &["Db?"]);
    world.input(Input::Addresses(two("10.0.0.1", "fd00::1")));
    for path in [VM, WEB] {
        edit(&mut world, path, |s| {
            let name = format!("{}.ip6", s.component).parse().unwrap();
            s.exports.insert(name, ExportValue::Addresses(AddressKind::V6));
        });
    }
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    world.ordered();
    world.input(Input::Addresses(Addresses::only("10.0.0.1")));
    world.run_long();
    for (path, name) in [(VM, "Vm.ip6"), (WEB, "Web.ip6")] {
        let report = world.report(path);
        assert_eq!(
            (report.state, report.exports[&name.parse().unwrap()].as_str()),
            (InstanceState::DeployedStarted, "fd00::1")
        );
        let reason = format!("the export `{name}` needs an IPv6 address, and this device has none");
        assert_eq!(report.failure.unwrap().reason, reason);
    }
    let failures = |world: &mut super::World| {
        world.tell();
        world.manager.events.iter().filter(|event| matches!(event.body, EventBody::Failed { .. })).count()
    };
    let told = failures(&mut world);
    world.provide(provider("/b/db", "Db", "1"));
    world.run();
    assert_eq!(world.ordered(), ["context /vm/web", "update /vm/web"], "what can be told is");
    assert_eq!(failures(&mut world), told, "once");
    world.input(Input::Addresses(two("10.0.0.1", "fd00::1")));
    world.run();
    assert_eq!(world.ordered(), [""; 0]);
    assert_eq!((world.report(VM).failure, world.report(WEB).failure), (None, None));
}

#[test]
fn a_value_of_others_that_is_gone_stops_nothing() {
    let mut world = web("run --cache $(Cache.ip)", &["Cache?"]);
    world.provide(provider("/b/cache", "Cache", "1"));
    world.run();
    world.ordered();
    world.withdraw("/b/cache");
    world.run_long();
    assert_eq!((world.state(WEB), world.ordered()), (InstanceState::DeployedStarted, Vec::new()));
    assert_eq!(world.report(WEB).failure.unwrap().reason, "nothing gives `$(Cache.ip)` in `run` a value");
    world.provide(provider("/b/cache", "Cache", "1"));
    world.run();
    assert_eq!((world.report(WEB).failure, world.ordered()), (None, Vec::new()), "it is as it was");
    world.provide(provider("/b/cache", "Cache", "2"));
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "start /vm/web"]);
}

#[test]
fn an_assignment_without_its_state_is_taken_up() {
    let mut world = web("run", &[]);
    world.run();
    world.tell();
    world.kill(&key(WEB), Some(0));
    edit(&mut world, WEB, |s| {
        let robo_model::graph::Installer::Process(process) = &mut s.installer else { unreachable!() };
        process.restart = robo_model::graph::RestartPolicy::Never;
    });
    world.run();
    world.kill(&key(WEB), Some(3));
    world.run_long();
    assert_eq!(world.core.ledger().state.records[&key(WEB)].hold, Hold::Ended);
    world.ordered();
    let mut specs = world.specs.clone();
    specs[1].settings.start_timeout = Some(Millis(5));
    world.crash();
    world.run();
    assert_eq!(world.ordered(), [""; 0], "held as before");
    world.lose_state(specs);
    world.run();
    assert_eq!((world.state(WEB), world.ordered()), (InstanceState::DeployedStarted, vec!["start /vm/web".to_owned()]));
    world.tell();
    let assigned: Vec<u64> = world
        .manager
        .events
        .iter()
        .filter_map(|event| if let EventBody::Assigned { generation } = event.body { Some(generation.0) } else { None })
        .collect();
    assert_eq!(assigned, [1, 2, 3]);
    world.crash();
    world.tell();
    assert_eq!(world.core.ledger().state.generation, Some(robo_model::spec::Generation(3)));
}

#[test]
fn records_know_what_is_wished() {
    let mut world =
        world(vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", "run", &[]), spec("/vm/b", "B", "run", &[])]);
    world.run();
    let wanted = |world: &super::World, path: &str| world.core.ledger().state.records[&key(path)].spec.wanted;
    world.wish(WEB, Wanted::Stopped);
    world.run();
    assert_eq!(wanted(&world, WEB), Wanted::Stopped);
    world.wish(WEB, Wanted::Started);
    assert_eq!(wanted(&world, WEB), Wanted::Started);
    world.specs.truncate(2);
    world.assign();
    assert_eq!(wanted(&world, "/vm/b"), Wanted::NotDeployed);
    let mut specs = world.specs.clone();
    specs[1].wanted = Wanted::Stopped;
    world.lose_state(specs);
    assert_eq!(wanted(&world, WEB), Wanted::Stopped);
}

#[test]
fn a_check_that_is_gone_is_not_gone_on_with() {
    for installer in ["run", "script"] {
        let mut world = web(installer, &[]);
        edit(&mut world, WEB, |s| {
            let probe = Probe::Tcp { port: "80".into() };
            s.settings.check = Some(Check { probe, every: Millis(1), timeout: Millis(1) });
        });
        world.run();
        world.health(WEB, false);
        world.ordered();
        edit(&mut world, WEB, |s| s.settings.check = None);
        world.run();
        assert_eq!(world.ordered(), ["watch /vm/web"], "{installer}");
        assert!(world.report(WEB).healthy);
        world.crash();
        world.run();
        assert_eq!(world.ordered().len(), usize::from(installer == "run"), "there is nothing to look after");
    }
}

#[test]
fn what_an_undeploy_left_half_is_deployed_before_it_starts() {
    let mut world = web("script", &[]);
    world.run();
    world.wish(WEB, Wanted::NotDeployed);
    world.finish(&key(WEB), Outcome::Done);
    world.deliver();
    assert_eq!(world.running[&key(WEB)].step, Step::Undeploy);
    world.finish(&key(WEB), failed("busy"));
    world.deliver();
    world.crash();
    world.ordered();
    world.wish(WEB, Wanted::Started);
    world.run();
    assert_eq!(world.ordered(), ["deploy /vm/web", "start /vm/web"]);
    world.wish(WEB, Wanted::Stopped);
    world.wish(WEB, Wanted::Started);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "start /vm/web"], "once");
}
