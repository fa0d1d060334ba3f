//! Who stands below whom, what is wished of each, and how far each may be now.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::effect;
use robo_model::graph::Installer;
use robo_model::resolve::Imports;
use robo_model::spec::{Assignment, InstanceKey};
use robo_model::state::{InstanceState, Step, Wanted};
use robo_wire::event::EventBody;

use super::{Core, Effect};
use crate::ledger::Record;

/// Most instances that are forgotten again after a restart, in case a crash came before their folders were gone.
/// Nobody says when a folder is gone, so the newest are kept for ever; a device that forgets more between two effects
/// is one that was emptied.
const MAX_FORGETTING: usize = 1_000;

/// What is worked out of one instance; never on disk.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its place in the assignment; nothing when it is no longer in it.
    pub(super) assigned: Option<usize>,
    /// Its parent, where that is on this device.
    pub(super) parent: Option<InstanceKey>,
    pub(super) children: Vec<InstanceKey>,
    /// What is asked of it: no more than of its parent.
    pub(super) wish: Wanted,
    /// How far it may be right now: below the wish while something is stopped, changed or missing.
    pub(super) level: Wanted,
    /// What taking over the assigned specification does.
    pub(super) effect: effect::Effect,
    /// What it imports; nothing when that is to be found out anew.
    pub(super) received: Option<Imports>,
    /// What it imported when that was found out last.
    pub(super) last_received: Imports,
    /// Its mandatory imports that nobody offers, as text.
    pub(super) missing: Vec<String>,
}

/// True for a machine: it has no steps, and is where the agent is.
pub(super) fn is_host(record: &Record) -> bool {
    record.spec.installer == Installer::Target
}

/// True while it runs or is about to; what stands below it may only run then, and it stops after them.
pub(super) fn is_up(record: &Record) -> bool {
    record.state == InstanceState::DeployedStarted
        || record.run.as_ref().is_some_and(|run| matches!(run.step, Step::Start | Step::Update | Step::Stop))
}

impl Core {
    /// Makes a record for every assigned instance that has none.
    pub(super) fn enlist(&mut self) {
        let assigned: BTreeSet<&InstanceKey> = self.ledger.assignment.instances.iter().map(|spec| &spec.key).collect();
        self.ledger.state.forgetting.retain(|key| !assigned.contains(key));
        for spec in &self.ledger.assignment.instances {
            if !self.ledger.state.records.contains_key(&spec.key) {
                self.ledger.state.records.insert(spec.key.clone(), Record::new(spec.clone(), self.now));
                self.dirty.state = true;
                self.teller.changed(&spec.key);
            }
        }
    }

    /// Takes up a new assignment in place of `before`; gives those that it changes or of whom it wishes something
    /// else.
    pub(super) fn enlist_anew(&mut self, before: &Assignment) -> Vec<InstanceKey> {
        self.enlist();
        let wishes: BTreeMap<InstanceKey, Wanted> =
            self.nodes.iter().map(|(key, node)| (key.clone(), node.wish)).collect();
        let specs: BTreeMap<&InstanceKey, _> = before.instances.iter().map(|spec| (&spec.key, spec)).collect();
        self.plant();
        let is_other = |key: &InstanceKey, node: &Node| {
            let now = node.assigned.and_then(|at| self.ledger.assignment.instances.get(at));
            wishes.get(key) != Some(&node.wish) || specs.get(key).copied() != now
        };
        let other: Vec<_> =
            self.nodes.iter().filter(|(key, node)| is_other(key, node)).map(|(key, _)| key.clone()).collect();
        // A record that is new here takes precedence over what the manager told of the same instance elsewhere.
        for key in &other {
            self.teller.changed(key);
            if let Some(record) = self.ledger.state.records.get(key) {
                self.supply.listen(&record.spec);
            }
            self.offer(key);
        }
        other
    }

