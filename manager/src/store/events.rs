//! The history of each project: numbered without gaps, bounded.

use robo_model::name::{ApplicationName, DeviceName, InstancePath, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::event::{Event, EventBody};
use sqlx::sqlite::SqliteRow;

use super::rules::MAX_EVENT_BYTES;
use super::{Columns, Store, StoreError, Tx, at, big, commit, count, rules, to_json};

/// Most events kept for one project; older ones go. Months of a busy fleet, some tens of megabytes.
pub const MAX_EVENTS: u64 = 100_000;

/// An event without its number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened.
    pub at: UnixMillis,
    /// On which device.
    pub device: Option<DeviceName>,
    /// To which application.
    pub application: Option<ApplicationName>,
    /// To which instance.
    pub path: Option<InstancePath>,
    /// What.
    pub body: EventBody,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those of this application.
    pub application: Option<ApplicationName>,
    /// At most so many.
    pub limit: u32,
}

/// Some events, and how far the reader has come with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Event>,
    /// Everything up to this number was looked at; go on after it.
    pub cursor: u64,
    /// True when there is more right now.
    pub more: bool,
}

impl Store {
    /// The events after number `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_after(
        &self,
        project: &ProjectName,
        after: u64,
        filter: &EventFilter,
    ) -> Result<EventPage, StoreError> {
        let mut tx = self.snapshot().await?;
        let newest = newest(&mut tx, project).await?;
        if newest <= after {
            return Ok(EventPage { events: Vec::new(), cursor: after, more: false });
        }
        let rows = sqlx::query(
            "SELECT id, at, device, application, path, body FROM events \
             WHERE project = $1 AND id > $2 AND ($3 IS NULL OR application = $3) ORDER BY id LIMIT $4",
        )
        .bind(project.as_str())
        .bind(big(after))
        .bind(filter.application.as_ref().map(ApplicationName::as_str))
        .bind(i64::from(filter.limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading events"))?;
        let more = rows.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let events = rows.iter().map(event).collect::<Result<Vec<_>, _>>()?;
        let last = events.last().map_or(after, |e| e.id);
        Ok(EventPage { events, cursor: if more { last } else { newest }, more })
    }

    /// The last events there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_events(&self, project: &ProjectName, filter: &EventFilter) -> Result<EventPage, StoreError> {
        let mut tx = self.snapshot().await?;
        let newest = newest(&mut tx, project).await?;
        let rows = sqlx::query(
            "SELECT id, at, device, application, path, body FROM events \
             WHERE project = $1 AND ($2 IS NULL OR application = $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(project.as_str())
        .bind(filter.application.as_ref().map(ApplicationName::as_str))
        .bind(i64::from(filter.limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading the last events"))?;
        let events = rows.iter().rev().map(event).collect::<Result<Vec<_>, _>>()?;
        Ok(EventPage { events, cursor: newest, more: false })
    }

    /// Adds events; answers with the number of the last one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_events(&self, project: &ProjectName, events: &[NewEvent]) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let newest = append(&mut tx, project, events).await?;
        commit(tx).await?;
        Ok(newest)
    }
}

/// The number of the project's newest event; 0 before the first.
pub(super) async fn newest(tx: &mut Tx, project: &ProjectName) -> Result<u64, StoreError> {
    let value: Option<i64> = sqlx::query_scalar("SELECT value FROM counters WHERE name = $1")
        .bind(counter(project))
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading the newest event's number"))?;
    Ok(value.map_or(0, count))
}

/// Adds events within a transaction; answers with the number of the newest one.
pub(super) async fn append(tx: &mut Tx, project: &ProjectName, events: &[NewEvent]) -> Result<u64, StoreError> {
    if events.is_empty() {
        return newest(tx, project).await;
    }
    let added = events.len() as u64;
    let value: i64 = sqlx::query_scalar(
        "INSERT INTO counters (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value",
    )
    .bind(counter(project))
    .bind(big(added))
    .fetch_one(&mut **tx)
    .await
    .map_err(at("numbering events"))?;
    let newest = count(value);
    for (event, id) in events.iter().zip(newest - added + 1..) {
        insert(tx, project, id, event).await?;
    }
    sqlx::query("DELETE FROM events WHERE project = $1 AND id <= $2")
        .bind(project.as_str())
        .bind(big(newest.saturating_sub(MAX_EVENTS)))
        .execute(&mut **tx)
        .await
        .map_err(at("dropping old events"))?;
    Ok(newest)
}

async fn insert(tx: &mut Tx, project: &ProjectName, id: u64, event: &NewEvent) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (project, id, at, device, application, path, body) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(project.as_str())
    .bind(big(id))
    .bind(big(event.at.0))
    .bind(event.device.as_ref().map(DeviceName::as_str))
    .bind(event.application.as_ref().map(ApplicationName::as_str))
    .bind(event.path.as_ref().map(InstancePath::as_str))
    .bind(body_of(event)?)
    .execute(&mut **tx)
    .await
    .map_err(at("writing an event"))?;
    Ok(())
}

/// The event's body as JSON; one that is too large is cut, and says so.
fn body_of(event: &NewEvent) -> Result<String, StoreError> {
    let text = to_json("an event", &event.body)?;
    if text.len() <= MAX_EVENT_BYTES {
        return Ok(text);
    }
    tracing::warn!(device = ?event.device, bytes = text.len(), "an event is too large and was cut");
    to_json("an event", &rules::shortened(&event.body))
}

fn counter(project: &ProjectName) -> String {
    format!("events/{project}")
}

fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    let columns = Columns::of("an event", row);
    Ok(Event {
        id: columns.number("id")?,
        at: UnixMillis(columns.number("at")?),
        device: columns.name_or_null("device")?,
        application: columns.name_or_null("application")?,
        path: columns.name_or_null("path")?,
        body: columns.json("body")?,
    })
}
