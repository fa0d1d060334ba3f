//! What plans say.

mod bindings;
mod kit;
mod ports;
mod steps;
mod two_sides;

use robo_model::effect::Effect;
use robo_model::graph::{Binding, Component, ExportValue, Instance};
use robo_model::limits::{FIRST_RANDOM_PORT, LAST_RANDOM_PORT, MAX_VALUE_BYTES};
use robo_model::spec::{FileHash, FileRef};
use robo_wire::plan::Action;
use robo_wire::problem::ErrorCode;

use self::kit::standing;
pub(super) use self::kit::{Applied, Store, app, bound, offering, told};
use super::*;

const SHOP: [&str; 5] = [
    "/a Vm target | Vm.ip",
    "/b Host target | Host.ip",
    "/a/db Db script | Db.ip, Db.port=3306",
    "/b/web Web process:web_$(Db.port) | Web.port=random | Db.*",
    "/b/proxy Proxy script || Web.port, Cache.ip?",
];

/// Applies [`SHOP`], then plans it with lines replaced (by their path), removed (`-PATH`) or added.
fn check(edits: &[&str], expect: &[&str]) {
    let mut store = Store::new(&["a", "b"]);
    store.apply(&app(&SHOP));
    check_in(&store, edits, expect);
}

fn edited(edits: &[&str]) -> Desired {
    let path = |line: &str| line.split(' ').next().unwrap().trim_start_matches('-').to_owned();
    let mut lines: Vec<&str> = SHOP.to_vec();
    for edit in edits {
        lines.retain(|line| path(line) != path(edit));
        lines.extend(Some(*edit).filter(|edit| !edit.starts_with('-')));
    }
    app(&lines)
}

fn check_in(store: &Store, edits: &[&str], expect: &[&str]) {
    let desired = edited(edits);
    let planned = store.plan(&desired).unwrap();
    assert_eq!(told(&planned.plan), expect, "{edits:?}");
}

#[test]
fn the_first_apply_creates_everything_in_order() {
    let mut store = Store::new(&["a", "b"]);
    let planned = store.apply(&app(&SHOP));
    assert!(planned.plan.changes.iter().all(|change| change.action == Action::Create));
    let waves: Vec<Vec<&str>> =
        planned.plan.waves.iter().map(|w| w.iter().map(InstancePath::as_str).collect()).collect();
    assert_eq!(waves, [vec!["/a", "/b"], vec!["/a/db"], vec!["/b/web"], vec!["/b/proxy"]]);
    assert_eq!(planned.new_ports.values().copied().collect::<Vec<_>>(), [FIRST_RANDOM_PORT]);
    let specs = &planned.specs["id-b"];
    let paths: Vec<&str> = specs.iter().map(|spec| spec.key.path.as_str()).collect();
    assert_eq!(paths, ["/b", "/b/proxy", "/b/web"]);
    assert_eq!(specs[2].exports[&"Web.port".parse().unwrap()], ExportValue::Text("10000".into()));
    assert_eq!(planned.plan.id.len(), 64);
    assert_eq!(planned.plan.ground.devices, planned.bindings);
}

#[test]
fn each_edit_has_its_lines() {
    check(&[], &[]);
    check(
        &["/a/db Db script | Db.ip, Db.port=3307"],
        &[
            "restart /a/db@a: port 3306 → 3307",
            "Restart /b/proxy@b: Web.port of /b/web Changes 10000 → 10000",
            "Restart /b/web@b: Db.port of /a/db Changes 3306 → 3307",
        ],
    );
    check(
        &["-/a/db"],
        &[
            "delete /a/db@a",
            "Wait /b/proxy@b: Web.port of /b/web Vanishes 10000 → ?",
            "Wait /b/web@b: Db.ip of /a/db Vanishes ? → ?",
            "Wait /b/web@b: Db.port of /a/db Vanishes 3306 → ?",
            "warning nothing in the application offers `Db.*`, and `/b/web` cannot start without: \
             add an instance that exports it, or mark the import `(optional)`",
        ],
    );
    check(
        &["/a/cache Cache script | Cache.ip"],
        &["create /a/cache@a", "Update /b/proxy@b: Cache.ip of /a/cache Appears ? → ?"],
    );
    check(
        &["/b/proxy Proxy script || Web.port, Db.port?"],
        &[
            "note /b/proxy@b: imports: + Db.port (optional); imports: - Cache.ip",
            "Update /b/proxy@b: Db.port of /a/db Appears ? → 3306",
        ],
    );
    check(
        &["/b/web Web process:other | Web.port=80 | Db.*"],
        &[
            "restart /b/web@b: run web $(Db.port) → other; port 10000 → 80",
            "Restart /b/proxy@b: Web.port of /b/web Changes 10000 → 80",
        ],
    );
    check(
        &["/a/db MySQL script | Db.ip, Db.port=3306"],
        &[
            "replace /a/db@a: component Db → MySQL",
            "Restart /b/proxy@b: Web.port of /b/web Changes 10000 → 10000",
            "Restart /b/web@b: Db.ip of /a/db Changes ? → ?",
        ],
    );
    check(&["/b Host target | Host.ip, Host.zone=x"], &["republish /b@b: + zone x"]);
}

