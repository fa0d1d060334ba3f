//! Which devices are listed: by labels, by questions, a page at a time.

use robo_wire::api::{Facts, NOTICE_HEADER};

use super::*;

impl Manager {
    async fn named(&self, path: &str) -> Result<Vec<String>, Problem> {
        let all = self.get(path).await?;
        Ok(all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect())
    }

    async fn question(&self, question: &str) -> Result<Vec<String>, Problem> {
        let mut text = String::from("devices?where=");
        question.bytes().for_each(|byte| text.push_str(&format!("%{byte:02x}")));
        self.named(&text).await
    }
}

/// Four devices, with something different about each.
async fn fleet() -> Manager {
    let manager = Manager::start().await;
    let gib = |number: u64| number << 30;
    for (name, site, cores, memory, capability) in [
        ("a", "tokyo", 2, gib(4), ""),
        ("b", "tokyo", 8, gib(8), "gpu"),
        ("c", "osaka", 16, gib(64), "gpu"),
        ("d", "", 0, 0, ""),
    ] {
        let id = manager.enrol(name).await;
        if !site.is_empty() {
            manager.call(Method::PATCH, &format!("devices/{name}"), json!({"set": {"site": site}})).await.unwrap();
        }
        let capabilities = if capability.is_empty() { Vec::new() } else { vec![capability.to_owned()] };
        let facts = Facts { cores, memory, capabilities, arch: "x86_64".into(), ..Facts::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    manager.enrol("e").await;
    manager
}

#[tokio::test]
async fn devices_are_found_by_labels_and_questions() {
    let manager = fleet().await;
    let check = async |question: &str, expect: &[&str]| {
        assert_eq!(manager.question(question).await.unwrap(), expect, "{question}");
    };
    assert_eq!(manager.named("devices").await.unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(manager.named("devices?selector=site%3Dtokyo").await.unwrap(), ["a", "b"]);
    assert_eq!(manager.named("devices?selector=site&where=cores%3E2").await.unwrap(), ["b", "c"]);
    check("state = online", &["a", "b", "c", "d"]).await;
    check("state = new or label.site = osaka", &["c", "e"]).await;
    check("capability.gpu and memory > 8GiB", &["c"]).await;
    check("not capability.gpu and cores", &["a"]).await;
    check("cores != 2 and label.site", &["b", "c"]).await;
    check("arch = x86_64 and not (label.site = tokyo or cores >= 16)", &["d"]).await;
    check("enrolled_by = admin and name = a", &["a"]).await;
    check("label.nothing = x", &[]).await;

    manager.deploy(&GRAPH.replace("device: one", "device: a")).await;
    check("application.shop", &["a"]).await;
}

#[tokio::test]
async fn a_wrong_question_is_marked_and_an_unknown_fact_is_told_of() {
    let manager = fleet().await;
    for (question, expect) in [
        ("cores >", "a value is missing"),
        ("cores > many", "no number"),
        ("", "a comparison is missing"),
        ("a && b", "write `and`"),
    ] {
        refused(manager.question(question).await.map(Value::from), ErrorCode::BadRequest, expect);
    }
    let problem = manager.question("state = online cores").await.unwrap_err();
    assert_eq!(problem.help.unwrap(), "state = online cores\n               ^^^^^");
    refused(manager.get("devices?selector=a,,b").await, ErrorCode::BadRequest, "requirement");
    refused(manager.get("devices?colour=red").await, ErrorCode::BadRequest, "colour");

    let request = manager.request(Method::GET, "devices?where=metric.battery%3E20%20or%20state%3Donline");
    let answer = manager.send(request.body(Body::empty()).unwrap()).await;
    let notice = answer.headers()[NOTICE_HEADER].to_str().unwrap().to_owned();
    assert!(notice.starts_with("no device tells `metric.battery`; there are application.NAME"), "{notice}");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "[]");
    let known = manager.request(Method::GET, "devices?where=state%3Donline").body(Body::empty()).unwrap();
    assert!(manager.send(known).await.headers().get(NOTICE_HEADER).is_none());
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let manager = fleet().await;
    assert_eq!(manager.named("devices?limit=2").await.unwrap(), ["a", "b"]);
    assert_eq!(manager.named("devices?limit=2&after=b").await.unwrap(), ["c", "d"]);
    assert_eq!(manager.named("devices?limit=2&after=d").await.unwrap(), ["e"]);
    assert_eq!(manager.named("devices?limit=1&after=a&selector=site").await.unwrap(), ["b"]);
    for limit in ["0", "1001"] {
        refused(manager.get(&format!("devices?limit={limit}")).await, ErrorCode::BadRequest, "1 to 1000");
    }
    refused(manager.get("devices?limit=x").await, ErrorCode::BadRequest, "limit");
    refused(manager.get("devices?after=no%20name").await, ErrorCode::BadRequest, "no name");
}
