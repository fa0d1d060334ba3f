//! The relay: a port in the open network for a manager that nobody can reach.
//!
//! The manager dials the relay ([`robo_wire::relay`]), and whoever connects to the relay is passed on to it through that
//! one connection. TLS ends in the manager: devices and people verify the manager's authority as ever, and the relay sees
//! nothing but ciphertext, lengths and addresses. A manager is told apart from all others by ALPN, in the first words of its
//! connection (`hello.rs`); it proves itself with the relay's token, and trusts the relay by the fingerprint in that token.
//! One relay has one manager (`seat.rs`). Strangers cost little: `sources.rs` and `pass.rs` hold the bounds.

mod hello;
mod pass;
mod seat;
mod sources;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::relay::{ALPN_RELAY, FromRelay, LONGEST_HEARTBEAT, MAX_RELAY_FRAME, Present, RelayToken, ToRelay};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use self::seat::Seat;
use self::sources::{Bounds, Place, Sources};
use crate::ca::Ca;
use crate::gateway::rotate::{KEYS_LIVE, Rotating};
use crate::gateway::{broken, mux};
use crate::heard::Heard;
use crate::server::ManagerError;
use crate::streams::read_one;
use crate::tls::{TlsError, provider};
use crate::token;

/// The relay's token, below its folder.
const TOKEN_FILE: &str = "relay.token";

/// Connections at a time. Each takes one file, and 256 KiB at most of what its receiver has not taken yet.
pub const MAX_CONNECTIONS: usize = 4096;

/// What strangers may have. Half of all is left to others by whoever has most; who has not come through is rid of soon.
const BOUNDS: Bounds = Bounds { all: MAX_CONNECTIONS, of_one: MAX_CONNECTIONS / 2, waiting: 1024, waiting_of_one: 128 };

/// How long a connection's first words may take, whole.
const HELLO: Duration = Duration::from_secs(10);

/// How long a manager may take for its handshake and its token, and then for its answer to be read.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Streams that the multiplexer knows at a time: more than connections, for both sides forget them at different times.
pub(crate) const MAX_STREAMS: usize = 2 * MAX_CONNECTIONS;

/// Bytes by which the windows of streams that transfer much may grow, in all.
const GROWTH: usize = 256 * 1024 * 1024;

/// The shortest time between two signs of life, whatever a manager asks for.
const SHORTEST_HEARTBEAT: Millis = Millis(200);

/// Signs of life that may be missing until the other side is gone.
pub(crate) const BEATS: u32 = 2;

/// Wait after a connection could not be accepted, so that a lasting cause does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Unacknowledged data ends a connection after this time, in milliseconds.
const USER_TIMEOUT_MS: u32 = 60_000;

/// How a relay runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its folder: authority and token.
    pub data: PathBuf,
}

/// A relay that listens and does not serve yet.
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    token_file: PathBuf,
    shared: Shared,
}

struct Shared {
    tls: TlsAcceptor,
    /// SHA-256 of the token: to compare it takes the same time whatever comes.
    token: String,
    seat: Arc<Seat>,
    sources: Arc<Sources>,
}

impl Relay {
    /// Opens the folder and the port; makes authority and token at the first start.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn bind(config: Config) -> Result<Self, ManagerError> {
        let folder_error = |source| ManagerError::Folder { path: config.data.clone(), source };
        std::fs::create_dir_all(&config.data).map_err(folder_error)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&config.data, private).map_err(folder_error)?;
        let ca = Ca::load_or_create(&config.data)?;
        let token_file = config.data.join(TOKEN_FILE);
        let token = load_or_create(&token_file, ca.fingerprint())?;
        let shared = Shared {
            tls: TlsAcceptor::from(server_config(&ca)?),
            token: token::hash(token.text()),
            seat: Arc::default(),
            sources: Sources::new(BOUNDS),
        };
        let listen_error = |source| ManagerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        Ok(Self { listener, address, token_file, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The file with the token, for the manager.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Serves until `shutdown` is there; then all connections end.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let shared = Arc::new(self.shared);
        tokio::select! {
            () = accept(&self.listener, &shared) => {}
            () = shutdown => {}
        }
    }
}

