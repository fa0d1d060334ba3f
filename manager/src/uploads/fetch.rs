//! One turn of one file: from the question whether it may come, to what is written down of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use robo_model::access::{Thing, Verb};
use robo_model::name::UserName;
use robo_wire::copy::{CopyFrame, CopyOpen, Pull, Purge, RawPath};
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::{Open, Verdict};
use robo_wire::upload::{Purged, UploadState};
use tokio::time::timeout;

use super::error::MAKE_ROOM;
use super::receive::{Host, Stop, Whole, disk, receive};
use super::{Inner, Live, MAX_FILE, UploadRecord};
use crate::api::pace::PATIENCE;
use crate::links::OpenError;
use crate::service::now;
use crate::store::{Room, StoreError};
use crate::streams::StreamFrames;

/// How long a device may take to say that it removed a file, besides reading it once more.
const PURGE: Duration = Duration::from_secs(60);

/// Bytes that the slowest disk of a device gives in a second.
const READ_A_SECOND: u64 = 4 * 1024 * 1024;

/// How a turn ended.
pub(super) enum End {
    /// There is nothing more to do.
    Over,
    /// It goes on later.
    Again {
        why: String,
        /// Something came.
        got_on: bool,
    },
}

/// Fetches a file, or removes the device's own where it is here already.
pub(super) async fn fetch(inner: &Inner, record: &UploadRecord, live: &Live) -> End {
    match turn(inner, record, live).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, file = %record.name, "a file cannot be kept");
            End::Again { why: "the manager's store failed".to_owned(), got_on: false }
        }
    }
}

async fn turn(inner: &Inner, record: &UploadRecord, live: &Live) -> Result<End, StoreError> {
    if record.state == UploadState::Completed {
        let (size, sha256) = (record.total.unwrap_or(record.sent), record.sha256.clone().unwrap_or_default());
        return purge(inner, record, (size, sha256)).await;
    }
    if let Err(why) = inner.permitted(record).await? {
        inner.settle(record, (UploadState::Failed, &why)).await;
        return Ok(End::Over);
    }
    if !inner.service.store().begin_upload(&record.id).await? {
        // Cancelled or removed a moment ago.
        return Ok(End::Over);
    }
    let begun_with = inner.shelf.size_of_part(&record.id);
    live.sent.store(begun_with, Ordering::Relaxed);
    let came = tokio::select! {
        came = come(inner, record, live) => came,
        why = inner.forbidden(record) => Err(Stop::Refused(why)),
        () = live.cancel.cancelled() => {
            inner.shelf.remove(&record.id);
            return Ok(End::Over);
        }
    };
    match came {
        Ok(whole) => keep(inner, record, whole).await,
        Err(Stop::Refused(why)) => {
            inner.settle(record, (UploadState::Failed, &why)).await;
            Ok(End::Over)
        }
        Err(Stop::Cut(why)) => {
            let sent = inner.shelf.size_of_part(&record.id);
            inner.service.store().rest_upload(&record.id, sent, &why).await?;
            if live.cancel.is_cancelled() {
                inner.shelf.remove(&record.id);
                return Ok(End::Over);
            }
            // A device that is away is no device that fails.
            let got_on = sent > begun_with || !inner.links.is_linked(&record.device);
            Ok(End::Again { why, got_on })
        }
    }
}

/// Has the device send the file.
async fn come(inner: &Inner, record: &UploadRecord, live: &Live) -> Result<Whole, Stop> {
    let path = RawPath(record.path.as_bytes().to_vec());
    // A folder is told, not refused by the device: what to do about it is another thing here than with `robo cp`.
    let open = Open::Copy(CopyOpen::Pull(Pull { path, recursive: true, limit: record.rate }));
    let stream = inner.links.open(&record.device, open).await.map_err(|error| match error {
        OpenError::Offline => Stop::Cut("the device is offline".to_owned()),
        // It is switched on again some day.
        error @ (OpenError::Failed(_) | OpenError::Off(_)) => Stop::Cut(error.to_string()),
    })?;
    Box::pin(receive(stream, (&inner.shelf, &record.id), &Watched { inner, record, live }, PATIENCE)).await
}

/// The file is whole: gives it its name, and only then says so.
async fn keep(inner: &Inner, record: &UploadRecord, whole: Whole) -> Result<End, StoreError> {
    let Whole { part, size, sha256 } = whole;
    let (shelf, id) = (inner.shelf.clone(), record.id.clone());
    if let Err(Stop::Refused(why) | Stop::Cut(why)) = disk(move || shelf.keep(&id, part)).await {
        inner.settle(record, (UploadState::Failed, &why)).await;
        return Ok(End::Over);
    }
    if !inner.service.store().complete_upload(&record.id, (size, &sha256), now()).await? {
        inner.shelf.remove(&record.id);
        return Ok(End::Over);
    }
    tracing::info!(file = %record.name, device = %record.device_name, size, "a file is here");
    if record.purge == Some(Purged::Wanted) { purge(inner, record, (size, sha256)).await } else { Ok(End::Over) }
}

