//! Where output goes: to a few files of bounded size, and its last lines to memory.
//!
//! Several keepers may write to one log at a time (a process, and the script that updates it). So whoever writes
//! holds the log's lock, and looks whether another one has begun a new file meanwhile. Beside each file lies another
//! that says when what is in it came; see [`super::times`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use robo_model::limits::{MAX_FAILURE_BYTES, MAX_FAILURE_LINES};
use robo_model::quantity::UnixMillis;
use rustix::fs::OFlags;

use super::times;
use crate::folders::absent_is_fine;

/// Largest file of a log; with [`LOG_FILES`] the price of any amount of output.
pub(crate) const LOG_FILE_BYTES: u64 = 1024 * 1024;

/// Files of a log: the one that is written to, and three before it.
pub(crate) const LOG_FILES: usize = 4;

/// Where the files of a log lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) folder: PathBuf,
    /// The name of the newest file.
    name: &'static str,
}

impl Shelf {
    /// That of an instance's output.
    pub(crate) fn of_instance(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), name: "output.log" }
    }

    /// That of the agent itself.
    pub(crate) fn of_agent(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), name: "agent.log" }
    }

    /// A file; 0 is the newest.
    pub(crate) fn file(&self, index: usize) -> PathBuf {
        let name = self.name;
        self.folder.join(if index == 0 { name.to_owned() } else { format!("{name}.{index}") })
    }

    /// When what is in a file came.
    pub(crate) fn times(&self, index: usize) -> PathBuf {
        let mut path = self.file(index).into_os_string();
        path.push(".times");
        path.into()
    }

    /// The file whose lock orders writers and readers.
    pub(crate) fn open_lock(&self) -> io::Result<File> {
        open(&self.folder.join("lock"))
    }
}

/// A log that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    shelf: Shelf,
    lock: File,
    file: File,
    /// The file for which a time was noted last, and that time.
    noted: Option<(u64, UnixMillis)>,
}

/// The name of a file of an instance's output; 0 is the newest.
pub(crate) fn file_path(folder: &Path, index: usize) -> PathBuf {
    Shelf::of_instance(folder).file(index)
}

impl Log {
    /// Opens an instance's output in `folder`.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Self::open_on(Shelf::of_instance(folder))
    }

    /// Opens the log on `shelf`.
    pub(crate) fn open_on(shelf: Shelf) -> io::Result<Self> {
        let lock = shelf.open_lock()?;
        let file = open(&shelf.file(0))?;
        Ok(Self { shelf, lock, file, noted: None })
    }

    /// Appends `bytes`, which are few against [`LOG_FILE_BYTES`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.lock.lock()?;
        let written = self.write_locked(bytes);
        self.lock.unlock()?;
        written
    }

    fn write_locked(&mut self, bytes: &[u8]) -> io::Result<()> {
        let newest = self.shelf.file(0);
        let ours = self.file.metadata()?;
        if fs::symlink_metadata(&newest).map_or(true, |now| (now.ino(), now.dev()) != (ours.ino(), ours.dev())) {
            self.file = open(&newest)?;
        }
        let size = self.file.metadata()?.len();
        if size > 0 && size + bytes.len() as u64 > LOG_FILE_BYTES {
            for index in (1..LOG_FILES).rev() {
                let (newer, older) = (index - 1, index);
                absent_is_fine(fs::rename(self.shelf.file(newer), self.shelf.file(older)))?;
                absent_is_fine(fs::rename(self.shelf.times(newer), self.shelf.times(older)))?;
            }
            self.file = open(&newest)?;
        }
        self.note_time()?;
        self.file.write_all(bytes)
    }

    /// Notes when what is written next came, once in a while.
    fn note_time(&mut self) -> io::Result<()> {
        let (now, found) = (crate::now(), self.file.metadata()?);
        let noted = self.noted.filter(|(file, _)| *file == found.ino());
        if noted.is_some_and(|(_, at)| at <= now && now.since(at) < times::EVERY) {
            return Ok(());
        }
        self.noted = Some((found.ino(), now));
        // The output itself matters more than its times.
        if let Err(error) = open(&self.shelf.times(0)).and_then(|file| times::note(file, &found, now)) {
            tracing::debug!(%error, "when output came cannot be noted");
        }
        Ok(())
    }
}

