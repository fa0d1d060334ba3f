//! Rights that are taken away while somebody uses them, and what attackers leave in the audit log.

use reqwest::Method;
use robo_tests::api::Api;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::visitor::{Visitor, start};
use robo_wire::api::{AuditEntry, AuditOutcome, DeviceView};
use robo_wire::shell::SessionView;
use serde_json::{Value, json};

async fn ask(api: &Api, method: Method, path: &str, body: Value) -> Value {
    api.call(method, path, Some(&body)).await.unwrap()
}

async fn audit(manager: &Manager) -> Vec<AuditEntry> {
    manager.api.call::<(), _>(Method::GET, "/audit?limit=10000", None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_ends_with_the_right_to_it() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    eventually("the device is linked", || async {
        manager.api.devices().await.iter().any(|device| device.online).then_some(())
    })
    .await;
    ask(&manager.api, Method::POST, "/users", json!({"name": "ann"})).await;
    let role = json!({"user": "ann", "role": "operator", "project": "default"});
    let role = ask(&manager.api, Method::POST, "/grants", role).await;
    let token = ask(&manager.api, Method::POST, "/users/ann/tokens", json!({})).await;
    let ann = manager.api.with_token(token["token"].as_str().unwrap());

    let mut visitor = Visitor::begin(&ann, "one", start(&["cat"])).await.unwrap();
    let id = visitor.joined.session.to_string();
    visitor.type_in("purr\r").await;
    visitor.until("purr").await;
    ask(&manager.api, Method::DELETE, &format!("/grants/{}", role["id"]), Value::Null).await;
    // The answer breaks off, or the session's end comes first.
    while visitor.step().await.is_ok_and(|verdict| verdict.is_none()) {}
    assert!(Visitor::attach(&ann, &id, 1, Some(0)).await.is_err(), "she comes back");
    let ended = eventually("the session has ended", || async {
        let path = format!("/projects/default/sessions/{id}");
        let view: SessionView = manager.api.call::<(), _>(Method::GET, &path, None).await.unwrap();
        view.ended_at.is_some().then_some(view)
    })
    .await;
    assert!(ended.ended_by.unwrap().contains("taken away"));
    let told = audit(&manager).await;
    let of_ann =
        |outcome| told.iter().filter(|line| line.who.as_deref() == Some("ann") && line.outcome == outcome).count();
    assert_eq!((of_ann(AuditOutcome::Allowed), of_ann(AuditOutcome::Refused)), (1, 1), "{told:#?}");
    assert!(of_ann(AuditOutcome::Cut) <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_moves_is_the_same_one_elsewhere() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    let before = eventually("the device is linked", || async {
        manager.api.devices().await.into_iter().find(|device| device.online)
    })
    .await;
    ask(&manager.api, Method::POST, "/projects", json!({"name": "lab"})).await;
    let mut visitor = Visitor::begin(&manager.api, "one", start(&["cat"])).await.unwrap();
    let id = visitor.joined.session.to_string();
    ask(&manager.api, Method::POST, "/projects/default/devices/one/move", json!({"project": "lab"})).await;
    let there = eventually("it is linked in the other project", || async {
        let devices: Vec<DeviceView> =
            manager.api.call::<(), _>(Method::GET, "/projects/lab/devices", None).await.unwrap();
        devices.into_iter().find(|device| device.online)
    })
    .await;
    assert_eq!((there.id, there.key_fingerprint), (before.id, before.key_fingerprint));
    assert!(manager.api.devices().await.is_empty());
    // What somebody was at on it, from the project that it was in, is over.
    while visitor.step().await.is_ok_and(|verdict| verdict.is_none()) {}
    let ended = eventually("the session has ended", || async {
        let path = format!("/projects/default/sessions/{id}");
        let view: SessionView = manager.api.call::<(), _>(Method::GET, &path, None).await.unwrap();
        view.ended_at.is_some().then_some(view)
    })
    .await;
    assert!(ended.ended_by.unwrap().contains("moved to another project"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_not_get_in_is_told_of() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    eventually("the device is linked", || async {
        manager.api.devices().await.iter().any(|device| device.online).then_some(())
    })
    .await;
    let revoked = json!({"standing": "revoked", "reason": "stolen"});
    ask(&manager.api, Method::PUT, "/projects/default/devices/one/standing", revoked).await;
    let wrong = manager.api.with_token("rbt1.0000");
    wrong.call::<(), Value>(Method::GET, "/projects/default/devices", None).await.unwrap_err();
    let foreign = json!({"token": format!("rbe1.{}.00", "ab".repeat(32)), "certificate_request": "x"});
    wrong.call::<_, Value>(Method::POST, "/enroll", Some(&foreign)).await.unwrap_err();
    for (verb, why) in [("token", "not known here"), ("enroll", "another manager"), ("link", "revoked")] {
        eventually(&format!("`{verb}` is in the audit log"), || async {
            let told = audit(&manager).await;
            let is_it = |line: &&AuditEntry| line.verb == verb && line.outcome == AuditOutcome::Refused;
            told.iter().find(is_it).map(|line| assert!(line.detail.contains(why), "{line:?}"))
        })
        .await;
    }
    agent.crash().await;
    let verdict: Value = manager.api.call::<(), _>(Method::GET, "/audit/verify", None).await.unwrap();
    assert_eq!(verdict["broken"], Value::Null);
}
