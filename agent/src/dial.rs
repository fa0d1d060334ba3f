//! Dials the manager, through a proxy where there is one: TCP, TLS, and one HTTP/1.1 request at a time for enrolment and
//! recipe files.

mod socket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use self::socket::Socket;
use crate::code::Code;
use crate::proxy::Proxy;
use crate::proxy::tunnel::{self, TunnelError};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// How long an answer's head may take.
const RESPONSE: Duration = Duration::from_secs(60);

/// Longest silence within an answer's body. A connection that is cut without a word would hold its place until the kernel
/// gives it up.
pub const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Unacknowledged data ends a connection after this time: how a half-open one is noticed by the kernel.
const USER_TIMEOUT_MS: u32 = 60_000;

/// The way to the manager.
#[derive(Debug, Clone)]
pub struct Route {
    /// `host:port` of the manager.
    pub manager: String,
    /// The proxy to ask for a connection to it.
    pub proxy: Option<Proxy>,
}

impl Route {
    /// Without a proxy.
    #[must_use]
    pub fn direct(manager: impl Into<String>) -> Self {
        Self { manager: manager.into(), proxy: None }
    }

    /// What this machine connects to: `host:port` of the proxy or of the manager.
    #[must_use]
    pub fn first_hop(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.manager.clone(), Proxy::address)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            None => write!(f, "{}", self.manager),
            Some(proxy) => write!(f, "{} through the proxy {proxy}", self.manager),
        }
    }
}

/// Why the manager cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("`{manager}` cannot be looked up: {source}")]
    Lookup {
        /// What was looked up.
        manager: String,
        /// Why.
        source: io::Error,
    },
    /// No address answers.
    #[error("no connection to {manager}: {source}")]
    Connect {
        /// Where.
        manager: String,
        /// Why the last address did not answer.
        source: io::Error,
    },
    /// The proxy does not let us through.
    #[error("no connection to {manager} through the proxy {proxy}: {source}")]
    Proxy {
        /// Where to.
        manager: String,
        /// Which proxy, without its password.
        proxy: String,
        /// What it did.
        source: TunnelError,
    },
    /// TLS failed.
    #[error("no secure connection to {manager}: {source}")]
    Tls {
        /// Where.
        manager: String,
        /// Why.
        source: io::Error,
    },
    /// HTTP failed.
    #[error("the request to {manager} failed: {reason}")]
    Http {
        /// Where.
        manager: String,
        /// Why.
        reason: String,
    },
}

impl DialError {
    /// What to look up about it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Lookup { .. } => Code::Lookup,
            Self::Connect { .. } => Code::Connect,
            Self::Proxy { .. } => Code::Proxy,
            Self::Tls { .. } if self.is_wrong_authority() => Code::WrongManager,
            Self::Tls { .. } if self.is_of_another_time() => Code::Clock,
            Self::Tls { .. } => Code::Tls,
            Self::Http { .. } => Code::Answer,
        }
    }

    /// True when the manager's certificate is not valid at this machine's time.
    fn is_of_another_time(&self) -> bool {
        matches!(
            self.certificate_error(),
            Some(
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }
            )
        )
    }

    fn certificate_error(&self) -> Option<&CertificateError> {
        let Self::Tls { source, .. } = self else { return None };
        let error = source.get_ref()?.downcast_ref::<rustls::Error>()?;
        if let rustls::Error::InvalidCertificate(error) = error { Some(error) } else { None }
    }

    /// True when the manager's certificate is not from the authority that is pinned.
    #[must_use]
    pub fn is_wrong_authority(&self) -> bool {
        // Not any invalid certificate: a device whose clock stands at 1970 finds every one not valid yet, and that passes.
        matches!(
            self.certificate_error(),
            Some(
                CertificateError::UnknownIssuer
                    | CertificateError::BadSignature
                    | CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. }
            )
        )
    }
}

/// Connects to the manager and does TLS.
///
/// # Errors
/// Says which part failed.
pub async fn dial(route: &Route, tls: Arc<ClientConfig>) -> Result<TlsStream<Socket>, DialError> {
    secured(connect(route).await?, route, tls).await
}

