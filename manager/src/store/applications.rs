//! Applications, their revisions, overrides and ports, and the assignments that come of them.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Settings;
use robo_model::name::{ApplicationName, DeviceId, InstancePath, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::{Assignment, FileHash, InstanceKey, InstanceSpec, MAX_GENERATION};
use robo_model::state::Wanted;
use robo_wire::api::Bundle;
use robo_wire::event::EventBody;
use robo_wire::frame::MAX_CONTROL_FRAME;
use robo_wire::plan::Bound;

use super::bindings::LetGo;
use super::contact::ContactMoved;
use super::events::{self, NewEvent};
use super::revisions::{self, Told};
use super::{Columns, Store, StoreError, Tx, at, big, bindings, commit, count, devices, remove, to_json};
use crate::plan::{Current, Desired, Overrides, Ports, Prefixes};

/// What each device should run of one application.
pub type Specs = BTreeMap<DeviceId, Vec<InstanceSpec>>;

/// One application as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRecord {
    /// What was applied last.
    pub revision: Revision,
    /// What people asked for since.
    pub overrides: Overrides,
    /// Where its external imports come from.
    pub bound_to: Prefixes,
}

impl ApplicationRecord {
    /// As the planner takes it.
    #[must_use]
    pub fn current(&self) -> Current<'_> {
        Current {
            revision: self.revision.number,
            desired: &self.revision.desired,
            bindings: &self.revision.bindings,
            overrides: &self.overrides,
            bound_to: &self.bound_to,
        }
    }
}

/// An application as applied once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// What was sent.
    pub bundle: Bundle,
    /// What it compiled to.
    pub desired: Desired,
    /// Which device each host instance is.
    pub bindings: BTreeMap<InstancePath, Bound>,
}

/// One application in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationSummary {
    /// Its name.
    pub name: ApplicationName,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// Its revision.
    pub revision: u64,
    /// When that was applied.
    pub applied_at: UnixMillis,
}

/// What an apply writes.
#[derive(Debug, Clone)]
pub struct Apply<'a> {
    /// The revision; its number is the one after what is there.
    pub revision: &'a Revision,
    /// Who applies it, and why.
    pub told: &'a Told,
    /// Ports picked now.
    pub new_ports: &'a Ports,
    /// What the devices should run of it.
    pub specs: &'a Specs,
    /// What stays of that which people asked for beside it.
    pub overrides: &'a BTreeMap<InstancePath, Wanted>,
}

/// What a change led to; it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Events after this number tell how it goes.
    pub cursor: u64,
    /// Devices with a new assignment.
    pub devices: Vec<DeviceId>,
}

const APPLICATION: &str = "an application";

