//! The manager's one port: accepts, does TLS, and hands each connection to the API or to the gateway. What comes by way of
//! a relay is served alike; with one the manager needs no port at all.

mod door;
mod incoming;
mod porter;
mod relayed;
mod unread;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use robo_model::quantity::Millis;
use robo_wire::relay::{Arrival, MAX_RELAY_FRAME};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use self::door::Source;
use self::incoming::{Again, Incoming, Origin};
use self::porter::{Porter, Visit};
pub use self::relayed::{Dialled, RelayWay};
use self::unread::Unread;
use crate::api::{ApiState, PeerAddress, PeerDevice};
use crate::bus::Bus;
use crate::ca::{Ca, CaError, Peer, peer_of};
use crate::gateway::rotate::{KEYS_LIVE, Rotating};
use crate::gateway::{Gateway, Offence, Renewal};
use crate::install::Programs;
use crate::limits::{Limits, Rate};
use crate::links::Links;
use crate::login::{ConfigFault, LoginConfig, Provider};
use crate::plan::PortRanges;
use crate::service::Service;
use crate::store::{Store, StoreError};
use crate::streams::read_one;
use crate::tls::{TlsError, server_config};
use crate::watchman::Watchman;

/// How long a peer may take for the head of a request, and the relay to say who came.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// How often an API connection is asked whether its client is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections at a time; one costs some kilobytes.
const MAX_CONNECTIONS: usize = 65_536;

/// Wait after a connection could not be accepted, so that a lasting cause does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests and links may take to end when the manager stops.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether refusals were counted that are no line of the audit log yet.
const TELL_REFUSALS: Duration = Duration::from_secs(30);

/// How a manager runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one. Nothing when whoever comes, comes by way of the relay.
    pub listen: Option<SocketAddr>,
    /// The relay to dial.
    pub relay: Option<RelayWay>,
    /// Its folder: store, files, authority.
    pub data: PathBuf,
    /// How often agents say something.
    pub heartbeat: Millis,
    /// Ports that are never handed out for `random[port]`.
    pub forbidden_ports: PortRanges,
    /// How long a device may be out of contact before its hosts are PROBLEM.
    pub silent_after: Millis,
    /// How long devices' certificates are good for.
    pub device_lifetime: Millis,
    /// The folder with agents' programs, for machines that are to become devices.
    pub agent_binaries: Option<PathBuf>,
    /// How often each user may ask.
    pub requests: Rate,
    /// With whose identities people log in, where they may.
    pub login: Option<LoginConfig>,
    /// Bytes that the files which devices sent may have, in each project.
    pub files_max: u64,
    /// How long lines of the audit log are kept; for ever where nothing is said.
    pub audit_keep: Option<Millis>,
}

