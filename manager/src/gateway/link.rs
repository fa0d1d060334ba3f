//! One link: speaks the session with one device, from its hello to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use robo_wire::frame;
use robo_wire::link::{FromManager, Goodbye};
use robo_wire::session::{HANDSHAKE, SessionError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;

use super::core::{Answer, Ask, LinkCore, LinkEnd, LinkRecord, Out, RenewalDue};
use super::registry::Link;
use super::thrifty::Thrifty;
use super::{Gateway, mux, now, uptime};
use crate::store::{DeviceRecord, StoreError};

/// How long the last words may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    End(#[from] LinkEnd),
    #[error("{}", broken(.0))]
    Io(#[from] std::io::Error),
    #[error("{}", broken(.0))]
    Mux(#[from] yamux::ConnectionError),
    #[error("the device hung up")]
    HungUp,
    #[error("the device took longer than {0:?} to read a message")]
    Stuck(Duration),
    #[error("the store failed")]
    Store(#[source] StoreError),
    #[error("the manager stops")]
    Stopping,
}

/// The error, what it comes from, and so on.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |cause| cause.source())
}

impl LinkError {
    /// True when the device did what no agent does: it is an old acquaintance with bad intent, or somebody who has its key.
    fn is_offence(&self) -> bool {
        match self {
            Self::End(LinkEnd::Session(error)) => match error {
                SessionError::Frame(_)
                | SessionError::OutOfTurn { .. }
                | SessionError::Version { .. }
                | SessionError::Generation { .. } => true,
                SessionError::Silent(_) | SessionError::Goodbye { .. } => false,
            },
            // A connection that breaks in the middle of a frame is none.
            Self::Mux(yamux::ConnectionError::Closed) => false,
            Self::Mux(error) => !causes(error).any(|cause| cause.is::<std::io::Error>()),
            Self::End(LinkEnd::Replaced | LinkEnd::Removed | LinkEnd::Moved | LinkEnd::Retell(_) | LinkEnd::Mixed)
            | Self::Io(_)
            | Self::HungUp
            | Self::Stuck(_)
            | Self::Store(_)
            | Self::Stopping => false,
        }
    }
}

/// What people read of a link that broke. TLS has a whole paragraph for an end without a goodbye.
pub(crate) fn broken(error: &(dyn std::error::Error + 'static)) -> String {
    let ended = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
    };
    if causes(error).any(ended) { "the connection broke off".into() } else { format!("the connection broke: {error}") }
}

/// Serves one link until it ends. Says what the device did that no agent does, if it did.
pub(super) async fn serve<T>(
    gateway: &Gateway,
    socket: T,
    device: Arc<DeviceRecord>,
    renewal: Option<RenewalDue>,
    stop: &CancellationToken,
) -> Option<String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mux, drive) = mux::multiplex(Thrifty::new(socket).compat());
    let mut drive = std::pin::pin!(drive);
    let ssh_authority = gateway.ssh_authority.get().cloned();
    let record = LinkRecord { renewal, ssh_authority, ..LinkRecord::from(&*device) };
    let mut core = LinkCore::new(record, gateway.heartbeat, uptime());
    let mut registered = None;
    let control = async {
        let stream = Box::pin(first(mux.first)).await?;
        let link = gateway.desk.registry.add(device.id.clone(), device.project.clone(), mux.open);
        link.set_switches(device.switches.clone());
        registered = Some(Arc::clone(&link));
        let (buffer, device) = (Vec::new(), Arc::clone(&device));
        let mut control = Control { gateway, device, link, core: &mut core, stream, buffer, asking: None };
        let error = control.run(stop).await;
        Box::pin(control.farewell(&error)).await;
        Err::<(), LinkError>(error)
    };
    let result = tokio::select! {
        ended = &mut drive => ended.map_err(LinkError::from).and(Err(LinkError::HungUp)),
        ended = control => {
            // Let the driver carry the last words out.
            drop(tokio::time::timeout(FAREWELL, &mut drive).await);
            ended
        }
    };
    let offence = result.as_ref().err().filter(|error| error.is_offence()).map(ToString::to_string);
    let reason = match result {
        Ok(()) => String::from("closed"),
        Err(LinkError::Store(cause)) => {
            tracing::error!(device = %device.id, error = &cause as &dyn std::error::Error, "the store failed a link");
            LinkError::Store(cause).to_string()
        }
        Err(error) => error.to_string(),
    };
    let Some(link) = registered else {
        tracing::info!(device = %device.id, reason, "a link ended before it said anything");
        return offence;
    };
    Box::pin(ended(gateway, &device, &core, &link, &reason)).await;
    offence
}

