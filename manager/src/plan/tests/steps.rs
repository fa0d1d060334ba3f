//! The steps that follow from a plan, in their order.

use robo_model::state::{Step, Wanted};
use robo_wire::plan::Plan;

use super::{SHOP, Store, app, edited};
use crate::plan::Overrides;

/// The steps, a line each wave.
fn waves(plan: &Plan) -> Vec<String> {
    let one = |step: &robo_wire::plan::PlannedStep| {
        let other = step.application.as_ref().map_or("", |name| name.as_str());
        format!("{} {other}{}@{}", step.step, step.path, step.device)
    };
    plan.steps.iter().map(|wave| wave.iter().map(one).collect::<Vec<_>>().join(", ")).collect()
}

fn check(store: &Store, edits: &[&str], expect: &[&str]) {
    assert_eq!(waves(&store.plan(&edited(edits)).unwrap().plan), expect, "{edits:?}");
}

#[test]
fn everything_is_deployed_before_it_starts_in_order() {
    let mut store = Store::new(&["a", "b"]);
    check(
        &store,
        &[],
        &["deploy /a/db@a, deploy /b/proxy@b, deploy /b/web@b", "start /a/db@a", "start /b/web@b", "start /b/proxy@b"],
    );
    store.apply(&app(&SHOP));
    check(&store, &[], &[]);
    check(
        &store,
        &["/a/db Db script | Db.ip, Db.port=3307"],
        &["stop /b/proxy@b", "stop /b/web@b", "stop /a/db@a", "start /a/db@a", "start /b/web@b", "start /b/proxy@b"],
    );
    check(&store, &["-/a/db"], &["stop /b/proxy@b", "stop /b/web@b", "stop /a/db@a", "undeploy /a/db@a"]);
    check(
        &store,
        &["/a/cache Cache script | Cache.ip"],
        &["deploy /a/cache@a", "start /a/cache@a", "update /b/proxy@b"],
    );
    check(&store, &["/b Host target | Host.ip, Host.zone=x"], &[]);
    check(
        &store,
        &["/b/web Other script | Web.port=random | Db.*"],
        &[
            "stop /b/proxy@b",
            "stop /b/web@b",
            "undeploy /b/web@b",
            "deploy /b/web@b",
            "start /b/web@b",
            "start /b/proxy@b",
        ],
    );
}

#[test]
fn what_stands_on_something_goes_and_comes_with_it() {
    let mut store = Store::new(&["a", "b", "c"]);
    let lines = |host: &str, middle: &str, component: &str| {
        app(&[
            &format!("/vm Vm target @{host}"),
            &format!("/vm/app {component} {middle} | {component}.v=1"),
            "/vm/app/war War script",
        ])
    };
    store.apply(&lines("a", "process:one", "App"));
    let of = |desired| waves(&store.plan(&desired).unwrap().plan);
    assert_eq!(
        of(lines("a", "process:two", "App")),
        ["stop /vm/app/war@a", "stop /vm/app@a", "start /vm/app@a", "start /vm/app/war@a"]
    );
    let anew = |to: &str| {
        let mut expect: Vec<String> =
            ["stop /vm/app/war@a", "stop /vm/app@a", "undeploy /vm/app/war@a", "undeploy /vm/app@a"]
                .map(str::to_owned)
                .into();
        expect.extend(
            ["deploy /vm/app", "deploy /vm/app/war", "start /vm/app", "start /vm/app/war"].map(|s| format!("{s}@{to}")),
        );
        expect
    };
    assert_eq!(of(lines("a", "process:one", "Other")), anew("a"));
    assert_eq!(of(lines("c", "process:one", "App")), anew("c"));
}

#[test]
fn overrides_that_stay_are_followed() {
    let mut store = Store::new(&["a", "b"]);
    store.apply(&app(&SHOP));
    store.overrides = Overrides {
        count: 3,
        wanted: [("/a".parse().unwrap(), Wanted::Stopped), ("/b/proxy".parse().unwrap(), Wanted::NotDeployed)].into(),
    };
    check(&store, &[], &["deploy /b/proxy@b", "start /a/db@a", "start /b/web@b", "start /b/proxy@b"]);
    store.keep_overrides = true;
    check(&store, &[], &[]);
    // What is stopped is changed and stays stopped; what is new below it is put there and not started.
    check(
        &store,
        &["/a/db Db process:db | Db.ip, Db.port=1", "/a/cache Cache script | Cache.ip"],
        &["undeploy /a/db@a", "deploy /a/cache@a, deploy /a/db@a"],
    );
    // With an instance goes what was asked of it.
    let planned = store.plan(&edited(&["-/b/proxy"])).unwrap();
    let kept: Vec<(&str, bool)> = planned.plan.overrides.iter().map(|one| (one.path.as_str(), one.kept)).collect();
    assert_eq!(kept, [("/a", true), ("/b/proxy", false)]);
    assert_eq!(planned.overrides.len(), 1);
    assert!(planned.plan.steps.iter().flatten().all(|step| step.step != Step::Start));
}
