//! Senders that lie, and receivers that do.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use robo_wire::copy::{Content, CopyFrame, End, Entry, Kind, MAX_INLINE, Push, RawPath, Want};
use robo_wire::stream::Verdict;
use tokio::io::duplex;

use super::*;

fn push(path: &Path) -> Push {
    let path = RawPath(path.to_str().unwrap().as_bytes().to_vec());
    Push { path, name: "source".into(), exact: false, mode: None, owner: None }
}

fn entry(number: u64, name: &str, kind: Kind) -> CopyFrame {
    CopyFrame::Entry(Entry { number, name: name.into(), kind, mode: 0o6755, modified_at: None })
}

fn small() -> Kind {
    Kind::Small(Content(b"x".to_vec()))
}

/// Says these frames to a receiver; what it answers, and what it reports.
async fn say(push: Push, frames: &[CopyFrame]) -> (Vec<CopyFrame>, Result<Report, CopyError>) {
    let (ours, theirs) = duplex(1024 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    let receiver = tokio::spawn(async move {
        let mut line = Line::new(reader, writer);
        receive(&push, Path::new("/nowhere"), &mut line, &Gauge::default()).await
    });
    let (reader, writer) = tokio::io::split(ours);
    let mut line = Line::new(reader, writer);
    for frame in frames {
        line.say(frame).await.unwrap();
    }
    line.close().await;
    let done = receiver.await.unwrap();
    let mut answers = Vec::new();
    while let Ok(frame) = line.next().await {
        answers.push(frame);
    }
    (answers, done)
}

#[tokio::test]
async fn what_a_sender_said_that_is_gone_already_is_received() {
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("target");
    let (mut ours, theirs) = duplex(1024 * 1024);
    for frame in [entry(0, "", small()), CopyFrame::Finish, CopyFrame::Verdict(Verdict::Ok)] {
        tokio::io::AsyncWriteExt::write_all(&mut ours, &frame.encode().unwrap()).await.unwrap();
    }
    drop(ours);
    let (reader, writer) = tokio::io::split(theirs);
    let mut line = Line::new(reader, writer);
    let mut report = receive(&push(&target), Path::new("/nowhere"), &mut line, &Gauge::default()).await.unwrap();
    assert_eq!((report.files, line.verdict(&mut report).await.unwrap()), (1, Verdict::Ok));
    assert_eq!(std::fs::read(&target).unwrap(), b"x");
}

#[tokio::test]
async fn names_of_a_sender_that_lies_lead_nowhere() {
    let temporary = tempfile::tempdir().unwrap();
    let (outside, target) = (temporary.path().join("outside"), temporary.path().join("target"));
    std::fs::create_dir(&outside).unwrap();
    let link = Kind::Link(RawPath(outside.to_str().unwrap().as_bytes().to_vec()));
    let absolute = outside.join("y");
    let frames = [
        entry(0, "", Kind::Folder),
        entry(1, "../outside/x", small()),
        entry(2, absolute.to_str().unwrap(), small()),
        entry(3, "not/told", small()),
        entry(4, "link", link),
        // A link is no folder, and a file below it is in none.
        entry(5, "link", Kind::Folder),
        entry(6, "link/x", small()),
        entry(7, "", Kind::Folder),
        entry(8, "..", Kind::Folder),
        entry(9, "good", small()),
        CopyFrame::Finish,
    ];
    let (_, done) = say(push(&target), &frames).await;
    let report = done.unwrap();
    let failed: Vec<u64> = report.failures.iter().filter_map(|told| told.number).collect();
    assert_eq!(failed, [1, 2, 3, 5, 6, 7, 8], "{report:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let good = std::fs::metadata(target.join("good")).unwrap();
    assert_eq!((good.mode() & 0o7777, good.len()), (0o755, 1), "no rights of others come along");
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[tokio::test]
async fn content_that_is_not_as_announced_never_takes_the_place() {
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("target");
    std::fs::write(&target, "old").unwrap();
    let size = MAX_INLINE as u64 * 2;
    let begin = entry(0, "", Kind::File(Some(size)));
    let data = |at, bytes| CopyFrame::Data(at, vec![7; bytes]);
    let end = |size, sha256: &str| CopyFrame::End(End { size, sha256: sha256.to_owned() });
    let check = async |frames: &[CopyFrame], expect: &str| {
        let (answers, done) = say(push(&target), frames).await;
        let told = format!("{answers:?} {done:?}");
        assert!(told.contains(expect), "{told}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");
    };
    check(&[begin.clone(), data(0, MAX_INLINE), end(size, "00"), CopyFrame::Finish], "checksum").await;
    check(&[begin.clone(), data(9, 9), end(size, "00"), CopyFrame::Finish], "as it was announced").await;
    check(&[begin.clone(), data(0, 9), data(5, 9)], "as it was announced").await;
    let long: Vec<CopyFrame> = (0..3).map(|i| data(i * MAX_INLINE as u64, MAX_INLINE)).collect();
    check(&[std::slice::from_ref(&begin), long.as_slice(), &[end(size, "00")]].concat(), "as it was announced").await;
    check(&[entry(0, "", Kind::File(Some(u64::MAX / 4)))], "there is no space").await;
    check(&[begin.clone(), data(0, 9)], "without a verdict").await;
    check(&[CopyFrame::Verdict(Verdict::Offline)], "Offline").await;
    // Frames that mean nothing here, in any order, harm nothing.
    check(&[data(0, 9), end(9, ""), CopyFrame::Unknown(200), CopyFrame::Finish], "failed: 0").await;
}

#[tokio::test]
async fn a_receiver_that_lies_gets_the_whole_file_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("file");
    let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    std::fs::write(&path, &content).unwrap();
    for (from, sha256) in [(7, "no digest"), (u64::MAX, ""), (100_000, "00")] {
        let (ours, theirs) = duplex(1024 * 1024);
        let (reader, writer) = tokio::io::split(theirs);
        let source = Source::path(path.clone(), false, None);
        let sender = tokio::spawn(async move {
            let mut line = Line::new(reader, writer);
            send(source, &mut line, &Gauge::default()).await
        });
        let (reader, writer) = tokio::io::split(ours);
        let mut line = Line::new(reader, writer);
        assert!(matches!(line.next().await.unwrap(), CopyFrame::Entry(_)));
        line.say(&CopyFrame::Want(Want { number: 0, from, sha256: sha256.to_owned() })).await.unwrap();
        let mut got = Vec::new();
        loop {
            match line.next().await.unwrap() {
                CopyFrame::Data(at, data) => {
                    assert_eq!(at, got.len() as u64);
                    got.extend(data);
                }
                CopyFrame::Finish => break,
                CopyFrame::End(end) => assert_eq!(end.size, 100_000),
                other @ (CopyFrame::Place(_)
                | CopyFrame::Entry(_)
                | CopyFrame::Want(_)
                | CopyFrame::Skipped(_)
                | CopyFrame::Failed(_)
                | CopyFrame::Verdict(_)
                | CopyFrame::Unknown(_)) => panic!("{other:?}"),
            }
        }
        assert!(got == content, "{from}");
        assert_eq!(sender.await.unwrap().unwrap().files, 1);
    }
}
