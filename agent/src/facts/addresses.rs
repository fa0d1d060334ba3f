//! The machine's addresses, from the kernel: a routing socket tells those of all interfaces, with what they are good for.
//!
//! Format: `netlink(7)` and `rtnetlink(7)`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use robo_wire::api::{Interface, MAX_INTERFACE_ADDRESSES, MAX_INTERFACES};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Most addresses that are told: a machine full of containers may have thousands, and nobody could use them.
const MAX_ADDRESSES: usize = 64;

/// One answer of the kernel; it says that 32 KiB are enough for any part of a list.
const ANSWER: usize = 32 * 1024;

/// Most answers that are read: thousands of addresses.
const MAX_ANSWERS: usize = 64;

const GET_ADDRESSES: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_ALL: u16 = 0x301;
const HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_LOCAL: u16 = 2;
const ATTRIBUTE_FLAGS: u16 = 8;

/// Not for others to use: temporary (for privacy; another one tomorrow), twice in the network, deprecated, tentative.
const PASSING: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// On IPv4 the flag for temporary means the second one of a network, which lasts.
const SECONDARY: u32 = 0x01;

/// Where the kernel names the interfaces, each with its number in `ifindex`.
const INTERFACES: &str = "/sys/class/net";

/// All lasting addresses but those of the loopback and of the link, IPv4 first; none when the kernel does not tell.
pub(super) fn of_the_machine() -> Vec<IpAddr> {
    let found = ask().unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel does not tell the machine's addresses");
        Vec::new()
    });
    let mut found: Vec<IpAddr> = found.into_iter().map(|(_, address)| address).collect();
    found.retain(is_for_others);
    found.sort_by_key(IpAddr::is_ipv6);
    found.dedup();
    found.truncate(MAX_ADDRESSES);
    found
}

/// All lasting addresses of each interface, by its name, those of the loopback and of the link too; none when the kernel
/// does not tell. An interface without an address is not told of.
pub(super) fn of_interfaces() -> Vec<Interface> {
    by_name(&ask().unwrap_or_default(), &names(Path::new(INTERFACES)))
}

fn by_name(found: &[(u32, IpAddr)], names: &BTreeMap<u32, String>) -> Vec<Interface> {
    let mut all: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (number, address) in found {
        let name = names.get(number).cloned().unwrap_or_else(|| format!("interface {number}"));
        all.entry(name).or_default().push(*address);
    }
    let told = |(name, mut addresses): (String, Vec<IpAddr>)| {
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        addresses.truncate(MAX_INTERFACE_ADDRESSES);
        Interface { name, addresses: addresses.iter().map(IpAddr::to_string).collect() }
    };
    all.into_iter().map(told).take(MAX_INTERFACES).collect()
}

fn names(folder: &Path) -> BTreeMap<u32, String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let number = |path: &Path| std::fs::read_to_string(path.join("ifindex")).ok()?.trim().parse().ok();
    entries
        .flatten()
        .filter_map(|entry| Some((number(&entry.path())?, entry.file_name().to_string_lossy().into_owned())))
        .collect()
}

