//! What devices report of their instances.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, ComponentName, DeviceId, InstancePath, ProjectName, Variable};
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Provider;
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use robo_wire::api::DeviceInstance;
use robo_wire::event::AgentEvent;
use robo_wire::link::Update;

use super::contact::ContactMoved;
use super::devices::{self, DeviceRecord};
use super::events::{self, NewEvent};
use super::rules::{self, Named, Touched};
use super::{Columns, Store, StoreError, Tx, at, big, commit, from_json, release, to_json};

/// What an update changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The highest number of the device's own events that is stored now.
    pub events_stored: u64,
    /// Applications whose instances here offer other variables than before.
    pub exports_changed: Vec<ApplicationName>,
    /// Applications in which somebody may have to be told that it is released: what their instances here offer, need or
    /// wait for is different, or they were needed here, and somebody in the project waits. [`Store::released`] says who.
    pub release_changed: Vec<ApplicationName>,
    /// True when the project's history grew.
    pub events_added: bool,
    /// Instances that the device told of, that it is not assigned and was not when it first told of them: nothing of
    /// them is stored. Should one of them be assigned, the device has to tell of it again.
    pub unknown: BTreeSet<InstanceKey>,
    /// Instances that the device said offer variables which its assignment does not name: those are not stored. An
    /// assignment that names one of them again may be what the device has all the time, so it has to tell again.
    pub unnamed: BTreeMap<InstanceKey, BTreeSet<Variable>>,
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
    /// True when its lease is over: what it offers does not count.
    pub lapsed: bool,
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
        let (mut touched, mut unknown) = (Touched::default(), BTreeSet::new());
        let (mut allowed, mut unnamed) = (Allowed::default(), BTreeMap::new());
        for report in &update.reports {
            let report = rules::bounded(report);
            let report = allowed.cut(&mut tx, id, &report, &mut unnamed).await?;
            if !record_report(&mut tx, &device, &report, &mut touched).await? {
                let key = rules::key_of(&report);
                unnamed.remove(&key);
                unknown.insert(key);
            }
        }
        let (told, events_stored) = rules::news(device.events_stored, &update.events);
        // Before any is forgotten: the end of an instance is the last that is told of it.
        let events = of_instances(&mut tx, &device, &told).await?;
        for key in gone(&mut tx, id, update).await? {
            forget(&mut tx, id, &key, &mut touched).await?;
        }
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
        let waits = !touched.release.is_empty() && release::somebody_waits(&mut tx, &device.project).await?;
        commit(tx).await?;
        if !device.online {
            // Told over a link that broke in between: the watchman may not know of these leases.
            self.contacts.moved([id], ContactMoved::Consequences);
        }
        if !unknown.is_empty() {
            tracing::warn!(device = %id, instances = unknown.len(), "reports of instances that the device is not assigned are dropped");
        }
        Ok(Recorded {
            events_stored,
            exports_changed: touched.offers.into_iter().collect(),
            release_changed: touched.release.into_iter().filter(|_| waits).collect(),
            events_added: !events.is_empty(),
            unknown,
            unnamed,
        })
    }

    /// The instances of these applications that offer something right now, each with its device. Only what is assigned
    /// counts: no device can offer in the place of another. Those whose lease is over are not among them.
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
                 WHERE i.project = $1 AND i.application = $2 AND i.offers = 1 AND i.lapsed = 0",
            )
            .bind(project.as_str())
            .bind(application.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(at("reading what instances offer"))?;
            for row in &rows {
                let columns = Columns::of(REPORT, row);
                providers.push((columns.name("device")?, rules::provider(columns.json("report")?)));
            }
        }
        Ok(providers)
    }

    /// What one device should run, and what it told of that, by application and path. `silent` says whether it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instances_of(&self, id: &DeviceId, silent: bool) -> Result<Vec<DeviceInstance>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.application, a.path, a.component, a.installer, a.wanted, i.report FROM assigned a \
             LEFT JOIN instances i ON i.device = a.device AND i.application = a.application AND i.path = a.path \
             WHERE a.device = $1 ORDER BY a.application, a.path",
        )
        .bind(id.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading what runs on a device"))?;
        let instance = |row| {
            let columns = Columns::of("what runs on a device", row);
            let report = columns.text_or_null("report")?;
            let report: Option<InstanceReport> = report.map(|text| from_json("a report", text)).transpose()?;
            let state = report.map_or(InstanceState::NotDeployed, |report| report.state);
            Ok(DeviceInstance {
                application: columns.name("application")?,
                path: columns.name("path")?,
                component: columns.name("component")?,
                wanted: columns.json("wanted")?,
                state: rules::shown(state, columns.text("installer")? == "target", silent),
            })
        };
        rows.iter().map(instance).collect()
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
            "SELECT device, installer, report, lapsed FROM instances \
             WHERE project = $1 AND ($2 IS NULL OR application = $2)",
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
                lapsed: false,
            };
            let instance = found.entry((key.clone(), device.clone())).or_insert_with(leaving);
            instance.lapsed = columns.flag("lapsed")?;
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
            lapsed: false,
        };
        found.insert((key, device), instance);
    }
    Ok(found)
}

/// What the instances of a device may offer, read when the first of them offers something.
#[derive(Default)]
struct Allowed(Option<BTreeMap<InstanceKey, Named>>);

