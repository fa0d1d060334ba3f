//! Commands and shells within an instance: on its device, judged by its user.

use robo_wire::api::Facts;
use robo_wire::job::{JobRequest, RunOpen};
use robo_wire::shell::{ShellRequest, ShellStart, Size};

use super::access::Asked;
use super::*;

const GRAPH: &str = "\
VM {
	installer: target;
	children: Db, Web;
}
Db {
	installer: script;
	user: postgres;
}
Web {
	installer: script;
}
instance of VM {
	name: vm;
	device: one;
	instance of Db {
		name: db;
	}
	instance of Web {
		name: web;
	}
}
";

/// An agent that says where it was asked to run something, and as whom; `old` is one that knows no such thing.
pub(super) fn pretend_run(mut open: RunOpen) -> Result<Box<dyn LinkStream>, OpenError> {
    let Some(start) = &mut open.start else { return Err(OpenError::Offline) };
    let command = &mut start.command;
    if command.argv[0] == "old" {
        return Ok(Box::new(tokio::io::duplex(1024).0));
    }
    let key = command.within.as_ref().unwrap();
    command.argv = vec!["say".into(), format!("{key} {:?}", command.user)];
    exec::pretend_run(open)
}

fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

fn command(argv: &str, within: Option<InstanceKey>) -> Command {
    let argv = vec![argv.to_owned(), "hi".to_owned()];
    Command { argv, env: BTreeMap::new(), cwd: None, user: None, timeout: None, stdin: false, within }
}

fn request(path: &str, argv: &str) -> ExecRequest {
    let targets = Targets::Names(vec![format!("shop{path}")]);
    ExecRequest { targets, command: command(argv, Some(key(path))), resumable: false, needs: None }
}

