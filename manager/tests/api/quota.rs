//! How many devices a project may have.

use super::*;

#[tokio::test]
async fn a_project_that_is_full_takes_no_device_and_loses_none() {
    let manager = Manager::start().await;
    let lab = manager.post("/v1/projects", json!({"name": "lab", "max_devices": 1})).await.unwrap();
    assert_eq!((&lab["max_devices"], &lab["devices"]), (&json!(1), &json!(0)));
    let token = |name: &str| manager.post("/v1/projects/lab/tokens", json!({"name": name}));
    let enrol = async |token: &Value, name: &str| {
        let body = json!({"token": token["token"], "certificate_request": name});
        manager.post("/v1/enroll", body).await
    };
    let (first, second) = (token("a").await.unwrap(), token("b").await.unwrap());
    enrol(&first, "a").await.unwrap();
    let full = enrol(&second, "b").await;
    refused(full, ErrorCode::ProjectFull, "project `lab` has as many devices as it may have: 1");

    // Neither is one moved there, and it stays where it was.
    manager.enrol("c").await;
    let moved = manager.post("devices/c/move", json!({"project": "lab"})).await;
    refused(moved, ErrorCode::ProjectFull, "robo project set lab --max-devices N");
    assert!(manager.get("devices/c").await.is_ok());
    // The same device again takes no place of its own.
    let again = manager.post("/v1/projects/lab/tokens", json!({"name": "a", "replace": true})).await.unwrap();
    enrol(&again, "a2").await.unwrap();

    // Less than there are: all stay.
    let quota = |max: Value| manager.call(Method::PUT, "/v1/projects/lab/quota", json!({"max_devices": max}));
    assert_eq!(quota(json!(0)).await.unwrap()["devices"], 1);
    assert!(manager.get("/v1/projects/lab/devices/a").await.is_ok());
    refused(enrol(&second, "b").await, ErrorCode::ProjectFull, "may have: 0");
    // A refusal used nothing up: with room, the same token is good.
    quota(json!(2)).await.unwrap();
    enrol(&second, "b").await.unwrap();
    assert!(quota(Value::Null).await.unwrap()["max_devices"].is_null());
    manager.post("devices/c/move", json!({"project": "lab"})).await.unwrap();
    let all = manager.get("/v1/projects").await.unwrap();
    let lab = all.as_array().unwrap().iter().find(|project| project["name"] == "lab").unwrap().clone();
    assert_eq!(lab["devices"], 3);
}

#[tokio::test]
async fn of_many_that_come_at_once_so_many_are_let_in_as_there_is_room_for() {
    let manager = Manager::start().await;
    manager.post("/v1/projects", json!({"name": "lab", "max_devices": 3})).await.unwrap();
    let token = manager.post("/v1/projects/lab/tokens", json!({"uses": 10})).await.unwrap();
    let come = |number: u32| {
        let (manager, token) = (&manager, &token["token"]);
        let name = format!("d{number}");
        async move {
            let facts = json!({"hostname": name});
            manager.post("/v1/enroll", json!({"token": token, "certificate_request": name, "facts": facts})).await
        }
    };
    let came = futures_util::future::join_all((0..10).map(come)).await;
    assert_eq!(came.iter().filter(|one| one.is_ok()).count(), 3);
    for one in came.into_iter().filter(Result::is_err) {
        refused(one, ErrorCode::ProjectFull, "may have: 3");
    }
}

#[tokio::test]
async fn a_quota_is_for_who_manages_the_manager_to_say() {
    let manager = Manager::start().await;
    manager.post("/v1/projects", json!({"name": "lab", "max_devices": 5})).await.unwrap();
    let eve = manager.user("eve", &[json!({"role": "admin", "project": "lab"})]).await;
    let raise = eve.call(Method::PUT, "/v1/projects/lab/quota", json!({"max_devices": 100})).await;
    refused(raise, ErrorCode::Forbidden, "manage-users");
    let none = manager.call(Method::PUT, "/v1/projects/none/quota", json!({"max_devices": 1})).await;
    refused(none, ErrorCode::NotFound, "no project `none`");
    for body in [json!({"max_devices": -1}), json!({"max_devices": "many"}), json!({"max": 1})] {
        let answer = manager.call(Method::PUT, "/v1/projects/lab/quota", body).await;
        assert_eq!(answer.unwrap_err().code, ErrorCode::BadRequest);
    }
    // The same again changes nothing; another bound is said with another word.
    manager.post("/v1/projects", json!({"name": "lab"})).await.unwrap();
    let lab = manager.post("/v1/projects", json!({"name": "lab", "max_devices": 5})).await.unwrap();
    assert_eq!(lab["max_devices"], 5);
    let other = manager.post("/v1/projects", json!({"name": "lab", "max_devices": 6})).await;
    refused(other, ErrorCode::NameTaken, "robo project set lab");
    // Who sees some devices only does not hear how many there are.
    let bob = manager.user("bob", &[json!({"role": "viewer", "project": "lab", "selector": "site=x"})]).await;
    let seen = bob.call(Method::GET, "/v1/projects", Value::Null).await.unwrap();
    assert!(seen[0]["devices"].is_null() && seen[0]["name"] == "lab", "{seen}");
}
