//! The specification of each instance, and whether those of a device fit into one assignment.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{Application, ExportValue, Installer};
use robo_model::limits::MAX_VALUE_BYTES;
use robo_model::name::{DeviceId, DeviceName, InstancePath, Variable};
use robo_model::spec::{InstanceKey, InstanceSpec, RecipeFiles};
use robo_model::state::Wanted;
use robo_wire::frame::MAX_CONTROL_FRAME;
use robo_wire::plan::Bound;

use super::ports::bound_of;
use super::problem::{Problem, Problems};
use super::tree::{Node, Tree};
use super::{Desired, Overrides, Ports, Prefixes};

/// Most bytes that the specifications of one device may have as JSON. CBOR, as sent, is shorter; the quarter that is
/// left is for the message around them.
pub const MAX_ASSIGNMENT_BYTES: usize = MAX_CONTROL_FRAME / 4 * 3;

/// An instance and its device.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) spec: InstanceSpec,
    pub(super) bound: Bound,
}

impl Placed {
    pub(super) fn is_host(&self) -> bool {
        self.spec.installer == Installer::Target
    }
}

/// What specifications are made of.
pub(super) struct Stage<'a> {
    pub(super) desired: &'a Desired,
    pub(super) bindings: &'a BTreeMap<InstancePath, Bound>,
    /// Looked up one after the other.
    pub(super) ports: [&'a Ports; 2],
    /// Nothing when they are dropped.
    pub(super) overrides: Option<&'a Overrides>,
    /// Where external imports come from.
    pub(super) bound_to: &'a Prefixes,
    /// The devices there are: what was bound to another one is left out. Nothing when all bindings are to one of them.
    pub(super) enrolled: Option<&'a BTreeSet<DeviceId>>,
    /// True when bindings and ports come from elsewhere: nobody has told yet of those that are missing.
    pub(super) is_standing: bool,
}

impl Stage<'_> {
    /// Places all instances of `tree`, in its order; those without a device are left open.
    pub(super) fn place(&self, tree: &Tree<'_>, problems: &mut Problems) -> Vec<Option<Placed>> {
        let wanted = self.wanted(tree);
        tree.nodes
            .iter()
            .zip(wanted)
            .map(|(node, wanted)| {
                let Some(bound) = bound_of(tree, node, self.bindings) else {
                    // Whoever bound the hosts has told of it, unless the bindings come from elsewhere.
                    if self.is_standing && node.is_host() {
                        problems.add(|| Problem::HostWithoutDevice {
                            host: node.instance.path.clone(),
                            name: DeviceName::for_host(&node.instance.path).ok(),
                            near: None,
                        });
                    }
                    return None;
                };
                if self.enrolled.is_some_and(|enrolled| !enrolled.contains(&bound.id)) {
                    return None;
                }
                let spec = self.spec(tree, node, bound, wanted, problems);
                Some(Placed { spec, bound: bound.clone() })
            })
            .collect()
    }

    /// What is asked of each instance: what its nearest override says.
    fn wanted(&self, tree: &Tree<'_>) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = Vec::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            let own = self.overrides.and_then(|overrides| overrides.wanted.get(&node.instance.path)).copied();
            let above = || node.parent.and_then(|parent| all.get(parent)).copied();
            let wanted = own.or_else(above).unwrap_or_default();
            all.push(wanted);
        }
        all
    }

    fn spec(
        &self,
        tree: &Tree<'_>,
        node: &Node<'_>,
        bound: &Bound,
        wanted: Wanted,
        problems: &mut Problems,
    ) -> InstanceSpec {
        let key = InstanceKey { application: tree.application.name.clone(), path: node.instance.path.clone() };
        let exports = node.instance.exports.iter();
        let exports = exports.map(|(variable, value)| {
            let value = self.value(&bound.id, &key, variable, value, problems);
            (variable.clone(), value)
        });
        InstanceSpec {
            exports: exports.collect(),
            component: node.instance.component.clone(),
            installer: node.component.installer.clone(),
            imports: node.component.imports.clone(),
            files: self.files(node),
            settings: node.component.settings.clone(),
            wanted: if node.is_host() { wanted_of_host(wanted) } else { wanted },
            outside: outside(tree.application, node),
            bindings: self.bound(node),
            facets: node.component.facets.clone(),
            key,
        }
    }

    /// The value as an agent gets it.
    fn value(
        &self,
        device: &DeviceId,
        key: &InstanceKey,
        variable: &Variable,
        value: &ExportValue,
        problems: &mut Problems,
    ) -> ExportValue {
        let (path, variable) = (&key.path, variable);
        match value {
            ExportValue::Text(text) if text.len() > MAX_VALUE_BYTES => problems.add(|| Problem::ValueTooLong {
                path: path.clone(),
                variable: variable.clone(),
                bytes: text.len(),
            }),
            ExportValue::Text(_) | ExportValue::Address | ExportValue::Addresses(_) => {}
            ExportValue::Missing => {
                problems.add(|| Problem::MissingValue { path: path.clone(), variable: variable.clone() });
            }
            ExportValue::RandomPort => {
                let key = (device.clone(), key.clone(), variable.clone());
                if let Some(port) = self.ports.iter().find_map(|ports| ports.get(&key)) {
                    return ExportValue::Text(port.to_string());
                }
                // The one who hands ports out has told of it, unless the ports come from elsewhere.
                if self.is_standing {
                    problems.add(|| Problem::PortUnknown { path: path.clone(), variable: variable.clone() });
                }
            }
        }
        value.clone()
    }

    /// Which applications each prefix comes from that the instance imports from outside.
    fn bound(&self, node: &Node<'_>) -> Prefixes {
        let external = node.component.imports.iter().filter(|import| import.external);
        let bound = external.filter_map(|import| self.bound_to.get_key_value(&import.prefix));
        bound.filter(|(_, to)| !to.is_empty()).map(|(prefix, to)| (prefix.clone(), to.clone())).collect()
    }

    fn files(&self, node: &Node<'_>) -> RecipeFiles {
        node.component.lineage.iter().find_map(|name| self.desired.recipes.get(name)).cloned().unwrap_or_default()
    }
}

