//! The sender's side of a copy.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use robo_model::quantity::UnixMillis;
use robo_wire::copy::{CopyFrame, End, Entry, Kind, MAX_INLINE, Pull, RawPath, Told, Want, short};
use robo_wire::stream::MAX_CHUNK;
use rustix::fs::{Stat, fstat};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::fault::explain_io;
use super::line::Line;
use super::pace::Pace;
use super::walk::{Item, Step, Walk, own_name};
use super::{CopyError, Gauge, Report};

/// Entries that are looked at together, away from the loop: each is a few calls into the kernel.
const BATCH: usize = 64;

/// What is sent.
pub struct Source {
    from: From,
    recursive: bool,
    limit: Option<u64>,
}

enum From {
    Path(PathBuf),
    /// Something that can be read once, as a file.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Source {
    /// A file, or with `recursive` a folder too; at most `limit` bytes of content in a second.
    #[must_use]
    pub const fn path(path: PathBuf, recursive: bool, limit: Option<u64>) -> Self {
        Self { from: From::Path(path), recursive, limit }
    }

    /// What comes out of `stream`.
    #[must_use]
    pub fn stream(stream: Box<dyn AsyncRead + Send + Unpin>, limit: Option<u64>) -> Self {
        Self { from: From::Stream(stream), recursive: false, limit }
    }

    /// What a client asks for; a relative path begins at `home`.
    pub(super) fn of(pull: &Pull, home: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let path = home.join(std::ffi::OsStr::from_bytes(&pull.path.0));
        Self::path(path, pull.recursive, pull.limit)
    }
}

/// Sends the source, up to `Finish`; the verdict is the caller's.
///
/// # Errors
/// When the source cannot be read at all, the stream is cut, or the other side ended it.
pub async fn send<R, W>(source: Source, line: &mut Line<R, W>, gauge: &Gauge) -> Result<Report, CopyError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut sender = Sender { line, gauge, pace: Pace::new(source.limit), report: Report::default(), next: 0 };
    match source.from {
        From::Path(path) => Box::pin(sender.send_tree(Walk::new(&path, source.recursive))).await?,
        From::Stream(stream) => Box::pin(sender.send_stream(stream)).await?,
    }
    sender.line.say(&CopyFrame::Finish).await?;
    sender.line.flush().await?;
    Ok(sender.report)
}

struct Sender<'a, R, W> {
    line: &'a mut Line<R, W>,
    gauge: &'a Gauge,
    pace: Pace,
    report: Report,
    next: u64,
}

/// A file's content, as it is read.
struct Reading {
    file: File,
    hash: Sha256,
    place: u64,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Sender<'_, R, W> {
    async fn send_tree(&mut self, mut walk: Walk) -> Result<(), CopyError> {
        loop {
            let (back, steps) = in_background(move || {
                let mut steps = Vec::new();
                while steps.len() < BATCH
                    && let Some(step) = walk.next()?
                {
                    steps.push(step);
                }
                Ok((walk, steps))
            })
            .await?;
            walk = back;
            if steps.is_empty() {
                return Ok(());
            }
            for step in steps {
                match step {
                    Step::Item(item) => Box::pin(self.send_item(item)).await?,
                    Step::Skip(told) => {
                        self.line.say(&CopyFrame::Skipped(told.clone())).await?;
                        self.report.skip(told);
                    }
                    Step::Fail(told) => self.fail(told).await?,
                }
            }
        }
    }