#[test]
fn a_second_provider_keeps_importers_running() {
    let mut store = Store::new(&["a", "b"]);
    let two = ["/a/db Db script | Db.port=1", "/b/db Db script | Db.port=1", "/b/web Web script | Web.port=1 | Db.*"];
    let two = edited(&two);
    store.apply(&two);
    let mut restarted = two.clone();
    let db: InstancePath = "/a/db".parse().unwrap();
    restarted.application.instances.get_mut(&db).unwrap().exports.insert("Db.x".parse().unwrap(), ExportValue::Address);
    let planned = store.plan(&restarted).unwrap();
    assert_eq!(
        told(&planned.plan),
        ["restart /a/db@a: + x (the device's address)", "Update /b/web@b: Db.x of /a/db Appears ? → ?"]
    );
    restarted.application.instances.remove(&db);
    let planned = store.plan(&restarted).unwrap();
    assert_eq!(told(&planned.plan), ["delete /a/db@a", "Update /b/web@b: Db.port of /a/db Vanishes 1 → ?"]);
}

#[test]
fn a_url_moves_with_what_it_is_made_of() {
    let mut store = Store::new(&["a", "b"]);
    let lines = |port: &str| {
        edited(&[
            &format!(
                "/a/db Db script | Db.port={port}, Db.local=localhost:$(port), Db.url=http://$(ip):$(port), Db.ip"
            ),
            "/b/web Web script || Db.local, Db.url",
            "-/b/proxy",
        ])
    };
    store.apply(&lines("1"));
    assert_eq!(
        told(&store.plan(&lines("2")).unwrap().plan),
        [
            "restart /a/db@a: port 1 → 2",
            "Restart /b/web@b: Db.local of /a/db Changes localhost:1 → localhost:2",
            "Restart /b/web@b: Db.url of /a/db Changes ? → ?",
        ]
    );
}

#[test]
fn moving_to_another_device_replaces_and_changes_the_address() {
    let mut store = Store::new(&["a", "b", "c"]);
    store.apply(&edited(&["/a Vm target @a", "-/b/proxy"]));
    check_in(
        &store,
        &["/a Vm target @c", "-/b/proxy"],
        &[
            "replace /a@c: moved from device a to c",
            "replace /a/db@c: moved from device a to c",
            "Restart /b/web@b: Db.ip of /a/db Changes ? → ?",
        ],
    );
}

#[test]
fn overrides_are_dropped_and_told_of() {
    let mut store = Store::new(&["a", "b"]);
    store.apply(&app(&SHOP));
    store.overrides = Overrides { count: 7, wanted: [("/a".parse().unwrap(), Wanted::Stopped)].into() };
    let (desired, bindings) = store.current.clone().unwrap();
    let now = standing(&store, &desired, &bindings);
    let wanted: Vec<Wanted> = now["id-a"].iter().map(|spec| spec.wanted).collect();
    assert_eq!(wanted, [Wanted::Started, Wanted::Stopped], "a machine does not stop, what stands on it does");
    assert!(now["id-b"].iter().all(|spec| spec.wanted == Wanted::Started));
    check_in(
        &store,
        &[],
        &[
            "start /a/db@a: was stopped by hand",
            "Start /b/proxy@b: Web.port of /b/web Appears ? → 10000",
            "Start /b/web@b: Db.ip of /a/db Appears ? → ?",
            "Start /b/web@b: Db.port of /a/db Appears ? → 3306",
            "warning `/a` was stopped by hand: it starts again, and all below it",
        ],
    );
    let planned = store.plan(&desired).unwrap();
    assert_eq!(planned.plan.ground.overrides, 7);
    assert!(planned.specs["id-a"].iter().all(|spec| spec.wanted == Wanted::Started));
    store.overrides.wanted.insert("/a/db".parse().unwrap(), Wanted::NotDeployed);
    assert_eq!(standing(&store, &desired, &bindings)["id-a"][1].wanted, Wanted::NotDeployed);
}

