//! Dials the relay and serves whoever comes by way of it, for as long as the manager runs.
//!
//! How it is dialled (names, proxies, TLS) is the business of whoever starts the manager. Here is what is said then.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use robo_model::quantity::Millis;
use robo_wire::backoff::Backoff;
use robo_wire::relay::{FromRelay, LONGEST_HEARTBEAT, MAX_RELAY_FRAME, PROTOCOL, Present, RelayToken, ToRelay};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;
use yamux::{Connection, ConnectionError, Mode, Stream};

use crate::gateway::broken;
use crate::heard::Heard;
use crate::links::LinkStream;
use crate::relay::{BEATS, keep_saying, limits};
use crate::streams::read_one;
use crate::token::random_hex;

/// How long the relay may take to answer. Dialling has bounds of its own.
const ANSWER: Duration = Duration::from_secs(20);

/// Bytes of the random name of this process.
const PROCESS_BYTES: usize = 16;

/// A connection to the relay, secured and verified, or why there is none, in one sentence.
pub type Dialled = Result<Box<dyn LinkStream>, String>;

/// The relay of a manager.
#[derive(Clone)]
pub struct RelayWay {
    /// Where it is, as people wrote it.
    pub address: String,
    /// What it knows the manager by.
    pub token: RelayToken,
    /// Dials it. What comes of it is a connection to whoever has the key that the token pins.
    pub dial: Arc<dyn Fn() -> BoxFuture<'static, Dialled> + Send + Sync>,
}

impl fmt::Debug for RelayWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayWay({})", self.address)
    }
}

/// Why a connection to the relay ended, or never was.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{0}")]
    Dial(String),
    #[error("the relay says nothing")]
    Silent,
    #[error("the relay does not know this token: take the one in `relay.token` of its folder")]
    Refused,
    #[error("another manager is at the relay with the same token")]
    Occupied,
    #[error("the relay answers with what we do not know")]
    Strange,
    #[error("{}", broken(.0))]
    Broken(#[from] io::Error),
    #[error("{}", broken(.0))]
    Mux(#[from] ConnectionError),
    #[error("the relay hung up")]
    HungUp,
}

/// Stays connected to the relay until `stop`, and has `serve` serve each stream. Then those that are served end, and it
/// comes back.
pub(super) async fn stay<S, F>(way: &RelayWay, heartbeat: Millis, stop: &CancellationToken, serve: S)
where
    S: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(process) = random_hex(PROCESS_BYTES) else {
        return tracing::error!("the relay is not dialled: the system gives no random bytes");
    };
    let heartbeat = heartbeat.min(LONGEST_HEARTBEAT);
    let mut backoff = Backoff::default();
    loop {
        let present =
            Present { protocol: PROTOCOL, token: way.token.text().to_owned(), process: process.clone(), heartbeat };
        let mut welcomed = false;
        let connected = connect(way, present, &mut welcomed, stop, &serve);
        let error = match Box::pin(connected).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if welcomed {
            backoff = Backoff::default();
        }
        let wait = backoff.next(fastrand::f64());
        tracing::warn!(
            relay = way.address,
            "not reachable through the relay: {error}; dialling again in {:.1} s",
            wait.as_secs_f64()
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One connection to the relay, until `stop` is called and all that came by it has ended.
async fn connect<S, F>(
    way: &RelayWay,
    present: Present,
    welcomed: &mut bool,
    stop: &CancellationToken,
    serve: &S,
) -> Result<(), RelayError>
where
    S: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let heartbeat = present.heartbeat.duration();
    let begin = async {
        let mut stream = (way.dial)().await.map_err(RelayError::Dial)?;
        let answer = async {
            stream.write_all(&ToRelay::Present(present).encode().map_err(io::Error::other)?).await?;
            stream.flush().await?;
            read_one(&mut stream, MAX_RELAY_FRAME).await
        };
        let answer = timeout(ANSWER, answer).await.map_err(|_| RelayError::Silent)??;
        match FromRelay::decode(&answer) {
            FromRelay::Welcome => Ok(stream),
            FromRelay::Refused => Err(RelayError::Refused),
            FromRelay::Occupied => Err(RelayError::Occupied),
            FromRelay::Heartbeat | FromRelay::Unknown(_) => Err(RelayError::Strange),
        }
    };
    let stream = tokio::select! {
        begun = begin => begun?,
        () = stop.cancelled() => return Ok(()),
    };
    *welcomed = true;
    tracing::info!(relay = way.address, "reachable through the relay");
    let (heard, ear) = Heard::new(stream);
    let (give, first) = oneshot::channel();
    let drive = drive(Connection::new(heard.compat(), limits(), Mode::Client), give, serve, stop);
    let beat = async {
        let word = ToRelay::Heartbeat.encode().map_err(io::Error::other)?;
        let stream = first.await.map_err(|_| RelayError::HungUp)?;
        Err::<(), _>(RelayError::from(keep_saying(stream, &word, heartbeat).await))
    };
    tokio::select! {
        ended = drive => ended,
        ended = beat => ended,
        () = ear.silence(heartbeat * BEATS) => Err(RelayError::Silent),
    }
}

/// Moves the bytes, and serves each stream that the relay opens in a task that ends with the connection. Gives the first
/// stream, which is ours. After `stop` it takes no more, and ends with the last one that is served.
async fn drive<T, S, F>(
    mut connection: Connection<T>,
    first: oneshot::Sender<Stream>,
    serve: &S,
    stop: &CancellationToken,
) -> Result<(), RelayError>
where
    T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
    S: Fn(Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (mut first, mut tasks) = (Some(first), JoinSet::new());
    let (mut stopped, mut is_stopping) = (std::pin::pin!(stop.cancelled()), false);
    poll_fn(|cx| {
        is_stopping = is_stopping || stopped.as_mut().poll(cx).is_ready();
        loop {
            if first.is_some()
                && let Poll::Ready(opened) = connection.poll_new_outbound(cx)
            {
                let stream = opened?;
                drop(first.take().map(|wanted| wanted.send(stream)));
                continue;
            }
            while let Poll::Ready(Some(_)) = tasks.poll_join_next(cx) {}
            if is_stopping && tasks.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(None) => return Poll::Ready(Err(RelayError::HungUp)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Some(Ok(_))) if is_stopping => {}
                Poll::Ready(Some(Ok(stream))) => drop(tasks.spawn(serve(stream))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
