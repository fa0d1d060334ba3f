//! Who stands below whom, what is wished of each, and how far each may be now.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::effect;
use robo_model::graph::Installer;
use robo_model::resolve::{Imports, Topic};
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
    pub(super) children: BTreeSet<InstanceKey>,
    /// How many of the children are what.
    pub(super) below: Below,
    /// How it counts for its parent.
    counted: Counted,
    /// What is asked of it: no more than of its parent.
    pub(super) wish: Wanted,
    /// The most that is asked of what stands below it: a machine does not stop, what stands on it does.
    cap: Wanted,
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
    /// While it runs: the places that it needs and has nobody for.
    pub(super) wants: BTreeSet<Topic>,
}

/// How many children of an instance are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Below {
    /// Running, or about to; machines do not count, for nobody stops them.
    pub(super) up: usize,
    /// Running, or with a step under way.
    pub(super) busy: usize,
    /// On the machine, or about to be.
    pub(super) there: usize,
}

/// What an instance is in the eyes of its parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    up: bool,
    busy: bool,
    there: bool,
}

impl Counted {
    fn of(record: &Record) -> Self {
        let up = !is_host(record) && is_up(record);
        let there = record.state != InstanceState::NotDeployed || record.run.is_some();
        Self { up, busy: up || record.run.is_some(), there }
    }
}

impl Below {
    fn count(&mut self, before: Counted, now: Counted) {
        let change = |number: &mut usize, was: bool, is: bool| {
            *number = (*number + usize::from(is)).saturating_sub(usize::from(was));
        };
        change(&mut self.up, before.up, now.up);
        change(&mut self.busy, before.busy, now.busy);
        change(&mut self.there, before.there, now.there);
    }
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
    /// Makes a record for every assigned instance that has none; all others learn what is wished of them, for should
    /// the assignment get lost they are all that is left of it.
    pub(super) fn enlist(&mut self) {
        let instances = &self.ledger.assignment.instances;
        let assigned: BTreeMap<&InstanceKey, Wanted> = instances.iter().map(|spec| (&spec.key, spec.wanted)).collect();
        self.ledger.state.forgetting.retain(|key| !assigned.contains_key(key));
        for (key, record) in &mut self.ledger.state.records {
            let wanted = assigned.get(key).copied().unwrap_or(Wanted::NotDeployed);
            if std::mem::replace(&mut record.spec.wanted, wanted) != wanted {
                self.dirty.state = true;
            }
        }
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
            let mut cap = spec.map_or(Wanted::NotDeployed, |spec| spec.wanted);
            let counted = Counted::of(record);
            if let Some(above) = parent.as_ref().and_then(|parent| nodes.get_mut(parent)) {
                above.children.insert(key.clone());
                above.below.count(Counted::default(), counted);
                cap = cap.min(above.cap);
            }
            let wish = match (cap, spec.map(|spec| &spec.installer)) {
                (Wanted::Stopped, Some(Installer::Target)) => Wanted::Started,
                (cap, _) => cap,
            };
            let before = self.nodes.remove(key);
            let (last_received, wants) = before.map(|node| (node.last_received, node.wants)).unwrap_or_default();
            let node = Node {
                assigned,
                parent,
                children: BTreeSet::new(),
                below: Below::default(),
                counted,
                wish,
                cap,
                level: wish,
                effect: spec.map_or(effect::Effect::None, |spec| effect::of_change(&record.spec, spec)),
                received: None,
                last_received,
                missing: Vec::new(),
                wants,
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
                above.children.remove(key);
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

    /// It may count in another way for its parent now, which then looks again.
    pub(super) fn tally(&mut self, key: &InstanceKey) {
        let Some((record, node)) = self.ledger.state.records.get(key).zip(self.nodes.get_mut(key)) else { return };
        let now = Counted::of(record);
        let before = std::mem::replace(&mut node.counted, now);
        if before == now {
            return;
        }
        let Some(parent) = node.parent.clone() else { return };
        if let Some(above) = self.nodes.get_mut(&parent) {
            above.below.count(before, now);
            self.pending.insert(parent);
        }
    }

    /// What no agent of this version writes: machines that an older one stopped, steps without a run.
    pub(super) fn mend_records(&mut self) {
        for record in self.ledger.state.records.values_mut() {
            let state = match record.state {
                InstanceState::NotDeployed | InstanceState::DeployedStarted => continue,
                _other if is_host(record) => InstanceState::NotDeployed,
                InstanceState::DeployedStopped | InstanceState::WaitingForAncestor | InstanceState::Unresolved => {
                    continue;
                }
                InstanceState::Problem => InstanceState::DeployedStopped,
                InstanceState::Deploying
                | InstanceState::Starting
                | InstanceState::Stopping
                | InstanceState::Undeploying => {
                    if record.run.is_some() {
                        continue;
                    }
                    InstanceState::DeployedStopped
                }
            };
            record.state = state;
            record.waits_for.clear();
            self.dirty.state = true;
        }
    }
}

fn parent_of(key: &InstanceKey) -> Option<InstanceKey> {
    Some(InstanceKey { application: key.application.clone(), path: key.path.parent()? })
}