/// Opens a file to read and append; it is made where there is none.
///
/// The folder may belong to the user that scripts run as: no link is followed, no pipe is waited for, and a file that
/// has another name besides, which may be anybody's, is not written to.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 {
        return Ok(file);
    }
    Err(io::Error::other(format!("`{}` is no file of its own; remove it", path.display())))
}

/// The last of some output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Adds output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Twice the bound, so that it is moved seldom.
        if self.bytes.len() > 2 * MAX_FAILURE_BYTES {
            self.trim();
        }
    }

    /// The last whole lines within the bounds of `robo_model::limits`.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.trim();
        let text = String::from_utf8_lossy(&self.bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        // The first one may have lost its beginning; a single line is better than nothing.
        if self.cut && lines.len() > 1 {
            lines.remove(0);
        }
        let mut room = MAX_FAILURE_BYTES;
        let mut kept = Vec::new();
        for line in lines.iter().rev().take(MAX_FAILURE_LINES) {
            let start = line.ceil_char_boundary(line.len().saturating_sub(room));
            kept.push(line.get(start..).unwrap_or_default().to_owned());
            room = room.saturating_sub(line.len());
            if room == 0 {
                break;
            }
        }
        kept.reverse();
        kept
    }

    fn trim(&mut self) {
        let excess = self.bytes.len().saturating_sub(MAX_FAILURE_BYTES);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stays_bounded_and_two_writers_share_it() {
        let temporary = tempfile::tempdir().unwrap();
        let mut logs = [Log::open(temporary.path()).unwrap(), Log::open(temporary.path()).unwrap()];
        let chunk = vec![b'x'; 60_000];
        for i in 0..200 {
            logs[i % 2].write(&chunk).unwrap();
        }
        logs[0].write(b"last\n").unwrap();
        let sizes: Vec<u64> =
            (0..LOG_FILES).map(|i| fs::metadata(file_path(temporary.path(), i)).unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= LOG_FILE_BYTES) && sizes[1] > LOG_FILE_BYTES - 60_000, "{sizes:?}");
        assert!(!file_path(temporary.path(), LOG_FILES).exists());
        assert!(fs::read(file_path(temporary.path(), 0)).unwrap().ends_with(b"last\n"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("target");
        std::os::unix::fs::symlink(&target, file_path(temporary.path(), 0)).unwrap();
        assert!(Log::open(temporary.path()).is_err() && !target.exists());
    }

    #[test]
    fn a_file_with_another_name_is_not_written_to() {
        for name in ["output.log", "lock"] {
            let temporary = tempfile::tempdir().unwrap();
            let target = temporary.path().join("target");
            fs::write(&target, "theirs").unwrap();
            fs::hard_link(&target, temporary.path().join(name)).unwrap();
            assert!(Log::open(temporary.path()).unwrap_err().to_string().contains("no file of its own"), "{name}");
        }
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("target");
        fs::write(&target, "theirs").unwrap();
        let mut log = Log::open(temporary.path()).unwrap();
        fs::remove_file(file_path(temporary.path(), 0)).unwrap();
        fs::hard_link(&target, file_path(temporary.path(), 0)).unwrap();
        assert!(log.write(b"ours").is_err(), "not later either");
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        fs::remove_file(file_path(temporary.path(), 0)).unwrap();
        fs::create_dir(file_path(temporary.path(), 0)).unwrap();
        assert!(log.write(b"ours").is_err());
    }

    #[test]
    fn the_last_lines_are_kept() {
        let check = |output: &str, expect: &[&str]| {
            let mut tail = Tail::default();
            for piece in output.as_bytes().chunks(1000) {
                tail.push(piece);
            }
            assert_eq!(tail.lines(), expect);
        };
        check("", &[]);
        check("a\r\nb", &["a", "b"]);
        let many: String = (0..50).map(|i| format!("{i}\n")).collect();
        let last: Vec<String> = (30..50).map(|i| i.to_string()).collect();
        check(&many, &last.iter().map(String::as_str).collect::<Vec<_>>());
        let long = "é".repeat(100_000);
        check(&long, &[&"é".repeat(MAX_FAILURE_BYTES / 2)]);
        check(&format!("{long}\nend\n"), &["end"]);
    }

    #[test]
    fn bad_text_stays_within_the_bound() {
        let mut tail = Tail::default();
        tail.push(&vec![0xff; 3 * MAX_FAILURE_BYTES]);
        assert!(tail.lines().iter().map(String::len).sum::<usize>() <= MAX_FAILURE_BYTES);
    }
}