/// Has the device remove its own file, if that is still what is here.
async fn purge(inner: &Inner, record: &UploadRecord, (size, sha256): (u64, String)) -> Result<End, StoreError> {
    let again = |why: &str| Ok(End::Again { why: why.to_owned(), got_on: !inner.links.is_linked(&record.device) });
    if let Err(reason) = inner.permitted(record).await? {
        inner.service.store().purged_upload(&record.id, &Purged::Kept { reason }).await?;
        return Ok(End::Over);
    }
    let path = RawPath(record.path.as_bytes().to_vec());
    let open = Open::Copy(CopyOpen::Purge(Purge { path, size, sha256 }));
    let Ok(stream) = inner.links.open(&record.device, open).await else { return again("the link failed") };
    let mut frames = StreamFrames::new(stream);
    let patience = PURGE + Duration::from_secs(size / READ_A_SECOND);
    let said = timeout(patience, frames.next(MAX_STREAM_FRAME)).await;
    let verdict = said.ok().and_then(Result::ok).flatten().and_then(|frame| CopyFrame::decode(&frame).ok());
    let purged = match verdict {
        Some(CopyFrame::Verdict(Verdict::Ok)) => Purged::Done,
        Some(CopyFrame::Verdict(Verdict::Refused { reason })) => Purged::Kept { reason },
        Some(_) => Purged::Kept { reason: "what the device says cannot be understood".to_owned() },
        // It may be that its agent is older, and knows no such thing.
        None => return again("the device does not say whether it removed the file; its agent may be too old for that"),
    };
    inner.service.store().purged_upload(&record.id, &purged).await?;
    Ok(End::Over)
}

impl Inner {
    /// The file will not come, or the device's own stays: writes down why.
    pub(super) async fn settle(&self, record: &UploadRecord, (state, why): (UploadState, &str)) {
        let store = self.service.store();
        let ended = store.end_upload(&record.id, (state, why), now()).await;
        let done = match ended {
            Ok(true) => {
                tracing::info!(file = %record.name, device = %record.device_name, why, "a file does not come");
                self.shelf.remove(&record.id);
                Ok(())
            }
            // It is here, and the device's own was to be removed.
            Ok(false) => match store.upload_by_id(&record.id).await {
                Ok(Some(here)) if here.state == UploadState::Completed && here.purge == Some(Purged::Wanted) => {
                    store.purged_upload(&record.id, &Purged::Kept { reason: why.to_owned() }).await
                }
                Ok(Some(here)) if here.state == UploadState::Completed => Ok(()),
                Ok(_) => {
                    self.shelf.remove(&record.id);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(error = &error as &dyn std::error::Error, "what became of a file cannot be written down");
        }
    }

    /// Whether the file may still be fetched, or why not: rights may be taken away, and devices go.
    async fn permitted(&self, record: &UploadRecord) -> Result<Result<(), String>, StoreError> {
        let (project, by) = (&record.project, &record.by);
        let device = self.service.store().device(&record.device).await?;
        let Some(device) = device.filter(|device| device.project == *project) else {
            return Ok(Err(format!("the device `{}` is in this project no more", record.device_name)));
        };
        if record.wish.is_some() {
            // It is its own.
            return Ok(Ok(()));
        }
        let Ok(user) = UserName::new(by) else { return Ok(Err(format!("`{by}` is no user"))) };
        let thing = Thing::Device(project, &device.labels);
        let verbs: &[Verb] = if device.facts.is_agent_above() { &[Verb::Copy, Verb::Root] } else { &[Verb::Copy] };
        for verb in verbs {
            let may = self.service.user_may(&user, *verb, thing).await;
            match may {
                Ok(decision) if decision.allowed => {}
                Ok(_) => {
                    return Ok(Err(format!("`{by}` may not do that there any more: it needs the right to `{verb}`")));
                }
                Err(error) => return Ok(Err(format!("nobody knows whether `{by}` may do that: {error}"))),
            }
        }
        Ok(Ok(()))
    }

    /// Waits until the file may not be fetched any more, and says why.
    async fn forbidden(&self, record: &UploadRecord) -> String {
        let mut moved = self.service.rights_moved();
        loop {
            moved.borrow_and_update();
            if let Ok(Err(why)) = self.permitted(record).await {
                return why;
            }
            // The sender is in the service.
            drop(moved.changed().await);
        }
    }
}

/// Watches over the bounds while a file comes.
struct Watched<'a> {
    inner: &'a Inner,
    record: &'a UploadRecord,
    live: &'a Live,
}

impl Host for Watched<'_> {
    async fn reserve(&self, size: Option<u64>) -> Result<u64, Stop> {
        if size.is_some_and(|size| size > MAX_FILE) {
            return Err(Stop::Refused(format!("the file is larger than {MAX_FILE} bytes, which is the most")));
        }
        let max = self.inner.max.load(Ordering::Relaxed);
        let store = self.inner.service.store();
        let room = match store.reserve_upload((&self.record.id, &self.record.project), size, max).await {
            Ok(Room::For(bytes)) => bytes.min(MAX_FILE),
            Ok(Room::None(used)) => {
                let size = size.unwrap_or(0);
                return Err(Stop::Refused(format!(
                    "the file has {size} bytes, and the project's files have {used} of the {max} bytes that they may \
                     have; {MAKE_ROOM}"
                )));
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no room can be kept for a file");
                return Err(Stop::Cut("the manager's store failed".to_owned()));
            }
        };
        let (shelf, there) = (self.inner.shelf.clone(), self.inner.shelf.size_of_part(&self.record.id));
        let free = disk(move || shelf.room()).await?;
        match size {
            Some(size) if size.saturating_sub(there) > free => Err(Stop::Refused(format!(
                "the manager's disk has no room for it: {} bytes are to come, and {free} may be written; make room there",
                size.saturating_sub(there)
            ))),
            Some(_) => Ok(room),
            None => Ok(room.min(there.saturating_add(free))),
        }
    }

    fn at(&self, place: u64, total: Option<u64>) {
        self.live.sent.store(place, Ordering::Relaxed);
        self.live.total.store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