impl Allowed {
    /// The report without what its instance may not offer; what is not even named is noted.
    async fn cut<'a>(
        &mut self,
        tx: &mut Tx,
        id: &DeviceId,
        report: &'a InstanceReport,
        unnamed: &mut BTreeMap<InstanceKey, BTreeSet<Variable>>,
    ) -> Result<Cow<'a, InstanceReport>, StoreError> {
        if report.exports.is_empty() && report.outside.is_empty() {
            return Ok(Cow::Borrowed(report));
        }
        if self.0.is_none() {
            let assignment = devices::assignment_of(tx, id).await?.unwrap_or_default();
            self.0 = Some(assignment.instances.iter().map(|spec| (spec.key.clone(), Named::of(spec))).collect());
        }
        let key = rules::key_of(report);
        let named = self.0.as_ref().and_then(|all| all.get(&key));
        let cut = rules::cut(report, named);
        if matches!(cut, Cow::Owned(_)) {
            tracing::warn!(device = %id, instance = %key, "exports that the assignment does not name, or too large ones, are dropped");
            let variables = rules::unnamed(report, named);
            if !variables.is_empty() {
                unnamed.insert(key, variables);
            }
        }
        Ok(cut)
    }
}

/// Stores a report. False when it is of an instance that is none of the device's: a device that was broken into must not
/// fill the store with what it makes up.
async fn record_report(
    tx: &mut Tx,
    device: &DeviceRecord,
    report: &InstanceReport,
    touched: &mut Touched,
) -> Result<bool, StoreError> {
    let text = to_json(REPORT, report)?;
    let key = rules::key_of(report);
    let old = stored(tx, &device.id, &key).await?;
    if old.as_deref() == Some(text.as_str()) {
        return Ok(true);
    }
    if old.is_none() && !is_its_own(tx, &device.id, &key).await? {
        return Ok(false);
    }
    let old: Option<InstanceReport> = old.map(|old| from_json(REPORT, &old)).transpose()?;
    touched.note(old.as_ref(), Some(report));
    sqlx::query(
        "INSERT INTO instances (device, project, application, path, report, offers, held, needs, installer) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '') \
         ON CONFLICT (device, application, path) DO UPDATE SET \
         report = excluded.report, offers = excluded.offers, held = excluded.held, needs = excluded.needs",
    )
    .bind(device.id.as_str())
    .bind(device.project.as_str())
    .bind(report.application.as_str())
    .bind(report.path.as_str())
    .bind(text)
    .bind(i64::from(!report.exports.is_empty() || !report.outside.is_empty()))
    .bind(i64::from(!report.held_for.is_empty()))
    .bind(i64::from(!report.needs.is_empty()))
    .execute(&mut **tx)
    .await
    .map_err(at("writing a report"))?;
    let reached = old.as_ref().map(rules::reaches).unwrap_or_default();
    let reaches = rules::reaches(report);
    if reached != reaches {
        list_reached(tx, device, &key, &reaches).await?;
    }
    Ok(true)
}

/// True when the instance is assigned to the device, or was, and the device did not say yet that it is gone.
async fn is_its_own(tx: &mut Tx, device: &DeviceId, key: &InstanceKey) -> Result<bool, StoreError> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT path FROM assigned WHERE device = $1 AND application = $2 AND path = $3 \
         UNION ALL SELECT path FROM instances WHERE device = $1 AND application = $2 AND path = $3 LIMIT 1",
    )
    .bind(device.as_str())
    .bind(key.application.as_str())
    .bind(key.path.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(at("looking whose an instance is"))?;
    Ok(found.is_some())
}

async fn list_reached(
    tx: &mut Tx,
    device: &DeviceRecord,
    key: &InstanceKey,
    reaches: &BTreeSet<&ApplicationName>,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM reaches WHERE device = $1 AND application = $2 AND path = $3")
        .bind(device.id.as_str())
        .bind(key.application.as_str())
        .bind(key.path.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("listing needs"))?;
    for other in reaches {
        sqlx::query("INSERT INTO reaches (device, application, path, project, other) VALUES ($1, $2, $3, $4, $5)")
            .bind(device.id.as_str())
            .bind(key.application.as_str())
            .bind(key.path.as_str())
            .bind(device.project.as_str())
            .bind(other.as_str())
            .execute(&mut **tx)
            .await
            .map_err(at("listing a need"))?;
    }
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

async fn forget(tx: &mut Tx, device: &DeviceId, key: &InstanceKey, touched: &mut Touched) -> Result<(), StoreError> {
    let old: Option<String> = sqlx::query_scalar(
        "DELETE FROM instances WHERE device = $1 AND application = $2 AND path = $3 RETURNING report",
    )
    .bind(device.as_str())
    .bind(key.application.as_str())
    .bind(key.path.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(at("forgetting an instance"))?;
    let old: Option<InstanceReport> = old.map(|old| from_json(REPORT, &old)).transpose()?;
    touched.note(old.as_ref(), None);
    Ok(())
}

/// The events as they are kept: of an instance that is none of the device's they do not tell.
async fn of_instances(tx: &mut Tx, device: &DeviceRecord, told: &[&AgentEvent]) -> Result<Vec<NewEvent>, StoreError> {
    let mut own: BTreeMap<&InstanceKey, bool> = BTreeMap::new();
    let mut events = Vec::with_capacity(told.len());
    for event in told {
        let key = match &event.key {
            None => None,
            Some(key) => {
                let is_own = match own.get(key) {
                    Some(known) => *known,
                    None => is_its_own(tx, &device.id, key).await?,
                };
                own.insert(key, is_own);
                is_own.then_some(key)
            }
        };
        events.push(NewEvent {
            at: event.at,
            device: Some(device.name.clone()),
            application: key.map(|key| key.application.clone()),
            path: key.map(|key| key.path.clone()),
            body: event.body.clone(),
        });
    }
    Ok(events)
}
