//! Files that are not whole yet: each lies beside the file that it will be, under a name of its own, and is continued
//! by the next copy to the same place. The old file stays until the new one is whole, checked and on the disk.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use robo_wire::copy::{End, RawPath, Want};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, fstatvfs, ftruncate, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::fault::{explain, explain_io};
use super::place::Look;

/// What such a file's name begins with, and ends with.
const BEGIN: &[u8] = b".robo-";
const ENDING: &[u8] = b".part";

/// A part that nobody continued for this time is removed by the next copy into its folder: long enough for a device
/// that was away over a weekend.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a copy waits for another one to the same place: one whose connection was cut ends within seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);

/// How often the lock is tried.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Bytes read at a time to be hashed.
const PIECE: usize = 256 * 1024;

/// The name of what is not whole yet, for a file or a folder of this name. Another size is another copy.
pub(super) fn part_name(leaf: &[u8], size: Option<u64>) -> Vec<u8> {
    let hash = Sha256::new().chain_update(leaf).chain_update([0]).chain_update(format!("{size:?}")).finalize();
    let id = hex::encode(hash.get(..8).unwrap_or_default());
    [BEGIN, id.as_bytes(), ENDING].concat()
}

/// True for the names of parts.
pub(super) fn is_part(leaf: &[u8]) -> bool {
    leaf.strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(ENDING))
        .is_some_and(|id| id.len() == 16 && id.iter().all(u8::is_ascii_hexdigit))
}

/// Removes parts in `folder` that nobody will continue.
pub(super) fn sweep(folder: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_part(entry.file_name().as_bytes())) {
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > OLD) {
            let path = entry.path();
            let removed = if metadata.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::debug!(%error, path = %path.display(), "what an old copy left cannot be removed");
            }
        }
    }
}

/// Hashes the first `bytes` of a file; gives how many there were.
pub(super) fn hash_file(file: &mut File, bytes: u64, hash: &mut Sha256) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let (mut piece, mut done) = (vec![0; PIECE], 0);
    while done < bytes {
        let room = usize::try_from(bytes - done).unwrap_or(PIECE).min(PIECE);
        let read = file.read(piece.get_mut(..room).unwrap_or_default())?;
        if read == 0 {
            break;
        }
        hash.update(piece.get(..read).unwrap_or_default());
        done += read as u64;
    }
    Ok(done)
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Part {
    folder: Arc<OwnedFd>,
    leaf: Vec<u8>,
    temporary: Vec<u8>,
    shown: RawPath,
    file: File,
    hash: Sha256,
    place: u64,
    size: Option<u64>,
    /// The file that is there has the wished size; its hash and nothing of the part is compared.
    same: Option<(File, String)>,
}

impl Part {
    /// Begins it, or takes up what is there.
    pub(super) fn open(folder: Arc<OwnedFd>, leaf: Vec<u8>, shown: RawPath, size: Option<u64>) -> Result<Self, String> {
        let temporary = part_name(&leaf, size);
        let fault = |error| explain("write beside", &shown, error);
        if statat(&folder, leaf.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        {
            return Err(explain("write", &shown, Errno::ISDIR));
        }
        let mut file = lock(&folder, &temporary).map_err(|error| match error {
            Errno::AGAIN => format!("another copy to `{shown}` is under way; wait until it is over"),
            other => fault(other),
        })?;
        let there = u64::try_from(fstat(&file).map_err(fault)?.st_size).unwrap_or(0);
        let mut hash = Sha256::new();
        let mut place = 0;
        if size.is_some_and(|size| there <= size) {
            place = hash_file(&mut file, there, &mut hash).map_err(|e| explain_io("read", &shown, &e))?;
        }
        if place != there {
            ftruncate(&file, 0).map_err(fault)?;
            (hash, place) = (Sha256::new(), 0);
        }
        let mut part = Self { folder, leaf, temporary, shown, file, hash, place, size, same: None };
        if let Some(size) = size {
            if part.place == 0 {
                part.same = part.whole_one(size);
            }
            part.check_room(size)?;
        }
        Ok(part)
    }

    /// The file that is there, if it may be the same.
    fn whole_one(&self, size: u64) -> Option<(File, String)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from(openat(&self.folder, self.leaf.as_slice(), flags, Mode::empty()).ok()?);
        let stat = fstat(&file).ok()?;
        let fits = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && u64::try_from(stat.st_size).ok() == Some(size);
        let mut hash = Sha256::new();
        let read = if fits { hash_file(&mut file, size, &mut hash).ok()? } else { return None };
        (read == size).then(|| (file, hex::encode(hash.finalize())))
    }

