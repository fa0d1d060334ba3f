//! What copies carry.

use robo_model::quantity::UnixMillis;
use robo_wire::copy::{Content, CopyFrame, CopyOpen, End, Entry, Kind, Pull, Purge, Push, RawPath, Told, Want};
use robo_wire::stream::Verdict;

pub(super) fn copy_opens() -> Vec<(&'static str, CopyOpen)> {
    let push = Push {
        path: RawPath(vec![b'/', 0xff]),
        name: "app.conf".into(),
        exact: true,
        mode: Some(0o640),
        owner: Some("app:app".into()),
    };
    let pull = Pull { path: "logs".into(), recursive: true, limit: Some(262_144) };
    let purge = Purge { path: "logs".into(), size: 70_002, sha256: "2c26b46b".into() };
    vec![
        ("copy-push", CopyOpen::Push(push)),
        ("copy-pull", CopyOpen::Pull(pull)),
        ("copy-purge", CopyOpen::Purge(purge)),
    ]
}

pub(super) fn copy_frames() -> Vec<(&'static str, CopyFrame)> {
    let entry = |kind| {
        let modified_at = Some(UnixMillis(1_700_000_000_000));
        CopyFrame::Entry(Entry { number: 7, name: RawPath(vec![b'a', b'/', 0xff]), kind, mode: 0o640, modified_at })
    };
    let told = Told { number: Some(7), name: "a/b".into(), reason: "it is a socket".into() };
    let sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned();
    vec![
        ("copy-place", CopyFrame::Place("/tmp/x".into())),
        ("copy-entry-small", entry(Kind::Small(Content(vec![3, 0xfe])))),
        ("copy-entry-file", entry(Kind::File(Some(70_000)))),
        ("copy-entry-stream", entry(Kind::File(None))),
        ("copy-entry-folder", entry(Kind::Folder)),
        ("copy-entry-link", entry(Kind::Link("../x".into()))),
        ("copy-want", CopyFrame::Want(Want { number: 7, from: 70_000, sha256: sha256.clone() })),
        ("copy-data", CopyFrame::Data(70_000, vec![3, 0xfe])),
        ("copy-end", CopyFrame::End(End { size: 70_002, sha256 })),
        ("copy-skipped", CopyFrame::Skipped(told.clone())),
        ("copy-failed", CopyFrame::Failed(told)),
        ("copy-finish", CopyFrame::Finish),
        ("copy-verdict", CopyFrame::Verdict(Verdict::Refused { reason: "no space".into() })),
    ]
}
