//! Commands and logs: every target has its verdict, and input and output go where they should.

use robo_model::quantity::UnixMillis;
use robo_wire::api::Facts;
use robo_wire::call::{CallTicket, OpenTarget, ResumeRequest};
use robo_wire::job::{Begun, Ended, Output, RunFrame, RunOpen};
use robo_wire::stream::Requirement;
use tokio::io::DuplexStream;

use super::*;

/// A run whose command does what its first word says.
pub(super) fn pretend_run(open: RunOpen) -> Result<Box<dyn LinkStream>, OpenError> {
    let words = open.start.unwrap().command.argv;
    if words[0] == "offline" {
        return Err(OpenError::Offline);
    }
    let (ours, theirs) = tokio::io::duplex(1024);
    let (inner, command) = tokio::io::duplex(1024);
    tokio::spawn(pretend(words, command));
    tokio::spawn(carry(theirs, inner));
    Ok(Box::new(ours))
}

/// Tells as an agent does what the pretended command says.
async fn carry(outer: DuplexStream, inner: DuplexStream) {
    let (mut hear, mut say) = tokio::io::split(outer);
    let (mut from, mut to) = tokio::io::split(inner);
    let begun = RunFrame::Begun(Begun { at: UnixMillis(1), taken: 0 });
    drop(say.write_all(&begun.encode().unwrap()).await);
    let there = async {
        let mut buffer = Vec::new();
        loop {
            while let Some(frame) = frame::take(&mut buffer, MAX_STREAM_FRAME).unwrap() {
                let frame = match RunFrame::decode(frame).unwrap() {
                    RunFrame::Input(_, data) => StreamFrame::Stdin(data),
                    RunFrame::InputEnd => StreamFrame::StdinEnd,
                    RunFrame::Signal(number) => StreamFrame::Signal(number),
                    _ => continue,
                };
                drop(to.write_all(&frame.encode().unwrap()).await);
            }
            if hear.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let back = async {
        let (mut buffer, mut place) = (Vec::new(), 0);
        loop {
            while let Ok(Some(frame)) = frame::take(&mut buffer, MAX_STREAM_FRAME) {
                let mut said = |kind, data: Vec<u8>| {
                    place += data.len() as u64;
                    RunFrame::Output(kind, place - data.len() as u64, data)
                };
                let frames = match StreamFrame::decode(frame).unwrap() {
                    StreamFrame::Stdout(data) => {
                        data.chunks(MAX_STREAM_FRAME / 2).map(|d| said(Output::Stdout, d.to_vec())).collect()
                    }
                    StreamFrame::Stderr(data) => vec![said(Output::Stderr, data)],
                    StreamFrame::Verdict(verdict) => {
                        vec![RunFrame::Ended(Ended { verdict, began_at: None, ended_at: UnixMillis(2) })]
                    }
                    _ => vec![RunFrame::Unknown(77)],
                };
                for frame in frames {
                    drop(say.write_all(&frame.encode().unwrap()).await);
                }
            }
            if from.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                drop(say.write_all(&buffer).await);
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

#[tokio::test]
async fn every_target_has_its_verdict() {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        manager.enrol(name).await;
    }
    let run = async |argv: &[&str]| outcomes(&manager.exec(exec_request(&["one", "nobody", "two", "one"], argv)).await);
    let said = ("hello".to_owned(), "err".to_owned(), Verdict::Failed { code: 7 });
    let all = run(&["say", "hello"]).await;
    assert_eq!((all.len(), &all[0], &all[2]), (3, &said, &said));
    assert!(matches!(&all[1].2, Verdict::Refused { reason } if reason.contains("no such device")));
    assert_eq!(run(&["offline"]).await[0].2, Verdict::Offline);
    let flood = run(&["flood"]).await;
    assert_eq!((flood[2].0.len(), &flood[2].2), (MAX_STREAM_FRAME - 1, &Verdict::Ok));
    for broken in ["garbage", "torn"] {
        assert!(matches!(run(&[broken]).await[0].2, Verdict::Lost { .. }), "{broken}");
    }
    let executed: Vec<_> =
        manager.events().await.into_iter().filter(|e| matches!(e.body, EventBody::Executed { .. })).collect();
    assert_eq!(executed.len(), 10, "one for each device and job");
    let everybody = ExecRequest {
        targets: Targets::Selector("site=tokyo".to_owned()),
        command: Command {
            argv: vec!["say".into()],
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            timeout: None,
            stdin: false,
            within: None,
        },
        resumable: false,
        needs: None,
    };
    assert!(outcomes(&manager.exec(everybody.encode().unwrap()).await).is_empty());
}

#[tokio::test]
async fn input_reaches_everybody_and_its_loss_ends_the_job() {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        manager.enrol(name).await;
    }
    let mut body = exec_request(&["one", "two"], &["cat"]);
    for frame in [StreamFrame::Stdin(b"in".to_vec()), StreamFrame::Signal(2), StreamFrame::Stdin(b"put".to_vec())] {
        body.extend(frame.encode().unwrap());
    }
    let expect = ("input".to_owned(), "2".to_owned(), Verdict::Ok);
    // The end of the request is the end of the input, said or not.
    assert_eq!(outcomes(&manager.exec(body.clone()).await), [expect.clone(), expect.clone()]);
    body.extend(StreamFrame::StdinEnd.encode().unwrap());
    assert_eq!(outcomes(&manager.exec(body.clone()).await), [expect.clone(), expect]);

    let mut torn = exec_request(&["one"], &["hang"]);
    torn.extend([0, 0, 0, 50, 2]);
    let lost = outcomes(&manager.exec(torn).await);
    assert!(matches!(&lost[0].2, Verdict::Lost { reason } if reason.contains("input")), "{lost:?}");
    for bad in [Vec::new(), vec![0; 9], exec_request(&["one"], &["hang"])[..9].to_vec()] {
        let response = manager.send(manager.request(Method::POST, "exec").body(bad.into()).unwrap()).await;
        refused(answer(response).await, ErrorCode::BadRequest, "");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_written_down() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let mut bell = manager.service.bus().listen();
    let mut request = exec_request(&["one"], &["hang"]);
    request.extend(StreamFrame::Stdin(b"x".to_vec()).encode().unwrap());
    let body =
        Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(request))]).chain(stream::pending()));
    let response = manager.send(manager.request(Method::POST, "exec").body(body).unwrap()).await;
    drop(response);
    let rang = tokio::time::timeout(BOUND, bell.next()).await.unwrap();
    assert_eq!(rang, Heard::Ring(Ring::Events(ProjectName::default_project())));
    let last = manager.events().await.pop().unwrap();
    assert!(matches!(last.body, EventBody::Executed { verdict: Verdict::Lost { .. }, .. }), "{last:?}");
}

