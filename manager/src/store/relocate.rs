//! Devices that go to another project: the same machine with the same key, in another namespace.

use robo_model::name::{DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_wire::event::EventBody;

use super::{Columns, Store, StoreError, Tx, at, commit, devices, events, projects};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relocated {
    /// It is there.
    Done,
    /// Another device of that project has its name.
    NameTaken,
    /// The project has as many devices as it may have.
    Full {
        /// How many.
        max: u32,
    },
    /// These are on it, or not gone yet.
    InUse(Vec<InstanceKey>),
}

impl Store {
    /// Takes a device to another project, with its identity, key, labels and facts. Enrolment tokens that were made for
    /// its name and nobody used stay behind and are worth nothing. All or nothing, with the events that tell.
    ///
    /// # Errors
    /// When the device or the project does not exist, or the database fails.
    pub async fn relocate(
        &self,
        id: &DeviceId,
        to: &ProjectName,
        by: &str,
        now: UnixMillis,
    ) -> Result<Relocated, StoreError> {
        let mut tx = self.begin().await?;
        let device = devices::locked(&mut tx, id).await?;
        let taken = sqlx::query("SELECT 1 FROM devices WHERE project = $1 AND name = $2")
            .bind(to.as_str())
            .bind(device.name.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(at("looking for a device's name"))?;
        if taken.is_some() {
            return Ok(Relocated::NameTaken);
        }
        let instances = instances_on(&mut tx, id).await?;
        if !instances.is_empty() {
            return Ok(Relocated::InUse(instances));
        }
        if let Some(max) = projects::full(&mut tx, to).await? {
            return Ok(Relocated::Full { max });
        }
        let from = device.project.clone();
        for (sql, what) in [
            ("DELETE FROM ports WHERE device = $1", "giving a device's ports back"),
            ("UPDATE devices SET project = $2 WHERE id = $1", "taking a device to another project"),
        ] {
            let mut query = sqlx::query(sql).bind(id.as_str());
            if sql.contains("$2") {
                query = query.bind(to.as_str());
            }
            query.execute(&mut *tx).await.map_err(at(what))?;
        }
        sqlx::query("DELETE FROM enroll_tokens WHERE project = $1 AND name = $2 AND used_at IS NULL")
            .bind(from.as_str())
            .bind(device.name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("dropping a device's enrolment tokens"))?;
        let body = EventBody::Moved { from: from.clone(), to: to.clone(), by: by.to_owned() };
        for project in [&from, to] {
            events::append(&mut tx, project, &[devices::of_device(&device, body.clone(), now)]).await?;
        }
        commit(tx).await?;
        Ok(Relocated::Done)
    }
}

/// What a device should run, and what it has not said to be gone.
pub(super) async fn instances_on(tx: &mut Tx, id: &DeviceId) -> Result<Vec<InstanceKey>, StoreError> {
    let rows = sqlx::query(
        "SELECT application, path FROM assigned WHERE device = $1 \
         UNION SELECT application, path FROM instances WHERE device = $1 ORDER BY application, path",
    )
    .bind(id.as_str())
    .fetch_all(&mut **tx)
    .await
    .map_err(at("reading what is on a device"))?;
    rows.iter()
        .map(|row| {
            let columns = Columns::of("an instance", row);
            Ok(InstanceKey { application: columns.name("application")?, path: columns.name("path")? })
        })
        .collect()
}
