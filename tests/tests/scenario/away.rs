//! Wishes and losses while somebody is away: a device, the manager, or both.

use reqwest::Method;
use robo_model::state::InstanceState;
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{InstanceView, Status};
use serde_json::Value;

use super::until_as_wished;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The same on each of these machines.
fn on(machines: &[&str]) -> Packed {
    let mut graph = "application app {\n\tversion: 1.0.0;\n}\nMachine {\n\tinstaller: target;\n\tchildren: Job;\n}\n\
                     Job {\n\tinstaller: process;\n\trun: sleep 100000;\n}\n"
        .to_owned();
    for name in machines {
        graph.push_str(&format!(
            "instance of Machine {{\n\tname: {name};\n\tinstance of Job {{\n\t\tname: job;\n\t}}\n}}\n"
        ));
    }
    Packed::new(&graph, &[])
}

async fn agents(manager: &Manager, below: &std::path::Path) -> Vec<Agent> {
    let mut agents = Vec::new();
    for (at, name) in NAMES.iter().enumerate() {
        agents.push(Agent::start(manager, below, name, &address(at)).await);
    }
    online(manager, 3).await;
    agents
}

fn address(at: usize) -> String {
    format!("127.0.0.{}", at + 2)
}

async fn online(manager: &Manager, count: usize) {
    eventually(&format!("{count} devices online"), || async {
        (manager.api.devices().await.iter().filter(|device| device.online).count() == count).then_some(())
    })
    .await;
}

async fn again(manager: Manager) -> Manager {
    let (data, address) = (manager.data.clone(), manager.address);
    manager.stop().await;
    // What still answers somebody holds the folder for a moment longer.
    eventually("the manager is back", || async { Manager::start_at(&data, address).await.ok() }).await
}

fn view<'a>(status: &'a Status, path: &str) -> Option<&'a InstanceView> {
    status.instances.iter().find(|view| view.path.as_str() == path)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wished_while_a_device_is_away_runs_when_it_comes() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agents = agents(&manager, folder.path()).await;
    agents[2].crash().await;
    online(&manager, 2).await;

    // Nobody keeps the wish but the manager's disk.
    manager.api.apply(&on(&NAMES)).await.unwrap();
    let manager = again(manager).await;
    eventually("the others run", || async {
        let status = manager.api.status().await;
        ["/a/job", "/b/job"].iter().all(|path| view(&status, path).is_some_and(|job| job.is_as_wished())).then_some(())
    })
    .await;
    let status = manager.api.status().await;
    let absent = view(&status, "/c/job").expect("it is shown");
    assert_eq!((absent.online, absent.state, &absent.report), (false, InstanceState::NotDeployed, &None));

    agents[2].resume(&manager, None, &address(2));
    until_as_wished(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_machines_one_is_lost_while_the_manager_is_away() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agents = agents(&manager, folder.path()).await;
    manager.api.apply(&on(&NAMES)).await.unwrap();
    until_as_wished(&manager).await;
    let runs = |status: &Status| {
        let pid = |path| view(status, path)?.report.as_ref()?.pid;
        [pid("/a/job"), pid("/b/job")]
    };
    let before = runs(&manager.api.status().await);
    let (data, at) = (manager.data.clone(), manager.address);
    manager.stop().await;
    // With its disk and all that ran on it.
    drop(agents.pop());
    std::fs::remove_dir_all(folder.path().join("c")).unwrap();
    let manager = eventually("the manager is back", || async { Manager::start_at(&data, at).await.ok() }).await;

    // The two go on with what they ran, and nothing is claimed of the third.
    online(&manager, 2).await;
    eventually("two are as wished", || async {
        let status = manager.api.status().await;
        (status.instances.iter().filter(|view| view.is_as_wished()).count() == 4).then_some(())
    })
    .await;
    let status = manager.api.status().await;
    assert_eq!(runs(&status), before, "a healthy process was restarted");
    assert!(before.iter().all(Option::is_some) && view(&status, "/c/job").is_some_and(|job| !job.online));

    // Once it is said to be gone, nothing of it is left but the host that lacks a device.
    let path = "/projects/default/devices/c?force=true";
    manager.api.call::<(), Value>(Method::DELETE, path, None).await.unwrap();
    let status = manager.api.status().await;
    assert!(view(&status, "/c").is_some_and(InstanceView::is_homeless) && view(&status, "/c/job").is_none());
    manager.api.apply(&on(&["a", "b"])).await.unwrap();
    until_as_wished(&manager).await;
    assert_eq!(runs(&manager.api.status().await), before);
}
