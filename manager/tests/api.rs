//! The API as clients see it: real store, files and planner, no network, and agents that only pretend.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed, and that is what it is for"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use robo_manager::acts::Judged;
use robo_manager::api::{ApiState, PeerDevice, router};
use robo_manager::bus::{Bus, Heard, Ring};
use robo_manager::ca::{CaError, Peer, Signed};
use robo_manager::links::{ActTarget, LinkStream, Links, OpenError};
use robo_manager::plan::PortRanges;
use robo_manager::service::{ADMIN_TOKEN, Service};
use robo_manager::store::{EnrollTokenRecord, Store, StoreError};
use robo_manager::token;
use robo_manager::uploads::Uploads;
use robo_model::name::{DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_wire::event::{Event, EventBody};
use robo_wire::frame::{self, MAX_CONTROL_FRAME, MAX_STREAM_FRAME};
use robo_wire::problem::{ErrorCode, PROBLEM_JSON, Problem};
use robo_wire::stream::{Answer, Command, ExecRequest, Open, StreamFrame, Targets, Verdict};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

#[path = "api/above.rs"]
mod above;
#[path = "api/access.rs"]
mod access;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/bindings.rs"]
mod bindings;
#[path = "api/devices.rs"]
mod devices;
#[path = "api/exec.rs"]
mod exec;
#[path = "api/fleet.rs"]
mod fleet;
#[path = "api/groups.rs"]
mod groups;
#[path = "api/install.rs"]
mod install;
#[path = "api/log_files.rs"]
mod log_files;
#[path = "api/names.rs"]
mod names;
#[path = "api/quota.rs"]
mod quota;
#[path = "api/scenarios.rs"]
mod scenarios;
#[path = "api/shell.rs"]
mod shell;
#[path = "api/ssh.rs"]
mod ssh;
#[path = "api/switches.rs"]
mod switches;
#[path = "api/upgrade.rs"]
mod upgrade;
#[path = "api/uploads.rs"]
mod uploads;
#[path = "api/within.rs"]
mod within;

const GRAPH: &str = "\
VM {
	installer: target;
	children: Db;
	exports: ip;
}
Db {
	installer: script;
	exports: ip, port = 3306;
}
instance of VM {
	name: vm;
	device: one;
	instance of Db {
		name: db;
	}
}
";

/// Later than any of these tests.
const LATER: UnixMillis = UnixMillis(u64::MAX / 2);

/// Nothing in these tests takes longer, unless it hangs.
const BOUND: Duration = Duration::from_secs(20);

struct Manager {
    data: tempfile::TempDir,
    service: Service,
    router: Router,
    uploads: Uploads,
    token: String,
}

impl Manager {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        let service =
            Service::open(store, Bus::default(), data.path(), "ab".repeat(32), PortRanges::default()).await.unwrap();
        let token = std::fs::read_to_string(data.path().join(ADMIN_TOKEN)).unwrap().trim().to_owned();
        let sign = |id: &DeviceId, request: &str| match request {
            "bad" => Err(CaError::Request(rcgen::Error::CouldNotParseCertificationRequest)),
            key => Ok(Signed {
                certificate_pem: format!("certificate of {id}"),
                key_fingerprint: key.to_owned(),
                ends_at: LATER,
            }),
        };
        let state = ApiState::new(service.clone(), Arc::new(Pretenders), Arc::new(sign));
        let uploads = state.uploads().clone();
        let (router, _) = router(state);
        Self { data, service, router, uploads, token }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let path = if path.starts_with("/v1") { path.to_owned() } else { format!("/v1/projects/default/{path}") };
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, Problem> {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        answer(self.send(self.request(method, path).body(body).unwrap()).await).await
    }

    async fn get(&self, path: &str) -> Result<Value, Problem> {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.call(Method::POST, path, body).await
    }

    async fn upload(&self, bytes: &str) -> String {
        let hash = hash_of(bytes);
        self.put(&hash, bytes).await.unwrap();
        hash
    }

    async fn put(&self, hash: &str, bytes: &str) -> Result<Value, Problem> {
        let request = self.request(Method::PUT, &format!("files/{hash}")).body(Body::from(bytes.to_owned())).unwrap();
        answer(self.send(request).await).await
    }

