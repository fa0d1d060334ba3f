//! Frames out of the bodies of requests.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use robo_wire::frame::{self, Frame, FrameError, MAX_CONTROL_FRAME};

use super::problem::Refusal;
use crate::streams::ReadError;

/// How long a client may take for the first frame of a request.
const FIRST_FRAME: Duration = Duration::from_secs(30);

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

    /// The bytes that come next, whatever they are; nothing at the end of the body.
    pub(super) async fn bytes(&mut self) -> Option<Vec<u8>> {
        if !self.buffer.is_empty() {
            return Some(std::mem::take(&mut self.buffer));
        }
        Some(self.body.next().await?.ok()?.to_vec())
    }

    /// The first frame: the request itself.
    pub(super) async fn first<T>(
        &mut self,
        decode: impl FnOnce(&Frame) -> Result<T, FrameError>,
    ) -> Result<T, Refusal> {
        let frame = tokio::time::timeout(FIRST_FRAME, self.next(MAX_CONTROL_FRAME))
            .await
            .map_err(|_| Refusal::bad_request("the first frame did not come in time"))?
            .map_err(|error| Refusal::bad_request(format!("the body: {error}")))?
            .ok_or_else(|| Refusal::bad_request("the body is empty"))?;
        decode(&frame).map_err(|error| Refusal::bad_request(error.to_string()))
    }
}
