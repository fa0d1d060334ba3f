//! Files of devices that the manager keeps: fetched in the background, found by name, shared by links.
//!
//! What is to come stands in the store; one task looks there when the bell rings, and fetches what can be fetched from
//! devices that are there, over the copy stream that they serve. A file that was cut goes on from where it was, over
//! restarts of the manager too: what came lies on the `shelf`, `receive` takes it up, and `fetch` sees it through.

mod error;
mod fetch;
mod receive;
mod share;
mod shelf;
mod turn;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use robo_model::name::{DeviceId, DeviceName, FileName, ProjectName, UploadId};
use robo_wire::upload::{
    AgentUpload, MIN_RATE, Purged, UploadRequest, UploadState, UploadView, check_meta, check_path, numbered, usual_name,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::error::UploadError;
pub use self::share::SharedFile;
use self::shelf::Shelf;
use self::turn::Rest;
use crate::links::Links;
use crate::service::{Service, ServiceError, now};
use crate::store::{Added, DeviceRecord, StoreError, UploadRecord};
use crate::token;

/// Bytes that the files of one project may have where nobody says it: much for logs, little for a disk.
pub const FILES_MAX: u64 = 10 * 1024 * 1024 * 1024;

/// Bytes of the largest file: a day of a robot with many cameras; anything beyond is a mistake.
pub const MAX_FILE: u64 = 1 << 40;

/// Bytes of a file's identity: nobody types it.
const ID_BYTES: usize = 16;

/// Most bytes of what a device calls its own wish.
const MAX_WISH: usize = 64;

/// How many numbers are tried behind a name that is taken.
const MAX_NUMBER: u32 = 1_000;

/// All files. Clones share them; when the last one is dropped, nothing is fetched any more.
#[derive(Clone)]
pub struct Uploads(Arc<Inner>);

struct Inner {
    service: Service,
    links: Arc<dyn Links>,
    shelf: Shelf,
    /// Bytes that the files of one project may have.
    max: AtomicU64,
    table: Mutex<Table>,
    /// Something is to be looked at.
    bell: Arc<Notify>,
    shared: share::Shared,
}

#[derive(Default)]
struct Table {
    live: HashMap<UploadId, Arc<Live>>,
    /// Devices that are let be for a while.
    resting: HashMap<DeviceId, Rest>,
    tasks: JoinSet<()>,
}

/// A file that comes right now.
struct Live {
    device: DeviceId,
    sent: AtomicU64,
    /// What was said of its size; `u64::MAX` where nothing is known.
    total: AtomicU64,
    cancel: CancellationToken,
}

impl Live {
    fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total != u64::MAX)
    }
}

impl Uploads {
    /// Nothing is fetched until [`Uploads::resume`].
    #[must_use]
    pub fn new(service: Service, links: Arc<dyn Links>) -> Self {
        let shelf = Shelf::new(service.uploads_folder().to_owned());
        let (table, bell, shared) = (Mutex::default(), Arc::default(), share::Shared::default());
        Self(Arc::new(Inner { service, links, shelf, max: AtomicU64::new(FILES_MAX), table, bell, shared }))
    }

    /// The files of one project may have so many bytes from now on.
    pub fn set_max(&self, max: u64) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// Takes up what was to come, removes what belongs to nothing, and fetches from now on.
    ///
    /// # Errors
    /// When the store or the folder fails.
    pub async fn resume(&self) -> Result<(), StoreError> {
        let known = self.0.service.store().resume_uploads().await?;
        let (shelf, path) = (self.0.shelf.clone(), self.0.service.uploads_folder().to_owned());
        let swept = tokio::task::spawn_blocking(move || shelf.sweep(&known)).await;
        let swept = swept.unwrap_or_else(|error| Err(io::Error::other(error)));
        let removed = swept.map_err(|source| StoreError::Folder { path, source })?;
        if removed > 0 {
            tracing::info!(removed, "what was left of files that nobody waits for was removed");
        }
        let driver = turn::drive(Arc::downgrade(&self.0), self.0.service.bus().listen());
        self.0.table().tasks.spawn(driver);
        Ok(())
    }

