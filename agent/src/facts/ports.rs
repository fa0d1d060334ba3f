//! Which ports something listens on: what `random[port]` must not hand out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};

use robo_model::limits::FIRST_RANDOM_PORT;

/// Where the kernel lists sockets, in the format of `proc_net_tcp`: those that listen come first.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Most ports that are told: they go into one message, and a machine with more has no use for random ports.
const MAX_PORTS: usize = 1_000;

/// Most bytes of a list that are read. Some hundred thousand connections make it longer; all that listens stands before.
const MAX_LIST: u64 = 4 * 1024 * 1024;

/// The state of a socket that listens.
const LISTENING: &str = "0A";

/// Ports from [`FIRST_RANDOM_PORT`] on that something listens on, in ascending order.
pub(super) fn listening() -> Vec<u16> {
    let mut found = BTreeSet::new();
    for list in LISTS {
        // A kernel without IPv6 has no list of it.
        if let Ok(file) = File::open(list) {
            collect(file, &mut found);
        }
    }
    found.into_iter().take(MAX_PORTS).collect()
}

fn collect(list: impl Read, found: &mut BTreeSet<u16>) {
    for line in BufReader::new(list.take(MAX_LIST)).lines().map_while(Result::ok) {
        found.extend(port(&line).filter(|port| *port >= FIRST_RANDOM_PORT));
    }
}

/// `   0: 0100007F:2710 00000000:0000 0A …`
fn port(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    (words.nth(1)? == LISTENING).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_read() {
        let check = |line: &str, expect| assert_eq!(port(line), expect, "{line}");
        check("   0: 0100007F:2710 00000000:0000 0A 00000000:00000000 00:00000000", Some(10_000));
        check("  12: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A", Some(80));
        check("   1: 0100007F:2710 0100007F:D431 01 00000000:00000000", None);
        check("  sl  local_address rem_address   st tx_queue rx_queue", None);
        check("", None);
        check("0: x 0A", None);
    }

    #[test]
    fn one_that_listens_here_is_found() {
        // The kernel may hand out a port below those that are told.
        let listeners: Vec<_> = (0..8).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port());
        let told = listening();
        assert!(ports.filter(|port| *port >= FIRST_RANDOM_PORT).all(|port| told.contains(&port)), "{told:?}");
        assert!(told.is_sorted() && told.len() <= MAX_PORTS);
    }
}
