//! Drives one multiplexed connection: we open the first stream, for control; all others come from the manager.

use std::future::poll_fn;
use std::task::Poll;

use futures_util::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams at a time, the control stream included: bounds what a manager can make a device hold.
const MAX_STREAMS: usize = 128;

/// Receive windows of all streams together, in bytes. Yamux gives each of its streams 256 KiB at once.
const MAX_WINDOWS: usize = MAX_STREAMS * 256 * 1024;

/// Begins to multiplex `socket`: gives the control stream, and the future that drives the connection and serves each
/// stream of the manager by `serve`. The future ends when the connection does; the streams' tasks end with it.
pub(super) fn multiplex<T, S, F>(
    socket: T,
    serve: S,
) -> (oneshot::Receiver<Stream>, impl Future<Output = Result<(), ConnectionError>>)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut config = Config::default();
    config.set_max_num_streams(MAX_STREAMS);
    config.set_max_connection_receive_window(Some(MAX_WINDOWS));
    let (give, control) = oneshot::channel();
    (control, drive(Connection::new(socket, config, Mode::Client), give, serve))
}

async fn drive<T, S, F>(
    mut connection: Connection<T>,
    control: oneshot::Sender<Stream>,
    serve: S,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut control = Some(control);
    let mut tasks = JoinSet::new();
    poll_fn(|cx| {
        loop {
            if control.is_some()
                && let Poll::Ready(opened) = connection.poll_new_outbound(cx)
            {
                let stream = opened?;
                drop(control.take().map(|wanted| wanted.send(stream)));
                continue;
            }
            while let Poll::Ready(Some(_)) = tasks.poll_join_next(cx) {}
            match connection.poll_next_inbound(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(stream))) => drop(tasks.spawn(serve(stream))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