/// Whether another machine can use it.
pub(super) fn is_for_others(address: &IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// All lasting addresses, each with the number of its interface.
fn ask() -> io::Result<Vec<(u32, IpAddr)>> {
    // Without a protocol it is the one for routes and addresses.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut request = Vec::with_capacity(HEADER + ADDRESS_HEADER);
    request.extend_from_slice(&((HEADER + ADDRESS_HEADER) as u32).to_ne_bytes());
    request.extend_from_slice(&GET_ADDRESSES.to_ne_bytes());
    request.extend_from_slice(&REQUEST_ALL.to_ne_bytes());
    // Number, our port, and no family: all of them.
    request.extend_from_slice(&[0; 8 + ADDRESS_HEADER]);
    send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut answer = vec![0; ANSWER];
    for _ in 0..MAX_ANSWERS {
        let (read, _) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
        if take(answer.get(..read).unwrap_or_default(), &mut found)? {
            break;
        }
    }
    Ok(found)
}

/// Reads one answer; true when it was the last one.
fn take(mut rest: &[u8], found: &mut Vec<(u32, IpAddr)>) -> io::Result<bool> {
    while let Some((kind, body, next)) = message(rest) {
        match kind {
            NEW_ADDRESS => found.extend(address(body)),
            DONE => return Ok(true),
            ERROR => return Err(io::Error::other("the kernel refuses the question")),
            // Nothing else was asked for.
            _ => {}
        }
        rest = next;
    }
    Ok(rest.len() < HEADER && found.is_empty())
}

/// The first message: its kind, its body, and what comes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = number(bytes.get(4..6)?)?;
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let interface = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let mut flags = u32::from(*body.get(2)?);
    let (mut local, mut other) = (None, None);
    let mut rest = body.get(ADDRESS_HEADER..)?;
    while let Some(length) = rest.get(..2).and_then(number).map(usize::from).filter(|length| *length >= 4) {
        let value = rest.get(4..length)?;
        match rest.get(2..4).and_then(number)? {
            // With a peer at the other end of the line, `ADDRESS` is the peer's.
            ATTRIBUTE_LOCAL => local = ip(value),
            ATTRIBUTE_ADDRESS => other = ip(value),
            ATTRIBUTE_FLAGS => flags = u32::from_ne_bytes(value.try_into().ok()?),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let found = local.or(other)?;
    let passing = if found.is_ipv4() { PASSING & !SECONDARY } else { PASSING };
    (flags & passing == 0).then_some((interface, found))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)));
    let v6 = || Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)));
    v4().or_else(v6)
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len();
        let mut bytes = [(length as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    fn packed(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = HEADER + body.len();
        let mut bytes = (length as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    fn told(flags: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        packed(NEW_ADDRESS, &[vec![2, 24, flags, 0, 1, 0, 0, 0], attributes.concat()].concat())
    }

    #[test]
    fn lasting_addresses_are_read() {
        let check = |messages: &[Vec<u8>], expect: &str| {
            let mut found = Vec::new();
            take(&messages.concat(), &mut found).unwrap();
            let found: Vec<String> = found.iter().map(|(_, address)| address.to_string()).collect();
            assert_eq!(found.join(" "), expect);
        };
        let v6 = Ipv6Addr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).octets();
        let peer = [attribute(ATTRIBUTE_ADDRESS, &[10, 0, 0, 2]), attribute(ATTRIBUTE_LOCAL, &[10, 0, 0, 1])];
        check(&[told(0, &peer), told(0, &[attribute(ATTRIBUTE_ADDRESS, &v6)])], "10.0.0.1 2001:db8::1");
        check(&[told(1, &peer)], "10.0.0.1");
        check(&[told(1, &[attribute(ATTRIBUTE_ADDRESS, &v6)])], "");
        let deprecated = attribute(ATTRIBUTE_FLAGS, &0x20_u32.to_ne_bytes());
        check(&[told(0, &[attribute(ATTRIBUTE_ADDRESS, &v6), deprecated])], "");
        check(&[told(0, &[attribute(ATTRIBUTE_LOCAL, &[1, 2])]), vec![9; 7]], "");
        assert!(take(&packed(DONE, &[0; 4]), &mut Vec::new()).unwrap());
        assert!(take(&packed(ERROR, &[1; 4]), &mut Vec::new()).is_err());
        for cut in 0..told(0, &peer).len() {
            take(&told(0, &peer)[..cut], &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn each_interface_has_its_addresses() {
        let found: Vec<(u32, IpAddr)> = [(2, "fd00::1"), (2, "10.0.0.1"), (2, "10.0.0.1"), (7, "10.0.0.2")]
            .map(|(n, a)| (n, a.parse().unwrap()))
            .into();
        let names = BTreeMap::from([(2, "eth0".to_owned()), (3, "eth1".to_owned())]);
        let told = by_name(&found, &names);
        let one = |name: &str, addresses: &[&str]| Interface {
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(told, [one("eth0", &["10.0.0.1", "fd00::1"]), one("interface 7", &["10.0.0.2"])]);
        let many: Vec<(u32, IpAddr)> = (0..100).map(|n| (n, IpAddr::from([10, 0, 0, 1]))).collect();
        assert_eq!(by_name(&many, &BTreeMap::new()).len(), MAX_INTERFACES);
    }

    #[test]
    fn this_machine_is_asked() {
        let found = ask().unwrap();
        assert!(found.iter().any(|(_, address)| *address == IpAddr::from([127, 0, 0, 1])), "{found:?}");
        let told = of_interfaces();
        assert!(told.iter().any(|one| one.name == "lo" && one.addresses.contains(&"127.0.0.1".into())), "{told:?}");
        assert!(of_the_machine().iter().all(is_for_others));
    }
}
