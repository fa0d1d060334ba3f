//! Which loopback address each machine of `robo up` gets.
//!
//! Each agent has an address of its own, so that programs on different machines may listen on the same port, as
//! they would on real machines. Nothing has to be set up for that: on Linux all of 127.0.0.0/8 is this machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// First and last number after `127.0.0.`: 1 is `localhost`, 255 looks like a broadcast address.
const NUMBERS: std::ops::RangeInclusive<u8> = 2..=254;

/// Numbers that systemd's resolver listens on.
const RESOLVER: [u8; 2] = [53, 54];

/// All addresses are taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("all loopback addresses from 127.0.0.2 to 127.0.0.254 are taken by machines of `robo up`")]
pub(crate) struct NoAddress;

/// The address for a machine: the one it `had`, unless somebody else has it now, else the lowest free one.
///
/// # Errors
/// When none is free.
pub(crate) fn choose(had: Option<Ipv4Addr>, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, NoAddress> {
    if let Some(had) = had.filter(|a| !taken.contains(a)) {
        return Ok(had);
    }
    NUMBERS
        .filter(|n| !RESOLVER.contains(n))
        .map(|n| Ipv4Addr::new(127, 0, 0, n))
        .find(|address| !taken.contains(address))
        .ok_or(NoAddress)
}

/// The addresses of all agents that run on this machine, whoever started them: another folder's `robo up` too.
///
/// A process whose command line cannot be read is passed over; on a system without `/proc` all are.
pub(crate) fn in_use() -> BTreeSet<Ipv4Addr> {
    super::process::command_lines().filter_map(|(_, line)| address_of_agent(&line)).collect()
}

/// The address in the command line of an agent; words end with NUL, as in `/proc/PID/cmdline`.
fn address_of_agent(line: &[u8]) -> Option<Ipv4Addr> {
    let mut words = line.split(|b| *b == 0).filter_map(|word| std::str::from_utf8(word).ok());
    words.by_ref().find(|word| *word == super::AGENT_COMMAND)?;
    words.by_ref().find(|word| *word == super::ADDRESS_FLAG)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(had: Option<u8>, taken: impl IntoIterator<Item = u8>, expect: Option<u8>) {
        let address = |n| Ipv4Addr::new(127, 0, 0, n);
        let taken: BTreeSet<_> = taken.into_iter().map(address).collect();
        assert_eq!(choose(had.map(address), &taken).ok(), expect.map(address), "had {had:?}, taken {taken:?}");
    }

    #[test]
    fn a_machine_keeps_its_address_or_gets_the_lowest_free_one() {
        check(None, [], Some(2));
        check(None, [2, 3, 5], Some(4));
        check(Some(9), [2], Some(9));
        check(Some(9), [2, 9], Some(3));
        check(None, 2..=52, Some(55));
        check(None, 2..=254, None);
        check(Some(7), 2..=254, None);
    }

    #[test]
    fn agents_are_known_by_their_command_line() {
        let check = |words: &[&[u8]], expect: Option<&str>| {
            let line = words.join(&0);
            assert_eq!(address_of_agent(&line), expect.map(|a| a.parse().unwrap()), "{}", line.escape_ascii());
        };
        check(&[b"/usr/bin/robo", b"agent", b"--name", b"a", b"--address", b"127.0.0.4", b""], Some("127.0.0.4"));
        check(&[b"/usr/bin/robo", b"agent", b"--manager", b"127.0.0.1:1"], None);
        check(&[b"ping", b"--address", b"127.0.0.4"], None);
        check(&[b"robo", b"agent", b"--address", b"\xff"], None);
        check(&[], None);
    }
}
