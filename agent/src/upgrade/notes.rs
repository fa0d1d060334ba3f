//! What is kept of upgrades in the agent's folder.
//!
//! ```text
//! <state>/upgrade/<sha256>.part   a program as far as it came
//! <state>/upgrade/trial.json      a trial goes on, or was cut off
//! <state>/upgrade/outcome.json    how the last upgrade ended
//! ```

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use robo_model::quantity::Millis;
use robo_wire::api::LastUpgrade;
use robo_wire::upgrade::MAX_UPGRADE_REASON;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Fault, shortened};
use crate::code::Code;
use crate::folders::{Folders, absent_is_fine, create_dir, write_atomic};
use crate::keeper::proc::ProcessId;

/// A part that nobody continued for this time goes: long enough for a device that was away over a weekend.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Largest note that is read: far more than ours have.
const MAX_NOTE: u64 = 64 * 1024;

/// A note may name folders of the machine.
const PRIVATE: u32 = 0o600;

/// The ending of a program's name that is not whole yet.
const PART: &str = "part";

/// The notes of one agent.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    folder: PathBuf,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrialNote {
    /// Names the upgrade.
    pub(super) id: String,
    /// SHA-256 of the new program.
    pub(super) sha256: String,
    /// The manager's version, for people.
    #[serde(default)]
    pub(super) version: String,
    /// Where the program lies that is to be replaced.
    pub(super) program: PathBuf,
    /// How long the new one may take until it is welcomed.
    pub(super) time: Millis,
    /// The boot that the processes are of.
    #[serde(default)]
    pub(super) boot: String,
    /// The process that tries.
    #[serde(default)]
    pub(super) by: Option<ProcessId>,
    /// The new program's process.
    #[serde(default)]
    pub(super) child: Option<ProcessId>,
}

impl TrialNote {
    /// What is told when it ended so.
    pub(super) fn outcome(&self, ended: Result<(), Fault>) -> LastUpgrade {
        let (code, reason) = match ended {
            Ok(()) => (String::new(), String::new()),
            Err(fault) => (fault.code.to_string(), shortened(fault.reason, MAX_UPGRADE_REASON)),
        };
        LastUpgrade { id: self.id.clone(), sha256: self.sha256.clone(), at: crate::now(), code, reason }
    }
}

impl Notes {
    pub(super) fn of(folders: &Folders) -> Self {
        Self { folder: folders.upgrade() }
    }

    /// The folder, made where it is missing.
    pub(super) fn create(&self) -> io::Result<&Path> {
        create_dir(&self.folder)?;
        Ok(&self.folder)
    }

    /// Where the program with this SHA-256 comes to.
    pub(super) fn part(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256).with_extension(PART)
    }

    /// Removes all parts but this one.
    pub(super) fn keep_only(&self, sha256: &str) -> io::Result<()> {
        let kept = self.part(sha256);
        self.parts()?
            .into_iter()
            .filter(|part| *part != kept)
            .try_for_each(|part| absent_is_fine(fs::remove_file(part)))
    }

    fn parts(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == PART)).collect())
    }

    /// Removes parts that nobody will continue.
    pub(super) fn sweep(&self) {
        for part in self.parts().unwrap_or_default() {
            let changed = fs::metadata(&part).and_then(|about| about.modified()).ok();
            let age = changed.and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > OLD)
                && let Err(error) = fs::remove_file(&part)
            {
                tracing::debug!(%error, part = %part.display(), "what an old upgrade left cannot be removed");
            }
        }
    }

    fn trial_file(&self) -> PathBuf {
        self.folder.join("trial.json")
    }

    fn outcome_file(&self) -> PathBuf {
        self.folder.join("outcome.json")
    }

    /// The trial that goes on, or was cut off.
    pub(super) fn trial(&self) -> Option<TrialNote> {
        read(&self.trial_file())
    }

    /// Writes down a trial, on the disk.
    pub(super) fn write_trial(&self, note: &TrialNote) -> io::Result<()> {
        write_atomic(&self.trial_file(), &serde_json::to_vec(note)?, PRIVATE)
    }

    /// How the last upgrade ended.
    pub(super) fn outcome(&self) -> Option<LastUpgrade> {
        read(&self.outcome_file())
    }

    /// Writes down how it ended, and that no trial goes on; then what came for it goes.
    pub(super) fn write_outcome(&self, outcome: &LastUpgrade) -> io::Result<()> {
        write_atomic(&self.outcome_file(), &serde_json::to_vec(outcome)?, PRIVATE)?;
        absent_is_fine(fs::remove_file(self.trial_file()))?;
        absent_is_fine(fs::remove_file(self.part(&outcome.sha256)))
    }

    /// Writes down how a trial ended that was cut off. `own` is the SHA-256 of the program that runs: when it is the new
    /// one, that took its place before.
    pub(super) fn settle(&self, own: &str) {
        let Some(note) = self.trial() else { return };
        super::place::Place::of(&note.program).clear();
        let ended = if own == note.sha256 {
            Ok(())
        } else {
            Err(Fault::new(Code::UpgradeCut, "the agent or the machine was ended while the new program was tried"))
        };
        if let Err(error) = self.write_outcome(&note.outcome(ended)) {
            tracing::warn!(%error, "cannot write down how an upgrade ended");
        }
    }
}

/// A note that cannot be read is none.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_NOTE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%error, path = %path.display(), "a note of an upgrade cannot be read"))
        .ok()
}
