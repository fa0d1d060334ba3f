//! When the bytes of a log's file came: a file beside it, of 16 bytes for each time that was noted.
//!
//! What instances print has no times of its own, and is kept as it was printed. So whoever writes it notes now and then
//! how long the file was just before, and the time; a line came at the last such time before it, or up to a second
//! later. The first 16 bytes say of which file they are: a writer of an older version moves the log alone.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use robo_model::quantity::{Millis, UnixMillis};

/// A time is noted at most so often.
pub(crate) const EVERY: Millis = Millis(1000);

/// So many bytes of times are noted however little is printed between them; from then on only after [`SPARSE`] bytes
/// of output. With the bound of the log's file this bounds ours, to half a megabyte.
const DENSE: u64 = 256 * 1024;

/// Bytes of output between two times when there are many.
const SPARSE: u64 = 64;

/// Most bytes of times that are read: more than the bounds above give.
const MAX_BYTES: u64 = 1024 * 1024;

/// Bytes of one entry, and of the beginning.
const ENTRY: u64 = 16;

/// The second half of the beginning: the version of this format.
const VERSION: u64 = 1;

/// Notes in `times`, which is open to read and append, that what is written to the file of `log` next comes `now`.
pub(crate) fn note(mut times: File, log: &Metadata, now: UnixMillis) -> io::Result<()> {
    let length = times.metadata()?.len();
    let whole = length - length % ENTRY;
    let mut bytes = Vec::new();
    if whole == 0 || read_entry(&times, 0)? != (log.ino(), VERSION) {
        times.set_len(0)?;
        bytes.extend(entry(log.ino(), VERSION));
    } else {
        // An entry that was torn must not shift those after it.
        times.set_len(whole)?;
        let (last, _) = read_entry(&times, whole - ENTRY)?;
        if whole > DENSE && log.len() < last.saturating_add(SPARSE) {
            return Ok(());
        }
    }
    bytes.extend(entry(log.len(), now.0));
    times.write_all(&bytes)
}

fn entry(first: u64, second: u64) -> impl Iterator<Item = u8> {
    first.to_be_bytes().into_iter().chain(second.to_be_bytes())
}

fn read_entry(times: &File, at: u64) -> io::Result<(u64, u64)> {
    let (mut first, mut second) = ([0; 8], [0; 8]);
    times.read_exact_at(&mut first, at)?;
    times.read_exact_at(&mut second, at + 8)?;
    Ok((u64::from_be_bytes(first), u64::from_be_bytes(second)))
}

/// The times of one file of a log, for a reader.
#[derive(Debug, Default)]
pub(crate) struct Times {
    times: Option<File>,
    /// The log's file that they are of.
    log: u64,
    /// Length and time, both growing.
    entries: Vec<(u64, UnixMillis)>,
    /// Bytes that were read.
    read: u64,
}

impl Times {
    /// Those in `times`, of the log's file with the number `log`; none where there is no such file.
    pub(crate) fn new(times: Option<File>, log: u64) -> Self {
        Self { times, log, ..Self::default() }
    }

    /// Reads those that were noted since the last time.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        let Some(times) = &self.times else { return Ok(()) };
        let whole = times.metadata()?.len().min(MAX_BYTES) / ENTRY * ENTRY;
        if self.read == 0 && whole > 0 {
            if read_entry(times, 0)? != (self.log, VERSION) {
                self.times = None;
                return Ok(());
            }
            self.read = ENTRY;
        }
        let missing = usize::try_from(whole.saturating_sub(self.read)).unwrap_or(0);
        let mut bytes = vec![0; missing];
        times.read_exact_at(&mut bytes, self.read)?;
        self.read += missing as u64;
        let (halves, _) = bytes.as_chunks::<8>();
        let (pairs, _) = halves.as_chunks::<2>();
        self.entries.extend(
            pairs.iter().map(|[length, at]| (u64::from_be_bytes(*length), UnixMillis(u64::from_be_bytes(*at)))),
        );
        Ok(())
    }

    /// True while there is no time at all: the file of times may not have been there yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the byte at `offset` came.
    pub(crate) fn at(&self, offset: u64) -> Option<UnixMillis> {
        let after = self.entries.partition_point(|(length, _)| *length <= offset);
        self.entries.get(after.checked_sub(1)?).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> File {
        File::options().read(true).append(true).create(true).open(path).unwrap()
    }

    fn written(folder: &Path, length: usize) -> Metadata {
        fs::write(folder.join("log"), vec![b'x'; length]).unwrap();
        fs::metadata(folder.join("log")).unwrap()
    }

    #[test]
    fn a_byte_came_when_the_last_time_before_it_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times");
        let log = written(folder.path(), 0);
        let mut times = Times::new(Some(open(&path)), log.ino());
        times.refresh().unwrap();
        assert_eq!(times.at(0), None);
        note(open(&path), &log, UnixMillis(10)).unwrap();
        note(open(&path), &written(folder.path(), 5), UnixMillis(20)).unwrap();
        times.refresh().unwrap();
        assert_eq!([0, 4, 5, 99].map(|offset| times.at(offset).unwrap().0), [10, 10, 20, 20]);
        note(open(&path), &written(folder.path(), 7), UnixMillis(30)).unwrap();
        times.refresh().unwrap();
        assert_eq!([6, 7].map(|offset| times.at(offset).unwrap().0), [20, 30]);
    }

    #[test]
    fn times_of_another_file_and_torn_ones_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times");
        let log = written(folder.path(), 3);
        note(open(&path), &log, UnixMillis(10)).unwrap();
        let mut other = Times::new(Some(open(&path)), log.ino() + 1);
        other.refresh().unwrap();
        assert_eq!(other.at(9), None);
        open(&path).write_all(b"torn").unwrap();
        note(open(&path), &written(folder.path(), 8), UnixMillis(20)).unwrap();
        let mut times = Times::new(Some(open(&path)), log.ino());
        times.refresh().unwrap();
        assert_eq!((times.at(0), times.at(7), times.at(8)), (None, Some(UnixMillis(10)), Some(UnixMillis(20))));
        fs::write(&path, "nonsense").unwrap();
        note(open(&path), &log, UnixMillis(30)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * ENTRY, "it begins anew");
        assert_eq!(Times::new(None, 1).at(0), None);
    }

    #[test]
    fn many_times_need_much_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times");
        let log = written(folder.path(), 0);
        for at in 0..DENSE / ENTRY + 500 {
            note(open(&path), &log, UnixMillis(at)).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= DENSE + 2 * ENTRY);
        note(open(&path), &written(folder.path(), 64), UnixMillis(9)).unwrap();
        let mut times = Times::new(Some(open(&path)), log.ino());
        times.refresh().unwrap();
        assert_eq!(times.at(64), Some(UnixMillis(9)));
    }
}
