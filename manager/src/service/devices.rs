//! The devices of a project, as people see them.

use std::collections::BTreeMap;

use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_wire::api::DeviceView;

use super::Service;
use super::error::{ServiceError, near};
use crate::store::DeviceRecord;

impl Service {
    /// The project's devices, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn devices(&self, project: &ProjectName) -> Result<Vec<DeviceView>, ServiceError> {
        let mut applications: BTreeMap<DeviceId, Vec<ApplicationName>> = BTreeMap::new();
        for (device, application) in self.store().assigned_applications(project).await? {
            applications.entry(device).or_default().push(application);
        }
        let view = |device: DeviceRecord| {
            let mut of_it = applications.remove(&device.id).unwrap_or_default();
            of_it.sort();
            view(device, of_it)
        };
        Ok(self.store().devices(project).await?.into_iter().map(view).collect())
    }

    /// The device with this name.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn device(&self, project: &ProjectName, name: &DeviceName) -> Result<DeviceView, ServiceError> {
        let devices = self.devices(project).await?;
        let near = near(name.as_str(), devices.iter().map(|device| device.name.as_str()));
        devices
            .into_iter()
            .find(|device| device.name == *name)
            .ok_or_else(|| ServiceError::NoDevice { name: name.clone(), near })
    }
}

fn view(device: DeviceRecord, applications: Vec<ApplicationName>) -> DeviceView {
    DeviceView {
        silent: false,
        id: device.id,
        name: device.name,
        labels: device.labels,
        facts: device.facts,
        key_fingerprint: device.key_fingerprint,
        online: device.online,
        enrolled_at: device.enrolled_at,
        last_seen: device.last_seen,
        generation: device.generation,
        accepted: device.accepted,
        refused: device.refused,
        applications,
    }
}
