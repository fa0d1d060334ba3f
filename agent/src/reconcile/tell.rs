//! Events and updates for the manager.
//!
//! Reports are levels: what is told is where an instance stands when the update is made. Events are a history: they
//! are kept on disk until the manager has them on its own.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::effect::Effect;
use robo_model::name::Variable;
use robo_model::resolve::{self, Topic};
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceReport, InstanceState};
use robo_wire::digest::Digest;
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::link::{MAX_EVENTS_PER_UPDATE, Update};

use super::Core;
use super::tree::{self, Node};
use crate::ledger::{Hold, Ledger, Record, State};

/// Most events that wait for the manager: weeks of a quiet device, about 2 MB on its disk. Then the oldest go.
pub(super) const MAX_SPOOLED_EVENTS: usize = 10_000;

/// What is still to be told on this connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Teller {
    /// True until everything was told on this connection.
    full: bool,
    /// Updates on this connection.
    updates: u64,
    /// The last event told on this connection, or stored before it.
    told: u64,
    changed: BTreeSet<InstanceKey>,
    removed: BTreeSet<InstanceKey>,
    news: bool,
    /// What was told on this connection of what the device knows of other devices' offers.
    imports: Option<Digest>,
}

impl Teller {
    pub(super) fn changed(&mut self, key: &InstanceKey) {
        self.removed.remove(key);
        self.changed.insert(key.clone());
        self.news = true;
    }

    pub(super) fn removed(&mut self, key: &InstanceKey) {
        self.changed.remove(key);
        self.removed.insert(key.clone());
        self.news = true;
    }

    /// True when there is something to tell that was not there the last time.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The device has other imports than before. That is told even when nothing here moves because of it: the manager
    /// can tell then who has not got to it yet.
    pub(super) const fn imports_moved(&mut self) {
        self.news = true;
    }

    pub(super) fn next_update(
        &mut self,
        ledger: &Ledger,
        nodes: &BTreeMap<InstanceKey, Node>,
        imports: Digest,
    ) -> Option<Update> {
        let state = &ledger.state;
        let imports = (self.imports != Some(imports)).then_some(imports);
        let events: Vec<AgentEvent> =
            state.spool.iter().filter(|event| event.seq > self.told).take(MAX_EVENTS_PER_UPDATE).cloned().collect();
        if !self.full && imports.is_none() && self.changed.is_empty() && self.removed.is_empty() && events.is_empty() {
            return None;
        }
        if let Some(last) = events.last() {
            self.told = last.seq;
        }
        let full = std::mem::take(&mut self.full);
        let changed = std::mem::take(&mut self.changed);
        let removed = std::mem::take(&mut self.removed);
        let told = |key: &InstanceKey, record: &Record| report(record, nodes.get(key));
        let reports = if full {
            state.records.iter().map(|(key, record)| told(key, record)).collect()
        } else {
            changed.iter().filter_map(|key| Some(told(key, state.records.get(key)?))).collect()
        };
        let removed = if full { Vec::new() } else { removed.into_iter().collect() };
        self.imports = imports.or(self.imports);
        self.updates += 1;
        let generation = ledger.assignment.generation;
        Some(Update { seq: self.updates, full, generation, reports, removed, events, imports, more: false })
    }
}

/// What is told of an instance.
pub(super) fn report(record: &Record, node: Option<&Node>) -> InstanceReport {
    let fits = node.is_some_and(|node| node.effect == Effect::None);
    InstanceReport {
        application: record.spec.key.application.clone(),
        path: record.spec.key.path.clone(),
        component: record.spec.component.clone(),
        state: record.state,
        since: record.since,
        waits_for: record.waits_for.clone(),
        failure: record.failure.clone(),
        exports: offered(record),
        pid: record.process.as_ref().and_then(|process| process.pid),
        restarts: record.restarts,
        healthy: record.healthy,
        settled: fits && record.run.is_none(),
        outside: outside(record),
        needs: needs(record),
        held_for: record.drain.as_ref().map(|drain| drain.topics.clone()).unwrap_or_default(),
        drift: record.drift.clone(),
        hold: match &record.hold {
            Hold::Cancelled { by } => Some(format!("cancelled by {by}")),
            Hold::Ended => Some("its process ended, and its restart policy leaves it so".to_owned()),
            Hold::Value => Some(InstanceReport::HELD_BY_A_VALUE.to_owned()),
            Hold::Free => None,
        },
    }
}

