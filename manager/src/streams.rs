//! Frames out of streams: those of agents, and of the relay.

use std::io;

use robo_wire::frame::{self, Frame, FrameError, HEADER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt as _};

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