    /// Makes the nodes: once per assignment.
    pub(super) fn plant(&mut self) {
        let places: BTreeMap<&InstanceKey, usize> =
            self.ledger.assignment.instances.iter().enumerate().map(|(at, spec)| (&spec.key, at)).collect();
        let mut nodes: BTreeMap<InstanceKey, Node> = BTreeMap::new();
        // In the order of paths: a parent's node is there before its children's.
        for (key, record) in &self.ledger.state.records {
            let assigned = places.get(key).copied();
            let spec = assigned.and_then(|at| self.ledger.assignment.instances.get(at));
            let parent = parent_of(key).filter(|parent| nodes.contains_key(parent));
            let mut wish = spec.map_or(Wanted::NotDeployed, |spec| spec.wanted);
            if let Some(above) = parent.as_ref().and_then(|parent| nodes.get_mut(parent)) {
                above.children.push(key.clone());
                wish = wish.min(above.wish);
            }
            let effect = spec.map_or(effect::Effect::None, |spec| effect::of_change(&record.spec, spec));
            let last_received = self.nodes.remove(key).map(|node| node.last_received).unwrap_or_default();
            let node = Node {
                assigned,
                parent,
                children: Vec::new(),
                wish,
                level: wish,
                effect,
                received: None,
                last_received,
                missing: Vec::new(),
            };
            nodes.insert(key.clone(), node);
        }
        self.nodes = nodes;
        self.pending.extend(self.nodes.keys().cloned());
    }

    /// Takes over the assigned specification; what is on the machine must fit it, or be made to fit next.
    pub(super) fn take_over(&mut self, key: &InstanceKey) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        let Some(spec) = node.assigned.and_then(|at| self.ledger.assignment.instances.get(at)) else { return };
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        node.effect = effect::Effect::None;
        if record.spec == *spec {
            return;
        }
        self.supply.stop_listening(&record.spec);
        self.supply.listen(spec);
        record.spec = spec.clone();
        node.received = None;
        self.offer(key);
        self.changed(key);
    }

    /// Removes the last trace of an instance.
    pub(super) fn forget(&mut self, key: &InstanceKey) {
        self.event(Some(key.clone()), EventBody::Forgotten);
        if let Some(record) = self.ledger.state.records.remove(key) {
            self.supply.stop_listening(&record.spec);
        }
        let parent = self.nodes.remove(key).and_then(|node| node.parent);
        if let Some(parent) = parent {
            if let Some(above) = self.nodes.get_mut(&parent) {
                above.children.retain(|child| child != key);
            }
            self.pending.insert(parent);
        }
        let forgetting = &mut self.ledger.state.forgetting;
        if forgetting.len() >= MAX_FORGETTING {
            forgetting.remove(0);
        }
        forgetting.push(key.clone());
        self.dirty.state = true;
        self.teller.removed(key);
        self.alarms.remove(key);
        self.offer(key);
        self.effects.push(Effect::Forget(key.clone()));
    }

    /// After a restart: a crash may have come between forgetting an instance and removing its folder.
    pub(super) fn forget_again(&mut self) {
        for key in &self.ledger.state.forgetting {
            if !self.ledger.state.records.contains_key(key) {
                self.effects.push(Effect::Forget(key.clone()));
            }
        }
    }

    /// Parent and children of `key` look again.
    pub(super) fn wake_family(&mut self, key: &InstanceKey) {
        let Some(node) = self.nodes.get(key) else { return };
        self.pending.extend(node.parent.clone());
        self.pending.extend(node.children.iter().cloned());
    }

    /// True when `holds` is true of every child of `key`.
    pub(super) fn all_children(&self, key: &InstanceKey, holds: impl Fn(&Record) -> bool) -> bool {
        let children = self.nodes.get(key).map(|node| node.children.as_slice()).unwrap_or_default();
        children.iter().filter_map(|child| self.record(child)).all(holds)
    }
}

fn parent_of(key: &InstanceKey) -> Option<InstanceKey> {
    Some(InstanceKey { application: key.application.clone(), path: key.path.parent()? })
}
