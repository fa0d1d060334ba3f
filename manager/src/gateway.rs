//! The agents' links: who is connected, what they tell, what they are told.
//!
//! What a link says and asks is decided in [`core`], without I/O. Around it are three kinds of tasks. One per link
//! (`link.rs`) moves its bytes and has what it asks carried out on the store (`desk.rs`). One hears the bus and marks
//! the links that a message concerns (`registry.rs`). The multiplexer's driver (`mux.rs`) runs inside the link's task.
//! Whatever a link knows it has from the store, so a manager that is killed loses nothing.

mod admission;
pub mod core;
mod desk;
mod link;
pub(crate) mod mux;
pub mod offers;
mod registry;
pub mod rotate;
mod shared;
mod thrifty;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::link::{Act, Acted};
use robo_wire::stream::Open;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
pub use self::admission::Renewal;
use self::desk::Desk;
pub(crate) use self::link::broken;
use self::registry::{AppKey, Link};
use crate::acts::{Acts, JobId, Judged};
use crate::bus::{Bus, Heard, Ring};
use crate::ca::Peer;
use crate::links::{ActTarget, LinkStream, Links, OpenError};
use crate::store::{Store, StoreError};

/// Longest pause after a look into the store. While a thousand instances start, each rings; what rings during the pause
/// is looked at once.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// The links of this manager process.
pub struct Gateway {
    desk: Arc<Desk>,
    heartbeat: Millis,
    renewal: Renewal,
    /// By which agents know our certificates for SSH.
    ssh_authority: OnceLock<String>,
    acts: Mutex<Acts>,
    judged: Notify,
}

/// What a device did that it may not, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offence {
    /// It wanted a link.
    Link(String),
    /// It had a link, and did not keep to the protocol.
    Protocol(String),
}

/// What the bus said and was not looked at yet.
#[derive(Default)]
struct Moved {
    exports: BTreeSet<AppKey>,
    needs: BTreeMap<ProjectName, BTreeSet<ApplicationName>>,
}

impl Gateway {
    /// A gateway without links. Agents are told to say something at least every `heartbeat`, and to renew their
    /// certificates as `renewal` says.
    #[must_use]
    pub fn new(store: Store, bus: Bus, heartbeat: Millis, renewal: Renewal) -> Arc<Self> {
        let desk = Arc::new(Desk::new(store, bus));
        let ssh_authority = OnceLock::new();
        Arc::new(Self { desk, heartbeat, renewal, ssh_authority, acts: Mutex::default(), judged: Notify::new() })
    }

    /// Tells agents from here on by which public key, `TYPE BASE64`, this manager's certificates for SSH are known. What
    /// was said first counts.
    pub fn tell_ssh_authority(&self, key: String) {
        self.ssh_authority.get_or_init(|| key);
    }

    /// Passes on what the bus says, until the bus is gone. Run it as a task of its own, before the first link.
    pub async fn pass_on(self: Arc<Self>) {
        let mut listener = self.desk.bus.listen();
        let mut moved = Moved::default();
        let mut not_before = tokio::time::Instant::now();
        loop {
            let is_due = tokio::time::Instant::now() >= not_before;
            if is_due && !(moved.exports.is_empty() && moved.needs.is_empty()) {
                let began = tokio::time::Instant::now();
                self.look(std::mem::take(&mut moved)).await;
                // As long as the look took: half of one core's time at most goes into looks.
                not_before = tokio::time::Instant::now() + began.elapsed().min(MAX_PAUSE);
                continue;
            }
            let heard = tokio::select! {
                heard = listener.next() => heard,
                () = tokio::time::sleep_until(not_before), if !is_due => continue,
            };
            match heard {
                Heard::Ring(ring) => self.heard(ring, &mut moved),
                Heard::Lost => self.desk.registry.everything_moved(),
                Heard::Closed => return,
            }
        }
    }

    fn heard(&self, ring: Ring, moved: &mut Moved) {
        let registry = &self.desk.registry;
        match ring {
            Ring::Assignment(device) => registry.assignment_moved(&device),
            Ring::Removed(device) => registry.removed(&device),
            Ring::Moved(device) => registry.moved(&device),
            Ring::Identity(device) => registry.identity_moved(&device),
            Ring::Rotate(device) => registry.rotate(&device),
            Ring::Exports(project, application) => {
                let key = (project, application);
                if registry.is_interesting(&key) {
                    moved.exports.insert(key);
                }
            }
            Ring::Needs(project, applications) => {
                if registry.somebody_waits(&project) {
                    moved.needs.entry(project).or_default().extend(applications);
                }
            }
            Ring::Events(_) | Ring::Devices(_) => {}
        }
    }

