//! What should be, and what is.

use std::collections::BTreeMap;

use robo_model::name::{ApplicationName, DeviceId, InstancePath, ProjectName};
use robo_model::state::{InstanceState, Wanted};
use robo_wire::api::{ApplicationView, InstanceView, Status};

use super::Service;
use super::error::{ServiceError, near};
use crate::store::{ApplicationSummary, DeviceRecord, ReportedInstance};

type Overrides = BTreeMap<ApplicationName, BTreeMap<InstancePath, Wanted>>;

impl Service {
    /// The applications and their instances: of the project, or of one application.
    ///
    /// # Errors
    /// When there is no such application and nothing is left of it, or the store fails.
    pub async fn status(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Status, ServiceError> {
        let cursor = self.cursor(project).await?;
        // Devices before instances: an older report must never be taken for one made under a newer assignment.
        let devices: BTreeMap<DeviceId, DeviceRecord> =
            self.store().devices(project).await?.into_iter().map(|device| (device.id.clone(), device)).collect();
        let mut applications = self.store().applications(project).await?;
        let instances = self.store().instances(project, application).await?;
        if let Some(name) = application {
            applications.retain(|summary| summary.name == *name);
            if applications.is_empty() && instances.is_empty() {
                return Err(self.no_application(project, name).await?);
            }
        }
        let overrides = self.store().all_overrides(project).await?;
        let instances = instances
            .into_iter()
            .filter_map(|instance| devices.get(&instance.device).map(|device| view(instance, device, &overrides)))
            .collect();
        Ok(Status { cursor, applications: applications.into_iter().map(application_view).collect(), instances })
    }

    /// The project's applications.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn applications(&self, project: &ProjectName) -> Result<Vec<ApplicationView>, ServiceError> {
        Ok(self.store().applications(project).await?.into_iter().map(application_view).collect())
    }

    /// The device that an instance lives on, or lived on last.
    ///
    /// # Errors
    /// When there is no such application or instance, or the store fails.
    pub async fn device_of(
        &self,
        project: &ProjectName,
        application: &ApplicationName,
        path: &InstancePath,
    ) -> Result<DeviceRecord, ServiceError> {
        let instances = self.store().instances(project, Some(application)).await?;
        let there = instances.iter().filter(|instance| instance.key.path == *path);
        // After a move it may stand on two devices: the one where it should be goes first.
        let device = match there.max_by_key(|instance| instance.wanted.is_some()) {
            Some(instance) => self.store().device(&instance.device).await?,
            None => None,
        };
        match device {
            Some(device) => Ok(device),
            None if instances.is_empty() => Err(self.no_application(project, application).await?),
            None => Err(ServiceError::NoInstance {
                application: application.clone(),
                path: path.clone(),
                near: near(path.as_str(), instances.iter().map(|instance| instance.key.path.as_str())),
            }),
        }
    }
}

fn application_view(summary: ApplicationSummary) -> ApplicationView {
    ApplicationView {
        name: summary.name,
        revision: summary.revision,
        version: summary.version,
        applied_at: summary.applied_at,
    }
}

fn view(instance: ReportedInstance, device: &DeviceRecord, overrides: &Overrides) -> InstanceView {
    let overridden = instance.wanted.is_some_and(|wanted| wanted != Wanted::default())
        || overrides.get(&instance.key.application).is_some_and(|of_it| of_it.contains_key(&instance.key.path));
    let settled = device.reported >= device.generation && instance.report.as_ref().is_some_and(|r| r.settled);
    InstanceView {
        lapsed: false,
        settled,
        application: instance.key.application,
        path: instance.key.path,
        component: instance.component,
        installer: instance.installer,
        device: device.name.clone(),
        online: device.online,
        overridden: overridden && instance.wanted.is_some(),
        wanted: instance.wanted,
        state: instance.report.as_ref().map_or(InstanceState::NotDeployed, |report| report.state),
        report: instance.report,
    }
}
