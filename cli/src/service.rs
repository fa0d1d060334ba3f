//! What `robo manager` and `robo agent` have in common: a log, signals that end them, errors with their causes.

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use robo_agent::diary::{self, DiaryLayer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::CliError;

/// Chooses what is logged, in the syntax of `RUST_LOG`.
const LOG_VARIABLE: &str = "ROBO_LOG";

/// What is logged where nothing is chosen: statements of the store only when one is slow or fails.
const LOG_DEFAULT: &str = "info,sqlx=warn";

/// A log file that has grown to this size is moved aside, to a neighbour `….old`: the two of them bound what is kept.
const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// Where a service logs to.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Log to this file, which is kept small, instead of to standard error.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

/// Logs from now on.
///
/// # Errors
/// When `ROBO_LOG` is no filter, or the file cannot be opened.
pub(crate) fn log(args: &LogArgs) -> Result<(), CliError> {
    log_with(args, None)
}

/// Logs from now on, also to the log in an agent's folder.
///
/// # Errors
/// As [`log`]. Without a log of its own an agent runs as well.
pub(crate) fn log_agent(args: &LogArgs, state: &Path) -> Result<(), CliError> {
    match diary::layer(state) {
        Ok(layer) => log_with(args, Some(layer)),
        Err(error) => {
            log_with(args, None)?;
            tracing::warn!("no log is kept in {}: {error}", state.display());
            Ok(())
        }
    }
}

fn log_with(args: &LogArgs, diary: Option<DiaryLayer>) -> Result<(), CliError> {
    let chosen = std::env::var(LOG_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let text = chosen.as_deref().unwrap_or(LOG_DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|error| {
        CliError::new(format!("{LOG_VARIABLE} is `{text}`, which is no filter: {error}")).help(format!(
            "write a level, or levels per part: `{LOG_VARIABLE}=debug` or `{LOG_VARIABLE}={LOG_DEFAULT}`"
        ))
    })?;
    let logger = tracing_subscriber::registry().with(diary);
    let layer = tracing_subscriber::fmt::layer();
    let set = if let Some(path) = &args.log_file {
        let file = LogFile::open(path)
            .map_err(|error| CliError::new(format!("cannot open the log {}: {error}", path.display())))?;
        logger.with(layer.with_ansi(false).with_writer(Mutex::new(file))).with(filter).try_init()
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        logger.with(layer.with_ansi(colours).with_writer(std::io::stderr)).with(filter).try_init()
    };
    set.map_err(|error| CliError::new(format!("the log cannot be set up: {error}")))
}

/// A file of bounded size that lines are added to.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_log(path)?;
        Ok(Self { path: path.to_owned(), length: file.metadata()?.len(), file })
    }
}

impl io::Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length > MAX_LOG_BYTES {
            // Where it cannot be moved, to go on is better than to be silent.
            match Self::open(&self.path) {
                Ok(fresh) => *self = fresh,
                Err(_) => self.length = 0,
            }
        }
        let count = self.file.write(bytes)?;
        self.length = self.length.saturating_add(u64::try_from(count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a log to add to it; one that has grown large is moved aside first.
///
/// # Errors
/// When it cannot be opened or moved.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > MAX_LOG_BYTES) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// SIGTERM, SIGINT and the end of the terminal, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Nothing when it does not count: under `nohup`, and after the first one. A terminal that goes away often tells
    /// twice, and the second time must not be taken for impatience.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn catch() -> Result<Self, CliError> {
        let catch = |kind| signal(kind).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")));
        let hangup = (!ignores_hangup()).then(|| catch(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())?, hangup })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = heard(self.hangup.as_mut()) => self.hangup = None,
        }
    }
}

async fn heard(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// True when whoever started us wants us to outlive the terminal, as `nohup` does: SIGHUP is ignored.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

/// Looks at the mask of ignored signals; the lowest bit is SIGHUP, signal 1.
fn is_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        let cause = cause.to_string();
        // Some libraries repeat their cause's text in their own.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_log_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogFile::open(&path).unwrap();
        let piece = [b'x'; 64 * 1024];
        for _ in 0..300 {
            log.write_all(&piece).unwrap();
        }
        let kept: u64 = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= 2 * (MAX_LOG_BYTES + 64 * 1024), "{kept}");
        assert!(path.exists() && path.with_extension("log.old").exists());
    }

    #[test]
    fn nohup_is_respected() {
        assert!(is_hangup_ignored("Name:\trobo\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"));
        assert!(!is_hangup_ignored("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!is_hangup_ignored("SigIgn:\tx\n"));
        assert!(!is_hangup_ignored(""));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start")]
        struct Outer(#[source] io::Error);
        let check = |error: &dyn Error, expect: &str| assert_eq!(with_causes(error), expect);
        check(&Outer(io::Error::other("no disk")), "cannot start: no disk");
        check(&io::Error::other("no disk"), "no disk");
    }
}
