//! The receiver's side of a copy.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use robo_wire::copy::{CopyFrame, End, Entry, Kind, Push, RawPath, Told, Want, short};
use robo_wire::stream::Verdict;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::line::Line;
use super::part::Part;
use super::place::{Look, Place};
use super::send::in_background;
use super::{CopyError, Gauge, Report};

/// Content that is gathered before it is written, in bytes: every hand-over to another thread costs more than it does.
const GATHER: usize = 256 * 1024;

/// A large file that is coming.
struct Coming {
    number: u64,
    name: RawPath,
    part: Part,
    look: Look,
    /// Content that is not written yet, and the place of its first byte.
    gathered: (u64, Vec<u8>),
}

/// Receives a copy up to `Finish`, by which time all of it is on the disk; the verdict is the caller's.
///
/// # Errors
/// When there is no such place, the stream is cut, or the other side ended it.
pub async fn receive<R, W>(push: &Push, home: &Path, line: &mut Line<R, W>, gauge: &Gauge) -> Result<Report, CopyError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (push, home) = (push.clone(), home.to_owned());
    let place = in_background(move || Place::open(&push, &home)).await?;
    line.tell(&CopyFrame::Place(RawPath(place.path.as_os_str().as_bytes().to_vec()))).await?;
    let mut receiver = Receiver { line, gauge, report: Report::default(), coming: None };
    let mut place = Some(place);
    loop {
        let frame = match receiver.line.next().await {
            Ok(frame) => frame,
            Err(error) => {
                receiver.keep().await;
                return Err(error);
            }
        };
        match frame {
            CopyFrame::Entry(entry) => Box::pin(receiver.take_entry(entry, &mut place)).await?,
            CopyFrame::Data(at, data) => receiver.take_data(at, data).await?,
            CopyFrame::End(end) => receiver.end(end).await?,
            CopyFrame::Failed(told) => receiver.give_up(told).await,
            CopyFrame::Skipped(told) => receiver.report.skip(told),
            CopyFrame::Finish => break,
            CopyFrame::Verdict(Verdict::Ok) => {}
            CopyFrame::Verdict(verdict) => return Err(CopyError::Ended(verdict)),
            CopyFrame::Place(_) | CopyFrame::Want(_) | CopyFrame::Unknown(_) => {}
        }
    }
    let Some(mut place) = place else { return Ok(receiver.report) };
    for told in in_background(move || place.finish()).await? {
        receiver.fail(told).await?;
    }
    Ok(receiver.report)
}

struct Receiver<'a, R, W> {
    line: &'a mut Line<R, W>,
    gauge: &'a Gauge,
    report: Report,
    coming: Option<Coming>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Receiver<'_, R, W> {
    async fn fail(&mut self, told: Told) -> Result<(), CopyError> {
        // A sender that waits for our answer must have it.
        if self.report.failed < robo_wire::copy::MAX_TOLD || told.number.is_some() {
            self.line.tell(&CopyFrame::Failed(told.clone())).await?;
        }
        self.report.fail(told);
        Ok(())
    }

    async fn take_entry(&mut self, entry: Entry, place: &mut Option<Place>) -> Result<(), CopyError> {
        let (number, name) = (entry.number, entry.name.clone());
        let Some(mut owned) = place.take() else { return Err(CopyError::Refused("the place is gone".to_owned())) };
        let gauge_size = match &entry.kind {
            Kind::Small(content) => Some(content.0.len() as u64),
            Kind::File(size) => *size,
            Kind::Folder | Kind::Link(_) => None,
        };
        let is_small = matches!(entry.kind, Kind::Small(_));
        let (back, done, failed) = in_background(move || {
            let done = match &entry.kind {
                Kind::Small(content) => owned.small(&entry, &content.0).map(|()| None),
                Kind::Folder => owned.folder(&entry).map(|()| None),
                Kind::Link(text) => owned.link(&entry, text).map(|()| None),
                Kind::File(size) => owned.large(&entry, *size).map(Some),
            };
            let failed = if owned.is_full() { owned.flush() } else { Vec::new() };
            Ok((owned, done, failed))
        })
        .await?;
        *place = Some(back);
        for told in failed {
            self.fail(told).await?;
        }
        self.gauge.expect(gauge_size.unwrap_or(0));
        match done {
            Ok(None) if is_small => {
                self.gauge.carry(gauge_size.unwrap_or(0));
                self.report.files += 1;
                Ok(())
            }
            Ok(None) => Ok(()),
            Ok(Some((part, look))) => {
                self.line.tell(&CopyFrame::Want(part.want(number))).await?;
                self.gauge.had(part.had());
                let gathered = (part.had(), Vec::new());
                self.coming = Some(Coming { number, name, part, look, gathered });
                Ok(())
            }
            Err(reason) => self.fail(Told { number: Some(number), name, reason: short(&reason) }).await,
        }
    }

    async fn take_data(&mut self, at: u64, data: Vec<u8>) -> Result<(), CopyError> {
        // Content of a file that failed is still under way for a while.
        let Some(coming) = &mut self.coming else { return Ok(()) };
        self.gauge.carry(data.len() as u64);
        let (place, gathered) = &mut coming.gathered;
        if gathered.is_empty() {
            *place = at;
        }
        if *place + gathered.len() as u64 != at {
            return Err(CopyError::Refused("the content does not come as it was announced".to_owned()));
        }
        gathered.extend_from_slice(&data);
        if gathered.len() >= GATHER { self.write().await } else { Ok(()) }
    }

    /// Writes what was gathered.
    async fn write(&mut self) -> Result<(), CopyError> {
        let Some(mut coming) = self.coming.take() else { return Ok(()) };
        let (at, data) = std::mem::take(&mut coming.gathered);
        if data.is_empty() {
            self.coming = Some(coming);
            return Ok(());
        }
        let (number, name) = (coming.number, coming.name.clone());
        let after = at + data.len() as u64;
        let written = in_background(move || {
            coming.part.write(at, &data)?;
            coming.gathered = (after, Vec::new());
            Ok(coming)
        })
        .await;
        match written {
            Ok(coming) => {
                self.coming = Some(coming);
                Ok(())
            }
            Err(CopyError::Refused(reason)) => {
                self.fail(Told { number: Some(number), name, reason: short(&reason) }).await
            }
            Err(other) => Err(other),
        }
    }

    async fn end(&mut self, end: End) -> Result<(), CopyError> {
        self.write().await?;
        let Some(Coming { number, name, part, look, .. }) = self.coming.take() else { return Ok(()) };
        match in_background(move || part.finish(&end, &look)).await {
            Ok(()) => {
                self.report.files += 1;
                Ok(())
            }
            Err(CopyError::Refused(reason)) => {
                self.fail(Told { number: Some(number), name, reason: short(&reason) }).await
            }
            Err(other) => Err(other),
        }
    }

    /// The sender fails at an entry.
    async fn give_up(&mut self, told: Told) {
        if let Some(coming) = self.coming.take_if(|coming| Some(coming.number) == told.number) {
            // What is left is removed when it is old.
            in_background(move || coming.part.forget()).await.ok();
        }
        self.report.fail(told);
    }

    /// The stream is cut: keeps what came, for the next one.
    async fn keep(&mut self) {
        self.write().await.ok();
    }
}

