//! The agent's heart: what is assigned, what others offer and what is observed in; orders and reports out.
//!
//! Pure: no disk, no clock, no randomness. Each instance is a state machine of its own; whenever something that it
//! depends on changes it is looked at again, from the whole state and not from what changed, so that nothing is lost
//! by looking twice or late. Everything that must survive a crash is in the [`Ledger`], and an effect that writes it
//! stands before every effect that relies on it.
//!
//! - `accept`: assignments, other devices' offers, the address.
//! - `act`: cancel and retry.
//! - `alarm`: who waits for a time.
//! - `drain`: consumers stop first.
//! - `drift`: what changes behind our back.
//! - `tree`: who stands below whom, what is wished, who may run now.
//! - `look`: what one instance needs next.
//! - `begin`: steps begin.
//! - `observe`: steps and processes end.
//! - `supply`: who offers what to whom.
//! - `expand`: `$(name)` in exports, command lines and checks.
//! - `tell`: events and updates for the manager.
//! - `backoff`: when what failed is tried again.

mod accept;
mod act;
mod alarm;
mod backoff;
mod begin;
mod drain;
mod drift;
mod expand;
mod look;
mod observe;
mod supply;
mod tell;
mod tree;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use robo_model::lifecycle;
use robo_model::quantity::UnixMillis;
use robo_model::spec::{Assignment, Generation, InstanceKey};
use robo_model::state::{InstanceReport, InstanceState};
use robo_wire::digest::{self, Digest};
use robo_wire::event::EventBody;
use robo_wire::link::{Act, Acted, ImportsChange, Update};

pub use self::drain::DRAIN_LIMIT;

use self::alarm::Alarms;
use self::supply::Supply;
use self::tell::Teller;
use self::tree::Node;
use crate::ledger::{Ledger, Record, What};
use crate::order::{Addresses, Context, Order, Report, RunId};

/// What happens to the reconciler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// From the link: everything the device should run.
    Assigned(Assignment),
    /// From the link: what other devices offer.
    Imports(ImportsChange),
    /// The device's addresses, which `ip` and its like export: with each connection to the manager. Until the first
    /// one those of the ledger count, and where it has none those that [`Core::new`] was given.
    Addresses(Addresses),
    /// What names this boot of the machine; once, right after [`Core::new`]. When it is another than last time,
    /// nothing runs any more that no supervisor reports on: what scripts started is started again.
    Boot(String),
    /// From the runtime.
    Report(Report),
    /// The link is up: everything is told again.
    Connected {
        /// The highest event number on the manager's disk.
        events_stored: u64,
    },
    /// The update under way is on the manager's disk.
    Stored {
        /// The highest event number on the manager's disk.
        events_stored: u64,
    },
    /// The link is down.
    Disconnected,
    /// From the link: all instances of this device that said they wait for those who need them, and need not wait for
    /// other devices any more.
    Released(BTreeSet<InstanceKey>),
    /// From the link: something to do once; answered with [`Effect::Acted`].
    Act(Act),
    /// Time passed: see [`Core::wake_at`].
    Tick,
}

/// What the shell does, strictly in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write these parts of [`Core::ledger`]; nothing behind this happens before they are on disk. While that fails,
    /// the shell tries again, or drops the core with all effects behind this and makes a new one from what is on disk.
    Persist(What),
    /// There is something for [`Core::next_update`].
    Tell,
    /// Begin a step; beginning a run again is nothing, or its outcome again.
    Begin(Order),
    /// End a run at once; its outcome is reported as ever.
    Abort {
        /// Of which instance.
        key: InstanceKey,
        /// Which run.
        run: RunId,
    },
    /// What the start step of this order made should be running; look after it, with this check. After a restart, and
    /// when the check changed. Answered, where it is a supervised process, by `ProcessRuns` (adopted) or
    /// `ProcessEnded` with this run; its health counts from anew.
    Watch(Order),
    /// What a started instance is told changed: write its context file anew.
    Context(Context),
    /// Remove everything that is left of an instance, its folder too. May come again after a restart.
    Forget(InstanceKey),
    /// The assignment is on disk.
    Accepted(Generation),
    /// The assignment cannot be taken.
    Refused {
        /// Which.
        generation: Generation,
        /// Why, for people.
        reason: String,
    },
    /// What came of an [`Input::Act`]; what it did is on disk.
    Acted(Acted),
    /// Something that other devices offer was missed: ask for all of it.
    Resync,
}

