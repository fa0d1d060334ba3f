//! Enrolment tokens, and the devices that come of them. Secrets come here hashed.

use std::time::Instant;

use robo_model::label::Labels;
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{Facts, Standing};
use robo_wire::event::EventBody;
use sqlx::sqlite::SqliteRow;

use super::contact::ContactMoved;
use super::devices::{self, DeviceRecord};
use super::events::{self, NewEvent};
use super::identity::standing_name;
use super::projects;
use super::{Columns, Store, StoreError, Tx, at, big, commit, to_json};

/// How long an enrolment token is remembered after its end, to say *used* or *expired* and not *unknown*.
const REMEMBERED: Millis = Millis::from_secs(30 * 24 * 3600);

/// What an enrolment token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollTokenRecord {
    /// How many devices it lets in.
    pub uses: u32,
    /// How many came.
    pub used: u32,
    /// Whether an operator has to accept each of them.
    pub approve: bool,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Whose token made it.
    pub created_by: String,
    /// Its project.
    pub project: ProjectName,
    /// The name of the device, where it gives one.
    pub name: Option<DeviceName>,
    /// The labels the device gets.
    pub labels: Labels,
    /// Whether a device of that name gets a new key.
    pub replace: bool,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// When it was used last.
    pub used_at: Option<UnixMillis>,
    /// By which device.
    pub used_by: Option<DeviceName>,
}

impl EnrollTokenRecord {
    /// One that lets in one device of any name until then.
    #[must_use]
    pub fn new(project: ProjectName, expires_at: UnixMillis) -> Self {
        Self {
            uses: 1,
            used: 0,
            approve: false,
            created_at: UnixMillis(0),
            created_by: String::new(),
            project,
            name: None,
            labels: Labels::new(),
            replace: false,
            expires_at,
            used_at: None,
            used_by: None,
        }
    }
}

/// A device that enrols.
#[derive(Debug, Clone)]
pub struct NewDevice<'a> {
    /// The SHA-256 of its token.
    pub token: &'a str,
    /// Its identity: a new one, or that of the device it replaces.
    pub id: &'a DeviceId,
    /// Its name.
    pub name: &'a DeviceName,
    /// SHA-256 of its public key, in hexadecimal.
    pub key_fingerprint: &'a str,
    /// When its certificate ends; nothing where nobody knows.
    pub certificate_ends: Option<UnixMillis>,
    /// What it tells of itself.
    pub facts: &'a Facts,
}

/// Whether the device is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolment {
    /// It is, and the token is used.
    Done,
    /// Others used the token up, or it was revoked.
    TokenUsed,
    /// Another device has the name.
    NameTaken,
    /// The project has as many devices as it may have.
    Full {
        /// How many.
        max: u32,
    },
}

impl Store {
    /// Remembers an enrolment token by its hash, and forgets those that ended long ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_enroll_token(
        &self,
        hash: &str,
        token: &EnrollTokenRecord,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM enroll_tokens WHERE expires_at < $1")
            .bind(big(now.0.saturating_sub(REMEMBERED.0)))
            .execute(&mut *tx)
            .await
            .map_err(at("dropping old enrolment tokens"))?;
        sqlx::query(
            "INSERT INTO enroll_tokens (hash, project, name, labels, replaces, expires_at, uses, approve, created_at, \
             created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(hash)
        .bind(token.project.as_str())
        .bind(token.name.as_ref().map(DeviceName::as_str))
        .bind(to_json("labels", &token.labels)?)
        .bind(i64::from(token.replace))
        .bind(big(token.expires_at.0))
        .bind(i64::from(token.uses))
        .bind(i64::from(token.approve))
        .bind(big(now.0))
        .bind(&token.created_by)
        .execute(&mut *tx)
        .await
        .map_err(at("writing an enrolment token"))?;
        commit(tx).await
    }

