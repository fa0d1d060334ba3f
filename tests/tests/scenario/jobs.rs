//! Commands and jobs through cuts, restarts, and devices that are away: exactly one verdict for each target.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;
use futures_util::StreamExt as _;
use reqwest::Method;
use robo_model::quantity::Millis;
use robo_tests::api::{Api, Framed};
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::proxy::{Mode, Proxy};
use robo_wire::event::EventBody;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::job::{JobRequest, JobView, MAX_HEAD, MAX_TAIL, RunState};
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::{Answer, Command, ExecRequest, StreamFrame, Targets, Verdict};

fn sh(script: &str) -> Command {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    Command { argv, env: BTreeMap::new(), cwd: None, user: None, timeout: None, stdin: false, within: None }
}

fn names(names: &[&str]) -> Targets {
    Targets::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

fn job(targets: Targets, command: Command) -> JobRequest {
    JobRequest { targets, command, queue: None, concurrency: None, fail_fast: false }
}

async fn begin(api: &Api, request: &JobRequest) -> JobView {
    api.call(Method::POST, "/projects/default/jobs", Some(request)).await.unwrap()
}

async fn show(api: &Api, view: &JobView) -> JobView {
    api.call::<(), _>(Method::GET, &format!("/projects/default/jobs/{}", view.id), None).await.unwrap()
}

async fn cancel(api: &Api, view: &JobView) -> JobView {
    api.call::<(), _>(Method::DELETE, &format!("/projects/default/jobs/{}", view.id), None).await.unwrap()
}

async fn ended(api: &Api, view: &JobView) -> JobView {
    eventually("the job has ended", || async { Some(show(api, view).await).filter(|view| view.ended_at.is_some()) })
        .await
}

fn verdicts(view: &JobView) -> Vec<Verdict> {
    view.runs.iter().map(|run| run.outcome.clone().unwrap()).collect()
}

/// The output of a job's first target, and its verdict.
async fn output(api: &Api, view: &JobView) -> (Vec<u8>, Option<Verdict>) {
    let path = format!("/projects/default/jobs/{}/output?follow=true", view.id);
    let mut answers = Answers::of(api.framed(Method::GET, &path, None).await.unwrap());
    let mut out = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Answer::From(0, StreamFrame::Stdout(bytes)) => out.extend(bytes),
            Answer::From(0, StreamFrame::Verdict(verdict)) => return (out, Some(verdict)),
            Answer::Ticket(_) | Answer::Targets(_) | Answer::From(..) => {}
        }
    }
    (out, None)
}

/// Frames of an answer, as they come.
struct Answers {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl Answers {
    fn of(response: reqwest::Response) -> Self {
        Self { bytes: response.bytes_stream().boxed(), buffer: Vec::new() }
    }

    async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME).unwrap() {
                return Some(Answer::decode(frame).unwrap());
            }
            self.buffer.extend(self.bytes.next().await?.ok()?);
        }
    }
}

