//! Order by imports, across devices; overrides; changes in place.

use robo_model::effect::Effect;
use robo_model::state::{InstanceState, Wanted};
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{Scope, WantedRequest};
use robo_wire::event::{Event, EventBody};
use robo_wire::plan::{Action, RippleKind};
use robo_wire::problem::ErrorCode;

use super::{until, until_as_wished};

const GRAPH: &str = r#"
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Database, Web;
}
Database {
	installer: script;
	exports: ip, port = 5432;
}
Web {
	installer: script;
	exports: ip, random[port] port;
	imports: Database.ip, Database.port;
}
instance of Machine {
	name: front;
	instance of Web {
		name: web;
	}
}
instance of Machine {
	name: back;
	instance of Database {
		name: db;
	}
}
"#;

/// Each script notes in the instance's data folder that it ran.
const NOTE: &str = "#!/bin/sh\necho \"$ROBO_STEP $Database_0_ip:$Database_0_port\" >> \"$ROBO_DATA_DIR/notes\"\n";

fn app(graph: &str) -> Packed {
    Packed::new(
        graph,
        &[
            ("Web", "scripts/start.sh", NOTE),
            ("Web", "scripts/stop.sh", NOTE),
            ("Web", "scripts/update.sh", NOTE),
            ("Database", "scripts/start.sh", NOTE),
            ("Database", "scripts/stop.sh", NOTE),
            // Nothing to download, and yet a file.
            ("Database", "files/empty", ""),
        ],
    )
}

/// The place of the first event in which the instance comes into the state.
fn came(events: &[Event], path: &str, state: InstanceState) -> Option<usize> {
    events.iter().position(|event| {
        event.path.as_ref().is_some_and(|p| p.as_str() == path)
            && matches!(&event.body, EventBody::State { to, .. } if *to == state)
    })
}