/// How much of a file went to where it cannot be read back from.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    hash: Sha256,
    place: u64,
}

/// Receives one file into `sink`; `passed` is what went there before a cut.
///
/// # Errors
/// As [`receive`]; also when the file is another one than before the cut.
pub async fn receive_into<R, W>(
    sink: &mut (impl AsyncWrite + Unpin),
    passed: &mut Passed,
    line: &mut Line<R, W>,
    gauge: &Gauge,
) -> Result<Report, CopyError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut report = Report::default();
    let refused = |reason: &str| Err(CopyError::Refused(reason.to_owned()));
    let broken = |error: std::io::Error| CopyError::Refused(format!("the output cannot be written: {error}"));
    loop {
        match line.next().await? {
            CopyFrame::Entry(Entry { kind: Kind::Small(content), .. }) => {
                gauge.expect(content.0.len() as u64);
                gauge.carry(content.0.len() as u64);
                sink.write_all(&content.0).await.map_err(broken)?;
                report.files += 1;
            }
            CopyFrame::Entry(Entry { kind: Kind::File(size), number, .. }) => {
                let sha256 = hex::encode(passed.hash.clone().finalize());
                gauge.expect(size.unwrap_or(0));
                gauge.had(passed.place);
                line.say(&CopyFrame::Want(Want { number, from: passed.place, sha256 })).await?;
                line.flush().await?;
            }
            CopyFrame::Entry(_) => return refused("it is no file"),
            CopyFrame::Data(at, _) if at != passed.place => {
                return refused("the file was changed meanwhile; copy it again");
            }
            CopyFrame::Data(_, data) => {
                sink.write_all(&data).await.map_err(broken)?;
                passed.hash.update(&data);
                passed.place += data.len() as u64;
                gauge.carry(data.len() as u64);
            }
            CopyFrame::End(end) if end.sha256 != hex::encode(passed.hash.clone().finalize()) => {
                return refused("the checksum is wrong; copy it again");
            }
            CopyFrame::End(_) => report.files += 1,
            CopyFrame::Failed(told) => report.fail(told),
            CopyFrame::Skipped(told) => report.skip(told),
            CopyFrame::Finish => break,
            CopyFrame::Verdict(Verdict::Ok) | CopyFrame::Place(_) | CopyFrame::Want(_) | CopyFrame::Unknown(_) => {}
            CopyFrame::Verdict(verdict) => return Err(CopyError::Ended(verdict)),
        }
    }
    sink.flush().await.map_err(broken)?;
    Ok(report)
}
