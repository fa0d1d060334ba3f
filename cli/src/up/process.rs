//! Processes that outlive the one that started them: how to know them again, start them, end them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::service::open_log;

/// How much of a log's end is read to show its last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// One process for all time: a number is given again, a number with its start time and boot is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its number.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot.
    started: u64,
    /// Which boot that was.
    boot: String,
}

impl ProcessId {
    /// The process that has this number now; nothing when there is none, or it has ended and only waits to be
    /// collected.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&stat)?;
        (!has_ended(pid, state)).then(|| Self { pid, started, boot: boot_id() })
    }

    /// True while it runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_alive())
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            // It may end between the look and the signal; then there is nothing left to do.
            tracing::debug!("no signal to process {}: {error}", self.pid);
        }
    }
}

/// Fields 3 and 22 of `/proc/PID/stat`. The name in field 2 may hold anything, so fields are counted from its closing
/// parenthesis.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?, fields.nth(18)?.parse().ok()?))
}

/// True for a process that only waits to be collected. A killed one whose first thread has ended may have another
/// that the disk still holds up in a write, and with it all its files, locks and ports.
fn has_ended(pid: u32, state: &str) -> bool {
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    matches!(state, "X" | "x") || (state == "Z" && threads() <= 1)
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Processes of `robo` with one of these subcommands and an argument that lies below `folder`.
///
/// A process whose command line cannot be read is passed over; on a system without `/proc` all are.
pub(crate) fn started_below(folder: &Path, commands: &[&str]) -> Vec<ProcessId> {
    let is_one = |line: &[u8]| {
        let mut words = line.split(|b| *b == 0).skip(1);
        let is_command = words.next().is_some_and(|word| commands.iter().any(|c| c.as_bytes() == word));
        is_command && words.any(|word| Path::new(OsStr::from_bytes(word)).starts_with(folder))
    };
    command_lines().filter(|(_, line)| is_one(line)).filter_map(|(pid, _)| ProcessId::of(pid)).collect()
}

/// The command lines of all processes; words end with NUL.
pub(crate) fn command_lines() -> impl Iterator<Item = (u32, Vec<u8>)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, std::fs::read(entry.path().join("cmdline")).ok()?))
    })
}

/// A process of `robo` to start.
#[derive(Debug)]
pub(crate) struct Start {
    /// The words after the program.
    pub(crate) args: Vec<OsString>,
    /// Where its log goes, and whatever else it prints.
    pub(crate) log: PathBuf,
    /// What it reads from its input, if anything.
    pub(crate) input: Option<String>,
}

impl Start {
    /// Starts it in a process group of its own, so that Ctrl-C at the terminal does not reach it.
    ///
    /// # Errors
    /// When the log cannot be opened, or the program cannot be started.
    pub(crate) fn spawn(self) -> io::Result<Child> {
        let log = open_log(&self.log)?;
        let mut command = Command::new(own_program()?);
        command
            .args(&self.args)
            .arg("--log-file")
            .arg(&self.log)
            .env_remove(robo_agent::args::TOKEN_VARIABLE)
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .process_group(0);
        let mut child = command.spawn()?;
        if let (Some(input), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // A pipe takes this little at once. When the child is gone already, its end tells why.
            drop(pipe.write_all(input.as_bytes()));
        }
        Ok(child)
    }
}

/// The program that runs now, also when its file was replaced since.
fn own_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    if program.exists() { Ok(program) } else { Ok(PathBuf::from("/proc/self/exe")) }
}

/// The last `count` lines of a log; nothing where there is none.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().rev().take(count).map(str::to_owned).collect();
    lines.reverse();
    lines
}

/// How a process ended, in words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_until_it_ends() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_alive());
        let other = ProcessId { started: id.started + 1, ..id.clone() };
        assert!(!other.is_alive(), "the same number at another time is another process");
        other.signal(Signal::KILL);
        assert!(id.is_alive());
        id.signal(Signal::KILL);
        assert_eq!(ending(child.wait().unwrap()), "was killed by signal 9");
        assert!(!id.is_alive());
    }

    #[test]
    fn state_and_start_are_found_behind_any_name() {
        let fields = "1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        for (name, state) in [("robo", "S"), ("a) R 1 (b", "R"), ("robo", "Z")] {
            let stat = format!("42 ({name}) {state} {fields}");
            assert_eq!(state_and_start(&stat), Some((state, 777)), "{name} {state}");
        }
        assert_eq!(state_and_start(""), None);
        assert_eq!(state_and_start("42 (robo) S 1"), None);
    }

    #[test]
    fn a_zombie_with_a_thread_at_work_has_not_ended() {
        // This process has several threads; what its first one does is as we say.
        let own = std::process::id();
        let release = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| release.wait());
            assert!(!has_ended(own, "Z"));
            assert!(has_ended(own, "X"));
            release.wait();
        });
    }

    #[test]
    fn only_the_last_lines_of_a_log_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert_eq!(last_lines(&path, 3), Vec::<String>::new());
        let lines: Vec<String> = (0..10_000).map(|n| format!("line {n}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        assert_eq!(last_lines(&path, 2), ["line 9998", "line 9999"]);
        std::fs::write(&path, [0xff; 40_000]).unwrap();
        assert_eq!(last_lines(&path, 2).len(), 1);
    }
}
