//! How far machines are that become devices, told with a token that is not used up by it.

use super::*;

async fn token(manager: &Manager, body: Value) -> (String, String) {
    let made = manager.post("tokens", body).await.unwrap();
    let text = made["token"].as_str().unwrap().to_owned();
    let hash = hash_of(&text);
    (text, hash)
}

/// As the script sends it: without any credentials but the hash.
async fn report(manager: &Manager, body: Value) -> Result<Value, Problem> {
    let request = Request::builder().method(Method::POST).uri("/v1/install/report");
    answer(manager.send(request.body(Body::from(body.to_string())).unwrap()).await).await
}

async fn installs(manager: &Manager) -> Vec<Value> {
    manager.get("installs").await.unwrap().as_array().unwrap().clone()
}

#[tokio::test]
async fn a_machine_on_its_way_is_shown_until_it_is_a_device() {
    let manager = Manager::start().await;
    let (text, hash) = token(&manager, json!({"name": "robot-7", "labels": {"site": "tokyo"}})).await;
    let told = json!({"token_hash": hash, "host": "pi", "stage": "unpack", "percent": 60});
    report(&manager, told.clone()).await.unwrap();
    let shown = installs(&manager).await;
    assert_eq!((shown.len(), &shown[0]["name"], &shown[0]["host"]), (1, &json!("robot-7"), &json!("pi")));
    assert_eq!((&shown[0]["stage"], &shown[0]["percent"]), (&json!("unpack"), &json!(60)));
    assert_eq!((&shown[0]["labels"], &shown[0]["cause"]), (&json!({"site": "tokyo"}), &Value::Null));

    let failed = json!({"token_hash": hash, "host": "pi", "stage": "download", "percent": 10,
        "code": "AGT_DISK_FULL", "detail": "/usr/local/bin\u{1b}[31m is full"});
    report(&manager, failed).await.unwrap();
    let shown = installs(&manager).await;
    assert_eq!((shown.len(), &shown[0]["code"]), (1, &json!("AGT_DISK_FULL")));
    assert!(shown[0]["remedy"].as_str().unwrap().contains("Make room"), "{shown:?}");
    assert!(shown[0]["cause"].as_str().unwrap().contains("too little room"), "{shown:?}");
    assert_eq!(shown[0]["detail"], "/usr/local/bin [31m is full");

    // The next run leaves that state, and its end is the device.
    report(&manager, told.clone()).await.unwrap();
    assert_eq!(installs(&manager).await[0]["code"], Value::Null);
    let body = json!({"token": text, "certificate_request": "k", "facts": {"hostname": "pi"}});
    manager.post("/v1/enroll", body).await.unwrap();
    assert!(installs(&manager).await.is_empty());
    refused(report(&manager, told).await, ErrorCode::TokenUsed, "by device `robot-7`");
    assert!(installs(&manager).await.is_empty());
}

#[tokio::test]
async fn a_token_for_many_shows_each_machine_and_forgets_who_came() {
    let manager = Manager::start().await;
    let (text, hash) = token(&manager, json!({"uses": 3})).await;
    let told = |host: &str, stage: &str, percent: u8| json!({"token_hash": hash, "host": host, "stage": stage, "percent": percent});
    for host in ["a", "b", "c"] {
        report(&manager, told(host, "enrol", 80)).await.unwrap();
    }
    let body = json!({"token": text, "certificate_request": "k", "facts": {"hostname": "a"}});
    manager.post("/v1/enroll", body).await.unwrap();
    // A word that comes late does not bring it back; the last one forgets it.
    report(&manager, told("a", "online", 90)).await.unwrap();
    report(&manager, told("b", "online", 100)).await.unwrap();
    let names: Vec<Value> = installs(&manager).await.iter().map(|install| install["name"].clone()).collect();
    assert_eq!(names, ["c"]);

    // Of one token so many are remembered, and they go with it.
    for host in 0..120 {
        report(&manager, told(&format!("h{host}"), "check", 5)).await.unwrap();
    }
    assert_eq!(installs(&manager).await.len(), 100);
    let id = manager.get("tokens").await.unwrap()[0]["id"].as_str().unwrap().to_owned();
    manager.call(Method::DELETE, &format!("tokens/{id}"), Value::Null).await.unwrap();
    assert!(installs(&manager).await.is_empty());
    refused(report(&manager, told("c", "check", 5)).await, ErrorCode::TokenUnknown, "unknown");
}

#[tokio::test]
async fn a_report_that_cannot_be_so_is_refused_with_its_reason() {
    let manager = Manager::start().await;
    let (text, hash) = token(&manager, json!({})).await;
    let good = json!({"token_hash": hash, "host": "pi", "stage": "check", "percent": 5});
    let check = async |name: &str, value: Value, code: ErrorCode, says: &str| {
        let mut body = good.clone();
        body[name] = value;
        refused(report(&manager, body).await, code, says);
    };
    check("token_hash", json!(text), ErrorCode::TokenUnknown, "unknown").await;
    check("token_hash", json!("ab".repeat(32)), ErrorCode::TokenUnknown, "unknown").await;
    for host in ["", "a b", "a/b", &"a".repeat(65)] {
        check("host", json!(host), ErrorCode::BadRequest, "`host` must be").await;
    }
    check("stage", json!("brew"), ErrorCode::BadRequest, "unknown variant").await;
    check("percent", json!(101), ErrorCode::BadRequest, "at most 100").await;
    check("code", json!("E17"), ErrorCode::BadRequest, "`E17` is no code").await;
    check("detail", json!("x".repeat(1001)), ErrorCode::BadRequest, "more than 1000").await;
    check("detail", json!("x".repeat(5000)), ErrorCode::TooLarge, "4096 bytes").await;
    report(&manager, good.clone()).await.unwrap();

    // The hash is good for this and for nothing else.
    let enrol = json!({"token": hash, "certificate_request": "k", "facts": {"hostname": "pi"}});
    refused(manager.post("/v1/enroll", enrol).await, ErrorCode::TokenUnknown, "unknown");
    let request =
        Request::builder().uri("/v1/projects/default/installs").header(header::AUTHORIZATION, format!("Bearer {hash}"));
    assert_eq!(manager.send(request.body(Body::empty()).unwrap()).await.status(), StatusCode::UNAUTHORIZED);

    // So many at once, and not more.
    let mut answers = Vec::new();
    for _ in 0..700 {
        answers.push(report(&manager, good.clone()).await);
    }
    let busy =
        answers.iter().filter(|answer| answer.as_ref().is_err_and(|problem| problem.code == ErrorCode::Busy)).count();
    assert!((1..=100).contains(&busy), "{busy}");
}
