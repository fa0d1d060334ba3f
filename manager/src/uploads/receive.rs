//! Receives one file of a device: the receiver's side of `robo_wire::copy`, for a sender that may be an enemy.
//!
//! It takes one file and nothing else, no more bytes than were announced or there is room for, and waits for no sender
//! that hardly sends. What was received stays for the next try; the sender goes on there only when it has the same.

use std::time::Duration;

use robo_model::name::UploadId;
use robo_wire::copy::{CopyFrame, End, Entry, Kind, MAX_TOLD, Want};
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::Verdict;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

use super::shelf::{Part, Shelf};
use crate::api::pace::Pace;
use crate::streams::{ReadError, StreamFrames};

/// Content that is gathered before it is written, in bytes: every hand-over to another thread costs more than it does.
const GATHER: usize = 256 * 1024;

/// Frames without content that are read of one file: remarks are told up to [`MAX_TOLD`] each, and a newer sender may
/// say what is not known here.
const MAX_REMARKS: u64 = 2 * MAX_TOLD;

/// A file that came, whole and checked, and has no name yet.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) part: Part,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// Why a file does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The link was cut: it may go on over the next one.
    Cut(String),
    /// It will not come.
    Refused(String),
}

/// What the receiver has to ask for, and tells.
pub(super) trait Host: Sync {
    /// Whether there is room for a file of this size; for how many bytes.
    fn reserve(&self, size: Option<u64>) -> impl Future<Output = Result<u64, Stop>> + Send;

    /// So many bytes are here.
    fn at(&self, place: u64, total: Option<u64>);
}

/// Receives the file `id` over `stream`, on which a sender begins; of one that says nothing for `patience` it is enough.
pub(super) async fn receive<S: AsyncRead + AsyncWrite + Unpin, H: Host>(
    stream: S,
    (shelf, id): (&Shelf, &UploadId),
    host: &H,
    patience: Duration,
) -> Result<Whole, Stop> {
    let (reader, writer) = tokio::io::split(stream);
    let frames = StreamFrames::new(reader);
    let mut receiver =
        Receiver { frames, writer, shelf, id, host, pace: Pace::new(patience), remarks: 0, failure: None };
    receiver.run().await
}

struct Receiver<'a, S, H> {
    frames: StreamFrames<ReadHalf<S>>,
    writer: WriteHalf<S>,
    shelf: &'a Shelf,
    id: &'a UploadId,
    host: &'a H,
    pace: Pace,
    remarks: u64,
    /// What the sender said is wrong with the file.
    failure: Option<String>,
}

/// How far the file is.
enum State {
    /// Nothing is known of it.
    Waiting,
    Coming(Coming),
    Whole(Whole),
}

/// A file whose content comes.
struct Coming {
    part: Part,
    size: Option<u64>,
    room: u64,
    gathered: Vec<u8>,
    /// Content came: where it begins is settled.
    is_settled: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Host> Receiver<'_, S, H> {
    async fn run(&mut self) -> Result<Whole, Stop> {
        let mut state = State::Waiting;
        loop {
            let frame = match self.next().await {
                Ok(frame) => frame,
                Err(stop) => {
                    // What came is kept for the next time.
                    if let State::Coming(coming) = state {
                        write(coming).await?;
                    }
                    return Err(stop);
                }
            };
            state = match (state, frame) {
                (State::Waiting, CopyFrame::Entry(entry)) => Box::pin(self.begin(entry)).await?,
                (State::Coming(coming), CopyFrame::Data(at, data)) => {
                    State::Coming(Box::pin(self.take(coming, at, data)).await?)
                }
                (State::Coming(coming), CopyFrame::End(end)) => State::Whole(finish(coming, &end).await?),
                (state, CopyFrame::Failed(told)) => {
                    self.remark()?;
                    self.failure.get_or_insert(told.reason);
                    state
                }
                (state, CopyFrame::Skipped(_) | CopyFrame::Unknown(_) | CopyFrame::Finish | CopyFrame::Place(_)) => {
                    self.remark()?;
                    state
                }
                (State::Whole(whole), CopyFrame::Verdict(Verdict::Ok)) => {
                    // The sender need not hear that it is over.
                    self.writer.shutdown().await.ok();
                    return Ok(whole);
                }
                (_, CopyFrame::Verdict(verdict)) => return Err(Stop::Refused(self.why(&verdict))),
                (_, CopyFrame::Entry(_)) => return Err(refused("the device sends more than one file")),
                (_, CopyFrame::Data(..) | CopyFrame::End(_) | CopyFrame::Want(_)) => {
                    return Err(refused("the device sends what nobody asked it for"));
                }
            };
        }
    }

    /// The next frame, as long as they come fast enough.
    async fn next(&mut self) -> Result<CopyFrame, Stop> {
        let begun = Instant::now();
        let Ok(read) = timeout(self.pace.left(), self.frames.next(MAX_STREAM_FRAME)).await else {
            return Err(Stop::Cut("nothing came of it for too long".to_owned()));
        };
        let frame = read.map_err(|error| match error {
            ReadError::Frame(error) => Stop::Refused(format!("what the device says cannot be understood: {error}")),
            ReadError::Torn | ReadError::BrokenOff(_) => Stop::Cut("the link was cut".to_owned()),
        })?;
        let frame = frame.ok_or_else(|| Stop::Cut("the link was cut".to_owned()))?;
        self.pace.came(frame.body.len() as u64, begun.elapsed());
        CopyFrame::decode(&frame)
            .map_err(|error| Stop::Refused(format!("what the device says cannot be understood: {error}")))
    }

