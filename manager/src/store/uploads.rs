//! Files of devices that the manager keeps: which there are, and how far each is. Their content lies beside the store.

mod find;
mod shares;

use std::collections::BTreeMap;

use robo_model::label::Labels;
use robo_model::name::{DeviceId, DeviceName, FileName, ProjectName, UploadId};
use robo_model::quantity::UnixMillis;
use robo_wire::upload::{Meta, Purged, UploadState};
use sqlx::sqlite::SqliteRow;

pub use self::find::{UploadAfter, UploadFilter};
pub use self::shares::ShareRecord;
use super::{Columns, Store, StoreError, Tx, at, big, commit, count, to_json};

/// Most files of one project that are known: they fit into one look of the sweep at the start.
pub const MAX_UPLOADS: u64 = 10_000;

/// Most files of one device that are not here yet: one device cannot take all places.
pub const MAX_OPEN_UPLOADS: u64 = 100;

/// Most links to one file.
pub const MAX_SHARES: u64 = 100;

/// A file as it is known on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its identity, and its name on the disk.
    pub id: UploadId,
    /// Its project.
    pub project: ProjectName,
    /// Its name in the project.
    pub name: FileName,
    /// The device that it is from.
    pub device: DeviceId,
    /// What that is called now; of one that is gone, what it was called.
    pub device_name: DeviceName,
    /// Where it is there.
    pub path: String,
    /// How far it is.
    pub state: UploadState,
    /// What it is.
    pub meta: Meta,
    /// Who asked for it.
    pub by: String,
    /// What the device calls its own wish; nothing where a user asked.
    pub wish: Option<String>,
    /// At most so many bytes a second.
    pub rate: Option<u64>,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// Bytes that are here.
    pub sent: u64,
    /// Its SHA-256, once it is whole.
    pub sha256: Option<String>,
    /// Why it does not come, or has not come yet.
    pub error: Option<String>,
    /// What becomes of the device's own.
    pub purge: Option<Purged>,
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// When it was completed, failed or was cancelled.
    pub ended_at: Option<UnixMillis>,
    /// The labels of its device, while that is in the project.
    pub labels: Option<Labels>,
}

/// What came of asking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is known from now on; in place of this one, whose content is to be removed.
    Done(Option<UploadId>),
    /// The name is taken by a file that is so far.
    Taken(UploadState),
    /// This wish of the device's is known already, by this name.
    Known(FileName),
    /// The project has as many files as it may.
    TooMany,
    /// The device has as many files to send as it may.
    TooManyOpen,
    /// The project's files have so many bytes, and there is room for none.
    Full(u64),
}

/// Whether there is room for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// For so many bytes.
    For(u64),
    /// The others have so many bytes already.
    None(u64),
}

const FILE: &str = "a file of a device";

/// Bytes that count: what is here, and what was said to come.
const USED: &str = "SELECT COALESCE(SUM(COALESCE(total, sent)), 0) FROM uploads \
     WHERE project = $1 AND id <> $2 AND state IN ('pending', 'in_progress', 'completed')";