#[test]
fn recipes_and_users_are_told_apart() {
    let mut store = Store::new(&["a", "b"]);
    let file = |digit: &str| FileRef { hash: FileHash::new(digit.repeat(64)).unwrap(), size: 1, executable: true };
    let mut desired = app(&SHOP);
    let recipe = [("scripts/start.sh".to_owned().try_into().unwrap(), file("a"))];
    desired.recipes.insert("Base".parse().unwrap(), recipe.clone().into());
    store.apply(&desired);
    desired.recipes.get_mut("Base").unwrap().insert("scripts/stop.sh".to_owned().try_into().unwrap(), file("b"));
    desired.recipes.insert("Db".parse().unwrap(), recipe.into());
    desired.recipes.insert("Web".parse().unwrap(), [].into());
    desired.application.components.get_mut("Db").unwrap().settings.user = Some("db".into());
    let planned = store.plan(&desired).unwrap();
    let told = told(&planned.plan);
    assert!(told.contains(&"redeploy /a/db@a: user (none) → db".to_owned()), "{told:?}");
    assert!(told.contains(&"redeploy /b/web@b: recipe: scripts/start.sh removed".to_owned()), "{told:?}");
    assert!(told.contains(&"redeploy /b/proxy@b: recipe: scripts/stop.sh added".to_owned()), "{told:?}");
    assert!(planned.plan.changes.iter().all(|change| change.action == Action::Change(Effect::Redeploy)));
}

#[test]
fn hosts_find_their_devices() {
    let host = |binding: &str| app(&[&format!("/vm Vm target {binding}")]);
    let bound = |store: &Store, binding: &str| {
        store.plan(&host(binding)).map(|p| p.bindings[&"/vm".parse::<InstancePath>().unwrap()].id.to_string())
    };
    let mut store = Store::new(&["vm", "robot-7"]);
    assert_eq!(bound(&store, ""), Ok("id-vm".into()));
    assert_eq!(bound(&store, "@robot-7"), Ok("id-robot-7".into()));
    store.apply(&host("@robot-7"));
    assert_eq!(bound(&store, ""), Ok("id-robot-7".into()), "kept where the file says nothing");
    store.devices[1].name = "robot-8".parse().unwrap();
    assert_eq!(bound(&store, ""), Ok("id-robot-7".into()), "kept when renamed");
    let planned = store.apply(&host("@robot-7"));
    assert!(planned.plan.is_empty() && planned.plan.warnings[0].contains("write `device: robot-8;`"));
    assert_eq!(bound(&store, "@robot-7"), Ok("id-robot-7".into()), "and once more");
    assert_eq!(bound(&store, "@vm"), Ok("id-vm".into()));
    store.devices.remove(1);
    assert_eq!(bound(&store, ""), Ok("id-vm".into()));
}

#[test]
fn two_hosts_may_be_one_device() {
    let store = Store::new(&["x"]);
    let planned = store.plan(&app(&["/a Vm target @x", "/b Vm target @x", "/a/c In target @x"])).unwrap();
    assert_eq!(planned.plan.warnings, ["`/a`, `/a/c` and `/b` are the same device, `x`"]);
    assert_eq!(planned.specs["id-x"].len(), 3);
}

