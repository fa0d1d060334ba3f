//! Processes as `/proc` shows them. A process is known by its id *and* its start time: ids are used again.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::OnceLock;

use rustix::io::Errno;
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
        match read_stat(self.pid) {
            Ok(stat) => stat.start == self.start && !stat.dead,
            // Then the kernel still says whether there is one of this number; it is not taken for dead unseen.
            Err(error) if is_shortage(&error) => {
                self.raw().is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
            }
            Err(_) => false,
        }
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

/// Everything that runs, by session: one look at `/proc`, whose price is that of all processes of the machine.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// When the process of each number started, the dead ones included.
    starts: HashMap<u32, u64>,
    members: HashMap<u32, Vec<ProcessId>>,
}

impl Sessions {
    /// Looks. It takes a while: not for the agent's only thread.
    ///
    /// # Errors
    /// When the machine is short of files or memory: what was not seen may well be there.
    pub(crate) fn look() -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match read_stat(pid) {
                Ok(stat) => found.add(pid, stat),
                Err(error) if is_shortage(&error) => return Err(error),
                // It ended meanwhile, or is none that we may see.
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn add(&mut self, pid: u32, stat: Stat) {
        self.starts.insert(pid, stat.start);
        if !stat.dead && pid != stat.session {
            self.members.entry(stat.session).or_default().push(ProcessId { pid, start: stat.start });
        }
    }

    /// Everything in the session of a keeper, without the keeper.
    pub(crate) fn members(&self, running: &Running) -> &[ProcessId] {
        let keeper = running.keeper;
        // While the session has members, nobody else gets its id. Somebody else has it: so it has none.
        let is_another = self.starts.get(&keeper.pid).is_some_and(|start| *start != keeper.start);
        if is_another || running.boot != boot_id() {
            return &[];
        }
        self.members.get(&keeper.pid).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Running {
    /// True when the program runs, and it is the one that the keeper started.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot_id() && self.child.is_some_and(ProcessId::is_alive)
    }
}

/// Names this boot of the machine; empty where the kernel does not tell.
pub(crate) fn boot_id() -> String {
    static KNOWN: OnceLock<String> = OnceLock::new();
    // It stays as long as we do, also when there are no more files to be had for reading it.
    if let Some(known) = KNOWN.get() {
        return known.clone();
    }
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => KNOWN.get_or_init(|| id.trim().to_owned()).clone(),
        Err(_) => String::new(),
    }
}

/// True when the machine or this process has no more files or memory: nothing is known then, and trying again helps.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN))
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

    #[test]
    fn a_session_has_all_that_is_in_it_but_its_leader() {
        let stat = |session, start, dead| Stat { dead, session, start };
        let mut seen = Sessions::default();
        for (pid, stat) in [
            (10, stat(10, 1, false)),
            (11, stat(10, 2, false)),
            (12, stat(10, 3, true)),
            (13, stat(10, 4, false)),
            (20, stat(20, 5, false)),
            (21, stat(30, 6, false)),
        ] {
            seen.add(pid, stat);
        }
        let check = |pid, start, boot: &str, expect: &[u32]| {
            let running = Running { boot: boot.to_owned(), keeper: ProcessId { pid, start }, child: None };
            let pids: Vec<u32> = seen.members(&running).iter().map(|member| member.pid).collect();
            assert_eq!(pids, expect, "{pid} {start}");
        };
        let boot = boot_id();
        check(10, 1, &boot, &[11, 13]);
        check(10, 9, &boot, &[]);
        check(10, 1, "another", &[]);
        check(20, 5, &boot, &[]);
        // The leader is gone.
        check(30, 9, &boot, &[21]);
        let own = ProcessId::of(std::process::id()).unwrap();
        assert_eq!(Sessions::look().unwrap().starts.get(&own.pid), Some(&own.start));
    }
}
