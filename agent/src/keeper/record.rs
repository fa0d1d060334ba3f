//! What lies in the folder of a run: what to run, what runs, and how it ended.
//!
//! ```text
//! lock        held by the keeper for as long as it lives
//! spec.json   written by the agent before the keeper begins
//! run.json    written by the keeper before the program begins, and again when its process id is known
//! exit.json   written by the keeper when the program has ended
//! keeper      a named pipe: its write end is closed when exit.json is there, or the keeper is gone
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use robo_model::quantity::UnixMillis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::proc::ProcessId;
use crate::folders::write_atomic;

/// Environments may hold secrets.
const PRIVATE: u32 = 0o600;

/// Largest record that is read: a command line and its environment have at most 2 MiB, escaped at most six times that.
const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;

/// The folder of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// What a keeper runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The program's path, and its arguments.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The working folder.
    pub(crate) cwd: PathBuf,
    /// Whom to run it as; the agent's own user where none is given.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// The folder of the log.
    pub(crate) logs: PathBuf,
    /// When the run was ordered; deadlines count from here.
    pub(crate) begun_at: UnixMillis,
    /// How many files it may have open, until it asks for more; as many as the keeper where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) open_files: Option<u64>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The boot that the process ids belong to.
    pub(crate) boot: String,
    /// The keeper; it leads a session, which everything the program starts belongs to.
    pub(crate) keeper: ProcessId,
    /// The program; nothing until it is known.
    #[serde(default)]
    pub(crate) child: Option<ProcessId>,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The exit code; nothing when a signal ended it.
    #[serde(default)]
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub(crate) signal: Option<i32>,
    /// Why it never began, or why nobody knows how it ended.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// Its last lines.
    #[serde(default)]
    pub(crate) output: Vec<String>,
    /// When.
    #[serde(default)]
    pub(crate) ended_at: UnixMillis,
}

impl RunFolder {
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn pipe(&self) -> PathBuf {
        self.path.join("keeper")
    }

    /// Takes the run's lock; nothing when a keeper has it.
    pub(crate) fn try_lock(&self) -> io::Result<Option<File>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    pub(crate) fn spec(&self) -> io::Result<Option<Spec>> {
        self.read("spec.json")
    }

    pub(crate) fn running(&self) -> io::Result<Option<Running>> {
        self.read("run.json")
    }

    pub(crate) fn exit(&self) -> io::Result<Option<Exit>> {
        self.read("exit.json")
    }

    pub(crate) fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        self.write("spec.json", spec)
    }

    pub(crate) fn write_running(&self, running: &Running) -> io::Result<()> {
        self.write("run.json", running)
    }

    pub(crate) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        self.write("exit.json", exit)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        use std::io::Read as _;
        let file = match File::open(self.path.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
        let path = self.path.join(name);
        let broken = |e| io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged: {e}", path.display()));
        serde_json::from_slice(&bytes).map(Some).map_err(broken)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        write_atomic(&self.path.join(name), &serde_json::to_vec(value)?, PRIVATE)
    }
}

impl Exit {
    /// An end without a program's own: `reason` says why.
    pub(crate) fn error(reason: impl Into<String>) -> Self {
        Self { error: Some(reason.into()), ended_at: crate::now(), ..Self::default() }
    }

    /// One sentence without its subject: `ended with exit code 3`.
    pub(crate) fn sentence(&self) -> String {
        match (&self.error, self.code, self.signal) {
            (Some(error), ..) => error.clone(),
            (None, Some(code), _) => format!("ended with exit code {code}"),
            (None, None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
            (None, None, None) => "ended, and nobody saw how".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        4 => " (ILL)",
        6 => " (ABRT)",
        7 => " (BUS)",
        8 => " (FPE)",
        9 => " (KILL)",
        10 => " (USR1)",
        11 => " (SEGV)",
        12 => " (USR2)",
        13 => " (PIPE)",
        14 => " (ALRM)",
        15 => " (TERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_written() {
        let temporary = tempfile::tempdir().unwrap();
        let run = RunFolder::at(temporary.path().to_owned());
        assert_eq!(run.exit().unwrap(), None);
        let exit = Exit { code: Some(3), output: vec!["a".into()], ..Exit::default() };
        run.write_exit(&exit).unwrap();
        assert_eq!(run.exit().unwrap(), Some(exit));
        std::fs::write(temporary.path().join("run.json"), "{").unwrap();
        assert!(run.running().unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_lock_is_taken_once() {
        let temporary = tempfile::tempdir().unwrap();
        let run = RunFolder::at(temporary.path().to_owned());
        let held = run.try_lock().unwrap();
        assert!(held.is_some() && run.try_lock().unwrap().is_none());
        drop(held);
        assert!(run.try_lock().unwrap().is_some());
    }

    #[test]
    fn ends_are_told_in_words() {
        let check = |exit: Exit, expect: &str| assert_eq!(exit.sentence(), expect);
        check(Exit { code: Some(3), ..Exit::default() }, "ended with exit code 3");
        check(Exit { signal: Some(9), ..Exit::default() }, "was killed by signal 9 (KILL)");
        check(Exit { signal: Some(40), ..Exit::default() }, "was killed by signal 40");
        check(Exit::error("no such user"), "no such user");
    }
}
