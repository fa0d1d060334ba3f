//! The planner: from what is wished and what is there to a plan, bindings, ports and specifications.
//!
//! Pure: no I/O, no clock, no randomness, no async; the same input gives the same plan to the last byte, and
//! [`Plan::id`] is a hash over it and over all that an apply of it writes. It reads as a pipeline, one module for each stage:
//!
//! - `tree`: the instances in the order of their paths, each with its parent and its host.
//! - `bind`: which device each host instance is.
//! - `ability`: what the application asks for and this version cannot do, or does not do yet.
//! - `ports`: a number for each `random[port]`, kept once it was handed out.
//! - `place`: the specification of each instance, and whether a device's fit into one assignment.
//! - `change`: what differs from what was applied last, with its reasons in words.
//! - `compare`: that stage alone, for two revisions.
//! - `net`: who imports from whom, through the variables; who can start at all.
//! - `ranges`: ports that are never handed out.
//! - `ripple`: which imports move on instances that no change mentions, of other applications, too.
//! - `waves`: the order in which everything can start, and the cycles in it.
//! - `steps`: everything that agents then do, in an order in which they can.
//!
//! Instances meet through *slots* (a prefix with one variable, or with all), never as pairs, so that a thousand
//! importers of a thousand providers cost two thousand edges and not a million.

mod ability;
mod bind;
mod change;
mod compare;
mod layers;
mod net;
mod place;
mod ports;
mod problem;
mod ranges;
mod ripple;
mod steps;
mod tree;
mod warning;
mod waves;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Application;
use robo_model::label::Labels;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath, Variable};
use robo_model::spec::{InstanceKey, InstanceSpec, RecipeFiles};
use robo_model::state::Wanted;
use robo_wire::api::Bundle;
use robo_wire::plan::{Bound, Change, Ground, Plan, PlannedOverride, PlannedStep, Ripple};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use self::compare::compare;
pub(crate) use self::layers::circles;
pub use self::place::MAX_ASSIGNMENT_BYTES;
pub use self::problem::{MAX_PROBLEMS, PlanError, Problem};
pub use self::ranges::{MAX_PORT_RANGES, PortRanges, PortRangesError};
pub use self::ripple::MAX_RIPPLE;

use self::place::Placed;
use self::problem::Problems;
use self::tree::Tree;
use self::warning::Warnings;

/// An enrolled device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its identity.
    pub id: DeviceId,
    /// Its name now.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// Ports that something listens on there, as it told last: those that were handed out may be among them.
    pub ports_in_use: Vec<u16>,
}

/// What an application is, as applied or as wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The application.
    pub application: Application,
    /// Recipe files by the name of their folder; the first of [`robo_model::graph::Component::lineage`] that has one counts.
    pub recipes: BTreeMap<ComponentName, RecipeFiles>,
}

/// What people asked for beside the application: `robo stop` and friends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// How many were ever recorded for the application.
    pub count: u64,
    /// Roots of subtrees, as asked for; for an instance the nearest of itself and its ancestors counts.
    pub wanted: BTreeMap<InstancePath, Wanted>,
}

/// Ports that were handed out in the project, to every application.
pub type Ports = BTreeMap<(DeviceId, InstanceKey, Variable), u16>;

/// Which applications the external imports of an application come from, by prefix.
pub type Prefixes = BTreeMap<ComponentName, BTreeSet<ApplicationName>>;

/// An application as it stands: as it was applied last, with what people asked for since.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// Its revision.
    pub revision: u64,
    /// What it is.
    pub desired: &'a Desired,
    /// Which device each of its host instances is.
    pub bindings: &'a BTreeMap<InstancePath, Bound>,
    /// What people asked for beside it.
    pub overrides: &'a Overrides,
    /// Where its external imports come from.
    pub bound_to: &'a Prefixes,
}

impl<'a> Current<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a ApplicationName {
        &self.desired.application.name
    }
}

/// What is there.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// The project's devices.
    pub devices: &'a [Device],
    /// The application as it stands; nothing when it never was applied.
    pub current: Option<Current<'a>>,
    /// Other applications that it is bound to or that are bound to it, and those that are bound to these, and so on: all
    /// whose instances may notice a change.
    pub others: &'a [Current<'a>],
    /// The project's applications that offer something to others, by their prefix.
    pub offers: &'a Prefixes,
    /// The project's ports.
    pub ports: &'a Ports,
    /// Ports that are never handed out.
    pub forbidden: &'a PortRanges,
}

/// A plan, and what there will be when it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Which device each host instance is.
    pub bindings: BTreeMap<InstancePath, Bound>,
    /// Ports to be handed out beside those of [`World::ports`].
    pub new_ports: Ports,
    /// What stays of that which people asked for beside it.
    pub overrides: BTreeMap<InstancePath, Wanted>,
    /// This application's instances on each device, parents first.
    pub specs: BTreeMap<DeviceId, Vec<InstanceSpec>>,
}