/// The reconciler.
#[derive(Debug, Clone)]
pub struct Core {
    ledger: Ledger,
    now: UnixMillis,
    /// One per record.
    nodes: BTreeMap<InstanceKey, Node>,
    supply: Supply,
    /// Whom to look at; parents come before their children.
    pending: BTreeSet<InstanceKey>,
    /// Who waits for a time.
    alarms: Alarms,
    /// Who is to stop, and is looked at when nobody else is to be.
    winding_down: BTreeSet<InstanceKey>,
    teller: Teller,
    /// Whose process was running before this agent did, as far as that has not been confirmed.
    adopting: BTreeSet<InstanceKey>,
    /// Whether there is a link; without one, nobody on other devices is waited for.
    connected: bool,
    /// Whom no instance on another device holds up any more.
    released: BTreeSet<InstanceKey>,
    assignment_digest: Digest,
    imports_digest: Digest,
    /// What the imports take of memory, about.
    imports_bytes: usize,
    /// True from asking for all imports until they are there.
    resyncing: bool,
    dirty: What,
    effects: Vec<Effect>,
}

impl Core {
    /// Goes on from `ledger` as loaded: begins unfinished runs again under their names, and has what was started
    /// watched.
    #[must_use]
    pub fn new(ledger: Ledger, addresses: Addresses, now: UnixMillis) -> (Self, Vec<Effect>) {
        Self::start(ledger, addresses, None, now)
    }

    /// As [`Core::new`], in the boot of the machine that `boot` names. When the ledger was written in another one,
    /// nothing that ran then runs now: all of it is started again, in its order.
    #[must_use]
    pub fn boot(ledger: Ledger, addresses: Addresses, boot: String, now: UnixMillis) -> (Self, Vec<Effect>) {
        // Where the kernel does not name it, nobody knows that it is another one.
        Self::start(ledger, addresses, Some(boot).filter(|boot| !boot.is_empty()), now)
    }

    fn start(ledger: Ledger, addresses: Addresses, boot: Option<String>, now: UnixMillis) -> (Self, Vec<Effect>) {
        let mut core = Self {
            assignment_digest: digest::of_assignment(&ledger.assignment),
            imports_digest: digest::of_providers(ledger.imports.values()),
            imports_bytes: ledger.imports.values().map(accept::bytes_of).sum(),
            ledger,
            now,
            nodes: BTreeMap::new(),
            supply: Supply::default(),
            pending: BTreeSet::new(),
            alarms: Alarms::default(),
            winding_down: BTreeSet::new(),
            teller: Teller::default(),
            adopting: BTreeSet::new(),
            connected: false,
            released: BTreeSet::new(),
            resyncing: false,
            dirty: What::default(),
            effects: Vec::new(),
        };
        core.take_addresses(addresses);
        core.forget_again();
        core.mend_records();
        core.enlist();
        core.plant();
        core.supply_all();
        core.remember();
        if let Some(boot) = boot {
            core.booted(boot);
        }
        core.take_up_assignment();
        core.resume();
        let effects = core.settle();
        (core, effects)
    }

