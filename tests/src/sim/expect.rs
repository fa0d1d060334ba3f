//! What must be in the end: the least fixed point of what is wished, over all devices and bindings.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Installer;
use robo_model::name::DeviceId;
use robo_model::resolve::{self, Provider};
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Wanted};

use super::store::Store;
use super::watch;
use super::world::World;

/// An instance where it is.
type Place<'a> = (&'a DeviceId, &'a InstanceKey);

/// Everything that is assigned, and what is wished of it.
struct Wishes<'a> {
    specs: BTreeMap<Place<'a>, &'a InstanceSpec>,
    wishes: BTreeMap<Place<'a>, Wanted>,
    parents: BTreeMap<Place<'a>, Place<'a>>,
}

/// The state that each instance must be in.
pub(super) fn states(store: &Store) -> BTreeMap<(DeviceId, InstanceKey), InstanceState> {
    let wishes = Wishes::new(store);
    let started = wishes.started();
    let mut states = BTreeMap::new();
    for (place, spec) in &wishes.specs {
        let parent_runs = wishes.parent(*place).is_none_or(|parent| started.contains(&parent));
        let state = match wishes.wishes[place] {
            Wanted::NotDeployed => InstanceState::NotDeployed,
            Wanted::Stopped if spec.installer == Installer::Target => InstanceState::DeployedStarted,
            Wanted::Stopped => InstanceState::DeployedStopped,
            Wanted::Started if started.contains(place) => InstanceState::DeployedStarted,
            Wanted::Started if !parent_runs => InstanceState::WaitingForAncestor,
            Wanted::Started => InstanceState::Unresolved,
        };
        states.insert((place.0.clone(), place.1.clone()), state);
    }
    states
}

impl<'a> Wishes<'a> {
    fn new(store: &'a Store) -> Self {
        let assigned = store
            .assignments
            .iter()
            .flat_map(|(device, assignment)| assignment.instances.iter().map(move |spec| ((device, &spec.key), spec)));
        let mut all = Self { specs: assigned.collect(), wishes: BTreeMap::new(), parents: BTreeMap::new() };
        let mut known: BTreeMap<(DeviceId, InstanceKey), Place<'a>> = BTreeMap::new();
        // In the order of paths: a parent comes before its children.
        for (place, spec) in &all.specs {
            let above = spec.key.path.parent().map(|path| InstanceKey { path, ..spec.key.clone() });
            let above = above.and_then(|key| known.get(&(place.0.clone(), key)).copied());
            let mut wish = spec.wanted;
            if let Some(above) = above {
                wish = wish.min(all.wishes[&above]);
                all.parents.insert(*place, above);
            }
            all.wishes.insert(*place, wish);
            known.insert((place.0.clone(), place.1.clone()), *place);
        }
        all
    }

    fn parent(&self, place: Place<'a>) -> Option<Place<'a>> {
        self.parents.get(&place).copied()
    }

    fn started(&self) -> BTreeSet<Place<'a>> {
        let mut started: BTreeSet<Place<'a>> = BTreeSet::new();
        let mut offers: Vec<Provider> = Vec::new();
        loop {
            let before = started.len();
            for (place, spec) in &self.specs {
                let may = self.wishes[place] == Wanted::Started
                    && !started.contains(place)
                    && self.parent(*place).is_none_or(|parent| started.contains(&parent));
                if may && resolve::missing(&spec.imports, &resolve::resolve(spec, &offers)).is_empty() {
                    started.insert(*place);
                    offers.push(provider(spec));
                }
            }
            if started.len() == before {
                return started;
            }
        }
    }
}

fn provider(spec: &InstanceSpec) -> Provider {
    Provider {
        key: spec.key.clone(),
        component: spec.component.clone(),
        exports: spec.exports.keys().map(|name| (name.clone(), String::new())).collect(),
        outside: spec.outside.keys().map(|name| (name.clone(), String::new())).collect(),
    }
}

impl World {
    /// What is not as it should be, in words; nothing when all is.
    pub(super) fn difference(&self) -> Option<String> {
        let mut expected: BTreeMap<&DeviceId, BTreeMap<InstanceKey, InstanceState>> = BTreeMap::new();
        let states = states(&self.store);
        for ((device, key), state) in &states {
            expected.entry(device).or_default().insert(key.clone(), *state);
        }
        let none = BTreeMap::new();
        let offers = self.offered();
        let difference = |id| self.device_difference(id, expected.get(id).unwrap_or(&none), &offers);
        self.store.devices.keys().find_map(difference)
    }

