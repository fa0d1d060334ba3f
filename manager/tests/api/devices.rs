//! Devices: how they come in, their labels, and what is left when one is removed.

use robo_wire::api::{Facts, Interface};

use super::*;

#[tokio::test]
async fn a_device_has_labels_until_it_is_removed_and_its_host_says_so() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.deploy(&GRAPH.replace("port = 3306", "random[port] port")).await;
    let change = |change: Value| manager.call(Method::PATCH, "devices/one", change);
    let labelled = change(json!({"set": {"site": "tokyo", "rack": "7"}})).await.unwrap();
    assert_eq!(labelled["labels"], json!({"site": "tokyo", "rack": "7"}));
    let labelled = change(json!({"set": {"site": "osaka"}, "unset": ["rack", "never"]})).await.unwrap();
    assert_eq!(labelled["labels"], json!({"site": "osaka"}));
    refused(change(json!({"set": {"a": "b"}, "unset": ["a"]})).await, ErrorCode::BadRequest, "at once");
    refused(change(json!({"set": {"no good": "b"}})).await, ErrorCode::BadRequest, "no good");

    let remove = |path| manager.call(Method::DELETE, path, Value::Null);
    refused(remove("devices/on").await, ErrorCode::NotFound, "did you mean `one`");
    refused(remove("devices/one").await, ErrorCode::InUse, "`/vm` of `shop`");
    let removed = remove("devices/one?force=true").await.unwrap();
    assert_eq!(removed["instances"], json!(["/vm"]));
    refused(manager.get("devices/one").await, ErrorCode::NotFound, "no device `one`");
    let status = manager.get("status").await.unwrap();
    let host = &status["instances"][0];
    assert_eq!(status["instances"].as_array().unwrap().len(), 1);
    assert_eq!((&host["path"], &host["state"]), (&json!("/vm"), &json!("PROBLEM")));
    assert!(host["report"]["hold"].as_str().unwrap().contains("device `one` was removed"));
    // What is left of the application can still be asked for, whatever went with the device, and the plan says what is missing.
    manager.post("applications/shop/wanted", json!({"wanted": "stopped"})).await.unwrap();
    refused(manager.plan(&manager.bundle(GRAPH).await).await, ErrorCode::UnknownDevice, "one");
    manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    assert_eq!(manager.get("status").await.unwrap()["instances"][0]["state"], "NOT_DEPLOYED");
}

#[tokio::test]
async fn a_record_says_what_runs_on_a_device_and_one_that_never_came_is_new() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let fresh = manager.get("devices/one").await.unwrap();
    assert_eq!((&fresh["state"], &fresh["enrolled_by"]), (&json!("new"), &json!("admin")));
    assert_eq!((&fresh["since"], &fresh["last_seen"]), (&fresh["enrolled_at"], &Value::Null));
    assert_eq!(fresh["instances"], Value::Null);
    manager.deploy(GRAPH).await;
    let used = manager.get("devices/one").await.unwrap();
    let paths: Vec<&str> = used["instances"].as_array().unwrap().iter().map(|i| i["path"].as_str().unwrap()).collect();
    assert_eq!((paths, &used["applications"]), (vec!["/vm", "/vm/db"], &json!(["shop"])));
    assert_eq!(
        (&used["instances"][1]["state"], &used["instances"][1]["wanted"]),
        (&json!("NOT_DEPLOYED"), &json!("started"))
    );
    assert_eq!(manager.get("devices").await.unwrap()[0]["instances"], Value::Null, "a list stays short");

    // What it tells of itself later is kept, within bounds; the same again is nothing.
    let store = manager.service.store();
    let id: DeviceId = used["id"].as_str().unwrap().parse().unwrap();
    let interface = |name: usize| Interface { name: name.to_string(), addresses: vec!["10.0.0.1".into(); 100] };
    let facts = Facts { cores: 4, interfaces: (0..100).map(interface).collect(), ..Facts::default() };
    assert!(store.device_facts(&id, &facts, UnixMillis(5)).await.unwrap().facts);
    assert!(!store.device_facts(&id, &facts, UnixMillis(6)).await.unwrap().facts);
    let seen = manager.get("devices/one").await.unwrap();
    let interfaces = seen["facts"]["interfaces"].as_array().unwrap();
    assert_eq!((interfaces.len(), interfaces[0]["addresses"].as_array().unwrap().len()), (32, 16));
    assert_eq!(seen["facts"]["cores"], 4);
}

