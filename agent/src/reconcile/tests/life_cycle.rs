//! The table of the life cycle, row by row: each really happens, and nothing else does.

use robo_model::lifecycle::TABLE;
use robo_model::quantity::Millis;
use robo_model::state::InstanceState as S;
use robo_model::state::Wanted;
use robo_wire::event::EventBody;

use super::super::sim::{World, failed, key, provider, spec};
use super::{VM, WEB, edit, world};
use crate::order::Outcome;

const PAGE: &str = "/vm/web/page";

/// A machine, a web server that needs a database elsewhere, and a page below it that needs something else.
fn shop() -> World {
    let page = spec(PAGE, "Page", "script", &["X"]);
    world(vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", "run", &["Db"]), page])
}

fn db(world: &mut World) {
    world.provide(provider("/b/db", "Db", "10.0.0.2"));
}

fn waiting(world: &mut World) {
    world.run();
    assert_eq!((world.state(WEB), world.state(PAGE)), (S::Unresolved, S::WaitingForAncestor));
}

fn up(world: &mut World) {
    world.run();
    world.provide(provider("/b/x", "X", "1"));
    db(world);
    world.run();
    assert_eq!((world.state(WEB), world.state(PAGE)), (S::DeployedStarted, S::DeployedStarted));
}

fn end(world: &mut World, path: &str, outcome: Outcome) {
    world.finish(&key(path), outcome);
    world.deliver();
}

/// From where to where, and how that comes about.
type Story = (S, S, fn(&mut World));

/// One for each row.
const STORIES: [Story; 27] = [
    (S::NotDeployed, S::Deploying, |_| {}),
    (S::Deploying, S::DeployedStopped, |w| end(w, WEB, Outcome::Done)),
    (S::Deploying, S::NotDeployed, |w| end(w, WEB, failed("no disk"))),
    (S::DeployedStopped, S::Deploying, |w| {
        w.wish(WEB, Wanted::Stopped);
        w.run();
        edit(w, WEB, |s| s.settings.user = Some("web".into()));
    }),
    (S::WaitingForAncestor, S::Deploying, |w| {
        waiting(w);
        edit(w, PAGE, |s| s.settings.user = Some("web".into()));
    }),
    (S::Unresolved, S::Deploying, |w| {
        waiting(w);
        edit(w, WEB, |s| s.settings.user = Some("web".into()));
    }),
    (S::DeployedStopped, S::WaitingForAncestor, waiting),
    (S::DeployedStopped, S::Unresolved, waiting),
    (S::WaitingForAncestor, S::Unresolved, |w| {
        waiting(w);
        db(w);
        w.run();
    }),
    (S::Unresolved, S::WaitingForAncestor, |w| {
        db(w);
        w.run();
        w.withdraw("/b/db");
    }),
    (S::WaitingForAncestor, S::DeployedStopped, |w| {
        waiting(w);
        w.wish(PAGE, Wanted::Stopped);
    }),
    (S::Unresolved, S::DeployedStopped, |w| {
        waiting(w);
        w.wish(WEB, Wanted::Stopped);
    }),
    (S::DeployedStopped, S::Starting, |w| {
        w.wish(WEB, Wanted::Stopped);
        db(w);
        w.run();
        w.wish(WEB, Wanted::Started);
    }),
    (S::WaitingForAncestor, S::Starting, |w| {
        waiting(w);
        up(w);
    }),
    (S::Unresolved, S::Starting, |w| {
        waiting(w);
        db(w);
    }),
    (S::Starting, S::DeployedStarted, up),
    (S::Starting, S::DeployedStopped, |w| {
        waiting(w);
        db(w);
        end(w, WEB, failed("no port"));
    }),
    (S::DeployedStarted, S::Stopping, |w| {
        up(w);
        w.withdraw("/b/x");
    }),
    (S::DeployedStarted, S::DeployedStopped, |w| {
        up(w);
        w.kill(&key(WEB), Some(1));
    }),
    (S::Stopping, S::DeployedStopped, |w| {
        up(w);
        w.wish(PAGE, Wanted::Stopped);
        end(w, PAGE, failed("will not"));
    }),
    (S::DeployedStopped, S::Undeploying, |w| {
        up(w);
        w.wish(PAGE, Wanted::NotDeployed);
        w.run();
    }),
    (S::WaitingForAncestor, S::Undeploying, |w| {
        waiting(w);
        w.wish(PAGE, Wanted::NotDeployed);
    }),
    (S::Unresolved, S::Undeploying, |w| {
        waiting(w);
        w.wish(PAGE, Wanted::NotDeployed);
        w.run();
        w.wish(WEB, Wanted::NotDeployed);
    }),
    (S::Undeploying, S::NotDeployed, |w| {
        waiting(w);
        w.wish(PAGE, Wanted::NotDeployed);
        end(w, PAGE, Outcome::Done);
    }),
    (S::Undeploying, S::DeployedStopped, |w| {
        waiting(w);
        w.wish(PAGE, Wanted::NotDeployed);
        end(w, PAGE, failed("busy"));
    }),
    (S::NotDeployed, S::DeployedStarted, |_| {}),
    (S::DeployedStarted, S::NotDeployed, |w| {
        up(w);
        w.wish(VM, Wanted::NotDeployed);
        w.run();
    }),
];

#[test]
fn each_row_happens() {
    let rows: Vec<(S, S)> = TABLE.iter().filter(|row| row.of.is_of_an_agent()).map(|row| (row.from, row.to)).collect();
    assert_eq!(rows, STORIES.map(|(from, to, _)| (from, to)), "a story for each row, in its order");
    for (from, to, story) in STORIES {
        let mut world = shop();
        story(&mut world);
        let is_it =
            |body: &EventBody| matches!(body, EventBody::State { from: f, to: t, .. } if (*f, *t) == (from, to));
        let spool = &world.core.ledger().state.spool;
        assert!(spool.iter().any(|event| is_it(&event.body)), "{from} → {to} does not happen");
    }
}

#[test]
#[should_panic(expected = "is not in the life cycle")]
fn a_way_outside_the_table_is_found() {
    let mut world = shop();
    world.core.transition(&key(WEB), S::Stopping, Vec::new());
}

#[test]
fn nobody_hears_of_the_exports_of_a_start_that_fails() {
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec("/vm/db", "Db", "script", &[]),
        spec("/vm/app", "App", "script", &["Db"]),
    ]);
    end(&mut world, "/vm/app", Outcome::Done);
    end(&mut world, "/vm/db", Outcome::Done);
    let stands = |world: &World| {
        let heard = !world.report("/vm/db").exports.is_empty();
        (world.state("/vm/db"), heard, world.state("/vm/app"))
    };
    assert_eq!(stands(&world), (S::Starting, false, S::Unresolved));
    end(&mut world, "/vm/db", failed("exit code 1"));
    assert_eq!(stands(&world), (S::DeployedStopped, false, S::Unresolved));
    world.pass(Millis::from_secs(1));
    assert_eq!(stands(&world), (S::Starting, false, S::Unresolved));
    end(&mut world, "/vm/db", Outcome::Done);
    assert_eq!(stands(&world), (S::DeployedStarted, true, S::Starting));
}

