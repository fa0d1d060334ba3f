//! Frames out of bodies and streams.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use robo_wire::frame::{self, Frame, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How long a client may take for the first frame of a request.
pub(super) const FIRST_FRAME: Duration = Duration::from_secs(30);

/// Bytes read from a link at a time.
const CHUNK: usize = 16 * 1024;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
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

/// Frames of a request's body.
pub(super) struct BodyFrames {
    body: BodyDataStream,
    buffer: Vec<u8>,
}

impl BodyFrames {
    pub(super) fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), buffer: Vec::new() }
    }

    /// The next frame; nothing at the end of the body.
    pub(super) async fn next(&mut self, max: usize) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, max)? {
                return Ok(Some(frame));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(ReadError::BrokenOff(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ReadError::Torn),
            }
        }
    }
}

/// Frames of a stream from an agent.
pub(super) struct StreamFrames<R> {
    stream: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> StreamFrames<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next frame; nothing at the end of the stream.
    pub(super) async fn next(&mut self, max: usize) -> Result<Option<Frame>, ReadError> {
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
