//! What changes behind our back on a device: seen, shown, and put right where the application says so.

use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceReport, InstanceState};
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::event::EventBody;

use super::until_as_wished;

const GRAPH: &str = r#"
Machine {
	installer: target;
	children: Healed, Reported;
}
Healed {
	installer: script;
	check: run test -e ../@data/well every 50ms;
	drift: heal;
}
Reported {
	installer: script;
	exports: ip, ips;
}
instance of Machine {
	name: front;
	instance of Healed {
		name: healed;
	}
	instance of Reported {
		name: reported;
	}
}
"#;

/// Notes that it ran, and makes the instance well.
const START: &str = "#!/bin/sh\necho start >> \"$ROBO_DATA_DIR/notes\"\ntouch \"$ROBO_DATA_DIR/well\"\n";

fn app() -> Packed {
    let recipe = |component| [(component, "scripts/start.sh", START), (component, "files/conf", "as applied")];
    Packed::new(GRAPH, &[recipe("Healed"), recipe("Reported")].concat())
}

fn instance(agent: &Agent, path: &str) -> robo_agent::folders::InstanceFolder {
    let key = InstanceKey { application: "app".parse().unwrap(), path: path.parse().unwrap() };
    robo_agent::folders::Folders::new(&agent.state).instance(&key)
}

fn starts(agent: &Agent, path: &str) -> usize {
    std::fs::read_to_string(instance(agent, path).data().join("notes")).unwrap_or_default().lines().count()
}

async fn report(manager: &Manager, path: &str) -> Option<InstanceReport> {
    let status = manager.api.status().await;
    status.instances.into_iter().find(|i| i.path.as_str() == path)?.report
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_is_shown_and_healed_where_that_is_wished() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut front = Agent::start(&manager, folder.path(), "front", "127.0.0.2").await;
    eventually("the device", || async { (manager.api.devices().await.len() == 1).then_some(()) }).await;
    manager.api.apply(&app()).await.unwrap();
    until_as_wished(&manager).await;

    // Only shown, until somebody puts it right; also what changed while no agent was there.
    let conf = |agent: &Agent, path: &str| instance(agent, path).recipe().join("files/conf");
    front.crash().await;
    std::fs::write(conf(&front, "/front/reported"), "by hand").unwrap();
    front.resume(&manager, None, "127.0.0.2");
    eventually("the change is shown", || async {
        (report(&manager, "/front/reported").await?.drift == ["files/conf changed"]).then_some(())
    })
    .await;
    std::fs::write(conf(&front, "/front/reported"), "as applied").unwrap();
    eventually("all is right", || async { report(&manager, "/front/reported").await?.drift.is_empty().then_some(()) })
        .await;
    assert_eq!(starts(&front, "/front/reported"), 1, "a report disturbs nothing");

    // Put back, and started anew.
    let began = starts(&front, "/front/healed");
    std::fs::remove_file(conf(&front, "/front/healed")).unwrap();
    eventually("the file is back and it was started anew", || async {
        let back = std::fs::read_to_string(conf(&front, "/front/healed")).is_ok_and(|text| text == "as applied");
        (back && starts(&front, "/front/healed") > began).then_some(())
    })
    .await;
    let told = |wanted: &str| {
        let wanted = wanted.to_owned();
        let is_it = move |body: &EventBody| matches!(body, EventBody::Drift { changes } if changes.join(" ") == wanted);
        let events = manager.api.events();
        async move { events.await.into_iter().any(|event| is_it(&event.body)).then_some(()) }
    };
    eventually("the events", || told("files/conf removed")).await;
    until_as_wished(&manager).await;

    // A check that fails for good, too.
    let began = starts(&front, "/front/healed");
    std::fs::remove_file(instance(&front, "/front/healed").data().join("well")).unwrap();
    eventually("it was started anew", || async { (starts(&front, "/front/healed") > began).then_some(()) }).await;
    eventually("it is well", || async {
        let report = report(&manager, "/front/healed").await?;
        (report.healthy && report.drift.is_empty() && report.state == InstanceState::DeployedStarted).then_some(())
    })
    .await;
}
