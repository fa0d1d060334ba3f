//! The files of a backup: one that is written to, and archives before it.
//!
//! ```text
//! robo-logs.jsonl                          the one that is written to
//! robo-logs-20260131T134502.123Z.jsonl     one before it, with the time at which it ended
//! ```
//!
//! They never have more than their bound together: what is oldest goes before the next one begins.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::tail::FilePlace;

use super::stamp;
use crate::folders::{absent_is_fine, sync_dir};
use crate::keeper::output::open;
use crate::lock;
use crate::tail::files::id_of;

/// The file that is written to.
const CURRENT: &str = "robo-logs.jsonl";

/// What the names of archives begin and end with.
const ARCHIVE: (&str, &str) = ("robo-logs-", ".jsonl");

/// The folder is for the agent alone: what programs print is nobody else's.
const PRIVATE: u32 = 0o700;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most bytes of a file.
    pub(super) size: u64,
    /// A file is at most so old when the next one begins.
    pub(super) every: Millis,
    /// How many files there are at most.
    pub(super) keep: usize,
}

/// The files, while one is written to.
#[derive(Debug)]
pub(super) struct Set {
    folder: PathBuf,
    bounds: Bounds,
    /// The folder, held for its lock: two agents would cut off each other's lines.
    lock: File,
    file: File,
    /// As a position names it.
    id: (u64, u64),
    length: u64,
}

/// One that is written to no more.
#[derive(Debug)]
struct Archive {
    path: PathBuf,
    bytes: u64,
    /// As a position names it.
    id: (u64, u64),
    ended: UnixMillis,
}

impl Bounds {
    /// Most bytes of all archives together, so that there is room for a whole file besides.
    fn archived(&self) -> u64 {
        self.size.saturating_mul(self.before())
    }

    /// How many archives there are at most.
    fn before(&self) -> u64 {
        (self.keep as u64).saturating_sub(1)
    }
}

impl Set {
    /// Opens those in `folder`, which is made where there is none. What stands after `end` was not noted any more, and is
    /// cut off. A file that nobody has noted is left as it is, as an archive.
    pub(super) fn open(folder: &Path, bounds: Bounds, end: Option<FilePlace>, now: UnixMillis) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(folder)?;
        let lock = File::open(folder)?;
        if !lock::take(&lock)? {
            return Err(io::Error::other("another agent keeps its logs there; give each a folder of its own"));
        }
        let file = open(&folder.join(CURRENT))?;
        let found = file.metadata()?;
        let (id, length) = (id_of(&found), found.len());
        let mut set = Self { folder: folder.to_owned(), bounds, lock, file, id, length };
        match end {
            Some(end) if (end.file, end.born) == id => set.length = cut(&set.file, end.offset)?,
            noted => {
                // It was renamed, and the next one not noted yet: nothing was written to that.
                for archive in archives(folder)? {
                    if let Some(end) = noted.filter(|end| archive.id == (end.file, end.born)) {
                        cut(&open(&archive.path)?, end.offset)?;
                    }
                }
                if set.length > 0 {
                    set.next(now)?;
                }
            }
        }
        if set.length > bounds.size {
            set.next(now)?;
        }
        set.thin_out(archives(folder)?)?;
        Ok(set)
    }

    /// Where the file that is written to ends.
    pub(super) const fn end(&self) -> FilePlace {
        let (file, born) = self.id;
        FilePlace { file, born, offset: self.length }
    }

    /// False when somebody has moved or changed the file, or another disk is mounted there.
    pub(super) fn is_as_left(&self) -> bool {
        let same = |found: io::Result<Metadata>, ours: &File| {
            let (found, ours) = (found.ok()?, ours.metadata().ok()?);
            ((found.dev(), found.ino()) == (ours.dev(), ours.ino())).then_some(found.len())
        };
        same(fs::metadata(&self.folder), &self.lock).is_some()
            && same(fs::symlink_metadata(self.folder.join(CURRENT)), &self.file) == Some(self.length)
    }

    /// True when so many bytes more fit into the file.
    pub(super) const fn has_room(&self, bytes: usize) -> bool {
        self.length == 0 || self.length.saturating_add(bytes as u64) <= self.bounds.size
    }

    /// Appends whole lines, for which there is room. When that fails, some of them may be there: open it again.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // Whoever reads meanwhile finds whole lines, where even that can be done.
            self.file.set_len(self.length).ok();
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// What was appended survives a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Ends the file and begins the next one. What is too much goes before.
    pub(super) fn next(&mut self, now: UnixMillis) -> io::Result<()> {
        let current = self.folder.join(CURRENT);
        let mut all = archives(&self.folder)?;
        // In order also when the clock was set back.
        let ended = all.back().map_or(now, |newest| now.max(newest.ended.plus(Millis(1))));
        let found = self.file.metadata()?;
        all.push_back(Archive { path: current.clone(), bytes: found.len(), id: self.id, ended });
        if self.thin_out(all)? {
            let (begin, end) = ARCHIVE;
            fs::rename(&current, self.folder.join(format!("{begin}{}{end}", stamp::written(ended))))?;
        }
        self.file = open(&current)?;
        let found = self.file.metadata()?;
        (self.id, self.length) = (id_of(&found), found.len());
        sync_dir(&self.folder)
    }

    /// Removes the oldest until the others keep the bounds. False when none is left.
    fn thin_out(&self, mut all: VecDeque<Archive>) -> io::Result<bool> {
        let mut bytes: u64 = all.iter().map(|archive| archive.bytes).sum();
        while all.len() as u64 > self.bounds.before() || bytes > self.bounds.archived() {
            let Some(oldest) = all.pop_front() else { break };
            absent_is_fine(fs::remove_file(&oldest.path))?;
            bytes -= oldest.bytes;
        }
        Ok(!all.is_empty())
    }
}

/// All files of the backup in `folder`, the oldest first.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let all = archives(folder)?.into_iter().map(|archive| archive.path);
    Ok(all.chain(std::iter::once(folder.join(CURRENT)).filter(|current| current.is_file())).collect())
}

/// The archives, the oldest first.
fn archives(folder: &Path) -> io::Result<VecDeque<Archive>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let (begin, end) = ARCHIVE;
        let stamp = name.to_str().and_then(|name| name.strip_prefix(begin)?.strip_suffix(end));
        let Some(ended) = stamp.and_then(stamp::read) else { continue };
        match entry.metadata() {
            Ok(file) if file.is_file() => {
                found.push(Archive { path: entry.path(), bytes: file.len(), id: id_of(&file), ended });
            }
            Ok(_) => {}
            Err(error) => absent_is_fine(Err(error))?,
        }
    }
    found.sort_by_key(|archive| archive.ended);
    Ok(found.into())
}

/// Cuts off what stands after `end`, and gives the length.
fn cut(file: &File, end: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length > end {
        file.set_len(end)?;
    }
    Ok(length.min(end))
}
