//! Shell sessions through cuts, restarts, and several people.

use reqwest::Method;
use robo_model::quantity::Millis;
use robo_tests::api::{Api, Framed};
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::proxy::Proxy;
use robo_tests::visitor::{Visitor, start};
use robo_wire::event::EventBody;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::shell::{SessionView, ShellFrame, ShellStart, Size};
use robo_wire::stream::Verdict;

/// Prints so many lines, one after the other, in about the time that a few cuts take.
const LINES: usize = 4_000;

fn counting() -> ShellStart {
    let script = format!(
        "stty -echo; echo ready; read go; i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo \"line $i\"; \
         [ $((i % 20)) = 0 ] && sleep 0.01; done; read word; echo \"<$word>\"; exit 7"
    );
    start(&["sh", "-c", &script])
}

fn counted() -> String {
    let lines: String = (1..=LINES).map(|i| format!("line {i}\r\n")).collect();
    format!("ready\r\n{lines}<word>\r\n")
}

async fn linked(manager: &Manager, name: &str) {
    eventually("the device is linked", || async {
        manager.api.devices().await.iter().any(|d| d.name.as_str() == name && d.online).then_some(())
    })
    .await;
}

async fn sessions(api: &Api) -> Vec<SessionView> {
    api.call::<(), _>(Method::GET, "/projects/default/sessions", None).await.unwrap()
}

async fn recording(api: &Api, id: &str) -> String {
    let path = format!("/projects/default/sessions/{id}/recording");
    api.framed(Method::GET, &path, None).await.unwrap().text().await.unwrap()
}

/// What a recording shows, without its header.
fn shown(recording: &str) -> String {
    let events = recording.lines().skip(1).map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap());
    events.filter(|(_, kind, _)| kind == "o").map(|(_, _, text)| text).collect()
}

