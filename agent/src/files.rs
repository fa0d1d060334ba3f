//! Recipe files: known by their hash, fetched once from the manager, kept in `files/`.
//!
//! A download goes to `<hash>.part` and is resumed from there (`Range`) after a cut; only when its bytes hash to
//! what was announced it gets its name. A file of that name is therefore whole.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use robo_model::spec::{FileHash, FileRef};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::credentials::Credentials;
use crate::dial::{self, Route};
use crate::runtime::FileSource;

/// Downloads at a time: one device's share of the manager.
const MAX_DOWNLOADS: usize = 4;

/// Attempts for one file before the step fails (the step itself is tried again later).
const ATTEMPTS: u32 = 5;

/// Wait before the second attempt; doubled for each further one.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Fetches recipe files over HTTPS.
pub struct Files {
    folder: PathBuf,
    route: Route,
    credentials: Arc<Credentials>,
    slots: Semaphore,
    /// One lock for each file that is being fetched: two steps that need the same file must not both write it.
    under_way: Mutex<HashMap<FileHash, Weak<AsyncMutex<()>>>>,
}

impl Files {
    /// Keeps files in `folder`, which is there, and fetches those it lacks from the manager.
    #[must_use]
    pub fn new(folder: PathBuf, route: Route, credentials: Arc<Credentials>) -> Self {
        Self { folder, route, credentials, slots: Semaphore::new(MAX_DOWNLOADS), under_way: Mutex::default() }
    }

    async fn get(&self, file: &FileRef) -> Result<PathBuf, String> {
        let path = self.folder.join(file.hash.as_str());
        if path.exists() {
            return Ok(path);
        }
        let lock = self.lock_of(&file.hash);
        let _alone = lock.lock().await;
        let _slot = self.slots.acquire().await.map_err(|e| e.to_string())?;
        if path.exists() {
            return Ok(path);
        }
        let part = self.folder.join(format!("{}.part", file.hash));
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            match self.download(file, &part).await {
                Ok(()) => break,
                Err(DownloadError::Final(reason)) => {
                    // On a full disk a part of a file only takes up what others need.
                    tokio::fs::remove_file(&part).await.ok();
                    return Err(reason);
                }
                Err(DownloadError::Passing(reason)) if attempt == ATTEMPTS => return Err(reason),
                Err(DownloadError::Passing(reason)) => {
                    tracing::info!(hash = %file.hash, reason, "a download was cut; going on with it");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
            }
        }
        std::fs::rename(&part, &path).map_err(|e| format!("cannot keep {}: {e}", path.display()))?;
        Ok(path)
    }

    fn lock_of(&self, hash: &FileHash) -> Arc<AsyncMutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, lock| lock.strong_count() > 0);
        let there = under_way.get(hash).and_then(Weak::upgrade);
        there.unwrap_or_else(|| {
            let lock = Arc::new(AsyncMutex::new(()));
            under_way.insert(hash.clone(), Arc::downgrade(&lock));
            lock
        })
    }

    async fn download(&self, file: &FileRef, part: &Path) -> Result<(), DownloadError> {
        let disk = |e: io::Error| DownloadError::Final(format!("cannot write {}: {e}", part.display()));
        let mut out = std::fs::OpenOptions::new().create(true).append(true).read(true).open(part).map_err(disk)?;
        let mut have = out.metadata().map_err(disk)?.len();
        if have > file.size {
            out.set_len(0).map_err(disk)?;
            have = 0;
        }
        if have < file.size {
            self.transfer(file, have, &mut out).await?;
        }
        // Syncing and hashing gigabytes takes a while, and the agent has but one thread.
        let (synced, whole) = (out.try_clone().map_err(disk)?, part.to_owned());
        let finish = move || synced.sync_all().and_then(|()| hash_of(&whole));
        let hash = tokio::task::spawn_blocking(finish).await.map_err(|e| DownloadError::Final(e.to_string()))?;
        if hash.map_err(disk)? == file.hash.as_str() {
            return Ok(());
        }
        out.set_len(0).map_err(disk)?;
        Err(DownloadError::Passing(format!("the bytes received for {} are not that file", file.hash)))
    }

    async fn transfer(&self, file: &FileRef, have: u64, out: &mut std::fs::File) -> Result<(), DownloadError> {
        let passing = |reason: String| DownloadError::Passing(reason);
        let request = Request::builder()
            .uri(format!("/v1/agent/files/{}", file.hash))
            .header(header::HOST, robo_wire::SERVER_NAME)
            .header(header::RANGE, format!("bytes={have}-"))
            .body(Full::new(Bytes::new()))
            .map_err(|e| DownloadError::Final(e.to_string()))?;
        let mut answer =
            dial::request(&self.route, self.credentials.http(), request).await.map_err(|e| passing(e.to_string()))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => out.set_len(0).map_err(|e| DownloadError::Final(e.to_string()))?,
            status if status.is_server_error() => return Err(passing(format!("the manager answers {status}"))),
            status => {
                return Err(DownloadError::Final(format!(
                    "the manager does not give out file {}: {status}",
                    file.hash
                )));
            }
        }
        let mut left = file.size.saturating_sub(out.metadata().map_or(0, |m| m.len()));
        while let Some(data) = dial::next_data(answer.body_mut(), dial::BODY_SILENCE).await.map_err(passing)? {
            left = left
                .checked_sub(data.len() as u64)
                .ok_or_else(|| passing(format!("the manager sends more than file {} has", file.hash)))?;
            out.write_all(&data).map_err(|e| DownloadError::Final(format!("cannot write a recipe file: {e}")))?;
        }
        if left > 0 { Err(passing(format!("file {} ended {left} bytes early", file.hash))) } else { Ok(()) }
    }
}

impl FileSource for Files {
    fn fetch<'a>(&'a self, file: &'a FileRef) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(self.get(file))
    }
}

/// Whether another attempt may help.
enum DownloadError {
    Passing(String),
    Final(String),
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Removes what no instance needs any more: every file but those in `needed`, and every cut download.
///
/// # Errors
/// When the folder cannot be read.
pub fn keep_only(folder: &Path, needed: &std::collections::BTreeSet<FileHash>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hash = FileHash::new(name.strip_suffix(".part").unwrap_or(&name));
        if hash.is_ok_and(|hash| !needed.contains(&hash)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        for name in [&one, &two, &format!("{two}.part"), "other"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        keep_only(folder.path(), &[FileHash::new(one.clone()).unwrap()].into()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [one, "other".to_owned()]);
    }
}
