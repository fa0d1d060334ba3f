//! Which steps run, exactly, when much happens at once; what was missed on the link; very many instances.

use robo_model::spec::{Assignment, Generation, InstanceSpec};
use robo_model::state::{InstanceState, Step, Wanted};
use robo_wire::digest::{Digest, of_provider, of_providers};
use robo_wire::link::ImportsChange;

use super::super::sim::{World, failed, key, provider, spec};
use super::super::{Effect, Input};
use super::{VM, WEB, edit, web, world};
use crate::order::Outcome;

#[test]
fn providers_that_flap_lead_to_one_update_at_a_time_and_the_last_state_wins() {
    let mut world = web("script", &["Db"]);
    world.provide(provider("/a/db", "Db", "1"));
    world.run();
    world.ordered();
    for round in 0..20 {
        world.provide(provider("/b/db", "Db", &round.to_string()));
        world.withdraw("/b/db");
        world.provide(provider("/c/db", "Db", &round.to_string()));
    }
    assert_eq!(world.ordered(), ["context /vm/web", "update /vm/web"], "one is under way");
    world.finish(&key(WEB), Outcome::Done);
    world.deliver();
    let changes = world.running[&key(WEB)].context.changes.clone();
    assert_eq!(
        changes.iter().map(|c| (c.provider.path.as_str(), c.present)).collect::<Vec<_>>(),
        [("/b/db", false), ("/c/db", true)]
    );
    world.run();
    assert_eq!(world.ordered().len(), 2, "and one for all that came meanwhile");
    let told = &world.core.ledger().state.records[&key(WEB)].told.imports["Db"];
    assert_eq!(told[&key("/c/db")].variables["ip"], "19");
}

#[test]
fn a_stop_does_not_begin_beside_an_update() {
    let mut world = web("script", &["Db"]);
    world.provide(provider("/a/db", "Db", "1"));
    world.run();
    world.provide(provider("/a/db", "Db", "2"));
    world.ordered();
    world.wish(WEB, Wanted::Stopped);
    assert_eq!(world.ordered(), ["abort /vm/web"]);
    world.deliver();
    assert_eq!(world.ordered(), ["stop /vm/web"]);
}

#[test]
fn a_restart_that_takes_its_own_reason_away_is_one_restart() {
    const APP: &str = "/vm/app";
    const BELOW: &str = "/vm/app/db";
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec(APP, "App", "run --to $(Db.ip)", &["Db"]),
        spec(BELOW, "Db", "script", &[]),
    ]);
    world.wish(BELOW, Wanted::Stopped);
    world.provide(provider("/z/db", "Db", "10.0.0.9"));
    world.run();
    world.ordered();
    // The value comes from below now; to take it over, what is below has to stop, and the value is the old one again.
    world.wish(BELOW, Wanted::Started);
    world.finish(&key(BELOW), Outcome::Done);
    world.deliver();
    assert_eq!(world.ordered(), ["start /vm/app/db", "stop /vm/app/db"]);
    world.finish(&key(BELOW), Outcome::Done);
    world.deliver();
    assert_eq!(world.ordered(), ["stop /vm/app"]);
    world.wish(BELOW, Wanted::Stopped);
    world.run();
    assert_eq!(world.ordered(), ["start /vm/app"]);
    assert_eq!(world.state(APP), InstanceState::DeployedStarted);
}

#[test]
fn a_recipe_that_changes_between_deploy_and_start_is_deployed_before_start() {
    let mut world = web("script", &["Db"]);
    world.run();
    world.ordered();
    let file = r#"{"hash": "aa", "size": 1}"#.replace("aa", &"ab".repeat(32));
    let file: robo_model::spec::FileRef = serde_json::from_str(&file).unwrap();
    edit(&mut world, WEB, |s| {
        s.files.insert(robo_model::spec::RelativePath::new("a.conf").unwrap(), file);
    });
    world.provide(provider("/b/db", "Db", "1"));
    assert_eq!(world.running[&key(WEB)].step, Step::Deploy);
    assert_eq!(world.running[&key(WEB)].files.len(), 1);
    world.run();
    assert_eq!(world.ordered(), ["deploy /vm/web", "start /vm/web"]);
}

#[test]
fn one_that_fails_does_not_hold_up_the_others() {
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec("/vm/a", "A", "script", &[]),
        spec("/vm/b", "B", "script", &[]),
    ]);
    world.finish(&key("/vm/a"), failed("no disk"));
    world.run();
    assert_eq!(
        (world.state("/vm/a"), world.state("/vm/b")),
        (InstanceState::NotDeployed, InstanceState::DeployedStarted)
    );
}

#[test]
fn asking_again_does_nothing_twice() {
    let mut world = web("run", &[]);
    for wanted in [Wanted::Started, Wanted::Stopped, Wanted::NotDeployed] {
        world.wish(WEB, wanted);
        world.run();
        world.ordered();
        for _ in 0..10 {
            world.wish(WEB, wanted);
            world.run();
        }
        assert_eq!(world.ordered(), [""; 0], "{wanted:?}");
    }
}

