//! Taking a device to another project.

use robo_model::name::{DeviceName, ProjectName};
use robo_model::spec::InstanceKey;
use robo_wire::api::DeviceView;

use super::error::ServiceError;
use super::{Service, now, to_the_end};
use crate::bus::Ring;
use crate::store::Relocated;

/// Most instances that a refusal names.
const MAX_NAMED: usize = 5;

/// Why a device stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelocationError {
    /// The name is another one's there.
    #[error("project `{to}` has a device `{name}` already")]
    NameTaken {
        /// The name.
        name: DeviceName,
        /// Where it is taken.
        to: ProjectName,
    },
    /// The name is another one's in the same project.
    #[error("project `{project}` has another device `{name}`")]
    OthersName {
        /// The name.
        name: DeviceName,
        /// Where it is taken.
        project: ProjectName,
    },
    /// Applications name it.
    #[error("device `{name}` is named by what is on it, or not gone yet: {}", named(.instances))]
    Named {
        /// The device.
        name: DeviceName,
        /// By which.
        instances: Vec<InstanceKey>,
    },
    /// Applications have something on it.
    #[error("device `{name}` has instances of this project, or some that are not gone yet: {}", named(.instances))]
    InUse {
        /// The device.
        name: DeviceName,
        /// Which.
        instances: Vec<InstanceKey>,
    },
}

impl RelocationError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NameTaken { .. } => "enrol it there under another name, or remove the one that is there".to_owned(),
            Self::OthersName { .. } => "choose another name, or rename or remove the one that has it".to_owned(),
            Self::InUse { .. } | Self::Named { .. } => {
                "apply the application without it or delete it, and wait until the device has removed them".to_owned()
            }
        }
    }
}

fn named(instances: &[InstanceKey]) -> String {
    let mut text: Vec<String> =
        instances.iter().take(MAX_NAMED).map(|key| format!("{} of `{}`", key.path, key.application)).collect();
    if instances.len() > MAX_NAMED {
        text.push(format!("and {} more", instances.len() - MAX_NAMED));
    }
    text.join(", ")
}

impl Service {
    /// Takes a device to another project: it is the same device there, connected or not. What goes on on it from the old
    /// project ends. A device that is there already stays.
    ///
    /// # Errors
    /// When there is no such device or project, the name is taken there, something is on the device, or the store fails.
    pub async fn relocate_device(
        &self,
        project: &ProjectName,
        name: &DeviceName,
        to: &ProjectName,
        by: &str,
    ) -> Result<DeviceView, ServiceError> {
        self.check_project(to).await?;
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        let (to, by) = (to.clone(), by.to_owned());
        to_the_end(async move {
            // Neither a plan nor an enrolment may come in between.
            let _changing = service.0.change.lock().await;
            let _enrolling = service.0.enrolling.lock().await;
            let device = service.record_of(&project, &name).await?;
            if project == to {
                return service.device(&to, &name).await;
            }
            match service.store().relocate(&device.id, &to, &by, now()).await? {
                Relocated::Done => {}
                Relocated::NameTaken => return Err(RelocationError::NameTaken { name, to }.into()),
                Relocated::Full { max } => return Err(ServiceError::ProjectFull { project: to, max }),
                Relocated::InUse(instances) => return Err(RelocationError::InUse { name, instances }.into()),
            }
            tracing::info!(device = %device.id, %name, from = %project, %to, by, "moved to another project");
            service.move_rights();
            service.bus().ring(Ring::Moved(device.id));
            for project in [project, to.clone()] {
                service.bus().ring(Ring::Devices(project.clone()));
                service.bus().ring(Ring::Events(project));
            }
            service.device(&to, &name).await
        })
        .await
    }
}
