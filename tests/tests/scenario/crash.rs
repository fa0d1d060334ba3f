//! Crashes at random moments, from a seed: everything converges, nothing healthy restarts, nothing acknowledged is lost.

use std::collections::BTreeMap;

use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};

use super::until_as_wished;

const GRAPH: &str = r"
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Server, Client;
}
Server {
	installer: process;
	exports: ip, port = 1;
	run: sleep 1000;
}
Client {
	installer: process;
	imports: Server.ip;
	run: sleep 1000;
	env.PEER: $(Server.ip);
}
instance of Machine {
	name: a;
	instance of Client {
		name: client;
	}
}
instance of Machine {
	name: b;
	instance of Server {
		name: server;
	}
}
";

/// The processes of all instances, by path.
async fn pids(manager: &Manager) -> BTreeMap<String, u32> {
    let status = manager.api.status().await;
    status.instances.iter().filter_map(|i| Some((i.path.to_string(), i.report.as_ref()?.pid?))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_restarts_nothing_that_is_healthy() {
    let mut random = fastrand::Rng::with_seed(7);
    let folder = folder();
    let mut manager = Manager::start(&folder.path().join("manager")).await;
    let address = manager.address;
    let mut agents = [
        Agent::start(&manager, folder.path(), "a", "127.0.0.2").await,
        Agent::start(&manager, folder.path(), "b", "127.0.0.3").await,
    ];
    eventually("two devices", || async { (manager.api.devices().await.len() == 2).then_some(()) }).await;
    manager.api.apply(&Packed::new(GRAPH, &[])).await.unwrap();
    until_as_wished(&manager).await;
    let before = pids(&manager).await;
    assert_eq!(before.len(), 2, "{before:?}");

    for round in 0..10 {
        match random.usize(0..3) {
            victim @ (0 | 1) => {
                agents[victim].crash().await;
                agents[victim].resume(&manager, None, ["127.0.0.2", "127.0.0.3"][victim]);
            }
            _ => {
                let data = manager.data.clone();
                drop(manager);
                manager = eventually("the port and the folder are free again", || async {
                    Manager::start_at(&data, address).await.ok()
                })
                .await;
            }
        }
        until_as_wished(&manager).await;
        assert_eq!(pids(&manager).await, before, "round {round}: a healthy process was restarted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_acknowledged_survives() {
    let mut random = fastrand::Rng::with_seed(11);
    let folder = folder();
    let mut manager = Manager::start(&folder.path().join("manager")).await;
    let address = manager.address;
    let mut agents = [
        Agent::start(&manager, folder.path(), "a", "127.0.0.2").await,
        Agent::start(&manager, folder.path(), "b", "127.0.0.3").await,
    ];
    eventually("two devices", || async { (manager.api.devices().await.len() == 2).then_some(()) }).await;
    for round in 0..5 {
        // Each round changes the server, so the client is restarted too; both crash somewhere in the middle.
        let packed = Packed::new(&GRAPH.replace("port = 1", &format!("port = {}", 100 + round)), &[]);
        let applied = manager.api.apply(&packed).await.unwrap();
        let victim = random.usize(0..2);
        agents[victim].crash().await;
        let data = manager.data.clone();
        drop(manager);
        manager = eventually("the port and the folder are free again", || async {
            Manager::start_at(&data, address).await.ok()
        })
        .await;
        agents[victim].resume(&manager, None, ["127.0.0.2", "127.0.0.3"][victim]);
        until_as_wished(&manager).await;
        let status = manager.api.status().await;
        assert_eq!(status.applications[0].revision, applied.revision, "round {round}");
        let server = status.instances.iter().find(|i| i.path.as_str() == "/b/server").unwrap();
        let told = server.report.as_ref().and_then(|r| r.exports.get(&"Server.port".parse().unwrap()).cloned());
        if told != Some((100 + round).to_string()) {
            panic!("round {round}: {server:#?}\n{:#?}", manager.api.events().await);
        }
    }
}
