//! The double of the store: in memory, one project, the same rules.
//!
//! What it decides it asks `robo_manager::store::rules`, as the real store does; that the rest agrees is held by
//! `tests/tests/sim/store.rs`, which does the same random things to both. Each call is one transaction: what it wrote
//! outlives a manager that is killed, what was asked and not yet done does not.

mod assign;
mod leases;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use robo_manager::plan::{Desired, Overrides, Ports, Prefixes};
use robo_model::label::Labels;
use robo_model::name::{ApplicationName, DeviceId, DeviceName, InstancePath};
use robo_model::spec::{Assignment, Generation, InstanceKey, InstanceSpec};
use robo_model::state::InstanceReport;
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::plan::Bound;

use super::schedule::Time;

/// Where each instance of an application is: what a device should run of it.
pub type Specs = BTreeMap<DeviceId, Vec<InstanceSpec>>;

/// One enrolled device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// The newest assignment made for it.
    pub generation: Generation,
    /// The newest one it accepted.
    pub accepted: Generation,
    /// Why it refused a newer one.
    pub refused: Option<String>,
    /// The highest number of its own events that is stored.
    pub events_stored: u64,
    /// Whether it is connected.
    pub online: bool,
    /// Since when it is out of contact.
    pub lost_since: Option<Time>,
    /// Whether it was told of as silent.
    pub silent: bool,
}

/// An application as it was applied once.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// What it compiled to.
    pub desired: Desired,
    /// Which device each host is.
    pub hosts: BTreeMap<InstancePath, Bound>,
}

/// An application as it stands.
#[derive(Debug, Clone)]
pub struct Application {
    /// Every revision, the newest last.
    pub revisions: Vec<Revision>,
    /// What people asked for beside it.
    pub overrides: Overrides,
    /// Where its external imports come from.
    pub bound_to: Prefixes,
}

impl Application {
    /// The newest revision.
    ///
    /// # Panics
    /// Never: an application has one.
    #[must_use]
    pub fn newest(&self) -> &Revision {
        self.revisions.last().unwrap()
    }
}

/// What a device told of an instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The report, cut to what the instance may offer.
    pub report: InstanceReport,
    /// Whether its exports count as withdrawn because its device is out of contact.
    pub lapsed: bool,
}

/// Everything that a manager knows.
#[derive(Debug, Default)]
pub struct Store {
    /// The devices.
    pub devices: BTreeMap<DeviceId, Device>,
    /// The applications.
    pub applications: BTreeMap<ApplicationName, Application>,
    /// Ports that were handed out.
    pub ports: Ports,
    /// What each device should run.
    pub assignments: BTreeMap<DeviceId, Assignment>,
    /// What each device told of its instances.
    pub instances: BTreeMap<DeviceId, BTreeMap<InstanceKey, Instance>>,
    /// What each device told of what happened there.
    pub told: BTreeMap<DeviceId, Vec<AgentEvent>>,
    /// What else happened: on which device, and what.
    pub events: Vec<(Option<DeviceId>, EventBody)>,
}

impl Store {
    /// A device is enrolled.
    pub fn enrol(&mut self, id: DeviceId, name: DeviceName, now: Time) {
        let device = Device {
            name,
            labels: Labels::default(),
            generation: Generation::default(),
            accepted: Generation::default(),
            refused: None,
            events_stored: 0,
            online: false,
            lost_since: Some(now),
            silent: false,
        };
        self.devices.insert(id.clone(), device);
        self.events.push((Some(id), EventBody::Enrolled));
    }

    /// The names of everything in an application's assignments: who has something of it.
    pub(super) fn devices_of(&self, application: &ApplicationName) -> BTreeSet<DeviceId> {
        let has =
            |assignment: &Assignment| assignment.instances.iter().any(|spec| spec.key.application == *application);
        self.assignments.iter().filter(|(_, assignment)| has(assignment)).map(|(id, _)| id.clone()).collect()
    }

    /// Who has something of an application, or told of something that is not gone yet.
    pub(super) fn devices_with(&self, application: &ApplicationName) -> BTreeSet<DeviceId> {
        let mut all = self.devices_of(application);
        let told = self.instances.iter().filter(|(_, there)| there.keys().any(|key| key.application == *application));
        all.extend(told.map(|(id, _)| id.clone()));
        all
    }
}
