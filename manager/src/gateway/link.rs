//! One link: speaks the session with one device, from its hello to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use robo_model::name::{ApplicationName, ComponentName};
use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, Generation, InstanceKey};
use robo_wire::frame;
use robo_wire::link::{Hello, ImportsChange, Update};
use robo_wire::session::{HANDSHAKE, ManagerEffect, ManagerSession, SessionError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;

use super::registry::{Link, Woken};
use super::{Gateway, mux, now, uptime};
use crate::bus::Ring;
use crate::store::{DeviceRecord, StoreError};

/// How long the last words may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("{}", broken(.0))]
    Io(#[from] std::io::Error),
    #[error("{}", broken(.0))]
    Mux(#[from] yamux::ConnectionError),
    #[error("the device hung up")]
    HungUp,
    #[error("the device took longer than {0:?} to read a message")]
    Stuck(Duration),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the device dialled again")]
    Replaced,
    #[error("the manager stops")]
    Stopping,
}

/// What people read of a link that broke. TLS has a whole paragraph for an end without a goodbye.
fn broken(error: &(dyn std::error::Error + 'static)) -> String {
    let ended = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
    };
    if std::iter::successors(Some(error), |cause| cause.source()).any(ended) {
        "the connection broke off".into()
    } else {
        format!("the connection broke: {error}")
    }
}

/// Serves one link until it ends.
pub(super) async fn serve<T>(gateway: &Gateway, socket: T, record: DeviceRecord, stop: &CancellationToken)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mux, drive) = mux::multiplex(socket.compat());
    let mut drive = std::pin::pin!(drive);
    let device = record.id.clone();
    let mut registered = None;
    let control = async {
        let first = tokio::time::timeout(HANDSHAKE.duration(), mux.first).await;
        let stream = first.map_err(|_| LinkError::HungUp)?.map_err(|_| LinkError::HungUp)?;
        let link = gateway.registry.add(record.id.clone(), mux.open);
        registered = Some(link.number);
        let mut control = Control::new(gateway, record, link, stream);
        let error = control.run(stop).await;
        control.farewell(&error).await;
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
    let reason = match result {
        Ok(()) => String::from("closed"),
        Err(error) => error.to_string(),
    };
    let Some(number) = registered else {
        return tracing::info!(%device, reason, "a link ended before it said anything");
    };
    if gateway.registry.remove(&device, number) {
        tracing::info!(%device, reason, "link down");
        if let Err(error) = gateway.store.device_offline(&device, &reason, now()).await {
            tracing::error!(%device, error = &error as &dyn std::error::Error, "cannot note that the device is offline");
        }
    }
}

type Io = Compat<yamux::Stream>;

struct Control<'a> {
    gateway: &'a Gateway,
    record: DeviceRecord,
    link: Arc<Link>,
    session: ManagerSession,
    stream: Io,
    buffer: Vec<u8>,
    /// The newest assignment that the device has or was sent.
    sent: Generation,
    interest: Interest,
    /// What the device was told of other devices' exports: a hash each, enough to see what moved.
    told: BTreeMap<InstanceKey, u64>,
}

/// Which prefixes the device's instances import, by application.
type Interest = BTreeMap<ApplicationName, BTreeSet<ComponentName>>;

impl<'a> Control<'a> {
    fn new(gateway: &'a Gateway, record: DeviceRecord, link: Arc<Link>, stream: yamux::Stream) -> Self {
        Self {
            gateway,
            record,
            link,
            session: ManagerSession::new(uptime(), gateway.heartbeat),
            stream: stream.compat(),
            buffer: Vec::new(),
            sent: Generation::default(),
            interest: Interest::new(),
            told: BTreeMap::new(),
        }
    }

    /// Goes on until something ends it.
    async fn run(&mut self, stop: &CancellationToken) -> LinkError {
        loop {
            if let Err(error) = self.turn(stop).await {
                return error;
            }
        }
    }

