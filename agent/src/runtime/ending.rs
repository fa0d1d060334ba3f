//! Ends what runs: TERM, a grace, KILL. By process id and start time, never by a name.

use std::io;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use crate::folders::InstanceFolder;
use crate::keeper::proc::ProcessId;
use crate::keeper::record::{Exit, RunFolder, Running};

/// Time that what failed, timed out or was left over has between TERM and KILL.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Time that a killed process has to go; one that the kernel holds longer cannot be helped.
const KILLED: Duration = Duration::from_secs(5);

/// Rounds of killing: each takes what was started while the last one went on.
const KILL_ROUNDS: u32 = 10;

/// What [`super::Runtime::kill_leftovers`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Processes that were still running.
    pub found: usize,
    /// Those of them that cannot be ended: the kernel holds them.
    pub left: usize,
}

/// Ends everything that runs in the sessions of `runs`.
pub(super) async fn end_all(runs: Vec<RunFolder>) -> io::Result<Ended> {
    let mut running = Vec::new();
    for run in runs {
        running.extend(run.running()?);
    }
    let found = running.iter().map(|r| r.members().len()).sum();
    let keepers: Vec<ProcessId> =
        running.iter().filter(|r| r.boot == crate::keeper::proc::boot_id()).map(|r| r.keeper).collect();
    let left = end_sessions(&running, GRACE).await;
    // A keeper goes when nobody writes to it any more; what left its session may still hold it.
    let until = Instant::now() + KILLED;
    for keeper in keepers {
        if !wait_gone(keeper, until).await {
            kill(keeper);
        }
    }
    Ok(Ended { found, left })
}

/// Ends everything that an instance has left running.
pub(super) async fn end_instance(folder: &InstanceFolder) -> Result<(), String> {
    let failed = |e: io::Error| super::explain("look for what still runs in", folder.path(), &e);
    let ended = end_all(folder.all_runs().map_err(failed)?).await.map_err(failed)?;
    if ended.left > 0 {
        return Err(format!("{} processes of the instance cannot be killed; the kernel holds them", ended.left));
    }
    Ok(())
}

/// Ends everything that one run has left running, at latest after `grace` and the time a kill takes.
pub(super) async fn end_run(run: &RunFolder, grace: Duration) {
    if let Ok(Some(running)) = run.running() {
        end_sessions(&[running], grace).await;
    }
}

/// Keeps a run that was ordered and has not begun from beginning; false when it has begun.
pub(super) fn forestall(run: &RunFolder) -> io::Result<bool> {
    let Some(_lock) = run.try_lock()? else { return Ok(false) };
    if run.running()?.is_some() || run.exit()?.is_some() {
        return Ok(false);
    }
    run.write_exit(&Exit::error("was stopped before it began"))?;
    Ok(true)
}

/// Returns how many cannot be ended.
async fn end_sessions(sessions: &[Running], grace: Duration) -> usize {
    let boot = crate::keeper::proc::boot_id();
    let members = || sessions.iter().flat_map(Running::members).collect::<Vec<_>>();
    for session in sessions {
        // The program's own group first, in one go: it may be starting others right now.
        if let Some(child) = session.child.filter(|_| session.is_alive()) {
            child.signal_group(Signal::TERM);
        }
        let grouped = session.child.and_then(ProcessId::raw);
        for member in session.members() {
            if member.raw().and_then(|pid| rustix::process::getpgid(Some(pid)).ok()) != grouped {
                signal(member, Signal::TERM);
            }
        }
    }
    // What somebody stopped hears of its end only when it goes on, and its keeper writes that down only then.
    for session in sessions.iter().filter(|session| session.boot == boot) {
        signal(session.keeper, Signal::CONT);
        session.members().into_iter().for_each(|member| signal(member, Signal::CONT));
    }
    let until = Instant::now() + grace;
    while let Some(member) = members().first() {
        if !wait_gone(*member, until).await {
            break;
        }
    }
    let until = Instant::now() + KILLED;
    for _ in 0..KILL_ROUNDS {
        let left = members();
        left.iter().copied().for_each(kill);
        for member in &left {
            wait_gone(*member, until).await;
        }
        if left.is_empty() {
            break;
        }
    }
    members().len()
}

/// Waits until a process has ended; false when it has not by `until`.
async fn wait_gone(process: ProcessId, until: Instant) -> bool {
    let Some(fd) = process.open() else { return !process.is_alive() };
    #[expect(deprecated, reason = "the new name is `unsafe` for types that may change their file; an OwnedFd does not")]
    let Ok(fd) = AsyncFd::new(fd) else { return !process.is_alive() };
    timeout_at(until, fd.readable()).await.is_ok() || !process.is_alive()
}

fn kill(process: ProcessId) {
    signal(process, Signal::KILL);
}

fn signal(process: ProcessId, signal: Signal) {
    if let Some(fd) = process.open() {
        // It may have ended since.
        pidfd_send_signal(fd, signal).ok();
    }
}
