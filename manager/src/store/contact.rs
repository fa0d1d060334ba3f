//! Contact with devices: how long each is out of it, and what follows.
//!
//! Whether a device is connected, silent or lapsed is on disk. Since when it is out of contact is kept in memory, by a
//! clock that nobody sets: neither a wall clock that jumps nor a manager that was down ends a lease early. After a
//! start every device is out of contact as of the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use robo_model::name::{ApplicationName, DeviceId, InstancePath, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::state::{InstanceReport, InstanceState};
use robo_wire::event::EventBody;
use sqlx::sqlite::SqliteRow;
use tokio::sync::Notify;

use super::devices::{self, DeviceRecord};
use super::events::{self, NewEvent};
use super::{Columns, Store, StoreError, Tx, at, big, commit, rules};

/// What the watchman has to know of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The device.
    pub device: DeviceId,
    /// Since when it is out of contact; nothing while it is connected.
    pub lost: Option<Instant>,
    /// True when it was told already that it is silent.
    pub silent: bool,
    /// How long those of its instances that offer something, and still count, outlive contact with it.
    pub leases: BTreeSet<Millis>,
}

/// What a device's silence led to; it is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silence {
    /// The device's project; nothing when nothing changed.
    pub project: Option<ProjectName>,
    /// Applications whose instances on the device are no longer on offer.
    pub exports_changed: Vec<ApplicationName>,
}

/// What moved about contact with a device; the higher includes the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContactMoved {
    /// What follows from its silence may be different, should it be silent.
    Consequences,
    /// It came, went, is new or was removed.
    Itself,
}

/// When each device was last heard of, and about which the watchman has to think again. At most one entry for each
/// device in either.
#[derive(Debug)]
pub(super) struct Contacts {
    inner: Mutex<Inner>,
    moved: Notify,
}

#[derive(Debug)]
struct Inner {
    opened: Instant,
    heard: BTreeMap<DeviceId, Instant>,
    moved: BTreeMap<DeviceId, ContactMoved>,
}

impl Default for Contacts {
    fn default() -> Self {
        let inner = Inner { opened: Instant::now(), heard: BTreeMap::new(), moved: BTreeMap::new() };
        Self { inner: Mutex::new(inner), moved: Notify::new() }
    }
}

impl Contacts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; were it so, the maps would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device was there until then. To be said before anybody can read that its contact is another one: nobody must
    /// take an earlier loss for this one.
    pub(super) fn heard(&self, device: &DeviceId, until: Instant) {
        self.lock().heard.insert(device.clone(), until);
    }

    /// This moved, and it can be read now.
    pub(super) fn moved<'a>(&self, devices: impl IntoIterator<Item = &'a DeviceId>, what: ContactMoved) {
        let mut inner = self.lock();
        for device in devices {
            let moved = inner.moved.entry(device.clone()).or_insert(what);
            *moved = what.max(*moved);
        }
        drop(inner);
        self.moved.notify_one();
    }

    /// There is no such device any more.
    pub(super) fn removed(&self, device: &DeviceId) {
        self.lock().heard.remove(device);
        self.moved([device], ContactMoved::Itself);
    }

    fn since(&self, device: &DeviceId) -> Instant {
        let inner = self.lock();
        inner.heard.get(device).copied().unwrap_or(inner.opened)
    }
}

impl Store {
    /// Waits until something about contact with devices moved, and takes it.
    pub async fn contacts_moved(&self) -> BTreeMap<DeviceId, ContactMoved> {
        loop {
            let moved = std::mem::take(&mut self.contacts.lock().moved);
            if !moved.is_empty() {
                return moved;
            }
            self.contacts.moved.notified().await;
        }
    }

    /// All devices that are out of contact.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lost_contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows = sqlx::query("SELECT id, online, silent FROM devices WHERE online = 0")
            .fetch_all(&mut *tx)
            .await
            .map_err(at("reading who is out of contact"))?;
        let mut contacts = rows.iter().map(|row| self.contact_of(row)).collect::<Result<Vec<_>, _>>()?;
        let rows = sqlx::query(
            "SELECT DISTINCT i.device, a.lease FROM instances i \
             JOIN assigned a ON a.device = i.device AND a.application = i.application AND a.path = i.path \
             JOIN devices d ON d.id = i.device WHERE d.online = 0 AND i.offers = 1 AND i.lapsed = 0",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading the leases of those out of contact"))?;
        let mut leases: BTreeMap<DeviceId, BTreeSet<Millis>> = BTreeMap::new();
        for row in &rows {
            let columns = Columns::of("a lease", row);
            leases.entry(columns.name("device")?).or_default().insert(Millis(columns.number("lease")?));
        }
        for contact in &mut contacts {
            contact.leases = leases.remove(&contact.device).unwrap_or_default();
        }
        Ok(contacts)
    }

