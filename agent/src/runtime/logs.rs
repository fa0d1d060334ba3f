//! Reads an instance's output for a stream that the manager opened.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use robo_wire::stream::{LogsOpen, MAX_CHUNK, StreamFrame, Verdict};
use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::folders::Folders;
use crate::framing::write_frame;
use crate::keeper::output::{LOG_FILES, Shelf, file_path};
use crate::lock;

/// How often a log that has come to its end is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a writer may keep a reader waiting. The lock lies where programs can take it, too, and one that keeps it must
/// not keep whoever reads many logs from the others; a slow disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the last lines of an instance's output to `stream`, on request also what comes then, and a verdict. Ends
/// when the stream does, or when the instance is gone.
pub async fn logs<S: AsyncRead + AsyncWrite + Unpin>(folders: Folders, open: LogsOpen, stream: S) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let verdict = match read_log(&folders, &open, &mut writer).await {
            Ok(()) => Verdict::Ok,
            Err(reason) => Verdict::Refused { reason },
        };
        if let Ok(frame) = StreamFrame::Verdict(verdict).encode() {
            // A peer that is gone needs none.
            write_frame(&mut writer, &frame).await.ok();
        }
    };
    // Nothing is expected from the peer but that it goes.
    let mut ignored = [0; 512];
    let gone = async { while reader.read(&mut ignored).await.is_ok_and(|read| read > 0) {} };
    if open.follow {
        tokio::select! {
            () = read => {}
            () = gone => {}
        }
    } else {
        read.await;
    }
    writer.shutdown().await.ok();
}

