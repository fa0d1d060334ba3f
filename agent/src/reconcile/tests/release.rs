//! Consumers stop first.

use robo_model::graph::ExportValue;
use robo_model::quantity::Millis;
use robo_model::spec::InstanceSpec;
use robo_model::state::{InstanceState, Wanted};

use super::super::sim::{World, key, provider, spec};
use super::super::{DRAIN_LIMIT, Input};
use super::{VM, WEB, edit, world};
use crate::order::Outcome;

const DB: &str = "/vm/db";

/// A web server and its database, on one machine.
fn shop() -> World {
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec(DB, "Db", "run", &[]),
        spec("/vm/lb", "Lb", "script", &["Web"]),
        spec(WEB, "Web", "run", &["Db"]),
    ]);
    world.run();
    world.ordered();
    world
}

/// A database alone on its machine, its link up.
fn linked() -> World {
    let mut world = world(vec![spec(VM, "Vm", "target", &[]), spec(DB, "Db", "run", &[])]);
    world.run();
    world.ordered();
    world.input(Input::Connected { events_stored: 0 });
    world
}

fn held(world: &World, path: &str) -> Vec<String> {
    world.report(path).held_for.iter().map(|topic| topic.prefix.to_string()).collect()
}

#[test]
fn the_last_of_a_chain_stops_first() {
    let mut world = shop();
    world.wish(DB, Wanted::Stopped);
    assert_eq!(world.ordered(), ["stop /vm/lb"]);
    assert_eq!((held(&world, DB), held(&world, WEB)), (vec!["Db".to_owned()], vec!["Web".to_owned()]));
    let report = world.report(DB);
    assert_eq!((report.state, report.exports.len()), (InstanceState::DeployedStarted, 0), "it offers nothing any more");
    assert_eq!(world.report(WEB).needs.len(), 1);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "stop /vm/db"]);
    assert_eq!((world.state(WEB), world.report(WEB).needs.len()), (InstanceState::Unresolved, 0));
    world.wish(DB, Wanted::Started);
    world.run();
    assert_eq!(world.ordered(), ["start /vm/db", "start /vm/web", "start /vm/lb"]);
}

#[test]
fn a_restart_lets_them_stop_first_and_who_has_another_goes_on() {
    let mut world = shop();
    let other = |s: &mut InstanceSpec| drop(s.exports.insert("Db.x".parse().unwrap(), ExportValue::Address));
    edit(&mut world, DB, other);
    world.run();
    let order = ["stop /vm/lb", "stop /vm/web", "stop /vm/db", "start /vm/db", "start /vm/web", "start /vm/lb"];
    assert_eq!(world.ordered(), order);
    world.provide(provider("/b/db", "Db", "10.0.0.2"));
    world.run();
    world.ordered();
    world.wish(DB, Wanted::Stopped);
    assert_eq!(world.ordered(), ["context /vm/web", "update /vm/web", "stop /vm/db"]);
}

#[test]
fn a_release_counts_for_one_stop() {
    let mut world = linked();
    let release = |world: &mut World| world.input(Input::Released([key(DB)].into()));
    for _ in 0..2 {
        world.wish(DB, Wanted::Stopped);
        assert_eq!(world.ordered(), [""; 0], "nobody has said yet that it may");
        release(&mut world);
        world.run();
        assert_eq!(world.ordered(), ["stop /vm/db"]);
        world.wish(DB, Wanted::Started);
        world.run();
        assert_eq!(world.ordered(), ["start /vm/db"]);
    }
}

#[test]
fn everything_stops_backwards_and_is_undeployed() {
    let mut world = shop();
    world.wish(VM, Wanted::NotDeployed);
    world.run();
    let stops: Vec<String> = world.ordered().into_iter().filter(|line| line.starts_with("stop")).collect();
    assert_eq!(stops, ["stop /vm/lb", "stop /vm/web", "stop /vm/db"]);
    assert_eq!(world.state(VM), InstanceState::NotDeployed);
}

#[test]
fn others_are_waited_for_until_the_manager_names_it() {
    let check = |go_on: fn(&mut World)| {
        let mut world = linked();
        world.wish(DB, Wanted::Stopped);
        world.input(Input::Released([key("/other")].into()));
        world.pass(Millis(DRAIN_LIMIT.0 - 1));
        assert_eq!(world.ordered(), [""; 0]);
        assert_eq!(held(&world, DB), ["Db"]);
        go_on(&mut world);
        assert_eq!(world.ordered().last().unwrap(), "stop /vm/db");
        world.run();
        assert_eq!((world.state(DB), held(&world, DB)), (InstanceState::DeployedStopped, vec![]));
    };
    check(|world| world.input(Input::Released([key(DB)].into())));
    check(|world| world.pass(Millis(1)));
    check(|world| world.input(Input::Disconnected));
    check(World::crash);
}