    fn check_room(&mut self, size: u64) -> Result<(), String> {
        let Ok(room) = fstatvfs(&*self.folder) else { return Ok(()) };
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        let needed = size.saturating_sub(self.place);
        if self.same.is_none() && needed > free {
            return Err(format!(
                "there is no space for `{}`: it needs {needed} bytes more, and {free} are free; make room there",
                self.shown
            ));
        }
        Ok(())
    }

    /// What to ask the sender for.
    pub(super) fn want(&self, number: u64) -> Want {
        match (&self.same, self.size) {
            (Some((_, sha256)), Some(size)) => Want { number, from: size, sha256: sha256.clone() },
            _ => Want { number, from: self.place, sha256: hex::encode(self.hash.clone().finalize()) },
        }
    }

    /// Bytes that are there already, if the sender agrees.
    pub(super) fn had(&self) -> u64 {
        if self.same.is_some() { self.size.unwrap_or(0) } else { self.place }
    }

    /// Takes content; it may come anew from the start.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) -> Result<(), String> {
        self.same = None;
        if at == 0 && self.place > 0 {
            ftruncate(&self.file, 0).map_err(|error| explain("write", &self.shown, error))?;
            (self.hash, self.place) = (Sha256::new(), 0);
        }
        let after = self.place.saturating_add(data.len() as u64);
        if at != self.place || self.size.is_some_and(|size| after > size) {
            return Err(format!("the content of `{}` does not come as it was announced", self.shown));
        }
        self.file.write_all_at(data, at).map_err(|error| explain_io("write", &self.shown, &error))?;
        self.hash.update(data);
        self.place = after;
        Ok(())
    }

    /// The file is whole: checks it, and puts it in its place.
    pub(super) fn finish(mut self, end: &End, look: &Look) -> Result<(), String> {
        let fault = |error| explain("write", &self.shown, error);
        if let Some((file, sha256)) = self.same.take()
            && end.sha256 == sha256
        {
            look.give(file.as_fd()).map_err(fault)?;
            file.sync_all().map_err(|error| explain_io("write", &self.shown, &error))?;
            return self.forget();
        }
        let sha256 = hex::encode(self.hash.clone().finalize());
        if (self.place, sha256.as_str()) != (end.size, end.sha256.as_str()) {
            let reason = format!("the checksum of `{}` is wrong: the copy begins anew next time", self.shown);
            self.forget()?;
            return Err(reason);
        }
        look.give(self.file.as_fd()).map_err(fault)?;
        self.file.flush().and_then(|()| self.file.sync_all()).map_err(|e| explain_io("write", &self.shown, &e))?;
        renameat(&self.folder, self.temporary.as_slice(), &self.folder, self.leaf.as_slice()).map_err(fault)?;
        rustix::fs::fsync(&*self.folder).map_err(fault)
    }

    /// Removes what there is of it.
    pub(super) fn forget(self) -> Result<(), String> {
        unlinkat(&self.folder, self.temporary.as_slice(), AtFlags::empty())
            .map_err(|error| explain("remove what is left beside", &self.shown, error))
    }
}

/// Opens the part for this copy alone. One that somebody else made in a folder that many may write to is none.
fn lock(folder: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    let until = Instant::now() + LOCK_PATIENCE;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    loop {
        let file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        let stat = fstat(&file)?;
        let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 || !is_ours {
            return Err(Errno::PERM);
        }
        if file.try_lock().is_ok() {
            let named = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
            if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino)) {
                return Ok(file);
            }
            // Whoever had it has just finished.
            continue;
        }
        if Instant::now() >= until {
            return Err(Errno::AGAIN);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_known_again() {
        let name = part_name(b"x", Some(1));
        assert!(is_part(&name) && is_part(&part_name(&[0xff; 255], None)));
        assert_ne!(name, part_name(b"x", Some(2)));
        for no in [b".robo-.part".as_slice(), b".robo-0123.part", b"robo", b".robo-0123456789abcdeg.part"] {
            assert!(!is_part(no));
        }
    }

    #[test]
    fn old_parts_are_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let file = |name: &[u8], days: u64| {
            use std::os::unix::ffi::OsStrExt as _;
            let path = temporary.path().join(std::ffi::OsStr::from_bytes(name));
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60)).unwrap();
            path
        };
        let (old, young, other) = (file(&part_name(b"a", None), 8), file(&part_name(b"b", None), 6), file(b"c", 100));
        sweep(temporary.path());
        assert!(!old.exists() && young.exists() && other.exists());
    }
}