#[test]
fn cycles_and_missing_imports_are_named() {
    let warnings = |lines: &[&str]| {
        let lines: Vec<&str> = ["/a Vm target"].iter().chain(lines).copied().collect();
        Store::new(&["a"]).plan(&app(&lines)).unwrap().plan.warnings
    };
    let stuck = warnings(&["/a/x X script | X.p=1 | Y.p", "/a/y Y script | Y.p=1 | X.p"]);
    assert_eq!(
        stuck,
        ["`/a/x` waits for `/a/y` (Y), `/a/y` for `/a/x` (X): they wait for one another and never start; \
          mark one of the imports `(optional)`"]
    );
    let other = ["/a/x X script | X.p=1 | Y.p", "/a/y Y script | Y.p=1 | X.p", "/a/z Z script | X.p=2"];
    assert!(warnings(&other)[0].contains("they start, in an order that is not fixed"));
    assert!(warnings(&["/a/x X script | X.p=1 | Y.p?", "/a/y Y script | Y.p=1 | X.p"]).is_empty());
    assert!(warnings(&["/a/x X script | X.p=1 | X.p"])[0].starts_with("nothing in the application offers `X.p`"));
    let four = ["/a/w W script | W.p=1 | Z.p", "/a/x X script | X.p=1 | W.p", "/a/y Y script | Y.p=1 | X.p"];
    let circle = warnings(&[&four[..], &["/a/z Z script | Z.p=1 | X.p, Y.p"]].concat());
    assert!(
        circle[0].starts_with("`/a/w` waits for `/a/z` (Z), `/a/z` for `/a/x` (X), `/a/x` for `/a/w` (W): they wait"),
        "{circle:?}"
    );
    let parent = warnings(&["/a/x X script || C.p", "/a/x/c C script | C.p=1"]);
    assert!(
        parent[0].starts_with("`/a/x` waits for `/a/x/c` (C), `/a/x/c` for `/a/x` (which it stands on)"),
        "{parent:?}"
    );
    let own = warnings(&["/a/x X script | X.p=1 | X.p", "/a/y X script | X.p=1 | X.p"]);
    assert!(own[0].starts_with("`/a/x` waits for `/a/y` (X), `/a/y` for `/a/x` (X)"), "{own:?}");
    let nobody = "`Wh.db` comes from another application, and none is bound: `/a/x`";
    assert_eq!(
        warnings(&["/a/x X script || Wh.db!"]),
        [format!("{nobody} does not start; apply one with `exports-prefix: Wh;`, then `robo bind shop Wh NAME`")]
    );
    assert!(warnings(&["/a/x X script || Wh.db?!"])[0].starts_with(&format!("{nobody} goes without; ")));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut desired = app(&[
        "/robot Vm target @robto-7",
        "/other Vm target",
        "/_x Vm target",
        "/robot/a A script | A.v=1",
        "/lost B script",
    ]);
    let instances = &mut desired.application.instances;
    let get = |path: &str| path.parse::<InstancePath>().unwrap();
    instances.get_mut(&get("/robot/a")).unwrap().component = "Nope".parse().unwrap();
    let error = Store::new(&["robot-7", "others"]).plan(&desired).unwrap_err();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>(),
        [
            "`/robot/a` is a `Nope`, which the application does not have",
            "`/lost` does not live on any host",
            "the host `/_x` has no device",
            "the host `/other` has no device",
            "`/robot` is to be device `robto-7`, and there is none of that name",
        ]
    );
    assert!(error.help().contains("did you mean `robot-7`?"));
    assert!(
        error
            .help()
            .contains("enrol a device as `other`, or write `device: NAME;` in the instance, as in `device: others;`")
    );
    let store = Store::new(&["robot"]);
    let refused = |edit: &dyn Fn(&mut Instance)| {
        let mut desired = app(&["/robot Vm target | Vm.v=1"]);
        edit(desired.application.instances.get_mut(&get("/robot")).unwrap());
        let error = store.plan(&desired).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        error.code()
    };
    let value =
        |value: ExportValue| move |i: &mut Instance| drop(i.exports.insert("Vm.v".parse().unwrap(), value.clone()));
    assert_eq!(refused(&|i| i.binding = Some(Binding::Target("edge".into()))), ErrorCode::Unsupported);
    let devices = Binding::Devices {
        selector: "site=x".parse().unwrap(),
        name: robo_model::name::NameTemplate::new("robot-{device}").unwrap(),
    };
    assert_eq!(refused(&|i| i.binding = Some(devices.clone())), ErrorCode::Unsupported);
    assert_eq!(refused(&value(ExportValue::Missing)), ErrorCode::GraphInvalid);
    assert_eq!(refused(&value(ExportValue::Text("x".repeat(MAX_VALUE_BYTES + 1)))), ErrorCode::GraphInvalid);
}

