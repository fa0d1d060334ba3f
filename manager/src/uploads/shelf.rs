//! Where the content of files lies: `uploads/ID` once it is whole, `uploads/ID.part` until then.
//!
//! Names are identities that the manager made: nothing that a device or a user says becomes a path. What belongs to no
//! file that is known is removed at the start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use robo_model::name::UploadId;
use robo_wire::upload::UploadState;
use sha2::{Digest as _, Sha256};

/// What is not whole ends so.
const PART: &str = ".part";

/// Bytes read at a time to be hashed.
const PIECE: usize = 256 * 1024;

/// Bytes of the disk that files leave free: the store has to write, too.
pub(super) const LEFT_FREE: u64 = 64 * 1024 * 1024;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
}

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    hash: Sha256,
    place: u64,
}

impl Shelf {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn whole(&self, id: &UploadId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    fn part(&self, id: &UploadId) -> PathBuf {
        self.folder.join(format!("{id}{PART}"))
    }

    fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// Removes what belongs to none of `known`, or to one that is over and has no content. Gives how many went.
    pub(super) fn sweep(&self, known: &BTreeMap<UploadId, UploadState>) -> io::Result<usize> {
        self.create()?;
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_str().unwrap_or_default();
            let (id, is_part) = text.strip_suffix(PART).map_or((text, false), |id| (id, true));
            let state = UploadId::new(id).ok().and_then(|id| known.get(&id).copied());
            let is_needed = match state {
                Some(UploadState::Completed) => !is_part,
                Some(UploadState::Pending | UploadState::InProgress) => true,
                Some(UploadState::Failed | UploadState::Cancelled) | None => false,
            };
            if !is_needed && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Bytes that may be written before the disk counts as full.
    pub(super) fn room(&self) -> io::Result<u64> {
        self.create()?;
        let disk = rustix::fs::statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(LEFT_FREE))
    }

    /// Takes up what is there of a file, or begins it. What is there and has more than `most` bytes is of another one.
    pub(super) fn take_up(&self, id: &UploadId, most: u64) -> io::Result<Part> {
        self.create()?;
        let (whole, part) = (self.whole(id), self.part(id));
        if whole.exists() {
            // It was whole, and the manager ended before it could say so.
            fs::rename(&whole, &part)?;
        }
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&part)?;
        let there = file.metadata()?.len();
        let (mut hash, mut place) = (Sha256::new(), 0);
        if there <= most {
            let mut piece = vec![0; PIECE];
            loop {
                let read = file.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                hash.update(piece.get(..read).unwrap_or_default());
                place += read as u64;
            }
        } else {
            file.set_len(0)?;
        }
        file.seek(SeekFrom::Start(place))?;
        Ok(Part { file, hash, place })
    }

    /// Bytes of a file that is not whole.
    pub(super) fn size_of_part(&self, id: &UploadId) -> u64 {
        let size = |path| fs::metadata(path).map(|metadata| metadata.len()).ok();
        size(self.part(id)).or_else(|| size(self.whole(id))).unwrap_or(0)
    }

    /// The file is whole: it gets its name, and is on the disk when this returns.
    pub(super) fn keep(&self, id: &UploadId, part: Part) -> io::Result<()> {
        let Part { mut file, .. } = part;
        file.flush()?;
        file.sync_all()?;
        fs::rename(self.part(id), self.whole(id))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what there is of a file.
    pub(super) fn remove(&self, id: &UploadId) {
        for path in [self.part(id), self.whole(id)] {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The next start tries again.
                Err(error) => tracing::warn!(%error, "cannot remove {}", path.display()),
            }
        }
    }

    /// The whole file, from byte `from` on, and its size.
    pub(super) fn read(&self, id: &UploadId, from: u64) -> io::Result<(File, u64)> {
        let mut file = File::open(self.whole(id))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(from))?;
        Ok((file, size))
    }
}

impl Part {
    /// How much is there.
    pub(super) const fn place(&self) -> u64 {
        self.place
    }

    /// The SHA-256 of what is there.
    pub(super) fn sha256(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// Adds content behind what is there.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.hash.update(data);
        self.place += data.len() as u64;
        Ok(())
    }

    /// Throws away what is there.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hash, self.place) = (Sha256::new(), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UploadId {
        text.parse().unwrap()
    }

    #[test]
    fn what_belongs_to_nobody_goes_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("uploads"));
        shelf.create().unwrap();
        for name in ["a", "a.part", "b.part", "b", "c.part", "d", "e", "x.part", "no name"] {
            fs::write(shelf.folder.join(name), name).unwrap();
        }
        let known = BTreeMap::from([
            (id("a"), UploadState::Completed),
            (id("b"), UploadState::Pending),
            (id("c"), UploadState::Failed),
            (id("d"), UploadState::Cancelled),
        ]);
        assert_eq!(shelf.sweep(&known).unwrap(), 6);
        let mut left: Vec<_> = fs::read_dir(&shelf.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "b", "b.part"]);
    }

    #[test]
    fn a_part_is_taken_up_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("uploads"));
        let mut part = shelf.take_up(&id("a"), 10).unwrap();
        part.write(b"12345").unwrap();
        drop(part);
        assert_eq!(shelf.size_of_part(&id("a")), 5);
        let mut part = shelf.take_up(&id("a"), 10).unwrap();
        assert_eq!((part.place(), part.sha256()), (5, hex::encode(Sha256::digest(b"12345"))));
        part.write(b"6").unwrap();
        shelf.keep(&id("a"), part).unwrap();
        assert_eq!(shelf.read(&id("a"), 4).unwrap().1, 6);
        // The manager ended before it could say that it is whole.
        let part = shelf.take_up(&id("a"), 10).unwrap();
        assert_eq!(part.place(), 6);
        drop(part);
        let part = shelf.take_up(&id("a"), 3).unwrap();
        assert_eq!(part.place(), 0, "of a larger file there is nothing to go on with");
        shelf.remove(&id("a"));
        assert!(shelf.read(&id("a"), 0).is_err());
    }
}
