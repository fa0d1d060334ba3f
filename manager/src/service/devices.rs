//! The devices of a project, as people see them.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::limits::MAX_LABELS;
use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_wire::api::{Accepted, DeviceChange, DeviceState, DeviceView, Standing};

use super::error::{ServiceError, near};
use super::rename::{check_change, with};
use super::{Service, now, to_the_end};
use crate::bus::Ring;
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

    /// The device with this name, with what runs on it.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn device(&self, project: &ProjectName, name: &DeviceName) -> Result<DeviceView, ServiceError> {
        let device = self.record_of(project, name).await?;
        let instances = self.store().instances_of(&device.id, device.silent).await?;
        let of_it: BTreeSet<&ApplicationName> = instances.iter().map(|instance| &instance.application).collect();
        let of_it = of_it.into_iter().cloned().collect();
        Ok(DeviceView { instances, ..view(device, of_it) })
    }

    /// Changes the device's labels. The same change again changes nothing.
    ///
    /// # Errors
    /// When there is no such device, labels break their bounds or contradict each other, or the store fails.
    pub async fn change_device(
        &self,
        project: &ProjectName,
        name: &DeviceName,
        change: DeviceChange,
    ) -> Result<DeviceView, ServiceError> {
        check_change(&change)?;
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let device = service.record_of(&project, &name).await?;
            let labels = with(&device.labels, &change);
            if labels.len() > MAX_LABELS {
                return Err(ServiceError::TooManyLabels { count: labels.len(), max: MAX_LABELS });
            }
            if service.store().set_labels(&device.id, &labels, now()).await? {
                service.move_rights();
                service.bus().ring(Ring::Devices(project.clone()));
                service.bus().ring(Ring::Events(project.clone()));
            }
            service.device(&project, &name).await
        })
        .await
    }

    /// Removes a device: its link is cut, its key is worth nothing any more, and what it offered is withdrawn. What runs
    /// on it is left as it is.
    ///
    /// # Errors
    /// When there is no such device, when it is the host of an application and this is not forced, or the store fails.
    pub async fn remove_device(
        &self,
        project: &ProjectName,
        name: &DeviceName,
        force: bool,
    ) -> Result<Accepted, ServiceError> {
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        to_the_end(async move {
            // Neither a plan nor an enrolment may come in between.
            let _changing = service.0.change.lock().await;
            let _enrolling = service.0.enrolling.lock().await;
            let device = service.record_of(&project, &name).await?;
            let hosts = service.store().hosts_on(&device.id).await?;
            if !force && !hosts.is_empty() {
                return Err(ServiceError::DeviceInUse { name, hosts });
            }
            let removed = service.store().remove_device(&device.id, now()).await?;
            tracing::info!(device = %device.id, %name, "removed");
            service.bus().ring(Ring::Removed(device.id));
            for application in removed.exports_changed {
                service.bus().ring(Ring::Exports(project.clone(), application));
            }
            if let Some(needs) = Ring::needs(&project, removed.release_changed) {
                service.bus().ring(needs);
            }
            service.bus().ring(Ring::Devices(project.clone()));
            service.bus().ring(Ring::Events(project));
            Ok(Accepted { instances: hosts.into_iter().map(|key| key.path).collect(), cursor: removed.cursor })
        })
        .await
    }

    /// What is stored of the device with this name.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(crate) async fn record_of(
        &self,
        project: &ProjectName,
        name: &DeviceName,
    ) -> Result<DeviceRecord, ServiceError> {
        if let Some(device) = self.store().device_named(project, name).await? {
            return Ok(device);
        }
        let devices = self.store().devices(project).await?;
        let near = near(name.as_str(), devices.iter().map(|device| device.name.as_str()));
        Err(ServiceError::NoDevice { name: name.clone(), near })
    }
}

const fn state(device: &DeviceRecord) -> DeviceState {
    match (device.standing, device.online, device.last_seen) {
        (Standing::Pending, ..) => DeviceState::Pending,
        (Standing::Revoked, ..) if device.rejected => DeviceState::Rejected,
        (Standing::Revoked, ..) => DeviceState::Revoked,
        (Standing::Accepted, true, _) => DeviceState::Online,
        (Standing::Accepted, false, None) => DeviceState::New,
        (Standing::Accepted, false, Some(_)) if device.silent => DeviceState::Silent,
        (Standing::Accepted, false, Some(_)) => DeviceState::Offline,
    }
}

fn view(device: DeviceRecord, applications: Vec<ApplicationName>) -> DeviceView {
    DeviceView {
        state: state(&device),
        since: device.state_since,
        enrolled_by: device.enrolled_by,
        instances: Vec::new(),
        silent: device.silent,
        id: device.id,
        name: device.name,
        labels: device.labels,
        facts: device.facts,
        key_fingerprint: device.key_fingerprint,
        standing: device.standing,
        online: device.online,
        reason: if device.online { String::new() } else { device.reason },
        certificate_ends: device.certificate_ends,
        enrolled_at: device.enrolled_at,
        last_seen: device.last_seen,
        generation: device.generation,
        accepted: device.accepted,
        refused: device.refused,
        switches: device.switches,
        applications,
    }
}
