//! Frames out of streams: those of agents, and of the relay.

use std::io;

use robo_wire::frame::{self, Frame, FrameError, HEADER_BYTES, MAX_STREAM_FRAME};
use robo_wire::stream::{StreamFrame, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::links::LinkStream;

/// Bytes read from a link at a time.
const CHUNK: usize = 16 * 1024;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It ends within a frame.
    #[error("it ends within a frame")]
    Torn,
    /// It broke off.
    #[error("it broke off: {0}")]
    BrokenOff(String),
}

/// Frames of a stream from an agent.
pub(crate) struct StreamFrames<R> {
    stream: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> StreamFrames<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next frame; nothing at the end of the stream.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, max)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(CHUNK);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::Torn),
                Ok(_) => {}
                Err(error) => return Err(ReadError::BrokenOff(error.to_string())),
            }
        }
    }
}

/// Why a device does not answer with what it was asked for.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It says why.
    Refused(String),
    /// It is of another version, or its link broke.
    Broken(String),
}

/// All that a device says on a stream that was opened for one answer: at most `max` bytes.
pub(crate) async fn answer(stream: Box<dyn LinkStream>, max: usize) -> Result<Vec<u8>, Unanswered> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
    // The device takes an end of the other half for nobody listening.
    let (reader, _writer) = tokio::io::split(stream);
    let mut frames = StreamFrames::new(reader);
    let mut said = Vec::new();
    while let Some(frame) = frames.next(MAX_STREAM_FRAME).await.map_err(|error| broken(&error))? {
        match StreamFrame::decode(frame).map_err(|error| broken(&error))? {
            StreamFrame::Stdout(piece) if said.len() + piece.len() <= max => said.extend(piece),
            StreamFrame::Stdout(_) => return Err(Unanswered::Broken(format!("it says more than {max} bytes"))),
            StreamFrame::Verdict(Verdict::Ok) => return Ok(said),
            StreamFrame::Verdict(Verdict::Refused { reason }) => return Err(Unanswered::Refused(reason)),
            StreamFrame::Verdict(verdict) => return Err(broken(&verdict)),
            StreamFrame::Stdin(_)
            | StreamFrame::StdinEnd
            | StreamFrame::Signal(_)
            | StreamFrame::Stderr(_)
            | StreamFrame::Received(..)
            | StreamFrame::Seen(_)
            | StreamFrame::Taken(_)
            | StreamFrame::Unknown(_) => {}
        }
    }
    Err(Unanswered::Broken("its agent is of a version that does not know how to, or its link broke".to_owned()))
}

/// Reads the next frame off `reader` and not one byte more: what comes after it is another's to read.
///
/// Not safe to cancel: a frame that was read half is lost.
///
/// # Errors
/// `InvalidData` when the header is wrong, `UnexpectedEof` when it ends before the frame does.
pub(crate) async fn read_one(reader: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Frame> {
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header).await?;
    let read = frame::read_header(header, max);
    let (kind, length) = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Frame { kind, body })
}
