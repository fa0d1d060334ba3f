//! A number for each `random[port]`: kept once it was handed out, else the first that is free on the device: handed out
//! to nobody, written in no file, used by nothing else there, and not forbidden.
//!
//! An instance offers one and the same port under each prefix that it is known by (its component's, those it extends,
//! its facets'), so all variables of an instance that share their local name share their number.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::ExportValue;
use robo_model::limits::{FIRST_RANDOM_PORT, LAST_RANDOM_PORT};
use robo_model::name::{DeviceId, InstancePath, VariableName};
use robo_model::spec::InstanceKey;
use robo_wire::plan::Bound;

use super::problem::{Problem, Problems};
use super::tree::{Node, Tree};
use super::{PortRanges, Ports, World};

/// Hands out what is missing in `known`.
pub(super) fn assign(
    tree: &Tree<'_>,
    bindings: &BTreeMap<InstancePath, Bound>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Ports {
    let known = world.ports;
    let mut new = Ports::new();
    let mut taken = Taken::new(world);
    taken.add_written(tree, bindings);
    for node in &tree.nodes {
        let Some(bound) = bound_of(tree, node, bindings) else { continue };
        let instance = InstanceKey { application: tree.application.name.clone(), path: node.instance.path.clone() };
        let random = node.instance.exports.iter().filter(|(_, value)| **value == ExportValue::RandomPort);
        let keys: Vec<_> = random.map(|(variable, _)| (bound.id.clone(), instance.clone(), variable.clone())).collect();
        let mut by_local: BTreeMap<VariableName, u16> =
            keys.iter().filter_map(|key| Some((key.2.local.clone(), *known.get(key)?))).collect();
        for key in keys.into_iter().filter(|key| !known.contains_key(key)) {
            let shared = by_local.get(&key.2.local).copied();
            match shared.or_else(|| taken.next_free(&bound.id)) {
                Some(port) => {
                    by_local.insert(key.2.local.clone(), port);
                    new.insert(key, port);
                }
                None => problems.add(|| Problem::NoFreePort {
                    path: node.instance.path.clone(),
                    variable: key.2.clone(),
                    device: bound.name.clone(),
                    forbidden: world.forbidden.to_string(),
                }),
            }
        }
    }
    new
}

/// The device that `node` lives on.
pub(super) fn bound_of<'a>(
    tree: &Tree<'_>,
    node: &Node<'_>,
    bindings: &'a BTreeMap<InstancePath, Bound>,
) -> Option<&'a Bound> {
    bindings.get(&tree.nodes.get(node.host?)?.instance.path)
}

/// What is taken on each device.
struct Taken<'a> {
    ports: BTreeMap<&'a DeviceId, BTreeSet<u16>>,
    /// Below this all ports of the range are taken: keeps handing out linear.
    next: BTreeMap<DeviceId, u16>,
    forbidden: &'a PortRanges,
}

impl<'a> Taken<'a> {
    fn new(world: &World<'a>) -> Self {
        let mut ports: BTreeMap<&DeviceId, BTreeSet<u16>> = BTreeMap::new();
        for ((device, _, _), port) in world.ports {
            ports.entry(device).or_default().insert(*port);
        }
        // What robo handed out is in use, too: by whom it was given to.
        for device in world.devices.iter().filter(|device| !device.ports_in_use.is_empty()) {
            ports.entry(&device.id).or_default().extend(&device.ports_in_use);
        }
        Self { ports, next: BTreeMap::new(), forbidden: world.forbidden }
    }

    /// Numbers that the file itself gives to variables of instances on a device are best left alone, too.
    fn add_written(&mut self, tree: &Tree<'_>, bindings: &'a BTreeMap<InstancePath, Bound>) {
        for node in &tree.nodes {
            let Some(bound) = bound_of(tree, node, bindings) else { continue };
            for value in node.instance.exports.values() {
                let ExportValue::Text(text) = value else { continue };
                if let Ok(port @ FIRST_RANDOM_PORT..=LAST_RANDOM_PORT) = text.parse::<u16>() {
                    self.ports.entry(&bound.id).or_default().insert(port);
                }
            }
        }
    }

    fn next_free(&mut self, device: &DeviceId) -> Option<u16> {
        let taken = self.ports.get(device);
        let from = self.next.get(device).copied().unwrap_or(FIRST_RANDOM_PORT);
        let is_free = |port: &u16| !self.forbidden.contains(*port) && taken.is_none_or(|taken| !taken.contains(port));
        let port = (from..=LAST_RANDOM_PORT).find(is_free);
        // LAST_RANDOM_PORT + 1 is a number, so that a full device stays full.
        self.next.insert(device.clone(), port.unwrap_or(LAST_RANDOM_PORT) + 1);
        port
    }
}