    /// What everybody offers who is started, with the values that they have.
    fn offered(&self) -> Vec<Provider> {
        let agents = self.agents.iter().filter(|agent| self.store.devices.contains_key(&agent.id));
        let pilots = agents.filter_map(|agent| agent.pilot.as_ref());
        let records = pilots.flat_map(|pilot| pilot.core().ledger().state.records.values());
        records.filter(|record| record.state == InstanceState::DeployedStarted).map(watch::provider).collect()
    }

    fn device_difference(
        &self,
        id: &DeviceId,
        expected: &BTreeMap<InstanceKey, InstanceState>,
        offers: &[Provider],
    ) -> Option<String> {
        let device = self.by_id[id];
        let Some(pilot) = &self.agents[device].pilot else { return Some(format!("d{device}: its agent does not run")) };
        let known = &self.store.devices[id];
        if !known.online || !self.manager.newest.contains_key(id) {
            return Some(format!("d{device}: is not connected"));
        }
        let ledger = pilot.core().ledger();
        let has = ledger.assignment.generation;
        if (has, known.accepted) != (known.generation, known.generation) {
            let (newest, accepted) = (known.generation, known.accepted);
            return Some(format!("d{device}: has assignment {has}, accepted {accepted}, of {newest}"));
        }
        let records = &ledger.state.records;
        for (key, state) in expected {
            let is = records.get(key).map(|record| record.state);
            if is != Some(*state) {
                let why = records.get(key).map(|record| {
                    format!("waits for {:?}, {:?}, hold {:?}", record.waits_for, record.failure, record.hold)
                });
                return Some(format!("d{device}: {key} is {is:?} and should be {state} ({})", why.unwrap_or_default()));
            }
        }
        if let Some(key) = records.keys().find(|key| !expected.contains_key(key)) {
            return Some(format!("d{device}: {key} is still there"));
        }
        for record in records.values().filter(|record| record.state == InstanceState::DeployedStarted) {
            let (told, there) = (&record.told.imports, resolve::resolve(&record.spec, offers));
            if record.spec.installer != Installer::Target && *told != there {
                return Some(format!("d{device}: {} was told {told:?}, and there is {there:?}", record.spec.key));
            }
        }
        self.told_difference(device, id)
    }

    /// What the manager was told is what the agent would tell.
    fn told_difference(&self, device: usize, id: &DeviceId) -> Option<String> {
        let core = self.agents[device].pilot.as_ref()?.core();
        let told = self.store.instances.get(id);
        let mut count = 0;
        for report in core.reports() {
            count += 1;
            let key = InstanceKey { application: report.application.clone(), path: report.path.clone() };
            let stored: Option<&InstanceReport> = told.and_then(|all| all.get(&key)).map(|instance| &instance.report);
            if stored != Some(&report) {
                return Some(format!("d{device}: of {key} the manager knows {stored:?}, the agent {report:?}"));
            }
            if !report.settled {
                return Some(format!("d{device}: {key} is not settled"));
            }
        }
        if told.map_or(0, BTreeMap::len) != count {
            return Some(format!("d{device}: the manager knows of instances that are gone"));
        }
        let spool = core.ledger().state.spool.len();
        (spool > 0).then(|| format!("d{device}: {spool} events are not told"))
    }

    /// What was promised for good and is not there: events of devices, one port for two instances.
    pub(super) fn lost(&self) -> Option<String> {
        for (id, told) in &self.store.told {
            let gaps = told.windows(2).find(|pair| pair[0].seq + 1 != pair[1].seq);
            if let Some(pair) = gaps {
                return Some(format!("{id}: event {} is followed by {}", pair[0].seq, pair[1].seq));
            }
            if told.first().is_some_and(|event| event.seq != 1) {
                return Some(format!("{id}: its first events are lost"));
            }
        }
        for (name, number) in &self.people.revisions {
            let newest = self.store.applications.get(name).map(|application| application.newest().number);
            if newest < Some(*number) {
                return Some(format!("revision {number} of {name} is lost: the newest is {newest:?}"));
            }
        }
        let mut ports: BTreeMap<(&DeviceId, u16), (&InstanceKey, &str)> = BTreeMap::new();
        for ((device, key, variable), port) in &self.store.ports {
            let local = variable.local.as_str();
            if let Some(other) = ports.insert((device, *port), (key, local)).filter(|other| *other != (key, local)) {
                return Some(format!("{device}: port {port} belongs to {key} and to {}", other.0));
            }
        }
        None
    }
}