    /// Looks at what moved, and marks the links that it concerns.
    async fn look(&self, moved: Moved) {
        let mut result = Ok(());
        for key in moved.exports {
            result = result.and(self.desk.exports_moved(&key).await);
        }
        for (project, applications) in moved.needs {
            result = result.and(self.desk.needs_moved(&project, applications).await);
        }
        if let Err(error) = result {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot look at what moved; links look by themselves"
            );
            self.desk.registry.everything_moved();
        }
    }

    /// Serves one link until it ends or `stop` is called; says what the audit log has to tell of it, if anything.
    pub async fn serve<T>(&self, socket: T, peer: &Peer, stop: &CancellationToken) -> Option<Offence>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match Box::pin(admission::admit(&self.desk, peer, now())).await {
            Ok(Admission::Served(record)) => {
                let renewal = self.renewal.due(record.rotate, peer.certificate_ends, now());
                link::serve(self, socket, Arc::from(record), Some(renewal), stop).await.map(Offence::Protocol)
            }
            Ok(Admission::Refused(goodbye)) => {
                tracing::warn!(device = %peer.device, reason = goodbye.reason, "link refused");
                let reason = goodbye.reason.clone();
                Box::pin(link::refuse(socket, goodbye)).await;
                Some(Offence::Link(reason))
            }
            Err(error) => {
                tracing::error!(device = %peer.device, error = &error as &dyn std::error::Error, "link refused: the store cannot be read");
                None
            }
        }
    }

    fn acts(&self) -> MutexGuard<'_, Acts> {
        // Nothing panics while it holds the lock; were it so, each target would still have its deadline.
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device answered an act.
    fn acted(&self, link: u64, acted: Acted) {
        self.acts().acted(link, acted);
        self.judged.notify_waiters();
    }

    /// A link ended.
    fn lost(&self, link: u64, reason: &str) {
        self.acts().lost(link, reason);
        self.judged.notify_waiters();
    }

    /// Asks each device, and waits for the verdicts.
    async fn act_on(&self, targets: Vec<ActTarget>) -> Vec<Judged> {
        let links: Vec<Option<Arc<Link>>> = targets.iter().map(|t| self.desk.registry.get(&t.device)).collect();
        let numbers: Vec<Option<u64>> = links.iter().map(|link| link.as_ref().map(|link| link.number)).collect();
        let begun = self.acts().begin(uptime(), &numbers);
        let job = Job { gateway: self, id: begun.job };
        for ((target, link), id) in targets.into_iter().zip(links).zip(begun.ids) {
            let (Some(link), Some(id)) = (link, id) else { continue };
            let ActTarget { device, verb, scope, by } = target;
            if !link.act(Act { id, verb, scope, by }) {
                self.acts().refused(link.number, id, "too much is asked of this device at once");
            } else if !self.desk.registry.is_current(&device, link.number) {
                // It went between the look and the word.
                self.acts().lost(link.number, "the link went down");
            }
        }
        job.verdicts().await
    }
}

/// A request under way; dropped, it is forgotten.
struct Job<'a> {
    gateway: &'a Gateway,
    id: JobId,
}

impl Job<'_> {
    async fn verdicts(self) -> Vec<Judged> {
        loop {
            let mut judged = std::pin::pin!(self.gateway.judged.notified());
            judged.as_mut().enable();
            let wake_at = {
                let mut acts = self.gateway.acts();
                acts.tick(uptime());
                if let Some(verdicts) = acts.take(self.id) {
                    return verdicts;
                }
                acts.wake_at()
            };
            let wait = wake_at.map_or(Millis(0), |at| at.since(uptime())).duration();
            tokio::select! {
                () = judged => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.gateway.acts().forget(self.id);
    }
}

impl Links for Gateway {
    fn open(&self, device: &DeviceId, open: Open) -> BoxFuture<'_, Result<Box<dyn LinkStream>, OpenError>> {
        let link = self.desk.registry.get(device);
        Box::pin(async move {
            let link = link.ok_or(OpenError::Offline)?;
            if let Some(reason) = link.refusal(&open) {
                return Err(OpenError::Off(reason));
            }
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

    fn act(&self, targets: Vec<ActTarget>) -> BoxFuture<'_, Vec<Judged>> {
        Box::pin(self.act_on(targets))
    }

    fn is_linked(&self, device: &DeviceId) -> bool {
        self.desk.registry.get(device).is_some()
    }

    fn behind(&self, devices: BTreeSet<DeviceId>) -> BoxFuture<'_, Result<BTreeSet<DeviceId>, StoreError>> {
        Box::pin(async move {
            // What moved is marked by the look itself, should the bus not have got to it.
            for key in self.desk.registry.interest_of(devices.iter()) {
                self.desk.exports_moved(&key).await?;
            }
            Ok(self.desk.registry.behind(devices))
        })
    }

    fn count(&self) -> u64 {
        self.desk.registry.count() as u64
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

#[cfg(test)]
mod tests;
