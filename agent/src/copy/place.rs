//! Where a copy goes to, on the receiver's side. Every folder is opened once, never through a link, and everything in
//! it is named relative to that: whatever the sender says, nothing outside is touched.
//!
//! A folder that is not there yet grows under another name and is moved to its place when it is whole. Small files are
//! written beside their place too, and many are moved at once behind one flush of the file system.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use robo_wire::copy::{Entry, Push, RawPath, Told, check_part, parts, short};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, Uid, chownat, fchmod, fchown, fstat, fsync, futimens,
    mkdirat, openat, renameat, statat, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::fault::{explain, explain_io};
use super::part::{Part, part_name, sweep};
use crate::keeper::user;

/// Small files and folders that wait to be moved to their places together: a flush for each would take hours for a
/// tree of a hundred thousand, and each holds a file open.
const BATCH: usize = 128;

/// Most folders within one another; each is held open.
const MAX_DEPTH: usize = 256;

/// The permissions, the owner and the time that something is given.
#[derive(Debug, Clone)]
pub(super) struct Look {
    mode: u32,
    owner: Option<(Uid, Option<Gid>)>,
    times: Option<Timestamps>,
}

impl Look {
    /// Gives them to what is open.
    pub(super) fn give(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        if let Some((user, group)) = self.owner {
            fchown(fd, Some(user), group)?;
        }
        fchmod(fd, Mode::from_raw_mode(self.mode))?;
        if let Some(times) = &self.times {
            futimens(fd, times)?;
        }
        Ok(())
    }
}

/// A folder that is being filled.
#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    fd: Arc<OwnedFd>,
    look: Look,
}

/// Something that waits for the next flush.
#[derive(Debug)]
enum Waiting {
    File { number: u64, name: RawPath, folder: Arc<OwnedFd>, temporary: Vec<u8>, leaf: Vec<u8>, file: File },
    Folder { fd: Arc<OwnedFd>, look: Look },
}

/// The place of one copy.
#[derive(Debug)]
pub(super) struct Place {
    parent: Arc<OwnedFd>,
    leaf: Vec<u8>,
    /// Where the whole will be.
    pub(super) path: PathBuf,
    /// The name under which a folder grows that is not there yet.
    growing: Option<Vec<u8>>,
    mode: Option<u32>,
    owner: Option<(Uid, Option<Gid>)>,
    levels: Vec<Level>,
    batch: Vec<Waiting>,
}

impl Place {
    /// Finds the place; a relative path begins at `home`.
    pub(super) fn open(push: &Push, home: &Path) -> Result<Self, String> {
        let asked = &push.path.0;
        if asked.is_empty() || asked.contains(&0) {
            return Err(format!("`{}` is no path to copy to", push.path));
        }
        let path = home.join(OsStr::from_bytes(asked));
        let into = !push.exact && (asked.ends_with(b"/") || asked.ends_with(b"/.") || path.is_dir());
        let (folder, leaf) = if into {
            check_part(&push.name.0).map_err(|why| format!("`{}` cannot be copied into a folder: {why}", push.name))?;
            (path.clone(), push.name.0.clone())
        } else {
            let leaf = path.file_name().ok_or_else(|| format!("`{}` has no name in it", push.path))?;
            (path.parent().unwrap_or(Path::new("/")).to_owned(), leaf.as_bytes().to_vec())
        };
        let owner = push.owner.as_deref().map(user::owner).transpose()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(rustix::fs::CWD, &folder, flags, Mode::empty())
            .map_err(|error| explain("copy into", folder.display(), error))?;
        sweep(&folder);
        let path = folder.join(OsStr::from_bytes(&leaf));
        let mode = push.mode.map(|mode| mode & 0o7777);
        let (levels, batch) = (Vec::new(), Vec::new());
        Ok(Self { parent: Arc::new(parent), leaf, path, growing: None, mode, owner, levels, batch })
    }

