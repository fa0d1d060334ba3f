//! What must never be, whatever the weather: looked at whenever something is on disk, begins, or is told.

mod order;

pub(super) use self::order::provider;

use std::collections::BTreeMap;

use robo_agent::ledger::{Ledger, Record};
use robo_model::lifecycle;
use robo_model::resolve::Provider;
use robo_model::spec::{Generation, InstanceKey};
use robo_model::state::InstanceState;
use robo_wire::event::EventBody;
use robo_wire::link::Update;

use super::Failure;
use super::schedule::Time;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failing {
    /// A start step began before its imports were there.
    Premature,
    /// A provider stopped before those who need it.
    Release,
    /// Steps of one instance at the same time, a run twice, something removed while it runs.
    Order,
    /// A transition that is in no table, or does not follow from the one before.
    Transition,
    /// Exports of what is not started.
    Exports,
    /// Something that was acknowledged is gone, or went back.
    Lost,
    /// A target without a verdict, or with two.
    Verdict,
    /// A ledger that cannot be read.
    Ledger,
    /// A side that breaks the protocol.
    Protocol,
    /// The weather is good, and still not all is as it should be.
    NotConverged,
    /// Something moved although all was as it should be.
    Restless,
    /// Code under test panicked.
    Panic,
}

/// What is known of each device and instance, from its disk.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) failure: Option<Failure>,
    /// Steps that began.
    pub(super) steps: u64,
    devices: Vec<Device>,
    /// Where and when each instance offered something: by device.
    offers: BTreeMap<InstanceKey, BTreeMap<usize, Offer>>,
    disturbed_until: Time,
}

#[derive(Debug, Default)]
struct Device {
    generation: Generation,
    next_run: u64,
    next_event: u64,
    states: BTreeMap<InstanceKey, (InstanceState, Time)>,
    offering: BTreeMap<InstanceKey, bool>,
    disturbed_until: Time,
    removed: bool,
}

/// What one instance on one device offered.
#[derive(Debug, Clone)]
struct Offer {
    /// Nothing while it offers.
    withdrawn: Option<Time>,
    what: Provider,
}

impl Watch {
    /// The first failure counts: what follows may follow from it.
    pub(super) fn fail(&mut self, kind: Failing, at: Time, what: String) {
        self.failure.get_or_insert(Failure { kind, at, what });
    }

    pub(super) fn add_device(&mut self) {
        self.devices.push(Device { next_event: 1, ..Device::default() });
    }

    /// Until then, and a little longer, the device may not hear of others, or they of it.
    pub(super) fn disturbed(&mut self, device: usize, until: Time) {
        let device = &mut self.devices[device];
        device.disturbed_until = device.disturbed_until.max(until);
    }

    pub(super) fn all_disturbed(&mut self, until: Time) {
        self.disturbed_until = self.disturbed_until.max(until);
    }

    pub(super) fn removed(&mut self, device: usize, now: Time) {
        self.devices[device].removed = true;
        for offers in self.offers.values_mut() {
            if let Some(offer) = offers.get_mut(&device) {
                offer.withdrawn.get_or_insert(now);
            }
        }
    }

    /// What a new process of the agent read must not be older than what was on the disk.
    pub(super) fn agent_started(&mut self, now: Time, device: usize, ledger: &Ledger) {
        if let Some((kind, what)) = self.persisted(now, device, ledger) {
            self.fail(kind, now, what);
        }
    }

    /// This is on the device's disk now.
    pub(super) fn persisted(&mut self, now: Time, device: usize, ledger: &Ledger) -> Option<(Failing, String)> {
        let known = &mut self.devices[device];
        let generation = ledger.assignment.generation;
        if generation < known.generation {
            let what = format!("d{device}: assignment {generation} takes the place of {}", known.generation);
            return Some((Failing::Lost, what));
        }
        let (run, event) = (ledger.state.next_run.0, ledger.state.next_event);
        if run < known.next_run || event < known.next_event {
            return Some((Failing::Lost, format!("d{device}: the ledger counts backwards ({run}, {event})")));
        }
        for told in ledger.state.spool.iter().filter(|told| told.seq >= known.next_event) {
            if let (Some(key), EventBody::State { from, to, .. }) = (&told.key, &told.body) {
                let before = known.states.get(key).map_or(InstanceState::NotDeployed, |(state, _)| *state);
                if before != *from || !lifecycle::allowed(*from, *to) {
                    let what = format!("d{device}: {key} was {before} and goes from {from} to {to}");
                    return Some((Failing::Transition, what));
                }
                known.states.insert(key.clone(), (*to, now));
            }
            if let (Some(key), EventBody::Forgotten) = (&told.key, &told.body) {
                known.states.remove(key);
            }
        }
        (known.generation, known.next_run, known.next_event) = (generation, run, event);
        self.note_offers(now, device, &ledger.state.records);
        None
    }

    fn note_offers(&mut self, now: Time, device: usize, records: &BTreeMap<InstanceKey, Record>) {
        let known = &mut self.devices[device];
        let gone: Vec<InstanceKey> = known
            .offering
            .iter()
            .filter(|(key, on)| **on && !records.contains_key(*key))
            .map(|(k, _)| k.clone())
            .collect();
        let states = records.iter().map(|(key, record)| (key, offers(record)));
        let mut moved: Vec<(InstanceKey, bool)> = states
            .filter(|(key, on)| known.offering.get(*key).copied().unwrap_or_default() != *on)
            .map(|(key, on)| (key.clone(), on))
            .collect();
        moved.extend(gone.into_iter().map(|key| (key, false)));
        for (key, on) in moved {
            known.offering.insert(key.clone(), on);
            let of_it = self.offers.entry(key.clone()).or_default();
            if on && let Some(record) = records.get(&key) {
                of_it.insert(device, Offer { withdrawn: None, what: order::provider(record) });
            } else if let Some(offer) = of_it.get_mut(&device) {
                offer.withdrawn = Some(now);
            }
        }
    }

    /// The manager stores that a device has an assignment on its disk.
    pub(super) fn accepted(&self, device: usize, generation: Generation) -> Option<String> {
        let there = self.devices[device].generation;
        (generation > there).then(|| format!("d{device} accepted assignment {generation}, and has {there} on its disk"))
    }

    /// The manager stores what a device told.
    pub(super) fn update(&self, device: usize, update: &Update) -> Option<String> {
        let wrong = |report: &&robo_model::state::InstanceReport| {
            let offers = !report.exports.is_empty() || !report.outside.is_empty();
            offers && (report.state != InstanceState::DeployedStarted || !report.held_for.is_empty())
        };
        if let Some(report) = update.reports.iter().find(wrong) {
            return Some(format!("d{device}: {}{} offers in {}", report.application, report.path, report.state));
        }
        let told = update.events.last()?.seq;
        let next = self.devices[device].next_event;
        (told >= next).then(|| format!("d{device} tells event {told} that is not on its disk"))
    }
}

/// True while an instance offers what it exports.
fn offers(record: &Record) -> bool {
    record.state == InstanceState::DeployedStarted && record.drain.is_none()
}
