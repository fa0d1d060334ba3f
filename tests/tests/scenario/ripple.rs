//! What a plan says of those whom a change does not mention is what then happens to them, and to nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::Method;
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{Accepted, BindRequest};
use robo_wire::plan::{Consequence, Plan, RippleKind};

use super::until_as_wished;

/// A database that many share: some cannot be without it, some can, and some have nothing to do with it.
const SHARED: &str = r#"
application shared {
	version: 1.0.0;
	exports-prefix: Store;
	exports: Db.port as port;
}
Machine {
	installer: target;
	children: Db, Web, Watcher, Idle;
}
Db {
	installer: script;
	exports: ip, port = 5432;
}
Web {
	installer: script;
	imports: Db.ip, Db.port;
}
Watcher {
	installer: script;
	imports: Db.port (optional);
}
Idle {
	installer: script;
	exports: ip;
}
instance of Machine {
	name: a;
	instance of Db {
		name: db;
	}
	instance of Watcher {
		name: beside;
	}
}
instance of Machine {
	name: b;
	instance of Web {
		name: web1;
	}
	instance of Idle {
		name: idle1;
	}
}
instance of Machine {
	name: c;
	instance of Web {
		name: web2;
	}
	instance of Watcher {
		name: watcher;
	}
	instance of Idle {
		name: idle2;
	}
}
"#;

/// Another application, which is bound to it.
const REPORTS: &str = r#"
application reports {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Report;
}
Report {
	installer: script;
	imports: external Store.port (optional);
}
instance of Machine {
	name: c;
	instance of Report {
		name: report;
	}
}
"#;

const NOTE: &str = "#!/bin/sh\necho \"$ROBOCONF_INSTANCE_NAME $ROBO_STEP ${Db_0_port}${Store_0_port}\" >> 'FILE'\n";

fn packed(graph: &str, components: &[&str], file: &Path) -> Packed {
    let note = NOTE.replace("FILE", &file.display().to_string());
    let scripts = ["scripts/start.sh", "scripts/stop.sh", "scripts/update.sh"];
    let recipes = components.iter().flat_map(|component| scripts.map(|path| (*component, path, note.as_str())));
    Packed::new(graph, &recipes.collect::<Vec<_>>())
}

/// What an instance does according to a plan, and what it is told.
type Foretold<'a> = (Consequence, RippleKind, Option<&'a str>);

fn foretold(plan: &Plan) -> BTreeMap<&str, BTreeSet<Foretold<'_>>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for ripple in &plan.ripple {
        let told = (ripple.consequence, ripple.kind, ripple.after.as_deref());
        all.entry(ripple.path.as_str()).or_default().insert(told);
    }
    all
}

/// The steps that each instance did.
fn steps(file: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut steps = BTreeMap::<String, BTreeSet<String>>::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let mut words = line.split(' ').map(str::to_owned);
        steps.entry(words.next().unwrap()).or_default().extend(words.next());
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_databases_port_moves_those_whom_the_plan_names_and_nobody_else() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agents = Vec::new();
    for (at, name) in ["a", "b", "c"].iter().enumerate() {
        agents.push(Agent::start(&manager, folder.path(), name, &format!("127.0.0.{}", at + 2)).await);
    }
    eventually("all devices", || async { (manager.api.devices().await.len() == 3).then_some(()) }).await;
    let file = folder.path().join("notes");
    let components = ["Db", "Web", "Watcher", "Idle"];
    manager.api.apply(&packed(SHARED, &components, &file)).await.unwrap();
    manager.api.apply(&packed(REPORTS, &["Report"], &file)).await.unwrap();
    let path = "/projects/default/applications/reports/bindings/Store";
    let to = BindRequest { applications: ["shared".parse().unwrap()].into() };
    manager.api.call::<_, Accepted>(Method::PUT, path, Some(&to)).await.unwrap();
    until_as_wished(&manager).await;
    let last = |name: &str| -> Option<String> {
        let notes = std::fs::read_to_string(&file).unwrap_or_default();
        notes.lines().rfind(|line| line.starts_with(&format!("{name} "))).map(str::to_owned)
    };
    // By an update, or by its first start, whichever came later.
    assert!(last("report").is_some_and(|line| line.ends_with(" 5432")), "{:?}", last("report"));

    let moved = packed(&SHARED.replace("5432", "5433"), &components, &file);
    let plan = manager.api.plan(&moved).await.unwrap();
    let changed: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["/a/db"]);
    let new = (RippleKind::Changes, Some("5433"));
    let one = |consequence| BTreeSet::from([(consequence, new.0, new.1)]);
    let expected = BTreeMap::from([
        ("/a/beside", one(Consequence::Update)),
        ("/b/web1", one(Consequence::Restart)),
        ("/c/report", one(Consequence::Update)),
        ("/c/watcher", one(Consequence::Update)),
        ("/c/web2", one(Consequence::Restart)),
    ]);
    assert_eq!(foretold(&plan), expected, "{:#?}", plan.ripple);

    std::fs::remove_file(&file).unwrap();
    manager.api.apply_planned(&moved, &plan.id).await.unwrap();
    until_as_wished(&manager).await;
    let done = [
        ("beside", "update"),
        ("db", "start"),
        ("report", "update"),
        ("watcher", "update"),
        ("web1", "start"),
        ("web2", "start"),
    ];
    for (name, step) in done {
        let port = if name == "db" { "" } else { "5433" };
        assert_eq!(last(name), Some(format!("{name} {step} {port}")), "as wished is who knows the new port");
    }
    let steps = steps(&file);
    let of = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<BTreeSet<_>>();
    let expected = [
        ("beside", of(&["update"])),
        ("db", of(&["start", "stop"])),
        ("report", of(&["update"])),
        ("watcher", of(&["update"])),
        ("web1", of(&["start", "stop"])),
        ("web2", of(&["start", "stop"])),
    ];
    assert_eq!(steps, expected.map(|(name, steps)| (name.to_owned(), steps)).into());
}
