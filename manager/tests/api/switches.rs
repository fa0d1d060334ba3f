//! What is switched off on devices: who may, what comes of it, and where it is told.

use robo_wire::api::Facts;

use super::*;

/// Three devices: `two` is in Tokyo, and the owner of `three` forbids shells.
async fn fleet() -> Manager {
    let manager = Manager::start().await;
    for name in ["one", "two", "three"] {
        let id = manager.enrol(name).await;
        let without = if name == "three" { vec!["shell".to_owned(), "nothing-we-know".to_owned()] } else { Vec::new() };
        let facts = Facts { without, ..Facts::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    let labels = json!({"targets": {"names": ["two"]}, "set": {"site": "tokyo"}});
    manager.post("labels", labels).await.unwrap();
    manager
}

async fn switch(manager: &Manager, targets: Value, set: Value) -> Vec<Value> {
    let results = manager.post("switches", json!({"targets": targets, "set": set})).await.unwrap();
    results.as_array().unwrap().clone()
}

fn outcomes_of(results: &[Value]) -> Vec<(&str, &str)> {
    results.iter().map(|one| (one["device"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_switch_is_the_devices_and_says_who_and_when() {
    let manager = fleet().await;
    let results = switch(&manager, json!({"selector": "site=tokyo"}), json!({"shell": false, "copy": true})).await;
    assert_eq!(outcomes_of(&results), [("two", "changed")]);
    assert_eq!(results[0]["switches"]["off"]["shell"]["by"], "admin");
    let at = results[0]["switches"]["off"]["shell"]["at"].clone();
    let again = switch(&manager, json!({"names": ["two"]}), json!({"shell": false})).await;
    assert_eq!((outcomes_of(&again), &again[0]["switches"]["off"]["shell"]["at"]), (vec![("two", "same")], &at));
    // Other labels, later, change no switch.
    manager.post("labels", json!({"targets": {"names": ["two"]}, "set": {"site": "osaka"}})).await.unwrap();
    manager.post("labels", json!({"targets": {"names": ["one"]}, "set": {"site": "tokyo"}})).await.unwrap();
    assert_eq!(manager.get("devices/two").await.unwrap()["switches"]["off"]["shell"]["at"], at);
    assert_eq!(manager.get("devices/one").await.unwrap()["switches"]["off"], json!({}));

    let all = switch(&manager, json!("all"), json!({"shell": true})).await;
    assert_eq!(outcomes_of(&all), [("one", "same"), ("three", "failed"), ("two", "changed")]);
    assert!(all[1]["error"].as_str().unwrap().contains("owner forbids `shell`"), "{all:?}");
    assert_eq!(manager.get("devices/three").await.unwrap()["facts"]["without"], json!(["shell"]));
    let off = switch(&manager, json!({"names": ["three"]}), json!({"shell": false, "exec": false})).await;
    assert_eq!(outcomes_of(&off), [("three", "changed")], "off it can be all the same");
    let told = switch(&manager, json!({"names": ["three"]}), json!({"shell": true, "exec": true})).await;
    assert_eq!(told[0]["switches"]["off"].as_object().unwrap().len(), 2, "all of it or none");

    let events: Vec<String> = manager
        .events()
        .await
        .into_iter()
        .filter(|event| matches!(event.body, EventBody::Switched { .. }))
        .map(|event| format!("{}: {}", event.device.unwrap(), event.body))
        .collect();
    assert_eq!(
        events,
        [
            "two: shell switched off by admin",
            "two: shell switched on by admin",
            "three: exec switched off by admin",
            "three: shell switched off by admin",
        ]
    );
    let audit = manager.audit().await;
    let line = audit.iter().find(|line| line["detail"] == "switch shell=off copy=on").unwrap();
    assert_eq!((&line["verb"], &line["thing"]), (&json!("manage-devices"), &json!("devices: those with site=tokyo")));
}

#[tokio::test]
async fn what_cannot_be_switched_is_refused() {
    let manager = fleet().await;
    let ask = async |body: Value| manager.post("switches", body).await;
    refused(ask(json!({"targets": "all", "set": {}})).await, ErrorCode::BadRequest, "nothing is to be switched");
    refused(ask(json!({"targets": "all", "set": {"health": false}})).await, ErrorCode::BadRequest, "health");
    refused(ask(json!({"targets": "all", "set": {"shell": "off"}})).await, ErrorCode::BadRequest, "");
    refused(ask(json!({"targets": {"selector": ",,"}, "set": {"shell": false}})).await, ErrorCode::BadRequest, "");
    refused(ask(json!({"targets": "all", "set": {"shell": false}, "x": 1})).await, ErrorCode::BadRequest, "x");
    let results = switch(&manager, json!({"names": ["twoo", "one"]}), json!({"logs": false})).await;
    assert_eq!(outcomes_of(&results), [("one", "changed"), ("twoo", "failed")], "each has its result");
    assert!(results[1]["error"].as_str().unwrap().contains("did you mean `two`"), "{results:?}");

    let operator = json!({"role": "operator", "project": "default"});
    let labelled = json!({"role": "admin", "project": "default", "selector": "site=tokyo"});
    let ann = manager.user("ann", &[operator, labelled]).await;
    let body = json!({"targets": {"names": ["two"]}, "set": {"shell": false}});
    refused(ann.call(Method::POST, "switches", body).await, ErrorCode::Forbidden, "manage-devices");
    assert_eq!(manager.get("devices/two").await.unwrap()["switches"]["off"], json!({}));
}
