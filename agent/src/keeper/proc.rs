//! Processes as `/proc` shows them. A process is known by its id *and* its start time: ids are used again.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::record::Running;

/// A process that is not mistaken for a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The id.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`.
    pub(crate) start: u64,
}

/// A line of `/proc/<pid>/stat`, as far as we need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    dead: bool,
    session: u32,
    start: u64,
}

impl ProcessId {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = read_stat(pid)?;
        Ok(Self { pid, start: stat.start })
    }

    /// True while it runs; false for one that has ended and that nobody has waited for yet.
    pub(crate) fn is_alive(self) -> bool {
        read_stat(self.pid).is_ok_and(|stat| stat.start == self.start && !stat.dead)
    }

    /// The id as system calls take it.
    pub(crate) fn raw(self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.pid).ok()?)
    }

    /// Sends `signal` to the process group that it leads, if it is alive.
    pub(crate) fn signal_group(self, signal: Signal) {
        if let Some(pid) = self.raw().filter(|_| self.is_alive()) {
            // It may have ended since; then there is nobody to tell.
            rustix::process::kill_process_group(pid, signal).ok();
        }
    }

    /// A file that becomes readable when the process ends; nothing when it has ended.
    pub(crate) fn open(self) -> Option<std::os::fd::OwnedFd> {
        let fd = rustix::process::pidfd_open(self.raw()?, rustix::process::PidfdFlags::empty()).ok()?;
        // The file names the process that had the id when it was opened: this one, if it is still the same now.
        self.is_alive().then_some(fd)
    }
}

impl Running {
    /// Everything that runs in the keeper's session, without the keeper.
    pub(crate) fn members(&self) -> Vec<ProcessId> {
        if self.boot != boot_id() {
            return Vec::new();
        }
        // While the session has members, nobody else gets its id. Somebody else has it: so it has none.
        if read_stat(self.keeper.pid).is_ok_and(|stat| stat.start != self.keeper.start) {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| Some((pid, read_stat(pid).ok()?)))
            .filter(|(pid, stat)| stat.session == self.keeper.pid && *pid != self.keeper.pid && !stat.dead)
            .map(|(pid, stat)| ProcessId { pid, start: stat.start })
            .collect()
    }

    /// True when the program runs, and it is the one that the keeper started.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot_id() && self.child.is_some_and(ProcessId::is_alive)
    }
}

/// Names this boot of the machine; empty where the kernel does not tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn read_stat(pid: u32) -> io::Result<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The program's name stands in parentheses and may hold blanks and parentheses itself: fields count from the last one.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let line = "42 (a) b (c)) S 1 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(parse_stat(line), Some(Stat { dead: false, session: 41, start: 98765 }));
        assert_eq!(parse_stat("42 (a) Z 1"), None);
    }

    #[test]
    fn another_start_time_is_another_process() {
        let own = ProcessId::of(std::process::id()).unwrap();
        assert!(own.is_alive() && own.open().is_some());
        let other = ProcessId { start: own.start + 1, ..own };
        assert!(!other.is_alive() && other.open().is_none());
    }
}