async fn read_log(folders: &Folders, open: &LogsOpen, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), String> {
    let instance = folders.instance(&open.key);
    if !instance.logs().is_dir() {
        return Err(format!("this device has no output of an instance `{}`", open.key));
    }
    let (folder, lines) = (instance.logs(), open.lines);
    let mut position = blocking(move || Position::last_lines(&folder, lines)).await?;
    loop {
        let (next, data) = blocking(move || position.read()).await?;
        position = next;
        if data.is_empty() {
            if !open.follow || !instance.logs().is_dir() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let frame = StreamFrame::Stdout(data).encode().map_err(|e| e.to_string())?;
        write_frame(writer, &frame).await.map_err(|e| e.to_string())?;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, String> {
    super::in_background(move || work().map_err(|e| format!("the output cannot be read: {e}"))).await
}

/// A place in a log of several files.
#[derive(Debug)]
struct Position {
    folder: PathBuf,
    /// The file that is read; nothing while there is none.
    file: Option<File>,
}

impl Position {
    /// Before the last `lines` lines.
    fn last_lines(folder: &Path, lines: u32) -> io::Result<Self> {
        let _unmoved = Unmoved::take(folder)?;
        let mut missing = u64::from(lines);
        let mut file = None;
        for index in 0..LOG_FILES {
            let Some(mut older) = open_file(&file_path(folder, index))? else { break };
            let found = seek_lines(&mut older, &mut missing, index == 0)?;
            file = Some(older);
            if found {
                break;
            }
        }
        Ok(Self { folder: folder.to_owned(), file })
    }

    /// The next bytes; none at the end of what there is.
    fn read(mut self) -> io::Result<(Self, Vec<u8>)> {
        let data = self.read_file()?;
        if !data.is_empty() {
            return Ok((self, data));
        }
        if !self.folder.is_dir() {
            return Ok((self, Vec::new()));
        }
        let _unmoved = Unmoved::take(&self.folder)?;
        // Once more: whoever began the next file may have written to this one just before.
        let data = self.read_file()?;
        if data.is_empty() && self.advance()? {
            let data = self.read_file()?;
            return Ok((self, data));
        }
        Ok((self, data))
    }

    fn read_file(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        if let Some(file) = &mut self.file {
            file.take(MAX_CHUNK as u64).read_to_end(&mut data)?;
        }
        Ok(data)
    }

    /// Goes on with the file after this one, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let ours = self.file.as_ref().map(File::metadata).transpose()?.map(|m| (m.dev(), m.ino()));
        let mut newer = None;
        for index in 0..LOG_FILES {
            let Some(file) = open_file(&file_path(&self.folder, index))? else { break };
            let metadata = file.metadata()?;
            if ours == Some((metadata.dev(), metadata.ino())) {
                break;
            }
            newer = Some(file);
        }
        // Where ours is gone, the oldest that is left comes next.
        let found = newer.is_some();
        if found {
            self.file = newer;
        }
        Ok(found)
    }
}

/// While it lives, no writer begins a new file.
pub(crate) struct Unmoved(#[expect(dead_code, reason = "held for its lock")] File);

impl Unmoved {
    fn take(folder: &Path) -> io::Result<Self> {
        Self::take_on(&Shelf::of_instance(folder))
    }

    pub(crate) fn take_on(shelf: &Shelf) -> io::Result<Self> {
        let lock = shelf.open_lock()?;
        if lock::share(&lock, PATIENCE)? {
            return Ok(Self(lock));
        }
        Err(io::Error::other("a program holds its lock, which only whoever writes to it has, and only for a moment"))
    }
}

pub(crate) fn open_file(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Puts `file` before its last `missing` lines, or at its start when it has fewer; then `missing` is what is left.
fn seek_lines(file: &mut File, missing: &mut u64, newest: bool) -> io::Result<bool> {
    let size = file.metadata()?.len();
    let mut end = size;
    let mut piece = vec![0; MAX_CHUNK];
    if *missing == 0 {
        file.seek(SeekFrom::End(0))?;
        return Ok(true);
    }
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let room = piece.get_mut(..usize::try_from(end - start).unwrap_or(0)).unwrap_or_default();
        file.read_exact(room)?;
        for (offset, _) in room.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + offset as u64 + 1;
            // The line end at the very end ends the last line; it does not begin one.
            if after == size && newest {
                continue;
            }
            *missing -= 1;
            if *missing == 0 {
                file.seek(SeekFrom::Start(after))?;
                return Ok(true);
            }
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::output::Log;

    fn read_all(mut position: Position) -> (Position, String) {
        let mut text = String::new();
        loop {
            let (next, data) = position.read().unwrap();
            position = next;
            if data.is_empty() {
                return (position, text);
            }
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    #[test]
    fn the_last_lines_may_lie_in_several_files() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        fs::write(file_path(folder, 2), "1\n2\n").unwrap();
        fs::write(file_path(folder, 1), "3\n4").unwrap();
        fs::write(file_path(folder, 0), "4\n5\n").unwrap();
        let check = |lines, expect: &str| {
            assert_eq!(read_all(Position::last_lines(folder, lines).unwrap()).1, expect, "{lines}");
        };
        check(0, "");
        check(1, "5\n");
        check(2, "44\n5\n");
        check(3, "3\n44\n5\n");
        check(4, "2\n3\n44\n5\n");
        check(100, "1\n2\n3\n44\n5\n");
        fs::write(file_path(folder, 0), "4\n5").unwrap();
        check(1, "5");
    }

    #[test]
    fn nothing_is_lost_or_doubled_when_files_move() {
        let temporary = tempfile::tempdir().unwrap();
        let mut position = Position::last_lines(temporary.path(), 10).unwrap();
        let mut log = Log::open(temporary.path()).unwrap();
        let (mut read, mut written) = (String::new(), String::new());
        for i in 0..300 {
            let line = format!("{i:020000}\n");
            log.write(line.as_bytes()).unwrap();
            written.push_str(&line);
            // Now and then, so that several files are begun between two looks.
            if i % 90 == 0 {
                let (next, text) = read_all(position);
                position = next;
                read.push_str(&text);
            }
        }
        read.push_str(&read_all(position).1);
        assert!(read == written);
    }
}
