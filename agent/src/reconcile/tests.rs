//! One scenario each, on the device in a bottle.

mod act;
mod drift;
mod life_cycle;
mod release;
mod restart;
mod steps;

use robo_model::graph::{ExportValue, Installer, Probe, RestartPolicy};
use robo_model::quantity::Millis;
use robo_model::spec::{Assignment, Generation, InstanceSpec};
use robo_model::state::{InstanceState, Wanted};
use robo_wire::event::EventBody;
use robo_wire::link::{ImportsChange, MAX_EVENTS_PER_UPDATE};

use super::sim::{World, failed, key, provider, spec};
use super::tell::MAX_SPOOLED_EVENTS;
use super::{Effect, Input};
use crate::order::{Addresses, Outcome, Report};

const VM: &str = "/vm";
const WEB: &str = "/vm/web";

fn world(specs: Vec<InstanceSpec>) -> World {
    let mut world = World::new();
    world.specs = specs;
    world.assign();
    world
}

/// A machine with a web server that takes its page from somewhere.
fn web(run: &str, imports: &[&str]) -> World {
    world(vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", run, imports)])
}

fn edit(world: &mut World, path: &str, change: impl FnOnce(&mut InstanceSpec)) {
    change(world.specs.iter_mut().find(|spec| spec.key == key(path)).unwrap());
    world.assign();
}

#[test]
fn providers_start_first_and_parents_before_children() {
    let mut world = world(vec![
        spec(VM, "Vm", "target", &[]),
        spec("/vm/a", "A", "script", &["C"]),
        spec("/vm/a/b", "B", "script", &[]),
        spec("/vm/c", "C", "run", &[]),
    ]);
    assert_eq!(world.state(VM), InstanceState::DeployedStarted);
    world.run();
    assert_eq!(
        world.ordered(),
        ["deploy /vm/a", "deploy /vm/c", "deploy /vm/a/b", "start /vm/c", "start /vm/a", "start /vm/a/b"]
    );
    world.wish("/vm/a", Wanted::Stopped);
    world.run();
    assert_eq!(world.ordered(), ["stop /vm/a/b", "stop /vm/a"]);
    assert_eq!(world.state("/vm/a/b"), InstanceState::DeployedStopped);
    world.specs.truncate(1);
    world.assign();
    world.run();
    assert_eq!(
        world.ordered(),
        [
            "undeploy /vm/a/b",
            "stop /vm/c",
            "undeploy /vm/a",
            "forget /vm/a/b",
            "forget /vm/a",
            "undeploy /vm/c",
            "forget /vm/c"
        ]
    );
}

#[test]
fn a_lost_import_stops_and_its_return_starts() {
    let mut world = web("run --db $(Db.ip)", &["Db"]);
    world.run();
    assert_eq!(world.state(WEB), InstanceState::Unresolved);
    assert_eq!(world.report(WEB).waits_for, ["Db.*"]);
    world.provide(provider("/b/db", "Db", "10.0.0.2"));
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    world.withdraw("/b/db");
    assert!(world.report(WEB).exports.is_empty(), "exports outlive the stop");
    world.run();
    assert_eq!(world.state(WEB), InstanceState::Unresolved);
    world.provide(provider("/b/db", "Db", "10.0.0.3"));
    world.run();
    assert_eq!(
        world.ordered(),
        ["deploy /vm/web", "start /vm/web", "stop /vm/web", "start /vm/web"],
        "what changed while it was stopped needs no update"
    );
}

#[test]
fn changed_imports_update_or_restart() {
    let check = |run: &str, expect: &[&str]| {
        let mut world = web(run, &["Db"]);
        world.provide(provider("/b/db", "Db", "1"));
        world.run();
        world.ordered();
        world.provide(provider("/b/db", "Db", "2"));
        world.run();
        assert_eq!(world.ordered(), expect, "{run}");
    };
    check("run", &["context /vm/web", "update /vm/web"]);
    check("script", &["context /vm/web", "update /vm/web"]);
    check("run --db $(Db.ip)", &["stop /vm/web", "start /vm/web"]);
}

#[test]
fn changes_during_a_step_are_one_change_set() {
    let mut world = web("script", &["Db"]);
    world.provide(provider("/b/db", "Db", "1"));
    world.run();
    world.provide(provider("/b/db", "Db", "2"));
    for other in 0..5 {
        world.provide(provider(&format!("/c{other}/db"), "Db", "3"));
    }
    world.withdraw("/b/db");
    world.ordered();
    let first = world.running[&key(WEB)].clone();
    assert_eq!(first.context.changes.len(), 1);
    world.finish(&key(WEB), Outcome::Done);
    world.deliver();
    let second = world.running[&key(WEB)].clone();
    assert_eq!(second.context.changes.iter().filter(|change| change.present).count(), 5);
    assert_eq!(second.context.changes.iter().filter(|change| !change.present).count(), 1);
    world.finish(&key(WEB), failed("no"));
    world.run_long();
    assert_eq!(world.ordered(), ["context /vm/web", "update /vm/web"], "a failed update waits for the next change");
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    assert_eq!(world.report(WEB).failure.unwrap().retry_at, None);
}

#[test]
fn each_change_of_a_specification_has_its_steps() {
    let check = |change: fn(&mut InstanceSpec), expect: &[&str]| {
        let child = spec("/vm/web/page", "Page", "script", &[]);
        let mut world = world(vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", "run", &[]), child]);
        world.run();
        world.ordered();
        edit(&mut world, WEB, change);
        world.run();
        assert_eq!(world.ordered(), expect);
        assert_eq!(world.state("/vm/web/page"), InstanceState::DeployedStarted);
    };
    let around = ["stop /vm/web/page", "stop /vm/web"];
    let restarted = [&around[..], &["start /vm/web", "start /vm/web/page"]].concat();
    let redeployed = [&around[..], &["deploy /vm/web", "start /vm/web", "start /vm/web/page"]].concat();
    check(|_| {}, &[]);
    check(|s| s.settings.start_timeout = Some(Millis(5)), &[]);
    check(|s| drop(s.exports.insert("Web.x".parse().unwrap(), ExportValue::Address)), &restarted);
    check(|s| s.settings.user = Some("web".into()), &redeployed);
    check(
        |s| s.installer = Installer::Logger,
        &[
            "stop /vm/web/page",
            "undeploy /vm/web/page",
            "stop /vm/web",
            "undeploy /vm/web",
            "deploy /vm/web",
            "start /vm/web",
            "deploy /vm/web/page",
            "start /vm/web/page",
        ],
    );
}

#[test]
fn a_host_publishes_anew_and_keeps_what_is_on_it() {
    let mut world = web("run", &["Vm"]);
    world.run();
    world.ordered();
    edit(&mut world, VM, |s| drop(s.exports.insert("Vm.x".parse().unwrap(), ExportValue::Text("1".into()))));
    world.run();
    assert_eq!(world.ordered(), ["context /vm/web", "update /vm/web"]);
    world.input(Input::Addresses(Addresses::only("10.9.9.9")));
    world.run();
    assert_eq!(world.report(WEB).exports[&"Web.ip".parse().unwrap()], "10.9.9.9");
    world.wish(VM, Wanted::NotDeployed);
    assert_eq!(world.state(VM), InstanceState::DeployedStarted, "not before what is on it");
    world.run();
    assert_eq!(world.state(VM), InstanceState::NotDeployed);
    assert_eq!(world.state(WEB), InstanceState::NotDeployed);
}

#[test]
fn a_failed_step_is_tried_again_ever_later_and_at_once_when_changed() {
    let mut world = web("script", &[]);
    for (attempt, wait) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        world.finish(&key(WEB), failed("no disk"));
        world.deliver();
        assert_eq!(world.state(WEB), InstanceState::NotDeployed);
        let failure = world.report(WEB).failure.unwrap();
        assert_eq!((failure.attempts as usize, failure.reason.as_str()), (attempt + 1, "no disk"));
        assert_eq!(world.core.wake_at(), Some(world.now.plus(Millis::from_secs(wait))));
        world.pass(Millis(wait * 1000 - 1));
        assert!(world.running.is_empty());
        world.pass(Millis(1));
        assert!(!world.running.is_empty());
    }
    world.finish(&key(WEB), failed("no disk"));
    world.deliver();
    edit(&mut world, WEB, |s| s.settings.user = Some("web".into()));
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    assert_eq!(world.report(WEB).failure, None);
    assert_eq!(world.core.wake_at(), None);
}

#[test]
fn a_failed_stop_is_noted_and_a_failed_undeploy_tried_again() {
    let mut world = web("run", &[]);
    world.run();
    world.wish(WEB, Wanted::NotDeployed);
    world.finish(&key(WEB), failed("will not die"));
    world.deliver();
    assert_eq!(world.report(WEB).failure.unwrap().reason, "will not die");
    world.finish(&key(WEB), failed("busy"));
    world.deliver();
    assert_eq!(world.state(WEB), InstanceState::DeployedStopped);
    world.run_long();
    assert_eq!(world.state(WEB), InstanceState::NotDeployed);
}

#[test]
fn a_process_that_ends_follows_its_policy() {
    let check = |restart: RestartPolicy, code: Option<i32>, starts: bool, fails: bool| {
        let mut world = web("run", &[]);
        edit(&mut world, WEB, |s| {
            let Installer::Process(process) = &mut s.installer else { unreachable!() };
            process.restart = restart;
        });
        world.run();
        world.kill(&key(WEB), code);
        let report = world.report(WEB);
        assert_eq!(report.state, InstanceState::DeployedStopped, "{restart:?} {code:?}");
        assert!(report.exports.is_empty());
        assert_eq!(report.failure.is_some(), fails, "{restart:?} {code:?}");
        world.run_long();
        let started = world.state(WEB) == InstanceState::DeployedStarted;
        assert_eq!((started, world.report(WEB).restarts), (starts, u32::from(starts)), "{restart:?} {code:?}");
        world.wish(WEB, Wanted::Stopped);
        world.wish(WEB, Wanted::Started);
        world.run();
        assert_eq!(world.state(WEB), InstanceState::DeployedStarted, "asked for anew");
    };
    for code in [Some(0), Some(3), None] {
        check(RestartPolicy::Always, code, true, true);
        check(RestartPolicy::OnFailure, code, code != Some(0), code != Some(0));
        check(RestartPolicy::Never, code, false, true);
    }
}

#[test]
fn a_process_that_ran_well_is_back_at_once_and_one_that_crashes_waits() {
    let mut world = web("run", &[]);
    world.run();
    world.pass(super::backoff::RAN_WELL);
    for wait in [0, 1, 2, 4] {
        world.kill(&key(WEB), Some(1));
        let at = world.core.wake_at();
        assert_eq!(at, (wait > 0).then(|| world.now.plus(Millis::from_secs(wait))), "{wait}");
        world.run_long();
    }
    world.pass(super::backoff::RAN_WELL);
    world.kill(&key(WEB), Some(1));
    assert!(world.running.contains_key(&key(WEB)), "its count is forgotten");
    assert_eq!(world.report(WEB).restarts, 5);
}

#[test]
fn a_step_that_is_no_longer_wanted_is_ended_and_that_is_no_failure() {
    let check = |wanted: Wanted, expect: &[&str]| {
        let mut world = web("script", &[]);
        world.finish(&key(WEB), Outcome::Done);
        world.deliver();
        assert_eq!(world.state(WEB), InstanceState::Starting);
        world.ordered();
        world.wish(WEB, wanted);
        world.run();
        assert_eq!(world.ordered(), expect);
        assert_eq!(world.report(WEB).failure, None);
        assert_eq!(world.state(WEB), wanted.state());
    };
    check(Wanted::Stopped, &["abort /vm/web"]);
    check(Wanted::NotDeployed, &["abort /vm/web", "undeploy /vm/web"]);
    let mut world = web("script", &[]);
    world.wish(WEB, Wanted::NotDeployed);
    world.wish(WEB, Wanted::Started);
    world.run();
    assert_eq!(world.ordered(), ["deploy /vm/web", "abort /vm/web", "deploy /vm/web", "start /vm/web"]);
}

#[test]
fn only_newer_assignments_are_taken() {
    let mut world = web("script", &[]);
    world.assign();
    let offer = |generation: u64, specs: &[InstanceSpec]| {
        Input::Assigned(Assignment { generation: Generation(generation), instances: specs.to_vec() })
    };
    let twice = [world.specs.clone(), world.specs.clone()].concat();
    world.input(offer(1, &[]));
    world.input(offer(2, &world.specs.clone()));
    world.input(offer(2, &[]));
    world.input(offer(3, &twice));
    let refused = |generation, reason: &str| Effect::Refused { generation, reason: reason.to_owned() };
    assert_eq!(
        world.answers,
        [
            refused(Generation(1), "it is older than assignment 2, which this device has"),
            Effect::Accepted(Generation(2)),
            refused(Generation(2), "this device has another assignment 2: number it anew"),
            refused(Generation(3), "it names shop/vm twice"),
        ]
    );
    assert_eq!(world.core.ledger().assignment.instances.len(), 2);
}

#[test]
fn acceptance_follows_the_disk() {
    let mut world = World::new();
    let assignment = Assignment {
        generation: Generation(1),
        instances: vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", "x", &[])],
    };
    let effects = world.core.handle(world.now, Input::Assigned(assignment));
    assert!(matches!(&effects[0], Effect::Persist(what) if what.assignment && what.state), "{effects:?}");
    assert!(effects.contains(&Effect::Accepted(Generation(1))));
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count(), 1);
}

