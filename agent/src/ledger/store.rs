//! The ledger on disk.
//!
//! Each part is a file. It is written under another name, synced, renamed over the old one, and the folder synced:
//! after a crash there is the old part or the new one, never half.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Damage, Ledger, Part, VERSION, decode};

/// Larger than the ledger of the largest device by far; keeps a damaged folder from filling memory.
const MAX_PART_BYTES: u64 = 1 << 30;

/// Holds the ledger's folder; one at a time.
#[derive(Debug)]
pub struct LedgerStore {
    dir: PathBuf,
    /// Open for the folder to be synced after a rename.
    folder: File,
    /// Locked as long as this lives, so that two agents never share a ledger.
    _lock: File,
}

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk is full, the folder is not writable, and the like.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done: `write`.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what was once written.
    #[error(
        "the ledger file {} is damaged: {reason}; restore it, or move the whole folder away to begin anew \
         (what runs on this machine must then be ended by hand)", path.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer agent wrote it.
    #[error(
        "the ledger file {} has version {found}, this agent reads up to {VERSION}; run the newer agent again",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Another agent holds it.
    #[error("another agent uses the ledger in {}; end it first, or give this one another folder", dir.display())]
    InUse {
        /// Its folder.
        dir: PathBuf,
    },
}

impl LedgerStore {
    /// Opens the ledger in `dir`, made where it is missing, and reads it; what is missing is empty.
    ///
    /// # Errors
    /// See [`LedgerError`]; nothing is changed then.
    pub fn open(dir: &Path) -> Result<(Self, Ledger), LedgerError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| io_error("make", dir, e))?;
        let lock_path = dir.join("lock");
        let lock = private().truncate(false).open(&lock_path).map_err(|e| io_error("open", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &lock_path, e)),
        }
        let folder = File::open(dir).map_err(|e| io_error("open", dir, e))?;
        let store = Self { dir: dir.to_owned(), folder, _lock: lock };
        let ledger = store.load()?;
        Ok((store, ledger))
    }

    /// Reads what is on disk.
    ///
    /// # Errors
    /// When a part is damaged, of a newer version, or cannot be read.
    pub fn load(&self) -> Result<Ledger, LedgerError> {
        let mut ledger = Ledger::default();
        for part in Part::ALL {
            self.read(part, &mut ledger)?;
        }
        Ok(ledger)
    }

    /// Writes these files, as [`super::encode`] makes them; when it returns they are on the disk. One that could not be
    /// written is on disk as it was before.
    ///
    /// # Errors
    /// When the disk is full, or cannot be written for another reason.
    pub fn save(&self, files: &[(Part, Vec<u8>)]) -> Result<(), LedgerError> {
        files.iter().try_for_each(|(part, bytes)| self.write(&self.dir.join(part.file_name()), bytes))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
        let temporary = path.with_extension("tmp");
        let written = private().truncate(true).open(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(e) = written {
            // What is left of it fills the disk further. That it cannot be removed changes nothing.
            drop(fs::remove_file(&temporary));
            return Err(io_error("write", &temporary, e));
        }
        fs::rename(&temporary, path).map_err(|e| io_error("replace", path, e))?;
        self.folder.sync_all().map_err(|e| io_error("sync", &self.dir, e))
    }

    fn read(&self, part: Part, ledger: &mut Ledger) -> Result<(), LedgerError> {
        let path = self.dir.join(part.file_name());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_PART_BYTES + 1).read_to_end(&mut bytes).map_err(|e| io_error("read", &path, e))?;
        decode(part, &bytes, ledger).map_err(|damage| {
            if let Damage::Newer(found) = damage {
                LedgerError::Newer { path, found }
            } else {
                LedgerError::Corrupt { path, reason: damage.to_string() }
            }
        })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{What, encode, examples::ledger};

    const ALL: What = What { assignment: true, imports: true, state: true };

    fn save(store: &LedgerStore, ledger: &Ledger, what: What) -> Result<(), LedgerError> {
        store.save(&what.parts().map(|part| (part, encode(ledger, part))).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, empty) = LedgerStore::open(dir.path()).unwrap();
        assert_eq!(empty, Ledger::default());
        save(&store, &ledger(), ALL).unwrap();
        assert_eq!(store.load().unwrap(), ledger());
        save(&store, &Ledger::default(), What { state: true, ..What::default() }).unwrap();
        let mixed = store.load().unwrap();
        assert_eq!(mixed.assignment, ledger().assignment);
        assert!(mixed.state.records.is_empty());
    }

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        assert!(matches!(LedgerStore::open(dir.path()), Err(LedgerError::InUse { .. })));
        drop(store);
        assert!(LedgerStore::open(dir.path()).is_ok());
    }

    #[test]
    fn a_damaged_file_is_told_from_a_newer_one_and_a_torn_write_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        save(&store, &ledger(), ALL).unwrap();
        fs::write(dir.path().join("state.tmp"), "robo-led").unwrap();
        assert_eq!(store.load().unwrap(), ledger());

        let path = dir.path().join("state");
        let good = fs::read(&path).unwrap();
        for cut in [0, 5, 20, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            assert!(matches!(store.load(), Err(LedgerError::Corrupt { .. })), "cut at {cut}");
        }
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(store.load(), Err(LedgerError::Corrupt { .. })));
        fs::write(&path, "robo-ledger 99 whatever\n").unwrap();
        assert!(matches!(store.load(), Err(LedgerError::Newer { found: 99, .. })));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_part_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        save(&store, &ledger(), ALL).unwrap();
        fs::create_dir(dir.path().join("state.tmp")).unwrap();
        let error = save(&store, &Ledger::default(), What { state: true, ..What::default() }).unwrap_err();
        assert!(error.to_string().contains("state.tmp"), "{error}");
        assert_eq!(store.load().unwrap(), ledger());
    }
}
