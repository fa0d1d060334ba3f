//! Certificates for SSH: who gets one, for whom, where, and until when.

use robo_model::quantity::Millis;
use robo_wire::api::Facts;

use super::access::Asked;
use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// `one` runs commands as `robot` and its agent is root; the agent of `two` is `robot`, that of `three` root; `four` is old.
async fn devices() -> (Manager, Vec<DeviceId>) {
    let manager = Manager::start().await;
    let mut ids = Vec::new();
    for (name, exec_user, agent_user) in
        [("one", "robot", "root"), ("two", "", "robot"), ("three", "", "root"), ("four", "", "")]
    {
        let id = manager.enrol(name).await;
        let facts = Facts { exec_user: exec_user.into(), agent_user: agent_user.into(), ..Facts::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
        ids.push(id);
    }
    (manager, ids)
}

async fn asked(who: &Asked<'_>, device: &str, user: Option<&str>) -> Result<Value, Problem> {
    let body = json!({"public_key": KEY, "user": user});
    who.call(Method::POST, &format!("devices/{device}/ssh-certificate"), body).await
}

/// A user with this role, asked.
async fn somebody<'a>(manager: &'a Manager, name: &str, role: &str) -> Asked<'a> {
    manager.user(name, &[json!({"role": role, "project": "default"})]).await
}

#[tokio::test]
async fn a_certificate_is_for_the_devices_own_user_or_takes_the_right_to_root() {
    let (manager, ids) = devices().await;
    let (ann, eve) = (somebody(&manager, "ann", "operator").await, somebody(&manager, "eve", "admin").await);
    for (at, device, user) in [(0, "one", "robot"), (1, "two", "robot")] {
        for wish in [None, Some(user)] {
            let got = asked(&ann, device, wish).await.unwrap();
            assert_eq!((&got["user"], &got["principal"]), (&json!(user), &json!(format!("robo:{}:{user}", ids[at]))));
            assert!(got["certificate"].as_str().unwrap().starts_with("ssh-ed25519-cert-v01@openssh.com AAAA"));
            assert_eq!(got["lifetime"], json!(Millis::from_secs(300)));
        }
    }
    for (device, user) in [
        ("one", Some("root")),
        ("one", Some("daemon")),
        ("two", Some("daemon")),
        ("three", None),
        ("three", Some("robot")),
        ("four", Some("robot")),
    ] {
        refused(asked(&ann, device, user).await, ErrorCode::Forbidden, "the right to `root`");
        assert!(asked(&eve, device, user).await.is_ok(), "{device} {user:?}");
    }
    refused(asked(&eve, "four", None).await, ErrorCode::BadRequest, "which user");

    let told = manager.audit().await;
    let find = |who: &str, verb: &str, outcome: &str, device: &str| {
        let is_it = |line: &&Value| {
            let thing = format!("device {device}: ssh");
            line["who"] == who && line["verb"] == verb && line["outcome"] == outcome && line["thing"] == thing
        };
        told.iter().find(is_it).unwrap_or_else(|| panic!("{who} {verb} {outcome}: {told:#?}")).clone()
    };
    let allowed = find("ann", "shell", "allowed", "two");
    assert!(allowed["detail"].as_str().unwrap().contains(" as robot, until "), "{allowed}");
    find("ann", "root", "refused", "four");
    assert_eq!(find("eve", "root", "allowed", "two")["detail"], "as daemon");
}

#[tokio::test]
async fn who_may_no_more_gets_no_certificate() {
    let (manager, _) = devices().await;
    let ann = somebody(&manager, "ann", "operator").await;
    assert!(asked(&ann, "one", None).await.is_ok());
    let grants = manager.get("/v1/grants").await.unwrap();
    let grant = grants.as_array().unwrap().iter().find(|grant| grant["user"] == "ann").unwrap()["id"].clone();
    manager.post("/v1/grants", json!({"user": "ann", "role": "viewer", "project": "default"})).await.unwrap();
    manager.call(Method::DELETE, &format!("/v1/grants/{grant}"), Value::Null).await.unwrap();
    refused(asked(&ann, "one", None).await, ErrorCode::Forbidden, "the right to `shell`");
    refused(asked(&ann, "none", None).await, ErrorCode::Forbidden, "the right to `shell`");

    let bob = manager.user("bob", &[json!({"role": "operator", "project": "default", "selector": "site=x"})]).await;
    let got = asked(&bob, "one", None).await.unwrap_err();
    assert_eq!(got.code, ErrorCode::Forbidden, "{got}");
    let eve = somebody(&manager, "eve", "admin").await;
    refused(asked(&eve, "none", None).await, ErrorCode::NotFound, "no device `none`");
}

#[tokio::test]
async fn a_certificate_ends_in_an_hour_or_with_its_token() {
    let (manager, _) = devices().await;
    let path = "devices/one/ssh-certificate";
    let ask = |lifetime: u64| json!({"public_key": KEY, "lifetime": Millis::from_secs(lifetime)});
    assert_eq!(manager.post(path, ask(3600)).await.unwrap()["lifetime"], json!(Millis::from_secs(3600)));
    for bad in [0, 3601, 1_000_000] {
        refused(manager.post(path, ask(bad)).await, ErrorCode::BadRequest, "at most");
    }
    somebody(&manager, "ann", "operator").await;
    let soon = json!({"lifetime": Millis::from_secs(100)});
    let token = manager.post("/v1/users/ann/tokens", soon).await.unwrap();
    let mut request = manager.request(Method::POST, path).body(Body::from(ask(3600).to_string())).unwrap();
    let shown = format!("Bearer {}", token["token"].as_str().unwrap());
    request.headers_mut().insert(header::AUTHORIZATION, shown.parse().unwrap());
    let got = answer(manager.send(request).await).await.unwrap();
    assert_eq!(got["expires_at"], token["expires_at"], "{got} {token}");
}

#[tokio::test]
async fn wrong_requests_for_a_certificate_are_refused_each_for_its_reason() {
    let (manager, _) = devices().await;
    let path = "devices/one/ssh-certificate";
    for key in ["", "nonsense", "ssh-ed25519", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----"] {
        refused(manager.post(path, json!({"public_key": key})).await, ErrorCode::BadRequest, "no public key");
    }
    for user in ["", "-x", "a:b", "a,b", "a b", "%u", "../x", &"x".repeat(300)] {
        let body = json!({"public_key": KEY, "user": user});
        refused(manager.post(path, body).await, ErrorCode::BadRequest, "no name of a user");
    }
    for body in [json!({}), json!({"public_key": KEY, "principals": ["root"]}), json!([])] {
        assert_eq!(manager.post(path, body).await.unwrap_err().code, ErrorCode::BadRequest);
    }
    for change in [json!({"add": {"key": "x"}}), json!({"add": {"key": KEY, "note": "a b"}}), json!("drop")] {
        let answer = manager.post("devices/one/ssh-keys", json!({"change": change})).await;
        assert_eq!(answer.unwrap_err().code, ErrorCode::BadRequest, "{change}");
    }
    let answer = manager.post("devices/one/ssh-keys", json!({"change": "list"})).await;
    refused(answer, ErrorCode::DeviceOffline, "one");
    let ann = somebody(&manager, "ann", "operator").await;
    let body = json!({"change": "list", "user": "root"});
    refused(ann.call(Method::POST, "devices/one/ssh-keys", body).await, ErrorCode::Forbidden, "the right to `root`");
}
