//! `robo shell` in a terminal of its own.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use robo_agent::framing::{read_frame, write_frame};
use robo_agent::shell::Shells;
use robo_tests::programs::{User, robo, robo_agent};
use robo_tests::proxy::Proxy;
use robo_tests::{PATIENCE, eventually_blocking};
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::shell::{ShellFrame, ShellOpen, ShellStart, Size};
use robo_wire::stream::Verdict;
use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

use super::faults::lab::Machine;
use super::{Lab, application};

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
}
instance of Machine {
	name: m;
}
";

/// A program in a terminal, as somebody sees it who sits before it.
pub(super) struct Terminal {
    stream: DuplexStream,
    output: Vec<u8>,
    typed: u64,
}

impl Terminal {
    pub(super) async fn start(shells: &Shells, id: &str, user: &User, argv: &[&str]) -> Self {
        let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        let command = user.command();
        let env: BTreeMap<String, String> =
            command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect();
        let start = ShellStart {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env,
            cwd: Some("/".to_owned()),
            user: None,
            term: "xterm".to_owned(),
            size: Size::USUAL,
            keep: ShellStart::KEEP,
            idle: ShellStart::IDLE,
            within: None,
        };
        let (stream, theirs) = duplex(MAX_STREAM_FRAME);
        let (shells, open) = (shells.clone(), ShellOpen { session: id.parse().unwrap(), start: Some(start), from: 0 });
        drop(tokio::spawn(async move { shells.serve(open, None, theirs).await }));
        Self { stream, output: Vec::new(), typed: 0 }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    async fn step(&mut self) -> Option<Verdict> {
        let frame = timeout(PATIENCE, read_frame(&mut self.stream, MAX_STREAM_FRAME)).await;
        let frame = frame.unwrap_or_else(|_| panic!("nothing comes after: {}", self.text())).unwrap().unwrap();
        let frame = ShellFrame::decode(frame).unwrap();
        if let ShellFrame::Verdict(verdict) = frame {
            return Some(verdict);
        }
        if let ShellFrame::Output(_, bytes) = frame {
            self.output.extend(bytes);
        }
        None
    }

    /// Waits for a text, and forgets what stands before its end.
    pub(super) async fn until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.output.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.output.drain(..at + text.len());
                return;
            }
            let verdict = self.step().await;
            assert_eq!(verdict, None, "no `{text}` in: {}", self.text());
        }
    }

    pub(super) async fn verdict(&mut self) -> Verdict {
        loop {
            if let Some(verdict) = self.step().await {
                return verdict;
            }
        }
    }

    async fn send(&mut self, frame: &ShellFrame) {
        write_frame(&mut self.stream, &frame.encode().unwrap()).await.unwrap();
    }

    pub(super) async fn type_in(&mut self, text: &str) {
        self.send(&ShellFrame::Input(self.typed, text.as_bytes().to_vec())).await;
        self.typed += text.len() as u64;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_is_used_left_and_come_back_to() {
    let (user, shells, robo) = (User::new(), Shells::new(robo_agent()), robo());
    let robo = robo.to_str().unwrap();
    user.run(&["up", "--detach", &application(&user, GRAPH, &[])]).expect(0);

    // Sizes, control keys and the exit code go through.
    let mut terminal = Terminal::start(&shells, "t1", &user, &[robo, "shell", "m", "--", "bash", "--norc"]).await;
    terminal.until("Ctrl-] d detaches, Ctrl-] ? helps]").await;
    while !terminal.text().contains("# ") {
        assert_eq!(terminal.step().await, None, "{}", terminal.text());
    }
    // What follows our own lines begins at the left, also in a raw terminal.
    let text = terminal.text();
    assert!(text.split_once('\n').unwrap().0.ends_with('\r') && !text.contains('\u{fffd}'), "{text:?}");
    terminal.until("# ").await;
    terminal.type_in("stty size; echo $TERM\r").await;
    terminal.until("24 80\r\nxterm").await;
    terminal.send(&ShellFrame::Resize(Size { cols: 120, rows: 40 })).await;
    terminal.type_in("until stty size | grep -x '40 120'; do :; done\r").await;
    terminal.until("40 120\r\n").await;
    // What answers runs, and is what a Ctrl-C ends. A return that comes while bash still reads its line is none for who
    // reads next.
    terminal.type_in("echo re''ady; cat\r").await;
    terminal.until("ready\r\n").await;
    terminal.type_in("purr\r").await;
    terminal.until("purr\r\npurr\r\n").await;
    terminal.type_in("\x03").await;
    terminal.until("^C").await;
    terminal.until("# ").await;
    terminal.type_in("echo grün; x=5\r").await;
    terminal.until("grün\r\n").await;

    // Left with a key, and come back to: it is where it was.
    terminal.type_in("\x1dd").await;
    terminal.until("Detached. `robo session attach").await;
    assert_eq!(terminal.verdict().await, Verdict::Ok, "{}", terminal.text());
    let id = user.run(&["session", "list", "--open", "-o", "name"]).expect(0).out.trim().to_owned();
    let mut terminal = Terminal::start(&shells, "t2", &user, &[robo, "session", "attach", &id]).await;
    terminal.until("grün").await;
    terminal.type_in("echo x=$((x + 37))\r").await;
    terminal.until("x=42").await;

    // Watched by a program, which types nothing; listed; ended by somebody else.
    let watch = user.start(&["session", "watch", &id]);
    let list = user.run(&["session", "list", "-o", "json"]).expect(0).json();
    assert_eq!((&list[0]["device"], &list[0]["users"]), (&"m".into(), &1.into()));
    user.run(&["session", "end", &id]).expect(0);
    terminal.until("the session was ended by admin").await;
    assert_eq!(terminal.verdict().await, Verdict::Failed { code: 129 });
    drop(watch);
    let again = user.run(&["session", "end", &id]).expect(1).err;
    assert!(again.contains("has ended") && again.contains("robo session play"), "{again}");
    let played = user.command().args(["session", "play", &id, "--at-once"]).output().unwrap();
    let played = String::from_utf8(played.stdout).unwrap();
    assert!(played.contains("x=42") && played.contains("grün"), "{played}");
    let file = user.folder.path().join("s.cast");
    user.run(&["session", "save", &id, file.to_str().unwrap()]).expect(0);
    assert!(fs::read_to_string(&file).unwrap().contains("\"r\", \"120x40\""));
    let played = user.command().args(["session", "play", file.to_str().unwrap(), "--at-once"]).output().unwrap();
    assert!(String::from_utf8(played.stdout).unwrap().contains("x=42"));

    // However it ends, the terminal is as before.
    let after = "; echo code=$?; stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e echo -e isig";
    for (command, code) in
        [("-- sh -c 'exit 7'", "7"), ("-- no-such-program", "1"), ("-- sh -c 'kill -TERM $$'", "143")]
    {
        let line = format!("'{robo}' shell m {command}{after}");
        let mut terminal = Terminal::start(&shells, &format!("after-{code}"), &user, &["sh", "-c", &line]).await;
        terminal.until(&format!("code={code}\r\nisig\r\nicanon\r\necho\r\n")).await;
        terminal.verdict().await;
    }
}

#[test]
fn who_watches_comes_back_after_cuts_and_sees_everything_once() {
    let lab = Lab::new();
    let way = Proxy::start(lab.address);
    let _machine = Machine::start(&lab, "one", &lab.address.to_string());
    let (url, ca, token) =
        (format!("https://{}", way.address), lab.path("manager/ca.pem"), lab.path("manager/admin.token"));
    lab.user.run(&["context", "add", "way", "--url", &url, "--ca", &ca, "--token-file", &token]).expect(0);
    // The terminal's own, which goes before the machine does: that waits in a way that no runtime likes.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (shells, robo) = (Shells::new(robo_agent()), robo());
    let argv = [robo.to_str().unwrap(), "--context", "lab", "shell", "one", "--", "bash", "--norc"];
    let mut terminal = runtime.block_on(Terminal::start(&shells, "t1", &lab.user, &argv));
    runtime.block_on(terminal.until("# "));
    let id = lab.user.run(&["session", "list", "--open", "-o", "name"]).expect(0).out.trim().to_owned();
    let watch = lab.user.start(&["--context", "way", "session", "watch", &id]);
    eventually_blocking("it is watched", || watch.so_far().1.contains("watching session").then_some(()));
    for cut in 1..=3 {
        // What is typed is shown as well, in other letters.
        runtime.block_on(terminal.type_in(&format!("echo be''fore-{cut}\r")));
        let before = format!("before-{cut}");
        eventually_blocking("the watcher sees it", || watch.so_far().0.contains(&before).then_some(()));
        way.cut();
        runtime.block_on(terminal.type_in(&format!("echo mean''while-{cut}\r")));
        runtime.block_on(terminal.until(&format!("meanwhile-{cut}")));
        let back = || (watch.so_far().1.matches("[robo: back]").count() == cut).then_some(());
        eventually_blocking("the watcher is back", back);
    }
    let all = || watch.so_far().0.contains("meanwhile-3").then_some(());
    eventually_blocking("the watcher sees the last of it", all);
    lab.user.run(&["session", "end", &id]).expect(0);
    let ends = || watch.so_far().1.contains("ended by admin").then_some(());
    eventually_blocking("the watcher is told of the end", ends);
    let (seen, _) = watch.so_far();
    for cut in 1..=3 {
        for word in ["before", "meanwhile"] {
            assert_eq!(seen.matches(&format!("{word}-{cut}")).count(), 1, "{word}-{cut}: {seen}");
        }
    }
}

#[test]
fn without_a_terminal_or_a_device_there_is_no_shell() {
    let user = User::new();
    user.run(&["up", "--detach", &application(&user, GRAPH, &[])]).expect(0);
    let told = user.run(&["shell", "m"]).expect(1).err;
    assert!(told.contains("needs a terminal") && told.contains("robo exec"), "{told}");
    let told = user.run(&["shell", "m", "-o", "json"]).expect(1).err;
    assert!(told.contains("for people"), "{told}");
    user.run(&["session", "attach", "nobody"]).expect(1);
    let told = user.run(&["session", "watch", "nobody"]).expect(1).err;
    assert!(told.contains("there is no session `nobody`"), "{told}");
    let told = user.run(&["session", "play", "no/such.cast"]).expect(1).err;
    assert!(told.contains("no/such.cast"), "{told}");
    let text = user.folder.path().join("application/app.graph");
    let told = user.run(&["session", "play", text.to_str().unwrap()]).expect(1).err;
    assert!(told.contains("cannot be played: line 1"), "{told}");
    let told = user.run(&["session", "list"]).expect(0);
    assert!(told.out.is_empty() && told.err.contains("robo shell DEVICE"), "{}", told.err);
    if Command::new("script").arg("--version").output().is_ok() {
        let run = user.command();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("'{}' shell nobody", robo().display()), "/dev/null"]);
        script.env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let out = String::from_utf8(script.output().unwrap().stdout).unwrap();
        assert!(out.contains("there is no device `nobody`"), "{out}");
    }
}

const BROKEN: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Fails;
}
Fails {
	installer: script;
}
instance of Machine {
	name: m;
	instance of Fails {
		name: fails;
	}
}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_begins_whatever_state_the_workload_is_in() {
    let (user, shells, robo) = (User::new(), Shells::new(robo_agent()), robo());
    let robo = robo.to_str().unwrap();
    let scripts = [("Fails/scripts/start.sh", "#!/bin/sh\nexit 9\n")];
    user.run(&["up", "--detach", &application(&user, BROKEN, &scripts)]).expect(3);
    let status = user.run(&["status", "/m/fails"]).expect(0).out;
    assert!(status.contains("exit code 9"), "{status}");
    let mut terminal = Terminal::start(&shells, "t1", &user, &[robo, "shell", "m", "--", "bash", "--norc"]).await;
    terminal.until("# ").await;
    terminal.type_in("echo he''re\r").await;
    terminal.until("here\r\n").await;
    terminal.type_in("exit\r").await;
    assert_eq!(terminal.verdict().await, Verdict::Ok, "{}", terminal.text());
}
