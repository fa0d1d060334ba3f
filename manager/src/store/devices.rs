//! Devices: who they are, whether they are there, and what they were assigned.

use std::collections::BTreeSet;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use robo_model::label::Labels;
use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, FileHash, Generation, InstanceSpec};
use robo_wire::api::{
    Facts, LastUpgrade, MAX_CAPABILITIES, MAX_HOST_KEYS, MAX_INTERFACE_ADDRESSES, MAX_INTERFACES, MAX_SUBSYSTEMS,
    MAX_USER, Standing, is_host_key,
};
use robo_wire::event::EventBody;
use robo_wire::switch::{Subsystem, Switches};
use robo_wire::upgrade::{MAX_UPGRADE_ID, MAX_UPGRADE_REASON, is_sha256};
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;

use super::contact::{self, ContactMoved};
use super::events::{self, NewEvent};
use super::identity;
use super::{Columns, Store, StoreError, Tx, at, big, commit, from_json, rules, to_json};

/// Longest code of what is wrong on a device that is kept, in bytes: ours have half of it.
const MAX_CODE: usize = 64;

/// One enrolled device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its identity.
    pub id: DeviceId,
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// What it told of itself.
    pub facts: Facts,
    /// SHA-256 of its public key, in hexadecimal.
    pub key_fingerprint: String,
    /// A key that was certified for it and not used yet.
    pub next_key: Option<String>,
    /// When its newest certificate ends; nothing for one of an older version.
    pub certificate_ends: Option<UnixMillis>,
    /// True when an operator asked for a new key.
    pub rotate: bool,
    /// Counts the times it was enrolled: what an earlier one began, ends.
    pub enrolment: u64,
    /// Whether it may connect.
    pub standing: Standing,
    /// Why it is not connected, or may not be; empty where nobody knows.
    pub reason: String,
    /// True when it was shut out while it waited for an operator.
    pub rejected: bool,
    /// Since when it stands where it stands; nothing where nobody knows.
    pub state_since: Option<UnixMillis>,
    /// Who made the token that it enrolled with; empty where nobody knows.
    pub enrolled_by: String,
    /// When it was enrolled.
    pub enrolled_at: UnixMillis,
    /// When it last connected or was last heard of.
    pub last_seen: Option<UnixMillis>,
    /// The newest assignment made for it.
    pub generation: Generation,
    /// The newest assignment it accepted.
    pub accepted: Generation,
    /// The assignment that its newest reports were made under.
    pub reported: Generation,
    /// Why it refused a newer one.
    pub refused: Option<String>,
    /// The highest number of its own events that is stored.
    pub events_stored: u64,
    /// Whether it is connected.
    pub online: bool,
    /// Whether it was out of contact for so long that its host instances are PROBLEM.
    pub silent: bool,
    /// What is switched off there.
    pub switches: Switches,
}

impl DeviceRecord {
    /// True when this is its key, or its next one.
    #[must_use]
    pub fn has_key(&self, fingerprint: &str) -> bool {
        self.key_fingerprint == fingerprint || self.next_key.as_deref() == Some(fingerprint)
    }
}

/// What moved because a device told other things of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FactsMoved {
    /// What is stored of it.
    pub facts: bool,
    /// The history grew.
    pub events: bool,
}

const DEVICE: &str = "a device";

impl Store {
    /// True when the project exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_project(&self, project: &ProjectName) -> Result<bool, StoreError> {
        let found: Option<String> = sqlx::query_scalar("SELECT name FROM projects WHERE name = $1")
            .bind(project.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a project"))?;
        Ok(found.is_some())
    }