#[test]
fn a_gap_in_what_others_offer_is_seen_and_asked_for_once() {
    let (a, b) = (provider("/a/db", "Db", "1"), provider("/b/db", "Db", "2"));
    let change = |providers: &[&robo_model::resolve::Provider], before: Digest, after: Digest| ImportsChange {
        providers: providers.iter().map(|&provider| provider.clone()).collect(),
        before: Some(before),
        after: Some(after),
        ..ImportsChange::default()
    };
    let asked = |world: &mut World| std::mem::take(&mut world.answers).iter().filter(|a| **a == Effect::Resync).count();
    let none = Digest::default();
    let mut world = web("script", &["Db"]);
    world.input(Input::Imports(change(&[&a], none, of_provider(&a))));
    assert_eq!(asked(&mut world), 0);
    world.input(Input::Imports(change(&[], none, none)));
    assert_eq!(asked(&mut world), 1, "it has more than that");
    world.input(Input::Imports(change(&[&b], none, of_provider(&b))));
    assert_eq!(asked(&mut world), 0, "it has asked");
    assert_eq!(world.core.ledger().imports.len(), 2, "what is told is true");
    assert_eq!(world.core.imports_digest(), of_providers([&a, &b]));
    world.input(Input::Imports(ImportsChange { full: true, ..change(&[&b], none, none) }));
    assert_eq!((asked(&mut world), world.core.imports_digest()), (0, of_provider(&b)), "a full one counts as it is");
    world.input(Input::Imports(change(&[&a], none, none)));
    assert_eq!(asked(&mut world), 1);
    world.crash();
    assert_eq!(world.core.imports_digest(), of_providers([&a, &b]));
}

/// Prints how long a device with very many instances takes for what concerns all of them.
/// `cargo test --release -p robo-agent --lib very_many -- --ignored --nocapture`
#[test]
#[ignore = "prints figures; for a release build"]
fn very_many_instances() {
    for count in [1_000_u32, 10_000, 100_000] {
        let mut specs = vec![spec(VM, "Vm", "target", &[]), spec("/vm/db", "Db", "run", &[])];
        specs.extend((0..count).map(|n| spec(&format!("/vm/w{n:06}"), "Web", "script", &["Db"])));
        let clock = |what: &str, world: &mut World, work: &mut dyn FnMut(&mut World)| {
            let begin = std::time::Instant::now();
            work(world);
            println!("{count} instances, {what}: {:?}", begin.elapsed());
        };
        let mut world = World::new();
        let now = world.now;
        let mut ends = Vec::new();
        let mut give = |world: &mut World, input: Input| {
            for effect in world.core.handle(now, input) {
                if let Effect::Begin(order) = effect {
                    ends.push((order.key, order.run));
                }
            }
        };
        let assignment = |generation, specs: &[InstanceSpec]| {
            Input::Assigned(Assignment { generation: Generation(generation), instances: specs.to_vec() })
        };
        clock("assigned", &mut world, &mut |world| give(world, assignment(1, &specs)));
        let mut finish = |world: &mut World, what: &str| {
            clock(what, world, &mut |world| {
                while let Some((key, run)) = ends.pop() {
                    let report = crate::order::Report::StepEnded { key, run, outcome: Outcome::Done };
                    for effect in world.core.handle(now, Input::Report(report)) {
                        if let Effect::Begin(order) = effect {
                            ends.push((order.key, order.run));
                        }
                    }
                }
            });
        };
        finish(&mut world, "deployed and started");
        let started = world.core.reports().filter(|report| report.state == InstanceState::DeployedStarted).count();
        assert_eq!(started, count as usize + 2);
        let ledger = world.core.ledger().clone();
        clock("agent started anew", &mut world, &mut |world| {
            world.core = super::super::Core::new(ledger.clone(), crate::order::Addresses::only("10.0.0.1"), now).0;
        });
        clock("connected, all told", &mut world, &mut |world| {
            drop(world.core.handle(now, Input::Connected { events_stored: 0 }));
            drop(world.core.next_update());
            drop(world.core.handle(now, Input::Disconnected));
        });
        let empty = assignment(2, &[]);
        let begin = std::time::Instant::now();
        let mut ends: Vec<_> = world.core.handle(now, empty);
        while let Some(effect) = ends.pop() {
            if let Effect::Begin(order) = effect {
                let (key, run) = (order.key, order.run);
                let report = crate::order::Report::StepEnded { key, run, outcome: Outcome::Done };
                ends.extend(world.core.handle(now, Input::Report(report)));
            }
        }
        println!("{count} instances, all stopped, undeployed and forgotten: {:?}", begin.elapsed());
        assert_eq!(world.core.reports().count(), 0);
    }
}
