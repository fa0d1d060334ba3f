//! Who offers what to whom, indexed so that a change reaches only those whom it concerns.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::resolve::{self, Imports, Provider, Topic};
use robo_model::spec::{InstanceKey, InstanceSpec};

use super::Core;
use crate::ledger::{Hold, Record};

/// All that is offered, here and elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Supply {
    providers: BTreeMap<InstanceKey, Provider>,
    offering: BTreeMap<Topic, BTreeSet<InstanceKey>>,
    importing: BTreeMap<Topic, BTreeSet<InstanceKey>>,
    /// Who runs and has nobody for what it needs there.
    wanting: BTreeMap<Topic, BTreeSet<InstanceKey>>,
    /// Who offered there, and waits for those who need it.
    draining: BTreeMap<Topic, BTreeSet<InstanceKey>>,
}

impl Supply {
    /// `key` offers this from now on; gives those who import something that came, changed or went.
    fn offer(&mut self, key: &InstanceKey, provider: Option<Provider>) -> BTreeSet<InstanceKey> {
        let before = self.providers.get(key);
        if before == provider.as_ref() {
            return BTreeSet::new();
        }
        let old = before.map(Provider::topics).unwrap_or_default();
        let new = provider.as_ref().map(Provider::topics).unwrap_or_default();
        for topic in old.difference(&new) {
            take_out(&mut self.offering, topic, key);
        }
        for topic in &new {
            self.offering.entry(topic.clone()).or_default().insert(key.clone());
        }
        match provider {
            Some(provider) => drop(self.providers.insert(key.clone(), provider)),
            None => drop(self.providers.remove(key)),
        }
        old.union(&new).filter_map(|topic| self.importing.get(topic)).flatten().cloned().collect()
    }

    /// An instance with this specification imports from now on.
    pub(super) fn listen(&mut self, spec: &InstanceSpec) {
        for topic in topics(spec) {
            self.importing.entry(topic).or_default().insert(spec.key.clone());
        }
    }

    /// It imports no longer.
    pub(super) fn stop_listening(&mut self, spec: &InstanceSpec) {
        for topic in topics(spec) {
            take_out(&mut self.importing, &topic, &spec.key);
        }
    }

    /// `key` wants these places instead of those before; gives those who may go on because it no longer does.
    pub(super) fn want(
        &mut self,
        key: &InstanceKey,
        before: &BTreeSet<Topic>,
        now: &BTreeSet<Topic>,
    ) -> BTreeSet<InstanceKey> {
        for topic in now.difference(before) {
            self.wanting.entry(topic.clone()).or_default().insert(key.clone());
        }
        let mut free = BTreeSet::new();
        for topic in before.difference(now) {
            take_out(&mut self.wanting, topic, key);
            free.extend(self.draining.get(topic).into_iter().flatten().cloned());
        }
        free
    }

    /// Who wants something at `topic`.
    pub(super) fn wanting(&self, topic: &Topic) -> impl Iterator<Item = &InstanceKey> {
        self.wanting.get(topic).into_iter().flatten()
    }

    /// `key` waits for those who need one of these places.
    pub(super) fn drain(&mut self, key: &InstanceKey, topics: &BTreeSet<Topic>) {
        for topic in topics {
            self.draining.entry(topic.clone()).or_default().insert(key.clone());
        }
    }

    /// It does not any more.
    pub(super) fn stop_draining(&mut self, key: &InstanceKey, topics: &BTreeSet<Topic>) {
        for topic in topics {
            take_out(&mut self.draining, topic, key);
        }
    }

    /// Everybody who waits.
    pub(super) fn all_draining(&self) -> BTreeSet<InstanceKey> {
        self.draining.values().flatten().cloned().collect()
    }

    /// What `spec` receives now.
    pub(super) fn received(&self, spec: &InstanceSpec) -> Imports {
        let keys: BTreeSet<&InstanceKey> =
            topics(spec).filter_map(|topic| self.offering.get(&topic)).flatten().collect();
        resolve::resolve(spec, keys.into_iter().filter_map(|key| self.providers.get(key)))
    }
}

fn topics(spec: &InstanceSpec) -> impl Iterator<Item = Topic> + '_ {
    spec.imports.iter().flat_map(|import| resolve::topics_of(spec, import))
}

fn take_out(index: &mut BTreeMap<Topic, BTreeSet<InstanceKey>>, topic: &Topic, key: &InstanceKey) {
    if let Some(keys) = index.get_mut(topic) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(topic);
        }
    }
}

impl Core {
    /// Fills the supply from the ledger.
    pub(super) fn supply_all(&mut self) {
        for record in self.ledger.state.records.values() {
            self.supply.listen(&record.spec);
            if let Some(drain) = &record.drain {
                self.supply.drain(&record.spec.key, &drain.topics);
            }
        }
        let keys: BTreeSet<InstanceKey> =
            self.ledger.imports.keys().chain(self.ledger.state.records.keys()).cloned().collect();
        for key in keys {
            self.offer(&key);
        }
    }

    /// What `key` offers may have changed. What happens here is known better here than by the manager: its word
    /// counts for other devices' instances only.
    pub(super) fn offer(&mut self, key: &InstanceKey) {
        let provider = match self.ledger.state.records.get(key) {
            Some(record) => offered(record),
            None => self.ledger.imports.get(key).cloned(),
        };
        for importer in self.supply.offer(key, provider) {
            if let Some(node) = self.nodes.get_mut(&importer) {
                node.received = None;
                self.pending.insert(importer);
            }
        }
    }

    /// Resolves an instance's imports anew where they may have changed.
    pub(super) fn receive(&mut self, key: &InstanceKey) {
        let Some(record) = self.ledger.state.records.get(key) else { return };
        let Some(node) = self.nodes.get_mut(key) else { return };
        if node.received.is_some() {
            return;
        }
        let received = self.supply.received(&record.spec);
        node.missing = if super::tree::is_host(record) {
            Vec::new()
        } else {
            resolve::missing(&record.spec.imports, &received).into_iter().map(ToString::to_string).collect()
        };
        let other = received != node.last_received;
        node.last_received.clone_from(&received);
        node.received = Some(received);
        if other {
            self.value_may_be_there(key);
        }
    }

    /// A value that could not be made may be there now.
    pub(super) fn value_may_be_there(&mut self, key: &InstanceKey) {
        if self.record(key).is_some_and(|record| record.hold == Hold::Value)
            && let Some(record) = self.changing(key)
        {
            record.hold = Hold::Free;
        }
    }
}

/// What a started instance offers.
fn offered(record: &Record) -> Option<Provider> {
    let exports = super::tell::offered(record);
    (!exports.is_empty()).then(|| Provider {
        key: record.spec.key.clone(),
        component: record.spec.component.clone(),
        outside: super::tell::outside(record),
        exports,
    })
}