    fn look(&self, entry: &Entry, is_folder: bool) -> Look {
        // What runs with another's rights is only made where somebody says so.
        let kept = entry.mode & 0o777;
        let mode = if is_folder { kept } else { self.mode.unwrap_or(kept) };
        let times = entry.modified_at.and_then(|at| {
            let seconds = i64::try_from(at.0 / 1000).ok()?;
            let nanos = i64::try_from(at.0 % 1000).ok()? * 1_000_000;
            let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            Some(Timestamps { last_access, last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos } })
        });
        Look { mode, owner: self.owner, times }
    }

    /// The folder and the name in it of an entry; folders that it is not in are done.
    fn seat(&mut self, name: &RawPath) -> Result<(Arc<OwnedFd>, Vec<u8>), String> {
        let mut parts = parts(name)?;
        let Some(leaf) = parts.pop() else {
            return if self.levels.is_empty() {
                Ok((Arc::clone(&self.parent), self.leaf.clone()))
            } else {
                Err("the source is told twice".to_owned())
            };
        };
        let folder = parts.join(&b'/');
        while self.levels.len() > 1 && self.levels.last().is_some_and(|level| !is_within(&folder, &level.name)) {
            self.leave();
        }
        match self.levels.last() {
            Some(level) if level.name == folder => Ok((Arc::clone(&level.fd), leaf.to_vec())),
            Some(_) | None => Err(format!("the folder of `{name}` was not told, or could not be made")),
        }
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.batch.push(Waiting::Folder { fd: level.fd, look: level.look });
        }
    }

    /// Makes a folder, or goes into the one that is there.
    pub(super) fn folder(&mut self, entry: &Entry) -> Result<(), String> {
        let (folder, mut leaf) = self.seat(&entry.name)?;
        let fault = |error| explain("make the folder", &entry.name, error);
        if self.levels.len() >= MAX_DEPTH {
            return Err(format!("it is deeper than {MAX_DEPTH} folders"));
        }
        if entry.name.0.is_empty() && statat(&folder, leaf.as_slice(), AtFlags::SYMLINK_NOFOLLOW).is_err() {
            leaf = part_name(&leaf, None);
            self.growing = Some(leaf.clone());
        }
        match mkdirat(&folder, leaf.as_slice(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fault(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&folder, leaf.as_slice(), flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => format!("cannot make the folder `{}`: something else is there", entry.name),
            other => fault(other),
        })?;
        // One that was finished before may forbid to write into it.
        let mode = fstat(&fd).map_err(fault)?.st_mode & 0o7777;
        if mode & 0o700 != 0o700 {
            fchmod(&fd, Mode::from_raw_mode(mode | 0o700)).map_err(fault)?;
        }
        let look = self.look(entry, true);
        self.levels.push(Level { name: entry.name.0.clone(), fd: Arc::new(fd), look });
        Ok(())
    }

    /// Makes a link with this text, in the place of whatever file is there.
    pub(super) fn link(&mut self, entry: &Entry, text: &RawPath) -> Result<(), String> {
        let (folder, leaf) = self.seat(&entry.name)?;
        let fault = |error| explain("make the link", &entry.name, error);
        let temporary = part_name(&leaf, None);
        unlink(&folder, &temporary).map_err(fault)?;
        symlinkat(text.0.as_slice(), &folder, temporary.as_slice()).map_err(fault)?;
        if let Some((user, group)) = self.owner {
            chownat(&folder, temporary.as_slice(), Some(user), group, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
        }
        if let Some(times) = self.look(entry, false).times {
            utimensat(&folder, temporary.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
        }
        renameat(&folder, temporary.as_slice(), &folder, leaf.as_slice()).map_err(fault)
    }

    /// Writes a small file beside its place; it is moved there by the next flush.
    pub(super) fn small(&mut self, entry: &Entry, content: &[u8]) -> Result<(), String> {
        let (folder, leaf) = self.seat(&entry.name)?;
        let fault = |error| explain("write", &entry.name, error);
        let temporary = part_name(&leaf, Some(content.len() as u64));
        unlink(&folder, &temporary).map_err(fault)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&folder, temporary.as_slice(), flags, Mode::RUSR | Mode::WUSR).map_err(fault)?;
        let mut file = File::from(fd);
        let written = file
            .write_all(content)
            .map_err(|error| explain_io("write", &entry.name, &error))
            .and_then(|()| self.look(entry, false).give(file.as_fd()).map_err(fault));
        if written.is_err() {
            unlink(&folder, &temporary).ok();
        }
        written?;
        let name = entry.name.clone();
        self.batch.push(Waiting::File { number: entry.number, name, folder, temporary, leaf, file });
        Ok(())
    }

    /// Begins a large file, or goes on with it.
    pub(super) fn large(&mut self, entry: &Entry, size: Option<u64>) -> Result<(Part, Look), String> {
        let (folder, leaf) = self.seat(&entry.name)?;
        let shown = if entry.name.0.is_empty() { RawPath(leaf.clone()) } else { entry.name.clone() };
        Ok((Part::open(folder, leaf, shown, size)?, self.look(entry, false)))
    }

    /// True when enough waits.
    pub(super) const fn is_full(&self) -> bool {
        self.batch.len() >= BATCH
    }

    /// Puts everything that waits in its place, safely on the disk; says what could not be.
    pub(super) fn flush(&mut self) -> Vec<Told> {
        let batch = std::mem::take(&mut self.batch);
        let files = batch.iter().filter(|waiting| matches!(waiting, Waiting::File { .. })).count();
        if files > 1 {
            // Where it fails, the files' own flushes say it.
            syncfs(&*self.parent).ok();
        }
        let mut failed = Vec::new();
        for waiting in batch {
            match waiting {
                Waiting::Folder { fd, look } => {
                    if let Err(error) = look.give(fd.as_fd()) {
                        let reason = explain("set mode or owner of", "a folder", error);
                        failed.push(Told { number: None, name: RawPath::default(), reason: short(&reason) });
                    }
                }
                Waiting::File { number, name, folder, temporary, leaf, file } => {
                    let synced = if files == 1 { fsync(&file) } else { Ok(()) };
                    let moved = synced
                        .and_then(|()| renameat(&folder, temporary.as_slice(), &folder, leaf.as_slice()))
                        .map_err(|error| explain("write", &name, error));
                    if let Err(reason) = moved {
                        unlink(&folder, &temporary).ok();
                        failed.push(Told { number: Some(number), name, reason: short(&reason) });
                    }
                }
            }
        }
        failed
    }

    /// Everything was told: finishes all folders, and moves a new one to its place.
    pub(super) fn finish(&mut self) -> Result<Vec<Told>, String> {
        let is_tree = !self.levels.is_empty();
        while !self.levels.is_empty() {
            self.leave();
        }
        let failed = self.flush();
        let fault = |error| explain("write", self.path.display(), error);
        if let Some(growing) = self.growing.take() {
            renameat(&self.parent, growing.as_slice(), &self.parent, self.leaf.as_slice()).map_err(fault)?;
        }
        if is_tree { syncfs(&*self.parent) } else { fsync(&*self.parent) }.map_err(fault)?;
        Ok(failed)
    }
}

/// True when the path `inner` is `outer` or below it.
fn is_within(inner: &[u8], outer: &[u8]) -> bool {
    outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Removes what an earlier copy left under this name.
fn unlink(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}
