//! The program that runs: where it lies, what it was started with, and what is to come of this process when it is over.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::api::LastUpgrade;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, OnceCell, oneshot};

use super::notes::{Notes, TrialNote};
use super::trial;
use crate::folders::Folders;
use crate::{ledger, limits};

/// The program that runs, even after its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long a new program may take until the manager has welcomed it. A link that is down comes back within a minute.
const TRIAL_TIME: Duration = Duration::from_secs(120);

/// Bytes read from the disk at a time.
const PIECE: usize = 64 * 1024;

/// An option whose value is of no use to an agent that is enrolled: its file, or what was on standard input, may be gone.
const TOKEN_OPTION: &str = "--token-file";

/// The program of this process, as an agent that may replace it.
#[derive(Debug)]
pub struct Own {
    /// Where it lay when this process began.
    program: PathBuf,
    /// What runs, even after that file was replaced.
    exe: PathBuf,
    /// What it is called in lists of processes.
    name: OsString,
    arguments: Vec<OsString>,
    time: Duration,
    /// In a trial: ends when the process that tries this one is gone.
    lifeline: Option<Mutex<Option<oneshot::Receiver<()>>>>,
    digest: OnceCell<String>,
    last: Mutex<Option<LastUpgrade>>,
    /// Set when this process is to become a trial.
    state: Mutex<Option<PathBuf>>,
    begun: Notify,
    /// What is told of it is another thing than it was.
    moved: Notify,
    told: OnceLock<()>,
}

/// Why this program cannot begin in a trial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this agent writes a ledger of version {VERSION}, which the one before cannot read (up to {before}): run the line that installs \
     it instead", VERSION = ledger::VERSION
)]
pub struct LedgerAhead {
    before: u32,
}

impl Own {
    /// The program of this process; nothing where the system does not say where it lies. To be asked early: a file that is
    /// replaced later is not it. A new program may take `time` until it is welcomed.
    ///
    /// # Errors
    /// When this is a trial, and the one before could not go on from what this one writes.
    pub fn of_this_process(time: Option<Millis>) -> Result<Option<Arc<Self>>, LedgerAhead> {
        let tried = std::env::var(trial::VARIABLE).ok();
        if let Some(before) = tried.as_ref().map(|text| text.parse().unwrap_or(0)).filter(|v| *v < ledger::VERSION) {
            return Err(LedgerAhead { before });
        }
        let Ok(program) = fs::read_link(THIS_PROGRAM) else { return Ok(None) };
        let mut words = std::env::args_os();
        let name = words.next().unwrap_or_else(|| "robo-agent".into());
        let lifeline = tried.is_some().then(|| Mutex::new(Some(lifeline())));
        let time = time.map_or(TRIAL_TIME, Millis::duration);
        Ok(Some(Arc::new(Self { lifeline, ..Self::new(program, name, without_token(words), time) })))
    }

    pub(super) fn new(program: PathBuf, name: OsString, arguments: Vec<OsString>, time: Duration) -> Self {
        Self {
            program,
            exe: THIS_PROGRAM.into(),
            name,
            arguments,
            time,
            lifeline: None,
            digest: OnceCell::new(),
            last: Mutex::new(None),
            state: Mutex::new(None),
            begun: Notify::new(),
            moved: Notify::new(),
            told: OnceLock::new(),
        }
    }

    /// The same, where something else runs.
    #[cfg(test)]
    pub(super) fn running(self, exe: PathBuf) -> Self {
        Self { exe, ..self }
    }

    /// Where it lay when this process began.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// How long a new program may take.
    pub(super) const fn time(&self) -> Duration {
        self.time
    }

    /// True while another process tries this one.
    #[must_use]
    pub const fn is_tried(&self) -> bool {
        self.lifeline.is_some()
    }

    /// True while what lies in its place is what runs.
    pub(super) fn is_in_place(&self) -> bool {
        let file = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
        file(&self.program).is_some_and(|there| Some(there) == file(&self.exe))
    }

    /// Its SHA-256 in hexadecimal; reads it the first time.
    pub(super) async fn digest(&self) -> io::Result<&str> {
        let exe = self.exe.clone();
        let read = || async { tokio::task::spawn_blocking(move || hashed(&exe)).await? };
        self.digest.get_or_try_init(read).await.map(String::as_str)
    }

    /// The same, where it was read.
    #[must_use]
    pub fn known_digest(&self) -> Option<&str> {
        self.digest.get().map(String::as_str)
    }