impl Store {
    /// The application with this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn application(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<Option<ApplicationRecord>, StoreError> {
        let mut tx = self.snapshot().await?;
        let row = sqlx::query(
            "SELECT a.overrides_recorded, r.number, r.bundle, r.graph, r.recipes, r.bindings \
             FROM applications a JOIN revisions r \
             ON r.project = a.project AND r.application = a.name AND r.number = a.revision \
             WHERE a.project = $1 AND a.name = $2",
        )
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(at("reading an application"))?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns::of(APPLICATION, &row);
        let revision = revisions::content(&row)?;
        let wanted = overrides(&mut tx, project, name).await?;
        let overrides = Overrides { count: columns.number("overrides_recorded")?, wanted };
        let bound_to = bindings::prefixes(&mut tx, project, name).await?;
        Ok(Some(ApplicationRecord { revision, overrides, bound_to }))
    }

    /// The project's applications, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn applications(&self, project: &ProjectName) -> Result<Vec<ApplicationSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, version, revision, applied_at FROM applications WHERE project = $1 ORDER BY name",
        )
        .bind(project.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading the applications"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of(APPLICATION, row);
                Ok(ApplicationSummary {
                    name: columns.name("name")?,
                    version: columns.text_or_null("version")?.map(str::to_owned),
                    revision: columns.number("revision")?,
                    applied_at: UnixMillis(columns.number("applied_at")?),
                })
            })
            .collect()
    }

    /// The overrides of all applications of the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_overrides(
        &self,
        project: &ProjectName,
    ) -> Result<BTreeMap<ApplicationName, BTreeMap<InstancePath, Wanted>>, StoreError> {
        let rows = sqlx::query("SELECT application, path, wanted FROM overrides WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading all overrides"))?;
        let mut all: BTreeMap<ApplicationName, BTreeMap<InstancePath, Wanted>> = BTreeMap::new();
        for row in &rows {
            let columns = Columns::of("an override", row);
            all.entry(columns.name("application")?).or_default().insert(columns.name("path")?, columns.json("wanted")?);
        }
        Ok(all)
    }

    /// The ports that were handed out in the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ports(&self, project: &ProjectName) -> Result<Ports, StoreError> {
        let rows = sqlx::query("SELECT device, application, path, variable, port FROM ports WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading ports"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of("a port", row);
                let port = columns.number("port")?;
                let port = u16::try_from(port)
                    .map_err(|_| StoreError::Corrupt { what: "a port", reason: format!("{port} is none") })?;
                let key = InstanceKey { application: columns.name("application")?, path: columns.name("path")? };
                Ok(((columns.name("device")?, key, columns.name("variable")?), port))
            })
            .collect()
    }

    /// Writes a revision and everything that follows from it, all or nothing.
    ///
    /// # Errors
    /// When a device's assignment would be too large, or the database fails.
    pub async fn apply(
        &self,
        project: &ProjectName,
        apply: &Apply<'_>,
        now: UnixMillis,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let name = &apply.revision.desired.application.name;
        write_application(&mut tx, project, apply.revision, now).await?;
        revisions::write(&mut tx, project, (apply.revision, apply.told), now).await?;
        drop_overrides(&mut tx, project, name).await?;
        for (path, wanted) in apply.overrides {
            write_override(&mut tx, project, name, (path, *wanted)).await?;
        }
        write_ports(&mut tx, project, name, apply).await?;
        remove::housed(&mut tx, project, name).await?;
        let devices = assign(&mut tx, project, name, apply.specs).await?;
        let body = EventBody::Applied { revision: apply.revision.number, of: apply.told.rollback_of };
        let cursor = events::append(&mut tx, project, &[of_application(name, body, now)]).await?;
        commit(tx).await?;
        // Their leases may be others now.
        self.contacts.moved(&devices, ContactMoved::Consequences);
        Ok(Committed { cursor, devices })
    }

    /// Replaces the application's overrides; `specs` is what follows from them, `asked` the event that tells.
    ///
    /// # Errors
    /// When the application is not there, or the database fails.
    pub async fn set_overrides(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        overrides: &BTreeMap<InstancePath, Wanted>,
        specs: &Specs,
        asked: NewEvent,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE applications SET overrides_recorded = overrides_recorded + 1 WHERE project = $1 AND name = $2",
        )
        .bind(project.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await
        .map_err(at("counting overrides"))?;
        if updated.rows_affected() == 0 {
            return Err(StoreError::NoApplication { name: name.clone() });
        }
        drop_overrides(&mut tx, project, name).await?;
        for (path, wanted) in overrides {
            write_override(&mut tx, project, name, (path, *wanted)).await?;
        }
        let devices = assign(&mut tx, project, name, specs).await?;
        let cursor = events::append(&mut tx, project, &[asked]).await?;
        commit(tx).await?;
        Ok(Committed { cursor, devices })
    }

    /// Deletes the application with its revisions; no device is to run anything of it any more. `importers` are all that
    /// are bound to it.
    ///
    /// # Errors
    /// When the application is not there, or the database fails.
    pub async fn delete_application(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        importers: &[LetGo],
        now: UnixMillis,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let mut devices = bindings::let_go(&mut tx, project, name, importers).await?;
        let deleted = sqlx::query("DELETE FROM applications WHERE project = $1 AND name = $2")
            .bind(project.as_str())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("deleting an application"))?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::NoApplication { name: name.clone() });
        }
        devices.extend(assign(&mut tx, project, name, &Specs::new()).await?);
        let mut events = vec![of_application(name, EventBody::Deleted, now)];
        events.extend(importers.iter().flat_map(|importer| importer.events(now)));
        let cursor = events::append(&mut tx, project, &events).await?;
        commit(tx).await?;
        devices.sort();
        devices.dedup();
        Ok(Committed { cursor, devices })
    }
}