/// While it is up: for each prefix of its mandatory imports, the places that can give it.
fn needs(record: &Record) -> Vec<BTreeSet<Topic>> {
    if tree::is_host(record) || !tree::is_up(record) {
        return Vec::new();
    }
    let mandatory = record.spec.imports.iter().filter(|import| !import.optional);
    let places = mandatory.map(|import| resolve::topics_of(&record.spec, import).collect::<BTreeSet<_>>());
    let distinct: BTreeSet<_> = places.filter(|places| !places.is_empty()).collect();
    distinct.into_iter().collect()
}

/// What an instance offers right now: nothing unless it is started, and not about to stop.
pub(super) fn offered(record: &Record) -> BTreeMap<Variable, String> {
    if record.drain.is_none() { exports(record) } else { BTreeMap::new() }
}

/// What it has to offer while it is started, whether it does or not.
pub(super) fn exports(record: &Record) -> BTreeMap<Variable, String> {
    let started = record.state == InstanceState::DeployedStarted;
    if started { record.told.exports.clone() } else { BTreeMap::new() }
}

/// What it offers to other applications right now.
pub(super) fn outside(record: &Record) -> BTreeMap<Variable, String> {
    let exports = offered(record);
    let value = |(name, inner): (&Variable, &Variable)| Some((name.clone(), exports.get(inner)?.clone()));
    record.spec.outside.iter().filter_map(value).collect()
}

impl Core {
    /// Notes what happened, in the spool.
    pub(super) fn event(&mut self, key: Option<InstanceKey>, body: EventBody) {
        let state = &mut self.ledger.state;
        let seq = state.next_event;
        state.next_event += 1;
        state.spool.push_back(AgentEvent { seq, at: self.now, key, body });
        if state.spool.len() > MAX_SPOOLED_EVENTS {
            drop_oldest(state);
        }
        self.dirty.state = true;
        self.teller.news = true;
    }

    pub(super) fn connected(&mut self, events_stored: u64) {
        let state = &mut self.ledger.state;
        if events_stored >= state.next_event {
            // This ledger is younger than what the manager knows of the device: its numbers would be taken for old.
            let mut next = events_stored + 1;
            for event in &mut state.spool {
                event.seq = next;
                next += 1;
            }
            state.next_event = next;
            self.dirty.state = true;
        }
        self.prune(events_stored);
        self.connected = true;
        self.released.clear();
        self.resyncing = false;
        self.teller = Teller { full: true, told: events_stored, news: true, ..Teller::default() };
    }

    pub(super) fn stored(&mut self, events_stored: u64) {
        self.prune(events_stored);
        // The session waited for this; what came meanwhile can go now.
        self.teller.news = self.teller.full
            || !self.teller.changed.is_empty()
            || !self.teller.removed.is_empty()
            || self.teller.imports != Some(self.imports_digest)
            || self.ledger.state.spool.back().is_some_and(|event| event.seq > self.teller.told);
    }

    fn prune(&mut self, events_stored: u64) {
        let spool = &mut self.ledger.state.spool;
        while spool.front().is_some_and(|event| event.seq <= events_stored) {
            spool.pop_front();
            self.dirty.state = true;
        }
    }
}

/// Makes room for an event, and says so in the place of what went.
fn drop_oldest(state: &mut State) {
    let mut lost = 0;
    let mut last = None;
    // One more than is too many goes, for the gap needs a place itself.
    while state.spool.len() >= MAX_SPOOLED_EVENTS {
        let Some(event) = state.spool.pop_front() else { break };
        lost += if let EventBody::Gap { lost } = event.body { lost } else { 1 };
        last = Some((event.seq, event.at));
    }
    if let Some((seq, at)) = last {
        state.spool.push_front(AgentEvent { seq, at, key: None, body: EventBody::Gap { lost } });
    }
}