#[test]
fn a_value_that_cannot_be_made_is_a_failure_that_names_it() {
    let mut world = web("run --cache $(Cache.ip)", &["Cache?"]);
    world.run_long();
    assert_eq!(world.report(WEB).failure.unwrap().reason, "nothing gives `$(Cache.ip)` in `run` a value");
    assert_eq!(world.core.wake_at(), None);
    world.provide(provider("/b/cache", "Cache", "10.0.0.2"));
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    edit(&mut world, WEB, |s| {
        drop(s.exports.insert("Web.y".parse().unwrap(), ExportValue::Text("$(secret:no)".into())));
    });
    world.run_long();
    assert_eq!(world.report(WEB).failure.unwrap().reason, "nothing gives `$(secret:no)` in the export `Web.y` a value");
}

#[test]
fn orders_hold_what_was_filled_in() {
    let mut world = web("run --port $(port) --db $(Db.ip)", &["Db"]);
    edit(&mut world, WEB, |s| {
        s.settings.check = Some(robo_model::graph::Check {
            probe: Probe::Http { port: "$(port)".into(), path: "/$(ROBOCONF_INSTANCE_NAME)".into() },
            every: Millis(1),
            timeout: Millis(1),
        });
    });
    world.provide(provider("/z/db", "Db", "last"));
    world.provide(provider("/a/db", "Db", "first"));
    world.finish(&key(WEB), Outcome::Done);
    world.deliver();
    let order = world.running[&key(WEB)].clone();
    let Installer::Process(process) = order.installer else { unreachable!() };
    assert_eq!(process.run, "run --port 1 --db first");
    assert_eq!(order.settings.check.unwrap().probe, Probe::Http { port: "1".into(), path: "/web".into() });
    assert_eq!(order.context.ancestors[0].path.as_str(), VM);
    assert_eq!(order.context.ancestors[0].exports[&"Vm.ip".parse().unwrap()], "10.0.0.1");
    assert_eq!(order.deadline, robo_model::graph::Settings::START_TIMEOUT);
}