/// Does TLS with the manager at the other end of `socket`.
///
/// # Errors
/// When it fails.
pub(crate) async fn secured(
    socket: Socket,
    route: &Route,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<Socket>, DialError> {
    let tls_error = |source| DialError::Tls { manager: route.to_string(), source };
    let name = ServerName::try_from(robo_wire::SERVER_NAME).map_err(|e| tls_error(io::Error::other(e)))?;
    secure(socket, name, tls).await.map_err(tls_error)
}

/// A connection to the manager in clear, through the proxy where there is one.
///
/// # Errors
/// Says which part failed.
pub(crate) async fn connect(route: &Route) -> Result<Socket, DialError> {
    let Some(proxy) = &route.proxy else {
        return reach(&route.manager).await.map(Socket::Plain).map_err(|unreached| match unreached {
            Unreached::Lookup(source) => DialError::Lookup { manager: route.manager.clone(), source },
            Unreached::Connect(source) => DialError::Connect { manager: route.manager.clone(), source },
        });
    };
    let proxy_error = |source| DialError::Proxy { manager: route.manager.clone(), proxy: proxy.to_string(), source };
    let socket = to_proxy(proxy).await.map_err(proxy_error)?;
    tunnel::through(socket, proxy, &route.manager).await.map_err(proxy_error)
}

async fn to_proxy(proxy: &Proxy) -> Result<Socket, TunnelError> {
    let socket = reach(&proxy.address()).await.map_err(|unreached| match unreached {
        Unreached::Lookup(source) | Unreached::Connect(source) => TunnelError::Unreachable(source),
    })?;
    let Some((tls, name)) = proxy.tls() else { return Ok(Socket::Plain(socket)) };
    let name = name.map_err(|e| TunnelError::Tls(io::Error::other(e)))?;
    let secured = secure(socket, name, tls).await.map_err(TunnelError::Tls)?;
    Ok(Socket::Secured(Box::new(secured)))
}

async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> io::Result<TlsStream<S>> {
    match timeout(HANDSHAKE, TlsConnector::from(tls).connect(name, socket)).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
    }
}

/// Why nothing listens at `host:port`, as far as we can see.
enum Unreached {
    /// The name has no address.
    Lookup(io::Error),
    /// None of its addresses answers.
    Connect(io::Error),
}

/// The addresses of `host:port`.
pub(crate) async fn look_up(host_port: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host(host_port).await?.collect())
}

/// Addresses are tried in turn: IPv6 and IPv4, as the resolver orders them.
async fn reach(host_port: &str) -> Result<TcpStream, Unreached> {
    let addresses = look_up(host_port).await.map_err(Unreached::Lookup)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                tune(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        }
    }
    Err(Unreached::Connect(last))
}

fn tune(socket: &TcpStream) {
    let done = socket
        .set_nodelay(true)
        .and_then(|()| rustix::net::sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS).map_err(io::Error::from));
    if let Err(error) = done {
        tracing::debug!(%error, "cannot tune the socket");
    }
}

/// The next data of an answer's body; nothing at its end.
///
/// # Errors
/// One sentence, when the connection breaks or nothing comes for `silence`.
pub async fn next_data<B>(body: &mut B, silence: Duration) -> Result<Option<B::Data>, String>
where
    B: Body + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let Ok(frame) = timeout(silence, body.frame()).await else {
            return Err(format!("nothing came for {} s", silence.as_secs()));
        };
        match frame.transpose().map_err(|e| e.to_string())?.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            // Trailers say nothing to us.
            Some(Err(_)) => {}
        }
    }
}

/// Sends one HTTP/1.1 request on a connection of its own and returns the answer's head; the body is read by the
/// caller, and the connection ends with it.
///
/// # Errors
/// When the connection or the answer's head fails.
pub async fn request(
    route: &Route,
    tls: Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, DialError> {
    exchange(dial(route, tls).await?, route, request).await
}

/// Sends one request on `stream` and returns the answer's head.
///
/// # Errors
/// When the answer's head fails.
pub(crate) async fn exchange(
    stream: TlsStream<Socket>,
    route: &Route,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, DialError> {
    let failed = |reason: String| DialError::Http { manager: route.to_string(), reason };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(e.to_string()))?;
    // Ends by itself when sender and body are dropped.
    drop(tokio::spawn(connection));
    match timeout(RESPONSE, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(|e| failed(e.to_string())),
        Err(_) => Err(failed("no answer in time".into())),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn a_body_that_falls_silent_is_given_up() {
        let piece = || Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"half")));
        let mut whole = StreamBody::new(stream::iter([piece()]));
        let mut cut = StreamBody::new(stream::iter([piece()]).chain(stream::pending()));
        let silence = Duration::from_millis(20);
        assert_eq!(next_data(&mut whole, silence).await, Ok(Some(Bytes::from_static(b"half"))));
        assert_eq!(next_data(&mut whole, silence).await, Ok(None));
        assert_eq!(next_data(&mut cut, silence).await, Ok(Some(Bytes::from_static(b"half"))));
        assert_eq!(next_data(&mut cut, silence).await, Err("nothing came for 0 s".to_owned()));
    }
}
