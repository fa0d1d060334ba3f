//! Gives a link new keys now and then, as the agent does at its end: neither side has to trust the other to do it.
//!
//! TLS 1.3 has a message for it (RFC 8446, 4.6.3). It leaves with the next bytes: an idle link costs no packet more, and
//! ten thousand of them have no clock each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// How long a link uses the keys it has; those of both ends are renewed at each end's time.
pub const KEYS_LIVE: Duration = Duration::from_secs(15 * 60);

/// A TLS connection whose keys are renewed.
#[derive(Debug)]
pub struct Rotating<S> {
    /// In a box: a kilobyte that is moved from future to future has room in each of them, for as long as the link lasts.
    stream: Box<TlsStream<S>>,
    live: Duration,
    since: Instant,
    times: u64,
}

impl<S> Rotating<S> {
    /// Renews the keys of `stream` with what is written when they are `live` old.
    pub fn new(stream: Box<TlsStream<S>>, live: Duration) -> Self {
        Self { stream, live, since: Instant::now(), times: 0 }
    }

    /// How often this side has renewed its keys.
    #[must_use]
    pub const fn times(&self) -> u64 {
        self.times
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TlsStream<S> {
        &self.stream
    }

    fn renew(&mut self) -> io::Result<()> {
        if self.since.elapsed() < self.live {
            return Ok(());
        }
        self.since = Instant::now();
        self.times += 1;
        self.stream.get_mut().1.refresh_traffic_keys().map_err(io::Error::other)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Rotating<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Rotating<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.renew()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
