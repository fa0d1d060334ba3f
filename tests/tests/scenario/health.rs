//! How a device is, as its doctor and the parts of its agent say: now, or when it was asked last.

use std::fs;
use std::path::Path;

use reqwest::{Method, StatusCode};
use robo_agent::folders::Folders;
use robo_agent::ledger::Part;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::health::{AgentPart, CheckStatus, HealthCheck, HealthReport, HealthView, PartState};
use robo_wire::problem::Problem;

async fn ask(manager: &Manager, name: &str) -> Result<HealthView, (StatusCode, Problem)> {
    manager.api.call::<(), _>(Method::GET, &format!("/projects/default/devices/{name}/health"), None).await
}

/// What it says once it says something.
async fn live(manager: &Manager, name: &str) -> HealthReport {
    // The manager may ask before the device has heard that it is welcome.
    let welcome =
        |report: &HealthReport| report.parts.iter().any(|part| part.name == "link" && part.state == PartState::Running);
    let answer = eventually("it answers", || async {
        let answer = ask(manager, name).await.ok().filter(|view| view.live)?;
        answer.report.as_ref().is_some_and(welcome).then_some(answer)
    })
    .await;
    assert!(answer.why.is_empty() && answer.at.is_some());
    answer.report.unwrap()
}

fn part<'a>(report: &'a HealthReport, name: &str) -> &'a AgentPart {
    report.parts.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no part {name}: {report:?}"))
}

/// What is wrong. That an agent runs is seen by the name of its program, which is another one here.
fn wrong(report: &HealthReport) -> Vec<&HealthCheck> {
    let failed = |check: &&HealthCheck| check.status == CheckStatus::Failed && check.check != "agent";
    report.checks.iter().filter(failed).collect()
}

fn damage(state: &Path) {
    let ledger = Folders::new(state).ledger();
    for part in Part::ALL {
        fs::write(ledger.join(part.file_name()), "nonsense").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_says_how_it_is_and_when_it_is_away_what_it_said_last() {
    let folder = folder();
    let mut manager = Manager::start(&folder.path().join("manager")).await;
    let address = manager.address;
    let mut agent = Agent::start(&manager, folder.path(), "robot", "127.0.0.2").await;
    let report = live(&manager, "robot").await;
    assert_eq!(wrong(&report), Vec::<&HealthCheck>::new());
    let manager_check = report.checks.iter().find(|check| check.check == "manager").unwrap();
    assert_eq!(manager_check.status, CheckStatus::Ok);
    let link = part(&report, "link").clone();
    assert_eq!((link.state, link.restarts, link.last_error), (PartState::Running, 0, None));
    assert_eq!(part(&report, "ledger").state, PartState::Running);
    assert_eq!(part(&report, "forwards").state, PartState::Idle);

    // The manager goes and comes back: the link says that it began anew, and why.
    let data = manager.data.clone();
    drop(manager);
    manager =
        eventually("the port and the folder are free again", || async { Manager::start_at(&data, address).await.ok() })
            .await;
    let report = live(&manager, "robot").await;
    let again = part(&report, "link");
    assert!(again.state == PartState::Running && again.restarts >= 1 && again.last_error.is_some(), "{again:?}");
    assert!(again.since >= link.since);

    // Something is wrong: it has a code, a cause and a remedy.
    damage(&agent.state);
    let report = live(&manager, "robot").await;
    let failed = wrong(&report)[0];
    assert_eq!((report.ok, failed.check.as_str(), failed.code.as_deref()), (false, "ledger", Some("AGT_LEDGER")));
    assert!(failed.cause.is_some() && failed.remedy.is_some());

    // It goes: what it said last is told, and when.
    agent.crash().await;
    let last = eventually("it is away", || async { ask(&manager, "robot").await.ok().filter(|view| !view.live) }).await;
    assert!(last.why == "it is offline" && last.at.is_some(), "{last:?}");
    assert_eq!(last.report.unwrap().checks.iter().find(|check| check.check == "ledger"), Some(failed));

    // One that was never asked, and one that is none.
    let mut silent = Agent::start(&manager, folder.path(), "silent", "127.0.0.3").await;
    eventually("it is online", || async {
        let devices = manager.api.devices().await;
        devices.iter().any(|device| device.name.as_str() == "silent" && device.online).then_some(())
    })
    .await;
    silent.crash().await;
    let never =
        eventually("it is away", || async { ask(&manager, "silent").await.ok().filter(|view| !view.live) }).await;
    assert_eq!((never.report, never.at), (None, None));
    assert_eq!(ask(&manager, "nobody").await.unwrap_err().0, StatusCode::NOT_FOUND);
}