#[test]
fn a_machine_does_not_stop_but_what_stands_on_it_does() {
    let mut world = shop();
    up(&mut world);
    world.wish(VM, Wanted::Stopped);
    world.run();
    assert_eq!(world.state(VM), S::DeployedStarted);
    assert_eq!((world.state(WEB), world.state(PAGE)), (S::DeployedStopped, S::DeployedStopped));
    world.wish(VM, Wanted::Started);
    world.run();
    assert_eq!((world.state(WEB), world.state(PAGE)), (S::DeployedStarted, S::DeployedStarted));
}

#[test]
fn a_machine_whose_value_cannot_be_made_says_so_and_stays_what_it_is() {
    let mut world = world(vec![spec(VM, "Vm", "target", &[])]);
    let open = |s: &mut robo_model::spec::InstanceSpec| {
        s.exports.insert("Vm.x".parse().unwrap(), robo_model::graph::ExportValue::Missing);
    };
    edit(&mut world, VM, open);
    assert_eq!(world.state(VM), S::DeployedStarted);
    assert_eq!(world.report(VM).failure.unwrap().reason, "the export `Vm.x` has no value");
    edit(&mut world, VM, |s| drop(s.exports.remove(&"Vm.x".parse().unwrap())));
    let report = world.report(VM);
    assert_eq!((report.failure, report.hold), (None, None));
}
