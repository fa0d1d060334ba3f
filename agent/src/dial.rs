//! Dials the manager: TCP, TLS, and one HTTP/1.1 request at a time for enrolment and recipe files.

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
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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
    /// True when the manager's certificate is not from the authority that is pinned.
    #[must_use]
    pub fn is_wrong_authority(&self) -> bool {
        let Self::Tls { source, .. } = self else { return false };
        // Not any invalid certificate: a device whose clock stands at 1970 finds every one not valid yet, and that passes.
        matches!(
            source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                    | CertificateError::BadSignature
                    | CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. }
            ))
        )
    }
}

/// Connects to `manager` (`host:port`) and does TLS.
///
/// # Errors
/// Says which part failed.
pub async fn dial(manager: &str, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, DialError> {
    let socket = connect(manager).await?;
    let tls_error = |source| DialError::Tls { manager: manager.to_owned(), source };
    let name = ServerName::try_from(robo_wire::SERVER_NAME).map_err(|e| tls_error(io::Error::other(e)))?;
    let handshake = TlsConnector::from(tls).connect(name, socket);
    match timeout(HANDSHAKE, handshake).await {
        Ok(done) => done.map_err(tls_error),
        Err(_) => Err(tls_error(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))),
    }
}

/// Addresses are tried in turn: IPv6 and IPv4, as the resolver orders them.
async fn connect(manager: &str) -> Result<TcpStream, DialError> {
    let lookup = tokio::net::lookup_host(manager).await;
    let addresses: Vec<SocketAddr> =
        lookup.map_err(|source| DialError::Lookup { manager: manager.to_owned(), source })?.collect();
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
    Err(DialError::Connect { manager: manager.to_owned(), source: last })
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
    manager: &str,
    tls: Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, DialError> {
    let stream = dial(manager, tls).await?;
    let failed = |reason: String| DialError::Http { manager: manager.to_owned(), reason };
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