    /// Asks for a file of `device`; it is fetched when that is there.
    ///
    /// # Errors
    /// When it cannot be: the request is wrong, the name is taken, a bound is reached, or the store fails.
    pub async fn put(
        &self,
        device: &DeviceRecord,
        by: String,
        request: UploadRequest,
    ) -> Result<UploadView, UploadError> {
        let limit = request.limit.filter(|limit| *limit < MIN_RATE);
        if let Some(limit) = limit {
            return Err(UploadError::Request(format!("{limit} bytes a second is too slow: at least {MIN_RATE}")));
        }
        let record = new_record(device, by, (request.path, request.name, request.meta))?;
        let purge = request.purge.then_some(Purged::Wanted);
        let record = UploadRecord { rate: request.limit, purge, ..record };
        let added = self.0.service.store().add_upload(&record, request.replace, self.max()).await?;
        match self.settled(&record, added)? {
            None => Ok(self.view(&self.record(&record.project, &record.name).await?)),
            Some(state) => Err(UploadError::Taken { name: record.name, state }),
        }
    }

    /// A device wishes that a file of its own is fetched. One that it tells again is one. Gives the file's name.
    ///
    /// # Errors
    /// As [`Uploads::put`].
    pub async fn wished(&self, device: &DeviceRecord, wish: AgentUpload) -> Result<FileName, UploadError> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if wish.id.is_empty() || wish.id.len() > MAX_WISH || !wish.id.bytes().all(is_good) {
            return Err(UploadError::Request(format!("the wish's id has 1 to {MAX_WISH} letters, digits and `-`")));
        }
        let by = format!("device {}", device.name);
        let first = new_record(device, by, (wish.path, wish.name, wish.meta))?;
        let first = UploadRecord { wish: Some(wish.id), ..first };
        let mut record = first.clone();
        for number in 2..MAX_NUMBER {
            let added = self.0.service.store().add_upload(&record, false, self.max()).await?;
            if let Added::Known(name) = added {
                return Ok(name);
            }
            if self.settled(&record, added)?.is_none() {
                return Ok(record.name);
            }
            // Nothing of a device is lost because another file has the name.
            record.name =
                numbered(&first.name, number).ok_or_else(|| UploadError::Request("no name is left".into()))?;
        }
        Err(UploadError::Taken { name: first.name, state: UploadState::Completed })
    }

    /// What came of asking; the state of the file that has the name, where it is taken.
    fn settled(&self, record: &UploadRecord, added: Added) -> Result<Option<UploadState>, UploadError> {
        match added {
            Added::Done(old) => {
                if let Some(old) = old {
                    self.0.shelf.remove(&old);
                }
                tracing::info!(file = %record.name, device = %record.device_name, by = record.by, "a file is to come");
                self.0.bell.notify_one();
                Ok(None)
            }
            Added::Known(_) => Ok(None),
            Added::Taken(state) => Ok(Some(state)),
            Added::TooMany => Err(UploadError::TooMany),
            Added::TooManyOpen => Err(UploadError::TooManyOpen(record.device_name.clone())),
            Added::Full(used) => Err(UploadError::Full { used, max: self.max() }),
        }
    }

    /// The file of this name.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn record(&self, project: &ProjectName, name: &FileName) -> Result<UploadRecord, UploadError> {
        let found = self.0.service.store().upload(project, name).await?;
        found.ok_or_else(|| UploadError::Unknown(name.clone()))
    }

    /// A file as it is told, with what came of it right now.
    #[must_use]
    pub fn view(&self, record: &UploadRecord) -> UploadView {
        let live = self.0.table().live.get(&record.id).cloned();
        let live = live.filter(|_| record.state == UploadState::InProgress);
        let sent = live.as_ref().map(|live| live.sent.load(Ordering::Relaxed));
        UploadView {
            name: record.name.clone(),
            device: record.device_name.clone(),
            path: record.path.clone(),
            state: record.state,
            total: live.and_then(|live| live.total()).or(record.total),
            sent: sent.unwrap_or(record.sent),
            sha256: record.sha256.clone(),
            error: record.error.clone(),
            meta: record.meta.clone(),
            by: record.by.clone(),
            created_at: record.created_at,
            ended_at: record.ended_at,
            purge: record.purge.clone(),
            limit: record.rate,
        }
    }

    /// A file need not come any more.
    ///
    /// # Errors
    /// When it is over already, or the store fails.
    pub async fn cancel(&self, record: &UploadRecord, by: &str) -> Result<UploadView, UploadError> {
        let state = UploadState::Cancelled;
        let why = format!("cancelled by {by}");
        if !self.0.service.store().end_upload(&record.id, (state, &why), now()).await? {
            let (name, state) = (record.name.clone(), self.record(&record.project, &record.name).await?.state);
            return Err(UploadError::NotOpen { name, state });
        }
        let live = self.0.table().live.get(&record.id).cloned();
        match live {
            // Whoever writes it removes it.
            Some(live) => live.cancel.cancel(),
            None => self.0.shelf.remove(&record.id),
        }
        Ok(self.view(&self.record(&record.project, &record.name).await?))
    }

    /// Forgets a file, with its content and its links.
    ///
    /// # Errors
    /// When it is on its way, or the store fails.
    pub async fn remove(&self, record: &UploadRecord) -> Result<(), UploadError> {
        if !self.0.service.store().remove_upload(&record.id).await? {
            return Err(UploadError::OnItsWay(record.name.clone()));
        }
        self.0.shelf.remove(&record.id);
        Ok(())
    }

    /// The content of a file, from byte `from` on, and its size.
    ///
    /// # Errors
    /// When it is not whole, or cannot be read.
    pub async fn read(&self, record: &UploadRecord, from: u64) -> Result<(tokio::fs::File, u64), UploadError> {
        if record.state != UploadState::Completed {
            return Err(UploadError::NotWhole { name: record.name.clone(), state: record.state });
        }
        self.open(&record.id, from).await
    }

    async fn open(&self, id: &UploadId, from: u64) -> Result<(tokio::fs::File, u64), UploadError> {
        let (shelf, id) = (self.0.shelf.clone(), id.clone());
        let opened = tokio::task::spawn_blocking(move || shelf.read(&id, from)).await;
        let (file, size) = opened.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(UploadError::Disk)?;
        Ok((tokio::fs::File::from_std(file), size))
    }

    fn max(&self) -> u64 {
        self.0.max.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is asked for, under the name that is given, or by its device and path.
fn new_record(
    device: &DeviceRecord,
    by: String,
    (path, name, meta): (String, Option<FileName>, robo_wire::upload::Meta),
) -> Result<UploadRecord, UploadError> {
    check_path(&path).and_then(|()| check_meta(&meta)).map_err(UploadError::Request)?;
    let unnamed = || UploadError::Request(format!("`{path}` makes no name for a file; give one"));
    let name = name.or_else(|| usual_name(&device.name, &path)).ok_or_else(unnamed)?;
    Ok(UploadRecord {
        id: new_id()?,
        project: device.project.clone(),
        name,
        device: device.id.clone(),
        device_name: DeviceName::clone(&device.name),
        path,
        state: UploadState::Pending,
        meta,
        by,
        wish: None,
        rate: None,
        total: None,
        sent: 0,
        sha256: None,
        error: None,
        purge: None,
        created_at: now(),
        ended_at: None,
        labels: Some(device.labels.clone()),
    })
}

fn new_id() -> Result<UploadId, UploadError> {
    let id = token::random_hex(ID_BYTES).map_err(ServiceError::from)?;
    Ok(UploadId::new(&id).map_err(|error| ServiceError::Broken(error.to_string()))?)
}
