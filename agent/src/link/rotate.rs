//! Gives a connection new keys now and then, while it is there: who learns one key reads a quarter of an hour, and no
//! device's link of months is one long text under one key.
//!
//! TLS 1.3 has a message for it (RFC 8446, 4.6.3), which asks the other side for new keys too. It leaves with the next
//! bytes: a link speaks up every half minute, so that no clock of its own is needed, and an idle link costs no packet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// How long a link uses the keys it has. By bytes TLS itself renews them, long before AES-GCM wants it.
pub const KEYS_LIVE: Duration = Duration::from_secs(15 * 60);

/// A TLS connection whose keys are renewed.
#[derive(Debug)]
pub struct Rotating<S> {
    stream: TlsStream<S>,
    live: Duration,
    since: Instant,
    times: u64,
}

impl<S> Rotating<S> {
    /// Renews the keys of `stream` with what is written when they are `live` old.
    pub fn new(stream: TlsStream<S>, live: Duration) -> Self {
        Self { stream, live, since: Instant::now(), times: 0 }
    }

    /// How often this side has renewed its keys.
    #[must_use]
    pub const fn times(&self) -> u64 {
        self.times
    }

    /// The connection.
    #[must_use]
    pub const fn stream(&self) -> &TlsStream<S> {
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
