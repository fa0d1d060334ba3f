//! The ledger on disk.
//!
//! Each part is a file. It is written under another name, synced, renamed over the old one, and the folder synced:
//! after a crash there is the old part or the new one, never half. The one before stays as `PART.old`: should a disk
//! spoil the newest, [`super::recover`] goes on from there. What is damaged is moved aside as `PART.damaged-1` and so
//! on, for people to look at; a file of a newer version is never touched.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Damage, Ledger, Part, VERSION, decode};
use crate::lock;

/// Larger than the ledger of the largest device by far; keeps a damaged folder from filling memory.
const MAX_PART_BYTES: u64 = 1 << 30;

/// Damaged files of one part that are kept: enough to see what a disk does. Further ones replace the last.
const MAX_DAMAGED: u32 = 9;

/// What was found of a ledger.
#[derive(Debug, Default)]
pub struct Found {
    /// What could be read.
    pub ledger: Ledger,
    /// Where each part of it comes from.
    pub origins: BTreeMap<Part, Origin>,
}

/// Where a part of a ledger comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From its file.
    Whole,
    /// There is no file, and none from before.
    Missing,
    /// From the file of before, which lacks the last change; this is wrong with the newest, if it is there.
    Before(Option<Damage>),
    /// From nowhere: its file is damaged so, and there is none from before that is of any use.
    Lost(Damage),
}

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
    /// A newer agent wrote it.
    #[error(
        "the ledger file {} has version {found}, this agent reads up to {VERSION}; run the newer agent again. \
         Nothing was touched, and what runs on this machine runs on", path.display()
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
    /// Opens the ledger in `dir`, made where it is missing, and reads it. Damaged files are moved aside.
    ///
    /// # Errors
    /// See [`LedgerError`]; nothing is changed then.
    pub fn open(dir: &Path) -> Result<(Self, Found), LedgerError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| io_error("make", dir, e))?;
        let lock_path = dir.join("lock");
        let lock = private().truncate(false).open(&lock_path).map_err(|e| io_error("open", &lock_path, e))?;
        if !lock::take(&lock).map_err(|e| io_error("lock", &lock_path, e))? {
            return Err(LedgerError::InUse { dir: dir.to_owned() });
        }
        let folder = File::open(dir).map_err(|e| io_error("open", dir, e))?;
        let store = Self { dir: dir.to_owned(), folder, _lock: lock };
        // A newer version is found before anything is changed.
        let found = Self::inspect(dir)?;
        for (part, origin) in &found.origins {
            if let Origin::Before(Some(_)) | Origin::Lost(_) = origin {
                store.put_aside(*part)?;
            }
        }
        Ok((store, found))
    }

    /// Reads the ledger in `dir` and changes nothing, also while an agent holds it.
    ///
    /// # Errors
    /// When a file cannot be opened, or a newer agent wrote it.
    pub fn inspect(dir: &Path) -> Result<Found, LedgerError> {
        let newest = |part: Part| dir.join(part.file_name());
        let mut found = Found::default();
        for part in Part::ALL {
            let origin = match read(&newest(part), part, &mut found.ledger)? {
                Some(Ok(())) => Origin::Whole,
                damaged => {
                    let before = read(&newest(part).with_extension("old"), part, &mut found.ledger)?;
                    match (damaged.and_then(Result::err), before) {
                        (damage, Some(Ok(()))) => Origin::Before(damage),
                        (Some(damage), Some(Err(_)) | None) | (None, Some(Err(damage))) => Origin::Lost(damage),
                        (None, None) => Origin::Missing,
                    }
                }
            };
            found.origins.insert(part, origin);
        }
        Ok(found)
    }

    fn put_aside(&self, part: Part) -> Result<(), LedgerError> {
        let path = self.newest(part);
        if !path.exists() {
            return Ok(());
        }
        let aside = |n: u32| path.with_extension(format!("damaged-{n}"));
        let free = (1..MAX_DAMAGED).map(aside).find(|aside| !aside.exists()).unwrap_or_else(|| aside(MAX_DAMAGED));
        fs::rename(&path, &free).map_err(|e| io_error("move aside", &path, e))
    }

    fn newest(&self, part: Part) -> PathBuf {
        self.dir.join(part.file_name())
    }

    fn before(&self, part: Part) -> PathBuf {
        self.newest(part).with_extension("old")
    }

    /// Writes these files, as [`super::encode`] makes them; when it returns they are on the disk. One that could not be
    /// written is on disk as it was before.
    ///
    /// # Errors
    /// When the disk is full, or cannot be written for another reason.
    pub fn save(&self, files: &[(Part, Vec<u8>)]) -> Result<(), LedgerError> {
        files.iter().try_for_each(|(part, bytes)| self.write(*part, bytes))
    }

    fn write(&self, part: Part, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = &self.newest(part);
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
        self.keep_before(part);
        fs::rename(&temporary, path).map_err(|e| io_error("replace", path, e))?;
        self.folder.sync_all().map_err(|e| io_error("sync", &self.dir, e))
    }

    /// The newest file is about to be replaced. There is no moment without one; where a second name cannot be given
    /// (some file systems know none), it is that of before for a moment.
    fn keep_before(&self, part: Part) {
        let (newest, before) = (self.newest(part), self.before(part));
        drop(fs::remove_file(&before));
        if fs::hard_link(&newest, &before).is_err() {
            // The first write of all has nothing to keep.
            drop(fs::rename(&newest, &before));
        }
    }
}