    /// How the last upgrade ended.
    #[must_use]
    pub fn last(&self) -> Option<LastUpgrade> {
        self.kept().clone()
    }

    /// Reads how the last upgrade ended.
    pub(crate) fn recall(&self, folders: &Folders) {
        self.recall_from(&Notes::of(folders));
    }

    pub(super) fn recall_from(&self, notes: &Notes) {
        *self.kept() = notes.outcome();
        self.moved.notify_one();
    }

    /// Waits until what is told of this program is another thing than it was.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Reads the program, and writes down what came of a trial that was cut off. Takes a while.
    pub(crate) async fn look(&self, folders: &Folders) {
        let notes = Notes::of(folders);
        match self.digest().await {
            Ok(digest) if !self.is_tried() => notes.settle(digest),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the agent's own program"),
        }
        notes.sweep();
        self.recall_from(&notes);
    }

    fn kept(&self) -> MutexGuard<'_, Option<LastUpgrade>> {
        // Nothing panics while it holds the lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manager has welcomed this agent: whoever tries it is told, once.
    pub(crate) fn welcomed(&self) {
        if self.is_tried() && self.told.set(()).is_ok() {
            let mut out = io::stdout().lock();
            // Who is gone ends us by the other pipe.
            drop(out.write_all(trial::WELCOMED.as_bytes()).and_then(|()| out.flush()));
        }
    }

    /// Waits until whoever tries this program is gone; for ever where nobody does.
    pub(crate) async fn abandoned(&self) {
        let line = self.lifeline.as_ref().and_then(|line| line.lock().unwrap_or_else(PoisonError::into_inner).take());
        match line {
            Some(line) => drop(line.await),
            None => std::future::pending().await,
        }
    }

    /// This process is to become the trial that `note` describes.
    pub(super) fn begin(&self, note: &TrialNote, state: &Path) {
        tracing::info!(sha256 = note.sha256, version = note.version, "trying another program in the place of this one");
        *self.next() = Some(state.to_owned());
        self.begun.notify_one();
    }

    fn next(&self) -> MutexGuard<'_, Option<PathBuf>> {
        // As above.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent was told to end: it becomes nothing any more.
    pub(crate) fn stay(&self) {
        self.next().take();
    }

    /// Waits until this process is to become a trial.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Becomes the trial, if one was begun. To be called when nothing of the agent runs any more. Comes back where there
    /// is nothing to do, and where that cannot be.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn go_on(&self) -> io::Result<()> {
        let Some(state) = self.next().take() else { return Ok(()) };
        limits::restore();
        let mut command = Command::new(&self.program);
        command.arg0(&self.name).arg(trial::ARGUMENT).arg(state).arg(&self.name).args(&self.arguments);
        Err(command.exec())
    }
}

/// Is at its end when standard input is: the other end of that pipe goes with the process that tries this one.
fn lifeline() -> oneshot::Receiver<()> {
    let (give, take) = oneshot::channel();
    // A thread, for a read of standard input cannot be given up. It ends with the process.
    std::thread::spawn(move || {
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        drop(give);
    });
    take
}

/// All words but a token: whoever was here is enrolled.
fn without_token(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut left = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word == TOKEN_OPTION {
            words.next();
        } else if !word.to_string_lossy().starts_with(&format!("{TOKEN_OPTION}=")) {
            left.push(word);
        }
    }
    left
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn hashed(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some([]) | None => return Ok(hex::encode(hash.finalize())),
            Some(bytes) => hash.update(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_given_on() {
        let check = |line: &str, expect: &str| {
            let left = without_token(line.split(' ').map(OsString::from));
            assert_eq!(left, expect.split(' ').map(OsString::from).collect::<Vec<_>>(), "{line}");
        };
        check("--manager m --token-file t --state s", "--manager m --state s");
        check("--token-file=- --manager m", "--manager m");
        check("--manager m --token-file", "--manager m");
        check("--manager --token-files", "--manager --token-files");
    }

    #[tokio::test]
    async fn a_process_knows_its_own_program() {
        let own = Own::of_this_process(None).unwrap().unwrap();
        assert!(own.is_in_place() && !own.is_tried() && own.known_digest().is_none());
        assert_eq!(own.digest().await.unwrap(), hashed(own.program()).unwrap());
        let other = Own::new("/bin/sh".into(), "sh".into(), Vec::new(), TRIAL_TIME);
        assert!(!other.is_in_place() && other.go_on().is_ok(), "nothing was begun");
    }
}
