//! Ends what runs: TERM, a grace, KILL. By process id and start time, never by a name.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout_at};

use crate::folders::InstanceFolder;
use crate::keeper::proc::{ProcessId, Sessions, boot_id, is_shortage};
use crate::keeper::record::{Exit, RunFolder, Running};

/// Time that what failed, timed out or was left over has between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Time that a killed process has to go; one that the kernel holds longer cannot be helped.
const KILLED: Duration = Duration::from_secs(5);

/// Rounds of killing: each takes what was started while the last one went on.
const KILL_ROUNDS: u32 = 10;

/// How often it is tried to look on a machine that is short of files or memory, before that is given up.
pub(super) const LOOK_TRIES: u32 = 30;

/// Time from one such try to the next.
pub(super) const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Time between two looks at a process that cannot be waited for, because there are no more files to be had.
const GONE_PAUSE: Duration = Duration::from_millis(50);

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
    let read = move || runs.iter().filter_map(|run| run.running().transpose()).collect::<io::Result<Vec<Running>>>();
    let running = patiently(read).await?;
    let keepers: Vec<ProcessId> = running.iter().filter(|r| r.boot == boot_id()).map(|r| r.keeper).collect();
    let ended = end_sessions(&running, GRACE).await?;
    // A keeper goes when nobody writes to it any more; what left its session may still hold it.
    let until = Instant::now() + KILLED;
    for keeper in keepers {
        if !wait_gone(keeper, until).await {
            kill(keeper);
        }
    }
    Ok(ended)
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
    let folder = run.clone();
    let ended = async {
        match patiently(move || folder.running()).await? {
            Some(running) => end_sessions(&[running], grace).await,
            None => Ok(Ended::default()),
        }
    };
    if let Err(error) = ended.await {
        tracing::warn!(run = %run.path().display(), %error, "cannot look for what a run left running");
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

async fn end_sessions(sessions: &[Running], grace: Duration) -> io::Result<Ended> {
    let mut ended = Ended::default();
    let here: Vec<&Running> = sessions.iter().filter(|session| session.boot == boot_id()).collect();
    if here.is_empty() {
        return Ok(ended);
    }
    for session in &here {
        // The program's own group first, in one go: it may be starting others right now.
        if let Some(child) = session.child.filter(|_| session.is_alive()) {
            child.signal_group(Signal::TERM);
        }
    }
    let mut told = HashSet::new();
    let mut left = look(&here).await?;
    ended.found = left.len();
    tell(&here, &left, &mut told);
    // What somebody stopped hears of its end only when it goes on, and its keeper writes that down only then.
    here.iter().for_each(|session| signal(session.keeper, Signal::CONT));
    let until = Instant::now() + grace;
    let mut in_time = true;
    while in_time && !left.is_empty() {
        for member in &left {
            in_time = in_time && wait_gone(*member, until).await;
        }
        left = look(&here).await?;
        tell(&here, &left, &mut told);
    }
    let until = Instant::now() + KILLED;
    for _ in 0..KILL_ROUNDS {
        if left.is_empty() {
            break;
        }
        left.iter().copied().for_each(kill);
        for member in &left {
            wait_gone(*member, until).await;
        }
        left = look(&here).await?;
    }
    ended.left = left.len();
    Ok(ended)
}

/// Everything that runs in these sessions: one look at the machine, away from the agent's only thread.
async fn look(sessions: &[&Running]) -> io::Result<Vec<ProcessId>> {
    let seen = patiently(Sessions::look).await?;
    Ok(sessions.iter().flat_map(|session| seen.members(session)).copied().collect())
}

/// Tells members to end, each once. Those of a program's own group heard it with their group, if they were there.
fn tell(sessions: &[&Running], members: &[ProcessId], told: &mut HashSet<ProcessId>) {
    let first = told.is_empty();
    let groups: HashSet<_> = sessions.iter().filter_map(|session| session.child?.raw()).collect();
    for member in members.iter().filter(|member| told.insert(**member)) {
        let group = member.raw().and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
        if !(first && group.is_some_and(|group| groups.contains(&group))) {
            signal(*member, Signal::TERM);
        }
        signal(*member, Signal::CONT);
    }
}

/// Does what may block away from the agent's only thread, and again where the machine is short of files or memory.
async fn patiently<T: Send + 'static>(work: impl Fn() -> io::Result<T> + Clone + Send + 'static) -> io::Result<T> {
    let mut tries = 1;
    loop {
        match tokio::task::spawn_blocking(work.clone()).await.map_err(io::Error::other)? {
            Err(error) if is_shortage(&error) && tries < LOOK_TRIES => {
                tries += 1;
                sleep(LOOK_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Waits until a process has ended; false when it has not by `until`.
async fn wait_gone(process: ProcessId, until: Instant) -> bool {
    #[expect(deprecated, reason = "the new name is `unsafe` for types that may change their file; an OwnedFd does not")]
    if let Some(fd) = process.open().and_then(|fd| AsyncFd::new(fd).ok()) {
        return timeout_at(until, fd.readable()).await.is_ok() || !process.is_alive();
    }
    while process.is_alive() {
        if Instant::now() >= until {
            return false;
        }
        sleep(GONE_PAUSE).await;
    }
    true
}

fn kill(process: ProcessId) {
    signal(process, Signal::KILL);
}

fn signal(process: ProcessId, signal: Signal) {
    if let Some(fd) = process.open() {
        // It may have ended since.
        pidfd_send_signal(fd, signal).ok();
    } else if let Some(pid) = process.raw().filter(|_| process.is_alive()) {
        rustix::process::kill_process(pid, signal).ok();
    }
}