fn notes(agent: &Agent, path: &str) -> String {
    let key = robo_model::spec::InstanceKey { application: "app".parse().unwrap(), path: path.parse().unwrap() };
    let data = robo_agent::folders::Folders::new(&agent.state).instance(&key).data();
    std::fs::read_to_string(data.join("notes")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_starts_first_and_takes_the_others_along() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let front = Agent::start(&manager, folder.path(), "front", "127.0.0.2").await;
    let back = Agent::start(&manager, folder.path(), "back", "127.0.0.3").await;
    eventually("two devices online", || async {
        (manager.api.devices().await.iter().filter(|d| d.online).count() == 2).then_some(())
    })
    .await;

    let applied = manager.api.apply(&app(GRAPH)).await.unwrap();
    assert_eq!(applied.revision, 1);
    assert_eq!(applied.plan.summary().create, 4);
    until_as_wished(&manager).await;
    assert_eq!(notes(&front, "/front/web"), "start 127.0.0.3:5432\n");

    let events = manager.api.events().await;
    let db = came(&events, "/back/db", InstanceState::DeployedStarted).expect("the database started");
    let web = came(&events, "/front/web", InstanceState::Starting).expect("the web server started");
    assert!(db < web, "the web server began to start before the database was there:\n{events:#?}");

    // Stopping what is needed stops those who need it; starting it brings them back.
    let stop = WantedRequest {
        scope: Scope { path: Some("/back/db".parse().unwrap()), ..Scope::default() },
        wanted: Wanted::Stopped,
    };
    manager.api.wanted("app", &stop).await.unwrap();
    until(&manager, &[("/back/db", InstanceState::DeployedStopped), ("/front/web", InstanceState::Unresolved)]).await;
    let status = manager.api.status().await;
    let web = status.instances.iter().find(|i| i.path.as_str() == "/front/web").unwrap();
    assert_eq!(web.report.as_ref().unwrap().waits_for, ["Database.ip", "Database.port"]);
    manager.api.wanted("app", &WantedRequest { wanted: Wanted::Started, ..stop }).await.unwrap();
    until_as_wished(&manager).await;
    assert_eq!(notes(&front, "/front/web"), "start 127.0.0.3:5432\nstop 127.0.0.3:5432\nstart 127.0.0.3:5432\n");
    assert_eq!(notes(&back, "/back/db").lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_what_then_happens() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let front = Agent::start(&manager, folder.path(), "front", "127.0.0.2").await;
    let _back = Agent::start(&manager, folder.path(), "back", "127.0.0.3").await;
    eventually("two devices", || async { (manager.api.devices().await.len() == 2).then_some(()) }).await;
    manager.api.apply(&app(GRAPH)).await.unwrap();
    until_as_wished(&manager).await;

    let again = manager.api.apply(&app(GRAPH)).await.unwrap();
    assert!(again.plan.is_empty(), "{:#?}", again.plan);
    assert_eq!(again.revision, 1);

    let changed = app(&GRAPH.replace("5432", "5433"));
    let plan = manager.api.plan(&changed).await.unwrap();
    let changes: Vec<_> = plan.changes.iter().map(|c| (c.path.as_str(), c.action)).collect();
    assert_eq!(changes, [("/back/db", Action::Change(Effect::Restart))]);
    assert!(
        plan.ripple.iter().any(|r| {
            r.path.as_str() == "/front/web" && r.kind == RippleKind::Changes && r.after.as_deref() == Some("5433")
        }),
        "{:#?}",
        plan.ripple
    );

    // A plan whose ground has moved is void.
    let other = app(&GRAPH.replace("5432", "5434"));
    manager.api.apply(&other).await.unwrap();
    let (status, problem) = manager.api.apply_planned(&changed, &plan.id).await.unwrap_err();
    assert_eq!((status.as_u16(), problem.code), (409, ErrorCode::PlanMoved), "{problem}");

    eventually("the new port arrived", || async {
        notes(&front, "/front/web").contains("127.0.0.3:5434").then_some(())
    })
    .await;
    until_as_wished(&manager).await;

    // Deleting takes everything away, bottom-up, on both machines.
    manager.api.delete("app").await.unwrap();
    eventually("everything gone", || async { manager.api.status().await.instances.is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applies_at_once_do_not_mix() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _front = Agent::start(&manager, folder.path(), "front", "127.0.0.2").await;
    let _back = Agent::start(&manager, folder.path(), "back", "127.0.0.3").await;
    eventually("two devices", || async { (manager.api.devices().await.len() == 2).then_some(()) }).await;
    let (one, two) = (app(GRAPH), app(&GRAPH.replace("5432", "1")));
    let (plan_one, plan_two) = (manager.api.plan(&one).await.unwrap(), manager.api.plan(&two).await.unwrap());
    let (a, b) =
        tokio::join!(manager.api.apply_planned(&one, &plan_one.id), manager.api.apply_planned(&two, &plan_two.id));
    let refused = [a, b].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "exactly one of two applies is refused");
    assert_eq!(refused[0].1.code, ErrorCode::PlanMoved);
    until_as_wished(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_graphs_change_nothing() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _front = Agent::start(&manager, folder.path(), "front", "127.0.0.2").await;
    eventually("a device", || async { (manager.api.devices().await.len() == 1).then_some(()) }).await;
    let check = async |graph: &str, expect: ErrorCode, text: &str| {
        let (_, problem) = manager.api.plan(&app(graph)).await.unwrap_err();
        assert_eq!(problem.code, expect, "{problem}");
        let told = format!("{problem} {}", problem.help.clone().unwrap_or_default());
        assert!(told.contains(text), "`{text}` is not in: {told}");
    };
    check(GRAPH, ErrorCode::UnknownDevice, "back").await;
    check(&GRAPH.replace("name: back;", "name: back;\n\tdevice: fron;"), ErrorCode::UnknownDevice, "`front`").await;
    check(&GRAPH.replace("Database.ip,", "Databse.ip,"), ErrorCode::GraphInvalid, "Databse").await;
    assert!(manager.api.status().await.applications.is_empty());
}
