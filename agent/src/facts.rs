//! What the machine tells of itself.

mod addresses;
mod host_keys;
mod ports;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use robo_wire::api::Facts;

use crate::keeper::user::User;
use crate::order::Addresses;
use crate::switches::Switches;

/// Where the public keys of a machine's SSH server lie, where nothing else is said.
pub(crate) const SSH_KEYS: &str = "/etc/ssh";

/// What a machine may have to work with, and the file or folder that is there when it has: for choosing devices by it.
const CAPABILITIES: [(&str, &str); 8] = [
    ("camera", "/dev/video0"),
    ("can", "/sys/class/net/can0"),
    ("docker", "/run/docker.sock"),
    ("gpu", "/dev/dri/renderD128"),
    ("journal", "/run/systemd/journal/socket"),
    ("kvm", "/dev/kvm"),
    ("nvidia", "/dev/nvidiactl"),
    ("systemd", "/run/systemd/system"),
];

/// What this machine is. `addresses` are what others reach it by; the public keys of its SSH server lie in `ssh`, and the
/// agent works in `folder`. Commands run as `exec_user`, where one was set; `switches` say what is off.
#[must_use]
pub fn facts(
    addresses: &Addresses,
    ssh: &Path,
    folder: &Path,
    (exec_user, switches): (Option<&str>, &Switches),
) -> Facts {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Facts {
        hostname: text(name.nodename()),
        os: os_name(),
        kernel: format!("{} {}", text(name.sysname()), text(name.release())),
        arch: text(name.machine()),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        address: addresses.main.clone(),
        installers: ["script", "process", "logger"].map(str::to_owned).to_vec(),
        addresses: told(addresses),
        ports: ports::listening(),
        ssh_host_keys: host_keys::of(ssh),
        interfaces: addresses::of_interfaces(),
        cores: std::thread::available_parallelism().map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory: memory(),
        disk: disk(folder),
        capabilities: capabilities(),
        exec_user: exec_user.unwrap_or_default().to_owned(),
        agent_user: User::own().name,
        program: String::new(),
        upgrade: None,
        without: switches.without(),
        holds_off: switches.holds_off(),
    }
}

#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::useless_conversion, reason = "on machines of 32 bits it is another type")
)]
fn memory() -> u64 {
    let told = rustix::system::sysinfo();
    u64::from(told.totalram).saturating_mul(u64::from(told.mem_unit))
}

