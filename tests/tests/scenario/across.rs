//! What crosses devices and applications: stops in the mirrored order, bindings, acts.

use std::sync::Arc;

use reqwest::Method;
use robo_model::state::{InstanceState, Wanted};
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{Accepted, ActAnswer, ActRequest, BindRequest, InstanceView, Scope, Verb, WantedRequest};
use robo_wire::event::EventBody;
use robo_wire::problem::ErrorCode;
use robo_wire::stream::Verdict;

use super::{until, until_as_wished};

/// Three in a row over three machines: each needs the one before. Each script notes when it ran.
const CHAIN: &str = r#"
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: First, Second, Third;
}
First {
	installer: script;
	exports: ip;
}
Second {
	installer: script;
	exports: ip;
	imports: First.ip;
}
Third {
	installer: script;
	imports: Second.ip;
}
instance of Machine {
	name: a;
	instance of First {
		name: first;
	}
}
instance of Machine {
	name: b;
	instance of Second {
		name: second;
	}
}
instance of Machine {
	name: c;
	instance of Third {
		name: third;
	}
}
"#;

/// Steps of all devices in one file, in the order in which they ended.
fn note(file: &std::path::Path) -> String {
    format!("#!/bin/sh\necho \"$ROBOCONF_INSTANCE_NAME $ROBO_STEP\" >> '{}'\n", file.display())
}

fn chain(file: &std::path::Path) -> Packed {
    let note = note(file);
    let scripts: Vec<(&str, &str, &str)> = ["First", "Second", "Third"]
        .into_iter()
        .flat_map(|component| {
            ["scripts/start.sh", "scripts/stop.sh", "scripts/undeploy.sh"].map(|path| (component, path, note.as_str()))
        })
        .collect();
    Packed::new(CHAIN, &scripts)
}

async fn agents(manager: &Manager, below: &std::path::Path, names: &[&str]) -> Vec<Agent> {
    let mut agents = Vec::new();
    for (at, name) in names.iter().enumerate() {
        agents.push(Agent::start(manager, below, name, &format!("127.0.0.{}", at + 2)).await);
    }
    eventually("all devices online", || async {
        (manager.api.devices().await.iter().filter(|d| d.online).count() == names.len()).then_some(())
    })
    .await;
    agents
}

fn ask(path: Option<&str>, wanted: Wanted) -> WantedRequest {
    WantedRequest { scope: Scope { path: path.map(|p| p.parse().unwrap()), ..Scope::default() }, wanted }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_stop_before_what_they_need_on_whatever_machine() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agents = agents(&manager, folder.path(), &["a", "b", "c"]).await;
    let file = folder.path().join("notes");
    let notes = || std::fs::read_to_string(&file).unwrap_or_default();
    manager.api.apply(&chain(&file)).await.unwrap();
    until_as_wished(&manager).await;
    assert_eq!(notes(), "first start\nsecond start\nthird start\n");

    // One of them, and with it those who need it.
    std::fs::remove_file(&file).unwrap();
    manager.api.wanted("app", &ask(Some("/a/first"), Wanted::Stopped)).await.unwrap();
    until(&manager, &[("/a/first", InstanceState::DeployedStopped), ("/c/third", InstanceState::Unresolved)]).await;
    assert_eq!(notes(), "third stop\nsecond stop\nfirst stop\n");
    manager.api.wanted("app", &ask(Some("/a/first"), Wanted::Started)).await.unwrap();
    until_as_wished(&manager).await;

    // All at once: machines stay, and the order is the mirror of the start's.
    std::fs::remove_file(&file).unwrap();
    manager.api.wanted("app", &ask(None, Wanted::Stopped)).await.unwrap();
    until(&manager, &[("/a/first", InstanceState::DeployedStopped), ("/a", InstanceState::DeployedStarted)]).await;
    assert_eq!(notes(), "third stop\nsecond stop\nfirst stop\n");
    manager.api.wanted("app", &ask(None, Wanted::Started)).await.unwrap();
    until_as_wished(&manager).await;
    let refused = manager.api.wanted("app", &ask(Some("/a"), Wanted::Stopped)).await.unwrap_err().1;
    assert!(format!("{refused:?}").contains("machine"), "{refused:?}");

    // And when the application goes.
    std::fs::remove_file(&file).unwrap();
    manager.api.delete("app").await.unwrap();
    eventually("nothing is left", || async { manager.api.status().await.instances.is_empty().then_some(()) }).await;
    let stops: Vec<String> = notes().lines().filter(|l| l.ends_with("stop")).map(str::to_owned).collect();
    assert_eq!(stops, ["third stop", "second stop", "first stop"]);
}