    /// The enrolment token with this hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enroll_token(&self, hash: &str) -> Result<Option<EnrollTokenRecord>, StoreError> {
        let row = sqlx::query(SELECT_TOKEN)
            .bind(hash)
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading an enrolment token"))?;
        row.as_ref().map(token).transpose()
    }

    /// The project's enrolment tokens with their hashes, those first that end last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enroll_tokens(&self, project: &ProjectName) -> Result<Vec<(String, EnrollTokenRecord)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM enroll_tokens WHERE project = $1 ORDER BY expires_at DESC, hash")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the enrolment tokens"))?;
        let with_hash = |row| {
            let hash = Columns::of("an enrolment token", row).text("hash")?.to_owned();
            Ok((hash, token(row)?))
        };
        rows.iter().map(with_hash).collect()
    }

    /// Forgets an enrolment token. False when there is none with this hash in the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_enroll_token(&self, project: &ProjectName, hash: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM enroll_tokens WHERE project = $1 AND hash = $2")
            .bind(project.as_str())
            .bind(hash)
            .execute(&self.writer)
            .await
            .map_err(at("forgetting an enrolment token"))?;
        Ok(done.rows_affected() > 0)
    }

    /// The device that enrolled with this token and this key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrolled_with(&self, hash: &str, key: &str) -> Result<Option<DeviceRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM devices WHERE enrolled_with = $1 AND key_fingerprint = $2")
            .bind(hash)
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .map_err(at("looking for who enrolled with a token"))?;
        row.as_ref().map(devices::record).transpose()
    }

    /// Uses the token up and makes the device, or gives it its new key: both or neither.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enroll(&self, device: &NewDevice<'_>, now: UnixMillis) -> Result<Enrolment, StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(SELECT_TOKEN)
            .bind(device.token)
            .fetch_optional(&mut *tx)
            .await
            .map_err(at("reading an enrolment token"))?;
        let token = row.as_ref().map(token).transpose()?;
        let Some(token) = token.filter(|t| t.used < t.uses) else { return Ok(Enrolment::TokenUsed) };
        sqlx::query("UPDATE enroll_tokens SET used = used + 1, used_at = $2, used_by = $3 WHERE hash = $1")
            .bind(device.token)
            .bind(big(now.0))
            .bind(device.name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("using up an enrolment token"))?;
        let holder: Option<String> = sqlx::query_scalar("SELECT id FROM devices WHERE project = $1 AND name = $2")
            .bind(token.project.as_str())
            .bind(device.name.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(at("looking for the device's name"))?;
        match holder {
            None => match projects::full(&mut tx, &token.project).await? {
                Some(max) => return Ok(Enrolment::Full { max }),
                None => insert(&mut tx, device, &token, now).await?,
            },
            Some(id) if token.replace && id == device.id.as_str() => replace(&mut tx, device, &token, now).await?,
            Some(_) => return Ok(Enrolment::NameTaken),
        }
        // It was on its way, and is there.
        sqlx::query("DELETE FROM installs WHERE token = $1 AND host = $2")
            .bind(device.token)
            .bind(&device.facts.hostname)
            .execute(&mut *tx)
            .await
            .map_err(at("forgetting that a machine was on its way"))?;
        let event = NewEvent {
            at: now,
            device: Some(device.name.clone()),
            application: None,
            path: None,
            body: EventBody::Enrolled,
        };
        events::append(&mut tx, &token.project, &[event]).await?;
        self.contacts.heard(device.id, Instant::now());
        commit(tx).await?;
        self.contacts.moved([device.id], ContactMoved::Itself);
        Ok(Enrolment::Done)
    }
}

const SELECT_TOKEN: &str = "SELECT * FROM enroll_tokens WHERE hash = $1";

pub(super) fn token(row: &SqliteRow) -> Result<EnrollTokenRecord, StoreError> {
    let columns = Columns::of("an enrolment token", row);
    Ok(EnrollTokenRecord {
        uses: columns.small("uses")?,
        used: columns.small("used")?,
        approve: columns.flag("approve")?,
        created_at: UnixMillis(columns.number("created_at")?),
        created_by: columns.text("created_by")?.to_owned(),
        project: columns.name("project")?,
        name: columns.name_or_null("name")?,
        labels: columns.json("labels")?,
        replace: columns.flag("replaces")?,
        expires_at: UnixMillis(columns.number("expires_at")?),
        used_at: columns.number_or_null("used_at")?.map(UnixMillis),
        used_by: columns.name_or_null("used_by")?,
    })
}

fn standing_after(token: &EnrollTokenRecord) -> &'static str {
    standing_name(if token.approve { Standing::Pending } else { Standing::Accepted })
}

async fn insert(
    tx: &mut Tx,
    device: &NewDevice<'_>,
    token: &EnrollTokenRecord,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO devices (id, project, name, labels, facts, key_fingerprint, enrolled_at, standing, enrolled_with, \
         certificate_ends, enrolled_by, state_since, generation, accepted, events_stored, online) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $7, 0, 0, 0, 0)",
    )
    .bind(device.id.as_str())
    .bind(token.project.as_str())
    .bind(device.name.as_str())
    .bind(to_json("labels", &token.labels)?)
    .bind(to_json("a device's facts", device.facts)?)
    .bind(device.key_fingerprint)
    .bind(big(now.0))
    .bind(standing_after(token))
    .bind(device.token)
    .bind(device.certificate_ends.map(|ends| big(ends.0)))
    .bind(&token.created_by)
    .execute(&mut **tx)
    .await
    .map_err(at("writing a device"))?;
    Ok(())
}

/// The new machine counts its events from 1 again and has no assignment yet. Labels stay unless the token gives some.
async fn replace(
    tx: &mut Tx,
    device: &NewDevice<'_>,
    token: &EnrollTokenRecord,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE devices SET key_fingerprint = $2, facts = $3, enrolled_at = $4, standing = $5, enrolled_with = $6, \
         certificate_ends = $7, enrolment = enrolment + 1, next_key = NULL, rotate = 0, reason = '', \
         enrolled_by = $8, rejected = 0, state_since = $4, \
         accepted = 0, reported = 0, refused = NULL, events_stored = 0 WHERE id = $1",
    )
    .bind(device.id.as_str())
    .bind(device.key_fingerprint)
    .bind(to_json("a device's facts", device.facts)?)
    .bind(big(now.0))
    .bind(standing_after(token))
    .bind(device.token)
    .bind(device.certificate_ends.map(|ends| big(ends.0)))
    .bind(&token.created_by)
    .execute(&mut **tx)
    .await
    .map_err(at("giving a device its new key"))?;
    if !token.labels.is_empty() {
        sqlx::query("UPDATE devices SET labels = $2 WHERE id = $1")
            .bind(device.id.as_str())
            .bind(to_json("labels", &token.labels)?)
            .execute(&mut **tx)
            .await
            .map_err(at("giving a device its new labels"))?;
    }
    Ok(())
}
