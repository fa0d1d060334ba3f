//! Connections through a device, over streams that are cut, and with peers that do not keep the rules.

#![cfg(test)]

use std::time::Duration;

use robo_agent::forward::{Forwards, MAX_FLOWS, Policy};
use robo_agent::framing::{read_frame, write_frame};
use robo_wire::forward::flow::{Flow, Said, ToSocket};
use robo_wire::forward::{Broken, BrokenKind, FlowId, ForwardFrame, ForwardOpen, KEEP, Place, Target, Wish};
use robo_wire::frame::MAX_STREAM_FRAME;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Far more than anything here takes.
const BOUND: Duration = Duration::from_secs(60);

const ME: FlowId = FlowId([7; 16]);

fn to(port: u16) -> Wish {
    Wish::Connect(Target::Tcp { host: "127.0.0.1".into(), port })
}

async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Bytes that a stream takes while nobody reads: more than may be under way, so that a test may write before it reads.
const ROOM: usize = 4 * 1024 * 1024;

/// A stream that the manager opened for `by`.
fn open(forwards: &Forwards, by: &str, flow: FlowId, wish: Option<Wish>, taken: u64) -> DuplexStream {
    let (ours, theirs) = duplex(ROOM);
    let (forwards, open) = (forwards.clone(), ForwardOpen { flow, by: by.to_owned(), wish, taken });
    drop(tokio::spawn(async move { forwards.serve(open, theirs).await }));
    ours
}

async fn next(stream: &mut DuplexStream) -> Option<ForwardFrame> {
    let frame = timeout(BOUND, read_frame(stream, MAX_STREAM_FRAME)).await.expect("something comes");
    frame.unwrap().map(|frame| ForwardFrame::decode(frame).unwrap())
}

async fn say(stream: &mut DuplexStream, frame: ForwardFrame) {
    write_frame(stream, &frame.encode().unwrap()).await.unwrap();
}

async fn opened(stream: &mut DuplexStream) -> robo_wire::forward::Opened {
    match next(stream).await {
        Some(ForwardFrame::Opened(opened)) => opened,
        other => panic!("{other:?}"),
    }
}

/// Waits until it is told as broken.
async fn broken(stream: &mut DuplexStream) -> Broken {
    loop {
        match next(stream).await {
            Some(ForwardFrame::Broken(broken)) => return broken,
            Some(_) => {}
            None => panic!("it ends without a word"),
        }
    }
}

async fn refused(forwards: &Forwards, wish: Wish) -> BrokenKind {
    let id = FlowId(std::array::from_fn(|_| 9));
    broken(&mut open(forwards, "anna", id, Some(wish), 0)).await.kind
}

