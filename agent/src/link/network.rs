//! Notices when this machine's addresses or routes change, so that a link that leads nowhere any more is dialled anew at
//! once, and not when the silence on it has lasted long enough.
//!
//! The kernel tells each change through a routing socket (`rtnetlink(7)`); what it says is not read, only that it says
//! something: where packets leave from is asked behind it, of the routing table. While nothing changes this costs nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::facts::machine_addresses;

/// Interfaces, and addresses and routes of IPv4 and IPv6: the groups of `rtnetlink(7)`.
const GROUPS: u32 = 0x01 | 0x10 | 0x40 | 0x100 | 0x400;

/// An interface that comes up changes ten things within a moment. Also the shortest time between two looks: machines that
/// start many containers change their network all the time.
const SETTLE: Duration = Duration::from_secs(1);

/// One word of the kernel; it is thrown away.
const WORD: usize = 8 * 1024;

/// Words that are thrown away at a time, before others get their turn.
const MAX_WORDS: usize = 256;

/// Addresses that nobody has (RFC 5737, RFC 3849): the way to them is the way to everywhere.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Hears of changes of the network.
pub(super) struct Network {
    /// Nothing where the kernel does not let us; then silence on the link has to do.
    socket: Option<AsyncFd<OwnedFd>>,
}

/// Where this machine's packets can leave from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ways {
    addresses: Vec<IpAddr>,
    default: [Option<IpAddr>; 2],
}

impl Network {
    pub(super) fn watch() -> Self {
        let socket = open();
        if let Err(error) = &socket {
            tracing::info!(%error, "changes of the network cannot be watched; a lost way is noticed by its silence");
        }
        Self { socket: socket.ok() }
    }

    /// Waits for a change, and until it has settled.
    pub(super) async fn changed(&mut self) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        if forget_what_was_said(socket).await.is_err() {
            self.socket = None;
            return std::future::pending().await;
        }
        sleep(SETTLE).await;
    }

    /// Waits until there are other ways than `before`.
    pub(super) async fn other_ways(&mut self, before: &Ways) {
        loop {
            self.changed().await;
            if ways() != *before {
                return;
            }
        }
    }
}

/// The address that packets to `peer` leave from, where it is another one than `local`.
///
/// As long as there is no other way the old one is kept: a cable may be plugged in again.
pub(super) fn leaves_elsewhere(local: IpAddr, peer: SocketAddr) -> Option<IpAddr> {
    leaves_from(peer).filter(|now| now.to_canonical() != local.to_canonical())
}

/// The ways there are now.
pub(super) fn ways() -> Ways {
    Ways { addresses: machine_addresses(), default: ANYWHERE.map(|ip| leaves_from((ip, 9).into())) }
}

/// Connecting a UDP socket sends nothing; it only asks the routing table.
fn leaves_from(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for what is no owned descriptor; this one is, and stays what it is"
)]
fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol it is the one for routes and addresses.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Waits for a word, and takes all there are.
async fn forget_what_was_said(socket: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut ready = socket.readable().await?;
    for _ in 0..MAX_WORDS {
        let mut word = [0; WORD];
        match recv(socket.get_ref(), word.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok(_) => {}
            // It said more than there was room for: something changed for sure.
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                ready.clear_ready();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_leaves_from_it() {
        assert_eq!(leaves_from(([127, 0, 0, 1], 9).into()), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(ways(), ways());
    }

    #[tokio::test]
    async fn nothing_is_said_while_nothing_changes() {
        let mut network = Network::watch();
        assert!(network.socket.is_some());
        // Other tests change the network of this machine; no way leaves it because of them.
        let before = ways();
        assert!(tokio::time::timeout(Duration::from_millis(50), network.other_ways(&before)).await.is_err());
        assert_eq!(leaves_elsewhere(Ipv4Addr::LOCALHOST.into(), ([127, 0, 0, 1], 9).into()), None);
    }
}