/// A machine is there or not: what stands on it stops, and it does not.
const fn wanted_of_host(asked: Wanted) -> Wanted {
    match asked {
        Wanted::NotDeployed => Wanted::NotDeployed,
        Wanted::Stopped | Wanted::Started => Wanted::Started,
    }
}

/// What an instance offers to other applications: those of its variables that the application lists.
fn outside(application: &Application, node: &Node<'_>) -> BTreeMap<Variable, Variable> {
    let Some(prefix) = &application.exports_prefix else { return BTreeMap::new() };
    let listed = application.exports.iter().filter(|(inside, _)| node.instance.exports.contains_key(*inside));
    listed.map(|(inside, name)| (Variable { prefix: prefix.clone(), local: name.clone() }, inside.clone())).collect()
}

/// Refuses what would not fit into one message.
pub(super) fn check_sizes(placed: &[Option<Placed>], problems: &mut Problems) {
    let mut sizes: BTreeMap<(&DeviceId, &DeviceName), usize> = BTreeMap::new();
    for placed in placed.iter().flatten() {
        let size: &mut usize = sizes.entry((&placed.bound.id, &placed.bound.name)).or_default();
        *size = size.saturating_add(estimate(&placed.spec));
    }
    for ((_, device), bytes) in sizes.into_iter().filter(|(_, bytes)| *bytes > MAX_ASSIGNMENT_BYTES) {
        problems.add(|| Problem::AssignmentTooLarge { device: device.clone(), bytes });
    }
}

/// The instances of each device, parents first.
pub(super) fn by_device(placed: impl Iterator<Item = Placed>) -> BTreeMap<DeviceId, Vec<InstanceSpec>> {
    let mut devices: BTreeMap<DeviceId, Vec<InstanceSpec>> = BTreeMap::new();
    for Placed { spec, bound } in placed {
        devices.entry(bound.id).or_default().push(spec);
    }
    devices
}

/// How long `spec` is as JSON, without making the text.
fn estimate(spec: &InstanceSpec) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, spec) {
        Ok(()) => counter.0,
        // What cannot be written cannot be sent.
        Err(_) => usize::MAX,
    }
}
