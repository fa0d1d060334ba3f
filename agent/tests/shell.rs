//! Shell sessions on a real terminal: what a manager sees over its stream.

#![cfg(test)]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test that panics has failed, and that is what it is for")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use robo_agent::framing::{read_frame, write_frame};
use robo_agent::shell::{MAX_SESSIONS, Shells};
use robo_model::quantity::Millis;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::shell::{Attached, MAX_BACKLOG, MAX_INPUT, ShellFrame, ShellOpen, ShellStart, Size, WINDOW};
use robo_wire::stream::{MAX_CHUNK, Verdict};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing takes longer, unless it hangs.
const BOUND: Duration = Duration::from_secs(60);

fn shells() -> Shells {
    Shells::new(PathBuf::from(env!("CARGO_BIN_EXE_robo-agent")))
}

fn start(argv: &[&str]) -> ShellStart {
    ShellStart {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: Some("/".into()),
        user: None,
        term: "xterm".into(),
        size: Size { cols: 100, rows: 30 },
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: None,
    }
}

fn sh(script: &str) -> ShellStart {
    start(&["sh", "-c", script])
}

/// A manager's stream to a session.
struct Line {
    stream: DuplexStream,
    serving: JoinHandle<()>,
    attached: Option<Attached>,
    output: Vec<u8>,
    /// The place of the next byte of output.
    place: u64,
    notices: Vec<String>,
    taken: u64,
    typed: u64,
}

impl Line {
    async fn open(shells: &Shells, id: &str, start: Option<ShellStart>, from: u64) -> Self {
        let (stream, theirs) = duplex(MAX_STREAM_FRAME);
        let (shells, open) = (shells.clone(), ShellOpen { session: id.parse().unwrap(), start, from });
        let serving = tokio::spawn(async move { shells.serve(open, None, theirs).await });
        let mut line = Self {
            stream,
            serving,
            attached: None,
            output: Vec::new(),
            place: from,
            notices: Vec::new(),
            taken: 0,
            typed: 0,
        };
        if let Some(ShellFrame::Attached(attached)) = line.peek_first().await {
            (line.attached, line.place, line.typed) = (Some(attached), attached.from, attached.taken);
        }
        line
    }

    async fn begin(shells: &Shells, id: &str, start: ShellStart) -> Self {
        let line = Self::open(shells, id, Some(start), 0).await;
        assert!(line.attached.is_some(), "{:?}", line.notices);
        line
    }

    /// The first frame; a verdict in its place is put among the notices.
    async fn peek_first(&mut self) -> Option<ShellFrame> {
        let frame = self.frame().await;
        if let Some(ShellFrame::Verdict(verdict)) = &frame {
            self.notices.push(verdict.to_string());
        }
        frame
    }

    async fn frame(&mut self) -> Option<ShellFrame> {
        let frame = timeout(BOUND, read_frame(&mut self.stream, MAX_STREAM_FRAME)).await.expect("something comes");
        frame.ok().flatten().map(|frame| ShellFrame::decode(frame).unwrap())
    }

    /// Takes one frame; the verdict, when it is that.
    async fn step(&mut self) -> Option<Verdict> {
        match self.frame().await.expect("the stream goes on") {
            ShellFrame::Output(place, bytes) => {
                assert_eq!(place, self.place, "output has a gap, or comes twice");
                self.place += bytes.len() as u64;
                self.output.extend(bytes);
            }
            ShellFrame::Notice(text) => self.notices.push(text),
            ShellFrame::Taken(place) => self.taken = place,
            ShellFrame::Verdict(verdict) => return Some(verdict),
            other => panic!("{other:?}"),
        }
        None
    }