    fn remark(&mut self) -> Result<(), Stop> {
        self.remarks += 1;
        if self.remarks > MAX_REMARKS { Err(refused("the device says much and sends nothing")) } else { Ok(()) }
    }

    /// Why the sender ended without the file.
    fn why(&mut self, verdict: &Verdict) -> String {
        match (self.failure.take(), verdict) {
            (Some(reason), _) => reason,
            (None, Verdict::Refused { reason }) => reason.clone(),
            (None, Verdict::Ok) => "the device ended without sending the file".to_owned(),
            (None, other) => other.to_string(),
        }
    }

    async fn begin(&mut self, entry: Entry) -> Result<State, Stop> {
        let size = match &entry.kind {
            Kind::Small(content) => Some(content.0.len() as u64),
            Kind::File(size) => *size,
            Kind::Folder | Kind::Link(_) => {
                return Err(refused("it is a folder, and one file is kept; `robo cp -r` copies folders"));
            }
        };
        let room = self.host.reserve(size).await?;
        let (shelf, id) = (self.shelf.clone(), self.id.clone());
        let mut part = disk(move || shelf.take_up(&id, room)).await?;
        if let Kind::Small(content) = entry.kind {
            let part = disk(move || {
                part.begin_anew()?;
                part.write(&content.0)?;
                Ok(part)
            })
            .await?;
            self.host.at(part.place(), size);
            return Ok(State::Whole(whole(part)));
        }
        let want = Want { number: entry.number, from: part.place(), sha256: part.sha256() };
        self.host.at(part.place(), size);
        let bytes = CopyFrame::Want(want).encode().map_err(|error| Stop::Refused(error.to_string()))?;
        let cut = |_| Stop::Cut("the link was cut".to_owned());
        self.writer.write_all(&bytes).await.map_err(cut)?;
        self.writer.flush().await.map_err(cut)?;
        // The sender now reads and hashes as much as we have, and says nothing meanwhile.
        self.pace.allow(part.place());
        Ok(State::Coming(Coming { part, size, room, gathered: Vec::new(), is_settled: false }))
    }

    async fn take(&mut self, mut coming: Coming, at: u64, data: Vec<u8>) -> Result<Coming, Stop> {
        let place = coming.part.place() + coming.gathered.len() as u64;
        if at == 0 && place > 0 && !coming.is_settled {
            // The sender has another content than was here before the cut.
            coming = in_background(coming, |coming| coming.part.begin_anew()).await?;
        } else if at != place {
            return Err(refused("the content does not come as it was announced"));
        }
        coming.is_settled = true;
        coming.gathered.extend_from_slice(&data);
        let place = coming.part.place() + coming.gathered.len() as u64;
        if place > coming.room || coming.size.is_some_and(|size| place > size) {
            return Err(match coming.size {
                Some(size) => refused(&format!("the device sends more than the {size} bytes that it announced")),
                None => refused(&format!("the file is larger than the {} bytes that there is room for", coming.room)),
            });
        }
        self.host.at(place, coming.size);
        if coming.gathered.len() >= GATHER { write(coming).await } else { Ok(coming) }
    }
}

/// Writes what was gathered.
async fn write(coming: Coming) -> Result<Coming, Stop> {
    in_background(coming, |coming| {
        let data = std::mem::take(&mut coming.gathered);
        coming.part.write(&data)
    })
    .await
}

async fn finish(coming: Coming, end: &End) -> Result<Whole, Stop> {
    let coming = write(coming).await?;
    let whole = whole(coming.part);
    if (whole.size, whole.sha256.as_str()) != (end.size, end.sha256.as_str()) {
        return Err(refused("the checksum is wrong: what came is not what the device read"));
    }
    if coming.size.is_some_and(|size| size != whole.size) {
        return Err(refused("the device sent less than it announced"));
    }
    Ok(whole)
}

fn whole(part: Part) -> Whole {
    Whole { size: part.place(), sha256: part.sha256(), part }
}

fn refused(reason: &str) -> Stop {
    Stop::Refused(reason.to_owned())
}

async fn in_background(
    mut coming: Coming,
    work: impl FnOnce(&mut Coming) -> std::io::Result<()> + Send + 'static,
) -> Result<Coming, Stop> {
    disk(move || work(&mut coming).map(|()| coming)).await
}

/// Does what may wait for a disk away from the loop.
pub(super) async fn disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Stop> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| {
        tracing::error!(%error, "a file of a device cannot be written");
        if error.kind() == std::io::ErrorKind::StorageFull {
            Stop::Refused("the manager's disk is full".to_owned())
        } else {
            Stop::Refused(format!("the manager cannot write it: {error}"))
        }
    })
}

#[cfg(test)]
mod tests;