impl Store {
    /// Writes down that a file is to be fetched; with `replace` in place of one of that name that is not on its way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_upload(&self, upload: &UploadRecord, replace: bool, max: u64) -> Result<Added, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(known) = known_wish(&mut tx, upload).await? {
            return Ok(Added::Known(known));
        }
        let there: Option<(String, String)> =
            sqlx::query_as("SELECT id, state FROM uploads WHERE project = $1 AND name = $2")
                .bind(upload.project.as_str())
                .bind(upload.name.as_str())
                .fetch_optional(&mut *tx)
                .await
                .map_err(at("looking for a file of that name"))?;
        let old = match there {
            Some((id, state)) => {
                let state = named(&state)?;
                if !replace || state == UploadState::InProgress {
                    return Ok(Added::Taken(state));
                }
                Some(super::parse::<UploadId>(FILE, &id)?)
            }
            None => None,
        };
        if let Some(old) = &old {
            delete(&mut tx, old).await?;
        }
        if let Some(bound) = beyond(&mut tx, upload, max).await? {
            return Ok(bound);
        }
        insert(&mut tx, upload).await?;
        commit(tx).await?;
        Ok(Added::Done(old))
    }

    /// A file begins to come. False when it is not waited for any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_upload(&self, id: &UploadId) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE uploads SET state = 'in_progress', error = NULL WHERE id = $1 AND state IN ('pending', 'in_progress')")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(at("writing that a file comes"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps room for a file of `total` bytes, of which the project may have `max` in all; for as many as there is room
    /// where nobody knows how many it has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reserve_upload(
        &self,
        (id, project): (&UploadId, &ProjectName),
        total: Option<u64>,
        max: u64,
    ) -> Result<Room, StoreError> {
        let mut tx = self.begin().await?;
        let used = used(&mut tx, project, id).await?;
        let left = max.saturating_sub(used);
        if total.unwrap_or(0) > left {
            return Ok(Room::None(used));
        }
        sqlx::query("UPDATE uploads SET total = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(total.map(big))
            .execute(&mut *tx)
            .await
            .map_err(at("keeping room for a file"))?;
        commit(tx).await?;
        Ok(Room::For(total.unwrap_or(left)))
    }

    /// The file stopped coming, and will go on later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rest_upload(&self, id: &UploadId, sent: u64, why: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE uploads SET state = 'pending', sent = $2, error = $3 WHERE id = $1 AND state = 'in_progress'",
        )
        .bind(id.as_str())
        .bind(big(sent))
        .bind(why)
        .execute(&self.writer)
        .await
        .map_err(at("writing that a file waits"))?;
        Ok(())
    }

    /// The file is on the disk, whole and checked. False when it is not waited for any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn complete_upload(
        &self,
        id: &UploadId,
        (size, sha256): (u64, &str),
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE uploads SET state = 'completed', total = $2, sent = $2, sha256 = $3, error = NULL, ended_at = $4 \
             WHERE id = $1 AND state = 'in_progress'",
        )
        .bind(id.as_str())
        .bind(big(size))
        .bind(sha256)
        .bind(big(now.0))
        .execute(&self.writer)
        .await
        .map_err(at("writing that a file is whole"))?;
        Ok(done.rows_affected() > 0)
    }

    /// The file will not come: it failed or was cancelled. False when that was settled before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_upload(
        &self,
        id: &UploadId,
        (state, why): (UploadState, &str),
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE uploads SET state = $2, error = $3, ended_at = $4, sent = 0, purge = NULL \
             WHERE id = $1 AND state IN ('pending', 'in_progress')",
        )
        .bind(id.as_str())
        .bind(state.name())
        .bind(why)
        .bind(big(now.0))
        .execute(&self.writer)
        .await
        .map_err(at("writing that a file will not come"))?;
        Ok(done.rows_affected() > 0)
    }

    /// What became of the device's own file.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purged_upload(&self, id: &UploadId, purged: &Purged) -> Result<(), StoreError> {
        sqlx::query("UPDATE uploads SET purge = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(to_json("what became of a device's file", purged)?)
            .execute(&self.writer)
            .await
            .map_err(at("writing what became of a device's file"))?;
        Ok(())
    }

    /// Forgets a file with its links. False when there is none, or it is on its way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_upload(&self, id: &UploadId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM uploads WHERE id = $1 AND state <> 'in_progress'")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(at("forgetting a file"))?;
        Ok(done.rows_affected() > 0)
    }

    /// The manager begins: what was on its way waits again. All files there are, and whether each is whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume_uploads(&self) -> Result<BTreeMap<UploadId, UploadState>, StoreError> {
        sqlx::query("UPDATE uploads SET state = 'pending' WHERE state = 'in_progress'")
            .execute(&self.writer)
            .await
            .map_err(at("writing that files wait again"))?;
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT id, state FROM uploads")
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading which files there are"))?;
        rows.iter().map(|(id, state)| Ok((super::parse(FILE, id)?, named(state)?))).collect()
    }
}

async fn known_wish(tx: &mut Tx, upload: &UploadRecord) -> Result<Option<FileName>, StoreError> {
    let Some(wish) = &upload.wish else { return Ok(None) };
    let name: Option<String> = sqlx::query_scalar("SELECT name FROM uploads WHERE device = $1 AND wish = $2")
        .bind(upload.device.as_str())
        .bind(wish)
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("looking for a device's wish"))?;
    name.map(|name| super::parse(FILE, &name)).transpose()
}

