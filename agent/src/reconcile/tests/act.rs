//! Cancel and retry.

use robo_model::quantity::Millis;
use robo_model::state::{InstanceState, Step, Wanted};
use robo_wire::api::{Scope, Verb};
use robo_wire::event::EventBody;

use super::super::sim::{World, failed, key, provider, spec};
use super::{VM, WEB, edit, web, world};
use crate::order::Outcome;

fn all() -> Scope {
    Scope::default()
}

fn cancel(world: &mut World) {
    assert_eq!(world.act(Verb::Cancel, all()), [key(WEB)]);
    assert_eq!(world.act(Verb::Cancel, all()), [], "once");
    world.deliver();
}

#[test]
fn a_cancelled_step_failed_and_nothing_further_is_tried() {
    let check = |ready: fn(&mut World), step: Step, state: InstanceState, then: &[&str]| {
        let mut world = web("script", &["Db?"]);
        ready(&mut world);
        world.ordered();
        cancel(&mut world);
        world.run_long();
        assert_eq!(world.ordered(), ["abort /vm/web"]);
        let report = world.report(WEB);
        let failure = report.failure.unwrap();
        assert_eq!((failure.step, failure.reason.as_str(), failure.retry_at), (step, "cancelled by ann", None));
        assert_eq!(failure.output, ["last line"]);
        assert_eq!((report.state, report.hold.as_deref()), (state, Some("cancelled by ann")));
        world.crash();
        world.run_long();
        assert_eq!(world.act(Verb::Retry, all()), [key(WEB)]);
        assert_eq!(world.act(Verb::Retry, all()), [], "once");
        world.run_long();
        let lines: Vec<String> = world.ordered().into_iter().filter(|line| !line.starts_with("watch")).collect();
        assert_eq!(lines, then);
        assert_eq!((world.report(WEB).failure, world.report(WEB).hold), (None, None));
    };
    check(|_| {}, Step::Deploy, InstanceState::NotDeployed, &["deploy /vm/web", "start /vm/web"]);
    let starting: fn(&mut World) = |world| {
        world.finish(&key(WEB), Outcome::Done);
        world.deliver();
    };
    check(starting, Step::Start, InstanceState::DeployedStopped, &["start /vm/web"]);
    let updating: fn(&mut World) = |world| {
        world.run();
        world.provide(provider("/b/db", "Db", "1"));
    };
    check(updating, Step::Update, InstanceState::DeployedStarted, &["context /vm/web", "update /vm/web"]);
    let undeploying: fn(&mut World) = |world| {
        world.run();
        world.wish(WEB, Wanted::NotDeployed);
        world.finish(&key(WEB), Outcome::Done);
        world.deliver();
    };
    check(undeploying, Step::Undeploy, InstanceState::DeployedStopped, &["undeploy /vm/web"]);
}

#[test]
fn a_new_wish_or_specification_frees_what_was_cancelled() {
    let check = |change: fn(&mut World)| {
        let mut world = web("script", &[]);
        cancel(&mut world);
        world.run_long();
        change(&mut world);
        world.run_long();
        assert_eq!((world.state(WEB), world.report(WEB).hold), (InstanceState::DeployedStarted, None));
    };
    check(|world| edit(world, WEB, |s| s.settings.start_timeout = Some(Millis(5))));
    check(|world| {
        world.wish(WEB, Wanted::Stopped);
        world.wish(WEB, Wanted::Started);
    });
}

#[test]
fn what_ended_well_before_the_cancel_came_is_no_failure() {
    let mut world = web("script", &[]);
    world.finish(&key(WEB), Outcome::Done);
    assert_eq!(world.act(Verb::Cancel, all()), [key(WEB)]);
    world.run_long();
    let report = world.report(WEB);
    assert_eq!((report.state, report.failure), (InstanceState::DeployedStopped, None));
    assert_eq!(report.hold.as_deref(), Some("cancelled by ann"), "start does not begin by itself");
}