    async fn send_item(&mut self, item: Item) -> Result<(), CopyError> {
        let number = self.number();
        let Item { name, kind, mode, modified_at, file } = item;
        let small = if let Kind::Small(content) = &kind { Some(content.0.len()) } else { None };
        if let Some(bytes) = small {
            self.pace.wait(bytes).await;
        }
        let expected = if let Kind::File(size) = &kind { *size } else { None };
        self.line.say(&CopyFrame::Entry(Entry { number, name: name.clone(), kind, mode, modified_at })).await?;
        if let Some(bytes) = small {
            self.gauge.expect(bytes as u64);
            self.gauge.carry(bytes as u64);
            self.report.files += 1;
        }
        let Some((file, stat)) = file else { return Ok(()) };
        self.gauge.expect(expected.unwrap_or(0));
        let Some(want) = self.wanted(number).await? else { return Ok(()) };
        match Box::pin(self.send_file(file, want, expected)).await? {
            None => Ok(()),
            Some(Err(reason)) => self.fail(Told { number: Some(number), name, reason: short(&reason) }).await,
            Some(Ok(reading)) => self.end(number, name, reading, (stat, expected)).await,
        }
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    async fn fail(&mut self, told: Told) -> Result<(), CopyError> {
        if self.report.failed < robo_wire::copy::MAX_TOLD || told.number.is_some() {
            self.line.say(&CopyFrame::Failed(told.clone())).await?;
        }
        self.report.fail(told);
        Ok(())
    }

    /// Waits until the receiver asks for the content; nothing when it cannot take it.
    async fn wanted(&mut self, number: u64) -> Result<Option<Want>, CopyError> {
        self.line.flush().await?;
        loop {
            match self.line.next().await? {
                CopyFrame::Want(want) if want.number == number => return Ok(Some(want)),
                CopyFrame::Failed(told) => {
                    let is_ours = told.number == Some(number);
                    self.report.fail(told);
                    if is_ours {
                        return Ok(None);
                    }
                }
                CopyFrame::Verdict(verdict) => return Err(CopyError::Ended(verdict)),
                CopyFrame::Place(_)
                | CopyFrame::Entry(_)
                | CopyFrame::Want(_)
                | CopyFrame::Data(..)
                | CopyFrame::End(_)
                | CopyFrame::Skipped(_)
                | CopyFrame::Finish
                | CopyFrame::Unknown(_) => {}
            }
        }
    }

    /// Sends what the receiver lacks; an inner error concerns this file alone, nothing means
    /// that the receiver does not want it any more.
    async fn send_file(
        &mut self,
        file: File,
        want: Want,
        expected: Option<u64>,
    ) -> Result<Option<Result<Reading, String>>, CopyError> {
        let (limit, number) = (expected.unwrap_or(u64::MAX), want.number);
        let Ok(mut reading) = in_background(move || resume(file, &want, limit)).await else {
            return Ok(Some(Err("it cannot be read".to_owned())));
        };
        self.gauge.had(reading.place);
        let piece = self.pace.piece();
        loop {
            let left = usize::try_from(limit - reading.place).unwrap_or(usize::MAX).min(piece);
            let read = in_background(move || read_piece(reading, left)).await;
            let data = match read {
                Ok((back, data)) => {
                    reading = back;
                    data
                }
                Err(CopyError::Refused(reason)) => return Ok(Some(Err(reason))),
                Err(other) => return Err(other),
            };
            if data.is_empty() {
                return Ok(Some(Ok(reading)));
            }
            self.send_data(reading.place - data.len() as u64, &data).await?;
            if self.is_given_up(number)? {
                return Ok(None);
            }
        }
    }

    /// True when the receiver said meanwhile that it cannot take this file.
    fn is_given_up(&mut self, number: u64) -> Result<bool, CopyError> {
        while let Some(frame) = self.line.next().now_or_never() {
            match frame? {
                CopyFrame::Failed(told) => {
                    let is_ours = told.number == Some(number);
                    self.report.fail(told);
                    if is_ours {
                        return Ok(true);
                    }
                }
                CopyFrame::Verdict(verdict) => return Err(CopyError::Ended(verdict)),
                CopyFrame::Place(_)
                | CopyFrame::Entry(_)
                | CopyFrame::Want(_)
                | CopyFrame::Data(..)
                | CopyFrame::End(_)
                | CopyFrame::Skipped(_)
                | CopyFrame::Finish
                | CopyFrame::Unknown(_) => {}
            }
        }
        Ok(false)
    }

    async fn send_data(&mut self, mut place: u64, data: &[u8]) -> Result<(), CopyError> {
        self.pace.wait(data.len()).await;
        for piece in data.chunks(MAX_CHUNK) {
            self.line.say(&CopyFrame::Data(place, piece.to_vec())).await?;
            place += piece.len() as u64;
            self.gauge.carry(piece.len() as u64);
        }
        self.line.flush().await
    }

    /// Ends a file; one that changed meanwhile is none of which anybody should rely on.
    async fn end(
        &mut self,
        number: u64,
        name: RawPath,
        reading: Reading,
        (before, expected): (Stat, Option<u64>),
    ) -> Result<(), CopyError> {
        let told = |reason: String| Told { number: Some(number), name: name.clone(), reason };
        let after = fstat(&reading.file).ok();
        let size = |stat: &Stat| u64::try_from(stat.st_size).unwrap_or(0);
        let is_same = |after: &Stat| {
            size(after) == size(&before)
                && (after.st_mtime, after.st_mtime_nsec) == (before.st_mtime, before.st_mtime_nsec)
        };
        let grew = after.as_ref().is_some_and(|after| size(after) > size(&before));
        let is_whole = expected.is_none_or(|expected| expected == reading.place);
        if !is_whole || (expected.is_some() && !grew && !after.as_ref().is_some_and(is_same)) {
            return self.fail(told("it was changed while it was copied; copy it again".to_owned())).await;
        }
        self.report.files += 1;
        let sha256 = hex::encode(reading.hash.finalize());
        self.line.say(&CopyFrame::End(End { size: reading.place, sha256 })).await?;
        if grew && expected.is_some() {
            let told = told(format!("it grew while it was copied: its first {} bytes were", reading.place));
            self.line.say(&CopyFrame::Skipped(told.clone())).await?;
            self.report.skip(told);
        }
        Ok(())
    }

    /// One file out of a stream, whose size nobody knows: never resumed.
    async fn send_stream(&mut self, mut stream: Box<dyn AsyncRead + Send + Unpin>) -> Result<(), CopyError> {
        let number = self.number();
        let modified_at: Option<UnixMillis> = None;
        let entry = Entry { number, name: RawPath::default(), kind: Kind::File(None), mode: 0o644, modified_at };
        self.line.say(&CopyFrame::Entry(entry)).await?;
        if self.wanted(number).await?.is_none() {
            return Ok(());
        }
        let (mut place, mut hash, mut piece) = (0, Sha256::new(), vec![0; self.pace.piece().min(MAX_INLINE)]);
        loop {
            let read = stream.read(&mut piece).await;
            let read = read.map_err(|error| CopyError::Refused(explain_io("read", "-", &error)))?;
            let data = piece.get(..read).unwrap_or_default();
            if data.is_empty() {
                break;
            }
            hash.update(data);
            self.send_data(place, data).await?;
            place += read as u64;
        }
        self.report.files += 1;
        self.line.say(&CopyFrame::End(End { size: place, sha256: hex::encode(hash.finalize()) })).await
    }
}

/// Where to go on: behind what the receiver has, if we have the same there.
fn resume(mut file: File, want: &Want, size: u64) -> Result<Reading, String> {
    let mut hash = Sha256::new();
    if want.from > 0 && want.from <= size {
        let read = super::part::hash_file(&mut file, want.from, &mut hash).map_err(|e| e.to_string())?;
        if read == want.from && hex::encode(hash.clone().finalize()) == want.sha256 {
            return Ok(Reading { file, hash, place: want.from });
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    Ok(Reading { file, hash: Sha256::new(), place: 0 })
}

fn read_piece(mut reading: Reading, bytes: usize) -> Result<(Reading, Vec<u8>), String> {
    let mut data = Vec::with_capacity(bytes);
    let read = (&mut reading.file).take(bytes as u64).read_to_end(&mut data);
    read.map_err(|error| format!("it cannot be read on: {error}"))?;
    reading.hash.update(&data);
    reading.place += data.len() as u64;
    Ok((reading, data))
}

/// Does what may wait for a disk away from the loop.
pub(super) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, CopyError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(e.to_string())).map_err(CopyError::Refused)
}

/// The name of a copy of `path`, for who makes a `Push` of it.
#[must_use]
pub fn name_of(path: &Path) -> Option<RawPath> {
    use std::os::unix::ffi::OsStrExt as _;
    own_name(path).map(|name| RawPath(name.as_bytes().to_vec()))
}