/// Which bound one more file is beyond, if any.
async fn beyond(tx: &mut Tx, upload: &UploadRecord, max: u64) -> Result<Option<Added>, StoreError> {
    let project = upload.project.as_str();
    let all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM uploads WHERE project = $1")
        .bind(project)
        .fetch_one(&mut **tx)
        .await
        .map_err(at("counting files"))?;
    if count(all) >= MAX_UPLOADS {
        return Ok(Some(Added::TooMany));
    }
    let open: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM uploads WHERE device = $1 AND state IN ('pending', 'in_progress')")
            .bind(upload.device.as_str())
            .fetch_one(&mut **tx)
            .await
            .map_err(at("counting a device's files"))?;
    if count(open) >= MAX_OPEN_UPLOADS {
        return Ok(Some(Added::TooManyOpen));
    }
    let used = used(tx, &upload.project, &upload.id).await?;
    Ok((used >= max).then_some(Added::Full(used)))
}

async fn used(tx: &mut Tx, project: &ProjectName, but: &UploadId) -> Result<u64, StoreError> {
    let used: i64 = sqlx::query_scalar(USED)
        .bind(project.as_str())
        .bind(but.as_str())
        .fetch_one(&mut **tx)
        .await
        .map_err(at("counting the bytes of files"))?;
    Ok(count(used))
}

async fn delete(tx: &mut Tx, id: &UploadId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM uploads WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("forgetting a file"))?;
    Ok(())
}

async fn insert(tx: &mut Tx, upload: &UploadRecord) -> Result<(), StoreError> {
    let purge = upload.purge.as_ref().map(|purge| to_json("what becomes of a device's file", purge)).transpose()?;
    sqlx::query(
        "INSERT INTO uploads (id, project, name, device, device_name, path, state, meta, ordered_by, wish, rate, sent, \
         purge, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13)",
    )
    .bind(upload.id.as_str())
    .bind(upload.project.as_str())
    .bind(upload.name.as_str())
    .bind(upload.device.as_str())
    .bind(upload.device_name.as_str())
    .bind(&upload.path)
    .bind(upload.state.name())
    .bind(to_json("a file's metadata", &upload.meta)?)
    .bind(&upload.by)
    .bind(upload.wish.as_deref())
    .bind(upload.rate.map(big))
    .bind(purge)
    .bind(big(upload.created_at.0))
    .execute(&mut **tx)
    .await
    .map_err(at("writing that a file is to come"))?;
    for (key, value) in &upload.meta {
        sqlx::query("INSERT INTO upload_meta (upload, key, value) VALUES ($1, $2, $3)")
            .bind(upload.id.as_str())
            .bind(key)
            .bind(value)
            .execute(&mut **tx)
            .await
            .map_err(at("writing a file's metadata"))?;
    }
    Ok(())
}

fn named(state: &str) -> Result<UploadState, StoreError> {
    let unknown = || StoreError::Corrupt { what: FILE, reason: format!("`{state}` is no state") };
    UploadState::named(state).ok_or_else(unknown)
}

/// A row of `uploads`, with `device_now` and `device_labels` of its device.
fn record(row: &SqliteRow) -> Result<UploadRecord, StoreError> {
    let columns = Columns::of(FILE, row);
    let text = |column| columns.text_or_null(column).map(|text| text.map(ToOwned::to_owned));
    let now_called: Option<DeviceName> = columns.name_or_null("device_now")?;
    Ok(UploadRecord {
        id: columns.name("id")?,
        project: columns.name("project")?,
        name: columns.name("name")?,
        device: columns.name("device")?,
        device_name: now_called.map_or_else(|| columns.name("device_name"), Ok)?,
        path: columns.text("path")?.to_owned(),
        state: named(columns.text("state")?)?,
        meta: columns.json("meta")?,
        by: columns.text("ordered_by")?.to_owned(),
        wish: text("wish")?,
        rate: columns.number_or_null("rate")?,
        total: columns.number_or_null("total")?,
        sent: columns.number("sent")?,
        sha256: text("sha256")?,
        error: text("error")?,
        purge: columns.text_or_null("purge")?.map(|json| super::from_json(FILE, json)).transpose()?,
        created_at: UnixMillis(columns.number("created_at")?),
        ended_at: columns.number_or_null("ended_at")?.map(UnixMillis),
        labels: columns.text_or_null("device_labels")?.map(|json| super::from_json(FILE, json)).transpose()?,
    })
}
