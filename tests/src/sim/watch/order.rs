//! What must be so when a step begins: imports before a start, consumers before a stop.

use std::collections::{BTreeMap, BTreeSet};

use robo_agent::ledger::{Ledger, Record};
use robo_agent::order::Order;
use robo_agent::reconcile::DRAIN_LIMIT;
use robo_manager::store::rules;
use robo_model::resolve::{self, Imports, Provider, Topic};
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceState, Step};

use super::{Failing, Time, offers};
use crate::sim::schedule::SECOND;
use crate::sim::world::World;

/// How long it takes at most until a device hears what another told, with nothing in the way.
const HEARING: Time = 5 * SECOND;

/// How long a device writes its ledger, at most, when its disk is well.
const WRITING: Time = 10;

/// How long after trouble a device may not be connected yet: the longest wait before dialling, and the dialling.
const RECONNECTING: Time = 40 * SECOND;

impl World {
    /// A step begins that never began before.
    pub(in crate::sim) fn check_begin(&mut self, device: usize, order: &Order) {
        self.watch.steps += 1;
        let Some(record) = self.record(device, &order.key) else {
            return self.fail(Failing::Order, format!("d{device}: {} of {} that is not there", order.step, order.key));
        };
        if record.run.as_ref().is_some_and(|run| run.aborted) {
            // It is ended with the same breath: what it needs went between two reports that came together.
            return;
        }
        let found = match order.step {
            Step::Start => self.premature(device, order, record).map(|what| (Failing::Premature, what)),
            Step::Stop => self.too_early(device, &order.key).map(|what| (Failing::Release, what)),
            Step::Deploy | Step::Update | Step::Undeploy => None,
        };
        if let Some((kind, what)) = found {
            self.fail(kind, what);
        }
    }

    fn record(&self, device: usize, key: &InstanceKey) -> Option<&Record> {
        self.agents[device].pilot.as_ref()?.core().ledger().state.records.get(key)
    }

    /// Why a start begins too early: a mandatory import that nobody gives whom the device may believe in.
    fn premature(&self, device: usize, order: &Order, record: &Record) -> Option<String> {
        let imports = &order.context.imports;
        if let Some(import) = resolve::missing(&record.spec.imports, imports).first() {
            return Some(format!("d{device}: {} starts without {import}", order.key));
        }
        let mandatory = record.spec.imports.iter().filter(|import| !import.optional);
        for prefix in mandatory.map(|import| &import.prefix).collect::<BTreeSet<_>>() {
            let is_given = |imports: &Imports| {
                let mut givers = imports.get(prefix).into_iter().flatten();
                givers.any(|(giver, _)| self.is_there(device, giver))
            };
            // What it is told was put on disk before the step begins. Who gave it may have withdrawn since, when another
            // gives it by now: it goes on, and an update tells it so. Were there nobody, the run would be aborted.
            if !is_given(imports) && !is_given(&self.received_by_now(device, record)) {
                let believed: Vec<_> = imports.get(prefix).into_iter().flat_map(BTreeMap::keys).collect();
                return Some(format!(
                    "d{device}: {} starts, and nobody gives {prefix} any more; it believes in {believed:?}",
                    order.key
                ));
            }
        }
        None
    }

    /// What `record` receives from those whom its device believes in at this moment.
    fn received_by_now(&self, device: usize, record: &Record) -> Imports {
        let Some(pilot) = &self.agents[device].pilot else { return Imports::new() };
        let ledger = pilot.core().ledger();
        let here: Vec<Provider> = ledger.state.records.values().filter(|it| offers(it)).map(provider).collect();
        let elsewhere = ledger.imports.values().filter(|it| !ledger.state.records.contains_key(&it.key));
        resolve::resolve(&record.spec, here.iter().chain(elsewhere))
    }

    /// True when the device may take `giver` for started.
    fn is_there(&self, device: usize, giver: &InstanceKey) -> bool {
        if self.watch.devices[device].removed {
            // It is told nothing any more, and goes on with what it knows.
            return true;
        }
        if let Some(beside) = self.record(device, giver) {
            return offers(beside);
        }
        let elsewhere = self.watch.offers.get(giver).into_iter().flatten();
        elsewhere.filter(|(at, _)| **at != device).any(|(at, offer)| match offer.withdrawn {
            None => true,
            Some(time) => self.now() <= self.heard_by(time, *at, device),
        })
    }

    /// When `to` has heard at the latest of what happened on `from` at `time`.
    fn heard_by(&self, time: Time, from: usize, to: usize) -> Time {
        let all = self.watch.disturbed_until;
        let trouble = |device: usize| {
            let until = self.watch.devices[device].disturbed_until.max(all).max(self.net.trouble_until(device));
            if until + RECONNECTING > time { until + RECONNECTING } else { 0 }
        };
        let said = time.max(trouble(from)) + HEARING;
        said.max(trouble(to))
    }

    /// Why a stop begins too early: somebody on another device runs, needs it, has nobody else, and could have known.
    fn too_early(&self, device: usize, key: &InstanceKey) -> Option<String> {
        let withdrawn = self.watch.offers.get(key)?.get(&device)?.withdrawn.unwrap_or(self.now());
        let now = self.now();
        let topics = self.record(device, key).map(topics_of)?;
        // It counts from its decision, which was on disk a little later.
        if now - withdrawn + WRITING >= DRAIN_LIMIT.0 || !self.is_undisturbed(device) {
            return None;
        }
        for other in (0..self.agents.len()).filter(|other| *other != device && self.is_undisturbed(*other)) {
            for (consumer, (state, since)) in &self.watch.devices[other].states {
                let runs = *state == InstanceState::DeployedStarted && since + HEARING < now;
                let needs = || self.needs((other, consumer), (device, key, withdrawn), &topics);
                if runs && needs() {
                    let late = now - withdrawn;
                    return Some(format!(
                        "d{device}: {key} stops {late} ms after it withdrew, and {consumer} on d{other} still needs it; {}",
                        self.known_of(other, consumer, &topics)
                    ));
                }
            }
        }
        None
    }