    /// Enrols a device of this name; its key is called like its name.
    async fn enrol(&self, name: &str) -> DeviceId {
        let token = self.post("tokens", json!({"name": name})).await.unwrap();
        let body = json!({"token": token["token"], "certificate_request": name});
        let enrolled = self.post("/v1/enroll", body).await.unwrap();
        enrolled["device"].as_str().unwrap().parse().unwrap()
    }

    /// Uploads the graph and gives the bundle that names it.
    async fn bundle(&self, graph: &str) -> Value {
        let script = self.upload("#!/bin/sh\n").await;
        let source = self.upload(graph).await;
        json!({
            "entry": {"kind": "file", "path": "shop.graph"},
            "sources": {"shop.graph": {"hash": source, "size": graph.len()}},
            "recipes": {"Db": {"scripts/start.sh": {"hash": script, "size": 10, "executable": true}}},
        })
    }

    async fn plan(&self, bundle: &Value) -> Result<Value, Problem> {
        self.post("plan", json!({"bundle": bundle})).await
    }

    async fn apply(&self, bundle: &Value, plan: &Value) -> Result<Value, Problem> {
        self.post("apply", json!({"bundle": bundle, "plan_id": plan["id"]})).await
    }

    async fn deploy(&self, graph: &str) -> Value {
        let bundle = self.bundle(graph).await;
        let plan = self.plan(&bundle).await.unwrap();
        self.apply(&bundle, &plan).await.unwrap()
    }

    async fn events(&self) -> Vec<Event> {
        let request = self.request(Method::GET, "events").body(Body::empty()).unwrap();
        let bytes = self.send(request).await.into_body().collect().await.unwrap().to_bytes();
        bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }
}

fn hash_of(bytes: &str) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn answer(response: Response<Body>) -> Result<Value, Problem> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    if parts.status.is_success() {
        return Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null));
    }
    assert_eq!(parts.headers[header::CONTENT_TYPE], PROBLEM_JSON, "{}", String::from_utf8_lossy(&bytes));
    let problem: Problem = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(problem.status, parts.status.as_u16());
    Err(problem)
}

#[track_caller]
fn refused(got: Result<Value, Problem>, code: ErrorCode, says: &str) {
    let problem = got.unwrap_err();
    let text = format!("{problem} ({})", problem.help.as_deref().unwrap_or_default());
    assert_eq!(problem.code, code, "{text}");
    assert!(text.contains(says), "{text}");
}

/// Agents that do what the first word says, and have never heard yet of what others offer by now.
struct Pretenders;

impl Links for Pretenders {
    fn open(&self, device: &DeviceId, open: Open) -> BoxFuture<'_, Result<Box<dyn LinkStream>, OpenError>> {
        let device = device.clone();
        Box::pin(async move {
            let words = match open {
                Open::Exec(command) => command.argv,
                Open::Run(open) => return exec::pretend_run(open),
                Open::RunWithin(open) => return within::pretend_run(open),
                Open::Shell(open) | Open::ShellWithin(open) => return Ok(shell::pretend(open)),
                Open::Copy(open) => return uploads::pretend(open),
                Open::Logs(logs) => vec!["say".to_owned(), format!("{} {} {}", logs.key, logs.lines, logs.follow)],
                // Nobody here has a port or a log; these are tried with real agents.
                Open::Forward(_) | Open::Tail(_) | Open::Collect(_) | Open::Health(_) | Open::SshKeys(_) => {
                    return Err(OpenError::Offline);
                }
                Open::Upgrade(open) => return upgrade::pretend(open),
                Open::LogFiles(_) => return log_files::pretend(&device),
            };
            if words[0] == "offline" {
                return Err(OpenError::Offline);
            }
            let (ours, theirs) = tokio::io::duplex(1024);
            tokio::spawn(pretend(words, theirs));
            Ok(Box::new(ours) as Box<dyn LinkStream>)
        })
    }

    fn behind(&self, devices: BTreeSet<DeviceId>) -> BoxFuture<'_, Result<BTreeSet<DeviceId>, StoreError>> {
        Box::pin(async move { Ok(devices) })
    }

    fn act(&self, targets: Vec<ActTarget>) -> BoxFuture<'_, Vec<Judged>> {
        let judged = |target: ActTarget| {
            let application = target.scope.application.clone().unwrap();
            let path = target.scope.path.unwrap_or_else(|| "/vm".parse().unwrap());
            let instances = vec![InstanceKey { application, path }];
            Judged { verdict: Verdict::Ok, instances }
        };
        Box::pin(std::future::ready(targets.into_iter().map(judged).collect()))
    }

    fn is_linked(&self, _: &DeviceId) -> bool {
        true
    }

    fn count(&self) -> u64 {
        7
    }
}

