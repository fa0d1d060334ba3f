//! The ledger on disk.
//!
//! Each part is a file: one line `robo-ledger VERSION SHA256`, then JSON. It is written under another name, synced,
//! renamed over the old one, and the folder synced: after a crash there is the old part or the new one, never half.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use robo_model::resolve::Provider;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{Ledger, Part, What};

/// The version of the files that this agent writes; it reads all older ones.
const VERSION: u32 = 1;

/// The first word of each file.
const MAGIC: &str = "robo-ledger";

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

    /// Reads what is on disk: what to go on with after a [`LedgerStore::save`] that failed.
    ///
    /// # Errors
    /// When a part is damaged, of a newer version, or cannot be read.
    pub fn load(&self) -> Result<Ledger, LedgerError> {
        let providers: Vec<Provider> = self.read(Part::Imports)?;
        Ok(Ledger {
            assignment: self.read(Part::Assignment)?,
            imports: providers.into_iter().map(|provider| (provider.key.clone(), provider)).collect(),
            state: self.read(Part::State)?,
        })
    }

    /// Writes the parts of `ledger` that `what` names; when it returns they are on the disk. A part that could not
    /// be written is on disk as it was before.
    ///
    /// # Errors
    /// When the disk is full, or cannot be written for another reason.
    pub fn save(&self, ledger: &Ledger, what: What) -> Result<(), LedgerError> {
        for part in Part::ALL.into_iter().filter(|part| what.has(*part)) {
            let path = self.dir.join(part.file_name());
            let body = encode(ledger, part).map_err(|e| io_error("encode", &path, io::Error::other(e)))?;
            self.write(&path, &body)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, body: &[u8]) -> Result<(), LedgerError> {
        let temporary = path.with_extension("tmp");
        let written = private().truncate(true).open(&temporary).and_then(|mut file| {
            file.write_all(header(body).as_bytes())?;
            file.write_all(body)?;
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

    fn read<T: DeserializeOwned + Default>(&self, part: Part) -> Result<T, LedgerError> {
        let path = self.dir.join(part.file_name());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_PART_BYTES + 1).read_to_end(&mut bytes).map_err(|e| io_error("read", &path, e))?;
        let corrupt = |reason: String| LedgerError::Corrupt { path: path.clone(), reason };
        if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_PART_BYTES) {
            return Err(corrupt(format!("it is larger than {MAX_PART_BYTES} bytes")));
        }
        let body = match checked(&bytes) {
            Ok(body) => body,
            Err(Bad::Version(found)) => return Err(LedgerError::Newer { path, found }),
            Err(Bad::Header) => return Err(corrupt("its first line is not a ledger's".into())),
            Err(Bad::Checksum) => return Err(corrupt("its content does not match its checksum".into())),
        };
        serde_json::from_slice(body).map_err(|e| corrupt(e.to_string()))
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

fn encode(ledger: &Ledger, part: Part) -> serde_json::Result<Vec<u8>> {
    match part {
        Part::Assignment => serde_json::to_vec(&ledger.assignment),
        Part::Imports => serde_json::to_vec(&ledger.imports.values().collect::<Vec<_>>()),
        Part::State => serde_json::to_vec(&ledger.state),
    }
}

fn header(body: &[u8]) -> String {
    format!("{MAGIC} {VERSION} {}\n", hex::encode(Sha256::digest(body)))
}

enum Bad {
    Header,
    Version(u32),
    Checksum,
}

/// The body behind a header that fits it.
fn checked(bytes: &[u8]) -> Result<&[u8], Bad> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(Bad::Header)?;
    let (line, body) = bytes.split_at_checked(end + 1).ok_or(Bad::Header)?;
    let line = std::str::from_utf8(line).map_err(|_| Bad::Header)?;
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some(MAGIC) {
        return Err(Bad::Header);
    }
    // The version stands before the checksum so that a newer one may check in another way.
    let version: u32 = words.next().and_then(|word| word.parse().ok()).ok_or(Bad::Header)?;
    if version > VERSION {
        return Err(Bad::Version(version));
    }
    if words.next() == Some(hex::encode(Sha256::digest(body)).as_str()) { Ok(body) } else { Err(Bad::Checksum) }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::UnixMillis;
    use robo_model::spec::{Generation, InstanceSpec};

    use super::*;
    use crate::ledger::{Record, Run, Told};
    use crate::order::RunId;

    fn ledger() -> Ledger {
        let spec: InstanceSpec = serde_json::from_str(
            r#"{"key": {"application": "shop", "path": "/vm/web"}, "component": "Web", "installer": {"kind": "script"}}"#,
        )
        .unwrap();
        let provider: Provider = serde_json::from_str(
            r#"{"key": {"application": "shop", "path": "/b/db"}, "component": "Db", "exports": {"Db.ip": "10.0.0.2"}}"#,
        )
        .unwrap();
        let import = robo_model::graph::Import {
            prefix: "Db".parse().unwrap(),
            variable: None,
            optional: false,
            external: false,
        };
        let imports =
            robo_model::resolve::resolve(&InstanceSpec { imports: vec![import], ..spec.clone() }, [&provider]);
        let mut record = Record::new(spec.clone(), UnixMillis(7));
        record.told = Told { imports: imports.clone(), ..Told::default() };
        record.run = Some(Run {
            id: RunId(3),
            step: robo_model::state::Step::Update,
            aborted: false,
            cancelled_by: None,
            process: None,
            before: imports,
        });
        let mut ledger = Ledger::default();
        ledger.assignment.generation = Generation(4);
        ledger.assignment.instances.push(spec.clone());
        ledger.imports.insert(provider.key.clone(), provider);
        ledger.state.records.insert(spec.key, record);
        ledger
    }

    const ALL: What = What { assignment: true, imports: true, state: true };

    #[test]
    fn what_is_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, empty) = LedgerStore::open(dir.path()).unwrap();
        assert_eq!(empty, Ledger::default());
        store.save(&ledger(), ALL).unwrap();
        assert_eq!(store.load().unwrap(), ledger());
        store.save(&Ledger::default(), What { state: true, ..What::default() }).unwrap();
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
        store.save(&ledger(), ALL).unwrap();
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
        fs::write(&path, header(b"{}") + "{}").unwrap();
        assert!(matches!(store.load(), Err(LedgerError::Corrupt { .. })), "right checksum, wrong content");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_part_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = LedgerStore::open(dir.path()).unwrap();
        store.save(&ledger(), ALL).unwrap();
        fs::create_dir(dir.path().join("state.tmp")).unwrap();
        let error = store.save(&Ledger::default(), What { state: true, ..What::default() }).unwrap_err();
        assert!(error.to_string().contains("state.tmp"), "{error}");
        assert_eq!(store.load().unwrap(), ledger());
    }
}