    /// Contact with one device; nothing when there is no such device.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn contact(&self, id: &DeviceId) -> Result<Option<Contact>, StoreError> {
        let mut tx = self.snapshot().await?;
        let row = sqlx::query("SELECT id, online, silent FROM devices WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(at("reading contact with a device"))?;
        let Some(row) = row else { return Ok(None) };
        let mut contact = self.contact_of(&row)?;
        let leases: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT a.lease FROM instances i \
             JOIN assigned a ON a.device = i.device AND a.application = i.application AND a.path = i.path \
             WHERE i.device = $1 AND i.offers = 1 AND i.lapsed = 0",
        )
        .bind(id.as_str())
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading a device's leases"))?;
        contact.leases = leases.into_iter().map(|lease| Millis(super::count(lease))).collect();
        Ok(Some(contact))
    }

    fn contact_of(&self, row: &SqliteRow) -> Result<Contact, StoreError> {
        let columns = Columns::of("contact with a device", row);
        let device: DeviceId = columns.name("id")?;
        let lost = if columns.flag("online")? { None } else { Some(self.contacts.since(&device)) };
        Ok(Contact { device, lost, silent: columns.flag("silent")?, leases: BTreeSet::new() })
    }

    /// Draws the consequences of a device's silence until `up_to`: the leases that are over by then end, and after
    /// `silent_after` its hosts are PROBLEM. Does nothing while it is connected, and nothing twice. All in one
    /// transaction, with the events that tell.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn contact_lost(
        &self,
        id: &DeviceId,
        up_to: Instant,
        silent_after: Millis,
        now: UnixMillis,
    ) -> Result<Silence, StoreError> {
        let mut tx = self.begin().await?;
        let device = devices::locked(&mut tx, id).await?;
        if device.online {
            return Ok(Silence::default());
        }
        // Read while nobody else writes: whoever came and went in between is out of contact since then.
        let lost_for = up_to.saturating_duration_since(self.contacts.since(id));
        let lost_for = Millis(u64::try_from(lost_for.as_millis()).unwrap_or(u64::MAX));
        let (exports_changed, mut told) = lapse(&mut tx, &device, lost_for, now).await?;
        let falls_silent = !device.silent && rules::is_over(silent_after, lost_for);
        if falls_silent {
            sqlx::query("UPDATE devices SET silent = 1 WHERE id = $1")
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(at("noting that a device is silent"))?;
            told.extend(hosts(&mut tx, &device, true, now).await?);
        }
        if !falls_silent && told.is_empty() {
            return Ok(Silence::default());
        }
        events::append(&mut tx, &device.project, &told).await?;
        commit(tx).await?;
        Ok(Silence { project: Some(device.project), exports_changed: exports_changed.into_iter().collect() })
    }
}

/// Ends the leases that are no longer than `lost_for`.
async fn lapse(
    tx: &mut Tx,
    device: &DeviceRecord,
    lost_for: Millis,
    now: UnixMillis,
) -> Result<(BTreeSet<ApplicationName>, Vec<NewEvent>), StoreError> {
    let rows = sqlx::query(
        "UPDATE instances SET lapsed = 1 WHERE device = $1 AND offers = 1 AND lapsed = 0 AND EXISTS \
         (SELECT 1 FROM assigned a WHERE a.device = instances.device AND a.application = instances.application \
         AND a.path = instances.path AND a.lease <= $2) RETURNING application, path",
    )
    .bind(device.id.as_str())
    .bind(big(lost_for.0))
    .fetch_all(&mut **tx)
    .await
    .map_err(at("ending leases"))?;
    let (mut applications, mut told) = (BTreeSet::new(), Vec::new());
    for row in &rows {
        let columns = Columns::of("a lease that is over", row);
        let application: ApplicationName = columns.name("application")?;
        told.push(of_instance(device, &application, columns.name("path")?, EventBody::LeaseEnded, now));
        applications.insert(application);
    }
    Ok((applications, told))
}

/// The device is connected again: its leases begin anew. Answers with the applications of which something is on offer
/// again, and with the events that tell.
pub(super) async fn resume(
    tx: &mut Tx,
    device: &DeviceRecord,
    now: UnixMillis,
) -> Result<(Vec<ApplicationName>, Vec<NewEvent>), StoreError> {
    let again: Vec<String> =
        sqlx::query_scalar("UPDATE instances SET lapsed = 0 WHERE device = $1 AND lapsed = 1 RETURNING application")
            .bind(device.id.as_str())
            .fetch_all(&mut **tx)
            .await
            .map_err(at("beginning leases anew"))?;
    let again: BTreeSet<String> = again.into_iter().collect();
    let again = again.iter().map(|name| super::parse("an application", name)).collect::<Result<_, _>>()?;
    let told = if device.silent { hosts(tx, device, false, now).await? } else { Vec::new() };
    Ok((again, told))
}

/// The events of a device's hosts that become PROBLEM, or are what they said they are again.
async fn hosts(tx: &mut Tx, device: &DeviceRecord, silent: bool, now: UnixMillis) -> Result<Vec<NewEvent>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.report FROM instances i \
         JOIN assigned a ON a.device = i.device AND a.application = i.application AND a.path = i.path \
         WHERE i.device = $1 AND a.installer = 'target' ORDER BY i.application, i.path",
    )
    .bind(device.id.as_str())
    .fetch_all(&mut **tx)
    .await
    .map_err(at("reading a device's hosts"))?;
    let mut told = Vec::new();
    for row in &rows {
        let report: InstanceReport = Columns::of("a host's report", row).json("report")?;
        let shown = rules::shown(report.state, true, true);
        if shown == InstanceState::Problem && shown != report.state {
            let (from, to) = if silent { (report.state, shown) } else { (shown, report.state) };
            let body = EventBody::State { from, to, waits_for: Vec::new() };
            told.push(of_instance(device, &report.application, report.path, body, now));
        }
    }
    Ok(told)
}

fn of_instance(
    device: &DeviceRecord,
    application: &ApplicationName,
    path: InstancePath,
    body: EventBody,
    now: UnixMillis,
) -> NewEvent {
    let (device, application) = (Some(device.name.clone()), Some(application.clone()));
    NewEvent { at: now, device, application, path: Some(path), body }
}