async fn linked(manager: &Manager, name: &str, online: bool) {
    eventually("the device is linked, or not", || async {
        manager.api.devices().await.iter().any(|d| d.name.as_str() == name && d.online == online).then_some(())
    })
    .await;
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_survives_cuts_to_the_last_byte() {
    let total: usize = std::env::var("ROBO_BIG").ok().and_then(|n| n.parse().ok()).unwrap_or(64 * 1024 * 1024);
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let proxy = Proxy::start(manager.address);
    let _agent = Agent::start_through(&manager, folder.path(), ("one", "127.0.0.1"), proxy.address).await;
    linked(&manager, "one", true).await;
    // What comes says by itself where it stands.
    let mark = folder.path().join("mark");
    let script = format!("echo x >>{}; seq -f %015.0f 1 {}; exit 7", mark.display(), total / 16);
    let body =
        ExecRequest { targets: names(&["one"]), command: sh(&script), resumable: false, needs: None }.encode().unwrap();
    let mut answers =
        Answers::of(manager.api.framed(Method::POST, "/projects/default/exec", Some(body.into())).await.unwrap());
    let (mut place, mut cuts, mut rest) = (0_usize, 0, Vec::new());
    let verdict = loop {
        match answers.next().await.expect("the answer goes on") {
            Answer::From(0, StreamFrame::Stdout(bytes)) => {
                rest.extend(bytes);
                let whole = rest.len() / 16 * 16;
                for line in rest.drain(..whole).as_slice().chunks(16) {
                    place += 1;
                    assert!(line == format!("{place:015}\n").as_bytes(), "at line {place}");
                }
                if place > total / 16 * (cuts + 1) / 7 && cuts < 5 {
                    cuts += 1;
                    proxy.cut();
                }
            }
            Answer::From(0, StreamFrame::Verdict(verdict)) => break verdict,
            Answer::Targets(_) => {}
            other @ (Answer::From(..) | Answer::Ticket(_)) => panic!("{other:?}"),
        }
    };
    assert_eq!((verdict, place, rest.len(), cuts), (Verdict::Failed { code: 7 }, total / 16, 0, 5));
    assert_eq!(lines(&mark), 1, "it began once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_survives_a_cut_too() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let proxy = Proxy::start(manager.address);
    let _agent = Agent::start_through(&manager, folder.path(), ("one", "127.0.0.1"), proxy.address).await;
    linked(&manager, "one", true).await;
    let command = Command { stdin: true, ..sh("cat") };
    let text: Vec<u8> = (0..200_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
    let mut frames =
        vec![ExecRequest { targets: names(&["one"]), command, resumable: false, needs: None }.encode().unwrap()];
    frames.extend(text.chunks(30_000).map(|piece| StreamFrame::Stdin(piece.to_vec()).encode().unwrap()));
    frames.push(StreamFrame::StdinEnd.encode().unwrap());
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>)));
    let mut answers =
        Answers::of(manager.api.framed(Method::POST, "/projects/default/exec", Some(body)).await.unwrap());
    let (mut out, mut cuts) = (Vec::new(), 0);
    let verdict = loop {
        match answers.next().await.expect("the answer goes on") {
            Answer::From(0, StreamFrame::Stdout(bytes)) => out.extend(bytes),
            Answer::From(0, StreamFrame::Verdict(verdict)) => break verdict,
            Answer::Targets(_) => {}
            other @ (Answer::From(..) | Answer::Ticket(_)) => panic!("{other:?}"),
        }
        if cuts < 3 && out.len() > text.len() * (cuts + 1) / 5 {
            cuts += 1;
            proxy.cut();
        }
    };
    assert_eq!((verdict, cuts), (Verdict::Ok, 3));
    assert!(out == text, "{} bytes came back of {}", out.len(), text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_the_restart_of_its_manager() {
    let folder = folder();
    let data = folder.path().join("manager");
    let manager = Manager::start(&data).await;
    let address = manager.address;
    let _one = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    let mut two = Agent::start(&manager, folder.path(), "two", "127.0.0.1").await;
    linked(&manager, "one", true).await;
    linked(&manager, "two", true).await;
    two.crash().await;
    linked(&manager, "two", false).await;
    let (mark, go) = (folder.path().join("mark"), folder.path().join("go"));
    let script = format!(
        "echo \"$WORD\" >>{}; echo begun; while [ ! -e {} ]; do sleep 0.05; done; echo done; exit 3",
        mark.display(),
        go.display()
    );
    let with_word = Command { env: [("WORD".into(), "secret".into())].into(), ..sh(&script) };
    let request =
        JobRequest { queue: Some(Millis::from_secs(600)), ..job(names(&["one", "two", "nobody"]), with_word) };
    let view = begin(&manager.api, &request).await;
    eventually("it runs", || async {
        let runs = show(&manager.api, &view).await.runs;
        (runs[0].state == RunState::Running && runs[1].state == RunState::Queued).then_some(())
    })
    .await;
    assert_eq!((view.env.as_slice(), view.by.as_str()), (&["WORD".to_owned()][..], "admin"));
    // As a kill does: in the middle of everything.
    drop(manager);
    std::fs::write(&go, "").unwrap();
    let manager = eventually("the manager is back", || async { Manager::start_at(&data, address).await.ok() }).await;
    // The device that was waited for comes now, and the manager still knows what it is to run there.
    two.resume(&manager, None, "127.0.0.1");
    let view = ended(&manager.api, &view).await;
    let told = verdicts(&view);
    assert_eq!(told[..2], [Verdict::Failed { code: 3 }, Verdict::Failed { code: 3 }]);
    assert!(matches!(&told[2], Verdict::Refused { reason } if reason.contains("no such device")));
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "secret\nsecret\n", "each began once");
    assert_eq!(output(&manager.api, &view).await, (b"begun\ndone\n".to_vec(), Some(told[0].clone())));
    let (targets, not_ok) = (view.targets, view.not_ok);
    assert_eq!((targets, view.ok, not_ok), (3, 0, 3));
    let events: Vec<EventBody> = manager.api.events().await.into_iter().map(|event| event.body).collect();
    assert!(events.contains(&EventBody::JobEnded { job: view.id.clone(), ok: 0, not_ok: 3, by: None }), "{events:?}");
    let began = events.iter().any(|e| matches!(e, EventBody::JobBegan { job, targets: 3, .. } if *job == view.id));
    assert!(began, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_is_told_waited_for_or_given_up() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    linked(&manager, "one", true).await;
    let mark = folder.path().join("mark");
    let hang = format!("echo x >>{}; echo begun; sleep 1000", mark.display());
    let view = begin(&manager.api, &job(names(&["one"]), sh(&hang))).await;
    eventually("it runs", || async { (lines(&mark) == 1).then_some(()) }).await;
    // An agent that was killed does not know whether the command goes on, and begins nothing anew.
    agent.crash().await;
    linked(&manager, "one", false).await;
    agent.resume(&manager, None, "127.0.0.1");
    let told = verdicts(&ended(&manager.api, &view).await);
    assert!(matches!(&told[0], Verdict::Lost { reason } if reason.contains("restarted")), "{told:?}");
    assert_eq!(lines(&mark), 1);
    agent.crash().await;
    linked(&manager, "one", false).await;

    let told = verdicts(&begin(&manager.api, &job(names(&["one"]), sh("true"))).await);
    assert_eq!(told, [Verdict::Offline], "at once");
    let short = JobRequest { queue: Some(Millis(300)), ..job(names(&["one"]), sh("true")) };
    let view = begin(&manager.api, &short).await;
    assert_eq!(verdicts(&ended(&manager.api, &view).await), [Verdict::Expired]);
    let long = JobRequest { queue: Some(Millis::from_secs(600)), ..job(names(&["one"]), sh("true")) };
    let (given_up, view) = (begin(&manager.api, &long).await, begin(&manager.api, &long).await);
    let cancelled = cancel(&manager.api, &given_up).await;
    assert_eq!(cancelled.cancelled_by.as_deref(), Some("admin"));
    let told = verdicts(&ended(&manager.api, &given_up).await);
    assert_eq!(told, [Verdict::Cancelled { reason: "not begun".into() }]);
    agent.resume(&manager, None, "127.0.0.1");
    assert_eq!(verdicts(&ended(&manager.api, &view).await), [Verdict::Ok]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_bounded_cancelled_and_stopped_by_a_failure() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        agents.push(Agent::start(&manager, folder.path(), name, "127.0.0.1").await);
        linked(&manager, name, true).await;
    }
    // One at a time: nobody begins while another one is at it.
    let lock = folder.path().join("lock");
    let alone = format!("mkdir {0} && sleep 0.1 && rmdir {0}", lock.display());
    let view = begin(&manager.api, &JobRequest { concurrency: Some(1), ..job(Targets::All, sh(&alone)) }).await;
    let view = ended(&manager.api, &view).await;
    assert_eq!(verdicts(&view), [Verdict::Ok, Verdict::Ok, Verdict::Ok], "{view:?}");
    let first = JobRequest { concurrency: Some(1), fail_fast: true, ..job(Targets::All, sh("exit 9")) };
    let view = ended(&manager.api, &begin(&manager.api, &first).await).await;
    let told = verdicts(&view);
    let (failed, not_begun): (Vec<_>, Vec<_>) = told.iter().partition(|v| **v == Verdict::Failed { code: 9 });
    assert_eq!((failed.len(), not_begun.len(), view.not_ok), (1, 2, 3), "{told:?}");
    assert!(
        not_begun.iter().all(|v| matches!(v, Verdict::Cancelled { reason } if reason.contains("failed elsewhere")))
    );

    // Of endless output begin and end are kept; who cancels it ends it, also what does not heed it.
    let flood = "trap '' TERM; yes 0123456789abcde";
    let view = begin(&manager.api, &job(names(&["a"]), sh(flood))).await;
    eventually("it runs", || async {
        (show(&manager.api, &view).await.runs[0].state == RunState::Running).then_some(())
    })
    .await;
    cancel(&manager.api, &view).await;
    let view = ended(&manager.api, &view).await;
    assert_eq!(verdicts(&view), [Verdict::Cancelled { reason: "on request".into() }]);
    let (out, verdict) = output(&manager.api, &view).await;
    assert!(verdict.is_some() && out.len() as u64 <= MAX_HEAD + MAX_TAIL, "{} bytes", out.len());
    if view.runs[0].missing > 0 {
        assert_eq!(out.len() as u64, MAX_HEAD + MAX_TAIL);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    linked(&manager, "one", true).await;
    let api = &manager.api;
    let check = |got: Result<JobView, (reqwest::StatusCode, Problem)>, code: ErrorCode, says: &str| {
        let (_, problem) = got.unwrap_err();
        let text = format!("{problem} {}", problem.help.as_deref().unwrap_or_default());
        assert!(problem.code == code && text.contains(says), "{text}");
    };
    let ask = async |request: &JobRequest| api.call(Method::POST, "/projects/default/jobs", Some(request)).await;
    let good = || job(Targets::All, sh("true"));
    check(
        ask(&JobRequest { command: Command { argv: vec![], ..sh("") }, ..good() }).await,
        ErrorCode::BadRequest,
        "no words",
    );
    check(ask(&JobRequest { concurrency: Some(0), ..good() }).await, ErrorCode::BadRequest, "at least 1");
    check(ask(&JobRequest { queue: Some(Millis(u64::MAX)), ..good() }).await, ErrorCode::BadRequest, "at most 30days");
    check(ask(&job(Targets::Selector("=,".into()), sh("true"))).await, ErrorCode::BadRequest, "");
    for (method, path) in [(Method::GET, ""), (Method::DELETE, ""), (Method::GET, "/output")] {
        let path = format!("/projects/default/jobs/0123456789{path}");
        check(api.call::<(), _>(method, &path, None).await, ErrorCode::NotFound, "robo job list");
    }
    check(api.call::<(), _>(Method::GET, "/projects/default/jobs/No_Id", None).await, ErrorCode::BadRequest, "job id");
    let view = ended(api, &begin(api, &good()).await).await;
    let path = format!("/projects/default/jobs/{}", view.id);
    check(api.call::<(), _>(Method::DELETE, &path, None).await, ErrorCode::Conflict, "has ended");
    let answer = api.framed(Method::GET, &format!("{path}/output?device=two"), None).await;
    assert!(matches!(answer, Err(Framed::Problem(p)) if p.code == ErrorCode::NotFound));
    let wrong = [
        (sh("true"), Command { cwd: Some("/no/such".into()), ..sh("true") }, "no folder `/no/such`"),
        (sh("true"), Command { user: Some("no-such-user".into()), ..sh("true") }, "no user `no-such-user`"),
    ];
    for (_, command, says) in wrong {
        let told = verdicts(&ended(api, &begin(api, &job(Targets::All, command)).await).await);
        assert!(matches!(&told[0], Verdict::Refused { reason } if reason.contains(says)), "{told:?}");
    }
}

/// As many targets as went in come out, each with one verdict, whatever happens to the devices and the manager. A seed
/// that fails is told; `ROBO_ROUNDS` says how many are tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_in_n_out() {
    let rounds: u64 = std::env::var("ROBO_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let folder = folder();
    let data = folder.path().join("manager");
    let mut manager = Manager::start(&data).await;
    let address = manager.address;
    let mut devices = Vec::new();
    for number in 0..4 {
        let proxy = Proxy::start(address);
        let name = format!("d{number}");
        let agent = Agent::start_through(&manager, folder.path(), (&name, "127.0.0.1"), proxy.address).await;
        linked(&manager, &name, true).await;
        devices.push((proxy, agent));
    }
    for seed in 0..rounds {
        let mut rng = Rng::with_seed(seed);
        let mark = folder.path().join(format!("mark-{seed}"));
        let script = format!("echo x >>{}; seq 1 20000; sleep 0.3; exit 0", mark.display());
        let request = JobRequest {
            queue: rng.bool().then_some(Millis::from_secs(30)),
            concurrency: rng.bool().then_some(2),
            fail_fast: rng.u8(..4) == 0,
            ..job(names(&["d0", "nobody", "d1", "d2", "d3"]), sh(&script))
        };
        let view = begin(&manager.api, &request).await;
        for _ in 0..rng.u8(1..6) {
            tokio::time::sleep(std::time::Duration::from_millis(rng.u64(..150))).await;
            let victim = rng.usize(..devices.len());
            let (proxy, _) = &devices[victim];
            match rng.u8(..4) {
                0 => proxy.cut(),
                1 => {
                    proxy.set(Mode::Slow(20));
                }
                2 => {
                    proxy.set(Mode::Stall);
                    proxy.cut();
                }
                _ => {
                    drop(manager);
                    let back = || async { Manager::start_at(&data, address).await.ok() };
                    manager = eventually("the manager is back", back).await;
                }
            }
        }
        for (proxy, _) in &devices {
            proxy.set(Mode::Pass);
        }
        let view = ended(&manager.api, &view).await;
        let told = verdicts(&view);
        assert_eq!((told.len(), view.targets, view.ok + view.not_ok), (5, 5, 5), "seed {seed}: {told:?}");
        assert!(matches!(told[1], Verdict::Refused { .. }), "seed {seed}: {told:?}");
        // What was decided stays.
        assert_eq!(verdicts(&show(&manager.api, &view).await), told, "seed {seed}");
        // Each device shares the file: as many lines as commands that began.
        let began = lines(&mark);
        let ran = told.iter().filter(|v| **v == Verdict::Ok).count();
        assert!(began >= ran && began <= 4, "seed {seed}: {began} began, {ran} are ok: {told:?}");
        for number in 0..devices.len() {
            linked(&manager, &format!("d{number}"), true).await;
        }
    }
}