/// Plans the way from what is there to `desired`. What people asked for beside the application is dropped, unless it is
/// to be kept.
///
/// # Errors
/// Everything that stands in the way, at once.
pub fn plan(desired: &Desired, world: &World<'_>, keep_overrides: bool) -> Result<Planned, PlanError> {
    let mut problems = Problems::default();
    let mut warnings = Warnings::default();
    let tree = Tree::new(&desired.application, &mut problems);
    let bindings = bind::bind(&tree, world, &mut problems, &mut warnings);
    ability::check(&tree, &mut problems, &mut warnings);
    let new_ports = ports::assign(&tree, &bindings, world, &mut problems);
    check_importers(desired, world, &mut problems);
    let kept = kept_overrides(desired, world, keep_overrides);
    let none = Prefixes::new();
    let bound_to = world.current.map_or(&none, |current| current.bound_to);
    let stage = place::Stage {
        desired,
        bindings: &bindings,
        ports: [world.ports, &new_ports],
        overrides: Some(&kept),
        bound_to,
        enrolled: None,
        is_standing: false,
    };
    let after = stage.place(&tree, &mut problems);
    place::check_sizes(&after, &mut problems);
    problems.into_result()?;

    let mut pairs = change::pair(before(world), after.into_iter().flatten().collect());
    let own = pairs.len();
    pairs.extend(others(world).map(change::Pair::standing));
    let changes = change::changes(&pairs, &bindings, world.devices);
    if let Some(current) = world.current.filter(|_| !keep_overrides) {
        warnings.dropped_overrides(desired, current.overrides);
    }
    let (waves, ripple, steps) = consequences((&pairs, own), &changes, &bindings, world, &mut warnings);
    let mut plan = Plan {
        id: String::new(),
        application: desired.application.name.clone(),
        ground: Ground {
            revision: world.current.map(|current| current.revision),
            devices: bindings.clone(),
            overrides: world.current.map_or(0, |current| current.overrides.count),
            bindings: bound_to.clone(),
            others: of_others(world, |other| Some(other.revision)),
            other_overrides: of_others(world, |other| Some(other.overrides.count).filter(|count| *count > 0)),
            other_bindings: of_others(world, |other| Some(other.bound_to.clone()).filter(|to| !to.is_empty())),
        },
        changes: changes.into_iter().flatten().collect(),
        ripple,
        waves,
        steps,
        overrides: planned_overrides(world, &kept),
        warnings: Vec::new(),
    };
    let specs = place::by_device(pairs.into_iter().take(own).filter_map(|pair| pair.new));
    plan.id = id_of(&plan, &specs, &new_ports);
    // They follow from the rest, but for the names of those who could be bound: these may come and go.
    plan.warnings = warnings.into_lines();
    Ok(Planned { plan, bindings, new_ports, overrides: kept.wanted, specs })
}

/// Has the id cover what the plan was compiled from, too: of what is kept as a revision and of what devices get, nothing
/// may be other than what was agreed to.
pub fn cover(plan: &mut Plan, bundle: &Bundle) {
    plan.id = sha256(|hasher| {
        hasher.take(&plan.id);
        hasher.take(bundle);
    });
}

/// The waves, the ripple and the steps of a plan.
type Consequences = (Vec<Vec<InstancePath>>, Vec<Ripple>, Vec<Vec<PlannedStep>>);

fn consequences(
    (pairs, own): (&[change::Pair], usize),
    changes: &[Option<Change>],
    bindings: &BTreeMap<InstancePath, Bound>,
    world: &World<'_>,
    warnings: &mut Warnings,
) -> Consequences {
    let names = change::names(bindings, world.devices);
    let applications = net::Applications::new(pairs);
    let view = net::View::new(pairs, own, &applications);
    let waves = waves::waves(&view, world.offers, warnings);
    let Some(motion) = ripple::motion(&view, changes, &names, warnings) else {
        return (waves.own, Vec::new(), Vec::new());
    };
    let steps = steps::steps(&view, changes, &motion, &waves.level, &names);
    (waves.own, motion.ripple, steps)
}

/// Others are bound to what the application offers: it has to go on offering it.
fn check_importers(desired: &Desired, world: &World<'_>, problems: &mut Problems) {
    let Application { name, exports_prefix, .. } = &desired.application;
    let mut lost: BTreeMap<&ComponentName, Vec<ApplicationName>> = BTreeMap::new();
    for other in world.others {
        for (prefix, to) in other.bound_to {
            if to.contains(name) && exports_prefix.as_ref() != Some(prefix) {
                lost.entry(prefix).or_default().push(other.name().clone());
            }
        }
    }
    for (prefix, by) in lost {
        problems.add(|| Problem::PrefixInUse {
            application: name.clone(),
            prefix: prefix.clone(),
            offers: exports_prefix.clone(),
            by,
        });
    }
}

