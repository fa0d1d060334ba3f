//! A device that has not heard yet of what others offer looks as wished, and is not.

use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::proxy::{Mode, Proxy};
use robo_wire::api::Status;
use robo_wire::event::EventBody;

use super::until_as_wished;

const GRAPH: &str = r#"
application pair {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Db, Web;
}
Db {
	installer: script;
	exports: port = 5432;
}
Web {
	installer: script;
	imports: Db.port (optional);
}
instance of Machine {
	name: a;
	instance of Db {
		name: db;
	}
}
instance of Machine {
	name: b;
	instance of Web {
		name: web;
	}
}
"#;

fn packed(graph: &str) -> Packed {
    let step = "#!/bin/sh\n";
    let scripts = ["scripts/start.sh", "scripts/stop.sh", "scripts/update.sh"];
    let of = |component| scripts.map(|path| (component, path, step));
    Packed::new(graph, &[of("Db"), of("Web")].concat())
}

fn unsettled(status: &Status) -> Vec<&str> {
    status.instances.iter().filter(|view| !view.is_as_wished()).map(|view| view.path.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_heard_of_a_change_is_not_as_wished() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let proxy = Proxy::start(manager.address);
    let _a = Agent::start(&manager, folder.path(), "a", "127.0.0.2").await;
    let _b = Agent::start_through(&manager, folder.path(), ("b", "127.0.0.3"), proxy.address).await;
    eventually("both devices", || async { (manager.api.devices().await.len() == 2).then_some(()) }).await;
    manager.api.apply(&packed(GRAPH)).await.unwrap();
    until_as_wished(&manager).await;
    let updates = async || {
        let events = manager.api.events().await;
        let is = |event: &&robo_wire::event::Event| matches!(event.body, EventBody::Updated { .. });
        events.iter().filter(is).count()
    };
    let before = updates().await;

    // Its link is there, and carries nothing: the manager does not see that for a while.
    tokio::task::block_in_place(|| proxy.stall());
    manager.api.apply(&packed(&GRAPH.replace("5432", "5433"))).await.unwrap();
    eventually("the database has its new port", || async {
        let status = manager.api.status().await;
        let db = status.instances.iter().find(|view| view.path.as_str() == "/a/db")?;
        let port = db.report.as_ref()?.exports.values().any(|value| value == "5433");
        (port && db.is_as_wished()).then_some(())
    })
    .await;
    let status = manager.api.status_in_step().await;
    assert!(unsettled(&status).contains(&"/b/web"), "{:?}", unsettled(&status));
    assert!(!unsettled(&status).contains(&"/a/db"), "nothing is wrong with it: {:?}", unsettled(&status));

    proxy.set(Mode::Pass);
    until_as_wished(&manager).await;
    assert!(updates().await > before, "as wished is who took the new port");
}
