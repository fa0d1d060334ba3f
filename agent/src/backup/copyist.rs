//! Which logs there are, and what is new in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;

use super::Options;
use super::scribe::Scribe;
use crate::folders::Folders;
use crate::keeper::output::Shelf;
use crate::tail::files::{Reader, Step};
use crate::uptime;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    /// Nothing is new.
    Nothing,
    /// What was new is copied.
    All,
    /// What was new is copied in part.
    More,
}

/// How often it is looked which instances there are. In between a new one can hardly print more than its log keeps.
const WALK_EVERY: Millis = Millis::from_secs(5);

/// Pieces of one log that are read before the others have their turn: a megabyte.
const PIECES: usize = 32;

/// Turns of a log that goes: more than it keeps, so that a program that goes on printing ends nothing.
const LAST_TURNS: usize = 8;

/// A log that cannot be read is left alone for so long.
const REST: Millis = Millis::from_secs(60);

/// Who looks.
#[derive(Debug)]
pub(super) struct Copyist {
    folders: Folders,
    scribe: Scribe,
    /// By `application/segment/…`.
    sources: BTreeMap<String, Source>,
    /// When it was looked last which there are.
    walked: Option<UnixMillis>,
}

/// A log.
#[derive(Debug)]
struct Source {
    folder: PathBuf,
    /// How its newest file was when all of it was read.
    seen: Option<Mark>,
    /// It cannot be read, and is tried again then.
    rests_until: Option<UnixMillis>,
}

/// The number and the length of a file; that of none where there is none.
type Mark = Option<(u64, u64)>;

/// What went wrong.
#[derive(Debug)]
enum Fault {
    /// This log cannot be read.
    Source(io::Error),
    /// The backup cannot be written.
    Backup(io::Error),
}

impl Copyist {
    pub(super) fn new(folders: Folders, options: &Options) -> Self {
        let scribe = Scribe::new(options, folders.log_backup());
        Self { folders, scribe, sources: BTreeMap::new(), walked: None }
    }

    /// Copies what is new. `anew` also tries the files where nothing is new.
    ///
    /// # Errors
    /// When the backup cannot be written.
    pub(super) fn look(&mut self, anew: bool) -> io::Result<Found> {
        if anew {
            self.scribe.begin()?;
        }
        let at = uptime();
        if self.walked.is_none_or(|walked| at.since(walked) >= WALK_EVERY) {
            self.walk()?;
            self.walked = Some(at);
        }
        let mut found = Found::Nothing;
        for (name, source) in &mut self.sources {
            match source.copy(name, &mut self.scribe, false) {
                Ok(here) => found = found.max(here),
                Err(Fault::Source(error)) => source.rest(name, &error),
                Err(Fault::Backup(error)) => return Err(error),
            }
        }
        self.scribe.tend()?;
        Ok(found)
    }

    /// Copies all of the log of an instance, also a last line without an end: it goes.
    ///
    /// # Errors
    /// When the backup cannot be written.
    pub(super) fn last_look(&mut self, key: &InstanceKey) -> io::Result<()> {
        let (name, folder) = (key.to_string(), self.folders.instance(key).logs());
        let source = self.sources.entry(name.clone()).or_insert_with(|| Source::new(folder));
        for _ in 0..LAST_TURNS {
            match source.copy(&name, &mut self.scribe, true) {
                Ok(Found::More) => {}
                Ok(Found::Nothing | Found::All) => break,
                Err(Fault::Source(error)) => {
                    source.rest(&name, &error);
                    break;
                }
                Err(Fault::Backup(error)) => return Err(error),
            }
        }
        self.scribe.note()
    }

    fn walk(&mut self) -> io::Result<()> {
        let all: BTreeMap<String, PathBuf> = self.folders.all_logs()?.into_iter().collect();
        self.sources.retain(|name, _| all.contains_key(name));
        self.scribe.keep_only(|name| all.contains_key(name));
        for (name, folder) in all {
            self.sources.entry(name).or_insert_with(|| Source::new(folder));
        }
        Ok(())
    }
}

impl Source {
    const fn new(folder: PathBuf) -> Self {
        Self { folder, seen: None, rests_until: None }
    }

    /// Copies what is new in it.
    fn copy(&mut self, name: &str, scribe: &mut Scribe, is_last: bool) -> Result<Found, Fault> {
        if self.rests_until.is_some_and(|until| uptime() < until) {
            return Ok(Found::Nothing);
        }
        let shelf = Shelf::of_instance(&self.folder);
        let mark = mark(&shelf.file(0));
        if (self.seen == Some(mark) && !is_last) || !self.folder.is_dir() {
            return Ok(Found::Nothing);
        }
        let mut reader = Reader::new(shelf, scribe.position(name)).map_err(Fault::Source)?;
        for _ in 0..PIECES {
            let step = reader.step().map_err(Fault::Source)?;
            if reader.has_missed() {
                tracing::warn!(
                    instance = name,
                    "some lines are not in the backup of logs: more was printed than is kept"
                );
            }
            let (rows, is_dry) = match step {
                Step::Rows(rows) => (rows, false),
                // Its end may still come.
                Step::Dry | Step::Gone if !is_last => (Vec::new(), true),
                Step::Dry | Step::Gone => (reader.rest().into_iter().collect(), true),
            };
            scribe.lines(name, rows, reader.position()).map_err(Fault::Backup)?;
            if is_dry {
                (self.seen, self.rests_until) = (Some(mark), None);
                return Ok(Found::All);
            }
        }
        Ok(Found::More)
    }

    fn rest(&mut self, name: &str, error: &io::Error) {
        if self.rests_until.is_none() {
            tracing::warn!(instance = name, %error, "what an instance prints is not in the backup of logs");
        }
        self.rests_until = Some(uptime().plus(REST));
    }
}

fn mark(file: &Path) -> Mark {
    fs::symlink_metadata(file).ok().map(|found| (found.ino(), found.len()))
}