#[test]
fn a_wish_that_comes_back_publishes_again() {
    let mut world = linked();
    world.wish(DB, Wanted::Stopped);
    assert!(world.report(DB).exports.is_empty());
    world.wish(DB, Wanted::Started);
    let report = world.report(DB);
    assert_eq!((report.exports.len(), report.held_for.len()), (2, 0));
    world.pass(DRAIN_LIMIT);
    assert_eq!(world.ordered(), [""; 0]);
    assert_eq!(world.core.wake_at(), None);
}

#[test]
fn one_whose_process_ended_waits_for_nobody() {
    let mut world = linked();
    world.kill(&key(DB), Some(1));
    assert_eq!((world.state(DB), held(&world, DB)), (InstanceState::DeployedStopped, vec![]));
    world.run_long();
    world.wish(DB, Wanted::Stopped);
    world.kill(&key(DB), Some(1));
    assert_eq!((world.state(DB), held(&world, DB)), (InstanceState::DeployedStopped, vec![]));
    assert!(world.core.supply.all_draining().is_empty());
}

#[test]
fn a_circle_is_opened_in_the_order_of_paths() {
    let peers = ["/vm/a", "/vm/b", "/vm/c"];
    let mut specs = vec![spec(VM, "Vm", "target", &[])];
    specs.extend(peers.map(|path| spec(path, "Peer", "run", &["Peer"])));
    let mut world = world(specs);
    world.circles = true;
    world.run();
    assert_eq!(world.state("/vm/a"), InstanceState::Unresolved, "nobody is the first");
    world.provide(provider("/b/peer", "Peer", "seed"));
    world.run();
    world.withdraw("/b/peer");
    world.run();
    world.ordered();
    world.wish(VM, Wanted::Stopped);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/a", "stop /vm/b", "stop /vm/c"]);
}

#[test]
fn a_parent_that_needs_its_child_does_not_hold_it_up() {
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec(WEB, "Web", "run", &["Page?"]),
        spec("/vm/web/page", "Page", "run", &["Web"]),
    ]);
    world.run();
    // The parent needs it from now on, as it did where the child was elsewhere before.
    edit(&mut world, WEB, |s| s.imports[0].optional = false);
    world.run();
    world.ordered();
    world.wish(WEB, Wanted::Stopped);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web/page", "stop /vm/web"]);
}

#[test]
fn consumers_of_another_application_stop_first_too() {
    let mut web = spec(WEB, "Web", "script", &["Wh"]);
    web.imports[0].external = true;
    web.bindings = [("Wh".parse().unwrap(), ["stock".parse().unwrap()].into())].into();
    let stock = |mut spec: InstanceSpec| {
        spec.key.application = "stock".parse().unwrap();
        spec.outside = [("Wh.ip".parse().unwrap(), "Db.ip".parse().unwrap())].into();
        spec
    };
    let db = stock(spec(DB, "Db", "run", &[]));
    let mut world = world(vec![spec(VM, "Vm", "target", &[]), web, stock(spec(VM, "Vm", "target", &[])), db]);
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    world.ordered();
    world.specs.last_mut().unwrap().wanted = Wanted::Stopped;
    world.assign();
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "stop /vm/db"]);
    // Unbound, it waits; bound again, it starts: nothing else moves.
    world.specs.last_mut().unwrap().wanted = Wanted::Started;
    world.assign();
    world.run();
    world.ordered();
    edit(&mut world, WEB, |s| s.bindings.clear());
    world.run();
    assert_eq!(world.report(WEB).waits_for, ["Wh.*"]);
    edit(&mut world, WEB, |s| drop(s.bindings.insert("Wh".parse().unwrap(), ["stock".parse().unwrap()].into())));
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/web", "start /vm/web"]);
}

#[test]
fn only_a_stop_that_is_under_way_is_waited_for_longer() {
    let mut world = shop();
    world.wish(DB, Wanted::Stopped);
    world.pass(DRAIN_LIMIT);
    assert_eq!(world.ordered(), ["stop /vm/lb", "stop /vm/db"], "the web server does nothing yet");
    let mut world = shop();
    world.wish(DB, Wanted::Stopped);
    world.finish(&key("/vm/lb"), Outcome::Done);
    world.deliver();
    world.pass(DRAIN_LIMIT);
    assert_eq!(world.ordered(), ["stop /vm/lb", "stop /vm/web"]);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/db"]);
}