#[test]
fn what_happens_here_is_known_better_here() {
    let mut world = web("script", &["Db"]);
    world.specs.push(spec("/vm/db", "Db", "script", &[]));
    world.provide(provider("/vm/db", "Db", "stale"));
    world.assign();
    assert_eq!(world.state("/vm/db"), InstanceState::Deploying);
    world.finish(&key(WEB), Outcome::Done);
    world.deliver();
    assert_eq!(world.state(WEB), InstanceState::Unresolved);
    world.run();
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
}

#[test]
fn a_full_list_of_imports_removes_the_rest() {
    let mut world = web("script", &["Db"]);
    world.provide(provider("/b/db", "Db", "1"));
    world.run();
    world.input(Input::Imports(ImportsChange { full: true, ..ImportsChange::default() }));
    world.run();
    assert_eq!(world.state(WEB), InstanceState::Unresolved);
}

#[test]
fn health_is_told_and_changes_no_state() {
    let mut world = web("run", &[]);
    let health = |healthy| Input::Report(Report::Health { key: key(WEB), healthy, reason: "503".into() });
    world.input(health(false));
    world.run();
    assert!(world.report(WEB).healthy, "what does not run has no health");
    world.input(health(false));
    world.input(health(false));
    world.tell();
    assert!(!world.report(WEB).healthy);
    assert_eq!(world.state(WEB), InstanceState::DeployedStarted);
    let told = world.manager.events.iter().filter(|event| matches!(event.body, EventBody::Health { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn a_reboot_starts_what_nobody_supervises_again() {
    let mut world = web("script", &[]);
    world.input(Input::Boot("one".into()));
    world.run();
    world.crash();
    world.input(Input::Boot("one".into()));
    world.run();
    assert_eq!(world.ordered(), ["deploy /vm/web", "start /vm/web"]);
    world.crash();
    world.input(Input::Boot("two".into()));
    world.run();
    assert_eq!(world.ordered(), ["start /vm/web"]);
    assert_eq!(world.report(WEB).failure, None);
}

#[test]
fn late_and_doubled_reports_are_nothing() {
    let mut world = web("run", &[]);
    world.run();
    let before = world.report(WEB);
    for run in [0, 1, 2, 99].map(crate::order::RunId) {
        world.input(Input::Report(Report::StepEnded { key: key(WEB), run, outcome: failed("late") }));
    }
    world.input(Input::Report(Report::StepEnded {
        key: key("/nobody"),
        run: crate::order::RunId(1),
        outcome: Outcome::Done,
    }));
    assert_eq!(world.report(WEB), before);
}

#[test]
fn events_wait_for_the_manager_and_the_oldest_go_first() {
    let mut world = web("run", &[]);
    world.run();
    let health = |healthy| Input::Report(Report::Health { key: key(WEB), healthy, reason: String::new() });
    for n in 0..MAX_SPOOLED_EVENTS {
        drop(world.core.handle(world.now, health(n % 2 == 1)));
    }
    let spool = &world.core.ledger().state.spool;
    assert_eq!(spool.len(), MAX_SPOOLED_EVENTS);
    let EventBody::Gap { lost } = spool[0].body else { panic!("{:?}", spool[0]) };
    assert_eq!(spool[0].seq, lost, "as many as there were numbers");
    drop(world.core.handle(world.now, Input::Connected { events_stored: 0 }));
    let first = world.core.next_update().unwrap();
    assert!(first.full && first.events.len() == MAX_EVENTS_PER_UPDATE);
    let second = world.core.next_update().unwrap();
    assert!(!second.full && second.seq == 2 && second.events[0].seq == first.events.last().unwrap().seq + 1);
}

#[test]
fn what_it_has_of_others_is_told_once_even_where_nothing_moves() {
    let mut world = web("run", &[]);
    world.run();
    drop(world.core.handle(world.now, Input::Connected { events_stored: 0 }));
    let first = world.core.next_update().unwrap();
    assert!(first.full && first.imports.is_some(), "{first:?}");
    assert_eq!(world.core.next_update(), None);
    let change = ImportsChange { providers: vec![provider("/other/db", "Db", "1")], ..ImportsChange::default() };
    let effects = world.core.handle(world.now, Input::Imports(change.clone()));
    assert!(effects.contains(&Effect::Tell), "{effects:?}");
    let told = world.core.next_update().unwrap();
    assert!(told.reports.is_empty() && told.imports.is_some() && told.imports != first.imports, "{told:?}");
    drop(world.core.handle(world.now, Input::Imports(change)));
    assert_eq!(world.core.next_update(), None, "the same again");
}

#[test]
fn a_device_that_lost_its_ledger_does_not_reuse_numbers() {
    let mut world = web("run", &[]);
    world.input(Input::Connected { events_stored: 500 });
    let update = world.core.next_update().unwrap();
    assert_eq!(update.events[0].seq, 501);
    world.input(Input::Connected { events_stored: 500 });
    assert_eq!(world.core.next_update().unwrap().events, update.events);
}

#[test]
fn a_restart_adopts_what_runs_and_a_new_check_does_not() {
    let mut world = web("run", &[]);
    world.run();
    world.tell();
    world.ordered();
    let adopted = |world: &mut World| {
        world.tell();
        world.manager.events.iter().filter(|event| matches!(event.body, EventBody::Adopted { .. })).count()
    };
    world.input(Input::Report(Report::Health { key: key(WEB), healthy: false, reason: "503".into() }));
    world.crash();
    world.run();
    assert_eq!(adopted(&mut world), 1);
    assert!(world.report(WEB).healthy, "until the runtime says otherwise");
    edit(&mut world, WEB, |s| {
        let probe = Probe::Tcp { port: "$(port)".into() };
        s.settings.check = Some(robo_model::graph::Check { probe, every: Millis(1), timeout: Millis(1) });
    });
    world.run();
    assert_eq!(world.ordered(), ["watch /vm/web", "watch /vm/web"]);
    assert_eq!(adopted(&mut world), 1);
}

#[test]
fn what_is_forgotten_is_forgotten_again_after_a_crash_unless_it_is_back() {
    let mut world = web("run", &[]);
    world.run();
    let all = world.specs.clone();
    world.specs.truncate(1);
    world.assign();
    world.run();
    world.ordered();
    world.crash();
    assert_eq!(world.ordered(), ["forget /vm/web"]);
    world.specs = all;
    world.assign();
    world.run();
    world.ordered();
    world.crash();
    world.run();
    assert_eq!(world.ordered(), ["watch /vm/web"]);
}
