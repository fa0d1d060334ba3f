//! Shell sessions with agents that do not do what they should.

use robo_wire::shell::{Attached, SessionView, ShellFrame, ShellOpen, ShellRequest, ShellStart, Size};

use super::*;

/// An agent that does what the first word says.
pub(super) fn pretend(open: ShellOpen) -> Box<dyn LinkStream> {
    let (ours, mut theirs) = tokio::io::duplex(MAX_STREAM_FRAME);
    tokio::spawn(async move {
        let word = open.start.map_or_else(String::new, |start| start.argv[0].clone());
        let attached = ShellFrame::Attached(Attached { from: 0, taken: 0 });
        let print = |place, text: &str| ShellFrame::Output(place, text.as_bytes().to_vec());
        let frames = match word.as_str() {
            // It reads the first frame, finds nothing that it knows, and hangs up.
            "old" => vec![],
            "full" => vec![ShellFrame::Verdict(Verdict::Refused { reason: "16 sessions run".to_owned() })],
            "newer" => vec![
                ShellFrame::Unknown(99),
                attached,
                ShellFrame::Unknown(98),
                print(0, "one "),
                // Twice, in part; then with a gap.
                print(2, "e two "),
                print(100, "late"),
                ShellFrame::Taken(1_000),
                ShellFrame::Verdict(Verdict::Ok),
            ],
            // The session that is begun again after its stream broke.
            "" => vec![attached, ShellFrame::Verdict(Verdict::Failed { code: 3 })],
            "garbage" => {
                theirs.write_all(&attached.encode().unwrap()).await.unwrap();
                theirs.write_all(&[0, 0, 0, 2, 17, 1]).await.unwrap();
                return;
            }
            other => panic!("nobody pretends to {other}"),
        };
        for frame in frames {
            theirs.write_all(&frame.encode().unwrap()).await.unwrap();
        }
    });
    Box::new(ours)
}

async fn run(manager: &Manager, word: &str) -> Vec<ShellFrame> {
    let start = ShellStart {
        argv: vec![word.to_owned()],
        env: BTreeMap::new(),
        cwd: None,
        user: None,
        term: "xterm".to_owned(),
        size: Size::USUAL,
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: None,
    };
    let first = ShellRequest { start, client: 1 }.encode().unwrap();
    let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(first))]).chain(stream::pending()));
    let response = manager.send(manager.request(Method::POST, "devices/one/shell").body(body).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = tokio::time::timeout(BOUND, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    let (mut buffer, mut frames) = (bytes.to_vec(), Vec::new());
    while let Some(frame) = frame::take(&mut buffer, MAX_STREAM_FRAME).unwrap() {
        frames.push(ShellFrame::decode(frame).unwrap());
    }
    assert!(matches!(frames.remove(0), ShellFrame::Joined(_)));
    frames
}

#[tokio::test]
async fn whatever_an_agent_does_a_session_has_its_verdict() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let verdict = async |word: &str| match run(&manager, word).await.pop() {
        Some(ShellFrame::Verdict(verdict)) => verdict,
        other => panic!("{word}: {other:?}"),
    };
    let old = verdict("old").await;
    assert!(matches!(&old, Verdict::Refused { reason } if reason.contains("too old for shells")), "{old:?}");
    assert!(matches!(verdict("full").await, Verdict::Refused { reason } if reason.contains("16 sessions")));
    assert_eq!(verdict("garbage").await, Verdict::Failed { code: 3 }, "it is opened again");

    let newer = run(&manager, "newer").await;
    assert_eq!(newer.last(), Some(&ShellFrame::Verdict(Verdict::Ok)), "{newer:?}");
    assert!(newer.contains(&ShellFrame::Output(100, b"late".to_vec())), "{newer:?}");
    // What came before may be gone by then; what is told of it comes once and in order.
    let mut place = 0;
    for frame in newer {
        if let ShellFrame::Output(from, bytes) = frame {
            assert!(from >= place, "{from} after {place}");
            place = from + bytes.len() as u64;
        }
    }

    let sessions: Vec<SessionView> = serde_json::from_value(manager.get("sessions").await.unwrap()).unwrap();
    assert_eq!(sessions.len(), 4);
    assert!(
        sessions.iter().all(|view| view.ended_at.is_some() && view.recorded > 0 && view.users == 0),
        "{sessions:?}"
    );
    let began = manager.events().await.into_iter().filter(|e| matches!(e.body, EventBody::SessionBegan { .. })).count();
    let ended = manager.events().await.into_iter().filter(|e| matches!(e.body, EventBody::SessionEnded { .. })).count();
    assert_eq!((began, ended), (4, 4));

    let id = &sessions[0].id;
    assert_eq!(manager.get(&format!("sessions/{id}")).await.unwrap()["id"], id.as_str());
    let end = manager.call(Method::DELETE, &format!("sessions/{id}"), Value::Null).await;
    refused(end, ErrorCode::Conflict, "has ended");
    std::fs::remove_dir_all(manager.service.recordings()).unwrap();
    refused(manager.get(&format!("sessions/{id}/recording")).await, ErrorCode::NotFound, "no recording any more");
    refused(manager.get("sessions/nobody").await, ErrorCode::NotFound, "`nobody`");
    refused(manager.get("sessions/no%2Fbody").await, ErrorCode::BadRequest, "session id");
}
