//! Contact with devices: who is there, and whose exports lapse.

use std::collections::BTreeSet;

use robo_model::graph::Settings;
use robo_model::name::{ApplicationName, DeviceId};
use robo_model::quantity::Millis;
use robo_model::spec::InstanceKey;
use robo_wire::event::EventBody;

use super::Store;
use crate::sim::schedule::Time;

impl Store {
    /// The device's link came up. Says whose exports count again.
    ///
    /// # Errors
    /// When the device is not there.
    pub fn online(&mut self, id: &DeviceId) -> Result<BTreeSet<ApplicationName>, String> {
        let device = self.devices.get_mut(id).ok_or_else(|| format!("there is no device {id}"))?;
        if !device.online {
            self.events.push((Some(id.clone()), EventBody::Online));
        }
        device.online = true;
        device.lost_since = None;
        device.silent = false;
        let mut back = BTreeSet::new();
        for (key, instance) in self.instances.get_mut(id).into_iter().flatten().filter(|(_, it)| it.lapsed) {
            instance.lapsed = false;
            back.insert(key.application.clone());
        }
        Ok(back)
    }

    /// The device's link went down; it was heard until `last_heard`.
    pub fn offline(&mut self, id: &DeviceId, last_heard: Time, reason: &str) {
        let Some(device) = self.devices.get_mut(id).filter(|device| device.online) else { return };
        device.online = false;
        device.lost_since = Some(last_heard);
        self.events.push((Some(id.clone()), EventBody::Offline { reason: reason.to_owned() }));
    }

    /// A manager starts: nobody is connected, and contact is lost as of now.
    pub fn all_offline(&mut self, now: Time) {
        for device in self.devices.values_mut() {
            device.online = false;
            device.lost_since = Some(now);
        }
    }

    /// Lets lapse what is due. Says whose exports are withdrawn.
    pub fn lapse(&mut self, now: Time) -> BTreeSet<ApplicationName> {
        let mut gone = BTreeSet::new();
        let due: Vec<(DeviceId, InstanceKey)> =
            self.leases().filter(|(_, _, ends)| *ends <= now).map(|(id, key, _)| (id.clone(), key.clone())).collect();
        for (id, key) in due {
            if let Some(instance) = self.instances.get_mut(&id).and_then(|there| there.get_mut(&key)) {
                instance.lapsed = true;
                gone.insert(key.application.clone());
                self.events.push((Some(id), EventBody::LeaseEnded));
            }
        }
        gone
    }

    /// When the next lease ends.
    #[must_use]
    pub fn next_lapse(&self) -> Option<Time> {
        self.leases().map(|(_, _, ends)| ends).min()
    }

    fn leases(&self) -> impl Iterator<Item = (&DeviceId, &InstanceKey, Time)> {
        let lost = self.devices.iter().filter_map(|(id, device)| Some((id, device.lost_since?)));
        lost.flat_map(move |(id, since)| {
            let there = self.instances.get(id).into_iter().flatten();
            there.filter(|(_, instance)| !instance.lapsed).filter_map(move |(key, instance)| {
                let offers = !instance.report.exports.is_empty() || !instance.report.outside.is_empty();
                offers.then(|| (id, key, since + self.lease(id, key).0))
            })
        })
    }

    fn lease(&self, id: &DeviceId, key: &InstanceKey) -> Millis {
        let assignment = self.assignments.get(id);
        let spec = assignment.and_then(|assignment| assignment.instances.iter().find(|spec| spec.key == *key));
        spec.and_then(|spec| spec.settings.lease).unwrap_or(Settings::LEASE)
    }
}