    /// The device with this identity.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM devices WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a device"))?;
        row.as_ref().map(record).transpose()
    }

    /// The device with this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_named(
        &self,
        project: &ProjectName,
        name: &DeviceName,
    ) -> Result<Option<DeviceRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM devices WHERE project = $1 AND name = $2")
            .bind(project.as_str())
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a device by name"))?;
        row.as_ref().map(record).transpose()
    }

    /// The project's devices, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self, project: &ProjectName) -> Result<Vec<DeviceRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM devices WHERE project = $1 ORDER BY name")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the devices"))?;
        rows.iter().map(record).collect()
    }

    /// The identities of the project's devices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_ids(&self, project: &ProjectName) -> Result<BTreeSet<DeviceId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM devices WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading which devices there are"))?;
        ids.iter().map(|id| super::parse(DEVICE, id)).collect()
    }

    /// Which applications have instances on which device of the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn assigned_applications(
        &self,
        project: &ProjectName,
    ) -> Result<Vec<(DeviceId, ApplicationName)>, StoreError> {
        let rows = sqlx::query("SELECT DISTINCT device, application FROM assigned WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading what devices are assigned"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of("what a device is assigned", row);
                Ok((columns.name("device")?, columns.name("application")?))
            })
            .collect()
    }

    /// The device's link came up. It is no longer silent, and the leases that are over begin anew: answers with the
    /// applications of which something is on offer again. One transaction, with the events that tell.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn device_online(
        &self,
        id: &DeviceId,
        facts: &Facts,
        now: UnixMillis,
    ) -> Result<Vec<ApplicationName>, StoreError> {
        let facts = &bounded(facts);
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        sqlx::query(
            "UPDATE devices SET state_since = CASE WHEN online = 1 THEN state_since ELSE $3 END, \
             online = 1, silent = 0, reason = '', facts = $2, last_seen = $3 WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(to_json("a device's facts", facts)?)
        .bind(big(now.0))
        .execute(&mut *tx)
        .await
        .map_err(at("noting that a device is online"))?;
        let mut told = Vec::new();
        if !device.online {
            told.push(of_device(&device, EventBody::Online, now));
        }
        if let Some(body) = other_host_keys(&device.facts, facts) {
            told.push(of_device(&device, body, now));
        }
        let (again, hosts) = contact::resume(&mut tx, &device, now).await?;
        told.extend(hosts);
        events::append(&mut tx, &device.project, &told).await?;
        self.contacts.heard(id, Instant::now());
        commit(tx).await?;
        self.contacts.moved([id], ContactMoved::Itself);
        Ok(again)
    }

    /// The device tells other things of itself than when its link came up. The same again changes nothing.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn device_facts(&self, id: &DeviceId, facts: &Facts, now: UnixMillis) -> Result<FactsMoved, StoreError> {
        let facts = &bounded(facts);
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        if device.facts == *facts {
            return Ok(FactsMoved::default());
        }
        sqlx::query("UPDATE devices SET facts = $2, last_seen = $3 WHERE id = $1")
            .bind(id.as_str())
            .bind(to_json("a device's facts", facts)?)
            .bind(big(now.0))
            .execute(&mut *tx)
            .await
            .map_err(at("noting what a device tells of itself"))?;
        let told: Vec<NewEvent> =
            other_host_keys(&device.facts, facts).into_iter().map(|body| of_device(&device, body, now)).collect();
        events::append(&mut tx, &device.project, &told).await?;
        commit(tx).await?;
        Ok(FactsMoved { facts: true, events: !told.is_empty() })
    }

    /// The device's link went down. It is out of contact since it was last heard: all that follows from its silence counts
    /// from there, however long it took until the silence was noticed.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn device_offline(
        &self,
        id: &DeviceId,
        reason: &str,
        last_heard: Instant,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.note_offline(id, (reason, last_heard), now, |device| device.online).await.map(drop)
    }

    /// All devices that count as connected, each with when it last said something that was stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn online_devices(&self) -> Result<Vec<(DeviceId, Option<UnixMillis>)>, StoreError> {
        let rows = sqlx::query("SELECT id, last_seen FROM devices WHERE online = 1")
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading who is online"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns::of(DEVICE, row);
                Ok((columns.name("id")?, columns.number_or_null("last_seen")?.map(UnixMillis)))
            })
            .collect()
    }

    /// The device was found to have no link although it counts as connected: what was to say so failed. Does nothing when it
    /// said something after `last_seen`, as read before its link was looked for. Answers with its project when it is
    /// offline now.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn found_offline(
        &self,
        id: &DeviceId,
        last_seen: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Result<Option<ProjectName>, StoreError> {
        let reason = "its link was gone, and the store could not be told when it went";
        let is_still_so = |device: &DeviceRecord| device.online && device.last_seen == last_seen;
        self.note_offline(id, (reason, Instant::now()), now, is_still_so).await
    }

    async fn note_offline(
        &self,
        id: &DeviceId,
        (reason, last_heard): (&str, Instant),
        now: UnixMillis,
        is_so: impl Fn(&DeviceRecord) -> bool + Send,
    ) -> Result<Option<ProjectName>, StoreError> {
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        if !is_so(&device) {
            return Ok(None);
        }
        // It was there for as long as it was heard, and not until its silence was noticed.
        let silence = Millis(u64::try_from(last_heard.elapsed().as_millis()).unwrap_or(u64::MAX));
        let seen = UnixMillis(now.0.saturating_sub(silence.0)).max(device.last_seen.unwrap_or_default());
        sqlx::query(
            "UPDATE devices SET online = 0, last_seen = $2, reason = $3, \
             state_since = CASE WHEN standing = 'accepted' THEN $4 ELSE state_since END WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(big(seen.0))
        .bind(reason_after(&device, reason))
        .bind(big(now.0))
        .execute(&mut *tx)
        .await
        .map_err(at("noting that a device is offline"))?;
        let body = EventBody::Offline { reason: reason.to_owned() };
        events::append(&mut tx, &device.project, &[of_device(&device, body, now)]).await?;
        self.contacts.heard(id, last_heard);
        commit(tx).await?;
        self.contacts.moved([id], ContactMoved::Itself);
        Ok(Some(device.project))
    }

    /// No device is connected to a manager that only starts. Tells nobody: they come back in a moment.
    pub(super) async fn all_offline(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE devices SET online = 0, state_since = COALESCE(last_seen, state_since) WHERE online <> 0")
            .execute(&self.writer)
            .await
            .map_err(at("noting that no device is online"))?;
        Ok(())
    }

    /// Gives the device these labels, in place of those it has. The same ones again change nothing.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn set_labels(&self, id: &DeviceId, labels: &Labels, now: UnixMillis) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        if device.labels == *labels {
            return Ok(false);
        }
        sqlx::query("UPDATE devices SET labels = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(to_json("labels", labels)?)
            .execute(&mut *tx)
            .await
            .map_err(at("giving a device its labels"))?;
        let body = EventBody::Labelled { labels: labels.clone() };
        events::append(&mut tx, &device.project, &[of_device(&device, body, now)]).await?;
        commit(tx).await?;
        Ok(true)
    }

    /// Everything the device should run; nothing before the first time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn assignment(&self, id: &DeviceId) -> Result<Option<Assignment>, StoreError> {
        let row = sqlx::query("SELECT generation, instances FROM assignments WHERE device = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading an assignment"))?;
        row.as_ref().map(assignment).transpose()
    }

    /// Everything the project's devices should run; with an application, what those of them should run that have some
    /// of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn specs(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Vec<(DeviceId, InstanceSpec)>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.device, a.instances FROM assignments a JOIN devices d ON d.id = a.device \
             WHERE d.project = $1 AND ($2 IS NULL OR EXISTS \
             (SELECT 1 FROM assigned s WHERE s.device = a.device AND s.application = $2))",
        )
        .bind(project.as_str())
        .bind(application.map(ApplicationName::as_str))
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading assignments"))?;
        let mut specs = Vec::new();
        for row in &rows {
            let columns = Columns::of("an assignment", row);
            let device: DeviceId = columns.name("device")?;
            let instances: Vec<InstanceSpec> = columns.json("instances")?;
            specs.extend(instances.into_iter().map(|spec| (device.clone(), spec)));
        }
        Ok(specs)
    }

    /// Gives the device's newest assignment the number `to` when it has the number `from`: its content stays. When it has
    /// another one, another assignment was made: nothing changes, and the answer is that number.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn raise_generation(
        &self,
        id: &DeviceId,
        from: Generation,
        to: Generation,
    ) -> Result<Option<Generation>, StoreError> {
        let mut tx = self.begin().await?;
        let now = locked(&mut tx, id).await?.generation;
        if now != from {
            return Ok(Some(now));
        }
        for sql in [
            "UPDATE devices SET generation = $2 WHERE id = $1",
            "UPDATE assignments SET generation = $2 WHERE device = $1",
        ] {
            sqlx::query(sql)
                .bind(id.as_str())
                .bind(big(to.0))
                .execute(&mut *tx)
                .await
                .map_err(at("numbering an assignment anew"))?;
        }
        commit(tx).await?;
        Ok(None)
    }

    /// True when the device's assignment names this file.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_assigned_file(&self, id: &DeviceId, hash: &FileHash) -> Result<bool, StoreError> {
        let files: Option<String> = sqlx::query_scalar("SELECT files FROM assignments WHERE device = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading an assignment's files"))?;
        let Some(files) = files else { return Ok(false) };
        let files: Vec<FileHash> = from_json("an assignment's files", &files)?;
        Ok(files.contains(hash))
    }

    /// The device has this assignment on its disk. An older one than it had before changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accepted(&self, id: &DeviceId, generation: Generation, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE devices SET accepted = $2, refused = NULL, last_seen = $3 WHERE id = $1 AND accepted <= $2",
        )
        .bind(id.as_str())
        .bind(big(generation.0))
        .bind(big(now.0))
        .execute(&self.writer)
        .await
        .map_err(at("noting an accepted assignment"))?;
        Ok(())
    }

    /// The device cannot take this assignment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refused(
        &self,
        id: &DeviceId,
        generation: Generation,
        reason: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut reason = format!("assignment {generation}: {reason}");
        rules::shorten(&mut reason);
        sqlx::query("UPDATE devices SET refused = $3, last_seen = $4 WHERE id = $1 AND accepted < $2")
            .bind(id.as_str())
            .bind(big(generation.0))
            .bind(reason)
            .bind(big(now.0))
            .execute(&self.writer)
            .await
            .map_err(at("noting a refused assignment"))?;
        Ok(())
    }
}

