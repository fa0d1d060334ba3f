//! Consumers stop first: an instance that is to stop withdraws what it offers, and stops when those who need it have.
//!
//! Those on the same device are seen here, exactly. Those elsewhere the manager sees, who names the instance when
//! they have stopped; without a link, and after [`DRAIN_LIMIT`], they are not waited for.

use std::collections::BTreeSet;

use robo_model::quantity::Millis;
use robo_model::resolve::{self, Topic};
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceState, Step, Wanted};

use super::{Core, backoff, tree};
use crate::ledger::Drain;

/// The longest wait for those who need an instance that is to stop: as long as their stop steps may take where
/// nothing else is said. It also ends a circle of instances on several devices that wait for one another.
pub const DRAIN_LIMIT: Millis = Millis::from_secs(30);

/// Most instances that are looked at to find a circle on this device; a larger one is ended by [`DRAIN_LIMIT`].
const MAX_SEARCH: usize = 1_000;

impl Core {
    /// A started instance is to stop: what it offers is withdrawn, and it stops as soon as nobody needs it. One whose
    /// check fails for good serves nobody any more, and nobody is waited for.
    pub(super) fn wind_down(&mut self, key: &InstanceKey) {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        if record.drain.is_none() && !record.ailing {
            let outside = super::tell::outside(record);
            let topics = resolve::topics_offered(&key.application, &record.told.exports, &outside);
            if !topics.is_empty() {
                self.supply.drain(key, &topics);
                record.drain = Some(Drain { topics, since: now });
                // Who was released when it stopped last time is not released now.
                self.released.remove(key);
                self.offer(key);
                self.changed(key);
            }
        }
        // Those who lose an import by this are looked at first, so that it is known who needs it.
        self.winding_down.insert(key.clone());
    }

    /// It is wanted again: what it offers is published again.
    pub(super) fn end_drain(&mut self, key: &InstanceKey) {
        if self.clear_drain(key) {
            self.offer(key);
            self.changed(key);
        }
    }

    /// It does not wait any more; true when it did.
    pub(super) fn clear_drain(&mut self, key: &InstanceKey) -> bool {
        let drain = self.ledger.state.records.get_mut(key).and_then(|record| record.drain.take());
        if let Some(drain) = &drain {
            self.supply.stop_draining(key, &drain.topics);
        }
        drain.is_some()
    }

    /// Begins the stop step of an instance that is to stop, unless somebody has to stop before it.
    pub(super) fn stop_if_free(&mut self, key: &InstanceKey) {
        let Some((record, node)) = self.record(key).zip(self.nodes.get(key)) else { return };
        let to_stop = record.state == InstanceState::DeployedStarted && node.level < Wanted::Started;
        if !to_stop || record.run.is_some() || node.below.up > 0 {
            return;
        }
        if let Some(drain) = &record.drain {
            let limit = drain.since.plus(DRAIN_LIMIT);
            let over = backoff::is_due(limit, self.now);
            let elsewhere = self.connected && !over && !self.released.contains(key);
            if elsewhere || self.is_needed_here(key, over) {
                if !over {
                    self.alarm(key, limit);
                }
                return;
            }
        }
        self.begin(key, Step::Stop, None);
    }

    /// True while somebody on this device has to stop before `key`; when the time is `over`, only those count who are
    /// doing so.
    fn is_needed_here(&self, key: &InstanceKey, over: bool) -> bool {
        self.holders(key).any(|other| {
            if over {
                return self.record(other).is_some_and(|record| record.run.is_some());
            }
            // A circle is opened where the first of two who wait for one another is not the last.
            !(key < other && self.waits_for(other, key))
        })
    }

    /// Who runs here, needs what `key` offered, and has nobody else for it. What stands above it stops after it anyway.
    fn holders<'a>(&'a self, key: &'a InstanceKey) -> impl Iterator<Item = &'a InstanceKey> {
        let topics = self.record(key).and_then(|record| record.drain.as_ref()).map(|drain| &drain.topics);
        let above = |other: &InstanceKey| other.application == key.application && key.path.is_within(&other.path);
        topics.into_iter().flatten().flat_map(|topic| self.supply.wanting(topic)).filter(move |other| !above(other))
    }

    /// True when `first` cannot stop before `last` has, as far as that is seen here.
    fn waits_for(&self, first: &InstanceKey, last: &InstanceKey) -> bool {
        let mut seen = BTreeSet::from([first]);
        let mut open = vec![first];
        while let Some(key) = open.pop() {
            let Some((record, node)) = self.record(key).zip(self.nodes.get(key)) else { continue };
            if record.run.is_some() || record.state != InstanceState::DeployedStarted {
                continue;
            }
            let up = |child: &&InstanceKey| self.record(child).is_some_and(tree::is_up);
            let children = node.children.iter().filter(up);
            for other in self.holders(key).chain(children) {
                if other == last {
                    return true;
                }
                if seen.len() < MAX_SEARCH && seen.insert(other) {
                    open.push(other);
                }
            }
        }
        false
    }

    /// Notes which places `key` needs and has nobody for; those who wait for that to end look again.
    pub(super) fn note_wants(&mut self, key: &InstanceKey) {
        let Some((record, node)) = self.ledger.state.records.get(key).zip(self.nodes.get_mut(key)) else { return };
        let wants: BTreeSet<Topic> = match &node.received {
            Some(received) if tree::is_up(record) && !node.missing.is_empty() => {
                let missing = resolve::missing(&record.spec.imports, received);
                missing.into_iter().flat_map(|import| resolve::topics_of(&record.spec, import)).collect()
            }
            Some(_) | None => BTreeSet::new(),
        };
        let before = std::mem::replace(&mut node.wants, wants.clone());
        self.pending.extend(self.supply.want(key, &before, &wants));
    }

    pub(super) fn released(&mut self, keys: BTreeSet<InstanceKey>) {
        let waits = |key: &&InstanceKey| self.record(key).is_some_and(|record| record.drain.is_some());
        let woken: Vec<InstanceKey> = keys.iter().filter(waits).cloned().collect();
        self.pending.extend(woken);
        self.released = keys;
    }

    /// Nobody on other devices is waited for any more.
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.released.clear();
        self.resyncing = false;
        self.pending.extend(self.supply.all_draining());
    }
}