async fn pretend(words: Vec<String>, mut stream: tokio::io::DuplexStream) {
    let out = |frame: StreamFrame| frame.encode().unwrap();
    let frames = match words[0].as_str() {
        "say" => vec![
            out(StreamFrame::Stdout(words[1].clone().into_bytes())),
            out(StreamFrame::Stderr(b"err".to_vec())),
            out(StreamFrame::Unknown(77)),
            out(StreamFrame::Verdict(Verdict::Failed { code: 7 })),
        ],
        "flood" => {
            vec![out(StreamFrame::Stdout(vec![b'x'; MAX_STREAM_FRAME - 1])), out(StreamFrame::Verdict(Verdict::Ok))]
        }
        "garbage" => vec![vec![0xff; 64]],
        "torn" => vec![out(StreamFrame::Stdout(b"half".to_vec())), vec![0, 0, 0, 9, 5]],
        "hang" => {
            let mut sink = Vec::new();
            drop(stream.read_to_end(&mut sink).await);
            return;
        }
        "cat" => return cat(stream).await,
        other => panic!("nobody pretends to {other}"),
    };
    for frame in frames {
        stream.write_all(&frame).await.unwrap();
    }
}

async fn cat(mut stream: tokio::io::DuplexStream) {
    let mut buffer = Vec::new();
    loop {
        while let Some(frame) = frame::take(&mut buffer, MAX_STREAM_FRAME).unwrap() {
            let answer = match StreamFrame::decode(frame).unwrap() {
                StreamFrame::Stdin(data) => StreamFrame::Stdout(data),
                StreamFrame::Signal(number) => StreamFrame::Stderr(number.to_string().into_bytes()),
                StreamFrame::StdinEnd => {
                    stream.write_all(&StreamFrame::Verdict(Verdict::Ok).encode().unwrap()).await.unwrap();
                    return;
                }
                other => panic!("{other:?}"),
            };
            stream.write_all(&answer.encode().unwrap()).await.unwrap();
        }
        if stream.read_buf(&mut buffer).await.unwrap() == 0 {
            return;
        }
    }
}

fn exec_request(names: &[&str], argv: &[&str]) -> Vec<u8> {
    let command = Command {
        argv: argv.iter().map(|w| (*w).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: None,
        user: None,
        timeout: None,
        stdin: argv[0] == "cat",
        within: None,
    };
    let targets = Targets::Names(names.iter().map(|n| (*n).to_owned()).collect());
    ExecRequest { targets, command, resumable: false, needs: None }.encode().unwrap()
}

fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut buffer = bytes.to_vec();
    let mut answers = Vec::new();
    while let Some(frame) = frame::take(&mut buffer, MAX_CONTROL_FRAME).unwrap() {
        answers.push(Answer::decode(frame).unwrap());
    }
    assert!(buffer.is_empty());
    answers
}

/// Output and verdicts of each target; each has exactly one verdict, and it comes last.
fn outcomes(bytes: &[u8]) -> Vec<(String, String, Verdict)> {
    let mut answers = answers(bytes).into_iter();
    let Some(Answer::Targets(targets)) = answers.next() else { panic!("targets come first") };
    let mut all: Vec<(Vec<u8>, Vec<u8>, Option<Verdict>)> = vec![Default::default(); targets.len()];
    for answer in answers {
        let Answer::From(number, frame) = answer else { panic!("targets come once") };
        let (out, err, verdict) = &mut all[number as usize];
        assert_eq!(*verdict, None, "nothing follows a verdict");
        match frame {
            StreamFrame::Stdout(data) => out.extend(data),
            StreamFrame::Stderr(data) => err.extend(data),
            StreamFrame::Verdict(v) => *verdict = Some(v),
            other => panic!("{other:?}"),
        }
    }
    let text = |bytes| String::from_utf8(bytes).unwrap();
    all.into_iter().map(|(out, err, verdict)| (text(out), text(err), verdict.unwrap())).collect()
}

