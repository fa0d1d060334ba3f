//! What devices report of their instances.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use robo_model::limits::MAX_VALUE_BYTES;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, InstancePath, ProjectName, Variable};
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Provider;
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceReport, Wanted};
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::link::Update;

use super::devices::{self, DeviceRecord};
use super::events::{self, NewEvent};
use super::{Columns, Store, StoreError, Tx, at, big, commit, from_json, to_json};

/// What an update changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The highest number of the device's own events that is stored now.
    pub events_stored: u64,
    /// Applications whose instances here offer other variables than before.
    pub exports_changed: Vec<ApplicationName>,
    /// True when the project's history grew.
    pub events_added: bool,
}

/// One instance, assigned or reported or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedInstance {
    /// The device.
    pub device: DeviceId,
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// The word after `installer:`; empty when nobody remembers.
    pub installer: String,
    /// What it should be; nothing when it is no longer assigned and only has to go.
    pub wanted: Option<Wanted>,
    /// What the device told last.
    pub report: Option<InstanceReport>,
}

const REPORT: &str = "an instance's report";

impl Store {
    /// Stores what a device told, all or nothing. Told twice, it changes nothing the second time.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn record_update(&self, id: &DeviceId, update: &Update, now: UnixMillis) -> Result<Recorded, StoreError> {
        let mut tx = self.begin().await?;
        let device = devices::locked(&mut tx, id).await?;
        let mut changed = BTreeSet::new();
        let mut allowed = Allowed::default();
        for report in &update.reports {
            let report = allowed.cut(&mut tx, id, report).await?;
            record_report(&mut tx, &device, &report, &mut changed).await?;
        }
        for key in gone(&mut tx, id, update).await? {
            forget(&mut tx, id, &key, &mut changed).await?;
        }
        let (events, events_stored) = news(&device, &update.events);
        if !events.is_empty() {
            events::append(&mut tx, &device.project, &events).await?;
        }
        sqlx::query("UPDATE devices SET events_stored = $2, last_seen = $3, reported = $4 WHERE id = $1")
            .bind(id.as_str())
            .bind(big(events_stored))
            .bind(big(now.0))
            .bind(big(update.generation.0))
            .execute(&mut *tx)
            .await
            .map_err(at("noting how far a device has told"))?;
        commit(tx).await?;
        Ok(Recorded { events_stored, exports_changed: changed.into_iter().collect(), events_added: !events.is_empty() })
    }

    /// The instances of these applications that offer something right now, each with its device. Only what is assigned
    /// counts: no device can offer in the place of another.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn providers(
        &self,
        project: &ProjectName,
        applications: &[ApplicationName],
    ) -> Result<Vec<(DeviceId, Provider)>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut providers = Vec::new();
        for application in applications {
            let rows = sqlx::query(
                "SELECT i.device, i.report FROM instances i JOIN assigned a \
                 ON a.device = i.device AND a.application = i.application AND a.path = i.path \
                 WHERE i.project = $1 AND i.application = $2 AND i.offers = 1",
            )
            .bind(project.as_str())
            .bind(application.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(at("reading what instances offer"))?;
            for row in &rows {
                let columns = Columns::of(REPORT, row);
                let report: InstanceReport = columns.json("report")?;
                let key = InstanceKey { application: report.application, path: report.path };
                let provider =
                    Provider { key, component: report.component, exports: report.exports, outside: report.outside };
                providers.push((columns.name("device")?, provider));
            }
        }
        Ok(providers)
    }

    /// Every instance of the project, or of one application, that is assigned or was reported, by application and path.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instances(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Vec<ReportedInstance>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut found = assigned(&mut tx, project, application).await?;
        let rows = sqlx::query(
            "SELECT device, installer, report FROM instances WHERE project = $1 AND ($2 IS NULL OR application = $2)",
        )
        .bind(project.as_str())
        .bind(application.map(ApplicationName::as_str))
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading reports"))?;
        for row in &rows {
            let columns = Columns::of(REPORT, row);
            let report: InstanceReport = columns.json("report")?;
            let device: DeviceId = columns.name("device")?;
            let key = InstanceKey { application: report.application.clone(), path: report.path.clone() };
            let leaving = || ReportedInstance {
                device: device.clone(),
                key: key.clone(),
                component: report.component.clone(),
                installer: columns.text("installer").unwrap_or_default().to_owned(),
                wanted: None,
                report: None,
            };
            let instance = found.entry((key.clone(), device.clone())).or_insert_with(leaving);
            instance.report = Some(report);
        }
        Ok(found.into_values().collect())
    }
}