/// Tells a peer why it is not served, so that it does not dial in vain.
pub(super) async fn refuse<T>(socket: T, goodbye: Goodbye)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mux, drive) = mux::multiplex(Thrifty::new(socket).compat());
    let mut drive = std::pin::pin!(drive);
    let say = async {
        let Ok(mut stream) = first(mux.first).await else { return };
        if let Ok(bytes) = FromManager::Goodbye(goodbye).encode() {
            last_words(&mut stream, &bytes).await;
        }
    };
    tokio::select! {
        ended = &mut drive => drop(ended),
        () = say => drop(tokio::time::timeout(FAREWELL, &mut drive).await),
    }
}

/// The agent's first stream.
async fn first(first: tokio::sync::oneshot::Receiver<yamux::Stream>) -> Result<Io, LinkError> {
    let stream = tokio::time::timeout(HANDSHAKE.duration(), first).await;
    Ok(stream.map_err(|_| LinkError::HungUp)?.map_err(|_| LinkError::HungUp)?.compat())
}

/// Notes that the device has no link any more, unless a newer one took the place of this.
async fn ended(gateway: &Gateway, device: &DeviceRecord, core: &LinkCore, link: &Link, reason: &str) {
    // Before anything is waited for: since then nothing was heard.
    let last_heard = Instant::now();
    let last_heard = last_heard.checked_sub(uptime().since(core.last_heard()).duration()).unwrap_or(last_heard);
    gateway.lost(link.number, reason);
    // What this link asked of the store is done first, and what its successor asks waits for this.
    let _order = link.order.lock().await;
    if !gateway.desk.registry.is_current(&device.id, link.number) {
        return;
    }
    tracing::info!(device = %device.id, reason, "link down");
    match gateway.desk.store.device_offline(&device.id, reason, last_heard, now()).await {
        Ok(()) => {}
        // It was removed; nobody looks for it.
        Err(StoreError::NoDevice { .. }) => {}
        Err(error) => {
            tracing::error!(device = %device.id, error = &error as &dyn std::error::Error, "cannot note that the device is offline; the watchman finds it");
        }
    }
    gateway.desk.registry.remove(&device.id, link.number);
    // Somebody may have asked for something while this was noted.
    gateway.lost(link.number, reason);
    for ring in core.ended() {
        gateway.desk.bus.ring(ring);
    }
}

type Io = Compat<yamux::Stream>;

/// Moves the bytes of one link, and carries out what its core says.
struct Control<'a> {
    gateway: &'a Gateway,
    device: Arc<DeviceRecord>,
    link: Arc<Link>,
    core: &'a mut LinkCore,
    stream: Io,
    buffer: Vec<u8>,
    /// What the store is asked right now.
    asking: Option<JoinHandle<Result<Answer, StoreError>>>,
}

