//! What the machine tells of itself.

use std::net::{IpAddr, UdpSocket};

use robo_wire::api::Facts;

/// What this machine is. `address` is what others reach it by.
#[must_use]
pub fn facts(address: &str) -> Facts {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Facts {
        hostname: text(name.nodename()),
        os: os_name(),
        kernel: format!("{} {}", text(name.sysname()), text(name.release())),
        arch: text(name.machine()),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        address: address.to_owned(),
        installers: ["script", "process", "logger"].map(str::to_owned).to_vec(),
        ..Facts::default()
    }
}

fn os_name() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The address that packets to `manager` would leave from. Connecting a UDP socket sends nothing; it only asks the
/// routing table, so this works while the manager is away.
#[must_use]
pub fn outbound_address(manager: &str) -> Option<IpAddr> {
    let any = if manager.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(manager).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_loopback_is_loopback() {
        assert_eq!(outbound_address("127.0.0.1:9"), Some(IpAddr::from([127, 0, 0, 1])));
        assert!(!facts("10.0.0.1").kernel.is_empty());
    }
}
