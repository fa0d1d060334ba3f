//! Links to files: whoever has one fetches the file, without being anybody here, until its time is over.

use std::sync::Arc;

use robo_model::name::ProjectName;
use robo_model::quantity::UnixMillis;
use robo_wire::upload::{MAX_SHARE_TTL, MIN_SHARE_TTL, SHARE_TTL, SHARED, ShareRequest, ShareView, UploadState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{UploadError, Uploads};
use crate::service::ServiceError;
use crate::store::{ShareRecord, UploadRecord};
use crate::token::{self, random_hex};

/// Bytes of a link's secret: nobody guesses these.
const SECRET_BYTES: usize = 32;

/// Bytes of a link's identity: short enough to be typed; it opens nothing.
const ID_BYTES: usize = 5;

/// Most characters of what may be a secret.
const MAX_SECRET: usize = 200;

/// Files that are fetched by links at a time: each holds a file open for as long as its reader likes.
const MAX_READERS: usize = 64;

/// Who fetches by links.
pub(super) struct Shared(Arc<Semaphore>);

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READERS)))
    }
}

/// A file that is read by a link.
pub struct SharedFile {
    /// Its content, at the place that was asked for.
    pub file: tokio::fs::File,
    /// Its size, in bytes.
    pub size: u64,
    /// Held as long as it is read.
    pub permit: OwnedSemaphorePermit,
}

impl Uploads {
    /// Makes a link to a file. Its secret is told here and never again.
    ///
    /// # Errors
    /// When the file is not whole, the time is out of bounds, there are too many, or the store fails.
    pub async fn share(
        &self,
        record: &UploadRecord,
        by: String,
        request: &ShareRequest,
        now: UnixMillis,
    ) -> Result<ShareView, UploadError> {
        if record.state != UploadState::Completed {
            return Err(UploadError::NotWhole { name: record.name.clone(), state: record.state });
        }
        let ttl = request.ttl.unwrap_or(SHARE_TTL);
        if !(MIN_SHARE_TTL..=MAX_SHARE_TTL).contains(&ttl) {
            return Err(UploadError::Lifetime(ttl));
        }
        let secret = random_hex(SECRET_BYTES).map_err(ServiceError::from)?;
        let share = ShareRecord {
            id: random_hex(ID_BYTES).map_err(ServiceError::from)?,
            upload: record.id.clone(),
            file: record.name.clone(),
            project: record.project.clone(),
            by,
            created_at: now,
            expires_at: now.plus(ttl),
        };
        if !self.0.service.store().add_share(&share, &token::hash(&secret)).await? {
            return Err(UploadError::TooManyShares(record.name.clone()));
        }
        Ok(ShareView { path: Some(format!("{SHARED}{secret}")), ..view(share) })
    }

    /// The links to a file that are good.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shares(&self, record: &UploadRecord, now: UnixMillis) -> Result<Vec<ShareView>, UploadError> {
        let all = self.0.service.store().shares(&record.id, now).await?;
        Ok(all.into_iter().map(view).collect())
    }

    /// The link with this identity.
    ///
    /// # Errors
    /// When there is none that is good, or the store fails.
    pub async fn link(&self, project: &ProjectName, id: &str, now: UnixMillis) -> Result<ShareRecord, UploadError> {
        let found = self.0.service.store().share(project, id, now).await?;
        found.ok_or_else(|| UploadError::NoShare(id.chars().take(MAX_SECRET).collect()))
    }

    /// Takes a link back: from now on it opens nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unshare(&self, share: ShareRecord) -> Result<ShareView, UploadError> {
        self.0.service.store().remove_share(&share.id).await?;
        Ok(view(share))
    }

    /// What a secret opens at `now`; nothing tells why it opens nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn opens(&self, secret: &str, now: UnixMillis) -> Result<Option<ShareRecord>, UploadError> {
        if secret.len() > MAX_SECRET {
            return Ok(None);
        }
        Ok(self.0.service.store().share_by_hash(&token::hash(secret), now).await?)
    }

    /// The file behind a link, from byte `from` on.
    ///
    /// # Errors
    /// When too many are read, or it cannot be read.
    pub async fn read_shared(&self, share: &ShareRecord, from: u64) -> Result<SharedFile, UploadError> {
        let permit = Arc::clone(&self.0.shared.0).try_acquire_owned().map_err(|_| UploadError::Busy)?;
        let (file, size) = self.open(&share.upload, from).await?;
        Ok(SharedFile { file, size, permit })
    }
}

fn view(share: ShareRecord) -> ShareView {
    let ShareRecord { id, file, by, created_at, expires_at, .. } = share;
    ShareView { id, file, path: None, by, created_at, expires_at }
}
