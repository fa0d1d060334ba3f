//! Bad networks: a network namespace whose cable can be pulled.

use std::process::Command;

/// A network namespace with a cable to this machine; gone with its owner.
pub(super) struct Namespace {
    pub(super) name: String,
    /// This machine's address, as seen from inside.
    pub(super) host: String,
    cable: String,
}

impl Namespace {
    /// Nothing where that is not permitted.
    pub(super) fn new() -> Option<Self> {
        let number = std::process::id();
        let (name, cable, inside) = (format!("robo{number}"), format!("rb{number}a"), format!("rb{number}b"));
        // A network of its own below 10.213; four addresses for each process.
        let network = format!("10.213.{}", number / 64 % 256);
        let first = number % 64 * 4;
        let (host, guest) = (format!("{network}.{}", first + 1), format!("{network}.{}", first + 2));
        if !ip(&["netns", "add", &name]) {
            return None;
        }
        let namespace = Self { name: name.clone(), host: host.clone(), cable: cable.clone() };
        let made = ip(&["link", "add", &cable, "type", "veth", "peer", "name", &inside])
            && ip(&["link", "set", &inside, "netns", &name])
            && ip(&["address", "add", &format!("{host}/30"), "dev", &cable])
            && ip(&["link", "set", &cable, "up"])
            && ip(&["-n", &name, "address", "add", &format!("{guest}/30"), "dev", &inside])
            && ip(&["-n", &name, "link", "set", &inside, "up"])
            && ip(&["-n", &name, "link", "set", "lo", "up"]);
        made.then_some(namespace)
    }

    /// Pulls the cable (`down`) or plugs it in (`up`).
    pub(super) fn link(&self, state: &str) {
        assert!(ip(&["link", "set", &self.cable, state]), "the cable is there");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.cable]);
        ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}