    async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            let verdict = self.step().await;
            assert_eq!(verdict, None, "{}", self.text());
        }
    }

    async fn verdict(&mut self) -> Verdict {
        loop {
            if let Some(verdict) = self.step().await {
                return verdict;
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    async fn send(&mut self, frame: &ShellFrame) {
        write_frame(&mut self.stream, &frame.encode().unwrap()).await.unwrap();
    }

    async fn type_in(&mut self, text: &[u8]) {
        self.send(&ShellFrame::Input(self.typed, text.to_vec())).await;
        self.typed += text.len() as u64;
    }

    /// Ends the stream, as a cut does.
    async fn cut(self) {
        drop(self.stream);
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_program_has_a_terminal_of_its_own() {
    let shells = shells();
    let script = "tty; stty size; echo $TERM $ROBO_SESSION; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; \
                  ps -o tpgid= -o pgid= -o sid= -p $$ | tr -s ' '; echo $$; exit 7";
    let mut line = Line::begin(&shells, "s1", sh(script)).await;
    let verdict = line.verdict().await;
    let text = line.text();
    assert_eq!(verdict, Verdict::Failed { code: 7 }, "{text}");
    for part in ["/dev/pts/", "30 100", "xterm s1", "all"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [.., groups, pid] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(*groups, [*pid; 3].join(" "), "it leads its session, in front of its terminal");
}

#[tokio::test]
async fn keys_sizes_and_signals_reach_the_program() {
    let shells = shells();
    let script = "trap 'stty size' WINCH; trap 'echo int' INT; echo ready; \
                  while read -r word; do echo \"<$word>\"; done; echo over";
    let mut line = Line::begin(&shells, "s1", start(&["bash", "-c", script])).await;
    line.until("ready").await;
    // A character of several bytes, one byte at a time.
    for byte in "grün\r".as_bytes() {
        line.type_in(&[*byte]).await;
    }
    line.until("<grün>").await;
    while line.taken < line.typed {
        line.step().await;
    }
    line.send(&ShellFrame::Resize(Size { cols: 200, rows: 50 })).await;
    line.type_in(b"x\r").await;
    line.until("50 200").await;
    line.type_in(b"\x03").await;
    line.until("int").await;
    line.type_in(b"\x04").await;
    assert_eq!(line.verdict().await, Verdict::Ok, "{}", line.text());
    assert!(line.text().contains("over"));
}

#[tokio::test]
async fn a_login_shell_is_the_users_and_ctrl_c_is_its_exit_code() {
    let shells = shells();
    let mut line = Line::begin(&shells, "s1", start(&[])).await;
    line.type_in(b"PS1=at''ten''tive; echo \"$0\" $((40 + 2)); cat\r").await;
    line.until("42").await;
    // What answers runs, and is what a Ctrl-C ends.
    line.type_in(b"purr\r").await;
    line.until("purr\r\npurr\r\n").await;
    line.type_in(b"\x03").await;
    // What is typed before it asks again is worth nothing to a shell.
    line.until("attentive").await;
    line.type_in(b"exit\r").await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 130 }, "{}", line.text());
    assert!(line.text().contains("-"), "a login shell: {}", line.text());
}

#[tokio::test]
async fn after_a_cut_nothing_is_missing_and_nothing_comes_twice() {
    let shells = shells();
    let mut line =
        Line::begin(&shells, "s1", sh("stty -echo; echo ready; read go; seq 1 20000; read end; echo $end")).await;
    line.until("ready\r\n").await;
    line.type_in(b"go\r").await;
    line.until("\n500\r").await;
    let (mut output, mut place) = (std::mem::take(&mut line.output), line.place);
    line.cut().await;
    // Again and again; each time some more is taken. The same input may come once more.
    for _ in 0..3 {
        let mut line = Line::open(&shells, "s1", None, place).await;
        assert_eq!(line.attached, Some(Attached { from: place, taken: 3 }));
        line.send(&ShellFrame::Input(1, b"o\r".to_vec())).await;
        line.step().await;
        (place, output) = (line.place, [output, std::mem::take(&mut line.output)].concat());
        line.cut().await;
    }
    let mut line = Line::open(&shells, "s1", None, place).await;
    line.type_in(b"end\r").await;
    assert_eq!(line.verdict().await, Verdict::Ok);
    let text = String::from_utf8([output, line.output].concat()).unwrap();
    let expect: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    assert!(text == format!("ready\r\n{expect}end\r\n"), "{} bytes are not what was printed", text.len());
}

#[tokio::test]
async fn who_comes_back_late_learns_how_much_is_gone_and_how_it_ended() {
    let shells = shells();
    let much = MAX_BACKLOG * 2;
    let mut line =
        Line::begin(&shells, "s1", sh(&format!("read go; head -c {much} /dev/zero | tr '\\0' x; exit 3"))).await;
    line.type_in(b"go\r").await;
    // While nobody is there, nothing holds the program up.
    while line.taken < line.typed {
        line.step().await;
    }
    line.cut().await;
    timeout(BOUND, async {
        while shells.count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it ends");
    let mut line = Line::open(&shells, "s1", None, 10).await;
    let attached = line.attached.unwrap();
    assert!(attached.from > much as u64 / 2, "{attached:?}");
    assert_eq!(line.verdict().await, Verdict::Failed { code: 3 });
    assert_eq!((line.output.len(), line.place), (MAX_BACKLOG, attached.from + MAX_BACKLOG as u64));
}

#[tokio::test]
async fn a_slow_reader_slows_the_program_down() {
    let shells = shells();
    let mut line = Line::begin(&shells, "s1", start(&["yes"])).await;
    line.until("y").await;
    // Nothing is read for a while; what is kept stays within its bound, and nothing was lost.
    tokio::time::sleep(Duration::from_millis(300)).await;
    while line.place < 3 * WINDOW {
        line.step().await;
    }
    line.send(&ShellFrame::End).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 129 });
}

#[tokio::test]
async fn what_does_not_heed_the_hang_up_is_killed() {
    let shells = shells();
    let mut line = Line::begin(&shells, "s1", sh("trap '' HUP TERM; echo ready; while :; do sleep 1; done")).await;
    line.until("ready").await;
    line.send(&ShellFrame::End).await;
    assert_eq!(line.verdict().await, Verdict::Failed { code: 137 });
}

#[tokio::test]
async fn limits_end_a_session_that_nobody_uses_or_in_which_nothing_happens() {
    let shells = shells();
    let idle = ShellStart { idle: ShellStart::LEAST, ..start(&["cat"]) };
    let mut line = Line::begin(&shells, "idle", idle).await;
    line.send(&ShellFrame::Present(true)).await;
    let lonely = ShellStart { keep: ShellStart::LEAST, ..start(&["yes"]) };
    let away = Line::begin(&shells, "lonely", lonely).await;
    away.cut().await;
    assert_eq!(line.verdict().await, Verdict::Timeout);
    assert!(line.notices[0].contains("any key keeps it"), "{:?}", line.notices);
    assert!(line.notices[1].contains("nothing was typed or printed for 5s"), "{:?}", line.notices);
    let mut back = Line::open(&shells, "lonely", None, 0).await;
    assert_eq!(back.verdict().await, Verdict::Timeout);
}

#[tokio::test]
async fn what_cannot_be_begun_is_refused_with_the_reason() {
    let shells = shells();
    let check = async |start: ShellStart, expect: &str| {
        let line = Line::open(&shells, "s1", Some(start), 0).await;
        assert!(line.attached.is_none() && line.notices[0].contains(expect), "{:?}", line.notices);
    };
    check(start(&["no-such-program"]), "refused: `no-such-program` cannot be run on this device: No such file").await;
    check(start(&["/etc/passwd"]), "Permission denied").await;
    check(ShellStart { cwd: Some("/no/such".into()), ..start(&[]) }, "refused: this device has no folder `/no/such`")
        .await;
    check(ShellStart { keep: Millis(1), ..start(&[]) }, "`keep` is 1ms").await;
    check(ShellStart { size: Size { cols: 0, rows: 1 }, ..start(&[]) }, "0 columns").await;
    let line = Line::open(&shells, "nobody", None, 0).await;
    assert!(line.notices[0].contains("lost: the device no longer has it"), "{:?}", line.notices);
    assert_eq!(shells.count(), 0);
    let mut lines = Vec::new();
    for number in 0..MAX_SESSIONS {
        lines.push(Line::begin(&shells, &format!("n{number}"), start(&["cat"])).await);
    }
    check(start(&["cat"]), "16 sessions run on this device already").await;
    // To begin one again that is there is to come back to it.
    assert!(Line::open(&shells, "n3", Some(start(&["cat"])), 0).await.attached.is_some());
}

#[tokio::test]
async fn who_does_not_keep_the_rules_is_hung_up_on() {
    let shells = shells();
    let wrong = [
        ShellFrame::Input(7, b"a gap".to_vec()).encode().unwrap(),
        ShellFrame::Input(u64::MAX, b"x".to_vec()).encode().unwrap(),
        vec![0, 0, 0, 2, 17, 1],
        vec![0, 0, 0, 0, 16],
        vec![255, 255, 255, 255, 16],
    ];
    for (number, bytes) in wrong.into_iter().enumerate() {
        let mut line = Line::begin(&shells, &format!("w{number}"), start(&["cat"])).await;
        write_frame(&mut line.stream, &bytes).await.unwrap();
        let mut rest = Vec::new();
        timeout(BOUND, line.stream.read_to_end(&mut rest)).await.expect("hung up").unwrap();
        assert!(Line::open(&shells, &format!("w{number}"), None, 0).await.attached.is_some(), "the session goes on");
    }
    // More than may be under way, to somebody who reads nothing of it.
    let mut line = Line::begin(&shells, "flood", sh("stty raw -echo; echo ready; sleep 1000")).await;
    line.until("ready").await;
    let piece = vec![b'x'; MAX_CHUNK];
    for _ in 0..2 * MAX_INPUT / MAX_CHUNK {
        let frame = ShellFrame::Input(line.typed, piece.clone()).encode().unwrap();
        line.typed += piece.len() as u64;
        if write_frame(&mut line.stream, &frame).await.is_err() {
            break;
        }
    }
    timeout(BOUND, line.serving).await.expect("hung up").unwrap();
    // Frames that are not a manager's to send, and those of a newer one, are passed over.
    let mut line = Line::begin(&shells, "odd", start(&["cat"])).await;
    for frame in [ShellFrame::Taken(99), ShellFrame::Verdict(Verdict::Ok), ShellFrame::Unknown(200), ShellFrame::Redraw]
    {
        line.send(&frame).await;
    }
    line.type_in(b"still\r").await;
    line.until("still").await;
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_an_older_one() {
    let shells = shells();
    let mut first = Line::begin(&shells, "s1", start(&["cat"])).await;
    let mut second = Line::open(&shells, "s1", None, 0).await;
    second.type_in(b"hello\r").await;
    second.until("hello").await;
    assert_eq!(first.frame().await, None, "the older one is ended");
}
