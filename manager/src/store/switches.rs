//! What is switched off on devices.

use robo_model::name::{DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::event::EventBody;
use robo_wire::switch::{Subsystem, Switches};

use super::{Store, StoreError, at, commit, devices, events, to_json};

impl Store {
    /// Gives each of these devices its switches, in place of those it has: all of them, or none; with an event for each
    /// subsystem that is on or off then and was not.
    ///
    /// # Errors
    /// When one does not exist, or the database fails.
    pub async fn set_switches(
        &self,
        project: &ProjectName,
        all: &[(DeviceId, Switches)],
        by: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let mut told = Vec::new();
        for (id, switches) in all {
            let device = devices::locked(&mut tx, id).await?;
            sqlx::query("UPDATE devices SET switches = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(to_json("switches", switches)?)
                .execute(&mut *tx)
                .await
                .map_err(at("switching parts of a device"))?;
            for subsystem in Subsystem::ALL {
                let on = switches.off(subsystem).is_none();
                if on != device.switches.off(subsystem).is_none() {
                    let body = EventBody::Switched { subsystem: subsystem.to_string(), on, by: by.to_owned() };
                    told.push(devices::of_device(&device, body, now));
                }
            }
        }
        events::append(&mut tx, project, &told).await?;
        commit(tx).await
    }
}
