//! What was on a session's screen, as a file that others can play too (asciicast, version 2).
//!
//! Beside the file lies a mark: so much of the output is in so many bytes of the file. A manager that comes back cuts
//! the file to its mark and goes on with the output from there, which the agent still has. What people type is not
//! recorded: passwords are among it, and what the program echoes is on the screen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use robo_model::name::SessionId;
use robo_model::quantity::UnixMillis;
use robo_wire::shell::Size;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Most bytes of one recording: hours of work, and seconds of a program that prints without end.
pub(crate) const MAX_RECORDING: u64 = 8 * 1024 * 1024;

/// The mark is written anew after this many milliseconds.
const MARK_EVERY: u64 = 1_000;

/// What stands at the end of a recording that is full.
const FULL: &str = "\r\n[robo: the recording ends here: it has as many bytes as are kept of a session]\r\n";

/// How far the recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The place in the output behind what is recorded.
    place: u64,
    /// The bytes of the file.
    bytes: u64,
    full: bool,
}

/// A recording that goes on.
#[derive(Debug)]
pub(super) struct Recording {
    file: File,
    mark_path: PathBuf,
    mark: Mark,
    marked_at: UnixMillis,
    began_at: UnixMillis,
    /// The last time that was written: clocks go back now and then, recordings do not.
    last: UnixMillis,
    /// The begin of a character whose rest is still to come.
    torn: Vec<u8>,
}

/// Where a session's recording lies.
pub(super) fn path(folder: &Path, id: &SessionId) -> PathBuf {
    folder.join(format!("{id}.cast"))
}

/// Removes the recording of a session that is forgotten.
pub(super) fn remove(folder: &Path, id: &SessionId) {
    let path = path(folder, id);
    for path in [mark_path(&path), path] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "an old recording cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn mark_path(path: &Path) -> PathBuf {
    path.with_extension("mark")
}

impl Recording {
    /// Begins one.
    pub(super) fn create(
        folder: &Path,
        id: &SessionId,
        header: (Size, &str),
        began_at: UnixMillis,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = path(folder, id);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let (size, title) = header;
        let header = json!({
            "version": 2, "width": size.cols, "height": size.rows, "timestamp": began_at.0 / 1000, "title": title,
        });
        let line = format!("{header}\n");
        file.write_all(line.as_bytes())?;
        let mark = Mark { place: 0, bytes: line.len() as u64, full: false };
        let mark_path = mark_path(&path);
        let mut recording =
            Self { file, mark_path, mark, marked_at: began_at, began_at, last: began_at, torn: Vec::new() };
        recording.write_mark(began_at)?;
        Ok(recording)
    }

    /// Goes on with one, from its mark.
    pub(super) fn resume(folder: &Path, id: &SessionId, began_at: UnixMillis, now: UnixMillis) -> io::Result<Self> {
        let path = path(folder, id);
        let mark_path = mark_path(&path);
        let mark: Mark = serde_json::from_slice(&fs::read(&mark_path)?)?;
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(mark.bytes)?;
        file.seek(SeekFrom::Start(mark.bytes))?;
        Ok(Self { file, mark_path, mark, marked_at: now, began_at, last: began_at, torn: Vec::new() })
    }

    /// The place in the output from which on it is not recorded yet.
    pub(super) const fn place(&self) -> u64 {
        self.mark.place
    }

    /// Bytes of the file.
    pub(super) const fn bytes(&self) -> u64 {
        self.mark.bytes
    }

    /// Adds output, which ends at `end`.
    pub(super) fn output(&mut self, end: u64, bytes: &[u8], now: UnixMillis) -> io::Result<()> {
        self.torn.extend_from_slice(bytes);
        let whole = whole_characters(&self.torn);
        let rest = self.torn.split_off(whole);
        let text = std::mem::replace(&mut self.torn, rest);
        if !text.is_empty() {
            self.event("o", &String::from_utf8_lossy(&text), now)?;
        }
        self.mark.place = end - self.torn.len() as u64;
        if now.0.saturating_sub(self.marked_at.0) >= MARK_EVERY {
            self.write_mark(now)?;
        }
        Ok(())
    }

    /// Adds a change of the terminal's size.
    pub(super) fn resize(&mut self, size: Size, now: UnixMillis) -> io::Result<()> {
        self.event("r", &format!("{}x{}", size.cols, size.rows), now)
    }

