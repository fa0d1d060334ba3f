//! Passes one connection on to the manager, byte by byte.
//!
//! What the manager has to keep for strangers is bounded: until it answers, it gets a connection's first words and no more.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use robo_wire::relay::Arrival;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::seat::Way;
use super::sources::Place;

/// How long the manager may take for its first byte. It gives up on a handshake after 20 s.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// How long one direction may go on when the other has ended. With TLS nobody says anything of use then.
const LINGER: Duration = Duration::from_secs(60);

/// Bytes of the manager's first answer that are taken at once: its part of a handshake.
const FIRST_PIECE: usize = 16 * 1024;

/// Passes `socket`, of which `beginning` was read already, to the manager at the end of `way`, until one of them ends it.
///
/// # Errors
/// When one of them breaks off.
pub(super) async fn pass(
    socket: TcpStream,
    beginning: &[u8],
    from: SocketAddr,
    way: Way,
    place: Place,
) -> io::Result<()> {
    let Way { open, gone } = way;
    tokio::select! {
        () = gone.cancelled() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the manager is gone")),
        passed = through(socket, beginning, from, open, place) => passed,
    }
}

async fn through(
    mut socket: TcpStream,
    beginning: &[u8],
    from: SocketAddr,
    open: tokio::sync::mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    mut place: Place,
) -> io::Result<()> {
    let arrival = Arrival { from: from.to_string() }.encode().map_err(io::Error::other)?;
    let no_manager = || io::Error::new(io::ErrorKind::NotConnected, "there is no manager");
    let begin = async {
        let (give, take) = oneshot::channel();
        open.send(give).await.map_err(|_| no_manager())?;
        let mut stream = take.await.map_err(|_| no_manager())?.compat();
        stream.write_all(&[&arrival, beginning].concat()).await?;
        stream.flush().await?;
        let mut first = vec![0; FIRST_PIECE];
        let length = stream.read(&mut first).await?;
        first.truncate(length);
        Ok::<_, io::Error>((stream, first))
    };
    let (stream, first) = timeout(FIRST_BYTE, begin).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if first.is_empty() {
        return Ok(());
    }
    place.settle();
    socket.write_all(&first).await?;

    let (mut from_stranger, mut to_stranger) = socket.split();
    let (mut from_manager, mut to_manager) = tokio::io::split(stream);
    let up = async {
        copy(&mut from_stranger, &mut to_manager).await?;
        to_manager.shutdown().await
    };
    let down = async {
        copy(&mut from_manager, &mut to_stranger).await?;
        to_stranger.shutdown().await
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        ended = &mut up => {
            ended?;
            timeout(LINGER, down).await.unwrap_or(Ok(()))
        }
        ended = &mut down => {
            ended?;
            timeout(LINGER, up).await.unwrap_or(Ok(()))
        }
    }
}