    async fn turn(&mut self, stop: &CancellationToken) -> Result<(), LinkError> {
        while let Some(frame) = frame::take(&mut self.buffer, self.session.max_frame()).map_err(SessionError::from)? {
            if let Some(effect) = self.session.frame(uptime(), &frame)? {
                self.carry_out(effect).await?;
            }
        }
        if self.buffer.is_empty() {
            // Ten thousand idle links must not hold ten thousand buffers.
            self.buffer = Vec::new();
        }
        let wait = Duration::from_millis(self.session.wake_at().since(uptime()).0);
        tokio::select! {
            // What was said while the store kept us waiting counts before the clock does.
            biased;
            read = self.stream.read_buf(&mut self.buffer) => match read? {
                0 => Err(LinkError::HungUp),
                _ => Ok(()),
            },
            woken = self.link.woken() => self.look(woken).await,
            () = tokio::time::sleep(wait) => Ok(self.session.tick(uptime())?),
            () = stop.cancelled() => Err(LinkError::Stopping),
        }
    }

    async fn carry_out(&mut self, effect: ManagerEffect) -> Result<(), LinkError> {
        match effect {
            ManagerEffect::Send(bytes) => self.send(&bytes).await,
            ManagerEffect::Resync => {
                self.told.clear();
                self.tell_imports().await
            }
            ManagerEffect::Acted(_) => Ok(()),
            ManagerEffect::Hello(hello) => self.hello(hello).await,
            ManagerEffect::Update(update) => self.update(update).await,
            ManagerEffect::Accepted(generation) => {
                self.gateway.store.accepted(&self.record.id, generation, now()).await?;
                Ok(())
            }
            ManagerEffect::Refused(refused) => {
                let (generation, reason) = (refused.generation, refused.reason);
                tracing::warn!(device = %self.record.id, %generation, reason, "the device refuses its assignment");
                self.gateway.store.refused(&self.record.id, generation, &reason, now()).await?;
                Ok(())
            }
        }
    }

    async fn hello(&mut self, hello: Hello) -> Result<(), LinkError> {
        let store = &self.gateway.store;
        store.device_online(&self.record.id, &hello.facts, now()).await?;
        tracing::info!(device = %self.record.id, name = %self.record.name, "link up");
        self.gateway.bus.ring(Ring::Devices(self.record.project.clone()));
        self.gateway.bus.ring(Ring::Events(self.record.project.clone()));
        let welcome = self.session.welcome(
            self.record.name.clone(),
            self.record.project.clone(),
            env!("CARGO_PKG_VERSION").to_owned(),
            self.record.events_stored,
        )?;
        self.carry_out_send(welcome).await?;
        if hello.generation > self.record.generation {
            // The store was brought back from a backup: the device would take all we tell it for old.
            tracing::warn!(device = %self.record.id, theirs = %hello.generation, ours = %self.record.generation, "the device has a newer assignment than the store; it is told ours anew");
            self.gateway.store.raise_generation(&self.record.id, hello.generation.next()).await?;
        } else if hello.generation > self.record.accepted {
            // It accepted while the link was down, or we were killed before that was stored. It does not say so again.
            self.gateway.store.accepted(&self.record.id, hello.generation, now()).await?;
        }
        self.sent = hello.generation;
        self.look(Woken { assignment: true, imports: true, replaced: false }).await
    }

    /// Stores an update and rings, as a task of its own: when the link breaks in between, what was stored is still
    /// rung, for nobody would look otherwise.
    async fn update(&mut self, update: Update) -> Result<(), LinkError> {
        let (store, bus) = (self.gateway.store.clone(), self.gateway.bus.clone());
        let (id, project, seq) = (self.record.id.clone(), self.record.project.clone(), update.seq);
        let recording = tokio::spawn(async move {
            let recorded = store.record_update(&id, &update, now()).await?;
            for application in &recorded.exports_changed {
                bus.ring(Ring::Exports(project.clone(), application.clone()));
            }
            if recorded.events_added {
                bus.ring(Ring::Events(project));
            }
            Ok::<_, StoreError>(recorded)
        });
        let recorded = recording.await.map_err(|_| LinkError::Stopping)??;
        let ack = self.session.ack(seq, recorded.events_stored)?;
        self.carry_out_send(ack).await
    }

