//! Who may act on a device as another than the user that it runs commands as: that takes the right to `root`.
//!
//! A device whose agent was told no such user asks for nothing more than the right to what is done there.

use robo_model::access::Verb;
use robo_model::name::{DeviceName, ProjectName};
use robo_wire::api::AuditOutcome;

use super::ApiState;
use super::auth::May;
use super::problem::Refusal;
use crate::service::ServiceError;
use crate::store::DeviceRecord;

/// Why a target of a command is refused.
pub(super) const REASON: &str =
    "you may not run commands there as another user than the device's own: this needs the right to `root`";

/// The devices on which something goes on that takes the right to `root`; an extension of its answer, so that it ends
/// with that right.
#[derive(Debug, Clone)]
pub(super) struct Above(pub(super) Vec<DeviceName>);

/// Refuses what takes the right to `root` to whoever has none on this device, and writes down either.
pub(super) async fn check(
    state: &ApiState,
    may: &May,
    (project, device): (&ProjectName, &DeviceRecord),
    (way, what): (&str, &str),
) -> Result<Above, Refusal> {
    // What is refused again is counted: by the way, so that one does not hide another.
    let thing = format!("device {}: {way}", device.name);
    if let Err(refusal) = may.check(Verb::Root, project, &device.labels) {
        state.service.audit_refused(&may.actor, (Verb::Root.name(), &thing), what).await?;
        return Err(match device.facts.own_user() {
            Some(own) => {
                refusal.help(format!("without it you act there as `{own}`, with `robo exec` and `robo shell`"))
            }
            None => refusal,
        });
    }
    state.service.audit(&may.actor, (Verb::Root.name(), &thing), AuditOutcome::Allowed, what).await?;
    Ok(Above(vec![device.name.clone()]))
}

/// Writes down who runs what on devices as another than their own user, and where that is refused.
pub(super) async fn tell(
    state: &ApiState,
    may: &May,
    (allowed, refused): (&[&str], &[&str]),
    what: &str,
) -> Result<(), ServiceError> {
    let thing = |on: &[&str]| {
        let devices = if on.len() == 1 { "device" } else { "devices" };
        format!("{} {devices}: {}", on.len(), on.join(" "))
    };
    if !refused.is_empty() {
        state.service.audit_refused(&may.actor, (Verb::Root.name(), &thing(refused)), what).await?;
    }
    if !allowed.is_empty() {
        let line = (Verb::Root.name(), thing(allowed));
        state.service.audit(&may.actor, (line.0, &line.1), AuditOutcome::Allowed, what).await?;
    }
    Ok(())
}