    /// Writes down how far it is.
    pub(super) fn write_mark(&mut self, now: UnixMillis) -> io::Result<()> {
        self.marked_at = now;
        let beside = self.mark_path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.mark)?)?;
        fs::rename(&beside, &self.mark_path)
    }

    /// The session is over: the mark has no use any more.
    pub(super) fn finish(mut self, now: UnixMillis) -> io::Result<()> {
        if !self.torn.is_empty() {
            let text = String::from_utf8_lossy(&self.torn).into_owned();
            self.event("o", &text, now)?;
        }
        self.file.sync_all()?;
        fs::remove_file(&self.mark_path)
    }

    fn event(&mut self, kind: &str, text: &str, now: UnixMillis) -> io::Result<()> {
        if self.mark.full {
            return Ok(());
        }
        self.last = self.last.max(now);
        let mut line = self.line(kind, text);
        let last_line = self.line("o", FULL);
        if self.mark.bytes + (line.len() + last_line.len()) as u64 > MAX_RECORDING {
            self.mark.full = true;
            line = last_line;
        }
        self.file.write_all(line.as_bytes())?;
        self.mark.bytes += line.len() as u64;
        Ok(())
    }

    fn line(&self, kind: &str, text: &str) -> String {
        let since = self.last.0.saturating_sub(self.began_at.0);
        // By hand, for the time's fixed places.
        format!("[{}.{:03}, \"{kind}\", {}]\n", since / 1000, since % 1000, json!(text))
    }
}

/// How many bytes at the begin are whole characters, or none at all.
fn whole_characters(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match std::str::from_utf8(bytes.get(at..).unwrap_or_default()) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                // It may go on: not yet to be judged.
                None => return at + error.valid_up_to(),
                Some(length) => at += error.valid_up_to() + length,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(folder: &Path) -> Recording {
        Recording::create(folder, &id(), (Size::USUAL, "robot-7"), UnixMillis(5_000)).unwrap()
    }

    fn id() -> SessionId {
        "s1".parse().unwrap()
    }

    fn read(folder: &Path) -> String {
        fs::read_to_string(path(folder, &id())).unwrap()
    }

    #[test]
    fn it_is_an_asciicast_with_whole_characters() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = begin(folder.path());
        recording.output(4, b"a\x1b\"\xc3", UnixMillis(5_250)).unwrap();
        assert_eq!(recording.place(), 3);
        recording.output(5, b"\xbc", UnixMillis(5_251)).unwrap();
        recording.resize(Size { cols: 100, rows: 30 }, UnixMillis(4_000)).unwrap();
        recording.output(8, b"\xffx\xe2", UnixMillis(65_001)).unwrap();
        recording.finish(UnixMillis(66_000)).unwrap();
        assert_eq!(
            read(folder.path()),
            "{\"height\":24,\"timestamp\":5,\"title\":\"robot-7\",\"version\":2,\"width\":80}\n\
             [0.250, \"o\", \"a\\u001b\\\"\"]\n[0.251, \"o\", \"ü\"]\n[0.251, \"r\", \"100x30\"]\n\
             [60.001, \"o\", \"\u{fffd}x\"]\n[61.000, \"o\", \"\u{fffd}\"]\n"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the mark is gone");
    }

    #[test]
    fn it_goes_on_from_its_mark_and_no_byte_is_in_it_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = begin(folder.path());
        recording.output(4, "abü".as_bytes(), UnixMillis(6_500)).unwrap();
        // Written after the mark, and by a manager that was killed then, half of a line too.
        recording.output(6, b"cd", UnixMillis(6_501)).unwrap();
        recording.file.write_all(b"[1.6, \"o").unwrap();
        drop(recording);
        let mut recording = Recording::resume(folder.path(), &id(), UnixMillis(5_000), UnixMillis(9_000)).unwrap();
        assert_eq!(recording.place(), 4);
        recording.output(6, b"cd", UnixMillis(9_000)).unwrap();
        recording.finish(UnixMillis(9_000)).unwrap();
        assert!(read(folder.path()).ends_with("[1.500, \"o\", \"abü\"]\n[4.000, \"o\", \"cd\"]\n"));
        assert!(Recording::resume(folder.path(), &id(), UnixMillis(0), UnixMillis(0)).is_err(), "it is over");
        remove(folder.path(), &id());
        remove(folder.path(), &id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = begin(folder.path());
        let piece = [b'x'; 32 * 1024];
        for number in 1..=300 {
            recording.output(number * piece.len() as u64, &piece, UnixMillis(5_000)).unwrap();
        }
        assert_eq!(recording.place(), 300 * piece.len() as u64);
        assert!(recording.bytes() <= MAX_RECORDING);
        recording.write_mark(UnixMillis(5_000)).unwrap();
        drop(recording);
        let text = read(folder.path());
        assert!(text.lines().last().unwrap().contains("the recording ends here"));
        let mut recording = Recording::resume(folder.path(), &id(), UnixMillis(5_000), UnixMillis(5_000)).unwrap();
        recording.output(9_830_401, b"y", UnixMillis(5_000)).unwrap();
        assert_eq!(read(folder.path()), text);
    }
}