    /// What the manager knows of a consumer, and of who offers or offered at these places.
    fn known_of(&self, device: usize, consumer: &InstanceKey, topics: &BTreeSet<Topic>) -> String {
        let reports = self.store.reports();
        let needs = reports.get(&(&self.agents[device].id, consumer)).map(|report| &report.needs);
        let at_places = |report: &robo_model::state::InstanceReport| {
            let offered = resolve::topics_offered(&report.application, &report.exports, &report.outside);
            offered.intersection(topics).next().is_some() || report.held_for.intersection(topics).next().is_some()
        };
        let there = reports.iter().filter(|(_, report)| at_places(report));
        let there: Vec<String> = there
            .map(|((id, key), report)| format!("{key} on {id} {} held for {}", report.state, report.held_for.len()))
            .collect();
        format!("the manager knows that it needs {needs:?}, and of {there:?}")
    }

    fn is_undisturbed(&self, device: usize) -> bool {
        let watched = &self.watch.devices[device];
        let until = watched.disturbed_until.max(self.watch.disturbed_until).max(self.net.trouble_until(device));
        let connected = self.agents[device].conn.is_some() && self.agents[device].pilot.is_some();
        !watched.removed && connected && until + RECONNECTING < self.now()
    }

    /// True when `consumer` cannot be without `key`: nobody else who gives what it gives still runs, whether they have
    /// withdrawn or not. One who was let go because of another who then withdrew, too, leaves that one behind; unless that
    /// one's device was in trouble, and did not wait for anybody.
    fn needs(
        &self,
        (device, consumer): (usize, &InstanceKey),
        (giver, key, withdrawn): (usize, &InstanceKey, Time),
        topics: &BTreeSet<Topic>,
    ) -> bool {
        let Some(record) = self.record(device, consumer) else { return false };
        let mandatory = record.spec.imports.iter().filter(|import| !import.optional);
        let mut places = mandatory.flat_map(|import| resolve::topics_of(&record.spec, import));
        if !places.any(|topic| topics.contains(&topic)) {
            return false;
        }
        // The same instance on another device, where it moved to, is somebody else.
        let is_it = |(at, it): &(usize, Provider)| *at == giver && it.key == *key;
        let (before, others): (Vec<_>, Vec<_>) = {
            let others = self.believed_in().chain(self.gone_in_trouble_since(withdrawn));
            self.running().chain(others).partition(is_it)
        };
        let providers = |some: Vec<(usize, Provider)>| some.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
        let (before, running) = (providers(before), providers(others));
        let without = resolve::resolve(&record.spec, &running);
        let with = resolve::resolve(&record.spec, running.iter().chain(&before));
        let missing = |received| resolve::missing(&record.spec.imports, received).len();
        missing(&without) > missing(&with)
    }

    /// What the manager takes for offered by devices that cannot tell it better just now.
    fn believed_in(&self) -> impl Iterator<Item = (usize, Provider)> {
        let reports = self.store.reports().into_iter().map(|((id, _), report)| (self.by_id[id], report));
        let silent = reports.filter(|(device, _)| !self.is_undisturbed(*device));
        silent.map(|(device, report)| (device, rules::provider(report.clone())))
    }

    /// Who withdrew since then, and did not wait for those who need them: a device without a link does not.
    fn gone_in_trouble_since(&self, time: Time) -> impl Iterator<Item = (usize, Provider)> {
        let all = self.watch.offers.values().flatten();
        let gone = all.filter(move |(_, offer)| offer.withdrawn.is_some_and(|withdrawn| withdrawn >= time));
        let in_trouble = gone.filter(|(device, _)| !self.is_undisturbed(**device));
        in_trouble.map(|(device, offer)| (*device, offer.what.clone()))
    }

    /// Every instance that runs, and its device; what runs outlives its agent.
    fn running(&self) -> impl Iterator<Item = (usize, Provider)> {
        let runs = |record: &Record| matches!(record.state, InstanceState::DeployedStarted | InstanceState::Stopping);
        let of = move |ledger: &Ledger| -> Vec<Provider> {
            ledger.state.records.values().filter(|record| runs(record)).map(provider).collect()
        };
        self.agents.iter().enumerate().flat_map(move |(at, agent)| {
            let there = match &agent.pilot {
                Some(pilot) => of(pilot.core().ledger()),
                None => agent.ledger_on_disk().as_ref().map(of).unwrap_or_default(),
            };
            there.into_iter().map(move |provider| (at, provider))
        })
    }
}

/// What an instance offers while it is started.
pub(in crate::sim) fn provider(record: &Record) -> Provider {
    let exports = record.told.exports.clone();
    let value = |(outside, inner): (&_, &_)| Some((Clone::clone(outside), exports.get(inner)?.clone()));
    let outside = record.spec.outside.iter().filter_map(value).collect();
    Provider { key: record.spec.key.clone(), component: record.spec.component.clone(), exports, outside }
}

fn topics_of(record: &Record) -> BTreeSet<Topic> {
    provider(record).topics()
}
