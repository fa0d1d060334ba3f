//! The agent: runs on every machine, dials out, keeps what it was told running.
//!
//! From the inside out:
//! - [`order`]: what the reconciler orders and the runtime reports.
//! - [`reconcile`]: pure: assignment, imports and observations in; orders and reports out.
//! - [`ledger`]: what must survive a crash, on disk.
//! - [`runtime`]: steps, processes, checks and files: the only part that touches the machine.
//! - [`keeper`]: the small process between the agent and what it runs.
//! - [`shell`]: sessions of people, each with a terminal.
//! - [`copy`]: files and folders to and from a device; the client uses it too.
//! - [`ssh`]: who may log in to this machine by SSH.
//! - [`runs`]: commands of jobs, which outlive the link; [`uploads`]: files that the manager is to keep.
//! - [`forward`]: connections through the device; [`tail`]: logs of it; [`diary`]: the agent's own;
//!   [`backup`]: a copy of what instances print, in files for others.
//! - [`pilot`]: pure: the reconciler, the session with the manager, and what waits for the disk.
//! - [`link`]: the connection to the manager; [`dial`], [`proxy`], [`tls`], [`enroll`], [`identity`], [`credentials`],
//!   [`renew`], [`files`], [`facts`], [`bearer`] serve it.
//! - [`daemon`]: the loop that joins them; [`args`]: its options.
//! - [`upgrade`]: another program for the agent, with a way back.
//! - [`doctor`]: looks at a device from the inside; [`code`]: what can be wrong with one; [`collect`]: all that helps to
//!   find it, in one archive; [`health`] and [`parts`]: how all of this is, for whoever asks.
//! - [`folders`]: where everything lies on disk; [`framing`]: frames on streams.

pub mod args;
pub mod backup;
pub mod bearer;
pub mod code;
pub mod collect;
pub mod copy;
pub mod credentials;
pub mod daemon;
pub mod dial;
pub mod diary;
pub mod doctor;
pub mod enroll;
pub mod facts;
pub mod files;
pub mod folders;
pub mod forward;
pub mod framing;
pub mod health;
pub mod identity;
pub mod keeper;
pub mod ledger;
mod limits;
pub mod link;
mod lock;
pub mod order;
pub mod parts;
pub mod pilot;
pub mod proxy;
pub mod reconcile;
pub mod renew;
pub mod runs;
pub mod runtime;
pub mod shell;
pub mod ssh;
pub mod switches;
pub mod tail;
pub mod tls;
pub mod upgrade;
pub mod uploads;

pub use daemon::{AgentError, Config, run, run_with_keeper};
pub use limits::raise as raise_open_files;

/// What this program is when the agent has started it again, as a keeper, as the leader of a terminal or as a trial of
/// another program; nothing when it
/// was started by others. To be asked first of all in `main`: such a process must be there fast and be small.
#[must_use]
pub fn as_helper(mut words: impl Iterator<Item = std::ffi::OsString>) -> Option<std::process::ExitCode> {
    let word = words.nth(1)?;
    if word == keeper::ARGUMENT {
        return Some(keeper::main(std::path::Path::new(&words.next()?)));
    }
    if word == ssh::file::ARGUMENT {
        return Some(ssh::file::main(words));
    }
    if word == upgrade::trial::ARGUMENT {
        return Some(upgrade::trial::main(words));
    }
    (word == shell::leader::ARGUMENT).then(|| shell::leader::main(words))
}

/// The time now, by this machine's clock. The only place that asks it.
pub(crate) fn now() -> robo_model::quantity::UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    robo_model::quantity::UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Time that only goes forward, for what compares times and never shows or keeps them: a clock that is set must neither
/// end a link nor keep a dead one.
pub(crate) fn uptime() -> robo_model::quantity::UnixMillis {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    robo_model::quantity::UnixMillis(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
}
