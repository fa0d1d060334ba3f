//! What devices tell, and what others may know of it.

use std::collections::{BTreeMap, BTreeSet};

use robo_manager::store::Recorded;
use robo_manager::store::rules::{self, Named, Touched};
use robo_model::name::{ApplicationName, DeviceId};
use robo_model::release::{self, Known};
use robo_model::resolve::Provider;
use robo_model::spec::InstanceKey;
use robo_model::state::InstanceReport;
use robo_wire::event::AgentEvent;
use robo_wire::link::Update;

use super::{Instance, Store};

impl Store {
    /// Stores what a device told. Told twice, it changes nothing the second time.
    ///
    /// # Errors
    /// When the device is not there.
    pub fn record(&mut self, id: &DeviceId, update: &Update) -> Result<Recorded, String> {
        let device = self.devices.get_mut(id).ok_or_else(|| format!("there is no device {id}"))?;
        let mut touched = Touched::default();
        let named = self.assignments.get(id);
        let named = |key: &InstanceKey| named?.instances.iter().find(|spec| spec.key == *key).map(Named::of);
        let there = self.instances.entry(id.clone()).or_default();
        let assigned = self.assignments.get(id);
        let is_assigned = |key: &InstanceKey| {
            assigned.is_some_and(|all| all.instances.binary_search_by(|spec| spec.key.cmp(key)).is_ok())
        };
        let (mut unknown, mut unnamed) = (BTreeSet::new(), BTreeMap::new());
        for report in &update.reports {
            let key = rules::key_of(report);
            if !there.contains_key(&key) && !is_assigned(&key) {
                unknown.insert(key);
                continue;
            }
            let report = &*rules::bounded(report);
            let offers = !report.exports.is_empty() || !report.outside.is_empty();
            let named = if offers { named(&key) } else { None };
            let variables = rules::unnamed(report, named.as_ref());
            if !variables.is_empty() {
                unnamed.insert(key.clone(), variables);
            }
            let report = rules::cut(report, named.as_ref()).into_owned();
            let old = there.get(&key);
            if old.is_some_and(|old| old.report == report) {
                continue;
            }
            touched.note(old.map(|old| &old.report), Some(&report));
            let lapsed = old.is_some_and(|old| old.lapsed);
            there.insert(key, Instance { report, lapsed });
        }
        let (news, stored) = rules::news(device.events_stored, &update.events);
        let is_its_own = |key: &InstanceKey| there.contains_key(key) || is_assigned(key);
        let news: Vec<AgentEvent> = news
            .into_iter()
            .map(|event| AgentEvent { key: event.key.clone().filter(is_its_own), ..event.clone() })
            .collect();
        let mut gone: Vec<InstanceKey> = update.removed.clone();
        if update.full {
            let named: BTreeSet<InstanceKey> = update.reports.iter().map(rules::key_of).collect();
            gone.extend(there.keys().filter(|key| !named.contains(*key)).cloned());
        }
        for key in gone {
            let old = there.remove(&key);
            touched.note(old.as_ref().map(|old| &old.report), None);
        }
        let events_added = !news.is_empty();
        self.told.entry(id.clone()).or_default().extend(news);
        device.events_stored = stored;
        if !self.somebody_waits() {
            touched.release.clear();
        }
        Ok(Recorded {
            events_stored: stored,
            exports_changed: touched.offers.into_iter().collect(),
            release_changed: touched.release.into_iter().collect(),
            events_added,
            unknown,
            unnamed,
        })
    }

    /// The instances of these applications that offer something right now. Only what is assigned counts.
    #[must_use]
    pub fn providers(&self, applications: &[ApplicationName]) -> Vec<(DeviceId, Provider)> {
        let mut providers = Vec::new();
        for application in applications {
            for (id, there) in &self.instances {
                let of_it = there.iter().filter(|(key, instance)| key.application == *application && !instance.lapsed);
                for (key, instance) in of_it {
                    let report = &instance.report;
                    let offers = !report.exports.is_empty() || !report.outside.is_empty();
                    if offers && self.is_assigned(id, key) {
                        providers.push((id.clone(), rules::provider(report.clone())));
                    }
                }
            }
        }
        providers
    }

    /// Who waits for consumers to stop, and may stop as far as other devices are concerned, in these applications and
    /// all that are connected with them.
    #[must_use]
    pub fn released(&self, applications: &[ApplicationName]) -> BTreeSet<(DeviceId, InstanceKey)> {
        if !self.somebody_waits() {
            return BTreeSet::new();
        }
        let reports = || self.instances.values().flat_map(|there| there.values()).map(|instance| &instance.report);
        let reaching: BTreeSet<(&ApplicationName, &ApplicationName)> = reports()
            .flat_map(|report| rules::reaches(report).into_iter().map(|other| (&report.application, other)))
            .collect();
        let applications = rules::connected(applications, reaching);
        let mut rows: Vec<(&DeviceId, bool, InstanceReport)> = Vec::new();
        for (id, there) in &self.instances {
            let online = self.devices.get(id).is_some_and(|device| device.online);
            for (key, instance) in there.iter().filter(|(key, _)| applications.contains(&key.application)) {
                let mut report = instance.report.clone();
                if instance.lapsed || !self.is_assigned(id, key) {
                    report.exports.clear();
                    report.outside.clear();
                }
                rows.push((id, online, report));
            }
        }
        release::released(rows.iter().map(|(device, online, report)| Known { device, online: *online, report }))
    }

    pub(super) fn is_assigned(&self, id: &DeviceId, key: &InstanceKey) -> bool {
        let has = |assignment: &robo_model::spec::Assignment| {
            assignment.instances.binary_search_by(|spec| spec.key.cmp(key)).is_ok()
        };
        self.assignments.get(id).is_some_and(has)
    }

    /// What every device told last, by instance.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<(&DeviceId, &InstanceKey), &InstanceReport> {
        let of = |(id, there)| -> Vec<_> {
            let there: &BTreeMap<InstanceKey, Instance> = there;
            there.iter().map(|(key, instance)| ((id, key), &instance.report)).collect()
        };
        self.instances.iter().flat_map(of).collect()
    }

    pub(super) fn somebody_waits(&self) -> bool {
        let waits = |instance: &Instance| !instance.report.held_for.is_empty();
        self.instances.values().any(|there| there.values().any(waits))
    }
}