impl Manager {
    async fn exec(&self, body: impl Into<Body>) -> Bytes {
        let response = self.send(self.request(Method::POST, "exec").body(body.into()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        tokio::time::timeout(BOUND, response.into_body().collect()).await.unwrap().unwrap().to_bytes()
    }
}

#[tokio::test]
async fn who_may_ask_and_what_there_is() {
    let manager = Manager::start().await;
    assert_eq!(manager.get("/v1/health").await.unwrap()["links"], 7);
    let anonymous = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    refused(
        answer(manager.send(anonymous("/v1/projects/default/status")).await).await,
        ErrorCode::Unauthorized,
        "token",
    );
    let mut wrong = anonymous("/v1/projects/default/status");
    wrong.headers_mut().insert(header::AUTHORIZATION, "Bearer rbt1.00".parse().unwrap());
    refused(answer(manager.send(wrong).await).await, ErrorCode::Unauthorized, "not known here");
    refused(manager.get("/v1/nope").await, ErrorCode::NotFound, "/v1/nope");
    refused(manager.get("plan").await, ErrorCode::BadRequest, "GET");
    refused(manager.get("/v1/projects/other/status").await, ErrorCode::NotFound, "`other`");
    refused(manager.get("/v1/projects/Not%20One/status").await, ErrorCode::BadRequest, "project name");
    refused(manager.get("status?aplication=x").await, ErrorCode::BadRequest, "aplication");
    refused(manager.post("plan", json!({"bundle": 1})).await, ErrorCode::BadRequest, "body");
    refused(manager.post("/v1/enroll", json!({"token": "x".repeat(70_000)})).await, ErrorCode::TooLarge, "65536");

    let document = manager.get("/v1/openapi.json").await.unwrap();
    let paths: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in ["plan", "status", "applications/{application}/diff", "devices/{name}", "files/{hash}"] {
        assert!(paths.contains(format!("/v1/projects/{{project}}/{path}").as_str()), "{path} {paths:?}");
    }
    assert!(document["components"]["schemas"].get("Plan").is_some());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(manager.data.path().join(ADMIN_TOKEN)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_fails_inside_stays_inside() {
    let manager = Manager::start().await;
    manager.service.store().close().await;
    let problem = manager.get("status").await.unwrap_err();
    assert_eq!((problem.code, problem.detail), (ErrorCode::Internal, None));
    assert!(!problem.title.contains("pool"), "{}", problem.title);
}

#[tokio::test]
async fn files_are_taken_once_and_given_to_who_needs_them() {
    let manager = Manager::start().await;
    let hash = hash_of("#!/bin/sh\n");
    let ask = json!({"hashes": [hash]});
    assert_eq!(manager.post("files/missing", ask.clone()).await.unwrap(), ask);
    refused(manager.put(&hash, "something else").await, ErrorCode::HashMismatch, &hash);
    refused(manager.put("not-a-hash", "x").await, ErrorCode::BadRequest, "SHA-256");
    assert_eq!(manager.post("files/missing", ask.clone()).await.unwrap(), ask);
    manager.put(&hash, "#!/bin/sh\n").await.unwrap();
    assert_eq!(manager.post("files/missing", ask).await.unwrap(), json!({"hashes": []}));

    let device = manager.enrol("one").await;
    let other = manager.enrol("two").await;
    manager.deploy(GRAPH).await;
    let get = async |device: &DeviceId, key: &str, range: Option<&str>| {
        let mut request = Request::get(format!("/v1/agent/files/{hash}")).body(Body::empty()).unwrap();
        let peer = Peer { device: device.clone(), key_fingerprint: key.to_owned(), certificate_ends: LATER };
        request.extensions_mut().insert(PeerDevice(peer));
        if let Some(range) = range {
            request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        }
        manager.send(request).await
    };
    let text = async |response: Response<Body>| response.into_body().collect().await.unwrap().to_bytes();
    let whole = get(&device, "one", None).await;
    assert_eq!((whole.status(), text(whole).await.as_ref()), (StatusCode::OK, &b"#!/bin/sh\n"[..]));
    let rest = get(&device, "one", Some("bytes=7-")).await;
    assert_eq!(rest.headers()[header::CONTENT_RANGE], "bytes 7-9/10");
    assert_eq!((rest.status(), text(rest).await.as_ref()), (StatusCode::PARTIAL_CONTENT, &b"sh\n"[..]));
    assert_eq!(get(&device, "one", Some("bytes=10-")).await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    refused(answer(get(&device, "one", Some("bytes=-3")).await).await, ErrorCode::BadRequest, "bytes=N-");
    refused(answer(get(&other, "two", None).await).await, ErrorCode::Forbidden, "no instance");
    refused(answer(get(&device, "stolen", None).await).await, ErrorCode::Unauthorized, "key");
    // A person's token is no device's certificate.
    refused(manager.get(&format!("/v1/agent/files/{hash}")).await, ErrorCode::Unauthorized, "certificate");
}

#[tokio::test]
async fn acts_reach_the_devices_that_have_what_is_meant() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.enrol("two").await;
    manager.deploy(GRAPH).await;
    let act =
        async |scope: Value| manager.post("applications/shop/act", json!({"verb": "cancel", "scope": scope})).await;
    let there = |path: &str| json!({"devices": [{"device": "one", "verdict": {"verdict": "ok"}, "instances": [path]}]});
    let got = act(json!({})).await.unwrap();
    assert_eq!(got["devices"].as_array().unwrap().len(), 1, "{got}");
    assert_eq!(act(json!({"path": "/vm/db", "component": "Db"})).await.unwrap()["devices"], there("/vm/db")["devices"]);
    assert_eq!(act(json!({"path": "/vm/db", "below": true})).await.unwrap(), json!({"devices": []}));
    refused(act(json!({"path": "/vm/bd"})).await, ErrorCode::NotFound, "/vm/db");
    refused(act(json!({"component": "Dbb"})).await, ErrorCode::NotFound, "`Db`");
    let unknown = manager.post("applications/shopp/act", json!({"verb": "retry"})).await;
    refused(unknown, ErrorCode::NotFound, "shop");
    let nonsense = manager.post("applications/shop/act", json!({"verb": "explode"})).await;
    refused(nonsense, ErrorCode::BadRequest, "explode");
}

#[tokio::test]
async fn uploads_at_a_time_are_bounded() {
    let manager = Manager::start().await;
    let hash = hash_of("small");
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let request = manager.request(Method::PUT, &format!("files/{hash}")).body(body).unwrap();
        slow.spawn(manager.router.clone().oneshot(request));
    }
    let incoming = manager.data.path().join("files/incoming");
    let all_under_way = async {
        while std::fs::read_dir(&incoming).unwrap().count() < 64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, all_under_way).await.unwrap();
    let problem = manager.put(&hash, "small").await.unwrap_err();
    assert_eq!((problem.code, problem.status), (ErrorCode::Busy, 503));
    slow.shutdown().await;
    manager.put(&hash, "small").await.unwrap();
}

#[tokio::test]
async fn a_graph_that_cannot_be_is_refused_with_its_place() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let mut bundle = manager.bundle(GRAPH).await;
    let good = bundle.clone();
    bundle["recipes"]["Db"]["scripts/start.sh"]["hash"] = json!("00".repeat(32));
    refused(manager.plan(&bundle).await, ErrorCode::FilesMissing, &"00".repeat(32));
    bundle = good.clone();
    bundle["sources"]["shop.graph"]["size"] = json!(1);
    refused(manager.plan(&bundle).await, ErrorCode::BadRequest, "the bundle says 1");
    bundle = good.clone();
    bundle["entry"]["path"] = json!("other.graph");
    refused(manager.plan(&bundle).await, ErrorCode::GraphInvalid, "not part of the upload");

    let check = async |from: &str, to: &str, code, says: &str| {
        let bundle = manager.bundle(&GRAPH.replace(from, to)).await;
        refused(manager.plan(&bundle).await, code, says);
    };
    check("children: Db;", "children: Dbb;", ErrorCode::GraphInvalid, "shop.graph:3:").await;
    check("device: one;", "device: onne;", ErrorCode::UnknownDevice, "did you mean `one`").await;
    let fleet = "name: vm-{device};\n\tdevices: site=tokyo;";
    check("name: vm;\n\tdevice: one;", fleet, ErrorCode::Unsupported, "devices:").await;
    assert!(manager.get("applications").await.unwrap().as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_apply_does_what_the_plan_said_and_nothing_else() {
    let manager = Manager::start().await;
    let device = manager.enrol("one").await;
    let mut bell = manager.service.bus().listen();
    let bundle = manager.bundle(GRAPH).await;
    let plan = manager.plan(&bundle).await.unwrap();
    assert_eq!(plan["changes"].as_array().unwrap().len(), 2);
    let applied = manager.apply(&bundle, &plan).await.unwrap();
    assert_eq!((&applied["revision"], &applied["application"]), (&json!(1), &json!("shop")));
    assert_eq!(bell.next().await, Heard::Ring(Ring::Assignment(device.clone())));
    let assignment = manager.service.store().assignment(&device).await.unwrap().unwrap();
    assert_eq!((assignment.generation.0, assignment.instances.len()), (1, 2));

    // The old plan is void now, and says so; the new one is empty and changes nothing.
    refused(manager.apply(&bundle, &plan).await, ErrorCode::PlanMoved, "at revision 1 now");
    let again = manager.plan(&bundle).await.unwrap();
    assert!(again["changes"].as_array().unwrap().is_empty());
    assert_eq!(manager.apply(&bundle, &again).await.unwrap()["revision"], 1);

    // Other files than those of the plan.
    let other = manager.bundle(&GRAPH.replace("3306", "3307")).await;
    refused(manager.apply(&other, &again).await, ErrorCode::PlanMoved, "files or settings differ");
    let plan = manager.plan(&other).await.unwrap();
    let mut edited = other.clone();
    let script = "echo something else";
    edited["recipes"]["Db"]["scripts/start.sh"] = json!({"hash": manager.upload(script).await, "size": script.len()});
    let lines = manager.plan(&edited).await.unwrap();
    assert_eq!(lines["changes"][0]["path"], plan["changes"][0]["path"]);
    refused(manager.apply(&edited, &plan).await, ErrorCode::PlanMoved, "files or settings differ");
    let comment = manager.bundle(&format!("{}# said nowhere\n", GRAPH.replace("3306", "3307"))).await;
    refused(manager.apply(&comment, &plan).await, ErrorCode::PlanMoved, "files or settings differ");
    assert_eq!(manager.deploy(&GRAPH.replace("3306", "3307")).await["revision"], 2);
    assert_eq!(manager.get("applications").await.unwrap()[0]["revision"], 2);
    assert_eq!(manager.get("devices/one").await.unwrap()["applications"], json!(["shop"]));
    refused(manager.get("devices/onne").await, ErrorCode::NotFound, "did you mean `one`");
}

#[tokio::test]
async fn of_two_applies_at_once_one_is_told_that_the_ground_moved() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let (left, right) =
        (manager.bundle(&GRAPH.replace("3306", "3307")).await, manager.bundle(&GRAPH.replace("3306", "3308")).await);
    let (left_plan, right_plan) = (manager.plan(&left).await.unwrap(), manager.plan(&right).await.unwrap());
    let (one, two) = tokio::join!(manager.apply(&left, &left_plan), manager.apply(&right, &right_plan));
    let (done, moved) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(done.unwrap()["revision"], 2);
    refused(moved, ErrorCode::PlanMoved, "the revision was 1 when planned, is 2 now");
}

#[tokio::test]
async fn what_was_asked_for_is_shown_until_the_next_apply() {
    let manager = Manager::start().await;
    let device = manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let asked = manager.post("applications/shop/wanted", json!({"path": "/vm/db", "wanted": "stopped"})).await.unwrap();
    assert_eq!(asked["instances"], json!(["/vm/db"]));
    let status = manager.get("status?application=shop").await.unwrap();
    let db = &status["instances"][1];
    assert_eq!(
        (&db["wanted"], &db["overridden"], &db["state"]),
        (&json!("stopped"), &json!(true), &json!("NOT_DEPLOYED"))
    );
    assert_eq!(manager.service.store().assignment(&device).await.unwrap().unwrap().generation.0, 2);

    refused(
        manager.post("applications/shop/wanted", json!({"path": "/vm/bd", "wanted": "stopped"})).await,
        ErrorCode::NotFound,
        "did you mean `/vm/db`",
    );
    refused(
        manager.post("applications/shp/wanted", json!({"wanted": "started"})).await,
        ErrorCode::NotFound,
        "did you mean `shop`",
    );
    let all = manager.post("applications/shop/wanted", json!({"wanted": "started"})).await.unwrap();
    assert_eq!(all["instances"].as_array().unwrap().len(), 2);
    assert_eq!(manager.get("status").await.unwrap()["instances"][1]["overridden"], false);

    refused(
        manager.post("applications/shop/wanted", json!({"path": "/vm", "wanted": "stopped"})).await,
        ErrorCode::BadRequest,
        "is a machine",
    );
    let below = json!({"path": "/vm", "below": true, "wanted": "stopped"});
    let first = manager.post("applications/shop/wanted", below.clone()).await.unwrap();
    assert_eq!(first["instances"], json!(["/vm/db"]));
    // Asked for again, it changes nothing and answers the same.
    assert_eq!(manager.post("applications/shop/wanted", below).await.unwrap(), first);
    let bundle = manager.bundle(GRAPH).await;
    let plan = manager.plan(&bundle).await.unwrap();
    assert_eq!(plan["changes"][0]["action"], "start");
    manager.apply(&bundle, &plan).await.unwrap();
    assert_eq!(manager.get("status").await.unwrap()["instances"][0]["wanted"], "started");
}

#[tokio::test]
async fn ten_identical_applies_at_once_make_one_revision() {
    let manager = Manager::start().await;
    let device = manager.enrol("one").await;
    let bundle = manager.bundle(GRAPH).await;
    let plan = manager.plan(&bundle).await.unwrap();
    let applied = futures_util::future::join_all((0..10).map(|_| manager.apply(&bundle, &plan))).await;
    for applied in &applied {
        match applied {
            Ok(applied) => assert_eq!(applied["revision"], 1),
            Err(problem) => assert_eq!(problem.code, ErrorCode::PlanMoved),
        }
    }
    assert!(applied.iter().any(Result::is_ok));
    assert_eq!(manager.get("applications").await.unwrap()[0]["revision"], 1);
    assert_eq!(manager.service.store().assignment(&device).await.unwrap().unwrap().generation.0, 1);
}

#[tokio::test]
async fn who_is_asked_for_in_step_has_not_settled_before_its_device_has_heard_of_others() {
    let manager = Manager::start().await;
    let device = manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let report = json!({"seq": 1, "full": true, "generation": 1, "reports": [{"application": "shop",
        "path": "/vm/db", "component": "Db", "state": "DEPLOYED_STARTED", "since": 1, "settled": true}]});
    let update = serde_json::from_value(report).unwrap();
    manager.service.store().record_update(&device, &update, UnixMillis(1)).await.unwrap();
    let settled = async |query: &str| {
        let status = manager.get(&format!("status{query}")).await.unwrap();
        let instances = status["instances"].as_array().unwrap();
        instances.iter().find(|i| i["path"] == "/vm/db").unwrap()["settled"].as_bool().unwrap()
    };
    assert!(settled("").await);
    assert!(!settled("?in_step=true").await);
    assert!(!settled("?in_step=true&application=shop").await);
    refused(manager.get("status?in_step=perhaps").await, ErrorCode::BadRequest, "in_step");
    refused(manager.get("status?in_step=true&application=none").await, ErrorCode::NotFound, "none");
}

#[tokio::test]
async fn a_deleted_application_is_shown_until_it_is_gone() {
    let manager = Manager::start().await;
    let device = manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let report = json!({"seq": 1, "full": true, "reports": [{"application": "shop", "path": "/vm/db",
        "component": "Db", "state": "DEPLOYED_STARTED", "since": 1}]});
    let update = serde_json::from_value(report).unwrap();
    manager.service.store().record_update(&device, &update, UnixMillis(1)).await.unwrap();
    let deleted = manager.call(Method::DELETE, "applications/shop", Value::Null).await.unwrap();
    assert_eq!(deleted["instances"], json!(["/vm", "/vm/db"]));
    let status = manager.get("status?application=shop").await.unwrap();
    let left = &status["instances"][0];
    assert_eq!(
        (&left["wanted"], &left["installer"], &left["path"]),
        (&Value::Null, &json!("script"), &json!("/vm/db"))
    );
    assert!(manager.service.store().assignment(&device).await.unwrap().unwrap().instances.is_empty());

    let gone = serde_json::from_value(json!({"seq": 2, "full": true})).unwrap();
    manager.service.store().record_update(&device, &gone, UnixMillis(2)).await.unwrap();
    refused(manager.get("status?application=shop").await, ErrorCode::NotFound, "shop");
    refused(manager.call(Method::DELETE, "applications/shop", Value::Null).await, ErrorCode::NotFound, "shop");
    assert_eq!(manager.deploy(GRAPH).await["revision"], 1);
}

#[tokio::test]
async fn followed_events_come_once_and_in_order() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let request = manager.request(Method::GET, "events?follow=true&after=0").body(Body::empty()).unwrap();
    let response = manager.send(request).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let mut body = response.into_body().into_data_stream();
    let mut text = Vec::new();
    let mut read_until = async |count: usize| {
        while text.iter().filter(|b| **b == b'\n').count() < count {
            let chunk = tokio::time::timeout(BOUND, body.next()).await.expect("an event in time").unwrap().unwrap();
            text.extend_from_slice(&chunk);
        }
        text.clone()
    };
    read_until(1).await;
    manager.deploy(GRAPH).await;
    read_until(2).await;
    manager.post("applications/shop/wanted", json!({"wanted": "stopped"})).await.unwrap();
    manager.enrol("two").await;
    let text = read_until(4).await;
    let events: Vec<Event> =
        text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(events.iter().map(|e| e.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(events[1].body, EventBody::Applied { revision: 1, of: None });
    assert_eq!(events, manager.events().await);
    let request = manager.request(Method::GET, "events?application=shop&limit=1").body(Body::empty()).unwrap();
    let last = manager.send(request).await.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8(last.to_vec()).unwrap().starts_with("{\"id\":3,"));
}

#[tokio::test]
async fn the_history_tells_what_was_applied_and_how_it_differs() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    refused(manager.get("applications/shop/revisions").await, ErrorCode::NotFound, "no application `shop`");
    manager.deploy(GRAPH).await;
    let changed = GRAPH.replace("3306", "3307");
    let bundle = manager.bundle(&changed).await;
    let plan = manager.plan(&bundle).await.unwrap();
    let apply = async |bundle: &Value, plan: &Value, more: Value| {
        let mut body = json!({"bundle": bundle, "plan_id": plan["id"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        manager.post("apply", body).await
    };
    refused(apply(&bundle, &plan, json!({"note": "x".repeat(1001)})).await, ErrorCode::BadRequest, "1001 characters");
    apply(&bundle, &plan, json!({"note": " another port\n"})).await.unwrap();

    let first = manager.get("applications/shop/revisions/1").await.unwrap();
    let plan = manager.plan(&first["bundle"]).await.unwrap();
    let refusal = apply(&first["bundle"], &plan, json!({"rollback_of": 2})).await;
    refused(refusal, ErrorCode::BadRequest, "not what revision 2 of `shop` was");
    apply(&first["bundle"], &plan, json!({"rollback_of": 1})).await.unwrap();

    let revisions = manager.get("applications/shop/revisions").await.unwrap();
    let told = |field: &str| revisions.as_array().unwrap().iter().map(|r| r[field].clone()).collect::<Vec<_>>();
    assert_eq!(told("number"), [3, 2, 1]);
    assert_eq!(told("by"), ["admin", "admin", "admin"]);
    assert_eq!(told("note"), [Value::Null, "another port".into(), Value::Null]);
    assert_eq!(told("rollback_of"), [json!(1), Value::Null, Value::Null]);
    assert_eq!(told("instances"), [2, 2, 2]);
    assert_eq!(revisions[1]["summary"], json!({"create": 0, "change": 1, "delete": 0, "ripple": 0}));
    assert!(manager.events().await.iter().any(|e| e.body == EventBody::Applied { revision: 3, of: Some(1) }));

    let diff = manager.get("applications/shop/diff?from=1&to=2").await.unwrap();
    let changes = diff["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[0]["path"], &changes[0]["reasons"]),
        (1, &"/vm/db".into(), &json!(["port 3306 → 3307"]))
    );
    assert_eq!(diff["files"][0]["path"], "shop.graph");
    assert_eq!(diff["files"][0]["after"]["hash"], hash_of(&changed));
    let same = manager.get("applications/shop/diff?from=3&to=1").await.unwrap();
    assert_eq!((&same["changes"], &same["files"]), (&json!([]), &json!([])));
    refused(manager.get("applications/shop/diff?from=1&to=9").await, ErrorCode::NotFound, "1 to 3 are kept");

    let file = async |number: u64, hash: String| {
        let path = format!("applications/shop/revisions/{number}/files/{hash}");
        let response = manager.send(manager.request(Method::GET, &path).body(Body::empty()).unwrap()).await;
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(file(2, hash_of(&changed)).await, (StatusCode::OK, Bytes::from(changed.clone())));
    assert_eq!(file(1, hash_of(&changed)).await.0, StatusCode::NOT_FOUND);
}
