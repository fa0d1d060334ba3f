//! Links to files.

use robo_model::name::{FileName, ProjectName, UploadId};
use robo_model::quantity::UnixMillis;
use sqlx::sqlite::SqliteRow;

use super::MAX_SHARES;
use crate::store::{Columns, Store, StoreError, at, big, commit, count};

/// A link to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRecord {
    /// By which it is taken back.
    pub id: String,
    /// Which file.
    pub upload: UploadId,
    /// What that is called.
    pub file: FileName,
    /// Its project.
    pub project: ProjectName,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: UnixMillis,
    /// The moment from which on it opens nothing.
    pub expires_at: UnixMillis,
}

const LINK: &str = "a link to a file";

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT s.id, s.upload, u.name, u.project, s.made_by, s.created_at, s.expires_at FROM upload_shares s ",
            "JOIN uploads u ON u.id = s.upload ",
            $where
        )
    };
}

impl Store {
    /// Writes down a link that is found by `hash`. False when the file has as many as it may. Links whose time is over go.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_share(&self, share: &ShareRecord, hash: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM upload_shares WHERE expires_at <= $1")
            .bind(big(share.created_at.0))
            .execute(&mut *tx)
            .await
            .map_err(at("dropping links whose time is over"))?;
        let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM upload_shares WHERE upload = $1")
            .bind(share.upload.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(at("counting links"))?;
        if count(there) >= MAX_SHARES {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO upload_shares (id, upload, hash, made_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&share.id)
        .bind(share.upload.as_str())
        .bind(hash)
        .bind(&share.by)
        .bind(big(share.created_at.0))
        .bind(big(share.expires_at.0))
        .execute(&mut *tx)
        .await
        .map_err(at("writing a link"))?;
        commit(tx).await?;
        Ok(true)
    }

    /// The links to a file that are good at `now`, the first to end first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shares(&self, upload: &UploadId, now: UnixMillis) -> Result<Vec<ShareRecord>, StoreError> {
        let rows = sqlx::query(select!("WHERE s.upload = $1 AND s.expires_at > $2 ORDER BY s.expires_at, s.id"))
            .bind(upload.as_str())
            .bind(big(now.0))
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading links"))?;
        rows.iter().map(share).collect()
    }

    /// The link with this identity, in this project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn share(
        &self,
        project: &ProjectName,
        id: &str,
        now: UnixMillis,
    ) -> Result<Option<ShareRecord>, StoreError> {
        let row = sqlx::query(select!("WHERE s.id = $1 AND u.project = $2 AND s.expires_at > $3"))
            .bind(id)
            .bind(project.as_str())
            .bind(big(now.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a link"))?;
        row.as_ref().map(share).transpose()
    }

    /// The link whose secret has this hash, if it is good at `now` and its file is whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn share_by_hash(&self, hash: &str, now: UnixMillis) -> Result<Option<ShareRecord>, StoreError> {
        let row = sqlx::query(select!("WHERE s.hash = $1 AND s.expires_at > $2 AND u.state = 'completed'"))
            .bind(hash)
            .bind(big(now.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(at("looking for a link"))?;
        row.as_ref().map(share).transpose()
    }

    /// Takes a link back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_share(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM upload_shares WHERE id = $1")
            .bind(id)
            .execute(&self.writer)
            .await
            .map_err(at("taking a link back"))?;
        Ok(())
    }
}

fn share(row: &SqliteRow) -> Result<ShareRecord, StoreError> {
    let columns = Columns::of(LINK, row);
    Ok(ShareRecord {
        id: columns.text("id")?.to_owned(),
        upload: columns.name("upload")?,
        file: columns.name("name")?,
        project: columns.name("project")?,
        by: columns.text("made_by")?.to_owned(),
        created_at: UnixMillis(columns.number("created_at")?),
        expires_at: UnixMillis(columns.number("expires_at")?),
    })
}