#[test]
fn a_wait_for_the_next_try_is_ended_by_both() {
    let mut world = web("script", &[]);
    world.finish(&key(WEB), failed("no disk"));
    world.deliver();
    cancel(&mut world);
    assert_eq!(world.core.wake_at(), None);
    let report = world.report(WEB);
    assert_eq!(report.failure.unwrap().reason, "no disk");
    assert_eq!(world.act(Verb::Retry, all()), [key(WEB)]);
    world.finish(&key(WEB), failed("no disk"));
    world.deliver();
    assert!(world.running.is_empty());
    assert_eq!(world.act(Verb::Retry, all()), [key(WEB)]);
    assert!(world.running.contains_key(&key(WEB)), "at once");
    assert_eq!(world.act(Verb::Retry, all()), [], "it is being tried");
    let told = world.core.ledger().state.spool.iter().filter(|event| matches!(event.body, EventBody::Retried { .. }));
    assert_eq!(told.count(), 2);
}

#[test]
fn a_failed_update_is_told_again_on_request() {
    let mut world = web("script", &["Db?"]);
    world.run();
    world.provide(provider("/b/db", "Db", "1"));
    world.finish(&key(WEB), failed("no"));
    world.run_long();
    world.ordered();
    assert_eq!(world.act(Verb::Retry, all()), [key(WEB)]);
    assert_eq!(world.running[&key(WEB)].context.changes.len(), 1);
    world.run();
    assert_eq!(world.report(WEB).failure, None);
    assert_eq!(world.act(Verb::Retry, all()), []);
    // What is not asked for keeps what it was not told.
    world.provide(provider("/b/db", "Db", "2"));
    world.finish(&key(WEB), failed("no"));
    world.run_long();
    let untold = world.core.ledger().state.records[&key(WEB)].untold.clone();
    world.wish(WEB, Wanted::Stopped);
    world.finish(&key(WEB), failed("will not"));
    world.deliver();
    assert_eq!(world.act(Verb::Retry, all()), []);
    assert_eq!(world.core.ledger().state.records[&key(WEB)].untold, untold);
    assert!(!untold.is_empty());
}

#[test]
fn what_is_cancelled_stops_all_the_same_when_others_need_it() {
    let mut world = web("script", &["Db"]);
    world.provide(provider("/b/db", "Db", "1"));
    world.run();
    world.provide(provider("/b/db", "Db", "2"));
    cancel(&mut world);
    world.ordered();
    world.withdraw("/b/db");
    world.run_long();
    assert_eq!((world.ordered(), world.state(WEB)), (vec!["stop /vm/web".to_owned()], InstanceState::Unresolved));
}

#[test]
fn a_scope_is_a_path_a_component_a_facet_or_an_application() {
    let mut page = spec("/vm/web/page", "Page", "script", &[]);
    page.facets = ["Served".parse().unwrap()].into();
    let mut served = spec("/vm/served", "Web", "script", &[]);
    served.facets = ["Served".parse().unwrap()].into();
    let mut other = spec("/vm/web", "Web", "script", &[]);
    other.key.application = "other".parse().unwrap();
    let specs = vec![spec(VM, "Vm", "target", &[]), spec(WEB, "Web", "script", &[]), page, served, other];
    let check = |scope: &str, expect: &[&str]| {
        let mut world = world(specs.clone());
        // The page is deployed when its parent is started.
        for _ in [Step::Deploy, Step::Start] {
            world.finish(&key(WEB), Outcome::Done);
            world.deliver();
        }
        let scope: Scope = serde_json::from_str(scope).unwrap();
        let got: Vec<String> = world.act(Verb::Cancel, scope).iter().map(ToString::to_string).collect();
        assert_eq!(got, expect);
    };
    check("{}", &["other/vm/web", "shop/vm/served", "shop/vm/web/page"]);
    check(r#"{"application": "shop"}"#, &["shop/vm/served", "shop/vm/web/page"]);
    check(r#"{"path": "/vm/web"}"#, &["other/vm/web", "shop/vm/web/page"]);
    check(r#"{"path": "/vm/web", "below": true}"#, &["shop/vm/web/page"]);
    check(r#"{"component": "Web"}"#, &["other/vm/web", "shop/vm/served"]);
    check(r#"{"component": "Served"}"#, &["shop/vm/served", "shop/vm/web/page"]);
    check(r#"{"component": "Served", "path": "/vm/web"}"#, &["shop/vm/web/page"]);
    check(r#"{"application": "stock"}"#, &[]);
    check(r#"{"component": "Nobody"}"#, &[]);
    check(r#"{"path": "/nowhere"}"#, &[]);
}
