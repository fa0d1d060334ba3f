//! Assignments: made with each change of an application, numbered when they differ.

use std::collections::BTreeSet;

use robo_manager::plan::{Overrides, Ports, Prefixes};
use robo_model::name::{ApplicationName, DeviceId};
use robo_model::spec::{Assignment, Generation, InstanceSpec};

use super::{Application, Revision, Specs, Store};

impl Store {
    /// Everything the device should run; nothing before the first time.
    #[must_use]
    pub fn assignment(&self, id: &DeviceId) -> Option<Assignment> {
        self.assignments.get(id).cloned()
    }

    /// Writes a revision and what follows from it; overrides are dropped. Says whose assignment moved.
    ///
    /// # Errors
    /// When a device is not there, or somebody else wrote that revision first: nothing is written.
    pub fn apply(&mut self, revision: Revision, ports: &Ports, specs: &Specs) -> Result<Vec<DeviceId>, String> {
        let name = revision.desired.application.name.clone();
        let newest = self.applications.get(&name).map_or(0, |application| application.newest().number);
        if revision.number != newest + 1 {
            return Err(format!("revision {} is there already", revision.number));
        }
        self.check_devices(specs)?;
        let standing = self.applications.entry(name.clone()).or_insert_with(|| Application {
            revisions: Vec::new(),
            overrides: Overrides::default(),
            bound_to: Prefixes::new(),
        });
        standing.revisions.push(revision);
        standing.overrides.wanted.clear();
        self.ports.extend(ports.iter().map(|(key, port)| (key.clone(), *port)));
        let there: BTreeSet<_> =
            specs.iter().flat_map(|(device, specs)| specs.iter().map(move |spec| (device, &spec.key))).collect();
        self.ports.retain(|(device, key, _), _| key.application != name || there.contains(&(device, key)));
        Ok(self.assign(&name, specs))
    }

    /// Replaces the application's overrides. Says whose assignment moved.
    ///
    /// # Errors
    /// When there is no such application, or a device is not there.
    pub fn set_overrides(
        &mut self,
        name: &ApplicationName,
        overrides: Overrides,
        specs: &Specs,
    ) -> Result<Vec<DeviceId>, String> {
        self.check_devices(specs)?;
        let application = self.applications.get_mut(name).ok_or("there is no such application")?;
        application.overrides = overrides;
        Ok(self.assign(name, specs))
    }

    /// Replaces the application's bindings. Says whose assignment moved.
    ///
    /// # Errors
    /// When there is no such application, or a device is not there.
    pub fn bind(&mut self, name: &ApplicationName, bound_to: Prefixes, specs: &Specs) -> Result<Vec<DeviceId>, String> {
        self.check_devices(specs)?;
        let application = self.applications.get_mut(name).ok_or("there is no such application")?;
        application.bound_to = bound_to;
        Ok(self.assign(name, specs))
    }

    /// Deletes the application. Says whose assignment moved.
    ///
    /// # Errors
    /// When there is no such application.
    pub fn delete(&mut self, name: &ApplicationName) -> Result<Vec<DeviceId>, String> {
        self.applications.remove(name).ok_or("there is no such application")?;
        Ok(self.assign(name, &Specs::new()))
    }

    /// Removes a device with all that it had and told.
    pub fn remove_device(&mut self, id: &DeviceId) {
        self.devices.remove(id);
        self.assignments.remove(id);
        self.instances.remove(id);
        self.told.remove(id);
        self.ports.retain(|(device, _, _), _| device != id);
    }

    /// Gives the device's newest assignment the number `to` when it has the number `from`: its content stays. Answers with
    /// the number that it has otherwise.
    ///
    /// # Errors
    /// When the device is not there.
    pub fn raise_generation(
        &mut self,
        id: &DeviceId,
        from: Generation,
        to: Generation,
    ) -> Result<Option<Generation>, String> {
        let device = self.devices.get_mut(id).ok_or_else(|| format!("there is no device {id}"))?;
        if device.generation != from {
            return Ok(Some(device.generation));
        }
        device.generation = to;
        if let Some(assignment) = self.assignments.get_mut(id) {
            assignment.generation = to;
        }
        Ok(None)
    }

    /// The device has this assignment on its disk. An older one than it had before changes nothing.
    pub fn accepted(&mut self, id: &DeviceId, generation: Generation) {
        if let Some(device) = self.devices.get_mut(id).filter(|device| device.accepted <= generation) {
            device.accepted = generation;
            device.refused = None;
        }
    }

    /// The device cannot take this assignment.
    pub fn refused(&mut self, id: &DeviceId, generation: Generation, reason: &str) {
        if let Some(device) = self.devices.get_mut(id).filter(|device| device.accepted < generation) {
            device.refused = Some(format!("assignment {generation}: {reason}"));
        }
    }

    fn check_devices(&self, specs: &Specs) -> Result<(), String> {
        match specs.keys().find(|id| !self.devices.contains_key(*id)) {
            Some(id) => Err(format!("there is no device {id}")),
            None => Ok(()),
        }
    }

    /// Gives every device that has or had something of the application its new assignment; one that stays the same
    /// keeps its generation.
    fn assign(&mut self, name: &ApplicationName, specs: &Specs) -> Vec<DeviceId> {
        let mut touched: BTreeSet<DeviceId> = self.devices_of(name);
        touched.extend(specs.keys().cloned());
        let none = Vec::new();
        touched.retain(|id| self.assign_device(id, name, specs.get(id).unwrap_or(&none)));
        touched.into_iter().collect()
    }

    fn assign_device(&mut self, id: &DeviceId, name: &ApplicationName, specs: &[InstanceSpec]) -> bool {
        let old = self.assignments.get(id).cloned().unwrap_or_default();
        let others = old.instances.iter().filter(|spec| spec.key.application != *name);
        let mut instances: Vec<InstanceSpec> = others.chain(specs).cloned().collect();
        instances.sort_by(|a, b| a.key.cmp(&b.key));
        let Some(device) = self.devices.get_mut(id).filter(|_| instances != old.instances) else { return false };
        device.generation = device.generation.next();
        self.assignments.insert(id.clone(), Assignment { generation: device.generation, instances });
        true
    }
}
