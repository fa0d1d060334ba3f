//! Reads the lines of a log of several files, from any place in it, and goes on with the file that comes after one.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

use robo_model::quantity::UnixMillis;
use robo_wire::stream::MAX_CHUNK;
use robo_wire::tail::{FilePlace, Line, MAX_LINE, Position, Text};

use super::Row;
use crate::keeper::output::{LOG_FILES, Shelf};
use crate::keeper::times::Times;
use crate::runtime::logs::{Unmoved, open_file};

/// A place in a log that is read.
#[derive(Debug)]
pub(crate) struct Reader {
    shelf: Shelf,
    /// The file that is read; nothing while there is none.
    open: Option<Open>,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
    /// When it came, and where it begins.
    begun_at: (Option<UnixMillis>, Position),
    /// Where it goes on.
    place: Position,
    /// True when the place that was asked for is gone, and with it lines that nobody has got.
    missed: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: (u64, u64),
    offset: u64,
    times: Times,
}

/// What was read.
pub(crate) enum Step {
    /// These lines, maybe none, and there may be more.
    Rows(Vec<Row>),
    /// There is nothing more now.
    Dry,
    /// There will be nothing more: the folder is gone.
    Gone,
}

impl Reader {
    /// Before what comes after `position`; before all that there is where that is not there.
    pub(crate) fn new(shelf: Shelf, position: Option<&Position>) -> io::Result<Self> {
        let place = Position::Beginning;
        let begun_at = (None, place.clone());
        let mut reader = Self { shelf, open: None, begun: Vec::new(), begun_at, place, missed: false };
        let _unmoved = Unmoved::take_on(&reader.shelf)?;
        let wished = match position {
            Some(Position::File(place)) => Some(*place),
            Some(Position::Beginning | Position::Cursor(_)) | None => None,
        };
        for index in 0..LOG_FILES {
            let Some(mut open) = open_at(&reader.shelf, index)? else { break };
            let found = wished.filter(|wished| (wished.file, wished.born) == open.id);
            if let Some(wished) = found.filter(|w| open.file.metadata().is_ok_and(|m| m.len() >= w.offset)) {
                open.offset = open.file.seek(SeekFrom::Start(wished.offset))?;
                reader.place = open.place();
                reader.open = Some(open);
                return Ok(reader);
            }
            reader.place = open.place();
            reader.open = Some(open);
        }
        reader.missed = wished.is_some();
        Ok(reader)
    }

    /// True, once, when lines were lost before the place where reading began.
    pub(crate) fn has_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// From where somebody would have to go on who has all lines up to here.
    pub(crate) fn position(&self) -> Position {
        if self.begun.is_empty() { self.place.clone() } else { self.begun_at.1.clone() }
    }

    /// The next lines.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let mut data = self.read_file()?;
        if data.is_empty() {
            if !self.shelf.folder.is_dir() {
                return Ok(Step::Gone);
            }
            let _unmoved = Unmoved::take_on(&self.shelf)?;
            // Once more: whoever began the next file may have written to this one just before.
            data = self.read_file()?;
            if data.is_empty() {
                if !self.advance()? {
                    return Ok(Step::Dry);
                }
                data = self.read_file()?;
            }
        }
        Ok(Step::Rows(self.cut(&data)?))
    }

    /// The last line, whose end has not come.
    pub(crate) fn rest(&mut self) -> Option<Row> {
        (!self.begun.is_empty()).then(|| self.end_line(false))
    }

    fn read_file(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        if let Some(open) = &mut self.open {
            (&mut open.file).take(MAX_CHUNK as u64).read_to_end(&mut data)?;
        }
        Ok(data)
    }

    /// Goes on with the file after this one, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let ours = self.open.as_ref().map(|open| open.id);
        let (mut newer, mut found_ours) = (None, ours.is_none());
        for index in 0..LOG_FILES {
            let Some(open) = open_at(&self.shelf, index)? else { break };
            if ours == Some(open.id) {
                found_ours = true;
                break;
            }
            newer = Some(open);
        }
        let Some(newer) = newer else { return Ok(false) };
        // Where ours is gone there may have been others between, and the oldest that is left comes next.
        self.missed |= !found_ours;
        self.place = newer.place();
        self.open = Some(newer);
        Ok(true)
    }

    fn cut(&mut self, data: &[u8]) -> io::Result<Vec<Row>> {
        let Some(mut open) = self.open.take() else { return Ok(Vec::new()) };
        // Noted before what it is about was written.
        open.times.refresh()?;
        for index in 0..LOG_FILES {
            if open.times.is_empty() {
                open.times = Times::new(open_file(&self.shelf.times(index))?, open.id.0);
                open.times.refresh()?;
            }
        }
        let mut rows = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let mut text = text;
            loop {
                if self.begun.is_empty() {
                    self.begun_at = (open.times.at(open.offset), open.place());
                }
                let (fits, rest) = text.split_at(text.len().min(MAX_LINE - self.begun.len()));
                self.begun.extend_from_slice(fits);
                open.offset += fits.len() as u64;
                self.place = open.place();
                if rest.is_empty() {
                    break;
                }
                rows.push(self.end_line(true));
                text = rest;
            }
            if ended {
                open.offset += 1;
                self.place = open.place();
                rows.push(self.end_line(false));
            }
        }
        self.open = Some(open);
        Ok(rows)
    }

    fn end_line(&mut self, cut: bool) -> Row {
        let line = Line { at: self.begun_at.0, text: Text(std::mem::take(&mut self.begun)), cut };
        Row { line, after: self.place.clone() }
    }
}

