//! An agent that was told whom commands run as: they do, and acting as root ends with the right to it.
//!
//! Without root an agent cannot become anybody, and the user is its own.

use std::collections::BTreeMap;

use reqwest::Method;
use robo_model::quantity::Millis;
use robo_tests::api::Api;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::visitor::{Visitor, start};
use robo_wire::api::DeviceView;
use robo_wire::job::{JobRequest, JobView};
use robo_wire::shell::{SessionView, ShellStart};
use robo_wire::stream::{Command, Targets, Verdict};
use serde_json::{Value, json};

/// Who runs this, and whom commands are to run as.
fn users() -> (String, String) {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let other = if own == "root" { "nobody".to_owned() } else { own.clone() };
    (own, other)
}

async fn ask(api: &Api, method: Method, path: &str, body: Value) -> Value {
    api.call(method, path, Some(&body)).await.unwrap()
}

/// Somebody with a role, and its number.
async fn somebody(manager: &Manager, name: &str, role: &str) -> (Api, Value) {
    ask(&manager.api, Method::POST, "/users", json!({"name": name})).await;
    let grant = json!({"user": name, "role": role, "project": "default"});
    let grant = ask(&manager.api, Method::POST, "/grants", grant).await;
    let token = ask(&manager.api, Method::POST, &format!("/users/{name}/tokens"), json!({})).await;
    (manager.api.with_token(token["token"].as_str().unwrap()), grant["id"].clone())
}

async fn online(manager: &Manager) -> DeviceView {
    eventually("the device is linked", || async {
        manager.api.devices().await.into_iter().find(|device| device.online)
    })
    .await
}

fn job(script: &str, user: Option<&str>) -> JobRequest {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let user = user.map(str::to_owned);
    let command = Command { argv, env: BTreeMap::new(), cwd: None, user, timeout: None, stdin: false, within: None };
    let targets = Targets::Names(vec!["one".into()]);
    JobRequest { targets, command, queue: Some(Millis::from_secs(600)), concurrency: None, fail_fast: false }
}

async fn begin(api: &Api, request: &JobRequest) -> JobView {
    api.call(Method::POST, "/projects/default/jobs", Some(request)).await.unwrap()
}

async fn verdict(manager: &Manager, job: &JobView) -> Verdict {
    let path = format!("/projects/default/jobs/{}", job.id);
    eventually("the job has ended", || async {
        let view: JobView = manager.api.call::<(), _>(Method::GET, &path, None).await.unwrap();
        view.runs[0].outcome.clone()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_as_the_user_that_the_agent_was_told() {
    let (own, other) = users();
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    let before = online(&manager).await.facts;
    assert_eq!((before.exec_user.as_str(), &before.agent_user), ("", &own));
    let (ann, _) = somebody(&manager, "ann", "operator").await;
    let own_user = |name: &str| format!("test \"$(id -un)\" = {name}");
    let as_before = begin(&ann, &job(&own_user(&own), None)).await;
    assert_eq!(verdict(&manager, &as_before).await, Verdict::Ok, "as it was without the setting");

    // Ordered before the device wants more, and begun after.
    agent.crash().await;
    eventually("it is away", || async { manager.api.devices().await.iter().all(|d| !d.online).then_some(()) }).await;
    let foreign = if own == "root" { "root" } else { "daemon" };
    let waiting = begin(&ann, &job("true", Some(foreign))).await;
    agent.exec_user = Some(other.clone());
    agent.resume(&manager, None, "127.0.0.1");
    let refused = verdict(&manager, &waiting).await;
    assert!(matches!(&refused, Verdict::Refused { reason } if reason.contains("may not")), "{refused:?}");

    let facts = online(&manager).await.facts;
    assert_eq!((facts.exec_user, facts.agent_user), (other.clone(), own.clone()));
    let told = begin(&ann, &job(&own_user(&other), None)).await;
    assert_eq!(verdict(&manager, &told).await, Verdict::Ok);
    let said = begin(&manager.api, &job(&own_user(&own), Some(&own))).await;
    assert_eq!(verdict(&manager, &said).await, Verdict::Ok, "the administrator may");
    let mut visitor = Visitor::begin(&ann, "one", start(&["sh", "-c", "echo [$(id -un)]; cat"])).await.unwrap();
    visitor.until(&format!("[{other}]")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_not_there_runs_nothing() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    online(&manager).await;
    agent.crash().await;
    agent.exec_user = Some("nobody-has-this-name".to_owned());
    agent.resume(&manager, None, "127.0.0.1");
    eventually("it is back with the setting", || async {
        let devices = manager.api.devices().await;
        devices.iter().any(|device| device.online && !device.facts.exec_user.is_empty()).then_some(())
    })
    .await;
    let told = begin(&manager.api, &job("true", None)).await;
    let verdict = verdict(&manager, &told).await;
    assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains("no user")), "{verdict:?}");
    let mut shell = Visitor::begin(&manager.api, "one", start(&["cat"])).await.unwrap();
    let verdict = loop {
        if let Some(verdict) = shell.step().await.unwrap() {
            break verdict;
        }
    };
    assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains("no user")), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_as_root_ends_with_the_right_to_be_root() {
    let (own, other) = users();
    if own == other {
        // Nobody can be anybody else here.
        return;
    }
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    online(&manager).await;
    agent.crash().await;
    agent.exec_user = Some(other);
    agent.resume(&manager, None, "127.0.0.1");
    eventually("it is back with the setting", || async {
        let devices = manager.api.devices().await;
        devices.iter().any(|device| device.online && !device.facts.exec_user.is_empty()).then_some(())
    })
    .await;
    let (eve, role) = somebody(&manager, "eve", "admin").await;
    let less = json!({"user": "eve", "role": "operator", "project": "default"});
    ask(&manager.api, Method::POST, "/grants", less).await;
    let root = ShellStart { user: Some(own.clone()), ..start(&["sh", "-c", "echo [$(id -un)]; cat"]) };
    let mut visitor = Visitor::begin(&eve, "one", root).await.unwrap();
    visitor.until(&format!("[{own}]")).await;
    let plain = Visitor::begin(&eve, "one", start(&["cat"])).await.unwrap().joined.session.to_string();
    let id = visitor.joined.session.to_string();
    ask(&manager.api, Method::DELETE, &format!("/grants/{role}"), Value::Null).await;
    while visitor.step().await.is_ok_and(|verdict| verdict.is_none()) {}
    let view = async |id: &str| -> SessionView {
        manager.api.call::<(), _>(Method::GET, &format!("/projects/default/sessions/{id}"), None).await.unwrap()
    };
    let ended = eventually("the session has ended", || async {
        let view = view(&id).await;
        view.ended_at.is_some().then_some(view)
    })
    .await;
    assert!(ended.ended_by.unwrap().contains("taken away"));
    assert_eq!(view(&plain).await.ended_at, None, "what she still may goes on");
}
