//! The files of applications, each known by its SHA-256: `files/ab/<hash>` below the manager's folder.
//!
//! A file is written beside its place, hashed on the way, synchronised and then renamed: what stands in its place is
//! whole. Whether a file is there is asked of the folder and of nobody else, so that nothing can disagree with it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use robo_model::spec::FileHash;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use crate::token::{NoRandomness, random_hex};

/// Uploads at a time: each holds a file open, and a disk is not faster with more.
const MAX_UPLOADS: usize = 64;

/// A file that somebody asks for is marked as used when the mark is older than this: one write a day, not one for each
/// question.
const MARK_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Why a file cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The disk fails.
    #[error("cannot {what} {}", path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the announced ones.
    #[error("the bytes hash to {found}, {expected} was announced")]
    WrongHash {
        /// What was announced.
        expected: FileHash,
        /// What came.
        found: String,
    },
    /// More bytes than allowed.
    #[error("the file has more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// The sender stopped in the middle.
    #[error("the upload broke off: {0}")]
    BrokenOff(String),
    /// Too many uploads at a time.
    #[error("{MAX_UPLOADS} uploads are under way")]
    Busy,
    /// No name for the file under way.
    #[error(transparent)]
    Name(#[from] NoRandomness),
}

/// The folder of files. Clones share it.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
    uploads: Arc<Semaphore>,
    /// Written while a file that nobody needs is removed: whoever is told that a file is there finds it there.
    clearing: Arc<RwLock<()>>,
}

impl Files {
    /// The files below `data`. What was under way when the manager last ended is thrown away.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(data: &Path) -> Result<Self, FilesError> {
        let folder = data.join("files");
        let incoming = folder.join("incoming");
        let failed = |source| FilesError::Disk { what: "prepare", path: incoming.clone(), source };
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming).map_err(failed)?;
        }
        std::fs::create_dir_all(&incoming).map_err(failed)?;
        Ok(Self { folder, uploads: Arc::new(Semaphore::new(MAX_UPLOADS)), clearing: Arc::default() })
    }

    /// Where the file stands, or would stand.
    #[must_use]
    pub fn path(&self, hash: &FileHash) -> PathBuf {
        self.folder.join(hash.as_str().get(..2).unwrap_or("00")).join(hash.as_str())
    }

    /// How many bytes the file has; nothing when it is not there. Whoever asks is going to need it: it is not cleared
    /// away for a while.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn size(&self, hash: &FileHash) -> Result<Option<u64>, FilesError> {
        let path = self.path(hash);
        let _here = self.clearing.read().unwrap_or_else(PoisonError::into_inner);
        match std::fs::metadata(&path) {
            Ok(metadata) => {
                if is_older(&metadata, MARK_AFTER) {
                    mark(&path).map_err(|source| FilesError::Disk { what: "mark as used", path, source })?;
                }
                Ok(Some(metadata.len()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FilesError::Disk { what: "look for", path, source }),
        }
    }

    /// Stores what `bytes` gives, when it is what was announced. On the disk when this returns.
    ///
    /// # Errors
    /// When it is something else or too long, or the disk fails; nothing is left of it then.
    pub async fn put<E: std::fmt::Display>(
        &self,
        hash: &FileHash,
        max: u64,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), FilesError> {
        let _permit = self.uploads.try_acquire().map_err(|_| FilesError::Busy)?;
        let incoming = Incoming(self.folder.join("incoming").join(random_hex(16)?));
        let found = incoming.write(max, bytes).await?;
        if found != hash.as_str() {
            return Err(FilesError::WrongHash { expected: hash.clone(), found });
        }
        let (from, to) = (incoming.0.clone(), self.path(hash));
        let clearing = Arc::clone(&self.clearing);
        let moved = tokio::task::spawn_blocking(move || {
            let _here = clearing.read().unwrap_or_else(PoisonError::into_inner);
            put_in_place(&from, &to)
        });
        let moved = moved.await;
        drop(incoming);
        let moved = moved.unwrap_or_else(|e| Err((PathBuf::new(), io::Error::other(e))));
        moved.map_err(|(path, source)| FilesError::Disk { what: "put into place", path, source })
    }

    /// The file from byte `from` on, and its whole size; nothing when it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn read(&self, hash: &FileHash, from: u64) -> Result<Option<(tokio::fs::File, u64)>, FilesError> {
        let path = self.path(hash);
        let failed = |source| FilesError::Disk { what: "read", path: path.clone(), source };
        let mut file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let size = file.metadata().await.map_err(failed)?.len();
        file.seek(io::SeekFrom::Start(from)).await.map_err(failed)?;
        Ok(Some((file, size)))
    }
}

