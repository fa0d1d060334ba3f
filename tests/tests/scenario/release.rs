//! Consumers stop first, and what is done once on request.

use robo_model::state::{InstanceState, Wanted};
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{ActAnswer, ActRequest, Scope, Verb, WantedRequest};
use robo_wire::event::{Event, EventBody};
use robo_wire::problem::ErrorCode;
use robo_wire::stream::Verdict;

use super::{until, until_as_wished};

const GRAPH: &str = "
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
";

/// How long an instance waits at most for those who need it, in milliseconds: as long would a stop take if nobody were
/// told that it is released.
const DRAIN_LIMIT: u64 = 30_000;

/// The first event in which the instance comes into the state.
fn came<'a>(events: &'a [Event], path: &str, state: InstanceState) -> &'a Event {
    let is_it = |event: &&Event| {
        event.path.as_ref().is_some_and(|p| p.as_str() == path)
            && matches!(&event.body, EventBody::State { to, .. } if *to == state)
    };
    events.iter().find(is_it).unwrap_or_else(|| panic!("{path} never was {state}"))
}

async fn two_devices(manager: &Manager, below: &std::path::Path) -> (Agent, Agent) {
    let front = Agent::start(manager, below, "front", "127.0.0.2").await;
    let back = Agent::start(manager, below, "back", "127.0.0.3").await;
    eventually("two devices online", || async {
        (manager.api.devices().await.iter().filter(|d| d.online).count() == 2).then_some(())
    })
    .await;
    (front, back)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_needed_on_another_device_stops_last() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let (mut front, _back) = two_devices(&manager, folder.path()).await;
    manager.api.apply(&Packed::new(GRAPH, &[])).await.unwrap();
    until_as_wished(&manager).await;

    let everything = |wanted| WantedRequest { scope: Scope::default(), wanted };
    manager.api.wanted("app", &everything(Wanted::Stopped)).await.unwrap();
    let stopped = [("/back/db", InstanceState::DeployedStopped), ("/front/web", InstanceState::DeployedStopped)];
    until(&manager, &stopped).await;
    let events = manager.api.events().await;
    let (web, db) = (
        came(&events, "/front/web", InstanceState::DeployedStopped),
        came(&events, "/back/db", InstanceState::Stopping),
    );
    assert!(web.at <= db.at, "the database began to stop before the web server had stopped:\n{events:#?}");
    assert!(db.at.since(web.at).0 < DRAIN_LIMIT, "nobody told the database that it may stop:\n{events:#?}");

    // Nobody waits for a device that is away.
    manager.api.wanted("app", &everything(Wanted::Started)).await.unwrap();
    until_as_wished(&manager).await;
    front.crash().await;
    eventually("front is away", || async { manager.api.devices().await.iter().any(|d| !d.online).then_some(()) }).await;
    let cursor = manager.api.events().await.len();
    manager.api.wanted("app", &everything(Wanted::Stopped)).await.unwrap();
    until(&manager, &[("/back/db", InstanceState::DeployedStopped)]).await;
    let events = manager.api.events().await;
    let asked = events.iter().rfind(|event| matches!(event.body, EventBody::Asked { .. })).unwrap();
    let stopping = came(&events[cursor..], "/back/db", InstanceState::Stopping);
    assert!(stopping.at.since(asked.at).0 < DRAIN_LIMIT, "it waited for a device that is away:\n{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_hangs_is_cancelled_and_tried_again_on_request() {
    const START: &str = "#!/bin/sh\n[ -e \"$ROBO_DATA_DIR/go\" ] || { touch \"$ROBO_DATA_DIR/go\"; sleep 1000; }\n";
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let (_front, _back) = two_devices(&manager, folder.path()).await;
    manager.api.apply(&Packed::new(GRAPH, &[("Web", "scripts/start.sh", START)])).await.unwrap();
    until(&manager, &[("/front/web", InstanceState::Starting)]).await;

    let act = async |verb, path: &str| -> Result<ActAnswer, _> {
        let scope = Scope { path: Some(path.parse().unwrap()), ..Scope::default() };
        let request = ActRequest { verb, scope };
        manager.api.call(reqwest::Method::POST, "/projects/default/applications/app/act", Some(&request)).await
    };
    let done = |answer: ActAnswer| -> Vec<String> {
        answer
            .devices
            .iter()
            .flat_map(|device| {
                assert_eq!((device.device.as_str(), &device.verdict), ("front", &Verdict::Ok));
                device.instances.iter().map(ToString::to_string)
            })
            .collect()
    };
    assert_eq!(done(act(Verb::Cancel, "/front").await.unwrap()), ["/front/web"]);
    let report = eventually("the start failed", || async {
        let status = manager.api.status().await;
        let web = status.instances.into_iter().find(|i| i.path.as_str() == "/front/web")?;
        web.report.filter(|report| report.hold.is_some() && report.failure.is_some())
    })
    .await;
    assert!(report.failure.unwrap().reason.contains("cancelled by admin"));
    assert_eq!(report.hold.unwrap(), "cancelled by admin");
    assert!(done(act(Verb::Cancel, "/front/web").await.unwrap()).is_empty(), "there is nothing to cancel any more");

    assert_eq!(done(act(Verb::Retry, "/front/web").await.unwrap()), ["/front/web"]);
    until_as_wished(&manager).await;
    let events = manager.api.events().await;
    for wanted in [EventBody::Cancelled { by: "admin".into() }, EventBody::Retried { by: "admin".into() }] {
        assert_eq!(events.iter().filter(|event| event.body == wanted).count(), 1, "{wanted:?}");
    }
    let (status, problem) = act(Verb::Retry, "/front/wep").await.unwrap_err();
    assert_eq!((status.as_u16(), problem.code), (404, ErrorCode::NotFound));
}
