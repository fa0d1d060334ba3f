//! A trial: this process is between two programs. It runs the new one as its child, in the place of the agent, and becomes
//! it when the manager has welcomed it; else it becomes the one before again.
//!
//! It holds nothing of the agent's: killed at any moment, it leaves a program in its place that works, a child that ends
//! by itself, and a note by which the next agent says what happened.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::Fault;
use super::notes::{Notes, TrialNote};
use super::place::Place;
use crate::code::Code;
use crate::folders::Folders;
use crate::keeper::proc::ProcessId;
use crate::ledger;

/// The hidden argument that makes this program a trial; the agent's folder follows, its name, and its own arguments.
pub const ARGUMENT: &str = "try-upgrade";

/// Set for the program that is tried: the version of the ledger that the one before can read.
pub const VARIABLE: &str = "ROBO_TRIAL";

/// What the program that is tried prints when the manager has welcomed it.
pub const WELCOMED: &str = "welcomed\n";

/// How long the new program gets to end by itself.
const GENTLE: Duration = Duration::from_secs(15);

/// Most lines of the new program's log that are told when it is of no use, and bytes of them.
const LAST_LINES: usize = 8;
const LAST_BYTES: usize = 1600;

/// How long the rest of its log may take to come when it has ended.
const REST: Duration = Duration::from_secs(1);

/// Most bytes of one line of it.
const MAX_LINE: u64 = 4096;

/// How a trial ended.
enum Tried {
    Welcomed,
    /// It is of no use, because of this.
    Useless(Fault),
    /// We were told to end.
    Stopped,
}

/// Runs the trial that is written down in the folder that `words` begin with, and becomes a program. Comes back when it
/// was told to end, and when there is no program to become.
#[must_use]
pub fn main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(state), Some(name)) = (words.next(), words.next()) else {
        say("this is for the agent itself");
        return ExitCode::FAILURE;
    };
    let start = Start { name, arguments: words.collect() };
    let notes = Notes::of(&Folders::new(PathBuf::from(state)));
    let Some(note) = notes.trial() else {
        say("there is no note of a trial; going on as before");
        return start.become_own();
    };
    let place = Place::of(&note.program);
    let tried = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(try_it(&start, &notes, note.clone(), &place)),
        Err(error) => Tried::Useless(cannot_begin(&error)),
    };
    match tried {
        Tried::Stopped => ExitCode::SUCCESS,
        Tried::Welcomed => {
            conclude(&notes, &note, Ok(()));
            let error = start.exec(&place.program);
            // It ran a moment ago. Whatever this is, the one before is there.
            let fault = Fault::new(Code::UpgradeTrial, format!("it ran once, and cannot be run again: {error}"));
            if let Err(error) = place.swap_back() {
                say(&format!("the program before cannot take its place again: {error}"));
            }
            conclude(&notes, &note, Err(fault));
            start.become_own()
        }
        Tried::Useless(fault) => {
            say(&format!("{}: {}", fault.code, fault.reason));
            place.clear();
            conclude(&notes, &note, Err(fault));
            start.become_own()
        }
    }
}

fn conclude(notes: &Notes, note: &TrialNote, ended: Result<(), Fault>) {
    if let Err(error) = notes.write_outcome(&note.outcome(ended)) {
        say(&format!("cannot write down how the upgrade ended: {error}"));
    }
}

fn cannot_begin(error: &io::Error) -> Fault {
    Fault::new(Code::UpgradeTrial, format!("the trial cannot begin: {error}"))
}

/// How an agent is started.
struct Start {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Start {
    /// Becomes `program`; comes back only when that cannot be.
    fn exec(&self, program: &Path) -> io::Error {
        Command::new(program).arg0(&self.name).args(&self.arguments).exec()
    }

    /// Becomes the program again that this one is.
    fn become_own(&self) -> ExitCode {
        let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let first = self.exec(&own);
        // What lies there may be gone; what runs is there.
        let error = self.exec(Path::new("/proc/self/exe"));
        say(&format!("the agent cannot go on: {first}; {error}"));
        ExitCode::FAILURE
    }

