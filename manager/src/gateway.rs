//! The agents' links: who is connected, what they tell, what they are told.
//!
//! Three kinds of tasks. One per link (`link.rs`) speaks the session and owns everything about its device. One
//! hears the bus and marks the links that a message concerns (`registry.rs`). The multiplexer's driver (`mux.rs`)
//! runs inside the link's task. Whatever a link knows it has from the store, so a manager that is killed loses nothing.

mod link;
mod mux;
mod registry;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use robo_model::name::DeviceId;
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::stream::Open;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use self::registry::{AppKey, Registry};
use crate::bus::{Bus, Heard, Ring};
use crate::ca::Peer;
use crate::links::{LinkStream, Links, OpenError};
use crate::store::Store;

/// The links of this manager process.
pub struct Gateway {
    store: Store,
    bus: Bus,
    registry: Registry,
    heartbeat: Millis,
}

impl Gateway {
    /// A gateway without links. Agents are told to say something at least every `heartbeat`.
    #[must_use]
    pub fn new(store: Store, bus: Bus, heartbeat: Millis) -> Arc<Self> {
        Arc::new(Self { store, bus, registry: Registry::default(), heartbeat })
    }

    /// Passes on what the bus says, until the bus is gone. Run it as a task of its own, before the first link.
    pub async fn pass_on(self: Arc<Self>) {
        let mut listener = self.bus.listen();
        loop {
            match listener.next().await {
                Heard::Ring(Ring::Assignment(device)) => self.registry.assignment_moved(&device),
                Heard::Ring(Ring::Exports(project, application)) => self.exports_moved((project, application)).await,
                Heard::Ring(Ring::Events(_) | Ring::Devices(_)) => {}
                Heard::Lost => self.registry.everything_moved(),
                Heard::Closed => return,
            }
        }
    }

    async fn exports_moved(&self, key: AppKey) {
        if !self.registry.is_interesting(&key) {
            return;
        }
        match self.store.providers(&key.0, std::slice::from_ref(&key.1)).await {
            Ok(providers) => self.registry.providers_moved(key, providers),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot read exports; links look by themselves"
                );
                self.registry.everything_moved();
            }
        }
    }

    /// Serves one link until it ends or `stop` is called.
    pub async fn serve<T>(&self, socket: T, peer: &Peer, stop: &CancellationToken)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match self.store.device(&peer.device).await {
            Ok(Some(record)) if record.key_fingerprint == peer.key_fingerprint => {
                link::serve(self, socket, record, stop).await;
            }
            Ok(_) => {
                tracing::warn!(device = %peer.device, "link refused: not enrolled here any more, or with another key");
            }
            Err(error) => {
                tracing::error!(device = %peer.device, error = &error as &dyn std::error::Error, "link refused: the store cannot be read");
            }
        }
    }
}

impl Links for Gateway {
    fn open(&self, device: &DeviceId, open: Open) -> BoxFuture<'_, Result<Box<dyn LinkStream>, OpenError>> {
        let link = self.registry.get(device);
        Box::pin(async move {
            let link = link.ok_or(OpenError::Offline)?;
            let permit = Arc::clone(&link.streams).try_acquire_owned();
            let permit = permit.map_err(|_| OpenError::Failed("too much is open to this device already".to_owned()))?;
            let first = open.encode().map_err(|e| OpenError::Failed(e.to_string()))?;
            let (give, take) = oneshot::channel();
            link.open.send(give).await.map_err(|_| OpenError::Offline)?;
            let mut stream = take.await.map_err(|_| OpenError::Offline)?.compat();
            stream.write_all(&first).await.map_err(|e| OpenError::Failed(e.to_string()))?;
            Ok(Box::new(Held { stream, _permit: permit }) as Box<dyn LinkStream>)
        })
    }

    fn count(&self) -> u64 {
        self.registry.count() as u64
    }
}

/// A stream with its permit.
struct Held<S> {
    stream: S,
    _permit: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
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

/// Time that only goes forward, for what compares times and never shows them: a clock that is set must neither end a
/// link nor keep a dead one.
pub(crate) fn uptime() -> UnixMillis {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    UnixMillis(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// The time now. The only clock of the gateway.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