const STOCK: &str = r#"
application stock {
	version: 1.0.0;
	exports-prefix: Wh;
	exports: Db.ip as db-ip;
}
Machine {
	installer: target;
	children: Db;
}
Db {
	installer: script;
	exports: ip;
}
instance of Machine {
	name: a;
	instance of Db {
		name: db;
	}
}
"#;

const FRONT: &str = r#"
application front {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Page;
}
Page {
	installer: script;
	imports: external Wh.db-ip;
}
instance of Machine {
	name: b;
	instance of Page {
		name: page;
	}
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_application_imports_from_those_that_it_is_bound_to() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agents = agents(&manager, folder.path(), &["a", "b"]).await;
    manager.api.apply(&Packed::new(STOCK, &[])).await.unwrap();
    let plan = manager.api.plan(&Packed::new(FRONT, &[])).await.unwrap();
    assert!(plan.warnings.iter().any(|w| w.contains("robo bind front Wh")), "{:?}", plan.warnings);
    manager.api.apply(&Packed::new(FRONT, &[])).await.unwrap();
    until(&manager, &[("/b/page", InstanceState::Unresolved), ("/a/db", InstanceState::DeployedStarted)]).await;

    let bind = async |prefix: &str, to: &[&str]| {
        let path = format!("/projects/default/applications/front/bindings/{prefix}");
        let request = BindRequest { applications: to.iter().map(|name| name.parse().unwrap()).collect() };
        manager.api.call::<_, Accepted>(Method::PUT, &path, Some(&request)).await
    };
    assert_eq!(bind("Wh", &["nobody"]).await.unwrap_err().1.code, ErrorCode::NotFound);
    assert!(bind("Wh", &["front"]).await.is_err() && bind("Db", &["stock"]).await.is_err());
    bind("Wh", &["stock"]).await.unwrap();
    until_as_wished(&manager).await;

    // It stays bound over a restart of the manager.
    let (data, address) = (manager.data.clone(), manager.address);
    manager.stop().await;
    // What still answers somebody holds the folder for a moment longer.
    let manager = eventually("the manager is back", || async { Manager::start_at(&data, address).await.ok() }).await;
    until_as_wished(&manager).await;

    // The plan of the provider shows who else notices.
    let moved = Packed::new(&STOCK.replace("exports: ip;\n}\ninstance", "exports: ip, port = 1;\n}\ninstance"), &[]);
    let plan = manager.api.plan(&moved).await.unwrap();
    let ripple: Vec<_> =
        plan.ripple.iter().map(|r| (r.application.as_ref().map(|a| a.as_str()), r.path.as_str())).collect();
    assert!(ripple.contains(&(Some("front"), "/b/page")), "{ripple:?}");

    assert_eq!(manager.api.delete("stock").await.unwrap_err().1.code, ErrorCode::InUse);
    let path = "/projects/default/applications/front/bindings/Wh";
    manager.api.call::<_, Accepted>(Method::PUT, path, Some(&BindRequest::default())).await.unwrap();
    until(&manager, &[("/b/page", InstanceState::Unresolved)]).await;
    manager.api.delete("stock").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_bindings_is_one_removal_and_one_addition() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agents = agents(&manager, folder.path(), &["a", "b"]).await;
    for name in ["stock-a", "stock-b", "stock-c"] {
        let stock = STOCK.replace("application stock", &format!("application {name}"));
        manager.api.apply(&Packed::new(&stock, &[])).await.unwrap();
    }
    let update = [("Page", "scripts/update.sh", "#!/bin/sh\ntrue\n")];
    manager.api.apply(&Packed::new(FRONT, &update)).await.unwrap();
    until(&manager, &[("/b/page", InstanceState::Unresolved)]).await;
    eventually("all of them run", || async {
        let started = |view: &&InstanceView| view.path.as_str() == "/a/db" && view.is_as_wished();
        (manager.api.status().await.instances.iter().filter(started).count() == 3).then_some(())
    })
    .await;
    let bind = async |to: [&str; 2]| {
        let path = "/projects/default/applications/front/bindings/Wh";
        let request = BindRequest { applications: to.map(|name| name.parse().unwrap()).into() };
        manager.api.call::<_, Accepted>(Method::PUT, path, Some(&request)).await.unwrap();
    };
    let updates = async || -> Vec<String> {
        let events = manager.api.events().await.into_iter();
        let of_page = events.filter(|event| event.path.as_ref().is_some_and(|path| path.as_str() == "/b/page"));
        let changes =
            of_page.filter_map(|e| if let EventBody::Updated { changes } = e.body { Some(changes) } else { None });
        changes.flatten().collect()
    };

    bind(["stock-a", "stock-b"]).await;
    until_as_wished(&manager).await;
    let before = updates().await.len();
    bind(["stock-b", "stock-c"]).await;
    eventually("both are told", || async { (updates().await.len() >= before + 2).then_some(()) }).await;
    until_as_wished(&manager).await;
    let mut told = updates().await.split_off(before);
    told.sort();
    assert_eq!(told, ["Wh from stock-c/a/db", "Wh gone from stock-a/a/db"]);
}