/// Accepts connections for ever; each gets a task of its own.
async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, from)) => match shared.sources.enter(from.ip()) {
                Some(place) => {
                    let shared = Arc::clone(shared);
                    drop(tasks.spawn(async move { shared.connection(socket, from, place).await }));
                }
                None => tracing::debug!(%from, "no place for another connection from there"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Shared {
    async fn connection(&self, mut socket: TcpStream, from: SocketAddr, place: Place) {
        tune(&socket, from);
        let beginning = match timeout(HELLO, hello::read(&mut socket)).await {
            Ok(Ok(beginning)) => beginning,
            Ok(Err(error)) => return tracing::debug!(%from, %error, "no TLS"),
            Err(_) => return tracing::debug!(%from, "it took too long to say what it wants"),
        };
        if beginning.is_manager {
            return Box::pin(self.manager(socket, beginning.bytes, from, place)).await;
        }
        let Some(way) = self.seat.way() else {
            return tracing::debug!(%from, "somebody came, and there is no manager");
        };
        let passed = Box::pin(pass::pass(socket, &beginning.bytes, from, way, place)).await;
        tracing::debug!(%from, error = passed.err().map(tracing::field::display), "passed on until its end");
    }

    /// Serves one that says that it is a manager.
    async fn manager(&self, socket: TcpStream, beginning: Vec<u8>, from: SocketAddr, mut place: Place) {
        let (mut stream, present) = match timeout(HANDSHAKE, self.presented(socket, beginning)).await {
            Ok(Ok(presented)) => presented,
            Ok(Err(error)) => return tracing::info!(%from, %error, "a manager did not say who it is"),
            Err(_) => return tracing::info!(%from, "a manager took too long to say who it is"),
        };
        if token::hash(&present.token) != self.token {
            tracing::warn!(%from, "a manager was refused: its token is not this relay's");
            return last_word(&mut stream, &FromRelay::Refused).await;
        }
        let Some(claim) = self.seat.claim(&present.process) else {
            tracing::warn!(%from, "a second manager was refused: the first one is here");
            return last_word(&mut stream, &FromRelay::Occupied).await;
        };
        place.settle();
        if let Err(error) = say(&mut stream, &FromRelay::Welcome).await {
            return tracing::info!(%from, %error, "a manager broke off");
        }
        tracing::info!(%from, "the manager is here");
        let heartbeat = present.heartbeat.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT).duration();
        let (heard, ear) = Heard::new(Rotating::new(Box::new(stream), KEYS_LIVE));
        let (mux, drive) = mux::multiplex_as(heard.compat(), limits());
        claim.open(mux.open);
        let why = tokio::select! {
            ended = drive => ended.err().map_or_else(|| "it hung up".to_owned(), |error| broken(&error)),
            () = ear.silence(heartbeat * BEATS) => "nothing was heard of it".to_owned(),
            why = beat(mux.first, heartbeat) => why,
            () = claim.gone.cancelled() => "it dialled again".to_owned(),
        };
        tracing::info!(%from, why, "the manager is gone");
    }

    /// Does TLS and reads the first words.
    async fn presented(
        &self,
        socket: TcpStream,
        beginning: Vec<u8>,
    ) -> io::Result<(TlsStream<impl AsyncRead + AsyncWrite + Unpin + use<>>, Present)> {
        let (reader, writer) = socket.into_split();
        let whole = tokio::io::join(io::Cursor::new(beginning).chain(reader), writer);
        // What it costs, it costs at once; how many may wait for the other side here is bounded by their places.
        let mut stream = self.tls.accept(whole).await?;
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
        let frame = read_one(&mut stream, MAX_RELAY_FRAME).await?;
        match ToRelay::decode(&frame).map_err(|error| wrong(&error.to_string()))? {
            ToRelay::Present(present) => Ok((stream, present)),
            ToRelay::Heartbeat | ToRelay::Unknown(_) => Err(wrong("its first word is none")),
        }
    }
}

/// Says again and again that we are here, on the stream that the manager opened for it; says why where that ends.
async fn beat(first: oneshot::Receiver<yamux::Stream>, heartbeat: Duration) -> String {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, first).await else {
        return "it opened no stream".to_owned();
    };
    let Ok(word) = FromRelay::Heartbeat.encode() else { return "it cannot be told anything".to_owned() };
    broken(&keep_saying(stream, &word, heartbeat).await)
}