fn disk(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

fn capabilities() -> Vec<String> {
    let own = CAPABILITIES.iter().filter(|(_, path)| Path::new(path).exists()).map(|(name, _)| *name);
    let root = rustix::process::geteuid().is_root().then_some("root");
    let mut all: Vec<String> = own.chain(root).map(str::to_owned).collect();
    all.sort();
    all
}

/// All lasting addresses of this machine that others can use, IPv4 first.
pub(crate) fn machine_addresses() -> Vec<IpAddr> {
    addresses::of_the_machine()
}

/// The machine's addresses: those that were configured; where none was, the one that leads to the manager, and behind
/// it all others that other machines can use. The main one of `before` stays the main one for as long as the machine has
/// it: a manager that is reached now by IPv4 and now by IPv6 moves nothing.
#[must_use]
pub fn addresses(configured: &[IpAddr], to_manager: Option<IpAddr>, before: &Addresses) -> Addresses {
    if configured.is_empty() {
        arranged(found(addresses::of_the_machine(), to_manager, before))
    } else {
        arranged(configured.to_vec())
    }
}

fn found(of_the_machine: Vec<IpAddr>, to_manager: Option<IpAddr>, before: &Addresses) -> Vec<IpAddr> {
    let has = |address: &IpAddr| of_the_machine.iter().chain(&to_manager).any(|own| own.to_canonical() == *address);
    let kept = before.main.parse().ok().filter(has);
    let first = kept.or(to_manager).or(of_the_machine.first().copied()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    [first].into_iter().chain(of_the_machine).chain(to_manager).collect()
}

/// Each once, the first one the main one.
fn arranged(all: Vec<IpAddr>) -> Addresses {
    let mut texts: Vec<String> = Vec::new();
    for address in all {
        // A socket of both families tells an IPv4 address as one of IPv6.
        let text = address.to_canonical().to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Addresses { main: texts.first().cloned().unwrap_or_default(), all: texts }
}

/// As the manager shows them: IPv4 first, and of the loopback only where there is nothing else.
fn told(addresses: &Addresses) -> Vec<String> {
    let mut all = addresses.all.clone();
    all.retain(|text| text.parse().is_ok_and(|address| addresses::is_for_others(&address)));
    if all.is_empty() {
        all.push(addresses.main.clone());
    }
    all.sort_by_key(|text| text.contains(':'));
    all
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
        let switches = Switches::load(Path::new("/nothing/switches"), [robo_wire::switch::Subsystem::Shell].into());
        let facts = facts(&Addresses::only("10.0.0.1"), Path::new("/nothing"), Path::new("/"), (None, &switches));
        assert_eq!((facts.without.as_slice(), facts.holds_off), (&["shell".to_owned()][..], false));
        assert!(!facts.kernel.is_empty());
        assert!(facts.cores > 0 && facts.memory > 1 << 20 && facts.disk > 1 << 20, "{facts:?}");
        assert!(facts.capabilities.is_sorted());
        assert_eq!((facts.exec_user.as_str(), facts.agent_user), ("", User::own().name));
    }

    #[test]
    fn the_first_configured_address_is_the_main_one() {
        let check = |configured: &[&str], main: &str, all: &[&str], shown: &[&str]| {
            let configured: Vec<IpAddr> = configured.iter().map(|text| text.parse().unwrap()).collect();
            let got = addresses(&configured, Some(IpAddr::from([9, 9, 9, 9])), &Addresses::only("10.0.0.1"));
            assert_eq!(
                (got.main.as_str(), got.all.as_slice()),
                (main, &*all.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
            );
            assert_eq!(told(&got), shown);
        };
        check(&["fd00::1", "10.0.0.1", "fd00::1"], "fd00::1", &["fd00::1", "10.0.0.1"], &["10.0.0.1", "fd00::1"]);
        check(&["::ffff:10.0.0.1"], "10.0.0.1", &["10.0.0.1"], &["10.0.0.1"]);
        check(&["127.0.0.2"], "127.0.0.2", &["127.0.0.2"], &["127.0.0.2"]);
        check(&["127.0.0.2", "10.0.0.1", "fe80::1"], "127.0.0.2", &["127.0.0.2", "10.0.0.1", "fe80::1"], &["10.0.0.1"]);
    }

    #[test]
    fn what_is_found_begins_with_the_way_to_the_manager() {
        let got = addresses(&[], Some(IpAddr::from([10, 9, 8, 7])), &Addresses::default());
        assert_eq!((got.main.as_str(), got.all[0].as_str()), ("10.9.8.7", "10.9.8.7"));
        let none = addresses(&[], None, &Addresses::default());
        assert_eq!(none.all.first(), Some(&none.main));
    }

    #[test]
    fn the_main_address_stays_while_the_machine_has_it() {
        let check = |machine: &[&str], to_manager: &str, before: &str, expect: &[&str]| {
            let machine = machine.iter().map(|text| text.parse().unwrap()).collect();
            let got = arranged(found(machine, to_manager.parse().ok(), &Addresses::only(before)));
            assert_eq!(
                (got.main.as_str(), got.all.iter().map(String::as_str).collect::<Vec<_>>()),
                (expect[0], expect.to_vec())
            );
        };
        let both = ["10.0.0.1", "10.0.0.2", "fd00::1"];
        check(&both, "fd00::1", "10.0.0.2", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
        check(&both, "10.0.0.2", "10.0.0.2", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
        check(&both, "fd00::1", "10.9.9.9", &["fd00::1", "10.0.0.1", "10.0.0.2"]);
        check(&both, "", "", &["10.0.0.1", "10.0.0.2", "fd00::1"]);
        check(&[], "::ffff:127.0.0.1", "127.0.0.1", &["127.0.0.1"]);
    }
}
