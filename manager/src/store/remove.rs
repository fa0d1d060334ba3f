//! Devices that are no longer wanted, and the hosts that are left without one.

use std::collections::BTreeSet;

use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_wire::event::EventBody;

use super::{Columns, Store, StoreError, Tx, at, big, commit, devices, events};

/// What the removal of a device led to; it is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events after this number tell how it goes on.
    pub cursor: u64,
    /// Applications whose instances offered something on it.
    pub exports_changed: Vec<ApplicationName>,
    /// Applications in which somebody on it needed others: who waits for them may be released.
    pub release_changed: BTreeSet<ApplicationName>,
}

/// A host instance whose device was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homeless {
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// The device that it was.
    pub device: DeviceName,
    /// When that was removed.
    pub since: UnixMillis,
}

const HOST: &str = "a host";

impl Store {
    /// The host instances that are this device.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hosts_on(&self, id: &DeviceId) -> Result<Vec<InstanceKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT application, path FROM assigned WHERE device = $1 AND installer = 'target' \
             ORDER BY application, path",
        )
        .bind(id.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading a device's hosts"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of(HOST, row);
                Ok(InstanceKey { application: columns.name("application")?, path: columns.name("path")? })
            })
            .collect()
    }

    /// Removes the device with everything that is known of it: its identity, what it reported and should run, its ports,
    /// and the enrolment tokens made for its name that nobody used yet. Its hosts are homeless from then on. All or
    /// nothing, with the event that tells.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn remove_device(&self, id: &DeviceId, now: UnixMillis) -> Result<Removed, StoreError> {
        let mut tx = self.begin().await?;
        let device = devices::locked(&mut tx, id).await?;
        let exports_changed = applications(
            &mut tx,
            id,
            "SELECT DISTINCT application FROM instances WHERE device = $1 AND offers = 1 ORDER BY application",
        )
        .await?;
        let release_changed = applications(
            &mut tx,
            id,
            "SELECT application FROM instances WHERE device = $1 AND (needs = 1 OR offers = 1) \
             UNION SELECT other FROM reaches WHERE device = $1",
        )
        .await?;
        sqlx::query(
            "INSERT INTO homeless (project, application, path, component, device, removed_at) \
             SELECT project, application, path, component, $2, $3 FROM assigned \
             WHERE device = $1 AND installer = 'target' \
             ON CONFLICT (project, application, path) DO UPDATE SET \
             component = excluded.component, device = excluded.device, removed_at = excluded.removed_at",
        )
        .bind(id.as_str())
        .bind(device.name.as_str())
        .bind(big(now.0))
        .execute(&mut *tx)
        .await
        .map_err(at("noting hosts without a device"))?;
        sqlx::query("DELETE FROM enroll_tokens WHERE project = $1 AND name = $2 AND used_at IS NULL")
            .bind(device.project.as_str())
            .bind(device.name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("dropping a device's enrolment tokens"))?;
        // What is known of it goes with it.
        sqlx::query("DELETE FROM devices WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("removing a device"))?;
        let event = devices::of_device(&device, EventBody::Removed, now);
        let cursor = events::append(&mut tx, &device.project, &[event]).await?;
        commit(tx).await?;
        self.contacts.removed(id);
        let release_changed = release_changed.into_iter().collect();
        Ok(Removed { cursor, exports_changed, release_changed })
    }

    /// The host instances whose device was removed since their application was applied last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn homeless(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Vec<Homeless>, StoreError> {
        let rows = sqlx::query(
            "SELECT application, path, component, device, removed_at FROM homeless \
             WHERE project = $1 AND ($2 IS NULL OR application = $2) ORDER BY application, path",
        )
        .bind(project.as_str())
        .bind(application.map(ApplicationName::as_str))
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading hosts without a device"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of(HOST, row);
                Ok(Homeless {
                    key: InstanceKey { application: columns.name("application")?, path: columns.name("path")? },
                    component: columns.name("component")?,
                    device: columns.name("device")?,
                    since: UnixMillis(columns.number("removed_at")?),
                })
            })
            .collect()
    }
}

/// The applications that the statement finds for the device.
async fn applications(tx: &mut Tx, id: &DeviceId, statement: &'static str) -> Result<Vec<ApplicationName>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(statement)
        .bind(id.as_str())
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading what a device is part of"))?;
    names.iter().map(|name| super::parse("an application", name)).collect()
}

/// The application is applied anew: each of its hosts has a device again.
pub(super) async fn housed(tx: &mut Tx, project: &ProjectName, name: &ApplicationName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM homeless WHERE project = $1 AND application = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("forgetting hosts without a device"))?;
    Ok(())
}
