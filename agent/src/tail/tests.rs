//! Whole streams: sources, cuts, refusals.

use std::path::Path;

use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::tail::Text;
use tokio::io::duplex;

use super::*;
use crate::framing::read_frame;
use crate::keeper::output::Log;

/// Everything that a stream told: the lines' texts, what it remarked, why sources ended, and where it is.
#[derive(Debug, Default)]
struct Told {
    lines: Vec<String>,
    notes: Vec<String>,
    refused: Vec<Option<String>>,
    position: Option<Position>,
    verdict: Option<Verdict>,
}

impl Told {
    fn take(&mut self, frame: TailFrame) {
        match frame {
            TailFrame::Lines(lines) => {
                self.lines.extend(
                    lines.lines.into_iter().map(|Line { text: Text(text), .. }| String::from_utf8(text).unwrap()),
                );
                self.position = Some(lines.after);
            }
            TailFrame::Note(note) => self.notes.push(note.text),
            TailFrame::End(end) => self.refused.push(end.refused),
            TailFrame::Verdict(verdict) => self.verdict = Some(verdict),
            TailFrame::Unknown(kind) => panic!("{kind}"),
        }
    }
}

fn open(source: Source, position: Option<Position>) -> TailOpen {
    let sources = vec![SourceAt { source, position }];
    TailOpen { sources, lines: None, since: None, until: None, filter: None, follow: false }
}

async fn told(folders: &Folders, open: TailOpen) -> Told {
    let (mut ours, theirs) = duplex(MAX_STREAM_FRAME);
    let serving = tokio::spawn(serve(folders.clone(), open, theirs));
    let mut told = Told::default();
    while let Some(frame) = read_frame(&mut ours, MAX_STREAM_FRAME).await.unwrap() {
        told.take(TailFrame::decode(&frame).unwrap());
    }
    serving.await.unwrap();
    told
}

fn agent(folder: &Path) -> (Folders, Log) {
    let folders = Folders::new(folder);
    folders.create().unwrap();
    std::fs::create_dir(folders.log()).unwrap();
    let log = Log::open_on(Shelf::of_agent(&folders.log())).unwrap();
    (folders, log)
}

#[tokio::test]
async fn the_last_lines_come_and_then_those_after_a_position() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, mut log) = agent(folder.path());
    for i in 0..3_000 {
        log.write(format!("line {i}\n").as_bytes()).unwrap();
    }
    let first = told(&folders, TailOpen { lines: Some(2), ..open(Source::Agent, None) }).await;
    assert_eq!(
        (first.lines.as_slice(), first.verdict),
        (["line 2998".to_owned(), "line 2999".to_owned()].as_slice(), Some(Verdict::Ok))
    );
    log.write(b"one\ntwo\n").unwrap();
    let again = TailOpen { lines: Some(1), ..open(Source::Agent, first.position) };
    assert_eq!(told(&folders, again).await.lines, ["one", "two"]);
    let all = told(&folders, open(Source::Agent, None)).await;
    assert_eq!((all.lines.len(), all.notes.len()), (3_002, 0));
    let some = TailOpen { lines: Some(2), filter: Some("e 1[0-9]$".to_owned()), ..open(Source::Agent, None) };
    assert_eq!(told(&folders, some).await.lines, ["line 18", "line 19"]);
    let later = TailOpen {
        since: Some(robo_model::quantity::UnixMillis(crate::now().0 + 60_000)),
        ..open(Source::Agent, None)
    };
    assert_eq!(told(&folders, later).await.lines, [""; 0]);
}

#[tokio::test]
async fn who_follows_gets_every_line_once_over_cuts() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, mut log) = agent(folder.path());
    let writing = std::thread::spawn(move || {
        for i in 0..60_000 {
            log.write(format!("{i:060}\n").as_bytes()).unwrap();
        }
    });
    let mut all = Told::default();
    for cut in 1..=5 {
        let open = TailOpen { follow: true, ..open(Source::Agent, all.position.clone()) };
        let (mut ours, theirs) = duplex(4096);
        let serving = tokio::spawn(serve(folders.clone(), open, theirs));
        while all.lines.len() < cut * 12_000 {
            let frame = read_frame(&mut ours, MAX_STREAM_FRAME).await.unwrap().unwrap();
            all.take(TailFrame::decode(&frame).unwrap());
        }
        drop(ours);
        serving.await.unwrap();
    }
    writing.join().unwrap();
    let rest = told(&folders, open(Source::Agent, all.position.clone())).await;
    all.lines.extend(rest.lines);
    assert!(all.notes.is_empty(), "{:?}", all.notes);
    assert_eq!(all.lines.len(), 60_000);
    assert!(all.lines.iter().enumerate().all(|(i, line)| *line == format!("{i:060}")));
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_the_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(folder.path());
    folders.create().unwrap();
    let none = told(&folders, open(Source::Agent, None)).await;
    assert!(none.refused[0].as_ref().unwrap().contains("keeps no log"), "{none:?}");
    assert_eq!(none.verdict, Some(Verdict::Failed { code: 1 }));
    let key = robo_model::spec::InstanceKey { application: "shop".parse().unwrap(), path: "/a".parse().unwrap() };
    let none = told(&folders, open(Source::Instance(key), None)).await;
    assert!(none.refused[0].as_ref().unwrap().contains("no output of an instance"), "{none:?}");
    let bad = told(&folders, TailOpen { filter: Some("(".to_owned()), ..open(Source::Agent, None) }).await;
    assert!(matches!(bad.verdict, Some(Verdict::Refused { .. })), "{bad:?}");
    let bad = told(&folders, TailOpen { sources: vec![], ..open(Source::Agent, None) }).await;
    assert!(matches!(bad.verdict, Some(Verdict::Refused { .. })), "{bad:?}");
}

