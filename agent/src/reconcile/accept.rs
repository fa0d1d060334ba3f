//! What comes from outside is taken over: assignments, other devices' offers, the address, the boot.

use std::collections::BTreeSet;

use robo_model::effect::Effect as Change;
use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, InstanceKey};
use robo_model::state::{InstanceState, Step};
use robo_wire::digest::{self, Digest};
use robo_wire::event::EventBody;
use robo_wire::link::ImportsChange;

use super::{Core, Effect, tree};
use crate::ledger::{Hold, Record};
use crate::order::Addresses;

/// Most that other devices' offers may take of memory, about. What a manager can say at once of very many small ones
/// fits; one that goes on saying more is none of ours.
pub(super) const MAX_IMPORTS_BYTES: usize = 64 * 1024 * 1024;

/// What a provider takes besides its texts, about.
const PROVIDER_BYTES: usize = 128;

/// What a variable takes besides its texts, about.
const VARIABLE_BYTES: usize = 32;

/// What a provider takes of memory, about.
pub(super) fn bytes_of(provider: &Provider) -> usize {
    let Provider { key, component, exports, outside } = provider;
    let names = key.application.as_str().len() + key.path.as_str().len() + component.as_str().len();
    let variables = exports.iter().chain(outside);
    PROVIDER_BYTES + names + variables.map(|(_, value)| VARIABLE_BYTES + value.len()).sum::<usize>()
}

impl Core {
    pub(super) fn assigned(&mut self, assignment: Assignment) {
        let generation = assignment.generation;
        if let Err(reason) = self.acceptable(&assignment) {
            return self.effects.push(Effect::Refused { generation, reason });
        }
        if generation == self.ledger.assignment.generation {
            return self.effects.push(Effect::Accepted(generation));
        }
        self.assignment_digest = digest::of_assignment(&assignment);
        let before = std::mem::replace(&mut self.ledger.assignment, assignment);
        self.dirty.assignment = true;
        self.ledger.state.generation = Some(generation);
        self.event(None, EventBody::Assigned { generation });
        let wished = self.enlist_anew(&before);
        for key in wished {
            self.renew(&key);
        }
        self.effects.push(Effect::Accepted(generation));
    }

    /// After a restart: the assignment may be on disk while the state that goes with it never got there. What is not as
    /// it is asked for may have been asked for anew, and nobody says so again.
    pub(super) fn take_up_assignment(&mut self) {
        let generation = self.ledger.assignment.generation;
        let Some(before) = self.ledger.state.generation else {
            self.ledger.state.generation = Some(generation);
            return;
        };
        // One that is older was made of the records.
        if generation <= before {
            return;
        }
        self.ledger.state.generation = Some(generation);
        self.event(None, EventBody::Assigned { generation });
        let is_other = |key: &InstanceKey, record: &Record| {
            let node = self.nodes.get(key);
            node.is_some_and(|node| node.effect != Change::None || node.wish.state() != record.state)
        };
        let records = self.ledger.state.records.iter();
        let others: Vec<InstanceKey> =
            records.filter(|(key, record)| is_other(key, record)).map(|(key, _)| key.clone()).collect();
        for key in others {
            self.renew(&key);
        }
    }

    fn acceptable(&self, assignment: &Assignment) -> Result<(), String> {
        let current = self.ledger.assignment.generation;
        if assignment.generation < current {
            return Err(format!("it is older than assignment {current}, which this device has"));
        }
        if assignment.generation == current && digest::of_assignment(assignment) != self.assignment_digest {
            return Err(format!("this device has another assignment {current}: number it anew"));
        }
        let mut seen = BTreeSet::new();
        match assignment.instances.iter().find(|spec| !seen.insert(&spec.key)) {
            Some(twice) => Err(format!("it names {} twice", twice.key)),
            None => Ok(()),
        }
    }

    /// What failed or was held is tried at once: it was changed, or is asked for anew.
    fn renew(&mut self, key: &InstanceKey) {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        record.tries = 0;
        record.crashes = 0;
        record.mends = 0;
        record.hold = Hold::Free;
        record.restarting = false;
        if let Some(retry_at) = record.failure.as_mut().and_then(|failure| failure.retry_at.as_mut()) {
            *retry_at = now;
        }
        self.changed(key);
    }

    /// What is told of a provider is true even when something was missed before; then all of it is asked for besides.
    pub(super) fn imports_changed(&mut self, change: ImportsChange) {
        let fits = |expect: Option<Digest>, found: Digest| expect.is_none_or(|expect| expect == found);
        let began_here = fits(change.before, self.imports_digest);
        let (after, full) = (change.after, change.full);
        let before = self.imports_digest;
        self.take_imports(change);
        if self.imports_digest != before {
            self.teller.imports_moved();
        }
        if full {
            // The whole truth. Where it still has another digest, the manager is of another version, and asking again
            // would go on for ever.
            self.resyncing = false;
            return;
        }
        let missed = !began_here || !fits(after, self.imports_digest);
        if missed && !self.resyncing {
            self.resyncing = true;
            self.effects.push(Effect::Resync);
        }
    }