/// The device as it is for this transaction.
pub(super) async fn locked(tx: &mut Tx, id: &DeviceId) -> Result<DeviceRecord, StoreError> {
    let row = sqlx::query("SELECT * FROM devices WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading a device"))?;
    row.as_ref().map_or_else(|| Err(StoreError::NoDevice { id: id.clone() }), record)
}

/// Everything the device should run, as the transaction sees it.
pub(super) async fn assignment_of(tx: &mut Tx, id: &DeviceId) -> Result<Option<Assignment>, StoreError> {
    let row = sqlx::query("SELECT generation, instances FROM assignments WHERE device = $1")
        .bind(id.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading an assignment"))?;
    row.as_ref().map(assignment).transpose()
}

/// What it tells, without what is no key of an SSH server: others put these into files where each word counts.
fn bounded(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.ssh_host_keys.retain(|key| is_host_key(key));
    facts.ssh_host_keys.truncate(MAX_HOST_KEYS);
    facts.interfaces.truncate(MAX_INTERFACES);
    for interface in &mut facts.interfaces {
        interface.addresses.truncate(MAX_INTERFACE_ADDRESSES);
    }
    facts.capabilities.truncate(MAX_CAPABILITIES);
    facts.without.retain(|name| name.parse::<Subsystem>().is_ok());
    facts.without.truncate(MAX_SUBSYSTEMS);
    for user in [&mut facts.exec_user, &mut facts.agent_user] {
        // What is left of one is not empty: that would give rights.
        *user = user.chars().take(MAX_USER).collect();
    }
    if !is_sha256(&facts.program) {
        facts.program.clear();
    }
    facts.upgrade = facts.upgrade.filter(|last| last.id.len() <= MAX_UPGRADE_ID && is_sha256(&last.sha256));
    if let Some(LastUpgrade { code, reason, .. }) = &mut facts.upgrade {
        code.truncate(code.floor_char_boundary(MAX_CODE));
        reason.truncate(reason.floor_char_boundary(MAX_UPGRADE_REASON));
    }
    facts
}

/// Tells that a device's SSH server has other keys than it had; that it has some at all is no news.
fn other_host_keys(before: &Facts, now: &Facts) -> Option<EventBody> {
    let (old, new) = (&before.ssh_host_keys, &now.ssh_host_keys);
    let has_other = !old.is_empty() && (new.len() != old.len() || new.iter().any(|key| !old.contains(key)));
    has_other.then(|| EventBody::HostKeys { fingerprints: new.iter().map(|key| fingerprint(key)).collect() })
}

/// As `ssh-keygen -l` writes it.
fn fingerprint(key: &str) -> String {
    let base64 = key.split_once(' ').map_or("", |(_, key)| key);
    let blob = STANDARD.decode(base64).unwrap_or_default();
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Why a device is not connected: what shut it out counts more than that its link went.
fn reason_after<'a>(device: &'a DeviceRecord, link: &'a str) -> &'a str {
    if device.standing == Standing::Accepted { link } else { &device.reason }
}

pub(super) fn of_device(device: &DeviceRecord, body: EventBody, at: UnixMillis) -> NewEvent {
    NewEvent { at, device: Some(device.name.clone()), application: None, path: None, body }
}

pub(super) fn assignment(row: &SqliteRow) -> Result<Assignment, StoreError> {
    let columns = Columns::of("an assignment", row);
    Ok(Assignment { generation: Generation(columns.number("generation")?), instances: columns.json("instances")? })
}

pub(super) fn record(row: &SqliteRow) -> Result<DeviceRecord, StoreError> {
    let columns = Columns::of(DEVICE, row);
    Ok(DeviceRecord {
        id: columns.name("id")?,
        project: columns.name("project")?,
        name: columns.name("name")?,
        labels: columns.json("labels")?,
        facts: columns.json("facts")?,
        key_fingerprint: columns.text("key_fingerprint")?.to_owned(),
        next_key: columns.text_or_null("next_key")?.map(str::to_owned),
        certificate_ends: columns.number_or_null("certificate_ends")?.map(UnixMillis),
        rotate: columns.flag("rotate")?,
        enrolment: columns.number("enrolment")?,
        standing: identity::standing(columns.text("standing")?)?,
        reason: columns.text("reason")?.to_owned(),
        rejected: columns.flag("rejected")?,
        state_since: columns.number_or_null("state_since")?.map(UnixMillis),
        enrolled_by: columns.text("enrolled_by")?.to_owned(),
        enrolled_at: UnixMillis(columns.number("enrolled_at")?),
        last_seen: columns.number_or_null("last_seen")?.map(UnixMillis),
        generation: Generation(columns.number("generation")?),
        accepted: Generation(columns.number("accepted")?),
        reported: Generation(columns.number("reported")?),
        refused: columns.text_or_null("refused")?.map(str::to_owned),
        events_stored: columns.number("events_stored")?,
        online: columns.flag("online")?,
        silent: columns.flag("silent")?,
        switches: columns.json("switches")?,
    })
}
