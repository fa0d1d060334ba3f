//! Commands and shells within an instance: on which device, and as whom.

use robo_model::name::ProjectName;
use robo_model::spec::InstanceKey;
use robo_wire::stream::{Command, Targets};

use super::problem::Refusal;
use crate::service::{Service, ServiceError};
use crate::store::DeviceRecord;

/// The targets of a command, and how its one target is shown where it is an instance. Such a command gets the user that it
/// runs as there, so that whoever orders it is judged by that.
pub(super) async fn resolve(
    service: &Service,
    project: &ProjectName,
    (asked, command): (Targets, &mut Command),
) -> Result<(Targets, Option<String>), Refusal> {
    let Some(key) = &command.within else { return Ok((asked, None)) };
    let shown = key.to_string();
    if asked != Targets::Names(vec![shown.clone()]) {
        let title = format!("a command within an instance has one target, which is named as that is: `{shown}`");
        return Err(Refusal::bad_request(title));
    }
    let device = service.device_of(project, &key.application, &key.path).await?;
    if command.user.is_none() {
        command.user = user(service, &device, key).await?;
    }
    Ok((Targets::Names(vec![device.name.to_string()]), Some(shown)))
}

/// The user that an instance runs as on its device: the one that it names, else the agent's own; nothing where it names
/// none and the agent was told of none to keep people to.
pub(super) async fn user(
    service: &Service,
    device: &DeviceRecord,
    key: &InstanceKey,
) -> Result<Option<String>, ServiceError> {
    let assignment = service.store().assignment(&device.id).await?;
    let spec = assignment.and_then(|all| all.instances.into_iter().find(|spec| spec.key == *key));
    let own = Some(&device.facts.agent_user).filter(|user| !user.is_empty());
    Ok(spec.and_then(|spec| spec.settings.user).or_else(|| own.cloned()))
}