type Found = BTreeMap<(InstanceKey, DeviceId), ReportedInstance>;

async fn assigned(
    tx: &mut Tx,
    project: &ProjectName,
    application: Option<&ApplicationName>,
) -> Result<Found, StoreError> {
    let rows = sqlx::query(
        "SELECT device, application, path, component, installer, wanted FROM assigned \
         WHERE project = $1 AND ($2 IS NULL OR application = $2)",
    )
    .bind(project.as_str())
    .bind(application.map(ApplicationName::as_str))
    .fetch_all(&mut **tx)
    .await
    .map_err(at("reading what is assigned"))?;
    let mut found = Found::new();
    for row in &rows {
        let columns = Columns::of("an assigned instance", row);
        let device: DeviceId = columns.name("device")?;
        let key = InstanceKey { application: columns.name("application")?, path: columns.name("path")? };
        let instance = ReportedInstance {
            device: device.clone(),
            key: key.clone(),
            component: columns.name("component")?,
            installer: columns.text("installer")?.to_owned(),
            wanted: Some(columns.json("wanted")?),
            report: None,
        };
        found.insert((key, device), instance);
    }
    Ok(found)
}

/// What the instances of a device may offer: the variables that its assignment names, and no other. A device that was
/// broken into must not speak for others.
#[derive(Default)]
struct Allowed(Option<BTreeMap<InstanceKey, BTreeSet<Variable>>>);

impl Allowed {
    /// The report without what its instance may not offer.
    async fn cut<'a>(
        &mut self,
        tx: &mut Tx,
        id: &DeviceId,
        report: &'a InstanceReport,
    ) -> Result<Cow<'a, InstanceReport>, StoreError> {
        if report.exports.is_empty() {
            return Ok(Cow::Borrowed(report));
        }
        if self.0.is_none() {
            let assignment = devices::assignment_of(tx, id).await?.unwrap_or_default();
            let named = assignment.instances.into_iter().map(|spec| (spec.key, spec.exports.into_keys().collect()));
            self.0 = Some(named.collect());
        }
        let key = InstanceKey { application: report.application.clone(), path: report.path.clone() };
        let named = self.0.as_ref().and_then(|all| all.get(&key));
        let fits = |variable: &Variable, value: &String| {
            named.is_some_and(|named| named.contains(variable))
                && value.len() <= MAX_VALUE_BYTES
                && !value.contains('\0')
        };
        if report.exports.iter().all(|(variable, value)| fits(variable, value)) {
            return Ok(Cow::Borrowed(report));
        }
        tracing::warn!(device = %id, instance = %key, "exports that the assignment does not name, or too large ones, are dropped");
        let mut report = report.clone();
        report.exports.retain(|variable, value| fits(variable, value));
        Ok(Cow::Owned(report))
    }
}

async fn record_report(
    tx: &mut Tx,
    device: &DeviceRecord,
    report: &InstanceReport,
    changed: &mut BTreeSet<ApplicationName>,
) -> Result<(), StoreError> {
    let text = to_json(REPORT, report)?;
    let key = InstanceKey { application: report.application.clone(), path: report.path.clone() };
    let old = stored(tx, &device.id, &key).await?;
    if old.as_deref() == Some(text.as_str()) {
        return Ok(());
    }
    let before = match &old {
        Some(old) => from_json::<InstanceReport>(REPORT, old)?.exports,
        None => BTreeMap::new(),
    };
    if before != report.exports {
        changed.insert(report.application.clone());
    }
    sqlx::query(
        "INSERT INTO instances (device, project, application, path, report, offers, installer) \
         VALUES ($1, $2, $3, $4, $5, $6, '') \
         ON CONFLICT (device, application, path) DO UPDATE SET report = excluded.report, offers = excluded.offers",
    )
    .bind(device.id.as_str())
    .bind(device.project.as_str())
    .bind(report.application.as_str())
    .bind(report.path.as_str())
    .bind(text)
    .bind(i64::from(!report.exports.is_empty()))
    .execute(&mut **tx)
    .await
    .map_err(at("writing a report"))?;
    Ok(())
}