#[tokio::test]
async fn enrolment_tokens_are_refused_each_for_its_reason() {
    let manager = Manager::start().await;
    let enrol = async |token: &str, name: Option<&str>, request: &str| {
        let facts = json!({"hostname": "not a name!"});
        let body = json!({"token": token, "certificate_request": request, "name": name, "facts": facts});
        manager.post("/v1/enroll", body).await
    };
    let new = async |body: Value| manager.post("tokens", body).await.unwrap()["token"].as_str().unwrap().to_owned();
    refused(enrol("rbe1.x", None, "k").await, ErrorCode::TokenUnknown, "new token");
    let ours = "ab".repeat(32);
    refused(enrol(&format!("rbe1.{ours}.guess"), None, "k").await, ErrorCode::TokenUnknown, "unknown");
    refused(enrol(&format!("rbe1.{}.x", "cd".repeat(32)), None, "k").await, ErrorCode::TokenForeign, "this manager");

    let token = new(json!({"labels": {"site": "tokyo"}})).await;
    refused(enrol(&token, None, "k").await, ErrorCode::BadRequest, "not a name!");
    refused(enrol(&token, Some("one"), "bad").await, ErrorCode::BadRequest, "certificate request");
    let enrolled = enrol(&token, Some("one"), "k1").await.unwrap();
    assert_eq!(enrolled["project"], "default");
    refused(enrol(&token, Some("two"), "k2").await, ErrorCode::TokenUsed, "by device `one`");

    let second = new(json!({"name": "one"})).await;
    refused(enrol(&second, Some("ignored"), "k2").await, ErrorCode::NameTaken, "`one`");
    refused(manager.post("tokens", json!({"replace": true})).await, ErrorCode::BadRequest, "that device's name");
    let replacing = new(json!({"name": "one", "replace": true})).await;
    let mut bell = manager.service.bus().listen();
    let replaced = enrol(&replacing, None, "k2").await.unwrap();
    let rung = bell.next().await;
    assert_eq!(rung, Heard::Ring(Ring::Identity(enrolled["device"].as_str().unwrap().parse().unwrap())));
    assert_eq!(replaced["device"], enrolled["device"]);
    let shown = manager.get("devices/one").await.unwrap();
    assert_eq!((&shown["key_fingerprint"], &shown["labels"]["site"]), (&json!("k2"), &json!("tokyo")));

    let late = token::new_enroll_token(&ours).unwrap();
    let record = EnrollTokenRecord::new(ProjectName::default_project(), UnixMillis(1_000));
    manager.service.store().add_enroll_token(&token::hash(&late), &record, UnixMillis(0)).await.unwrap();
    refused(enrol(&late, Some("two"), "k").await, ErrorCode::TokenExpired, "new token");
    // One that an older manager made.
    let anybody = token::new_enroll_token(&ours).unwrap();
    let record = EnrollTokenRecord { replace: true, expires_at: UnixMillis(u64::MAX / 2), ..record };
    manager.service.store().add_enroll_token(&token::hash(&anybody), &record, UnixMillis(0)).await.unwrap();
    refused(enrol(&anybody, Some("one"), "k3").await, ErrorCode::NameTaken, "`one`");
    refused(manager.post("tokens", json!({"labels": {"a b": "c"}})).await, ErrorCode::BadRequest, "`a b`");
    refused(manager.post("tokens", json!({"lifetime": 9_000_000_000_u64})).await, ErrorCode::BadRequest, "longest");
}

#[tokio::test]
async fn an_identity_is_never_used_again() {
    let manager = Manager::start().await;
    let mut known = BTreeSet::new();
    for _ in 0..20 {
        let id = manager.enrol("one").await;
        assert!(known.insert(id.clone()), "{id}");
        manager.call(Method::DELETE, "devices/one", Value::Null).await.unwrap();
        assert!(manager.service.store().device(&id).await.unwrap().is_none());
    }
}
