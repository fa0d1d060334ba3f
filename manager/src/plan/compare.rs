//! How two revisions of an application differ: the stages of a plan, without a world around them.

use std::collections::BTreeMap;

use robo_model::name::InstancePath;
use robo_wire::plan::{Bound, Change};

use super::place::{Placed, Stage};
use super::problem::Problems;
use super::tree::Tree;
use super::{Desired, Ports, Prefixes, change};

/// What would change on the way from one application to another, each on its own devices, with nothing asked for
/// beside them. Ports that robo picks are the same on both sides.
#[must_use]
pub fn compare(
    old: (&Desired, &BTreeMap<InstancePath, Bound>),
    new: (&Desired, &BTreeMap<InstancePath, Bound>),
) -> Vec<Change> {
    let pairs = change::pair(placed(old), placed(new));
    change::changes(&pairs, new.1, &[]).into_iter().flatten().collect()
}

fn placed((desired, bindings): (&Desired, &BTreeMap<InstancePath, Bound>)) -> Vec<Placed> {
    // Both were applied once: what this version would refuse is no reason not to show how they differ.
    let mut ignored = Problems::default();
    let tree = Tree::new(&desired.application, &mut ignored);
    let (none, nobody) = (Ports::new(), Prefixes::new());
    let stage = Stage {
        desired,
        bindings,
        ports: [&none, &none],
        overrides: None,
        bound_to: &nobody,
        enrolled: None,
        is_standing: true,
    };
    stage.place(&tree, &mut ignored).into_iter().flatten().collect()
}