async fn stored(tx: &mut Tx, device: &DeviceId, key: &InstanceKey) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT report FROM instances WHERE device = $1 AND application = $2 AND path = $3")
        .bind(device.as_str())
        .bind(key.application.as_str())
        .bind(key.path.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading a report"))
}

/// The instances that are gone: those that the device says, and with a full update all it does not name.
async fn gone(tx: &mut Tx, device: &DeviceId, update: &Update) -> Result<Vec<InstanceKey>, StoreError> {
    let mut gone = update.removed.clone();
    if update.full {
        let named: BTreeSet<(&ApplicationName, &InstancePath)> =
            update.reports.iter().map(|r| (&r.application, &r.path)).collect();
        let rows = sqlx::query("SELECT application, path FROM instances WHERE device = $1")
            .bind(device.as_str())
            .fetch_all(&mut **tx)
            .await
            .map_err(at("reading a device's instances"))?;
        for row in &rows {
            let columns = Columns::of("an instance", row);
            let key = InstanceKey { application: columns.name("application")?, path: columns.name("path")? };
            if !named.contains(&(&key.application, &key.path)) {
                gone.push(key);
            }
        }
    }
    Ok(gone)
}

async fn forget(
    tx: &mut Tx,
    device: &DeviceId,
    key: &InstanceKey,
    changed: &mut BTreeSet<ApplicationName>,
) -> Result<(), StoreError> {
    let offered: Option<i64> = sqlx::query_scalar(
        "DELETE FROM instances WHERE device = $1 AND application = $2 AND path = $3 RETURNING offers",
    )
    .bind(device.as_str())
    .bind(key.application.as_str())
    .bind(key.path.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(at("forgetting an instance"))?;
    if offered == Some(1) {
        changed.insert(key.application.clone());
    }
    Ok(())
}

/// Those of a device's events that are not stored yet, and the highest number there is then.
fn news(device: &DeviceRecord, told: &[AgentEvent]) -> (Vec<NewEvent>, u64) {
    let mut stored = device.events_stored;
    let mut news = Vec::new();
    for event in told {
        if event.seq <= stored {
            continue;
        }
        stored = event.seq;
        if !is_of_an_agent(&event.body) {
            tracing::warn!(device = %device.id, seq = event.seq, "the device tells what only a manager can know; dropped");
            continue;
        }
        news.push(NewEvent {
            at: event.at,
            device: Some(device.name.clone()),
            application: event.key.as_ref().map(|key| key.application.clone()),
            path: event.key.as_ref().map(|key| key.path.clone()),
            body: event.body.clone(),
        });
    }
    (news, stored)
}

/// True for what a device may tell: a history that devices could forge would be none.
const fn is_of_an_agent(body: &EventBody) -> bool {
    match body {
        EventBody::State { .. }
        | EventBody::Failed { .. }
        | EventBody::Updated { .. }
        | EventBody::Health { .. }
        | EventBody::Adopted { .. }
        | EventBody::Forgotten
        | EventBody::Assigned { .. }
        | EventBody::Gap { .. }
        | EventBody::Cancelled { .. }
        | EventBody::Retried { .. }
        | EventBody::Drift { .. }
        | EventBody::Unknown => true,
        EventBody::Enrolled
        | EventBody::Online
        | EventBody::Offline { .. }
        | EventBody::Applied { .. }
        | EventBody::LeaseEnded
        | EventBody::Removed
        | EventBody::Labelled { .. }
        | EventBody::Bound { .. }
        | EventBody::Asked { .. }
        | EventBody::Deleted
        | EventBody::Executed { .. } => false,
    }
}