#[tokio::test]
async fn each_direction_of_a_connection_ends_alone() {
    let (listener, port) = server().await;
    let forwards = Forwards::new(Policy::Loopback);
    let mut stream = open(&forwards, "anna", ME, Some(to(port)), 0);
    let (mut socket, _) = listener.accept().await.unwrap();
    assert_eq!(opened(&mut stream).await.taken, 0);
    say(&mut stream, ForwardFrame::Data(0, b"question".to_vec())).await;
    say(&mut stream, ForwardFrame::End(8)).await;
    let mut question = String::new();
    socket.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    // It has read to the end, and only now it speaks.
    socket.write_all(b"answer").await.unwrap();
    drop(socket);
    let mut answer = Vec::new();
    let mut taken = 0;
    loop {
        match next(&mut stream).await {
            Some(ForwardFrame::Data(place, bytes)) => {
                assert_eq!(place, answer.len() as u64);
                answer.extend(bytes);
            }
            Some(ForwardFrame::Taken(place)) => taken = place,
            Some(ForwardFrame::End(6)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((answer.as_slice(), taken), (b"answer".as_slice(), 9));
    say(&mut stream, ForwardFrame::Taken(7)).await;
    timeout(BOUND, async {
        while forwards.count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // Its last word may have been cut off: who comes back is told again what was taken.
    let mut stream = open(&forwards, "anna", ME, None, 7);
    assert_eq!(opened(&mut stream).await.taken, 9);
}

/// What a server sends: bytes that tell where they stand.
fn pattern(bytes: std::ops::Range<u64>) -> Vec<u8> {
    bytes.map(|at| u8::try_from((at * 31 + at / 251) % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_cut_costs_no_byte_in_either_direction() {
    const ALL: u64 = 3_000_000;
    let (listener, port) = server().await;
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        // It gives back what it gets.
        tokio::io::copy(&mut reader, &mut writer).await.unwrap()
    });
    let forwards = Forwards::new(Policy::Loopback);
    let mut flow = Flow::default();
    let (mut read, mut got, mut wish) = (0, Vec::new(), Some(to(port)));
    for until in [1, 500_000, 1_000_000, 1_000_100, 2_500_000, ALL] {
        let before = flow.taken();
        let mut stream = open(&forwards, "anna", ME, wish.take(), before);
        flow.arrived(opened(&mut stream).await.taken).unwrap();
        let mut said = Said::new(&flow, before);
        while (got.len() as u64) < until || until == ALL && !flow.is_done() {
            let piece = pattern(read..ALL.min(read + flow.room() as u64));
            read += piece.len() as u64;
            flow.read(&piece);
            if read == ALL {
                flow.drained();
            }
            match flow.to_socket(usize::MAX) {
                Some(ToSocket::Bytes(bytes)) => {
                    flow.wrote(bytes.len());
                    got.extend(bytes);
                }
                Some(ToSocket::Close) => flow.closed(),
                None => {}
            }
            if let Some(frame) = said.next(&flow) {
                say(&mut stream, frame).await;
            } else if !flow.is_done() {
                flow.hear(next(&mut stream).await.expect("it goes on")).unwrap();
            }
        }
        // In the middle of whatever it carries.
        drop(stream);
    }
    assert!(got == pattern(0..ALL), "{} bytes are not what was sent", got.len());
    assert_eq!(timeout(BOUND, server).await.unwrap().unwrap(), ALL);
}

#[tokio::test]
async fn nobody_else_comes_to_a_connection() {
    let (listener, port) = server().await;
    let forwards = Forwards::new(Policy::Loopback);
    let mut stream = open(&forwards, "anna", ME, Some(to(port)), 0);
    let (mut socket, _) = listener.accept().await.unwrap();
    opened(&mut stream).await;
    let foreign = broken(&mut open(&forwards, "bert", ME, Some(to(port)), 0)).await;
    let unknown = broken(&mut open(&forwards, "anna", FlowId([8; 16]), None, 0)).await;
    assert_eq!((foreign.kind, &foreign), (BrokenKind::Unknown, &unknown), "it is as if it were not there");
    say(&mut stream, ForwardFrame::Data(0, b"x".to_vec())).await;
    assert_eq!(socket.read_u8().await.unwrap(), b'x');
    // Its owner's newer stream takes the place of the older one.
    let mut newer = open(&forwards, "anna", ME, None, 0);
    assert_eq!(opened(&mut newer).await.taken, 1);
    assert!(matches!(next(&mut stream).await, Some(ForwardFrame::Taken(1)) | None));
    say(&mut newer, ForwardFrame::Data(1, b"y".to_vec())).await;
    assert_eq!(socket.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn what_cannot_be_is_told_with_its_kind() {
    let (listener, port) = server().await;
    let forwards = Forwards::new(Policy::Loopback);
    assert_eq!(refused(&Forwards::new(Policy::None), to(port)).await, BrokenKind::Denied);
    assert_eq!(refused(&forwards, to(0)).await, BrokenKind::Denied);
    let far = Wish::Connect(Target::Tcp { host: "192.0.2.1".into(), port });
    assert_eq!(refused(&forwards, far).await, BrokenKind::Denied);
    let mut streams = Vec::new();
    for number in 0..MAX_FLOWS {
        let id = FlowId([u8::try_from(number).unwrap(); 16]);
        let mut stream = open(&forwards, "anna", id, Some(to(port)), 0);
        opened(&mut stream).await;
        streams.push((stream, listener.accept().await.unwrap()));
    }
    let id = FlowId([200; 16]);
    let full = broken(&mut open(&forwards, "anna", id, Some(to(port)), 0)).await;
    assert_eq!(full.kind, BrokenKind::TooMany, "{full}");
    drop(listener);
    say(&mut streams[0].0, ForwardFrame::Broken(Broken::new(BrokenKind::Ended, "enough"))).await;
    timeout(BOUND, async {
        while forwards.count() == MAX_FLOWS {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(broken(&mut open(&forwards, "anna", id, Some(to(port)), 0)).await.kind, BrokenKind::Refused);
}

#[tokio::test]
async fn who_does_not_keep_the_rules_breaks_only_its_connection() {
    let (listener, port) = server().await;
    let forwards = Forwards::new(Policy::Loopback);
    let gap = ForwardFrame::Data(5, vec![1]).encode().unwrap();
    let too_taken = ForwardFrame::Taken(1).encode().unwrap();
    for (number, wrong) in [gap, too_taken, vec![0, 0, 0, 2, 114, 1]].into_iter().enumerate() {
        let id = FlowId([u8::try_from(number).unwrap(); 16]);
        let mut stream = open(&forwards, "anna", id, Some(to(port)), 0);
        let (mut socket, _) = listener.accept().await.unwrap();
        opened(&mut stream).await;
        stream.write_all(&wrong).await.unwrap();
        assert_eq!(broken(&mut stream).await.kind, BrokenKind::Lost);
        let ended = timeout(BOUND, socket.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset, "it must not look like an end");
    }
    // What is no frame at all ends the stream, and the connection may be come back to.
    let mut stream = open(&forwards, "anna", ME, Some(to(port)), 0);
    let (_socket, _) = listener.accept().await.unwrap();
    opened(&mut stream).await;
    stream.write_all(&[255; 9]).await.unwrap();
    assert_eq!(next(&mut stream).await, None);
    opened(&mut open(&forwards, "anna", ME, None, 0)).await;
    // A program that breaks off at the device is told as that.
    let mut stream = open(&forwards, "anna", FlowId([50; 16]), Some(to(port)), 0);
    let (socket, _) = listener.accept().await.unwrap();
    opened(&mut stream).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(broken(&mut stream).await.kind, BrokenKind::Reset);
}

#[tokio::test]
async fn a_connection_that_nobody_comes_back_to_is_reset() {
    assert!(KEEP.duration() >= Duration::from_secs(60), "a device needs a minute to come back");
    let (listener, port) = server().await;
    let forwards = Forwards::keeping(Policy::Loopback, Duration::from_millis(300));
    let mut stream = open(&forwards, "anna", ME, Some(to(port)), 0);
    let (mut socket, _) = listener.accept().await.unwrap();
    opened(&mut stream).await;
    drop(stream);
    let ended = timeout(BOUND, socket.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(broken(&mut open(&forwards, "anna", ME, None, 0)).await.kind, BrokenKind::Lost);
    assert_eq!(forwards.count(), 0);
}

#[tokio::test]
async fn a_device_listens_and_tells_who_comes() {
    let forwards = Forwards::new(Policy::Loopback);
    let place = |port| Wish::Listen(Place { host: "127.0.0.1".into(), port });
    let mut stream = open(&forwards, "anna", ME, Some(place(0)), 0);
    let port = opened(&mut stream).await.port.unwrap();
    assert_eq!(refused(&forwards, place(port)).await, BrokenKind::InUse);
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let Some(ForwardFrame::Accepted(accepted)) = next(&mut stream).await else { panic!("it is told") };
    assert_eq!(accepted.from, socket.local_addr().unwrap().to_string());
    // Who was cut off is told again.
    drop(stream);
    let mut stream = open(&forwards, "anna", ME, None, 0);
    assert_eq!(opened(&mut stream).await.port, Some(port));
    assert_eq!(next(&mut stream).await, Some(ForwardFrame::Accepted(accepted.clone())));
    assert_eq!(broken(&mut open(&forwards, "bert", accepted.flow, None, 0)).await.kind, BrokenKind::Unknown);
    let mut flow = open(&forwards, "anna", accepted.flow, None, 0);
    opened(&mut flow).await;
    say(&mut flow, ForwardFrame::Data(0, b"!".to_vec())).await;
    assert_eq!(socket.read_u8().await.unwrap(), b'!');
    socket.write_all(b"?").await.unwrap();
    loop {
        match next(&mut flow).await {
            Some(ForwardFrame::Data(0, bytes)) => break assert_eq!(bytes, b"?"),
            Some(ForwardFrame::Taken(1)) => {}
            other => panic!("{other:?}"),
        }
    }
    // When it is not wanted any more, the port is free at once, and what came over it goes on.
    say(&mut stream, ForwardFrame::Broken(Broken::new(BrokenKind::Ended, "enough"))).await;
    broken(&mut stream).await;
    timeout(BOUND, async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} }).await.unwrap();
    say(&mut flow, ForwardFrame::Data(1, b"!".to_vec())).await;
    assert_eq!(socket.read_u8().await.unwrap(), b'!');
}