/// Nothing where there is no such file.
fn read(path: &Path, part: Part, ledger: &mut Ledger) -> Result<Option<Result<(), Damage>>, LedgerError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("open", path, e)),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_PART_BYTES).read_to_end(&mut bytes);
    // A disk that gives a part of a file only, or nothing, has damaged it as well.
    let read = read.map_or_else(|e| Err(Damage::Unreadable(e.to_string())), |_| decode(part, &bytes, ledger));
    match read {
        Err(Damage::Newer(found)) => Err(LedgerError::Newer { path: path.to_owned(), found }),
        other => Ok(Some(other)),
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
    use crate::ledger::{What, encode, examples};

    const ALL: What = What { assignment: true, imports: true, state: true };

    fn save(store: &LedgerStore, ledger: &Ledger, what: What) -> Result<(), LedgerError> {
        store.save(&what.parts().map(|part| (part, encode(ledger, part))).collect::<Vec<_>>())
    }

    fn load(dir: &Path) -> Found {
        LedgerStore::open(dir).unwrap().1
    }

    fn state(ledger: &Ledger) -> What {
        assert_ne!(ledger.state, examples::ledger().state);
        What { state: true, ..What::default() }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, empty) = LedgerStore::open(dir.path()).unwrap();
        assert_eq!(empty.ledger, Ledger::default());
        assert!(empty.origins.values().all(|origin| *origin == Origin::Missing));
        save(&store, &examples::ledger(), ALL).unwrap();
        save(&store, &Ledger::default(), state(&Ledger::default())).unwrap();
        drop(store);
        let found = load(dir.path());
        assert_eq!(found.ledger.assignment, examples::ledger().assignment);
        assert!(found.ledger.state.records.is_empty());
        assert!(found.origins.values().all(|origin| *origin == Origin::Whole));
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
    fn a_damaged_part_is_put_aside_and_the_one_before_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        save(&store, &examples::ledger(), ALL).unwrap();
        save(&store, &Ledger::default(), state(&Ledger::default())).unwrap();
        drop(store);
        let (newest, before) = (dir.path().join("state"), dir.path().join("state.old"));
        fs::write(dir.path().join("state.tmp"), "robo-led").unwrap();
        for n in 1..=MAX_DAMAGED + 2 {
            fs::write(&newest, "robo-led").unwrap();
            let found = load(dir.path());
            assert_eq!(found.origins[&Part::State], Origin::Before(Some(Damage::Torn(8))));
            assert_eq!(found.ledger, examples::ledger());
            assert!(!newest.exists() && dir.path().join(format!("state.damaged-{}", n.min(MAX_DAMAGED))).exists());
        }
        // As after a crash between two renames.
        assert_eq!(load(dir.path()).origins[&Part::State], Origin::Before(None));
        fs::write(&before, "what?\n").unwrap();
        let found = load(dir.path());
        assert_eq!(found.origins[&Part::State], Origin::Lost(Damage::Foreign));
        assert_eq!((found.origins[&Part::Assignment].clone(), before.exists()), (Origin::Whole, true));
    }

    #[test]
    fn a_newer_version_is_refused_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        save(&store, &examples::ledger(), ALL).unwrap();
        drop(store);
        fs::write(dir.path().join("assignment"), "garbage").unwrap();
        fs::write(dir.path().join("state"), "robo-ledger 99 whatever\n").unwrap();
        let error = LedgerStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, LedgerError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("runs on"), "{error}");
        assert_eq!(fs::read(dir.path().join("assignment")).unwrap(), b"garbage");
        assert!(!dir.path().join("assignment.damaged-1").exists());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_part_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        save(&store, &examples::ledger(), ALL).unwrap();
        fs::create_dir(dir.path().join("state.tmp")).unwrap();
        let error = save(&store, &Ledger::default(), state(&Ledger::default())).unwrap_err();
        assert!(error.to_string().contains("state.tmp"), "{error}");
        drop(store);
        assert_eq!(load(dir.path()).ledger, examples::ledger());
    }
}
