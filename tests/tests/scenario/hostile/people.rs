//! Who has a token, and wants more than it is for: other projects, paths that lead elsewhere, messages without end.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use reqwest::{Method, StatusCode};
use robo_tests::api::{Framed, Packed};
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{AuditOutcome, Health};
use robo_wire::copy::{Content, CopyFrame, CopyOpen, Entry, Kind, MAX_INLINE, Push, RawPath, Told};
use robo_wire::frame::{self, MAX_CONTROL_FRAME, MAX_STREAM_FRAME};
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::Verdict;
use serde_json::{Value, json};

use super::{ask, assert_well, audit};

async fn refused(api: &robo_tests::api::Api, method: Method, path: &str, body: Value) -> (StatusCode, Problem) {
    api.call::<_, Value>(method, path, Some(&body)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_project_opens_nothing() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    ask(&manager, Method::POST, "/projects", json!({"name": "lab"})).await;
    ask(&manager, Method::POST, "/users", json!({"name": "ann"})).await;
    ask(&manager, Method::POST, "/grants", json!({"user": "ann", "role": "admin", "project": "lab"})).await;
    let token = ask(&manager, Method::POST, "/users/ann/tokens", json!({})).await;
    let ann = manager.api.with_token(token["token"].as_str().unwrap());
    ann.call::<(), Value>(Method::GET, "/projects/lab/devices", None).await.unwrap();
    let cases = [
        (Method::GET, "/projects/default/devices", Value::Null),
        (Method::POST, "/projects/default/tokens", json!({})),
        (Method::DELETE, "/projects/default/devices/one", Value::Null),
        (Method::GET, "/projects/default/../default/devices", Value::Null),
        (Method::POST, "/grants", json!({"user": "ann", "role": "viewer", "project": "default"})),
        (Method::GET, "/projects/default/audit", Value::Null),
    ];
    for (method, path, body) in cases {
        let (status, problem) = refused(&ann, method, path, body).await;
        assert_eq!((status.as_u16(), problem.code), (403, ErrorCode::Forbidden), "{path}: {problem:?}");
    }
    // Nor does one for devices of hers lead into another project.
    let own = ann.call::<_, Value>(Method::POST, "/projects/lab/tokens", Some(&json!({"name": "one"}))).await.unwrap();
    let there = folder.path().join("one");
    let enrolled = robo_tests::peer::try_to_enroll(&manager, &there, own["token"].as_str().unwrap(), None).await;
    assert_eq!(enrolled.unwrap().enrolled.project.as_str(), "lab");
    assert!(manager.api.devices().await.is_empty());
    let told = audit(&manager).await;
    let of_ann: Vec<_> = told.iter().filter(|line| line.who.as_deref() == Some("ann")).collect();
    let refusals = of_ann.iter().filter(|line| line.outcome == AuditOutcome::Refused);
    let of_default = refusals.clone().filter(|line| line.project.as_deref() == Some("default")).count();
    assert!(of_default >= 3 && refusals.clone().count() >= 5, "{of_ann:#?}");
    assert!(refusals.clone().all(|line| line.from.as_deref() == Some("127.0.0.1") && line.token.is_some()));
    assert_well(&manager).await;
}

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
}
instance of Machine {
	name: one;
}
";

#[tokio::test(flavor = "multi_thread")]
async fn names_of_recipe_files_that_lead_elsewhere_are_refused() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let packed = Packed::new(GRAPH, &[("Machine", "scripts/start.sh", "true")]);
    manager.api.upload(&packed).await;
    let good = serde_json::to_value(&packed.bundle).unwrap();
    let file = good["recipes"]["Machine"]["scripts/start.sh"].clone();
    let long = "x/".repeat(3_000) + "x";
    let bad = ["../x", "/etc/cron.d/x", "a/../../x", "a//b", "./a", "a/.", "..", "", "a\0b", "a/", &long];
    for name in bad {
        let mut bundle = good.clone();
        bundle["recipes"]["Machine"] = json!({ name: file });
        for (path, body) in [
            ("/projects/default/plan", json!({"bundle": bundle})),
            ("/projects/default/apply", json!({"bundle": bundle, "plan_id": "x"})),
        ] {
            let (status, problem) = refused(&manager.api, Method::POST, path, body).await;
            assert_eq!(status.as_u16(), 400, "{name:?}: {problem:?}");
        }
        let mut bundle = good.clone();
        bundle["sources"] = json!({ name: file });
        let (status, _) =
            refused(&manager.api, Method::POST, "/projects/default/plan", json!({"bundle": bundle})).await;
        assert_eq!(status.as_u16(), 400, "{name:?}");
    }
    // And names of files by their content, which are names on the manager's disk.
    for hash in ["..%2F..%2Fadmin.token", "%2e%2e", "AB", &"g".repeat(64)] {
        let path = format!("/projects/default/files/{hash}");
        let answer = manager.api.framed(Method::PUT, &path, Some("x".into())).await;
        let Err(Framed::Problem(problem)) = answer else { panic!("{hash}") };
        assert!(matches!(problem.code, ErrorCode::BadRequest | ErrorCode::NotFound), "{hash}: {problem:?}");
    }
    assert!(manager.api.status().await.instances.is_empty());
    let told = audit(&manager).await;
    let failed = told.iter().filter(|line| line.verb == "apply" && line.outcome == AuditOutcome::Failed);
    assert_eq!(failed.count(), bad.len(), "{told:#?}");
    assert_well(&manager).await;
}