/// A `journalctl` that has entries `m1` to `m5`, and knows what is asked of it.
const JOURNAL: &str = r#"
say() { echo "{\"__CURSOR\":\"c=$1\",\"__REALTIME_TIMESTAMP\":\"${1}000000\",\"MESSAGE\":\"m$1\"}"; }
from=1; order='1 2 3 4 5'; follow=
for word; do case $word in
    --after-cursor=c=*) from=$((${word#--after-cursor=c=} + 1)) ;;
    --since=@*) from=${word#--since=@} ;;
    --reverse) order='5 4 3 2 1' ;;
    --lines=1) order=${order:+5} ;;
    --follow) follow=1 ;;
    --unit=none|--unit=new) order= ;;
    --unit=secret) echo 'Hint: You are currently not seeing messages from other users and the system.' >&2; exit 0 ;;
    --unit=broken) echo 'Failed to open files' >&2; exit 1 ;;
esac; done
for i in $order; do [ $i -ge $from ] && say $i; done
[ -z "$follow" ] || { say 6; exec sleep 1000; }
"#;

const SYSTEMCTL: &str = "[ \"$5\" = none ] && echo not-found || echo loaded\n";

async fn of_journal(unit: &str, open: TailOpen, most: usize) -> (Told, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        vec!["sh".to_owned(), path.to_str().unwrap().to_owned()]
    };
    let journal = Journal { journalctl: program("j", JOURNAL), systemctl: program("s", SYSTEMCTL) };
    let pick = Pick::new(&open).unwrap();
    let (give, mut take) = mpsc::channel(WAITING_FRAMES);
    let mut teller = Teller { source: 0, open: &open, pick: &pick, give, silent: 0 };
    let mut told = Told::default();
    let listening = async {
        while let Some(mut bytes) = take.recv().await {
            let frame = robo_wire::frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap();
            told.take(TailFrame::decode(&frame).unwrap());
            if told.lines.len() >= most {
                return;
            }
        }
    };
    let position = open.sources[0].position.clone();
    let done = tokio::select! {
        done = journal.tell(&mut teller, unit, position.as_ref()) => Some(done),
        () = listening => None,
    };
    drop(teller);
    while let Some(mut bytes) = take.recv().await {
        let frame = robo_wire::frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap();
        told.take(TailFrame::decode(&frame).unwrap());
    }
    let refused = match done {
        Some(Err(Stop::Refused(reason))) => Some(reason),
        Some(Ok(()) | Err(Stop::Unheard)) | None => None,
    };
    (told, refused)
}

fn unit(position: Option<Position>) -> TailOpen {
    open(Source::Unit("ssh".to_owned()), position)
}

#[tokio::test]
async fn a_journal_is_told_from_its_end_from_a_time_and_from_a_cursor() {
    let check = async |open: TailOpen, expect: &[&str]| {
        let (told, refused) = of_journal("ssh", open, usize::MAX).await;
        assert_eq!((told.lines, refused), (expect.iter().map(|l| (*l).to_owned()).collect(), None));
        told.position
    };
    let millis = |seconds: u64| Some(robo_model::quantity::UnixMillis(seconds * 1000));
    let position = check(TailOpen { lines: Some(2), ..unit(None) }, &["m4", "m5"]).await;
    assert_eq!(position, Some(Position::Cursor("c=5".to_owned())));
    check(TailOpen { lines: Some(1), filter: Some("[1-3]".to_owned()), ..unit(None) }, &["m3"]).await;
    check(TailOpen { lines: Some(0), ..unit(None) }, &[]).await;
    check(unit(None), &["m1", "m2", "m3", "m4", "m5"]).await;
    check(TailOpen { since: millis(3), until: millis(5), ..unit(None) }, &["m3", "m4"]).await;
    check(TailOpen { since: millis(4), lines: Some(9), ..unit(None) }, &["m4", "m5"]).await;
    check(unit(Some(Position::Cursor("c=3".to_owned()))), &["m4", "m5"]).await;
    let (told, _) = of_journal("ssh", TailOpen { lines: Some(1), follow: true, ..unit(None) }, 2).await;
    assert_eq!(
        (told.lines.as_slice(), told.position),
        (["m5".to_owned(), "m6".to_owned()].as_slice(), Some(Position::Cursor("c=6".to_owned())))
    );
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_says_why() {
    let check = async |name: &str, expect: Option<&str>| {
        let (told, refused) = of_journal(name, unit(None), usize::MAX).await;
        let fits = expect.zip(refused.as_deref()).is_some_and(|(part, whole)| whole.contains(part));
        assert!(fits || (expect, &refused) == (None, &None), "{name}: {refused:?} {told:?}");
    };
    check("none", Some("no unit `none`")).await;
    check("new", None).await;
    check("secret", Some("systemd-journal")).await;
    check("broken", Some("Failed to open files")).await;
    let absent = Journal { journalctl: vec!["no-such-journalctl".to_owned()], systemctl: vec![] };
    let open = unit(None);
    let pick = Pick::new(&open).unwrap();
    let mut teller = Teller { source: 0, open: &open, pick: &pick, give: mpsc::channel(1).0, silent: 0 };
    let refused = absent.tell(&mut teller, "ssh", None).await;
    assert!(matches!(refused, Err(Stop::Refused(reason)) if reason.contains("no `journalctl`")));
}