const SLOW: &str = r#"
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Slow, Fails;
}
Slow {
	installer: script;
}
Fails {
	installer: script;
}
instance of Machine {
	name: a;
	instance of Slow {
		name: slow;
	}
	instance of Fails {
		name: fails;
	}
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_cancelled_and_tried_again_on_request() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agents = agents(&manager, folder.path(), &["a"]).await;
    let gate = folder.path().join("gate");
    let wait = format!("#!/bin/sh\nuntil [ -e '{}' ]; do sleep 0.05; done\n", gate.display());
    let fail = format!("#!/bin/sh\n[ -e '{}' ] || {{ echo 'the gate is shut'; exit 7; }}\n", gate.display());
    let recipes = [("Slow", "scripts/start.sh", wait.as_str()), ("Fails", "scripts/start.sh", fail.as_str())];
    manager.api.apply(&Packed::new(SLOW, &recipes)).await.unwrap();
    until(&manager, &[("/a/slow", InstanceState::Starting)]).await;
    let act = async |verb, path: &str| {
        let scope = Scope { path: Some(path.parse().unwrap()), ..Scope::default() };
        let request = ActRequest { verb, scope };
        let path = "/projects/default/applications/app/act";
        manager.api.call::<_, ActAnswer>(Method::POST, path, Some(&request)).await
    };
    let answer = act(Verb::Cancel, "/a/slow").await.unwrap();
    assert_eq!(answer.devices.len(), 1);
    assert_eq!(answer.devices[0].verdict, Verdict::Ok);
    let report = eventually("it is held", || async {
        let status = manager.api.status().await;
        let slow = status.instances.into_iter().find(|i| i.path.as_str() == "/a/slow")?;
        slow.report.filter(|report| report.hold.is_some() && report.state == InstanceState::DeployedStopped)
    })
    .await;
    assert!(report.failure.unwrap().reason.contains("cancelled"));
    // A failure keeps its exit code and output, on the instance.
    let failure = eventually("the other one failed", || async {
        let status = manager.api.status().await;
        status.instances.into_iter().find(|i| i.path.as_str() == "/a/fails")?.report?.failure
    })
    .await;
    assert_eq!((failure.exit_code, failure.output), (Some(7), vec!["the gate is shut".to_owned()]));

    std::fs::write(&gate, "").unwrap();
    assert_eq!(act(Verb::Retry, "/a").await.unwrap().devices[0].instances.len(), 2);
    until_as_wished(&manager).await;
    assert!(act(Verb::Retry, "/a").await.unwrap().devices[0].instances.is_empty(), "nothing is left to be tried");
    assert_eq!(act(Verb::Retry, "/a/slwo").await.unwrap_err().1.code, ErrorCode::NotFound);
    let events = manager.api.events().await;
    let by =
        |body: &EventBody| matches!(body, EventBody::Cancelled { by } | EventBody::Retried { by } if by == "admin");
    assert!(events.iter().filter(|event| by(&event.body)).count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_applies_at_once_one_makes_the_revision() {
    let folder = folder();
    let manager = Arc::new(Manager::start(&folder.path().join("manager")).await);
    let _agents = agents(&manager, folder.path(), &["a"]).await;
    let packed = Arc::new(Packed::new(SLOW, &[]));
    let plan = manager.api.plan(&packed).await.unwrap();
    let mut applies = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (manager, packed, id) = (Arc::clone(&manager), Arc::clone(&packed), plan.id.clone());
        applies.spawn(async move { manager.api.apply_planned(&packed, &id).await });
    }
    let answers = applies.join_all().await;
    let made = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|applied| applied.revision == 1)).count();
    assert!(made >= 1, "{answers:?}");
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.1.code, ErrorCode::PlanMoved);
    }
    until_as_wished(&manager).await;
    let applied =
        manager.api.events().await.into_iter().filter(|e| matches!(e.body, EventBody::Applied { .. })).count();
    assert_eq!(applied, 1);
}