#[test]
fn what_this_version_cannot_do_is_refused_or_told() {
    let store = Store::new(&["robot"]);
    let with = |edit: &dyn Fn(&mut Component)| {
        let mut desired = app(&["/robot Vm target", "/robot/w Web process:web", "/robot/x Web process:web"]);
        edit(desired.application.components.get_mut("Web").unwrap());
        desired
    };
    let refused = |edit: &dyn Fn(&mut Component), expect: &str| {
        let error = store.plan(&with(edit)).unwrap_err();
        assert_eq!((error.code(), error.problems.len()), (ErrorCode::Unsupported, 1), "{error}");
        assert!(error.to_string().contains(expect) && !error.help().is_empty(), "{error}");
    };
    let container = r#"{"kind": "container", "image": "nginx"}"#;
    refused(&|web| web.installer = serde_json::from_str(container).unwrap(), "`/robot/w` is a container");
    let secret = r#"{"kind": "process", "run": "web", "env": {"PASSWORD": "x$(secret:db)"}}"#;
    refused(
        &|web| web.installer = serde_json::from_str(secret).unwrap(),
        "`env.PASSWORD` of `/robot/w` has the secret `db`",
    );

    let settings = r#"{"memory": 536870912, "cpu": 500, "rollout": "10% pause 1m"}"#;
    let mut desired = with(&|web| web.settings = serde_json::from_str(settings).unwrap());
    desired.application.rollout = Some("1 rollback".parse().unwrap());
    let warnings = store.plan(&desired).unwrap().plan.warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    for said in ["rollout: 1 rollback;` of the appl", "memory: 512MiB", "cpu: 0.5", "rollout: 10% pause 1m"] {
        assert!(warnings.iter().any(|line| line.contains(said) && line.contains("no effect")), "{said}: {warnings:?}");
    }
}

#[test]
fn an_instance_has_one_port_under_all_its_prefixes() {
    let mut store = Store::new(&["a"]);
    let desired = app(&["/a Vm target", "/a/w Web script | Web.port=random, backend.port=random, Web.admin=random"]);
    let ports = |planned: &Planned| -> BTreeMap<String, u16> {
        planned.new_ports.iter().map(|((_, _, variable), port)| (variable.to_string(), *port)).collect()
    };
    let first = ports(&store.apply(&desired));
    assert_eq!(first["Web.port"], first["backend.port"]);
    assert_ne!(first["Web.port"], first["Web.admin"]);
    // A prefix that comes later joins in.
    let more = app(&[
        "/a Vm target",
        "/a/w Web script | Web.port=random, backend.port=random, Web.admin=random, http.port=random",
    ]);
    assert_eq!(ports(&store.apply(&more))["http.port"], first["Web.port"]);
}

#[test]
fn bounds_hold() {
    let mut store = Store::new(&["a"]);
    let key = |n: u16| InstanceKey { application: "other".parse().unwrap(), path: format!("/p{n}").parse().unwrap() };
    let port = |n: u16| ((store.devices[0].id.clone(), key(n), "P.port".parse().unwrap()), n);
    let ports: Ports = (FIRST_RANDOM_PORT..LAST_RANDOM_PORT).map(port).collect();
    store.ports = ports;
    let one = app(&["/a Vm target | Vm.port=random"]);
    assert_eq!(store.plan(&one).unwrap().new_ports.values().collect::<Vec<_>>(), [&LAST_RANDOM_PORT]);
    let two = app(&["/a Vm target | Vm.port=random", "/a/b B script | B.port=random", "/a/c C script | C.port=random"]);
    let error = store.plan(&two).unwrap_err();
    assert!(error.problems.iter().all(|p| matches!(p, Problem::NoFreePort { .. })) && error.problems.len() == 2);

    let lines: Vec<String> = (0..=MAX_PROBLEMS).map(|i| format!("/h{i} Vm target")).collect();
    let error = Store::new(&[]).plan(&app(&lines.iter().map(String::as_str).collect::<Vec<_>>())).unwrap_err();
    assert_eq!((error.problems.len(), error.omitted), (MAX_PROBLEMS, 1));

    let value = "x".repeat(MAX_VALUE_BYTES);
    let large = MAX_ASSIGNMENT_BYTES / MAX_VALUE_BYTES + 1;
    let lines: Vec<String> = (0..large).map(|i| format!("/a/i{i} C script | C.v={value}")).collect();
    let lines: Vec<&str> = std::iter::once("/a Vm target").chain(lines.iter().map(String::as_str)).collect();
    let error = Store::new(&["a"]).plan(&app(&lines)).unwrap_err();
    assert!(matches!(error.problems[..], [Problem::AssignmentTooLarge { .. }]), "{error}");
}

