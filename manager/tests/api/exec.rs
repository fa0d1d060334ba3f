//! Commands and logs: every target has its verdict, and input and output go where they should.

use super::*;

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
        command: Command { argv: vec!["say".into()], env: BTreeMap::new(), cwd: None, user: None, timeout: None, stdin: false },
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