#[tokio::test]
async fn logs_are_read_where_the_instance_lives() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.deploy(GRAPH).await;
    let request =
        manager.request(Method::GET, "logs?application=shop&path=/vm/db&lines=5").body(Body::empty()).unwrap();
    let bytes = manager.send(request).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(outcomes(&bytes)[0].0, "shop/vm/db 5 false");
    refused(manager.get("logs?application=shop&path=/vm/bd").await, ErrorCode::NotFound, "did you mean `/vm/db`");
    refused(manager.get("logs?application=shop").await, ErrorCode::BadRequest, "path");
}

/// A request for a command by a caller that can come back.
fn resumable(argv: &[&str]) -> ExecRequest {
    let bytes = exec_request(&["one", "two"], argv);
    let mut buffer = bytes.clone();
    let request = ExecRequest::decode(&frame::take(&mut buffer, MAX_CONTROL_FRAME).unwrap().unwrap()).unwrap();
    ExecRequest { resumable: true, ..request }
}

/// The ticket that comes first, and the rest.
fn ticket_of(bytes: &[u8]) -> (CallTicket, Bytes) {
    let mut buffer = bytes.to_vec();
    let first = Answer::decode(frame::take(&mut buffer, MAX_CONTROL_FRAME).unwrap().unwrap()).unwrap();
    let Answer::Ticket(ticket) = first else { panic!("{first:?}") };
    (ticket, buffer.into())
}