    /// Tells the device what moved.
    async fn look(&mut self, woken: Woken) -> Result<(), LinkError> {
        if woken.replaced {
            return Err(LinkError::Replaced);
        }
        if self.session.max_frame() != frame::MAX_CONTROL_FRAME {
            // Not welcomed yet; the hello looks at everything.
            return Ok(());
        }
        if woken.assignment {
            let assignment = self.gateway.store.assignment(&self.record.id).await?.unwrap_or_default();
            self.set_interest(&assignment);
            if assignment.generation > self.sent {
                self.sent = assignment.generation;
                let effect = self.session.assign(assignment)?;
                self.carry_out_send(effect).await?;
            }
        }
        self.tell_imports().await
    }

    fn set_interest(&mut self, assignment: &Assignment) {
        let mut interest = Interest::new();
        for spec in &assignment.instances {
            let prefixes = interest.entry(spec.key.application.clone()).or_default();
            prefixes.extend(spec.imports.iter().map(|import| import.prefix.clone()));
        }
        interest.retain(|_, prefixes| !prefixes.is_empty());
        let applications = interest.keys().cloned().collect();
        self.gateway.registry.set_interest(&self.record.id, &self.record.project, &applications);
        self.interest = interest;
    }

    async fn tell_imports(&mut self) -> Result<(), LinkError> {
        let full = self.told.is_empty();
        let mut change = ImportsChange { full, ..ImportsChange::default() };
        let mut now_told = BTreeMap::new();
        for (application, prefixes) in &self.interest {
            let key = (self.record.project.clone(), application.clone());
            let all = match self.gateway.registry.providers(&key) {
                Some(kept) => kept,
                None => Arc::new(self.gateway.store.providers(&key.0, std::slice::from_ref(application)).await?),
            };
            // A device knows its own instances better than anybody.
            let others = all.iter().filter(|(device, _)| *device != self.record.id);
            for provider in others.filter_map(|(_, provider)| of_interest(provider, prefixes)) {
                let hash = hash_of(&provider);
                if self.told.get(&provider.key) != Some(&hash) {
                    change.providers.push(provider.clone());
                }
                now_told.insert(provider.key, hash);
            }
        }
        change.removed = self.told.keys().filter(|key| !now_told.contains_key(*key)).cloned().collect();
        self.told = now_told;
        if !change.full && change.providers.is_empty() && change.removed.is_empty() {
            return Ok(());
        }
        let effect = self.session.imports(change)?;
        self.carry_out_send(effect).await
    }

    async fn carry_out_send(&mut self, effect: ManagerEffect) -> Result<(), LinkError> {
        match effect {
            ManagerEffect::Send(bytes) => self.send(&bytes).await,
            ManagerEffect::Hello(_)
            | ManagerEffect::Update(_)
            | ManagerEffect::Accepted(_)
            | ManagerEffect::Resync
            | ManagerEffect::Acted(_)
            | ManagerEffect::Refused(_) => Ok(()),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let limit = self.gateway.heartbeat.duration().saturating_mul(2);
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(limit, write).await.map_err(|_| LinkError::Stuck(limit))??;
        Ok(())
    }

    /// Says why, as far as the other side still listens.
    async fn farewell(&mut self, error: &LinkError) {
        if matches!(error, LinkError::HungUp | LinkError::Io(_) | LinkError::Mux(_) | LinkError::Stuck(_)) {
            return;
        }
        if let Ok(ManagerEffect::Send(bytes)) = self.session.goodbye(error.to_string(), false) {
            let last_words = async {
                self.stream.write_all(&bytes).await?;
                self.stream.shutdown().await
            };
            drop(tokio::time::timeout(FAREWELL, last_words).await);
        }
    }
}

/// A provider cut down to the prefixes that somebody imports; nothing when none is left.
fn of_interest(provider: &Provider, prefixes: &BTreeSet<ComponentName>) -> Option<Provider> {
    let exports: BTreeMap<_, _> = provider
        .exports
        .iter()
        .filter(|(variable, _)| prefixes.contains(&variable.prefix))
        .map(|(variable, value)| (variable.clone(), value.clone()))
        .collect();
    (!exports.is_empty()).then(|| Provider {
        key: provider.key.clone(),
        component: provider.component.clone(),
        exports,
        outside: BTreeMap::new(),
    })
}

fn hash_of(provider: &Provider) -> u64 {
    let mut hasher = DefaultHasher::new();
    provider.component.hash(&mut hasher);
    provider.exports.hash(&mut hasher);
    hasher.finish()
}