impl Control<'_> {
    /// Goes on until something ends it.
    async fn run(&mut self, stop: &CancellationToken) -> LinkError {
        loop {
            if let Err(error) = self.turn(stop).await {
                return error;
            }
        }
    }

    async fn turn(&mut self, stop: &CancellationToken) -> Result<(), LinkError> {
        while self.core.takes_frames()
            && let Some(frame) = frame::take(&mut self.buffer, self.core.max_frame()).map_err(LinkEnd::from)?
        {
            let outs = self.core.frame(uptime(), &frame)?;
            Box::pin(self.carry_out(outs)).await?;
        }
        if self.buffer.is_empty() {
            // Ten thousand idle links must not hold ten thousand buffers.
            self.buffer = Vec::new();
        }
        let wait = Duration::from_millis(self.core.wake_at().since(uptime()).0);
        tokio::select! {
            // What was said counts before the clock does.
            biased;
            answer = answered(&mut self.asking) => {
                let outs = self.core.answered(uptime(), answer?)?;
                Box::pin(self.carry_out(outs)).await
            }
            read = self.stream.read_buf(&mut self.buffer), if self.core.takes_frames() => match read? {
                0 => Err(LinkError::HungUp),
                _ => Ok(()),
            },
            (woken, acts) = self.link.woken() => {
                let mut outs = self.core.woken(woken)?;
                for act in acts {
                    outs.extend(self.core.act(act)?);
                }
                Box::pin(self.carry_out(outs)).await
            }
            () = tokio::time::sleep(wait) => {
                let outs = self.core.tick(uptime())?;
                Box::pin(self.carry_out(outs)).await
            }
            () = stop.cancelled() => Err(LinkError::Stopping),
        }
    }

    async fn carry_out(&mut self, outs: Vec<Out>) -> Result<(), LinkError> {
        self.link.set_in_step(self.core.is_in_step());
        let mut outs = VecDeque::from(outs);
        let mut bytes = Vec::new();
        while let Some(out) = outs.pop_front() {
            match out {
                Out::Send(frame) if bytes.is_empty() => bytes = frame,
                Out::Send(frame) => bytes.extend(frame),
                Out::Ask(ask) => self.ask(ask),
                Out::Up => {
                    tracing::info!(device = %self.device.id, name = %self.device.name, "link up");
                }
                Out::Interest(applications) => {
                    self.gateway.desk.registry.set_interest(&self.device.id, self.link.number, applications);
                }
                Out::Waits(keys) => self.gateway.desk.registry.set_waits(&self.device.id, self.link.number, keys),
                Out::Switched(switches) => self.link.set_switches(switches),
                Out::Acted(acted) => self.gateway.acted(self.link.number, acted),
            }
        }
        if bytes.is_empty() { Ok(()) } else { self.send(&bytes).await }
    }

    fn ask(&mut self, ask: Ask) {
        let (desk, device) = (Arc::clone(&self.gateway.desk), Arc::clone(&self.device));
        let order = Arc::clone(&self.link.order);
        self.asking = Some(tokio::spawn(async move {
            // Another link of the device may still have something under way, which is older. This one goes on meanwhile.
            let order = order.lock_owned().await;
            let answer = desk.carry_out(&device, ask).await;
            drop(order);
            answer
        }));
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let limit = self.gateway.heartbeat.duration().saturating_mul(2);
        let stuck = |_| LinkError::Stuck(limit);
        let mut rest = bytes;
        // Each part has its time, however long the whole takes: a device's line may be narrow.
        while !rest.is_empty() {
            let sent = tokio::time::timeout(limit, self.stream.write(rest)).await.map_err(stuck)??;
            if sent == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
            rest = rest.get(sent..).unwrap_or_default();
        }
        tokio::time::timeout(limit, self.stream.flush()).await.map_err(stuck)??;
        Ok(())
    }

    /// Says why, as far as the other side still listens.
    async fn farewell(&mut self, error: &LinkError) {
        let is_final = match error {
            LinkError::HungUp | LinkError::Io(_) | LinkError::Mux(_) | LinkError::Stuck(_) => return,
            LinkError::End(end) => end.is_final(),
            LinkError::Store(_) | LinkError::Stopping => false,
        };
        if let Some(bytes) = self.core.goodbye(&error.to_string(), is_final) {
            last_words(&mut self.stream, &bytes).await;
        }
    }
}

async fn last_words(stream: &mut Io, bytes: &[u8]) {
    let said = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    };
    drop(tokio::time::timeout(FAREWELL, said).await);
}

/// Waits for the store; for ever when it is asked nothing.
async fn answered(asking: &mut Option<JoinHandle<Result<Answer, StoreError>>>) -> Result<Answer, LinkError> {
    let Some(task) = asking else { return std::future::pending().await };
    let answer = task.await;
    *asking = None;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(StoreError::NoDevice { .. })) => Err(LinkEnd::Removed.into()),
        Ok(Err(error)) => Err(LinkError::Store(error)),
        Err(_) => Err(LinkError::Stopping),
    }
}