impl Files {
    /// Removes files that are not `needed` and that nobody asked for within `unused_for`, at most so many; answers with
    /// how many went.
    ///
    /// # Errors
    /// When the disk fails; those removed until then are gone.
    pub async fn clear(
        &self,
        needed: BTreeSet<FileHash>,
        unused_for: Duration,
        most: usize,
    ) -> Result<usize, FilesError> {
        let files = self.clone();
        let clearing = tokio::task::spawn_blocking(move || files.clear_now(&needed, unused_for, most));
        clearing.await.unwrap_or_else(|error| {
            Err(FilesError::Disk { what: "clear", path: PathBuf::new(), source: io::Error::other(error) })
        })
    }

    fn clear_now(&self, needed: &BTreeSet<FileHash>, unused_for: Duration, most: usize) -> Result<usize, FilesError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FilesError::Disk { what: "clear", path, source }
        };
        let mut removed = 0;
        for folder in std::fs::read_dir(&self.folder).map_err(failed(&self.folder))? {
            let folder = folder.map_err(failed(&self.folder))?.path();
            if folder.file_name().is_none_or(|name| name.len() != 2) {
                // Not one of those that hold files.
                continue;
            }
            for entry in std::fs::read_dir(&folder).map_err(failed(&folder))? {
                let entry = entry.map_err(failed(&folder))?;
                let name = entry.file_name();
                let Some(hash) = name.to_str().and_then(|name| FileHash::new(name).ok()) else { continue };
                if needed.contains(&hash) {
                    continue;
                }
                let _alone = self.clearing.write().unwrap_or_else(PoisonError::into_inner);
                let metadata = entry.metadata().map_err(failed(&entry.path()))?;
                if is_older(&metadata, unused_for) {
                    std::fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
                    removed += 1;
                    if removed >= most {
                        return Ok(removed);
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// True when the file was last written or marked longer ago than this. A clock that was set back makes it young.
fn is_older(metadata: &std::fs::Metadata, age: Duration) -> bool {
    let since = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    since.is_some_and(|since| since >= age)
}

fn mark(path: &Path) -> io::Result<()> {
    std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

/// A file under way; it is removed when this is dropped.
struct Incoming(PathBuf);

impl Incoming {
    async fn write<E: std::fmt::Display>(
        &self,
        max: u64,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<String, FilesError> {
        let failed = |source| FilesError::Disk { what: "write", path: self.0.clone(), source };
        let mut file = tokio::fs::File::create_new(&self.0).await.map_err(failed)?;
        let mut hasher = Sha256::new();
        let mut length = 0_u64;
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|e| FilesError::BrokenOff(e.to_string()))?;
            length += chunk.len() as u64;
            if length > max {
                return Err(FilesError::TooLarge { max });
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        Ok(hex::encode(hasher.finalize()))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Mostly it has its place by now, and there is nothing to remove.
        drop(std::fs::remove_file(&self.0));
    }
}

fn put_in_place(from: &Path, to: &Path) -> Result<(), (PathBuf, io::Error)> {
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder).map_err(|e| (folder.to_owned(), e))?;
    std::fs::rename(from, to).map_err(|e| (to.to_owned(), e))?;
    // The name is on disk only when its folder is, and the folder's when the one above is.
    for folder in [Some(folder), folder.parent()].into_iter().flatten() {
        std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| (folder.to_owned(), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn hash_of(bytes: &[u8]) -> FileHash {
        FileHash::new(hex::encode(Sha256::digest(bytes))).unwrap()
    }

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, String>> + Unpin {
        stream::iter(parts.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect::<Vec<_>>())
    }

    fn incoming(data: &Path) -> usize {
        std::fs::read_dir(data.join("files/incoming")).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_stored_whole_and_read_from_anywhere() {
        let data = tempfile::tempdir().unwrap();
        let files = Files::open(data.path()).unwrap();
        let hash = hash_of(b"hello world");
        assert_eq!(files.size(&hash).unwrap(), None);
        files.put(&hash, 11, chunks(&["hello", " world"])).await.unwrap();
        assert_eq!(files.size(&hash).unwrap(), Some(11));
        let (mut file, size) = files.read(&hash, 6).await.unwrap().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), size), ("world", 11));
        // Again is no mistake.
        files.put(&hash, 11, chunks(&["hello world"])).await.unwrap();
        assert_eq!(incoming(data.path()), 0);
    }

    #[tokio::test]
    async fn what_is_wrong_leaves_nothing_behind() {
        let data = tempfile::tempdir().unwrap();
        let files = Files::open(data.path()).unwrap();
        let hash = hash_of(b"hello");
        let wrong = files.put(&hash, 100, chunks(&["hallo"])).await;
        assert!(matches!(wrong, Err(FilesError::WrongHash { .. })));
        let long = files.put(&hash, 4, chunks(&["hello"])).await;
        assert!(matches!(long, Err(FilesError::TooLarge { max: 4 })));
        let broken = stream::iter([Ok(Bytes::from_static(b"hel")), Err("the peer is gone".to_owned())]);
        assert!(matches!(files.put(&hash, 100, broken).await, Err(FilesError::BrokenOff(_))));
        assert_eq!(files.size(&hash).unwrap(), None);
        assert_eq!(incoming(data.path()), 0);
    }

    #[tokio::test]
    async fn what_nobody_needs_goes_after_its_time() {
        let data = tempfile::tempdir().unwrap();
        let files = Files::open(data.path()).unwrap();
        let (old, needed, asked, new) = (hash_of(b"old"), hash_of(b"needed"), hash_of(b"asked"), hash_of(b"new"));
        for (hash, text) in [(&old, "old"), (&needed, "needed"), (&asked, "asked"), (&new, "new")] {
            files.put(hash, 10, chunks(&[text])).await.unwrap();
        }
        let week = Duration::from_secs(7 * 24 * 3600);
        for hash in [&old, &needed, &asked] {
            let file = std::fs::File::options().append(true).open(files.path(hash)).unwrap();
            file.set_modified(SystemTime::now() - week).unwrap();
        }
        assert_eq!(files.size(&asked).unwrap(), Some(5));
        let kept = BTreeSet::from([needed.clone()]);
        assert_eq!(files.clear(kept.clone(), week, 1).await.unwrap(), 1);
        assert_eq!(files.clear(kept, week, 9).await.unwrap(), 0);
        let there = [&old, &needed, &asked, &new].map(|hash| files.size(hash).unwrap().is_some());
        assert_eq!(there, [false, true, true, true]);
    }

    #[tokio::test]
    async fn what_was_under_way_is_thrown_away_at_the_next_start() {
        let data = tempfile::tempdir().unwrap();
        Files::open(data.path()).unwrap();
        std::fs::write(data.path().join("files/incoming/left"), "x").unwrap();
        Files::open(data.path()).unwrap();
        assert_eq!(incoming(data.path()), 0);
    }
}