    /// Takes in what happened, and says what to do about it.
    #[must_use]
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Assigned(assignment) => self.assigned(assignment),
            Input::Imports(change) => self.imports_changed(change),
            Input::Addresses(addresses) => self.addresses_changed(addresses),
            Input::Boot(boot) => self.booted(boot),
            Input::Report(report) => self.observe(report),
            Input::Connected { events_stored } => self.connected(events_stored),
            Input::Stored { events_stored } => self.stored(events_stored),
            Input::Disconnected => self.disconnected(),
            Input::Released(keys) => self.released(keys),
            Input::Act(act) => self.act(&act),
            Input::Tick => self.pending.extend(self.alarms.due(now)),
        }
        self.settle()
    }

    /// What is to be told next, for when the session is ready for it: everything after [`Input::Connected`], else
    /// what changed since. Events are told once per connection and kept until [`Input::Stored`] names them.
    #[must_use]
    pub fn next_update(&mut self) -> Option<Update> {
        self.teller.next_update(&self.ledger, &self.nodes, self.imports_digest)
    }

    /// When the next [`Input::Tick`] is due; nothing when nothing waits for a time.
    #[must_use]
    pub fn wake_at(&self) -> Option<UnixMillis> {
        self.alarms.first()
    }

    /// Where each instance stands.
    pub fn reports(&self) -> impl Iterator<Item = InstanceReport> {
        self.ledger.state.records.iter().map(|(key, record)| tell::report(record, self.nodes.get(key)))
    }

    /// Of what is assigned; for the hello.
    #[must_use]
    pub const fn assignment_digest(&self) -> Digest {
        self.assignment_digest
    }

    /// Of what other devices offer, as far as it is known here; for the hello.
    #[must_use]
    pub const fn imports_digest(&self) -> Digest {
        self.imports_digest
    }

    /// What exports have their addresses from.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.ledger.state.addresses
    }

    /// What [`Effect::Persist`] writes.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Looks at everybody who may need something until nobody does, and gives the effects in their order.
    fn settle(&mut self) -> Vec<Effect> {
        loop {
            if let Some(key) = self.pending.pop_first() {
                self.look(&key);
            } else if let Some(key) = self.winding_down.pop_first() {
                self.stop_if_free(&key);
            } else {
                break;
            }
        }
        let mut effects = Vec::new();
        let dirty = std::mem::take(&mut self.dirty);
        if !dirty.is_empty() {
            effects.push(Effect::Persist(dirty));
        }
        // Before any step begins, so that what it withdraws is withdrawn as early as can be.
        if self.teller.take_news() {
            effects.push(Effect::Tell);
        }
        effects.append(&mut self.effects);
        effects
    }

    fn record(&self, key: &InstanceKey) -> Option<&Record> {
        self.ledger.state.records.get(key)
    }

    /// For changing it: it will be written, and told.
    fn changing(&mut self, key: &InstanceKey) -> Option<&mut Record> {
        if self.ledger.state.records.contains_key(key) {
            self.changed(key);
        }
        self.ledger.state.records.get_mut(key)
    }

    /// The same, where it is started.
    fn changing_started(&mut self, key: &InstanceKey) -> Option<&mut Record> {
        self.ledger.state.records.get_mut(key).filter(|record| record.state == InstanceState::DeployedStarted)
    }

    fn alarm(&mut self, key: &InstanceKey, at: UnixMillis) {
        self.alarms.set(key, at);
    }

    /// Its record changed: it is written, told, and looked at.
    fn changed(&mut self, key: &InstanceKey) {
        self.dirty.state = true;
        self.teller.changed(key);
        self.pending.insert(key.clone());
    }

    /// Brings an instance into a state; those it concerns look again.
    fn transition(&mut self, key: &InstanceKey, to: InstanceState, waits_for: Vec<String>) {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        let from = record.state;
        if from == to && record.waits_for == waits_for {
            return;
        }
        record.waits_for.clone_from(&waits_for);
        if from != to {
            debug_assert!(lifecycle::allowed(from, to), "{key}: {from} → {to} is not in the life cycle");
            record.state = to;
            record.since = now;
            if to == InstanceState::NotDeployed {
                // What is not there is not other than it should be.
                record.drift = Vec::new();
            }
            self.clear_drain(key);
            self.tally(key);
            self.event(Some(key.clone()), EventBody::State { from, to, waits_for });
            self.offer(key);
            self.wake_family(key);
        }
        self.changed(key);
    }
}
