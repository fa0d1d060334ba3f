//! Which device each host instance is.

use std::collections::BTreeMap;

use robo_model::graph::Binding;
use robo_model::name::{DeviceId, DeviceName, InstancePath};
use robo_wire::plan::Bound;

use super::problem::{Problem, Problems};
use super::tree::{Node, Tree};
use super::warning::Warnings;
use super::{Device, World};

/// Most device names that one unknown name is compared with: thousands of wrong names against thousands of devices
/// must not take minutes.
const MAX_CANDIDATES: usize = 2000;

/// Finds a device for each host instance.
///
/// `device: NAME;` goes first. Where the file names none, an instance stays on the device it is on, and a new one goes
/// to the device that bears its path's name. A device that was renamed stays bound, too, while the file still has the
/// name under which it was bound and nobody else bears it.
pub(super) fn bind(
    tree: &Tree<'_>,
    world: &World<'_>,
    problems: &mut Problems,
    warnings: &mut Warnings,
) -> BTreeMap<InstancePath, Bound> {
    let binder = Binder::new(world);
    let mut bindings = BTreeMap::new();
    for node in tree.nodes.iter().filter(|node| node.is_host()) {
        if let Some(device) = binder.device_of(node, problems, warnings) {
            bindings.insert(node.instance.path.clone(), Bound { id: device.id.clone(), name: device.name.clone() });
        }
    }
    warn_of_shared(&bindings, warnings);
    bindings
}

struct Binder<'a> {
    world: &'a World<'a>,
    by_name: BTreeMap<&'a DeviceName, &'a Device>,
    by_id: BTreeMap<&'a DeviceId, &'a Device>,
}

impl<'a> Binder<'a> {
    fn new(world: &'a World<'a>) -> Self {
        Self {
            world,
            by_name: world.devices.iter().map(|device| (&device.name, device)).collect(),
            by_id: world.devices.iter().map(|device| (&device.id, device)).collect(),
        }
    }

    fn device_of(&self, node: &Node<'_>, problems: &mut Problems, warnings: &mut Warnings) -> Option<&'a Device> {
        let host = &node.instance.path;
        match &node.instance.binding {
            Some(Binding::Device(name)) => self.named(host, name, problems, warnings),
            Some(Binding::Devices { selector, name: _ }) => {
                problems.add(|| Problem::SelectorUnsupported { host: host.clone(), selector: selector.to_string() });
                None
            }
            Some(Binding::Target(target)) => {
                problems.add(|| Problem::TargetUnsupported { host: host.clone(), target: target.clone() });
                None
            }
            None => self.unnamed(host, problems),
        }
    }

    fn named(
        &self,
        host: &InstancePath,
        name: &DeviceName,
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) -> Option<&'a Device> {
        if let Some(device) = self.by_name.get(name) {
            return Some(device);
        }
        if let Some(device) = self.bound(host).filter(|_| self.was_named(host, name)) {
            warnings.add(format!(
                "`{host}` stays on device `{}`, which was called `{name}`: write `device: {};`",
                device.name, device.name
            ));
            return Some(device);
        }
        problems.add(|| Problem::UnknownDevice { host: host.clone(), name: name.clone(), near: self.near(name) });
        None
    }

    fn unnamed(&self, host: &InstancePath, problems: &mut Problems) -> Option<&'a Device> {
        let name = DeviceName::for_host(host).ok();
        let device = self.bound(host).or_else(|| self.by_name.get(name.as_ref()?).copied());
        if device.is_none() {
            problems.add(|| {
                let near = name.as_ref().and_then(|name| self.near(name));
                Problem::HostWithoutDevice { host: host.clone(), name, near }
            });
        }
        device
    }

    /// The device that `host` is on now, while it is enrolled.
    fn bound(&self, host: &InstancePath) -> Option<&'a Device> {
        let bound = self.world.current.as_ref()?.bindings.get(host)?;
        self.by_id.get(&bound.id).copied()
    }

    /// True when `host` was bound as `name`: by the file as it was applied last, or to a device of that name then.
    fn was_named(&self, host: &InstancePath, name: &DeviceName) -> bool {
        let Some(current) = &self.world.current else { return false };
        let written = current.desired.application.instances.get(host).and_then(|instance| instance.binding.as_ref());
        written == Some(&Binding::Device(name.clone())) || current.bindings.get(host).is_some_and(|b| b.name == *name)
    }

    fn near(&self, name: &DeviceName) -> Option<DeviceName> {
        let most = (name.as_str().chars().count() / 3).max(1);
        self.by_name
            .keys()
            .take(MAX_CANDIDATES)
            .map(|candidate| (distance(name.as_str(), candidate.as_str()), *candidate))
            .filter(|(distance, _)| *distance <= most)
            .min()
            .map(|(_, candidate)| candidate.clone())
    }
}

/// Two hosts on one device are allowed, and seldom meant.
fn warn_of_shared(bindings: &BTreeMap<InstancePath, Bound>, warnings: &mut Warnings) {
    let mut hosts: BTreeMap<&DeviceName, Vec<&InstancePath>> = BTreeMap::new();
    for (host, bound) in bindings {
        hosts.entry(&bound.name).or_default().push(host);
    }
    for (device, hosts) in hosts.into_iter().filter(|(_, hosts)| hosts.len() > 1) {
        let hosts = super::warning::list(hosts.into_iter());
        warnings.add(format!("{hosts} are the same device, `{device}`"));
    }
}

/// How many characters have to be put in, left out or replaced (Levenshtein), case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = i + 1;
        next.push(left);
        for (cb, above) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = above else { continue };
            let replaced = diagonal + usize::from(!ca.eq_ignore_ascii_case(cb));
            left = replaced.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        for (a, b, expect) in [("", "", 0), ("", "ab", 2), ("robot", "robto", 2), ("vm-1", "VM-2", 1), ("abc", "", 3)] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
            assert_eq!(distance(b, a), expect, "{b} {a}");
        }
    }
}
