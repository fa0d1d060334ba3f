//! What is switched off on devices, many at once.
//!
//! A switch is the device's: a selector only says which devices get it now. Labels that change later change no switch.

use robo_model::name::{DeviceId, ProjectName};
use robo_wire::switch::{Off, Subsystem, SwitchOutcome, SwitchRequest, SwitchResult, Switches};

use super::error::{ServiceError, near};
use super::rename::meant;
use super::{Service, now, to_the_end};
use crate::bus::Ring;
use crate::store::DeviceRecord;

impl Service {
    /// Switches subsystems of devices off and on: one result for each device that was named or meant, in the order of
    /// their names. Those that can be changed are, all at once; their agents are told as soon as they are there.
    ///
    /// # Errors
    /// When the selector is none, too many devices are meant, or the store fails.
    pub async fn switch_devices(
        &self,
        project: &ProjectName,
        request: SwitchRequest,
        by: &str,
    ) -> Result<Vec<SwitchResult>, ServiceError> {
        let (service, project, by) = (self.clone(), project.clone(), by.to_owned());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let devices = service.store().devices(&project).await?;
            let (mut results, mut changes) = (Vec::new(), Vec::new());
            for (name, device) in meant(&devices, &request.targets)? {
                let near = || near(&name, devices.iter().map(|device| device.name.as_str()));
                results.push(match device {
                    None => unknown(name.clone(), near()),
                    Some(device) => switched(device, &request, &by, &mut changes),
                });
            }
            if !changes.is_empty() {
                service.store().set_switches(&project, &changes, &by, now()).await?;
                tracing::info!(%project, count = changes.len(), by, "switches changed");
                for (id, _) in changes {
                    // Its link looks, and tells it.
                    service.bus().ring(Ring::Identity(id));
                }
                service.bus().ring(Ring::Devices(project.clone()));
                service.bus().ring(Ring::Events(project));
            }
            Ok(results)
        })
        .await
    }
}

fn unknown(device: String, near: Option<String>) -> SwitchResult {
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let error = format!("there is no device `{device}`{near}");
    SwitchResult { device, outcome: SwitchOutcome::Failed, switches: Switches::default(), error }
}

/// What comes of it for one device. One that cannot have all of it gets none.
fn switched(
    device: &DeviceRecord,
    request: &SwitchRequest,
    by: &str,
    changes: &mut Vec<(DeviceId, Switches)>,
) -> SwitchResult {
    let result = |outcome, switches: &Switches, error| SwitchResult {
        device: device.name.to_string(),
        outcome,
        switches: switches.clone(),
        error,
    };
    let forbidden = |(subsystem, on): (&Subsystem, &bool)| {
        (*on && device.facts.without.iter().any(|name| name == subsystem.as_str())).then_some(*subsystem)
    };
    if let Some(subsystem) = request.set.iter().find_map(forbidden) {
        let error = format!(
            "the machine's owner forbids `{subsystem}` there: its agent runs with `--without`, which only the machine itself can change"
        );
        return result(SwitchOutcome::Failed, &device.switches, error);
    }
    let mut switches = device.switches.clone();
    for (subsystem, on) in &request.set {
        let name = subsystem.to_string();
        if *on {
            switches.off.remove(&name);
        } else {
            // Who switched it off first is who did.
            switches.off.entry(name).or_insert_with(|| Off { by: by.to_owned(), at: now() });
        }
    }
    if switches == device.switches {
        return result(SwitchOutcome::Same, &switches, String::new());
    }
    changes.push((device.id.clone(), switches.clone()));
    result(SwitchOutcome::Changed, &switches, String::new())
}
