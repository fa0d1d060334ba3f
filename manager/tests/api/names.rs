//! What operators call devices: names, and labels of many at once.

use super::*;

#[tokio::test]
async fn a_device_gets_another_name_and_stays_the_same_one() {
    let manager = Manager::start().await;
    let id = manager.enrol("old").await;
    manager.enrol("other").await;
    let waiting = manager.post("tokens", json!({"name": "old", "replace": true})).await.unwrap();
    let rename = |from: &str, to: &str| {
        let path = format!("devices/{from}/rename");
        let body = json!({"name": to});
        let manager = &manager;
        async move { manager.post(&path, body).await }
    };
    let mut bell = manager.service.bus().listen();
    let renamed = rename("old", "new").await.unwrap();
    assert_eq!((&renamed["name"], &renamed["id"]), (&json!("new"), &json!(id.as_str())));
    assert_eq!(bell.next().await, Heard::Ring(Ring::Identity(id)), "its link looks");
    refused(manager.get("devices/old").await, ErrorCode::NotFound, "no device `old`");
    let events = manager.service.events(&ProjectName::default_project(), Some(0), &all_events()).await.unwrap().events;
    let told = events.iter().map(|event| event.body.to_string()).collect::<Vec<_>>();
    assert_eq!(told.last().unwrap(), "renamed by admin, was old");
    // The same again is nothing; what is wrong changes nothing.
    rename("new", "new").await.unwrap();
    refused(rename("old", "x").await, ErrorCode::NotFound, "no device `old`");
    refused(rename("new", "other").await, ErrorCode::NameTaken, "another device `other`");
    refused(rename("new", "no good").await, ErrorCode::BadRequest, "no good");
    // The old name is free, and a token that was to replace its bearer is worth nothing.
    let body = json!({"token": waiting["token"], "certificate_request": "k9"});
    refused(manager.post("/v1/enroll", body).await, ErrorCode::TokenUnknown, "unknown");
    manager.enrol("old").await;
}

#[tokio::test]
async fn a_device_that_applications_name_keeps_its_name() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let renamed = manager.post("devices/one/rename", json!({"name": "two"})).await;
    let problem = renamed.unwrap_err();
    assert_eq!(problem.code, ErrorCode::InUse);
    for part in ["`one` is named by", "/vm of `shop`", "/vm/db of `shop`"] {
        assert!(problem.title.contains(part), "{problem:?}");
    }
    assert_eq!(manager.get("devices/one").await.unwrap()["name"], "one");
}

#[tokio::test]
async fn labels_of_many_devices_change_in_one_request_with_a_result_for_each() {
    let manager = Manager::start().await;
    for name in ["a", "b", "c"] {
        manager.enrol(name).await;
    }
    let change = |body: Value| manager.post("labels", body);
    let outcomes = |answer: Value| -> Vec<String> {
        let all = answer.as_array().unwrap().iter();
        all.map(|one| format!("{} {}", one["device"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect()
    };
    let set = json!({"targets": {"names": ["b", "a", "bb", "a"]}, "set": {"site": "tokyo"}});
    let mut dry = set.clone();
    dry["dry_run"] = true.into();
    let expect = ["a changed", "b changed", "bb failed"];
    assert_eq!(outcomes(change(dry).await.unwrap()), expect);
    assert_eq!(manager.get("devices/a").await.unwrap()["labels"], json!({}), "a dry run changes nothing");
    let done = change(set.clone()).await.unwrap();
    assert_eq!(done[0]["labels"], json!({"site": "tokyo"}));
    assert!(done[2]["error"].as_str().unwrap().contains("no device `bb`; did you mean `b`?"), "{done}");
    assert_eq!(outcomes(done), expect);
    assert_eq!(outcomes(change(set).await.unwrap()), ["a same", "b same", "bb failed"]);
    let by_label = json!({"targets": {"selector": "site=tokyo"}, "set": {"gpu": ""}, "unset": ["site"]});
    assert_eq!(outcomes(change(by_label).await.unwrap()), ["a changed", "b changed"]);
    let all = json!({"targets": "all", "unset": ["gpu"]});
    assert_eq!(outcomes(change(all).await.unwrap()), ["a changed", "b changed", "c same"]);

    let wrong =
        |targets: Value, set: Value, unset: Value| change(json!({"targets": targets, "set": set, "unset": unset}));
    refused(wrong(json!("all"), json!({"a": "b"}), json!(["a"])).await, ErrorCode::BadRequest, "at once");
    refused(wrong(json!("all"), json!({"no good": ""}), json!([])).await, ErrorCode::BadRequest, "no good");
    refused(wrong(json!({"selector": "a,,b"}), json!({}), json!([])).await, ErrorCode::BadRequest, "requirement");
    refused(wrong(json!("some"), json!({}), json!([])).await, ErrorCode::BadRequest, "unknown variant");
    let names: Vec<String> = (0..10_001).map(|n| format!("d{n}")).collect();
    refused(wrong(json!({"names": names}), json!({}), json!([])).await, ErrorCode::TooLarge, "at most 10000");
}

#[tokio::test]
async fn one_request_labels_five_hundred() {
    let manager = Manager::start().await;
    let token = manager.post("tokens", json!({"uses": 500})).await.unwrap()["token"].clone();
    for n in 0..500 {
        let body = json!({"token": token, "certificate_request": format!("k{n}"), "name": format!("d{n:03}")});
        manager.post("/v1/enroll", body).await.unwrap();
    }
    let answer = manager.post("labels", json!({"targets": "all", "set": {"wave": "1"}})).await.unwrap();
    let changed = answer.as_array().unwrap().iter().filter(|one| one["outcome"] == "changed").count();
    assert_eq!(changed, 500);
    let devices = manager.get("devices").await.unwrap();
    assert!(devices.as_array().unwrap().iter().all(|device| device["labels"]["wave"] == "1"));
}

fn all_events() -> robo_manager::store::EventFilter {
    robo_manager::store::EventFilter { application: None, limit: 1_000 }
}
