//! Writes lines as JSON to the files of a backup, and notes how far it is.
//!
//! What is in memory always agrees with the files; what is on disk did so when it was written. That happens now and then,
//! and before and after each change of the file.

use std::io;
use std::path::PathBuf;

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::tail::{Line, Position};
use serde::Serialize;

use super::Options;
use super::notes::Notes;
use super::set::{Bounds, Set};
use crate::tail::Row;
use crate::{now, uptime};

/// Most bytes that are written before it is noted how far it is: after a crash they are read again, and a log keeps four
/// times as much.
const UNNOTED_BYTES: u64 = 1024 * 1024;

/// What was written is noted after this time, however little it is.
const NOTE_EVERY: Millis = Millis::from_secs(10);

/// Who writes.
#[derive(Debug)]
pub(super) struct Scribe {
    folder: PathBuf,
    bounds: Bounds,
    /// Where the notes lie.
    path: PathBuf,
    notes: Notes,
    /// Nothing while it was not begun, and after something failed.
    set: Option<Set>,
    /// Bytes that were written since the notes were.
    unnoted: u64,
    /// When the notes were written last, by the clock that only goes forward.
    noted: UnixMillis,
}

/// A line of a file. The names mean what they mean in `robo logs -o json`.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    at: Option<UnixMillis>,
    application: &'a str,
    instance: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Scribe {
    /// Goes on where the notes in `path` say.
    pub(super) fn new(options: &Options, path: PathBuf) -> Self {
        let notes = Notes::load(&path);
        let bounds = Bounds { size: options.size.0, every: options.every, keep: options.keep };
        Self { folder: options.folder.clone(), bounds, path, notes, set: None, unnoted: 0, noted: uptime() }
    }

    /// Up to where the log `name` is in the backup.
    pub(super) fn position(&self, name: &str) -> Option<&Position> {
        self.notes.positions.get(name)
    }

    /// Forgets all logs but those.
    pub(super) fn keep_only(&mut self, is_there: impl Fn(&str) -> bool) {
        self.notes.positions.retain(|name, _| is_there(name));
    }

    /// Gets ready to write.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.set.as_ref().is_some_and(Set::is_as_left) {
            return Ok(());
        }
        // Its lock goes first.
        self.set = None;
        let set = Set::open(&self.folder, self.bounds, self.notes.end, now())?;
        let end = set.end();
        if self.notes.end.is_none_or(|noted| (noted.file, noted.born) != (end.file, end.born)) {
            self.notes.begun = now();
        }
        self.notes.end = Some(end);
        self.set = Some(set);
        self.note()
    }

    /// Writes lines of the log `name`, after which that one is at `after`.
    pub(super) fn lines(&mut self, name: &str, rows: Vec<Row>, after: Position) -> io::Result<()> {
        let done = self.try_lines(name, rows, after);
        self.or_anew(done)
    }

    /// Begins the next file when it is time to, and notes how far it is when it is time to. To be called now and then.
    pub(super) fn tend(&mut self) -> io::Result<()> {
        let now = now();
        // The clock was set back: it counts from here.
        self.notes.begun = self.notes.begun.min(now);
        if now.since(self.notes.begun) >= self.bounds.every && self.notes.end.is_some_and(|end| end.offset > 0) {
            let done = self.begin().and_then(|()| self.next());
            return self.or_anew(done);
        }
        let is_time = uptime().since(self.noted) >= NOTE_EVERY || self.unnoted >= UNNOTED_BYTES;
        if self.unnoted > 0 && is_time { self.note() } else { Ok(()) }
    }

    /// Writes down how far it is. All that was written survives from here on.
    pub(super) fn note(&mut self) -> io::Result<()> {
        let done = self.try_note();
        self.or_anew(done)
    }

    /// After a failure nobody knows what of it was written: the files are opened anew, which cuts that off.
    fn or_anew(&mut self, done: io::Result<()>) -> io::Result<()> {
        if done.is_err() {
            self.set = None;
        }
        done
    }

    fn try_lines(&mut self, name: &str, rows: Vec<Row>, after: Position) -> io::Result<()> {
        if !rows.is_empty() {
            self.begin()?;
        }
        let (mut lines, mut place) = (Vec::new(), None);
        for Row { line, after } in rows {
            let line = line_of(name, &line)?;
            if !self.set.as_ref().is_some_and(|set| set.has_room(lines.len() + line.len())) {
                self.append(name, &mut lines, place.take())?;
                self.next()?;
            }
            lines.extend(line);
            place = Some(after);
        }
        self.append(name, &mut lines, Some(after))
    }

    fn append(&mut self, name: &str, lines: &mut Vec<u8>, after: Option<Position>) -> io::Result<()> {
        if let Some(set) = self.set.as_mut().filter(|_| !lines.is_empty()) {
            if set.end().offset == 0 {
                self.notes.begun = now();
            }
            set.append(lines)?;
            self.notes.end = Some(set.end());
            self.unnoted += lines.len() as u64;
            lines.clear();
        }
        if let Some(after) = after {
            self.notes.positions.insert(name.to_owned(), after);
        }
        Ok(())
    }

    /// Begins the next file. Notes are written before, so that nothing of this one is cut off, and after, so that what
    /// comes is.
    fn next(&mut self) -> io::Result<()> {
        self.try_note()?;
        if let Some(set) = self.set.as_mut().filter(|set| set.end().offset > 0) {
            set.next(now())?;
            (self.notes.end, self.notes.begun) = (Some(set.end()), now());
        }
        self.try_note()
    }

    fn try_note(&mut self) -> io::Result<()> {
        if let Some(set) = &self.set {
            set.sync()?;
        }
        self.notes.save(&self.path)?;
        (self.unnoted, self.noted) = (0, uptime());
        Ok(())
    }
}

/// A line, with its end.
fn line_of(name: &str, line: &Line) -> io::Result<Vec<u8>> {
    let at = name.find('/').unwrap_or(name.len());
    let (application, instance) = name.split_at_checked(at).unwrap_or((name, ""));
    let text = String::from_utf8_lossy(&line.text.0);
    let mut bytes = serde_json::to_vec(&Kept { at: line.at, application, instance, text: &text, cut: line.cut })?;
    bytes.push(b'\n');
    Ok(bytes)
}
