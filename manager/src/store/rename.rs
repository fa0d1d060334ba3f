//! Devices that get another name: the same identity, and the old name is free again.

use robo_model::label::Labels;
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_wire::event::EventBody;

use super::{Store, StoreError, at, commit, devices, events, relocate, to_json};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// It is called so now.
    Done,
    /// Another device of the project is called so.
    NameTaken,
    /// Applications name it: these are on it, or not gone yet.
    InUse(Vec<InstanceKey>),
}

impl Store {
    /// Gives a device another name. Enrolment tokens that were made for the old one and nobody used are worth nothing
    /// any more. All or nothing, with the event that tells, which is of the new name.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn rename_device(
        &self,
        id: &DeviceId,
        to: &DeviceName,
        by: &str,
        now: UnixMillis,
    ) -> Result<Renamed, StoreError> {
        let mut tx = self.begin().await?;
        let mut device = devices::locked(&mut tx, id).await?;
        let taken = sqlx::query("SELECT 1 FROM devices WHERE project = $1 AND name = $2 AND id <> $3")
            .bind(device.project.as_str())
            .bind(to.as_str())
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(at("looking for a device's name"))?;
        if taken.is_some() {
            return Ok(Renamed::NameTaken);
        }
        let instances = relocate::instances_on(&mut tx, id).await?;
        if !instances.is_empty() {
            return Ok(Renamed::InUse(instances));
        }
        sqlx::query("UPDATE devices SET name = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(to.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("giving a device another name"))?;
        sqlx::query("DELETE FROM enroll_tokens WHERE project = $1 AND name = $2 AND used_at IS NULL")
            .bind(device.project.as_str())
            .bind(device.name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("dropping a device's enrolment tokens"))?;
        let from = std::mem::replace(&mut device.name, to.clone());
        let body = EventBody::Renamed { from, by: by.to_owned() };
        events::append(&mut tx, &device.project, &[devices::of_device(&device, body, now)]).await?;
        commit(tx).await?;
        Ok(Renamed::Done)
    }

    /// Gives each of these devices its labels, in place of those it has: all of them, or none. Those that have them
    /// already are told of by no event.
    ///
    /// # Errors
    /// When one does not exist, or the database fails.
    pub async fn set_labels_of_many(
        &self,
        project: &ProjectName,
        all: &[(DeviceId, Labels)],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let mut told = Vec::new();
        for (id, labels) in all {
            let device = devices::locked(&mut tx, id).await?;
            if device.labels == *labels {
                continue;
            }
            sqlx::query("UPDATE devices SET labels = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(to_json("labels", labels)?)
                .execute(&mut *tx)
                .await
                .map_err(at("giving a device its labels"))?;
            told.push(devices::of_device(&device, EventBody::Labelled { labels: labels.clone() }, now));
        }
        events::append(&mut tx, project, &told).await?;
        commit(tx).await
    }
}