pub(super) fn of_application(name: &ApplicationName, body: EventBody, at: UnixMillis) -> NewEvent {
    NewEvent { at, device: None, application: Some(name.clone()), path: None, body }
}

async fn overrides(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
) -> Result<BTreeMap<InstancePath, Wanted>, StoreError> {
    let rows = sqlx::query("SELECT path, wanted FROM overrides WHERE project = $1 AND application = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading overrides"))?;
    rows.iter()
        .map(|row| {
            let columns = Columns::of("an override", row);
            Ok((columns.name("path")?, columns.json("wanted")?))
        })
        .collect()
}

async fn write_application(
    tx: &mut Tx,
    project: &ProjectName,
    revision: &Revision,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO applications (project, name, version, revision, applied_at, overrides_recorded, exports_prefix) \
         VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (project, name) DO UPDATE SET \
         version = excluded.version, revision = excluded.revision, applied_at = excluded.applied_at, \
         exports_prefix = excluded.exports_prefix",
    )
    .bind(project.as_str())
    .bind(revision.desired.application.name.as_str())
    .bind(revision.desired.application.version.as_deref())
    .bind(big(revision.number))
    .bind(big(now.0))
    .bind(revision.desired.application.exports_prefix.as_ref().map_or("", |prefix| prefix.as_str()))
    .execute(&mut **tx)
    .await
    .map_err(at("writing an application"))?;
    Ok(())
}

async fn drop_overrides(tx: &mut Tx, project: &ProjectName, name: &ApplicationName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM overrides WHERE project = $1 AND application = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("dropping overrides"))?;
    Ok(())
}

async fn write_override(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
    (path, wanted): (&InstancePath, Wanted),
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO overrides (project, application, path, wanted) VALUES ($1, $2, $3, $4)")
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(path.as_str())
        .bind(to_json("an override", &wanted)?)
        .execute(&mut **tx)
        .await
        .map_err(at("writing an override"))?;
    Ok(())
}

/// Adds the new ports and gives back those of instances that are no longer where they were.
async fn write_ports(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
    apply: &Apply<'_>,
) -> Result<(), StoreError> {
    for ((device, key, variable), port) in apply.new_ports {
        sqlx::query(
            "INSERT INTO ports (project, device, application, path, variable, port) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(project.as_str())
        .bind(device.as_str())
        .bind(key.application.as_str())
        .bind(key.path.as_str())
        .bind(variable.to_string())
        .bind(i64::from(*port))
        .execute(&mut **tx)
        .await
        .map_err(at("writing a port"))?;
    }
    let there: BTreeSet<(&str, &str)> = apply
        .specs
        .iter()
        .flat_map(|(device, specs)| specs.iter().map(|spec| (device.as_str(), spec.key.path.as_str())))
        .collect();
    let rows = sqlx::query("SELECT DISTINCT device, path FROM ports WHERE project = $1 AND application = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading ports"))?;
    for row in &rows {
        let columns = Columns::of("a port", row);
        let (device, path) = (columns.text("device")?, columns.text("path")?);
        if there.contains(&(device, path)) {
            continue;
        }
        sqlx::query("DELETE FROM ports WHERE project = $1 AND application = $2 AND device = $3 AND path = $4")
            .bind(project.as_str())
            .bind(name.as_str())
            .bind(device)
            .bind(path)
            .execute(&mut **tx)
            .await
            .map_err(at("giving back ports"))?;
    }
    Ok(())
}

/// Gives every device that has or had something of the application its new assignment. Those whose
/// assignment stays the same keep its generation.
pub(super) async fn assign(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
    specs: &Specs,
) -> Result<Vec<DeviceId>, StoreError> {
    let had: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT device FROM assigned WHERE project = $1 AND application = $2")
            .bind(project.as_str())
            .bind(name.as_str())
            .fetch_all(&mut **tx)
            .await
            .map_err(at("reading who has the application"))?;
    let mut touched: BTreeSet<DeviceId> = specs.keys().cloned().collect();
    for device in had {
        touched.insert(super::parse("a device", &device)?);
    }
    let mut changed = Vec::new();
    for device in touched {
        let of_it = specs.get(&device).map_or(&[][..], Vec::as_slice);
        if assign_device(tx, &device, name, of_it).await? {
            changed.push(device);
        }
    }
    Ok(changed)
}