impl Open {
    fn place(&self) -> Position {
        let (file, born) = self.id;
        Position::File(FilePlace { file, born, offset: self.offset })
    }
}

fn open_at(shelf: &Shelf, index: usize) -> io::Result<Option<Open>> {
    let Some(file) = open_file(&shelf.file(index))? else { return Ok(None) };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other(format!("`{}` is not a file", shelf.file(index).display())));
    }
    let times = open_file(&shelf.times(index))?;
    Ok(Some(Open { id: id_of(&found), file, offset: 0, times: Times::new(times, found.ino()) }))
}

/// What a file is known by, under whatever name: its number, and when it was made. A number alone may be that of one that
/// is gone.
pub(crate) fn id_of(found: &Metadata) -> (u64, u64) {
    let since = found.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let born = since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
    (found.ino(), born)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keeper::output::{LOG_FILE_BYTES, Log};

    fn read(reader: &mut Reader) -> Vec<String> {
        let mut lines = Vec::new();
        while let Step::Rows(rows) = reader.step().unwrap() {
            lines.extend(rows.into_iter().map(|row| String::from_utf8(row.line.text.0).unwrap()));
        }
        lines
    }

    fn reader(folder: &Path, position: Option<&Position>) -> Reader {
        Reader::new(Shelf::of_instance(folder), position).unwrap()
    }

    #[test]
    fn every_line_comes_once_however_often_it_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        let mut position = reader(folder.path(), None).position();
        let (mut got, mut wished) = (Vec::new(), Vec::new());
        for i in 0..400 {
            // Of no even length, and some are longer than a line may be; each in two pieces.
            let line = format!("{i:0width$}", width = 1 + (i * 7919) % 15_000);
            let (first, second) = line.split_at(line.len() / 2);
            log.write(first.as_bytes()).unwrap();
            if i % 3 == 0 {
                let mut again = reader(folder.path(), Some(&position));
                got.extend(read(&mut again));
                assert!(!again.has_missed());
                position = again.position();
            }
            log.write(format!("{second}\n").as_bytes()).unwrap();
            wished.push(line);
        }
        got.extend(read(&mut reader(folder.path(), Some(&position))));
        assert!(got == wished, "{} of {}", got.len(), wished.len());
    }

    #[test]
    fn one_reader_follows_through_files_and_lines_have_times() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        let before = crate::now();
        let mut reader = reader(folder.path(), None);
        let mut count = 0;
        for i in 0..300 {
            log.write(format!("{i:020000}\n").as_bytes()).unwrap();
            while let Step::Rows(rows) = reader.step().unwrap() {
                assert!(rows.iter().all(|row| row.line.at.is_some_and(|at| at >= before && at <= crate::now())));
                count += rows.iter().filter(|row| !row.line.cut).count();
            }
        }
        assert_eq!(count, 300);
    }

    #[test]
    fn a_place_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.write(b"first\n").unwrap();
        let mut before = reader(folder.path(), None);
        assert_eq!(read(&mut before), ["first"]);
        let position = before.position();
        let chunk = vec![b'\n'; 64 * 1024];
        for _ in 0..=LOG_FILE_BYTES / 65_536 * (LOG_FILES as u64 + 1) {
            log.write(&chunk).unwrap();
        }
        assert!(reader(folder.path(), Some(&position)).has_missed());
        assert!(read(&mut before).len() > 1 && before.has_missed(), "who follows and is too slow is told as well");
        let beyond = Position::File(FilePlace { file: 1, born: 2, offset: u64::MAX });
        assert!(reader(folder.path(), Some(&beyond)).has_missed());
    }

    #[test]
    fn a_line_without_an_end_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.write(b"one\ntw").unwrap();
        let mut reader = reader(folder.path(), None);
        assert_eq!(read(&mut reader), ["one"]);
        assert_eq!(reader.rest().unwrap().line.text.0, b"tw");
        log.write(b"o\n").unwrap();
        assert_eq!(read(&mut reader), ["o"]);
        assert!(reader.rest().is_none());
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(matches!(reader.step().unwrap(), Step::Gone));
    }
}