fn problem(got: Result<Visitor, Framed>) -> Problem {
    match got {
        Err(Framed::Problem(problem)) => problem,
        Err(Framed::Unreachable) => panic!("nobody answers"),
        Ok(visitor) => panic!("{:?}", visitor.joined),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_of_the_link_loses_nothing_and_doubles_nothing() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let proxy = Proxy::start(manager.address);
    let _agent = Agent::start_through(&manager, folder.path(), ("one", "127.0.0.1"), proxy.address).await;
    linked(&manager, "one").await;
    let mut visitor = Visitor::begin(&manager.api, "one", counting()).await.unwrap();
    let id = visitor.joined.session.to_string();
    visitor.until("ready").await;
    visitor.type_in("go\r").await;
    for cut in 1..=4 {
        visitor.until(&format!("line {}\r", cut * LINES / 10)).await;
        while visitor.reachable.last() == Some(&false) {
            assert_eq!(visitor.step().await, Ok(None));
        }
        proxy.cut();
        while visitor.reachable.last() != Some(&false) {
            assert_eq!(visitor.step().await, Ok(None));
        }
    }
    // Typed while the device is away: it arrives, and once.
    visitor.type_in("wo").await;
    visitor.type_in("rd\r").await;
    assert_eq!(visitor.verdict().await, Verdict::Failed { code: 7 });
    assert!(visitor.text() == counted(), "{} bytes are not what was printed", visitor.output.len());
    assert_eq!(visitor.reachable.iter().filter(|r| !**r).count(), 4);
    assert!(shown(&recording(&manager.api, &id).await) == counted(), "it is not recorded as it was");
    let view = &sessions(&manager.api).await[0];
    assert_eq!((view.id.as_str(), &view.verdict), (id.as_str(), &Some(Verdict::Failed { code: 7 })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_restarts_takes_the_session_up_again() {
    let folder = folder();
    let data = folder.path().join("manager");
    let manager = Manager::start(&data).await;
    let address = manager.address;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    linked(&manager, "one").await;
    let mut visitor = Visitor::begin(&manager.api, "one", counting()).await.unwrap();
    let id = visitor.joined.session.to_string();
    visitor.until("ready").await;
    visitor.type_in("go\r").await;
    visitor.until("line 500\r").await;
    // As a kill does: in the middle of everything.
    drop(manager);
    while visitor.step().await.is_ok() {}
    let (place, output) = (visitor.place, visitor.output);
    let manager = eventually("the manager is back", || async { Manager::start_at(&data, address).await.ok() }).await;
    let mut visitor = Visitor::attach(&manager.api, &id, 1, Some(place)).await.unwrap();
    assert_eq!((visitor.joined.from, visitor.joined.taken), (place, None), "it cannot know what was typed before");
    visitor.until(&format!("line {LINES}\r")).await;
    visitor.type_in("word\r").await;
    assert_eq!(visitor.verdict().await, Verdict::Failed { code: 7 });
    let all = String::from_utf8([output, visitor.output.clone()].concat()).unwrap();
    assert!(all == counted(), "{} bytes are not what was printed", all.len());
    assert!(shown(&recording(&manager.api, &id).await) == counted(), "it is not recorded as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_use_watch_and_end_a_session_and_the_history_knows() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    linked(&manager, "one").await;
    let api = &manager.api;
    let mut first = Visitor::begin(api, "one", start(&["sh", "-c", "stty -echo; echo ready; cat"])).await.unwrap();
    let id = first.joined.session.to_string();
    first.until("ready").await;
    let mut second = Visitor::attach(api, &id, 2, None).await.unwrap();
    let mut watcher = Visitor::watch(api, &id).await.unwrap();
    second.type_in("from the second\r").await;
    first.type_in("from the first\r").await;
    for visitor in [&mut first, &mut second, &mut watcher] {
        visitor.until("from the second").await;
        visitor.until("from the first").await;
    }
    let view = &sessions(api).await[0];
    assert_eq!((view.users, view.watchers, view.reachable, view.by.as_str()), (2, 1, true, "admin"));

    // Who comes back within its own numbers types nothing twice.
    drop(first);
    let mut first = Visitor::attach(api, &id, 1, Some(0)).await.unwrap();
    assert_eq!(first.joined.taken, Some(15));
    first.send(&ShellFrame::Input(10, b"irst\rthird\r".to_vec())).await;
    first.until("third").await;
    assert_eq!(first.text().matches("from the first").count(), 1);
    first.send(&ShellFrame::Resize(Size { cols: 132, rows: 43 })).await;
    first.send(&ShellFrame::Input(21, b"wider\r".to_vec())).await;
    first.until("wider").await;

    let ended: SessionView =
        api.call::<(), _>(Method::DELETE, &format!("/projects/default/sessions/{id}"), None).await.unwrap();
    assert_eq!(ended.id.as_str(), id);
    for visitor in [&mut first, &mut second, &mut watcher] {
        assert_eq!(visitor.verdict().await, Verdict::Failed { code: 129 });
        assert_eq!(visitor.notices, ["the session was ended by admin"]);
    }
    let told: Vec<EventBody> = api.events().await.into_iter().map(|event| event.body).collect();
    let session = || id.parse().unwrap();
    let by = || "admin".to_owned();
    let command = ["sh", "-c", "stty -echo; echo ready; cat"].map(str::to_owned).to_vec();
    assert!(told.contains(&EventBody::SessionBegan { session: session(), by: by(), command }), "{told:?}");
    let verdict = Verdict::Failed { code: 129 };
    assert!(told.contains(&EventBody::SessionEnded { session: session(), verdict, by: Some(by()) }), "{told:?}");
    assert!(recording(api, &id).await.contains("\"r\", \"132x43\""), "{}", recording(api, &id).await);
    let problem = problem(Visitor::attach(api, &id, 3, None).await);
    assert_eq!(problem.code, ErrorCode::Conflict);
    // Who was cut off at the end still learns how it ended.
    let mut late = Visitor::attach(api, &id, 1, Some(3)).await.unwrap();
    assert_eq!(late.verdict().await, Verdict::Failed { code: 129 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_and_harms_nobody() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    linked(&manager, "one").await;
    let api = &manager.api;
    let check = |problem: &Problem, code: ErrorCode, says: &str| {
        let text = format!("{problem} {}", problem.help.as_deref().unwrap_or_default());
        assert!(problem.code == code && text.contains(says), "{text}");
    };
    let begin = async |device: &str, start: ShellStart| problem(Visitor::begin(api, device, start).await);
    check(&begin("on", start(&[])).await, ErrorCode::NotFound, "did you mean `one`");
    check(&begin("one", ShellStart { idle: Millis(1), ..start(&[]) }).await, ErrorCode::BadRequest, "`idle` is 1ms");
    check(&begin("one", start(&["x\0"])).await, ErrorCode::BadRequest, "zero byte");
    let missing = ["no-such", "0123456789"];
    for id in missing {
        check(&problem(Visitor::watch(api, id).await), ErrorCode::NotFound, "robo session list");
        check(&problem(Visitor::attach(api, id, 1, Some(7)).await), ErrorCode::NotFound, id);
    }
    check(&problem(Visitor::watch(api, "No_Id").await), ErrorCode::BadRequest, "session id");
    for first in [Vec::new(), vec![0; 9], vec![0, 0, 0, 1, 200], vec![255; 9]] {
        let path = "/projects/default/devices/one/shell";
        let answer = api.framed(Method::POST, path, Some(first.into())).await;
        assert!(matches!(answer, Err(Framed::Problem(p)) if p.code == ErrorCode::BadRequest));
    }
    let mut refused = Visitor::begin(api, "one", start(&["no-such-program"])).await.unwrap();
    let verdict = refused.verdict().await;
    assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains("no-such-program")), "{verdict:?}");

    // A gap in the input, what is no frame, and one that is too large: the connection ends, the session goes on.
    let mut visitor = Visitor::begin(api, "one", start(&["cat"])).await.unwrap();
    let id = visitor.joined.session.to_string();
    visitor.type_in("before\r").await;
    visitor.until("before").await;
    let gap = ShellFrame::Input(1_000, b"x".to_vec()).encode().unwrap();
    for wrong in [gap, vec![0, 0, 0, 2, 17, 1], vec![255, 255, 255, 255, 16]] {
        let mut other = Visitor::attach(api, &id, 9, None).await.unwrap();
        other.send_bytes(wrong).await;
        while other.step().await.is_ok() {}
        drop(other);
    }
    visitor.type_in("after\r").await;
    visitor.until("after").await;

    // A device that goes away takes its sessions along only when its agent ends.
    agent.crash().await;
    let offline = async || {
        let gone = manager.api.devices().await.iter().all(|device| !device.online);
        gone.then_some(())
    };
    eventually("the device is offline", offline).await;
    check(&begin("one", start(&[])).await, ErrorCode::DeviceOffline, "`one` is not connected");
    agent.resume(&manager, None, "127.0.0.1");
    let verdict = visitor.verdict().await;
    assert!(matches!(&verdict, Verdict::Lost { reason } if reason.contains("agent was restarted")), "{verdict:?}");
}
