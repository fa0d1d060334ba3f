//! The frames of a copy on anything that carries bytes.

use robo_wire::copy::CopyFrame;
use robo_wire::frame::{self, MAX_STREAM_FRAME};
use robo_wire::stream::Verdict;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{CopyError, Report};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// A stream to the other side.
#[derive(Debug)]
pub struct Line<R, W> {
    reader: R,
    writer: W,
    buffer: Vec<u8>,
    /// The other side takes no more of what a receiver tells.
    is_deaf: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Line<R, W> {
    /// Frames on `reader` and `writer`.
    pub const fn new(reader: R, writer: W) -> Self {
        Self { reader, writer, buffer: Vec::new(), is_deaf: false }
    }

    /// The next frame. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// When the stream ends, which it may not do before a verdict, or what comes is no frame.
    pub async fn next(&mut self) -> Result<CopyFrame, CopyError> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_STREAM_FRAME)? {
                return Ok(CopyFrame::decode(&frame)?);
            }
            self.buffer.reserve(CHUNK);
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(CopyError::Cut("it ended without a verdict".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(CopyError::Cut(error.to_string())),
            }
        }
    }

    /// Writes a frame; it may wait here until [`Line::flush`].
    ///
    /// # Errors
    /// When the other side takes no more: the verdict that it gave, where there is one.
    pub async fn say(&mut self, frame: &CopyFrame) -> Result<(), CopyError> {
        let bytes = frame.encode()?;
        match self.writer.write_all(&bytes).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(&error).await),
        }
    }

    /// Sends a frame of the receiver's. A sender of small files may have sent everything and be gone before it hears of
    /// this: that is no reason not to read what it sent.
    ///
    /// # Errors
    /// When the frame is larger than one may be.
    pub async fn tell(&mut self, frame: &CopyFrame) -> Result<(), CopyError> {
        let bytes = frame.encode()?;
        if !self.is_deaf {
            self.is_deaf = self.writer.write_all(&bytes).await.is_err() || self.writer.flush().await.is_err();
        }
        Ok(())
    }

    /// Sends all that was said.
    ///
    /// # Errors
    /// As [`Line::say`].
    pub async fn flush(&mut self) -> Result<(), CopyError> {
        match self.writer.flush().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(&error).await),
        }
    }

    /// Reads to the verdict; what was told on the way is put into `report`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn verdict(&mut self, report: &mut Report) -> Result<Verdict, CopyError> {
        loop {
            match self.next().await? {
                CopyFrame::Verdict(verdict) => return Ok(verdict),
                CopyFrame::Failed(told) => report.fail(told),
                CopyFrame::Skipped(told) => report.skip(told),
                CopyFrame::Place(_)
                | CopyFrame::Entry(_)
                | CopyFrame::Want(_)
                | CopyFrame::Data(..)
                | CopyFrame::End(_)
                | CopyFrame::Finish
                | CopyFrame::Unknown(_) => {}
            }
        }
    }

    /// Sends what is left and ends this direction.
    pub async fn close(&mut self) {
        // A peer that is gone needs nothing.
        self.writer.shutdown().await.ok();
    }

    /// Why the other side takes no more.
    async fn why(&mut self, error: &std::io::Error) -> CopyError {
        match self.verdict(&mut Report::default()).await {
            // It cannot be well before all of it was sent.
            Ok(Verdict::Ok) | Err(_) => CopyError::Cut(error.to_string()),
            Ok(verdict) => CopyError::Ended(verdict),
        }
    }
}