/// Says `word` every `heartbeat` and forgets what the other side says, until the stream breaks.
pub(crate) async fn keep_saying(stream: yamux::Stream, word: &[u8], heartbeat: Duration) -> io::Error {
    let (mut reader, mut writer) = tokio::io::split(stream.compat());
    let listen = async {
        match tokio::io::copy(&mut reader, &mut tokio::io::sink()).await {
            Ok(_) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        }
    };
    let say = async {
        loop {
            let said = async {
                writer.write_all(word).await?;
                writer.flush().await
            };
            if let Err(error) = said.await {
                return error;
            }
            tokio::time::sleep(heartbeat).await;
        }
    };
    tokio::select! {
        error = listen => error,
        error = say => error,
    }
}

/// The multiplexer's bounds, at both ends.
pub(crate) fn limits() -> yamux::Config {
    const WINDOWS: usize = MAX_STREAMS * 256 * 1024 + GROWTH;
    let mut config = yamux::Config::default();
    // Between these two the bound of all windows must not be below what so many streams need.
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(MAX_STREAMS);
    config.set_max_connection_receive_window(Some(WINDOWS));
    config
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), word: &FromRelay) -> io::Result<()> {
    stream.write_all(&word.encode().map_err(io::Error::other)?).await?;
    stream.flush().await
}

async fn last_word(stream: &mut (impl AsyncWrite + Unpin), word: &FromRelay) {
    let said = async {
        say(stream, word).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(HANDSHAKE, said).await, Ok(Ok(()))) {
        tracing::debug!("a manager did not wait for its answer");
    }
}

fn tune(socket: &TcpStream, from: SocketAddr) {
    let done = socket
        .set_nodelay(true)
        .and_then(|()| rustix::net::sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS).map_err(io::Error::from));
    if let Err(error) = done {
        tracing::debug!(%from, %error, "cannot tune the socket");
    }
}

/// TLS with the manager alone, which verifies us by our authority and brings a token.
fn server_config(ca: &Ca) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = ca.server_certificate()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_RELAY.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The token in that file; a new one where there is none.
fn load_or_create(path: &Path, ca_fingerprint: &str) -> Result<RelayToken, ManagerError> {
    let error = |source| ManagerError::RelayToken { path: path.to_owned(), source };
    let invalid = |reason: &str| error(io::Error::new(io::ErrorKind::InvalidData, reason.to_owned()));
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let token =
                RelayToken::read(&text).ok_or_else(|| invalid("it is none; remove it, and a new one is made"))?;
            if token.fingerprint() != ca_fingerprint {
                return Err(invalid("it is another relay's; remove it, and a new one is made"));
            }
            Ok(token)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let secret = token::random_hex(32).map_err(|cause| error(io::Error::other(cause)))?;
            let token = RelayToken::new(ca_fingerprint, &secret).ok_or_else(|| invalid("no token can be made"))?;
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(error)?;
            writeln!(file, "{}", token.text()).and_then(|()| file.sync_all()).map_err(error)?;
            Ok(token)
        }
        Err(cause) => Err(error(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_must_be_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        let (ours, other) = ("ab".repeat(32), "cd".repeat(32));
        let token = load_or_create(&path, &ours).unwrap();
        assert_eq!(load_or_create(&path, &ours).unwrap(), token);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        assert!(load_or_create(&path, &other).is_err(), "another relay's");
        std::fs::write(&path, "rbr1.x").unwrap();
        let error = load_or_create(&path, &ours).unwrap_err();
        assert!(error.to_string().contains("relay.token"), "{error}");
    }

    #[test]
    fn the_bounds_of_the_multiplexer_hold_together() {
        // It panics where they do not.
        let config = format!("{:?}", limits());
        assert!(config.contains(&format!("max_num_streams: {MAX_STREAMS}")), "{config}");
    }
}