    fn take_imports(&mut self, change: ImportsChange) {
        let mut removed = change.removed;
        if change.full {
            let there: BTreeSet<&InstanceKey> = change.providers.iter().map(|provider| &provider.key).collect();
            removed.extend(self.ledger.imports.keys().filter(|key| !there.contains(key)).cloned());
        }
        for key in removed {
            if let Some(gone) = self.ledger.imports.remove(&key) {
                self.imports_digest = self.imports_digest.without(digest::of_provider(&gone));
                self.imports_bytes = self.imports_bytes.saturating_sub(bytes_of(&gone));
                self.dirty.imports = true;
                self.offer(&key);
            }
        }
        for provider in change.providers {
            let key = provider.key.clone();
            if self.ledger.imports.get(&key) == Some(&provider) {
                continue;
            }
            if let Some(before) = self.ledger.imports.remove(&key) {
                self.imports_digest = self.imports_digest.without(digest::of_provider(&before));
                self.imports_bytes = self.imports_bytes.saturating_sub(bytes_of(&before));
            }
            let bytes = self.imports_bytes.saturating_add(bytes_of(&provider));
            if bytes <= MAX_IMPORTS_BYTES {
                self.imports_bytes = bytes;
                self.imports_digest = self.imports_digest.with(digest::of_provider(&provider));
                self.ledger.imports.insert(key.clone(), provider);
            }
            self.dirty.imports = true;
            self.offer(&key);
        }
    }

    /// At the start: a machine that finds no way to its manager has not moved, so the addresses of the last connection
    /// count, and those that were `found` only where nobody knows of an earlier one.
    pub(super) fn take_addresses(&mut self, mut found: Addresses) {
        if !self.ledger.state.addresses.is_unknown() {
            return;
        }
        // An older agent kept none but in what the instances were told.
        let told = self.ledger.state.records.values().map(|record| &record.told.address);
        if let Some(main) = told.filter(|main| !main.is_empty()).max() {
            found.all.retain(|address| address != main);
            found.all.insert(0, main.clone());
            found.main.clone_from(main);
        }
        self.ledger.state.addresses = found;
    }

    pub(super) fn addresses_changed(&mut self, addresses: Addresses) {
        if self.ledger.state.addresses == addresses {
            return;
        }
        self.ledger.state.addresses = addresses;
        self.dirty.state = true;
        for key in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.value_may_be_there(&key);
            self.pending.insert(key);
        }
    }

    /// Of an instance that runs and of which nobody knows any more what it was told, because the ledger was damaged, it
    /// is taken that it was told what it would be told now: nothing that runs well is updated or started again.
    pub(super) fn remember(&mut self) {
        let runs = |record: &Record| {
            let starting = record.run.as_ref().is_some_and(|run| run.step == Step::Start);
            record.state == InstanceState::DeployedStarted || starting
        };
        let records = self.ledger.state.records.iter();
        let unknown: Vec<InstanceKey> =
            records.filter(|(_, r)| runs(r) && r.told.address.is_empty()).map(|(key, _)| key.clone()).collect();
        // First what each gives, then what comes of that for others.
        for _ in 0..2 {
            for key in &unknown {
                self.receive(key);
                if let Ok(told) = self.fresh(key, false)
                    && let Some(record) = self.changing(key)
                {
                    record.told = told;
                    self.offer(key);
                }
            }
        }
    }

    pub(super) fn booted(&mut self, boot: String) {
        let before = self.ledger.state.boot.replace(boot);
        if before == self.ledger.state.boot {
            return;
        }
        self.dirty.state = true;
        if before.is_none() {
            return;
        }
        // A step that was under way is over too. What deployed or undeployed is asked for again, and says so.
        let ran = |record: &Record| {
            let step = record.run.as_ref().map(|run| run.step);
            record.state == InstanceState::DeployedStarted
                || matches!(step, Some(Step::Start | Step::Update | Step::Stop))
        };
        let records = self.ledger.state.records.iter();
        let ended: Vec<InstanceKey> =
            records.filter(|(_, r)| ran(r) && !tree::is_host(r)).map(|(key, _)| key.clone()).collect();
        for key in ended {
            if let Some(record) = self.changing(&key) {
                record.run = None;
                record.process = None;
                record.ailing = false;
                record.restarting = false;
                record.healthy = true;
            }
            self.transition(&key, InstanceState::DeployedStopped, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use robo_model::limits::MAX_VALUE_BYTES;

    use super::super::Input;
    use super::super::sim::{World, provider};
    use super::*;

    /// The manager says that these are offered, and whether it is all.
    fn told(world: &mut World, names: std::ops::Range<usize>, value: &str, full: bool) {
        let providers = names.map(|name| provider(&format!("/other/db{name}"), "Db", value)).collect();
        drop(
            world.core.handle(world.now, Input::Imports(ImportsChange { full, providers, ..ImportsChange::default() })),
        );
    }

    #[test]
    fn offers_without_end_take_a_bounded_part_of_memory() {
        let (mut world, large) = (World::new(), "x".repeat(MAX_VALUE_BYTES));
        let enough = MAX_IMPORTS_BYTES / MAX_VALUE_BYTES;
        for batch in 0..4 {
            told(&mut world, batch * enough / 2..(batch + 1) * enough / 2, &large, false);
        }
        let kept = world.core.ledger().imports.len();
        assert!((enough * 9 / 10..enough).contains(&kept), "{kept} of {}", enough * 2);
        // What it has may change, and go; then there is room again.
        told(&mut world, 0..1, "1", false);
        assert_eq!(world.core.ledger().imports.len(), kept);
        told(&mut world, 0..3, "1", true);
        told(&mut world, 3..9, &large, false);
        assert_eq!(world.core.ledger().imports.len(), 9);
        let sum: usize = world.core.ledger().imports.values().map(bytes_of).sum();
        assert_eq!(world.core.imports_bytes, sum);
    }
}
