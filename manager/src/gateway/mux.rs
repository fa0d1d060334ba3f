//! Drives one multiplexed connection: the first stream comes from whoever dialled, all others are opened by us.

use std::future::poll_fn;
use std::task::Poll;

use futures_util::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams of one device at a time, the control stream included: bounds what one device can make us hold.
pub(super) const MAX_STREAMS: usize = 128;

/// Receive windows of all streams of one device together, in bytes. Yamux gives each of its streams 256 KiB at once.
const MAX_WINDOWS: usize = MAX_STREAMS * 256 * 1024;

/// Requests to open a stream that may wait for the driver.
const MAX_WAITING: usize = 16;

/// Answers a request to open a stream.
pub(crate) type Opened = oneshot::Sender<Stream>;

/// Both ends of a driver's channels.
pub(crate) struct Mux {
    /// Asks for a new stream.
    pub(crate) open: mpsc::Sender<Opened>,
    /// Gets the first stream of whoever dialled.
    pub(crate) first: oneshot::Receiver<Stream>,
}

/// Begins to multiplex a device's `socket`. The future ends when the connection does, and must be polled all the time.
pub(super) fn multiplex<T>(socket: T) -> (Mux, impl Future<Output = Result<(), ConnectionError>>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config.set_max_connection_receive_window(Some(MAX_WINDOWS));
    multiplex_as(socket, config)
}

/// The same for any `socket`, within the bounds of `config`.
pub(crate) fn multiplex_as<T>(socket: T, config: Config) -> (Mux, impl Future<Output = Result<(), ConnectionError>>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (open, requests) = mpsc::channel(MAX_WAITING);
    let (give_first, first) = oneshot::channel();
    (Mux { open, first }, drive(Connection::new(socket, config, Mode::Server), requests, give_first))
}

async fn drive<T: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<T>,
    mut requests: mpsc::Receiver<Opened>,
    first: oneshot::Sender<Stream>,
) -> Result<(), ConnectionError> {
    let mut first = Some(first);
    let mut waiting: Option<Opened> = None;
    poll_fn(|cx| {
        loop {
            if waiting.is_none()
                && let Poll::Ready(Some(request)) = requests.poll_recv(cx)
            {
                waiting = Some(request);
            }
            if waiting.is_some()
                && let Poll::Ready(opened) = connection.poll_new_outbound(cx)
            {
                let stream = opened?;
                // Whoever asked may be gone; then the stream is dropped, which closes it.
                drop(waiting.take().map(|asker| asker.send(stream)));
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                // Who dials opens one stream; a second one is dropped, which closes it.
                Poll::Ready(Some(Ok(stream))) => drop(first.take().map(|wanted| wanted.send(stream))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