/// The instances of the other applications, on devices that are there.
fn others(world: &World<'_>) -> impl Iterator<Item = Placed> {
    let enrolled: BTreeSet<DeviceId> = match world.others {
        [] => BTreeSet::new(),
        _ => world.devices.iter().map(|device| device.id.clone()).collect(),
    };
    let of = move |other| standing(other, world.ports, Some(&enrolled), &mut Problems::default());
    world.others.iter().flat_map(of).flatten()
}

/// What is said of each other application; of some nothing.
fn of_others<T>(world: &World<'_>, what: impl Fn(&Current<'_>) -> Option<T>) -> BTreeMap<ApplicationName, T> {
    world.others.iter().filter_map(|other| Some((other.name().clone(), what(other)?))).collect()
}

/// The specifications of an application as it stands, with what people asked for beside it: what the devices' assignments
/// are made of after `robo stop`. Instances on devices that are not among `enrolled` are left out: their device was
/// removed, and their ports with it.
///
/// # Errors
/// When a host instance has no binding, or a `random[port]` no number: the parts do not belong together.
pub fn specs(
    current: &Current<'_>,
    ports: &Ports,
    enrolled: &BTreeSet<DeviceId>,
) -> Result<BTreeMap<DeviceId, Vec<InstanceSpec>>, PlanError> {
    let mut problems = Problems::default();
    let placed = standing(current, ports, Some(enrolled), &mut problems);
    place::check_sizes(&placed, &mut problems);
    problems.into_result()?;
    Ok(place::by_device(placed.into_iter().flatten()))
}

/// What stays of that which people asked for: with an instance goes what was asked of it.
fn kept_overrides(desired: &Desired, world: &World<'_>, keep: bool) -> Overrides {
    let Some(current) = world.current.filter(|_| keep) else { return Overrides::default() };
    let mut kept = current.overrides.clone();
    kept.wanted.retain(|path, _| desired.application.instances.contains_key(path));
    kept
}

/// What becomes of each thing that people asked for.
fn planned_overrides(world: &World<'_>, kept: &Overrides) -> Vec<PlannedOverride> {
    let asked = world.current.into_iter().flat_map(|current| &current.overrides.wanted);
    asked
        .map(|(path, wanted)| PlannedOverride {
            path: path.clone(),
            wanted: *wanted,
            kept: kept.wanted.contains_key(path),
        })
        .collect()
}

/// The instances as they stand now. What does not fit together any more there is no reason to refuse what is wished:
/// it counts as not there.
fn before(world: &World<'_>) -> Vec<Placed> {
    let Some(current) = &world.current else { return Vec::new() };
    standing(current, world.ports, None, &mut Problems::default()).into_iter().flatten().collect()
}

/// The instances of an application as it stands.
fn standing(
    current: &Current<'_>,
    ports: &Ports,
    enrolled: Option<&BTreeSet<DeviceId>>,
    problems: &mut Problems,
) -> Vec<Option<Placed>> {
    let tree = Tree::new(&current.desired.application, problems);
    let stage = place::Stage {
        desired: current.desired,
        bindings: current.bindings,
        ports: [ports, &Ports::new()],
        overrides: Some(current.overrides),
        bound_to: current.bound_to,
        enrolled,
        is_standing: true,
    };
    stage.place(&tree, problems)
}

/// SHA-256 over the plan without its id and its warnings, and over all that is written when it is applied: a plan's lines
/// show of a file only that it differs, and of a long value only how it begins.
fn id_of(plan: &Plan, specs: &BTreeMap<DeviceId, Vec<InstanceSpec>>, new_ports: &Ports) -> String {
    sha256(|hasher| {
        hasher.take(plan);
        hasher.take(specs);
        hasher.take(&new_ports.iter().collect::<Vec<_>>());
    })
}

/// Hashes values as JSON, one after the other. All maps in them are ordered, so that the text is canonical.
struct Hasher(Sha256);

impl Hasher {
    fn take(&mut self, value: &impl Serialize) {
        #[expect(clippy::expect_used, reason = "the writer cannot fail, and every key in what is hashed is a text")]
        serde_json::to_writer(&mut *self, value).expect("what is hashed is JSON");
        // No value runs into the next.
        self.0.update([0]);
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// SHA-256 over what is taken, in hexadecimal.
fn sha256(take: impl FnOnce(&mut Hasher)) -> String {
    let mut hasher = Hasher(Sha256::new());
    take(&mut hasher);
    hex::encode(hasher.0.finalize())
}
