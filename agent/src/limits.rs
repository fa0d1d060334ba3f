//! How many files the agent may have open, and what it starts; and who goes first when memory runs out.
//!
//! The usual limit is made for programs that forget to close files, and a device with hundreds of instances is beyond
//! it. So the agent takes all that it may have; what it starts gets the limit that the agent was started with, because
//! some programs walk through all files that they might have.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit that this process was started with.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Takes as many open files as this process may have.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    BEFORE.get_or_init(|| limit.current);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::debug!(%error, "cannot have more open files");
    }
}

/// The limit for what we start; nothing when ours was never raised.
pub(crate) fn before() -> Option<u64> {
    BEFORE.get().copied().flatten()
}

/// Gives this process the limit back that it was started with: it becomes another program.
pub(crate) fn restore() {
    if let Some(files) = before() {
        lower(None, files);
    }
}

/// Gives what was just started the limit back that we were started with.
pub(crate) fn give_back(child: Option<u32>) {
    if let Some(id) = child {
        expose(&id.to_string());
    }
    let pid = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some((pid, files)) = pid.zip(before()) {
        lower(Some(pid), files);
    }
}

/// Has a process, or `self`, go as soon as any other one when memory runs out, where this one is kept to the last: it
/// is the agent that the machine cannot do without, and what takes all memory is what it runs.
pub(crate) fn expose(process: &str) {
    let path = format!("/proc/{process}/oom_score_adj");
    let is_kept = fs::read_to_string(&path).is_ok_and(|score| score.trim().starts_with('-'));
    // It may have ended, or become another user.
    if is_kept && let Err(error) = fs::write(&path, "0") {
        tracing::debug!(%error, process, "stays as it is when memory runs out");
    }
}

/// Lowers the limit of `process`, or of this one, to `files`; nobody can be given more than it had.
pub(crate) fn lower(process: Option<Pid>, files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(maximum.map_or(files, |most| most.min(files)));
    // It may have ended, or become another user; then it keeps what it has.
    prlimit(process, Resource::Nofile, Rlimit { current, maximum }).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is_taken_and_given_back_to_children() {
        let most = getrlimit(Resource::Nofile).maximum;
        lower(None, 900);
        raise();
        raise();
        assert_eq!((getrlimit(Resource::Nofile).current, before()), (most, Some(900)));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        give_back(Some(child.id()));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_ascii_whitespace().nth(3), Some("900"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_started_goes_before_the_agent_when_memory_runs_out() {
        let score = |process: &str| fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let id = child.id().to_string();
        // Only root may go below what it was; anybody may look.
        if fs::write(format!("/proc/{id}/oom_score_adj"), "-900").is_ok() {
            assert_eq!(score(&id).trim(), "-900");
            give_back(Some(child.id()));
        }
        assert!(!score(&id).starts_with('-'), "{}", score(&id));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