async fn assign_device(
    tx: &mut Tx,
    device: &DeviceId,
    name: &ApplicationName,
    specs: &[InstanceSpec],
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT generation, instances FROM assignments WHERE device = $1")
        .bind(device.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading an assignment"))?;
    let old = row.as_ref().map(devices::assignment).transpose()?.unwrap_or_default();
    let mut instances: Vec<InstanceSpec> =
        old.instances.iter().filter(|spec| spec.key.application != *name).chain(specs).cloned().collect();
    instances.sort_by(|a, b| a.key.cmp(&b.key));
    if instances == old.instances {
        return Ok(false);
    }
    let generation: Option<i64> = sqlx::query_scalar(
        "UPDATE devices SET generation = CASE WHEN generation < $2 THEN generation + 1 ELSE generation END \
         WHERE id = $1 RETURNING generation",
    )
    .bind(device.as_str())
    .bind(big(MAX_GENERATION.0))
    .fetch_optional(&mut **tx)
    .await
    .map_err(at("counting assignments"))?;
    // A device that was removed has nothing to be told: its hosts are homeless until the next apply.
    let Some(generation) = generation else { return Ok(false) };
    write_assignment(tx, device, generation, &instances).await?;
    remember_installers(tx, device, name, &old, specs).await?;
    list_assigned(tx, device, name, specs).await?;
    Ok(true)
}

async fn write_assignment(
    tx: &mut Tx,
    device: &DeviceId,
    generation: i64,
    instances: &[InstanceSpec],
) -> Result<(), StoreError> {
    let text = to_json("an assignment", &instances)?;
    // JSON is longer than what is sent, so this errs on the safe side.
    if text.len() > MAX_CONTROL_FRAME {
        return Err(StoreError::AssignmentTooLarge { device: device.clone(), bytes: text.len() });
    }
    let files: BTreeSet<&FileHash> =
        instances.iter().flat_map(|spec| spec.files.values()).map(|file| &file.hash).collect();
    sqlx::query(
        "INSERT INTO assignments (device, generation, instances, files) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (device) DO UPDATE SET \
         generation = excluded.generation, instances = excluded.instances, files = excluded.files",
    )
    .bind(device.as_str())
    .bind(big(count(generation)))
    .bind(text)
    .bind(to_json("an assignment's files", &files)?)
    .execute(&mut **tx)
    .await
    .map_err(at("writing an assignment"))?;
    Ok(())
}

/// An instance that leaves is shown until it is gone; what it was is in no assignment then.
async fn remember_installers(
    tx: &mut Tx,
    device: &DeviceId,
    name: &ApplicationName,
    old: &Assignment,
    specs: &[InstanceSpec],
) -> Result<(), StoreError> {
    let stays: BTreeSet<&InstancePath> = specs.iter().map(|spec| &spec.key.path).collect();
    let leaves = |spec: &&InstanceSpec| spec.key.application == *name && !stays.contains(&spec.key.path);
    for spec in old.instances.iter().filter(leaves) {
        sqlx::query("UPDATE instances SET installer = $4 WHERE device = $1 AND application = $2 AND path = $3")
            .bind(device.as_str())
            .bind(name.as_str())
            .bind(spec.key.path.as_str())
            .bind(spec.installer.name())
            .execute(&mut **tx)
            .await
            .map_err(at("remembering what leaves"))?;
    }
    Ok(())
}

async fn list_assigned(
    tx: &mut Tx,
    device: &DeviceId,
    name: &ApplicationName,
    specs: &[InstanceSpec],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM assigned WHERE device = $1 AND application = $2")
        .bind(device.as_str())
        .bind(name.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("listing what is assigned"))?;
    for spec in specs {
        sqlx::query(
            "INSERT INTO assigned (device, project, application, path, component, installer, wanted, lease) \
             SELECT id, project, $2, $3, $4, $5, $6, $7 FROM devices WHERE id = $1",
        )
        .bind(device.as_str())
        .bind(name.as_str())
        .bind(spec.key.path.as_str())
        .bind(spec.component.as_str())
        .bind(spec.installer.name())
        .bind(to_json("what is wanted", &spec.wanted)?)
        .bind(big(spec.settings.lease.unwrap_or(Settings::LEASE).0))
        .execute(&mut **tx)
        .await
        .map_err(at("listing an assigned instance"))?;
    }
    Ok(())
}
