//! Children that this process had before it became this program: keepers, whose ends nobody else would take notice of. A
//! process that ended and was not waited for keeps its number until then.

use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};

/// How often it is looked: they take nothing but a number each.
const LOOK: Duration = Duration::from_secs(30);

/// Waits for those that end, until none is left. To be called before this process starts anything of its own.
pub(crate) fn reap() {
    let mut left = children();
    if left.is_empty() {
        return;
    }
    tokio::spawn(async move {
        while !left.is_empty() {
            left.retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
            tokio::time::sleep(LOOK).await;
        }
    });
}

/// The children of this process; none where the system does not say.
fn children() -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}