/// Why a manager cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot use the data folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The relay's token cannot be had.
    #[error("cannot use the token in {path}")]
    RelayToken {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The authority cannot be had.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can log in with a provider's identities.
    #[error("the OpenID provider")]
    Login(#[from] ConfigFault),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A manager that listens and does not serve yet.
pub struct Server {
    listener: Option<(TcpListener, SocketAddr)>,
    relay: Option<RelayWay>,
    audit_keep: Option<Millis>,
    heartbeat: Millis,
    tls: Arc<ServerConfig>,
    service: Service,
    gateway: Arc<Gateway>,
    watchman: Watchman,
    router: axum::Router,
    ca_fingerprint: String,
    ca_pem: String,
}

impl Server {
    /// Opens the folder and the port.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(config: Config) -> Result<Self, ManagerError> {
        let folder_error = |source| ManagerError::Folder { path: config.data.clone(), source };
        std::fs::create_dir_all(&config.data).map_err(folder_error)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&config.data, private).map_err(folder_error)?;
        let store = Store::open(&config.data).await?;
        let ca = Arc::new(Ca::load_or_create(&config.data)?.with_device_lifetime(config.device_lifetime));
        let tls = server_config(&ca)?;
        let bus = Bus::default();
        let gateway =
            Gateway::new(store.clone(), bus.clone(), config.heartbeat, Renewal { lifetime: config.device_lifetime });
        let service =
            Service::open(store, bus, &config.data, ca.fingerprint().to_owned(), config.forbidden_ports).await?;
        gateway.tell_ssh_authority(service.ssh_authority().public_key().to_owned());
        let watchman = Watchman {
            store: service.store().clone(),
            bus: service.bus().clone(),
            files: service.files().clone(),
            links: Arc::clone(&gateway) as Arc<dyn Links>,
            silent_after: config.silent_after,
        };
        let (ca_fingerprint, ca_pem) = (ca.fingerprint().to_owned(), ca.pem().to_owned());
        let links = Arc::clone(&gateway);
        let sign = Arc::new(move |id: &_, request: &str| ca.sign_device(id, request));
        let programs = config.agent_binaries.clone().map(Programs::in_folder).unwrap_or_default();
        let provider = config.login.clone().map(Provider::new).transpose()?;
        let state = ApiState::new(service.clone(), links, sign).with_programs(programs);
        let state = state.with_limits(Limits::new(config.requests)).with_login(provider);
        state.sessions().resume().await?;
        state.jobs().resume().await?;
        state.uploads().set_max(config.files_max);
        state.uploads().resume().await?;
        let (router, _openapi) = crate::api::router(state);
        let listener = match config.listen {
            Some(address) => Some(listen(address).await.map_err(|source| ManagerError::Listen { address, source })?),
            None => None,
        };
        let Config { relay, heartbeat, audit_keep, .. } = config;
        Ok(Self {
            audit_keep,
            listener,
            relay,
            heartbeat,
            tls,
            service,
            gateway,
            watchman,
            router,
            ca_fingerprint,
            ca_pem,
        })
    }

    /// Where it listens; nothing when it does not.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(|(_, address)| *address)
    }

    /// SHA-256 of its authority's certificate, in hexadecimal.
    #[must_use]
    pub fn ca_fingerprint(&self) -> &str {
        &self.ca_fingerprint
    }

    /// Its authority's certificate, in PEM: what clients pin.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Serves until `shutdown` is there; then stops accepting, ends links and requests, and returns. Dropping the
    /// future ends everything at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let mut bell = JoinSet::new();
        bell.spawn(Arc::clone(&self.gateway).pass_on());
        bell.spawn(self.watchman.run());
        bell.spawn(tell_refusals(self.service.clone(), self.audit_keep));
        let shared = Arc::new(Shared {
            tls: self.tls,
            service: self.service,
            gateway: self.gateway,
            router: self.router,
            porter: Porter::new(),
            stop: stop.clone(),
        });
        let mut tasks = JoinSet::new();
        if let Some(way) = self.relay {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tasks.spawn(async move {
                let serve = |stream: yamux::Stream| {
                    let shared = Arc::clone(&shared);
                    async move { shared.relayed(stream).await }
                };
                relayed::stay(&way, self.heartbeat, &stop, serve).await;
            });
        }
        tokio::select! {
            () = accept(self.listener.as_ref().map(|(listener, _)| listener), &shared, &mut tasks) => {}
            () = shutdown => {}
        }
        stop.cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(GRACE, ended).await);
        shared.service.audit_counted().await;
    }
}

async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Writes down what was refused again and again, also where nobody comes any more; and takes away lines whose time is over.
async fn tell_refusals(service: Service, audit_keep: Option<Millis>) {
    loop {
        tokio::time::sleep(TELL_REFUSALS).await;
        service.audit_over().await;
        if let Some(keep) = audit_keep {
            service.trim_audit(keep).await;
        }
    }
}

