//! The attackers' list: each is refused, changes nothing, and is told of in the audit log.
//!
//! `docs/security.md` names the test of each. `crowds`: who comes in numbers; `strangers`: who has no key of ours;
//! `device`: who has a device's key and is no agent; `manager`: who has the manager's keys and is none; `people`: who has a
//! token, and wants more than it is for.

mod crowds;
mod device;
mod manager;
mod people;
mod strangers;

use std::sync::Arc;

use reqwest::Method;
use robo_agent::identity::Identity;
use robo_tests::eventually;
use robo_tests::inside::Manager;
use robo_wire::api::{AuditEntry, AuditOutcome, DeviceView};
use serde_json::Value;

/// All that the audit log says.
async fn audit(manager: &Manager) -> Vec<AuditEntry> {
    manager.api.call::<(), _>(Method::GET, "/audit?limit=10000", None).await.unwrap()
}

/// The line that tells of a refusal: what was wanted, and from where.
async fn refusal(manager: &Manager, verb: &str) -> AuditEntry {
    let line = eventually(&format!("`{verb}` is in the audit log"), || async {
        audit(manager).await.into_iter().find(|line| line.verb == verb && line.outcome == AuditOutcome::Refused)
    })
    .await;
    assert_eq!(line.from.as_deref(), Some("127.0.0.1"), "{line:?}");
    line
}

/// Nobody touched the log, and the manager is well.
async fn assert_well(manager: &Manager) {
    let verdict: Value = manager.api.call::<(), _>(Method::GET, "/audit/verify", None).await.unwrap();
    assert_eq!(verdict["broken"], Value::Null);
}

async fn device(manager: &Manager, name: &str) -> DeviceView {
    manager.api.devices().await.into_iter().find(|device| device.name.as_str() == name).unwrap()
}

async fn ask(manager: &Manager, method: Method, path: &str, body: Value) -> Value {
    manager.api.call(method, path, Some(&body)).await.unwrap()
}

/// Asks the manager as a device does, outside of its link.
async fn as_device(manager: &Manager, identity: &Identity, method: Method, path: &str) -> reqwest::Result<u16> {
    let tls = robo_agent::tls::enrolled(identity, b"http/1.1").unwrap();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
        .resolve(robo_wire::SERVER_NAME, manager.address)
        .build()
        .unwrap();
    let url = format!("https://{}:{}/v1/agent/{path}", robo_wire::SERVER_NAME, manager.address.port());
    Ok(client.request(method, url).send().await?.status().as_u16())
}