#[test]
fn a_hundred_thousand_instances_do_not_fit_on_one_device() {
    let mut desired = app(&["/a Vm target", "/a/i0 C script | C.ip, C.port=1"]);
    let instances = &mut desired.application.instances;
    let first = instances[&"/a/i0".parse::<InstancePath>().unwrap()].clone();
    for number in 1..100_000 {
        let path: InstancePath = format!("/a/i{number}").parse().unwrap();
        instances.insert(path.clone(), Instance { path, ..first.clone() });
    }
    let error = Store::new(&["a"]).plan(&desired).unwrap_err();
    assert_eq!((error.code(), error.problems.len()), (ErrorCode::TooLarge, 1), "{error}");
    assert!(error.to_string().starts_with("the instances on device `a` take about ") && !error.help().is_empty());
}

#[test]
fn specs_that_do_not_belong_together_are_refused() {
    let desired = app(&["/a Vm target | Vm.port=random"]);
    let (nothing, overrides, bound_to) = (BTreeMap::new(), Overrides::default(), Prefixes::new());
    let current =
        Current { revision: 1, desired: &desired, bindings: &nothing, overrides: &overrides, bound_to: &bound_to };
    let store = Store::new(&["a"]);
    let error = specs(&current, &Ports::new(), &store.enrolled()).unwrap_err();
    assert!(matches!(error.problems[..], [Problem::HostWithoutDevice { .. }]));
    let planned = store.plan(&desired).unwrap();
    let current = Current { bindings: &planned.bindings, ..current };
    let error = specs(&current, &Ports::new(), &store.enrolled()).unwrap_err();
    assert!(matches!(error.problems[..], [Problem::PortUnknown { .. }]));
    assert_eq!(specs(&current, &planned.new_ports, &store.enrolled()), Ok(planned.specs));
}

#[test]
fn hosts_on_removed_devices_are_left_out_with_all_on_them() {
    let mut store = Store::new(&["a", "b"]);
    let lines =
        ["/a Vm target | Vm.port=random", "/a/w Web script | Web.port=random", "/b Vm2 target", "/b/w Web2 script"];
    let desired = app(&lines);
    let planned = store.apply(&desired);
    // With the device went its ports.
    store.devices.remove(0);
    store.ports.clear();
    let left: Vec<String> =
        kit::standing(&store, &desired, &planned.bindings).into_keys().map(|id| id.to_string()).collect();
    assert_eq!(left, ["id-b"]);
}

#[test]
fn the_id_covers_all_that_is_written_and_nothing_that_is_not() {
    let store = Store::new(&["a"]);
    let lines = |value: &str| app(&["/a Vm target", &format!("/a/w Web script | Web.v={value}, Web.port=random")]);
    let with_file = |digit: &str| {
        let file = serde_json::json!({"start.sh": {"hash": digit.repeat(64), "size": 1}});
        Desired { recipes: [("Web".parse().unwrap(), serde_json::from_value(file).unwrap())].into(), ..lines("1") }
    };
    let plan = |desired: &Desired| store.plan(desired).unwrap().plan;
    // A file's content, a value, or a port of what is created: none is in a line.
    let mut taken = Store::new(&["a"]);
    taken.devices[0].ports_in_use = vec![FIRST_RANDOM_PORT];
    let first = plan(&with_file("a"));
    for other in [plan(&with_file("b")), plan(&lines("2")), taken.plan(&with_file("a")).unwrap().plan] {
        assert_eq!(told(&other), told(&first));
        assert_ne!(other.id, first.id);
    }
    assert_eq!(plan(&with_file("a")).id, first.id);

    let bundle = |text: &str| -> Bundle {
        let hash = text.repeat(64);
        let sources = serde_json::json!({"a.graph": {"hash": hash, "size": 1}});
        serde_json::from_value(serde_json::json!({"entry": {"kind": "file", "path": "a.graph"}, "sources": sources}))
            .unwrap()
    };
    let covered = |text: &str| {
        let mut plan = first.clone();
        cover(&mut plan, &bundle(text));
        plan.id
    };
    assert_eq!(covered("a"), covered("a"));
    assert_eq!(BTreeSet::from([covered("a"), covered("b"), first.id.clone()]).len(), 3);
}