/// Accepts connections for ever; each gets a task of its own.
async fn accept(listener: Option<&TcpListener>, shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MAX_CONNECTIONS {
            // Full: the next one waits in the kernel's queue until one of these ends.
            drop(tasks.join_next().await);
            continue;
        }
        match listener.accept().await {
            Ok((socket, from)) => {
                let shared = Arc::clone(shared);
                tasks.spawn(async move { shared.connection(socket, from).await });
            }
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: neither ends the manager.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Shared {
    tls: Arc<ServerConfig>,
    service: Service,
    gateway: Arc<Gateway>,
    router: axum::Router,
    porter: Arc<Porter>,
    stop: CancellationToken,
}

impl Shared {
    async fn connection(&self, socket: TcpStream, from: SocketAddr) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%from, %error, "cannot turn off Nagle's algorithm");
        }
        let from = Origin { address: from, is_relayed: false };
        let visit = self.porter.arrive(Source::of(from.address.ip()));
        // Whoever says nothing costs no more than the socket.
        let silent = async { socket.peek(&mut [0]).await };
        match visit.in_time(silent).await {
            Ok(_) => self.secured(Incoming::Direct(socket), from, visit).await,
            Err(error) => tracing::info!(%from, %error, "TLS handshake failed"),
        }
    }

    /// Serves whoever comes by way of the relay, which has read the first words already.
    async fn relayed(&self, stream: yamux::Stream) {
        let mut stream = stream.compat();
        let said = tokio::time::timeout(HANDSHAKE, read_one(&mut stream, MAX_RELAY_FRAME)).await;
        let arrival = said.ok().and_then(Result::ok).and_then(|frame| Arrival::decode(&frame).ok());
        match arrival.and_then(|arrival| arrival.from.parse::<SocketAddr>().ok()) {
            Some(address) => {
                let visit = self.porter.arrive(Source::of(address.ip()));
                self.secured(Incoming::Relayed(stream), Origin { address, is_relayed: true }, visit).await;
            }
            None => tracing::warn!("the relay does not say who came"),
        }
    }

    async fn secured(&self, socket: Incoming, from: Origin, visit: Visit) {
        // What is over by the time a link is up, and whatever is rare, has a box of its own here and below: a future has
        // room for the largest of its steps as long as it lives, and ten thousand of these live for weeks.
        let secure = async { visit.secure(socket, &self.tls).await.map(Box::new) };
        match Box::pin(secure).await {
            Ok(stream) => self.speak(stream, from, visit).await,
            Err(error) => {
                tracing::info!(%from, %error, "TLS handshake failed");
                // Who only looks whether somebody listens says nothing, or not enough.
                if error.kind() == io::ErrorKind::InvalidData {
                    Box::pin(self.refused(from, "connect", "TLS", &error.to_string())).await;
                }
            }
        }
    }

    /// Writes down that somebody was refused.
    async fn refused(&self, from: Origin, verb: &str, thing: &str, why: &str) {
        self.service.audit_stranger(Some(from.written()), verb, thing, why).await;
    }

    async fn speak(&self, stream: Box<TlsStream<Again<Incoming>>>, from: Origin, visit: Visit) {
        let connection = stream.get_ref().1;
        let is_link = connection.alpn_protocol() == Some(robo_wire::ALPN_LINK);
        let peer = connection.peer_certificates().and_then(|chain| chain.first()).and_then(peer_of);
        match (is_link, peer) {
            (true, Some(peer)) => {
                // It has a certificate of ours.
                drop(visit);
                let stream = Rotating::new(stream, KEYS_LIVE);
                let refused = Box::pin(self.gateway.serve(stream, &peer, &self.stop)).await;
                let device = format!("device {}", peer.device);
                match refused {
                    Some(Offence::Link(why)) => Box::pin(self.refused(from, "link", &device, &why)).await,
                    Some(Offence::Protocol(why)) => Box::pin(self.refused(from, "protocol", &device, &why)).await,
                    None => {}
                }
            }
            (true, None) => {
                tracing::info!(%from, "a link without a device's certificate was refused");
                Box::pin(self.refused(from, "link", "", "no device's certificate")).await;
            }
            (false, peer) => Box::pin(self.http(stream, peer, from, visit)).await,
        }
    }

    async fn http(&self, stream: Box<TlsStream<Again<Incoming>>>, peer: Option<Peer>, from: Origin, visit: Visit) {
        let router = self
            .router
            .clone()
            .layer(axum::Extension(PeerAddress { ip: from.address.ip(), written: from.written().into() }));
        let cut = visit.cut();
        let unread = Unread::new();
        let guest = Guest { visit: Arc::new(Mutex::new(peer.is_none().then_some(visit))), unread: unread.clone() };
        let router = match peer {
            Some(peer) => router.layer(axum::Extension(PeerDevice(peer))),
            None => router,
        };
        let router = router.layer(axum::middleware::from_fn_with_state(guest, answered));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(HANDSHAKE);
        let serve = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut serve = std::pin::pin!(serve);
        let ended = tokio::select! {
            ended = &mut serve => ended,
            () = cut => return tracing::info!(%from, "a connection made room for others"),
            () = unread.too_long() => return tracing::info!(%from, "a connection on which nobody reads was ended"),
            () = self.stop.cancelled() => {
                serve.as_mut().graceful_shutdown();
                serve.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "an API connection broke");
        }
    }
}

/// Whoever is at the other end of an API connection.
#[derive(Clone)]
struct Guest {
    /// Its place at the door, until it is known.
    visit: Arc<Mutex<Option<Visit>>>,
    unread: Unread,
}

/// Watches what is answered: who shows a token that is one is no guest any more, and what is not read counts.
async fn answered(State(guest): State<Guest>, request: Request, next: Next) -> Response {
    let shows_token = request.headers().contains_key(header::AUTHORIZATION);
    let response = next.run(request).await;
    let is_wrong = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
    if shows_token && !is_wrong {
        drop(guest.visit.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
    guest.unread.watch(response)
}
