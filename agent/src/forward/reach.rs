//! What may be reached from this device, and how.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use robo_wire::forward::{Broken, BrokenKind, Target};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::shared::Socket;

/// How long a connection may take, the look-up of the name included.
const CONNECT: Duration = Duration::from_secs(10);

/// What people may reach through this device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// Nothing.
    None,
    /// What listens on the device itself, on loopback or in its file system.
    #[default]
    Loopback,
    /// Whatever the device reaches.
    Any,
}

impl Policy {
    fn allows(self, address: &SocketAddr) -> bool {
        match self {
            Self::None => false,
            Self::Loopback => address.ip().to_canonical().is_loopback(),
            Self::Any => true,
        }
    }
}

/// Connects.
///
/// # Errors
/// Why it cannot be.
pub(super) async fn connect(target: &Target, policy: Policy) -> Result<Socket, Broken> {
    let connecting = async {
        match target {
            Target::Tcp { host, port } => connect_tcp(target, &resolve(host, *port, policy).await?).await,
            Target::Unix { .. } if policy == Policy::None => Err(closed()),
            Target::Unix { path } => {
                UnixStream::connect(path).await.map(Socket::Unix).map_err(|error| failed(target, &error))
            }
        }
    };
    let late = || Broken::new(BrokenKind::TimedOut, format!("{target} did not answer the device within {CONNECT:?}"));
    timeout(CONNECT, connecting).await.map_err(|_| late())?
}

async fn connect_tcp(target: &Target, addresses: &[SocketAddr]) -> Result<Socket, Broken> {
    let mut last = Error::from(ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // What is typed must not wait.
                socket.set_nodelay(true).map_err(|error| failed(target, &error))?;
                return Ok(Socket::Tcp(socket));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(target, &last))
}

/// The addresses of a host that may be used.
pub(super) async fn resolve(host: &str, port: u16, policy: Policy) -> Result<Vec<SocketAddr>, Broken> {
    if policy == Policy::None {
        return Err(closed());
    }
    let found = lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(error) => {
            let reason = format!("the device does not find the host `{host}`: {error}");
            return Err(Broken::new(BrokenKind::NotFound, reason));
        }
    };
    let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| policy.allows(address)).collect();
    if allowed.is_empty() {
        let reason = format!(
            "`{host}` is not the device's loopback, and its agent allows nothing else; one that is started with `--forward any` does"
        );
        return Err(Broken::new(BrokenKind::Denied, reason));
    }
    Ok(allowed)
}

fn closed() -> Broken {
    Broken::new(BrokenKind::Denied, "the device's agent was started with `--forward none`: it lets nothing through")
}

fn failed(target: &Target, error: &Error) -> Broken {
    let no_way = || format!("no way leads from the device to {target}");
    let known = [
        (ErrorKind::ConnectionRefused, BrokenKind::Refused, format!("nothing listens at {target} on the device")),
        (ErrorKind::TimedOut, BrokenKind::TimedOut, format!("{target} does not answer the device")),
        (ErrorKind::NotFound, BrokenKind::NotFound, format!("there is no {target} on the device")),
        (ErrorKind::PermissionDenied, BrokenKind::Denied, format!("the device's agent may not open {target}")),
        (ErrorKind::HostUnreachable, BrokenKind::Unreachable, no_way()),
        (ErrorKind::NetworkUnreachable, BrokenKind::Unreachable, no_way()),
    ];
    told(error, known, &format!("the device cannot connect to {target}"))
}

/// What `known` says of the error; of others, that `what` cannot be.
pub(super) fn told<const N: usize>(error: &Error, known: [(ErrorKind, BrokenKind, String); N], what: &str) -> Broken {
    let found = known.into_iter().find(|(kind, ..)| *kind == error.kind());
    match found {
        Some((_, kind, reason)) => Broken::new(kind, reason),
        None => Broken::new(BrokenKind::Other, format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn tcp(host: &str, port: u16) -> Target {
        Target::Tcp { host: host.into(), port }
    }

    #[tokio::test]
    async fn only_what_is_allowed_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kind = async |host: &str, policy| connect(&tcp(host, port), policy).await.err().map(|broken| broken.kind);
        for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
            assert_eq!(kind(host, Policy::Loopback).await, None, "{host}");
            assert_eq!(kind(host, Policy::None).await, Some(BrokenKind::Denied), "{host}");
        }
        for host in ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1"] {
            assert_eq!(kind(host, Policy::Loopback).await, Some(BrokenKind::Denied), "{host}");
        }
        assert_eq!(kind("0.0.0.0", Policy::Any).await, None);
        assert_eq!(kind("no-such-host.invalid", Policy::Any).await, Some(BrokenKind::NotFound));
        drop(listener);
        let refused = connect(&tcp("127.0.0.1", port), Policy::Loopback).await.err().unwrap();
        assert_eq!((refused.kind, refused.reason.contains("nothing listens")), (BrokenKind::Refused, true));
    }

    #[tokio::test]
    async fn sockets_in_the_file_system_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let target = Target::Unix { path: path.to_str().unwrap().into() };
        let kind = async |policy| connect(&target, policy).await.err().map(|broken| broken.kind);
        assert_eq!(kind(Policy::Loopback).await, Some(BrokenKind::NotFound));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert_eq!(kind(Policy::Loopback).await, None);
        assert_eq!(kind(Policy::None).await, Some(BrokenKind::Denied));
        drop(listener);
        assert_eq!(kind(Policy::Loopback).await, Some(BrokenKind::Refused));
    }
}
