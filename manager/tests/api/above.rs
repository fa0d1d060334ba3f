//! Acting on a device as another than its own user takes a right of its own, on whatever way.

use robo_wire::api::Facts;
use robo_wire::copy::{CopyOpen, Pull, RawPath};
use robo_wire::forward::{FlowId, ForwardRequest, Target, Wish};
use robo_wire::job::JobRequest;
use robo_wire::shell::{ShellRequest, ShellStart, Size};

use super::access::Asked;
use super::*;

/// `one` runs commands as `robot`, and its agent is root; `two` has no such setting.
async fn two_devices() -> Manager {
    let manager = Manager::start().await;
    for (name, exec_user, agent_user) in [("one", "robot", "root"), ("two", "", "")] {
        let id = manager.enrol(name).await;
        let facts = Facts { exec_user: exec_user.into(), agent_user: agent_user.into(), ..Facts::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    manager
}

fn command(user: Option<&str>) -> Command {
    let argv = vec!["say".to_owned(), "hi".to_owned()];
    let user = user.map(str::to_owned);
    Command { argv, env: BTreeMap::new(), cwd: None, user, timeout: None, stdin: false, within: None }
}

fn both() -> Targets {
    Targets::Names(vec!["one".into(), "two".into()])
}

async fn exec(who: &Asked<'_>, user: Option<&str>) -> Vec<String> {
    let request = ExecRequest { targets: both(), command: command(user), resumable: false, needs: None };
    let response = who.response(Method::POST, "exec", request.encode().unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    outcomes(&bytes).into_iter().map(|(_, _, verdict)| verdict.to_string()).collect()
}

fn shell(user: Option<&str>) -> Vec<u8> {
    let start = ShellStart {
        argv: vec!["old".to_owned()],
        env: BTreeMap::new(),
        cwd: None,
        user: user.map(str::to_owned),
        term: "xterm".to_owned(),
        size: Size::USUAL,
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: None,
    };
    ShellRequest { start, client: 1 }.encode().unwrap()
}

fn pull() -> Vec<u8> {
    let path = RawPath(b"/etc/shadow".to_vec());
    CopyOpen::Pull(Pull { path, recursive: false, limit: None }).encode().unwrap()
}

fn connect(target: Target) -> Vec<u8> {
    ForwardRequest { flow: FlowId([7; 16]), wish: Some(Wish::Connect(target)), taken: 0 }.encode().unwrap()
}

async fn status(who: &Asked<'_>, path: &str, body: Vec<u8>) -> StatusCode {
    who.response(Method::POST, path, body).await.status()
}

#[tokio::test]
async fn commands_as_another_user_take_the_right_to_root() {
    let manager = two_devices().await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let eve = manager.user("eve", &[json!({"role": "admin", "project": "default"})]).await;
    for user in [None, Some("robot")] {
        assert_eq!(exec(&ann, user).await, ["exit 7", "exit 7"], "{user:?}");
    }
    for user in ["root", "daemon", "Robot", "0"] {
        let told = exec(&ann, Some(user)).await;
        assert!(told[0].starts_with("refused: ") && told[0].contains("the right to `root`"), "{user}: {told:?}");
        assert_eq!(told[1], "exit 7", "{user}: a device without the setting is as it was");
        assert_eq!(exec(&eve, Some(user)).await, ["exit 7", "exit 7"], "{user}");
    }
    let request = |user: Option<&str>| {
        let command = command(user);
        json!(JobRequest { targets: both(), command, queue: None, concurrency: None, fail_fast: false })
    };
    let view = ann.call(Method::POST, "jobs", request(Some("root"))).await.unwrap();
    let refusal = &view["runs"][0]["outcome"];
    assert!(refusal["verdict"] == "refused" && refusal["reason"].to_string().contains("`root`"), "{view}");
    let view = ann.call(Method::POST, "jobs", request(None)).await.unwrap();
    assert_ne!(view["runs"][0]["outcome"]["verdict"], "refused");

    let can = |device: &str| json!({"verb": "root", "project": "default", "device": device});
    let answer = ann.call(Method::POST, "/v1/auth/can-i", can("one")).await.unwrap();
    assert_eq!(answer["allowed"], false);
    assert!(answer["reasons"].to_string().contains("`root` needs admin"), "{answer}");
    assert_eq!(eve.call(Method::POST, "/v1/auth/can-i", can("one")).await.unwrap()["allowed"], true);

    let told = manager.audit().await;
    let of = |who: &str, outcome: &str| {
        let is_it = |line: &&Value| line["who"] == who && line["verb"] == "root" && line["outcome"] == outcome;
        told.iter().find(is_it).cloned()
    };
    let refused = of("ann", "refused").unwrap();
    assert_eq!((&refused["thing"], &refused["detail"]), (&json!("1 device: one"), &json!("as root: say hi")));
    assert_eq!(of("eve", "allowed").unwrap()["thing"], "1 device: one");
    assert!(of("ann", "allowed").is_none());
}

#[tokio::test]
async fn no_other_way_leads_round_it() {
    let manager = two_devices().await;
    let operator = json!({"role": "operator", "project": "default"});
    let ann = manager.user("ann", std::slice::from_ref(&operator)).await;
    let labelled = json!({"role": "admin", "project": "default", "selector": "site=osaka"});
    let bob = manager.user("bob", &[operator, labelled]).await;
    let eve = manager.user("eve", &[json!({"role": "admin", "project": "default"})]).await;
    let socket = || connect(Target::Unix { path: "/run/docker.sock".into() });
    let port = || connect(Target::Tcp { host: "localhost".into(), port: 22 });
    let ways: [(&str, &dyn Fn() -> Vec<u8>); 3] =
        [("shell", &|| shell(Some("root"))), ("copy", &pull), ("forward", &socket)];
    for (way, body) in ways {
        let (one, two) = (format!("devices/one/{way}"), format!("devices/two/{way}"));
        for who in [&ann, &bob] {
            let problem = answer(who.response(Method::POST, &one, body()).await).await;
            refused(problem, ErrorCode::Forbidden, "the right to `root`");
            assert_ne!(status(who, &two, body()).await, StatusCode::FORBIDDEN, "{way}: without the setting");
        }
        assert_ne!(status(&eve, &one, body()).await, StatusCode::FORBIDDEN, "{way}");
    }
    for user in [None, Some("robot")] {
        assert_eq!(status(&ann, "devices/one/shell", shell(user)).await, StatusCode::OK, "{user:?}");
    }
    assert_ne!(status(&ann, "devices/one/forward", port()).await, StatusCode::FORBIDDEN, "a port is open to all");
    let told = manager.audit().await;
    for (detail, who, outcome) in [
        ("as root", "ann", "refused"),
        ("from /etc/shadow", "ann", "refused"),
        ("/run/docker.sock", "bob", "refused"),
        ("from /etc/shadow", "eve", "allowed"),
    ] {
        let is_it = |line: &&Value| line["detail"] == detail && line["who"] == who && line["outcome"] == outcome;
        let mut lines = told.iter().filter(is_it);
        assert!(lines.any(|line| line["verb"] == "root"), "{detail}, {who}, {outcome}: {told:#?}");
    }
    // Where the agent is its commands' user, it does no more for anybody than they could.
    let facts = Facts { exec_user: "robot".into(), agent_user: "robot".into(), ..Facts::default() };
    let three = manager.enrol("three").await;
    manager.service.store().device_online(&three, &facts, UnixMillis(1)).await.unwrap();
    assert_ne!(status(&ann, "devices/three/copy", pull()).await, StatusCode::FORBIDDEN);
    assert_eq!(status(&ann, "devices/three/shell", shell(Some("root"))).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_shell_as_root_is_joined_by_who_may_be_root() {
    let manager = two_devices().await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(shell(Some("root")))]).chain(stream::pending()));
    let begun = manager.send(manager.request(Method::POST, "devices/one/shell").body(body).unwrap()).await;
    assert_eq!(begun.status(), StatusCode::OK);
    let sessions = manager.get("sessions").await.unwrap();
    let (id, user) = (sessions[0]["id"].as_str().unwrap().to_owned(), sessions[0]["user"].clone());
    assert_eq!(user, "root");
    let attach = robo_wire::shell::AttachRequest { client: 2, from: Some(0), size: Size::USUAL }.encode().unwrap();
    let answer = answer(ann.response(Method::POST, &format!("sessions/{id}/attach"), attach).await).await;
    refused(answer, ErrorCode::Forbidden, "the right to `root`");
}

#[tokio::test]
async fn a_name_that_is_far_too_long_gives_no_rights() {
    let manager = two_devices().await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let id = manager.enrol("long").await;
    let facts = Facts { exec_user: "x".repeat(10_000), agent_user: "root".into(), ..Facts::default() };
    manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    let view = manager.get("devices/long").await.unwrap();
    assert_eq!(view["facts"]["exec_user"].as_str().unwrap().len(), 255);
    assert_eq!(status(&ann, "devices/long/shell", shell(Some("root"))).await, StatusCode::FORBIDDEN);
}
