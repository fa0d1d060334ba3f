//! What logs carry.

use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_wire::stream::Verdict;
use robo_wire::tail::{FilePlace, Line, Lines, Note, Position, Source, SourceAt, SourceEnd, TailFrame, TailOpen, Text};

pub(super) fn tail_opens() -> Vec<(&'static str, TailOpen)> {
    let key = InstanceKey { application: "shop".parse().unwrap(), path: "/vm/db".parse().unwrap() };
    let place = FilePlace { file: 7, born: 1_700_000_000_000_000_000, offset: 1 << 20 };
    let at = |source, position| SourceAt { source, position };
    let least = TailOpen {
        sources: vec![at(Source::Agent, None)],
        lines: None,
        since: None,
        until: None,
        filter: None,
        follow: false,
    };
    let most = TailOpen {
        sources: vec![
            at(Source::Instance(key), Some(Position::File(place))),
            at(Source::Unit("ssh.service".into()), Some(Position::Cursor("s=1;i=2".into()))),
            at(Source::Agent, Some(Position::Beginning)),
        ],
        lines: Some(100),
        since: Some(UnixMillis(1_700_000_000_000)),
        until: Some(UnixMillis(1_700_000_060_000)),
        filter: Some("error|warn".into()),
        follow: true,
    };
    vec![("tail-least", least), ("tail-most", most)]
}

pub(super) fn tail_frames() -> Vec<(&'static str, TailFrame)> {
    let place = Position::File(FilePlace { file: 7, born: 0, offset: 6 });
    let line = |at: Option<u64>, text: &[u8], cut| Line { at: at.map(UnixMillis), text: Text(text.to_vec()), cut };
    let lines = vec![line(Some(1_700_000_000_000), b"hello", false), line(None, &[0xff], true)];
    let refused = Some("this device has no such unit".into());
    vec![
        ("tail-lines", TailFrame::Lines(Lines { source: 1, lines, after: place })),
        ("tail-note", TailFrame::Note(Note { source: 0, text: "some lines are gone".into() })),
        ("tail-end", TailFrame::End(SourceEnd { source: 0, refused: None })),
        ("tail-refused", TailFrame::End(SourceEnd { source: 2, refused })),
        ("tail-verdict", TailFrame::Verdict(Verdict::Failed { code: 1 })),
    ]
}