#[tokio::test]
async fn a_call_goes_on_for_its_own_caller_only() {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        manager.enrol(name).await;
    }
    let request = resumable(&["say", "hello"]);
    let mut body = request.encode().unwrap();
    for target in 0..2 {
        body.extend(StreamFrame::Seen(target).encode().unwrap());
    }
    let (ticket, rest) = ticket_of(&manager.exec(body).await);
    let said = ("hello".to_owned(), "err".to_owned(), Verdict::Failed { code: 7 });
    assert_eq!(outcomes(&rest), [said.clone(), said]);

    let target = |name: &str, place| OpenTarget { name: name.into(), place };
    let resume = ResumeRequest {
        ticket,
        command: request.command,
        targets: vec![target("two", 2), target("nobody", 0)],
        input: 0,
    };
    let mut body = resume.encode().unwrap();
    for target in 0..2 {
        body.extend(StreamFrame::Seen(target).encode().unwrap());
    }
    let response = manager.send(manager.request(Method::POST, "exec/resume").body(body.into()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = tokio::time::timeout(BOUND, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    let (_, rest) = ticket_of(&bytes);
    let all = outcomes(&rest);
    assert_eq!(
        all[0],
        ("llo".to_owned(), "err".to_owned(), Verdict::Failed { code: 7 }),
        "what had arrived comes not again"
    );
    assert!(matches!(&all[1].2, Verdict::Refused { reason } if reason.contains("no such device")), "{all:?}");

    let ask = async |path: &str, request: &ResumeRequest| {
        let body = request.encode().unwrap();
        answer(manager.send(manager.request(Method::POST, path).body(body.into()).unwrap()).await).await
    };
    let wrong = |with: &dyn Fn(&mut ResumeRequest)| {
        let mut request = resume.clone();
        with(&mut request);
        request
    };
    let not_yours = "not yours to go on with";
    for request in [
        wrong(&|r| r.command.argv.push("more".into())),
        wrong(&|r| r.ticket.id = "another".parse().unwrap()),
        wrong(&|r| r.ticket.asked_at.0 += 1),
        wrong(&|r| r.ticket.seal.clear()),
    ] {
        refused(ask("exec/resume", &request).await, ErrorCode::Forbidden, not_yours);
    }
    refused(ask("exec/resume", &wrong(&|r| r.targets.clear())).await, ErrorCode::BadRequest, "at least");
    refused(ask("exec/resume", &wrong(&|r| r.command.argv.clear())).await, ErrorCode::BadRequest, "no words");
    manager.post("/v1/projects", json!({"name": "other"})).await.unwrap();
    refused(ask("/v1/projects/other/exec/resume", &resume).await, ErrorCode::Forbidden, not_yours);

    // Another user, who may run commands there too, and one who may not.
    let body = resume.encode().unwrap();
    let bob = manager.user("bob", &[json!({"role": "operator", "project": "default"})]).await;
    refused(
        answer(bob.response(Method::POST, "exec/resume", body.clone()).await).await,
        ErrorCode::Forbidden,
        not_yours,
    );
    let eve = manager.user("eve", &[json!({"role": "viewer", "project": "default"})]).await;
    refused(answer(eve.response(Method::POST, "exec/resume", body).await).await, ErrorCode::Forbidden, "");
}

#[tokio::test]
async fn a_caller_that_sends_more_input_than_may_be_under_way_is_cut_off() {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        manager.enrol(name).await;
    }
    let mut body = resumable(&["hang"]).encode().unwrap();
    for _ in 0..40 {
        body.extend(StreamFrame::Stdin(vec![b'x'; 32 * 1024]).encode().unwrap());
    }
    // Its caller may come back: nothing is decided for it.
    let said = answers(&manager.exec(body).await);
    assert!(!said.iter().any(|answer| matches!(answer, Answer::From(_, StreamFrame::Verdict(_)))), "{said:?}");
}

#[tokio::test]
async fn jobs_are_listed_by_state_user_device_labels_and_time() {
    let manager = Manager::start().await;
    for name in ["one", "two"] {
        manager.enrol(name).await;
    }
    manager.call(Method::PATCH, "devices/two", json!({"set": {"site": "tokyo"}})).await.unwrap();
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let job = |names: &[&str], words: &[&str]| json!({"targets": {"names": names}, "command": {"argv": words}});
    let begin = async |body: Value| manager.post("jobs", body).await.unwrap()["id"].as_str().unwrap().to_owned();
    let failed = begin(job(&["one"], &["say", "a"])).await;
    let mut bell = manager.service.bus().listen();
    let cancelled = begin(job(&["one", "two"], &["hang"])).await;
    manager.call(Method::DELETE, &format!("jobs/{cancelled}"), Value::Null).await.unwrap();
    let hers = ann.response(Method::POST, "jobs", job(&["two", "gone"], &["hang"]).to_string()).await;
    let hers = answer(hers).await.unwrap()["id"].as_str().unwrap().to_owned();
    let listed = async |query: &str| {
        let all = manager.get(&format!("jobs?{query}")).await.unwrap();
        let ids = all.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        ids.collect::<BTreeSet<_>>()
    };
    let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<String>>();
    let until = async |bell: &mut robo_manager::bus::Listener, query: &str, id: &String| {
        while !listed(query).await.contains(id) {
            tokio::time::timeout(BOUND, bell.next()).await.unwrap();
        }
    };
    until(&mut bell, "state=failed", &failed).await;
    assert_eq!(listed("").await, set(&[&failed, &cancelled, &hers]));
    assert_eq!(listed("state=failed").await, set(&[&failed]));
    assert!(listed("state=going").await.contains(&hers));
    assert_eq!(listed("user=ann").await, set(&[&hers]));
    assert_eq!(listed("user=nobody").await, set(&[]));
    assert_eq!(listed("device=one").await, set(&[&failed, &cancelled]));
    assert_eq!(listed("device=gone").await, set(&[&hers]), "a device that is gone had jobs");
    assert_eq!(listed("selector=site%3Dtokyo").await, set(&[&cancelled, &hers]));
    assert_eq!(listed("selector=site%3Drome").await, set(&[]));
    assert_eq!(listed("selector=site%3Dtokyo&user=admin").await, set(&[&cancelled]));
    assert_eq!(listed("limit=1").await.len(), 1);
    assert_eq!(listed("since=1").await.len(), 3);
    assert_eq!(listed("since=99999999999999").await.len(), 0);
    let check = async |query: &str, code, says: &str| {
        refused(manager.get(&format!("jobs?{query}")).await, code, says);
    };
    check("state=done", ErrorCode::BadRequest, "").await;
    check("user=a/b", ErrorCode::BadRequest, "").await;
    check("device=a/b", ErrorCode::BadRequest, "").await;
    check("device=nobody", ErrorCode::NotFound, "nobody").await;
    check("device=one&selector=a", ErrorCode::BadRequest, "not given together").await;
    check("selector=,,", ErrorCode::BadRequest, "").await;
    check("since=yesterday", ErrorCode::BadRequest, "").await;
    check("limit=0", ErrorCode::BadRequest, "at least 1").await;
    check("colour=red", ErrorCode::BadRequest, "colour").await;
}

#[tokio::test]
async fn a_device_that_lacks_what_is_needed_is_refused() {
    let manager = Manager::start().await;
    for (name, capabilities) in [("one", vec!["docker", "systemd"]), ("two", vec!["systemd-boot"]), ("new", Vec::new())]
    {
        let id = manager.enrol(name).await;
        let capabilities = capabilities.into_iter().map(str::to_owned).collect();
        let facts = Facts { capabilities, ..Facts::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    let names = ["two", "one", "nobody", "new"].map(str::to_owned).to_vec();
    let request =
        ExecRequest { needs: Some(Requirement::Systemd), targets: Targets::Names(names), ..resumable(&["say", "hi"]) };
    let request = ExecRequest { resumable: false, ..request };
    let told: Vec<String> = outcomes(&manager.exec(request.encode().unwrap()).await)
        .into_iter()
        .map(|(_, _, verdict)| verdict.to_string())
        .collect();
    assert_eq!(told.len(), 4, "each has its verdict");
    assert!(told[0].starts_with("refused: there is no systemd there") && told[0] == told[3], "{told:?}");
    assert_eq!((told[1].as_str(), told[2].as_str()), ("exit 7", "refused: there is no such device"));
}
