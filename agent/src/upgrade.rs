//! Upgrades: another program for this agent, over the link that is there, with a way back.
//!
//! The program comes to the agent's folder, is checked, and is laid beside the one that runs. Then this process becomes the
//! [`trial`]: the same program with nothing but a child, the new one, in the place of the agent. By that the link ends, all
//! locks are free and no task is left over, exactly as if the agent had been killed, which everything here stands anyway;
//! the process keeps its number, so a service manager notices nothing. When the manager welcomes the new program, it
//! takes the old one's place by a rename, and this process becomes it. When it does not, this process becomes the old one
//! again. What the agent looks after has keepers of its own, and runs on.
//!
//! Nothing but that rename ever touches the program: whatever dies when, there is one in its place that works.
//!
//! - `own`: the program that runs, and what is asked of it; `serve`: the stream with the manager.
//! - `receive`: the program on its way; `place`: where programs lie; `notes`: what must survive a crash.
//! - [`trial`]: the process between both programs; `leftover`: what a trial that was cut left behind.

mod inherited;
mod leftover;
mod notes;
mod own;
mod place;
mod receive;
mod serve;
#[cfg(test)]
mod tests;
pub mod trial;

pub(crate) use self::inherited::reap as reap_inherited;
pub(crate) use self::leftover::end as end_leftovers;
pub use self::own::Own;
pub(crate) use self::serve::Upgrades;
use crate::code::Code;

/// How long what waits for a disk may take when the agent ends: until then this process is no other program.
const LAST_WORK: std::time::Duration = std::time::Duration::from_secs(5);

/// The agent has ended: becomes the trial of another program, if one was begun. Comes back when none was.
///
/// # Errors
/// When this process cannot become it.
pub fn go_on(own: Option<std::sync::Arc<Own>>, runtime: tokio::runtime::Runtime) -> std::io::Result<()> {
    runtime.shutdown_timeout(LAST_WORK);
    own.map_or(Ok(()), |own| own.go_on())
}

/// Why an upgrade goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    code: Code,
    /// What happened, and where.
    reason: String,
}

impl Fault {
    fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Something at `path` cannot be done; a disk that is full has a code of its own.
    fn at(code: Code, doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let path = path.display();
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            Self::new(Code::DiskFull, format!("cannot {doing} {path}: the disk is full"))
        } else {
            Self::new(code, format!("cannot {doing} {path}: {error}"))
        }
    }
}

/// The first so many bytes of a text, at the end of a character.
fn shortened(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}