fn entry(number: u64, name: &Path, kind: Kind) -> CopyFrame {
    let name = RawPath(name.as_os_str().as_bytes().to_vec());
    CopyFrame::Entry(Entry { number, name, kind, mode: 0o644, modified_at: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_leads_nowhere_but_to_its_target() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    eventually("it is linked", || async { manager.api.devices().await.iter().any(|d| d.online).then_some(()) }).await;
    let (outside, target) = (folder.path().join("outside"), folder.path().join("target"));
    std::fs::create_dir(&outside).unwrap();
    let small = || Kind::Small(Content(b"evil".to_vec()));
    let link = Kind::Link(RawPath(outside.as_os_str().as_bytes().to_vec()));
    let path = RawPath(target.as_os_str().as_bytes().to_vec());
    let push = Push { path, name: "source".into(), exact: true, mode: None, owner: None };
    let mut body = CopyOpen::Push(push).encode().unwrap();
    let frames = [
        entry(0, Path::new(""), Kind::Folder),
        entry(1, Path::new("../outside/x"), small()),
        entry(2, &outside.join("x"), small()),
        entry(3, Path::new("link"), link),
        entry(4, Path::new("link/x"), small()),
        entry(5, Path::new("link"), small()),
        entry(6, Path::new("a/../../outside/x"), small()),
        entry(7, Path::new(".."), Kind::Folder),
        entry(8, Path::new("good"), small()),
        CopyFrame::Finish,
    ];
    body.extend(frames.iter().flat_map(|frame| frame.encode().unwrap()));
    let api = &manager.api;
    let answer = api.framed(Method::POST, "/projects/default/devices/one/copy", Some(body.into())).await.unwrap();
    let mut bytes = answer.bytes().await.unwrap().to_vec();
    let (mut failed, mut verdict) = (Vec::new(), None);
    while let Some(frame) = frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap() {
        match CopyFrame::decode(&frame).unwrap() {
            CopyFrame::Failed(Told { number: Some(number), .. }) => failed.push(number),
            CopyFrame::Verdict(last) => verdict = Some(last),
            CopyFrame::Failed(_)
            | CopyFrame::Place(_)
            | CopyFrame::Entry(_)
            | CopyFrame::Want(_)
            | CopyFrame::Data(..)
            | CopyFrame::End(_)
            | CopyFrame::Skipped(_)
            | CopyFrame::Finish
            | CopyFrame::Unknown(_) => {}
        }
    }
    assert_eq!(verdict, Some(Verdict::Failed { code: 1 }));
    assert!([1, 2, 4, 6, 7].iter().all(|number| failed.contains(number)), "{failed:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing is written elsewhere");
    assert_eq!(std::fs::read(target.join("good")).unwrap(), b"evil");
    let told = audit(&manager).await;
    let line = told.iter().find(|line| line.verb == "copy").unwrap();
    assert_eq!((line.who.as_deref(), line.thing.as_str()), (Some("admin"), "device one"));
    assert!(line.detail.contains(target.to_str().unwrap()), "{line:?}");

    // What is larger than an entry may be, or nests without end, is no copy; the agent goes on.
    let huge = frame::encode(34, &vec![0x9f; MAX_INLINE], MAX_STREAM_FRAME).unwrap();
    let open = |name: &str| {
        let path = RawPath(folder.path().join(name).as_os_str().as_bytes().to_vec());
        CopyOpen::Push(Push { path, name: "source".into(), exact: true, mode: None, owner: None }).encode().unwrap()
    };
    for wrong in [huge, vec![0xff; 9], vec![0, 0, 0, 3, 34, 0x81, 0x81]] {
        let body = [open("wrong"), wrong].concat();
        let answer = api.framed(Method::POST, "/projects/default/devices/one/copy", Some(body.into())).await.unwrap();
        drop(answer.bytes().await);
        assert!(!folder.path().join("wrong").exists());
    }
    assert_eq!(manager.api.devices().await.iter().filter(|device| device.online).count(), 1);
    assert_well(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_deep_is_refused_from_who_is_known() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let post = async |path: &str, body: Vec<u8>| match manager.api.framed(Method::POST, path, Some(body.into())).await {
        Err(Framed::Problem(problem)) => Some(problem.code),
        // It hangs up on who goes on talking.
        Err(Framed::Unreachable) => None,
        Ok(answer) => panic!("{path}: {}", answer.status()),
    };
    let deep = vec![b'['; 200_000];
    for path in ["plan", "apply", "jobs", "tokens", "files/missing"] {
        let path = format!("/projects/default/{path}");
        assert_eq!(post(&path, deep.clone()).await, Some(ErrorCode::BadRequest), "{path}");
        let known = [br#"{"x": "#.to_vec(), vec![b'['; 200_000]].concat();
        assert_eq!(post(&path, known).await, Some(ErrorCode::BadRequest), "{path}");
    }
    let exec = |levels: usize| frame::encode(8, &vec![0x81; levels], MAX_CONTROL_FRAME).unwrap();
    for body in [exec(100), exec(10_000_000), vec![0xff; 5], vec![0, 0, 0, 0, 8], Vec::new()] {
        let told = post("/projects/default/exec", body).await;
        assert!(matches!(told, None | Some(ErrorCode::BadRequest | ErrorCode::TooLarge)), "{told:?}");
    }
    manager.api.call::<(), Health>(Method::GET, "/health", None).await.unwrap();
    let told = audit(&manager).await;
    let failed = |verb: &str| {
        told.iter().any(|line| {
            line.verb == verb && line.outcome == AuditOutcome::Failed && line.who.as_deref() == Some("admin")
        })
    };
    assert!(failed("apply") && failed("enroll"), "{told:#?}");
    assert_well(&manager).await;
}