async fn exec(who: &Asked<'_>, request: &ExecRequest) -> (String, String) {
    let response = who.response(Method::POST, "exec", request.encode().unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let mut all = outcomes(&bytes);
    let (out, _, verdict) = all.remove(0);
    assert!(all.is_empty());
    (out, verdict.to_string())
}

fn shell(path: &str) -> Vec<u8> {
    let start = ShellStart {
        argv: vec!["old".to_owned()],
        env: BTreeMap::new(),
        cwd: None,
        user: None,
        term: "xterm".to_owned(),
        size: Size::USUAL,
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: Some(key(path)),
    };
    ShellRequest { start, client: 1 }.encode().unwrap()
}

/// The instances are on `one`, which runs commands as `exec_user`.
async fn deployed(exec_user: &str, agent_user: &str) -> Manager {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        let id = manager.enrol(name).await;
        let facts = Facts {
            exec_user: exec_user.into(),
            agent_user: agent_user.into(),
            installers: vec!["target".into(), "script".into()],
            ..Facts::default()
        };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    manager.deploy(GRAPH).await;
    manager
}

#[tokio::test]
async fn a_command_within_an_instance_goes_to_its_device_as_its_user() {
    let manager = deployed("", "").await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    assert_eq!(
        exec(&ann, &request("/vm/db", "where")).await,
        ("shop/vm/db Some(\"postgres\")".into(), "exit 7".into())
    );
    assert_eq!(exec(&ann, &request("/vm/web", "where")).await, ("shop/vm/web None".into(), "exit 7".into()));
    let mut other = request("/vm/db", "where");
    other.command.user = Some("ann".into());
    assert_eq!(exec(&ann, &other).await.0, "shop/vm/db Some(\"ann\")");
    let old = exec(&ann, &request("/vm/db", "old")).await.1;
    assert!(old.starts_with("refused: ") && old.contains("too old"), "{old}");

    let job = JobRequest {
        targets: Targets::Names(vec!["shop/vm/db".into()]),
        command: command("where", Some(key("/vm/db"))),
        queue: None,
        concurrency: None,
        fail_fast: false,
    };
    let view = ann.call(Method::POST, "jobs", json!(job)).await.unwrap();
    assert_eq!((&view["runs"][0]["device"], &view["within"]["path"]), (&json!("one"), &json!("/vm/db")), "{view}");
    let told = manager.audit().await;
    let is_it = |line: &&Value| line["who"] == "ann" && line["detail"] == "in shop/vm/db: where hi";
    assert_eq!(told.iter().filter(is_it).count(), 3, "{told:#?}");
    let events = manager.events().await;
    let of_db = events.iter().filter(|e| e.path.as_ref().is_some_and(|path| path.as_str() == "/vm/db"));
    assert_eq!(of_db.filter(|e| matches!(e.body, EventBody::Executed { .. })).count(), 3);
}

#[tokio::test]
async fn what_is_no_instance_there_is_refused() {
    let manager = deployed("", "").await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let bob = manager.user("bob", &[json!({"role": "viewer", "project": "default"})]).await;
    let ask = async |request: ExecRequest, code, says: &str| {
        let response = ann.response(Method::POST, "exec", request.encode().unwrap()).await;
        refused(answer(response).await, code, says);
    };
    ask(request("/vm/dbb", "where"), ErrorCode::NotFound, "/vm/db").await;
    let mut unknown = request("/vm/db", "where");
    unknown.command.within.as_mut().unwrap().application = "lab".parse().unwrap();
    unknown.targets = Targets::Names(vec!["lab/vm/db".into()]);
    ask(unknown, ErrorCode::NotFound, "`lab`").await;
    for targets in [Targets::All, Targets::Names(vec!["one".into()]), Targets::Names(Vec::new())] {
        ask(ExecRequest { targets, ..request("/vm/db", "where") }, ErrorCode::BadRequest, "`shop/vm/db`").await;
    }
    // Without the field it is a name that no device has: so it is for a manager that does not know the field.
    let mut plain = request("/vm/db", "where");
    plain.command.within = None;
    assert_eq!(exec(&ann, &plain).await.1, "refused: there is no such device");
    let response = bob.response(Method::POST, "exec", request("/vm/db", "where").encode().unwrap()).await;
    refused(answer(response).await, ErrorCode::Forbidden, "exec");

    let response = ann.response(Method::POST, "devices/two/shell", shell("/vm/db")).await;
    refused(answer(response).await, ErrorCode::Conflict, "is not on the device `two`");
    let response = ann.response(Method::POST, "devices/one/shell", shell("/vm/x")).await;
    refused(answer(response).await, ErrorCode::NotFound, "/vm/x");
    assert_eq!(ann.response(Method::POST, "devices/one/shell", shell("/vm/db")).await.status(), StatusCode::OK);
    let told = manager.audit().await;
    assert!(told.iter().any(|line| line["verb"] == "shell" && line["detail"] == "in shop/vm/db"), "{told:#?}");
}

#[tokio::test]
async fn an_instances_user_takes_the_right_to_root_as_any_other_does() {
    let manager = deployed("postgres", "root").await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let eve = manager.user("eve", &[json!({"role": "admin", "project": "default"})]).await;
    assert_eq!(exec(&ann, &request("/vm/db", "where")).await.1, "exit 7", "it runs as the device's own user");
    // It names none: it runs as its agent does.
    let told = exec(&ann, &request("/vm/web", "where")).await.1;
    assert!(told.starts_with("refused: ") && told.contains("the right to `root`"), "{told}");
    assert_eq!(exec(&eve, &request("/vm/web", "where")).await, ("shop/vm/web Some(\"root\")".into(), "exit 7".into()));
    let response = ann.response(Method::POST, "devices/one/shell", shell("/vm/web")).await;
    refused(answer(response).await, ErrorCode::Forbidden, "the right to `root`");
    assert_eq!(ann.response(Method::POST, "devices/one/shell", shell("/vm/db")).await.status(), StatusCode::OK);
}
