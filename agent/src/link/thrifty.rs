//! Sends less of a multiplexed link: what is written until a flush goes as one piece, and pings of an idle link do not
//! go at all ([`robo_wire::thrift`]).
//!
//! Yamux writes a frame's header and its body one after the other; each would be a record of TLS and a packet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use robo_wire::thrift::{Thrift, Verdict};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for a flush. What does not fit with them goes by itself: a long text is worth a packet.
const HELD: usize = 1024;

/// A connection below the multiplexer.
#[derive(Debug)]
pub(super) struct Thrifty<S> {
    stream: S,
    thrift: Thrift,
    held: Vec<u8>,
}

impl<S> Thrifty<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, thrift: Thrift::default(), held: Vec::new() }
    }
}

impl<S: AsyncWrite + Unpin> Thrifty<S> {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..sent);
        }
        // An idle link holds nothing.
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Thrifty<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.thrift.moved(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Thrifty<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.len() + bytes.len() > HELD {
            ready!(self.poll_held(cx))?;
        }
        if !self.thrift.is_between_frames() {
            let sent = if self.held.len() + bytes.len() <= HELD {
                self.held.extend_from_slice(bytes);
                bytes.len()
            } else {
                ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?
            };
            self.thrift.body(sent);
            return Poll::Ready(Ok(sent));
        }
        match self.thrift.header(bytes) {
            Verdict::Keep => {}
            Verdict::Write => self.held.extend_from_slice(bytes),
            Verdict::WriteBehind(ping) => {
                self.held.extend_from_slice(&ping);
                self.held.extend_from_slice(bytes);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
