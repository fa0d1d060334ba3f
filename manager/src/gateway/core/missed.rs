//! What a device told and was not kept, because its assignment did not say so.
//!
//! An agent tells of what changes with it. Where an assignment comes and goes while it was told of neither, nothing
//! changes there, and what was not kept in between would be missed for ever: so it is asked to tell again.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::Variable;
use robo_model::spec::{Assignment, InstanceKey, InstanceSpec};

use crate::store::Recorded;
use crate::store::rules::Named;

/// Instances, and variables, that are remembered. An agent of ours tells of such when its assignment changes at that
/// moment; the bound is for those that make some up.
const MAX_MISSED: usize = 1_000;

/// What was not kept on this link.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Instances that are not assigned to the device.
    instances: BTreeSet<InstanceKey>,
    /// What instances offer that their assignment does not name.
    variables: BTreeMap<InstanceKey, BTreeSet<Variable>>,
}

impl Missed {
    /// The device tells of everything, and what it told before does not count.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The device tells of the instance again.
    pub(super) fn told_again(&mut self, key: &InstanceKey) {
        self.variables.remove(key);
    }

    /// The instance is gone from the device.
    pub(super) fn gone(&mut self, key: &InstanceKey) {
        self.instances.remove(key);
        self.variables.remove(key);
    }

    /// Takes note of what the store did not keep of an update.
    pub(super) fn note(&mut self, recorded: &Recorded) {
        let room = MAX_MISSED.saturating_sub(self.instances.len());
        self.instances.extend(recorded.unknown.iter().take(room).cloned());
        let mut room = MAX_MISSED.saturating_sub(self.variables.values().map(BTreeSet::len).sum());
        for (key, variables) in &recorded.unnamed {
            let Some(left) = room.checked_sub(variables.len()) else { return };
            room = left;
            self.variables.insert(key.clone(), variables.clone());
        }
    }

    /// An instance of the assignment of which something would have been kept, had it been there then.
    pub(super) fn of<'a>(&self, assignment: &'a Assignment) -> Option<&'a InstanceKey> {
        let is_named =
            |spec: &InstanceSpec| self.variables.get(&spec.key).is_some_and(|all| Named::of(spec).any_of(all));
        let is_missed = |spec: &&InstanceSpec| self.instances.contains(&spec.key) || is_named(spec);
        assignment.instances.iter().find(is_missed).map(|spec| &spec.key)
    }
}
