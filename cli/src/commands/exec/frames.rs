//! Frames of a streamed answer, cut from its bytes as they come.

use futures_util::StreamExt as _;
use robo_wire::frame::{self, Frame, FrameError, MAX_CONTROL_FRAME};
use robo_wire::stream::Answer;

use crate::client::{ByteStream, ClientError};

/// The frames of one answer.
pub(crate) struct Frames {
    bytes: ByteStream,
    buffer: Vec<u8>,
}

/// Why an answer cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramesError {
    /// The connection ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What comes is no frame.
    #[error("the manager's answer cannot be read: {0}")]
    Frame(#[from] FrameError),
    /// The answer ends in the middle of a frame.
    #[error("the manager's answer ends too early")]
    Cut,
}

impl Frames {
    /// The frames in `bytes`.
    pub(crate) fn new(bytes: ByteStream) -> Self {
        Self { bytes, buffer: Vec::new() }
    }

    /// The next frame; nothing at the end. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// When the answer breaks off or is not what it should be.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>, FramesError> {
        Ok(self.next_frame().await?.map(Answer::decode).transpose()?)
    }

    /// The next frame, whatever it means; as [`Frames::next`].
    ///
    /// # Errors
    /// As [`Frames::next`].
    pub(crate) async fn next_frame(&mut self) -> Result<Option<Frame>, FramesError> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME)? {
                return Ok(Some(frame));
            }
            match self.bytes.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(FramesError::Cut),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use robo_wire::stream::{StreamFrame, Verdict};

    use super::*;

    async fn read(chunks: Vec<Vec<u8>>) -> (Vec<Answer>, Option<String>) {
        let chunks = chunks.into_iter().map(|c| Ok(Bytes::from(c)));
        let mut frames = Frames::new(futures_util::stream::iter(chunks).boxed());
        let mut all = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(answer)) => all.push(answer),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn frames_are_read_whatever_way_they_are_cut() {
        let answers =
            [Answer::From(0, StreamFrame::Stdout(b"hi".to_vec())), Answer::From(1, StreamFrame::Verdict(Verdict::Ok))];
        let bytes: Vec<u8> = answers.iter().flat_map(|a| a.encode().unwrap()).collect();
        for size in [1, 3, 1000] {
            let (read, error) = read(bytes.chunks(size).map(<[u8]>::to_vec).collect()).await;
            assert_eq!((read.as_slice(), error), (answers.as_slice(), None), "in pieces of {size}");
        }
        let (whole, error) = read(vec![bytes[..bytes.len() - 1].to_vec()]).await;
        assert_eq!((whole.len(), error.unwrap().as_str()), (1, "the manager's answer ends too early"));
        assert!(read(vec![b"HTTP/1.1 200".to_vec()]).await.1.unwrap().contains("cannot be read"));
    }
}
