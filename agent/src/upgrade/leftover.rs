//! What a trial left behind that was cut off: somebody killed the process that tried, and the new program may still run.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::notes::Notes;
use crate::folders::Folders;
use crate::keeper::proc::{ProcessId, boot_id};

/// How long it may take to end by itself: it has nothing to do but to let go of its folder.
const GENTLE: Duration = Duration::from_secs(5);

/// How long the system may take to end it.
const KILLED: Duration = Duration::from_secs(5);

/// Ends the new program of a trial whose process is gone. False when that process lives: the folder is in use then.
pub(crate) async fn end(folders: &Folders) -> bool {
    let Some(note) = Notes::of(folders).trial().filter(|note| note.boot == boot_id()) else { return true };
    let is_other = |process: &ProcessId| process.pid != std::process::id() && process.is_alive();
    if note.by.as_ref().is_some_and(is_other) {
        return false;
    }
    if let Some(child) = note.child.filter(is_other) {
        tracing::warn!(pid = child.pid, "ending a program that was tried, and whose trial was cut off");
        // A thread that may wait: it is seconds at most, and happens once.
        let ended = tokio::task::spawn_blocking(move || end_process(child)).await;
        if !ended.unwrap_or(false) {
            tracing::warn!(pid = child.pid, "it does not end");
        }
    }
    true
}

/// Ends a process, gently at first. True when it is gone.
fn end_process(process: ProcessId) -> bool {
    // The file names this process and no later one of its number.
    let Some(file) = process.open() else { return true };
    [(Signal::TERM, GENTLE), (Signal::KILL, KILLED)].into_iter().any(|(signal, wait)| {
        // It may have ended since.
        pidfd_send_signal(&file, signal).ok();
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: 0 };
        poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&wait)).is_ok_and(|ready| ready > 0)
    })
}
