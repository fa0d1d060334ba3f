//! Asks a proxy for a connection to the manager (`CONNECT`, RFC 9110, 9.3.6).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Proxy;

/// How long a proxy's answer may take: it has to connect to the manager itself first.
const ANSWER: Duration = Duration::from_secs(40);

/// Longest head of an answer, in bytes: a proxy has little to say.
const MAX_HEAD: usize = 16 * 1024;

/// Why there is no way through a proxy.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The proxy itself cannot be reached.
    #[error("it cannot be reached ({0}); is it running, and is the address in HTTPS_PROXY right?")]
    Unreachable(#[source] io::Error),
    /// TLS to the proxy failed.
    #[error(
        "there is no secure connection to it ({0}); is it an https:// proxy, and is its CA on this machine or given with --proxy-ca?"
    )]
    Tls(#[source] io::Error),
    /// It wants to know who asks.
    #[error(
        "it wants a user and a password (407), and those given are none it knows; write them in HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT"
    )]
    Authentication,
    /// It does not let this device through.
    #[error("it forbids the way to the manager (403); its rules have to allow CONNECT to {0}")]
    Forbidden(String),
    /// It cannot reach the manager.
    #[error("it cannot reach the manager ({status}); is {target} right as seen from the proxy?")]
    BadGateway {
        /// What it answered.
        status: StatusCode,
        /// What it was asked for.
        target: String,
    },
    /// Any other answer.
    #[error("it answers {0} to a CONNECT; is it an HTTP proxy?")]
    Status(StatusCode),
    /// Its answer is no HTTP.
    #[error("what it answers is no HTTP; is there an HTTP proxy at this address, and is it http:// or https://?")]
    NotHttp,
    /// Its answer has no end.
    #[error("the head of its answer is longer than {MAX_HEAD} bytes; is it an HTTP proxy?")]
    TooLong,
    /// It says nothing.
    #[error("it did not answer within {} s; try again, or look at the proxy's log", ANSWER.as_secs())]
    Slow,
    /// It ended the connection.
    #[error("it hung up without an answer ({0}); look at the proxy's log")]
    HungUp(String),
    /// Nobody has spoken to the manager yet, and there are words from it.
    #[error("it sends more than an answer; is it an HTTP proxy?")]
    Talkative,
}

/// Asks the proxy at the other end of `socket` for a connection to `target` (`host:port`).
///
/// # Errors
/// Says what the proxy did instead.
pub(crate) async fn through<S>(socket: S, proxy: &Proxy, target: &str) -> Result<S, TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    within(ANSWER, ask(socket, proxy, target)).await
}

async fn within<S>(limit: Duration, answer: impl Future<Output = Result<S, TunnelError>>) -> Result<S, TunnelError> {
    match timeout(limit, answer).await {
        Ok(answered) => answered,
        Err(_) => Err(TunnelError::Slow),
    }
}

async fn ask<S>(socket: S, proxy: &Proxy, target: &str) -> Result<S, TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::connect(target).header(header::HOST, target);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| TunnelError::HungUp(e.to_string()))?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(socket)).await.map_err(|e| failed(&e))?;
    // Ends with the answer: then the socket is ours again.
    drop(tokio::spawn(connection.with_upgrades()));
    let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
    match answer.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(TunnelError::Authentication),
        StatusCode::FORBIDDEN => return Err(TunnelError::Forbidden(target.to_owned())),
        status @ (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            return Err(TunnelError::BadGateway { status, target: target.to_owned() });
        }
        status => return Err(TunnelError::Status(status)),
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(|e| failed(&e))?;
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| TunnelError::NotHttp)?;
    if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(TunnelError::Talkative) }
}

fn failed(error: &hyper::Error) -> TunnelError {
    // In a client hyper tells the two apart by its words alone; a test holds them.
    if error.is_parse() && error.to_string().contains("too large") {
        TunnelError::TooLong
    } else if error.is_parse() {
        TunnelError::NotHttp
    } else {
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        TunnelError::HungUp(cause)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::Variables;
    use super::*;

    fn proxy() -> Proxy {
        let said = |name: &str| (name == "HTTPS_PROXY").then(|| "http://me:secret@proxy:3128".to_owned());
        Variables::read(said).proxy_for("manager:7626", None).unwrap().unwrap()
    }

    /// What comes of a proxy's answer, what the proxy was asked, and its end of the connection.
    async fn answered(answer: &[u8]) -> (Result<DuplexStream, TunnelError>, String, DuplexStream) {
        let (ours, mut theirs) = duplex(64 * 1024);
        let answer = answer.to_vec();
        let serve = tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                theirs.read_buf(&mut asked).await.unwrap();
            }
            theirs.write_all(&answer).await.ok();
            if answer.is_empty() {
                theirs.shutdown().await.unwrap();
            }
            (String::from_utf8(asked).unwrap(), theirs)
        });
        let opened = through(ours, &proxy(), "manager:7626").await;
        let (asked, theirs) = serve.await.unwrap();
        (opened, asked, theirs)
    }

    #[tokio::test]
    async fn a_way_through_a_proxy_is_asked_for_and_then_ours() {
        for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n"] {
            let (opened, asked, mut theirs) = answered(answer.as_bytes()).await;
            let mut ours = opened.unwrap();
            assert!(asked.starts_with("CONNECT manager:7626 HTTP/1.1\r\nhost: manager:7626\r\n"), "{asked}");
            // me:secret, in base64.
            assert!(asked.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"), "{asked}");
            ours.write_all(b"ping").await.unwrap();
            let mut got = [0; 4];
            theirs.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"ping");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_do_it_says_why() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
        for (answer, expect) in [
            ("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", "user and a password (407)"),
            ("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nsorry", "allow CONNECT to manager:7626"),
            ("HTTP/1.1 502 Bad\r\n\r\n", "cannot reach the manager (502 Bad Gateway)"),
            ("HTTP/1.1 504 Slow\r\n\r\n", "cannot reach the manager (504 Gateway Timeout)"),
            ("HTTP/1.1 301 There\r\n\r\n", "it answers 301"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
            ("\x15\x03\x01\x00\x02\x02", "no HTTP"),
            (&long, "longer than 16384 bytes"),
            ("", "hung up without an answer"),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "more than an answer"),
        ] {
            let (opened, _, _theirs) = answered(answer.as_bytes()).await;
            let error = opened.err().unwrap_or_else(|| panic!("{answer:?} opened a way")).to_string();
            assert!(error.contains(expect), "{answer:?}: {error}");
            assert!(!error.contains("secret") && !error.contains("bWU6"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_says_nothing_is_given_up() {
        let (ours, _theirs) = duplex(64 * 1024);
        let error = within(Duration::from_millis(20), ask(ours, &proxy(), "manager:7626")).await.err().unwrap();
        assert!(matches!(error, TunnelError::Slow), "{error}");
    }
}
