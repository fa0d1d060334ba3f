//! Notices when a connection is dead and nobody says so: nothing came for too long, whatever it might have been.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection that notes when it was heard last.
#[derive(Debug)]
pub(crate) struct Heard<S> {
    stream: S,
    ear: Ear,
}

/// When a connection was heard last.
#[derive(Debug, Clone)]
pub(crate) struct Ear {
    since: Instant,
    /// Milliseconds after `since`.
    last: Arc<AtomicU64>,
}

impl<S> Heard<S> {
    /// Heard now, and at each byte from now on.
    pub(crate) fn new(stream: S) -> (Self, Ear) {
        let ear = Ear { since: Instant::now(), last: Arc::default() };
        (Self { stream, ear: ear.clone() }, ear)
    }
}

impl Ear {
    /// Comes back when nothing was heard for `longest`.
    pub(crate) async fn silence(&self, longest: Duration) {
        loop {
            let last = self.since + Duration::from_millis(self.last.load(Ordering::Relaxed));
            if last.elapsed() >= longest {
                return;
            }
            tokio::time::sleep_until(last + longest).await;
        }
    }

    fn heard(&self) {
        self.last.store(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.ear.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn silence_is_counted_from_the_last_byte() {
        let (mut near, far) = tokio::io::duplex(8);
        let (mut far, ear) = Heard::new(far);
        let longest = Duration::from_millis(200);
        let begun = Instant::now();
        let read = async {
            tokio::time::sleep(longest / 2).await;
            near.write_all(b"x").await.unwrap();
            far.read_u8().await.unwrap()
        };
        let ((), byte) = tokio::join!(ear.silence(longest), read);
        assert!(byte == b'x' && begun.elapsed() >= longest + longest / 2);
    }
}