    fn child(&self, program: &Path) -> io::Result<Child> {
        let mut command = tokio::process::Command::new(program);
        command.arg0(&self.name).args(&self.arguments).env(VARIABLE, ledger::VERSION.to_string());
        // Its last lines are told to people, by a terminal or not.
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
    }
}

async fn try_it(start: &Start, notes: &Notes, note: TrialNote, place: &Place) -> Tried {
    let signals = signal(SignalKind::terminate()).and_then(|one| Ok((one, signal(SignalKind::interrupt())?)));
    let begun = signals.and_then(|signals| Ok((signals, start.child(&place.next)?)));
    let ((mut terminate, mut interrupt), mut child) = match begun {
        Ok(begun) => begun,
        Err(error) => return Tried::Useless(cannot_begin(&error)),
    };
    let by = ProcessId::of(std::process::id()).ok();
    let noted = TrialNote { by, child: child.id().and_then(|id| ProcessId::of(id).ok()), ..note };
    if let Err(error) = notes.write_trial(&noted) {
        end(&mut child).await;
        return Tried::Useless(Fault::new(Code::StateFolder, format!("the trial cannot be written down: {error}")));
    }
    // While this is there the program runs; to wait for a child would close it, if it was the child's still.
    let lifeline = child.stdin.take();
    let mut log = tokio::spawn(log(child.stderr.take()));
    let stdout = child.stdout.take();
    let why = tokio::select! {
        () = welcomed(stdout) => None,
        ended = child.wait() => Some(match ended {
            Ok(status) => format!("it ended with {status}"),
            Err(error) => format!("what became of it cannot be known: {error}"),
        }),
        () = tokio::time::sleep(noted.time.duration()) => {
            Some(format!("the manager did not welcome it within {}", noted.time))
        }
        _ = terminate.recv() => return stopped(&mut child).await,
        _ = interrupt.recv() => return stopped(&mut child).await,
    };
    let swapped = match why {
        Some(why) => Err((Code::UpgradeTrial, why)),
        // Only now, and by nothing else, is the program in its place another one.
        None => place.swap().map_err(|error| {
            (Code::InstallFolder, format!("it cannot take the place of {}: {error}", place.program.display()))
        }),
    };
    drop(lifeline);
    end(&mut child).await;
    match swapped {
        Ok(()) => Tried::Welcomed,
        Err((code, why)) => {
            let lines = timeout(REST, &mut log).await;
            log.abort();
            let lines = lines.ok().and_then(Result::ok).unwrap_or_default();
            let said = if lines.is_empty() { String::new() } else { format!("; its last lines:\n{lines}") };
            Tried::Useless(Fault::new(code, why + &said))
        }
    }
}

async fn stopped(child: &mut Child) -> Tried {
    end(child).await;
    Tried::Stopped
}

/// Waits until the program says that it was welcomed; one that says nothing is waited for without end.
async fn welcomed(out: Option<ChildStdout>) {
    if let Some(out) = out {
        let mut said = Vec::new();
        drop(out.take(WELCOMED.len() as u64).read_to_end(&mut said).await);
        if said == WELCOMED.as_bytes() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Ends the program, gently at first.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It was not waited for yet: nobody else has its number.
        kill_process(pid, Signal::TERM).ok();
    }
    if timeout(GENTLE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        say(&format!("the new program does not end: {error}"));
    }
}

/// Passes the program's log on to ours; its last lines at the end.
async fn log(err: Option<ChildStderr>) -> String {
    let Some(err) = err else { return String::new() };
    let (mut reader, mut last) = (BufReader::new(err), VecDeque::new());
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        drop(io::stderr().lock().write_all(&line));
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        let bytes = |last: &VecDeque<String>| last.iter().map(String::len).sum::<usize>();
        while last.len() > LAST_LINES || last.len() > 1 && bytes(&last) > LAST_BYTES {
            last.pop_front();
        }
    }
    let text = last.into_iter().collect::<Vec<_>>().join("\n");
    super::shortened(text, LAST_BYTES)
}

fn say(text: &str) {
    // Nobody reads: nothing can be done about that.
    drop(writeln!(io::stderr().lock(), "upgrade: {text}"));
}
