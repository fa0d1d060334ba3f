//! Where the device listens for somebody's reverse forward: only while that goes on, and by itself never.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use robo_wire::forward::{Broken, BrokenKind, Place};
use tokio::net::TcpListener;

use super::reach::{Policy, resolve, told};
use super::shared::Socket;

/// A port of this device that is listened at.
pub(super) struct Listener(TcpListener);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) async fn bind(place: &Place, policy: Policy) -> Result<Self, Broken> {
        let addresses = resolve(&place.host, place.port, policy).await?;
        TcpListener::bind(addresses.as_slice()).await.map(Self).map_err(|error| {
            let host = &place.host;
            let known = [
                (ErrorKind::AddrInUse, BrokenKind::InUse, format!("{place} is in use on the device already")),
                (ErrorKind::AddrNotAvailable, BrokenKind::NotFound, format!("{host} is no address of the device")),
                (
                    ErrorKind::PermissionDenied,
                    BrokenKind::Denied,
                    format!("the device's agent may not listen at {place}; take a port from 1024 on"),
                ),
            ];
            told(&error, known, &format!("the device cannot listen at {place}"))
        })
    }

    /// The port: the one that was found, where any would do.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// The next connection, and from where it comes.
    pub(super) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (socket, from) = self.0.accept().await?;
        // What is typed must not wait.
        socket.set_nodelay(true)?;
        Ok((Socket::Tcp(socket), from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_it_may_not_or_cannot_listen_is_told() {
        let bind = async |host: &str, port, policy| Listener::bind(&Place { host: host.into(), port }, policy).await;
        let kind = async |host: &str, port, policy| bind(host, port, policy).await.err().map(|broken| broken.kind);
        let held = bind("localhost", 0, Policy::Loopback).await.ok().unwrap();
        let address = held.0.local_addr().unwrap();
        let again = kind(&address.ip().to_string(), held.port().unwrap(), Policy::Loopback).await;
        assert_eq!(again, Some(BrokenKind::InUse));
        assert_eq!(kind("127.0.0.1", 0, Policy::None).await, Some(BrokenKind::Denied));
        assert_eq!(kind("0.0.0.0", 0, Policy::Loopback).await, Some(BrokenKind::Denied));
        assert_eq!(kind("0.0.0.0", 0, Policy::Any).await, None);
        assert_eq!(kind("192.0.2.1", 0, Policy::Any).await, Some(BrokenKind::NotFound));
    }
}
