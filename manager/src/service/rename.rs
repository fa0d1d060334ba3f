//! What an operator calls devices: their names, and labels of many at once.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::label::{Labels, Selector, check_label};
use robo_model::limits::MAX_LABELS;
use robo_model::name::{DeviceName, ProjectName};
use robo_wire::api::{DeviceChange, DeviceView, LabelOutcome, LabelResult, LabelsRequest, MAX_LABELLED};
use robo_wire::stream::Targets;

use super::error::{ServiceError, near};
use super::relocate::RelocationError;
use super::{Service, now, to_the_end};
use crate::bus::Ring;
use crate::store::{DeviceRecord, Renamed};

impl Service {
    /// Gives a device another name; it is the same device, and the old name is free. The same name changes nothing.
    ///
    /// # Errors
    /// When there is no such device, the name is another one's, applications name the device, or the store fails.
    pub async fn rename_device(
        &self,
        project: &ProjectName,
        name: &DeviceName,
        to: &DeviceName,
        by: &str,
    ) -> Result<DeviceView, ServiceError> {
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        let (to, by) = (to.clone(), by.to_owned());
        to_the_end(async move {
            // Neither a plan nor an enrolment may come in between.
            let _changing = service.0.change.lock().await;
            let _enrolling = service.0.enrolling.lock().await;
            let device = service.record_of(&project, &name).await?;
            if name == to {
                return service.device(&project, &to).await;
            }
            match service.store().rename_device(&device.id, &to, &by, now()).await? {
                Renamed::Done => {}
                Renamed::NameTaken => return Err(RelocationError::OthersName { name: to, project }.into()),
                Renamed::InUse(instances) => return Err(RelocationError::Named { name, instances }.into()),
            }
            tracing::info!(device = %device.id, %name, %to, by, "renamed");
            // Its link looks, and tells it.
            service.bus().ring(Ring::Identity(device.id));
            service.bus().ring(Ring::Devices(project.clone()));
            service.bus().ring(Ring::Events(project.clone()));
            service.device(&project, &to).await
        })
        .await
    }

    /// Changes labels of many devices: one result for each that was named or meant, in the order of their names. Those
    /// that can be changed are, all at once; where it is a dry run, none is.
    ///
    /// # Errors
    /// When labels contradict each other or break their rules, the selector is none, too many devices are meant, or the
    /// store fails.
    pub async fn label_devices(
        &self,
        project: &ProjectName,
        request: LabelsRequest,
    ) -> Result<Vec<LabelResult>, ServiceError> {
        let LabelsRequest { targets, set, unset, dry_run } = request;
        let change = DeviceChange { set, unset };
        check_change(&change)?;
        let (service, project) = (self.clone(), project.clone());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let devices = service.store().devices(&project).await?;
            let (results, changes) = changed(&devices, &targets, &change)?;
            if !dry_run && !changes.is_empty() {
                let count = changes.len();
                service.store().set_labels_of_many(&project, &changes, now()).await?;
                tracing::info!(%project, count, "labels changed");
                service.move_rights();
                service.bus().ring(Ring::Devices(project.clone()));
                service.bus().ring(Ring::Events(project));
            }
            Ok(results)
        })
        .await
    }
}

type Changes = Vec<(robo_model::name::DeviceId, Labels)>;

/// What comes of the change for each device that is meant, and the labels of those that it changes.
fn changed(
    devices: &[DeviceRecord],
    targets: &Targets,
    change: &DeviceChange,
) -> Result<(Vec<LabelResult>, Changes), ServiceError> {
    let (mut results, mut changes) = (Vec::new(), Changes::new());
    for (name, device) in meant(devices, targets)? {
        let Some(device) = device else {
            let near = near(&name, devices.iter().map(|device| device.name.as_str()));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let error = format!("there is no device `{name}`{near}");
            results.push(LabelResult { device: name, outcome: LabelOutcome::Failed, labels: Labels::new(), error });
            continue;
        };
        let (mut outcome, mut error) = (LabelOutcome::Same, String::new());
        let mut labels = with(&device.labels, change);
        if labels.len() > MAX_LABELS {
            error = ServiceError::TooManyLabels { count: labels.len(), max: MAX_LABELS }.to_string();
            outcome = LabelOutcome::Failed;
            labels.clone_from(&device.labels);
        } else if labels != device.labels {
            outcome = LabelOutcome::Changed;
            changes.push((device.id.clone(), labels.clone()));
        }
        results.push(LabelResult { device: name, outcome, labels, error });
    }
    Ok((results, changes))
}

/// The devices that are meant, by name; nothing for a name that no device has.
pub(super) fn meant<'a>(
    devices: &'a [DeviceRecord],
    targets: &Targets,
) -> Result<BTreeMap<String, Option<&'a DeviceRecord>>, ServiceError> {
    let named = |device: &'a DeviceRecord| (device.name.to_string(), Some(device));
    let meant: BTreeMap<String, Option<&DeviceRecord>> = match targets {
        Targets::All => devices.iter().map(named).collect(),
        Targets::Selector(text) => {
            let selector: Selector = text.parse()?;
            devices.iter().filter(|device| selector.matches(&device.labels)).map(named).collect()
        }
        Targets::Names(names) => {
            let names: BTreeSet<&str> = names.iter().take(MAX_LABELLED + 1).map(String::as_str).collect();
            let mut all: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), None)).collect();
            all.extend(devices.iter().filter(|device| names.contains(device.name.as_str())).map(named));
            all
        }
    };
    if meant.len() > MAX_LABELLED {
        return Err(ServiceError::TooManyLabelled { count: meant.len(), max: MAX_LABELLED });
    }
    Ok(meant)
}

/// The labels after a change.
pub(super) fn with(labels: &Labels, change: &DeviceChange) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|key, _| !change.unset.contains(key));
    labels.extend(change.set.clone());
    labels
}

/// Refuses a change that contradicts itself, or labels that are none.
pub(super) fn check_change(change: &DeviceChange) -> Result<(), ServiceError> {
    if let Some(key) = change.unset.iter().find(|key| change.set.contains_key(*key)) {
        return Err(ServiceError::LabelTwice(key.clone()));
    }
    for (key, value) in &change.set {
        check_label(key, value)?;
    }
    Ok(())
}
