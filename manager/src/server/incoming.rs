//! A connection that came, before its TLS: at our own port, or by way of the relay.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::compat::Compat;

/// Bytes of whoever came, secured by TLS with us.
#[derive(Debug)]
pub(super) enum Incoming {
    /// At our own port.
    Direct(TcpStream),
    /// In a stream of the connection to the relay.
    Relayed(Compat<yamux::Stream>),
}

/// Where somebody came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// As we see it, or as the relay says.
    pub(super) address: SocketAddr,
    /// True when only the relay says so.
    pub(super) is_relayed: bool,
}

impl Origin {
    /// What is written down about it: the address, and whose word it is.
    pub(super) fn written(self) -> String {
        let address = self.address.ip();
        if self.is_relayed { format!("{address} (relayed)") } else { address.to_string() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.is_relayed { " (relayed)" } else { "" })
    }
}

impl AsyncRead for Incoming {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Relayed(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Relayed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_flush(cx),
            Self::Relayed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Relayed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection of which something was read already, which is read again first.
#[derive(Debug)]
pub(super) struct Again<S> {
    said: Vec<u8>,
    read: usize,
    socket: S,
}

impl<S> Again<S> {
    /// `said` is what was read of `socket`.
    pub(super) const fn new(said: Vec<u8>, socket: S) -> Self {
        Self { said, read: 0, socket }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Again<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = this.said.get(this.read..).unwrap_or_default();
        if rest.is_empty() {
            this.said = Vec::new();
            return Pin::new(&mut this.socket).poll_read(cx, buffer);
        }
        let some = rest.get(..rest.len().min(buffer.remaining())).unwrap_or_default();
        buffer.put_slice(some);
        this.read += some.len();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Again<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn whose_word_an_address_is_stands_with_it() {
        let address: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
        let shown = |is_relayed| {
            let origin = Origin { address, is_relayed };
            (origin.written(), origin.to_string())
        };
        assert_eq!(shown(false), ("2001:db8::1".into(), "[2001:db8::1]:7".into()));
        assert_eq!(shown(true), ("2001:db8::1 (relayed)".into(), "[2001:db8::1]:7 (relayed)".into()));
    }

    #[tokio::test]
    async fn what_was_read_is_read_again_and_then_the_rest() {
        let (socket, mut peer) = tokio::io::duplex(64);
        peer.write_all(b"world").await.unwrap();
        drop(peer);
        let (mut again, mut text) = (Again::new(b"hello ".to_vec(), socket), String::new());
        assert_eq!(again.read(&mut [0; 4]).await.unwrap(), 4);
        again.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "o world");
    }
}
