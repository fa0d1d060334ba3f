//! Files that this device wants the manager to keep: queued without a link, told when there is one.
//!
//! Each wish is a file of its own in `uploads/`, written whole before `robo-agent upload` says that it is queued, and
//! removed when the manager has it on its disk. One that is told twice is one: it has an identity. The manager then
//! fetches the file itself, as it does for people.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use robo_model::name::FileName;
use robo_wire::problem::ErrorCode;
use robo_wire::upload::{AGENT_UPLOADS, AgentUpload, Meta, check_meta, check_path};
use tokio::sync::Notify;

use crate::credentials::Credentials;
use crate::dial::Route;
use crate::folders::{Folders, create_dir, write_atomic};
use crate::renew::{RenewError, ask};

/// Most wishes that wait: what a device wants to send over weeks without a link, and nothing for its disk.
pub const MAX_QUEUED: usize = 100;

/// Most bytes of a wish on disk: far more than path, name and metadata may have.
const MAX_BYTES: u64 = 64 * 1024;

/// How often it is looked whether something was queued.
const LOOK: Duration = Duration::from_secs(2);

/// Pause after the manager could not be told; doubled for each further time up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(2);

/// Longest pause; a link that comes up ends it.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Bytes of a wish's identity.
const ID_BYTES: usize = 12;

/// What wishes' files end with.
const ENDING: &str = ".json";

/// Why something cannot be queued.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What is asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are as many as there may be.
    #[error(
        "{MAX_QUEUED} files are queued already, which is the most; they go when the device is linked to its manager"
    )]
    Full,
    /// The agent's folder cannot be used.
    #[error("cannot write into the agent's folder {path}: {source}; run this as the agent's user")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no agent.
    #[error("there is no agent's folder {0}: name it with --state")]
    NoAgent(PathBuf),
}

/// Queues a file for the manager, on disk. Gives the path as the manager will ask for it.
///
/// # Errors
/// When there is no such file, no such agent, too many are queued, or the folder cannot be written.
pub fn queue(folders: &Folders, path: &Path, name: Option<FileName>, meta: Meta) -> Result<String, QueueError> {
    let failed = |source| QueueError::File { path: path.to_owned(), source };
    let whole = std::path::absolute(path).map_err(failed)?;
    let text =
        whole.to_str().ok_or_else(|| QueueError::Request("the path is not UTF-8; rename the file".to_owned()))?;
    check_path(text).and_then(|()| check_meta(&meta)).map_err(QueueError::Request)?;
    let metadata = fs::metadata(&whole).map_err(failed)?;
    if metadata.is_dir() {
        return Err(QueueError::Request(format!(
            "`{text}` is a folder, and one file is sent; pack it with `tar` first"
        )));
    }
    if !metadata.is_file() {
        return Err(QueueError::Request(format!("`{text}` is no regular file")));
    }
    if !folders.root().is_dir() {
        return Err(QueueError::NoAgent(folders.root().to_owned()));
    }
    let folder = folders.uploads();
    let unusable = |source| QueueError::Folder { path: folder.clone(), source };
    create_dir(&folder).map_err(unusable)?;
    if entries(&folder).map_err(unusable)?.len() >= MAX_QUEUED {
        return Err(QueueError::Full);
    }
    let mut random = [0; ID_BYTES];
    getrandom::fill(&mut random).map_err(|error| unusable(io::Error::other(error)))?;
    // Sorted by time, and no two the same.
    let id = format!("{:013}-{}", crate::now().0, hex::encode(random));
    let wish = AgentUpload { id: id.clone(), path: text.to_owned(), name, meta };
    let bytes = serde_json::to_vec(&wish).map_err(|error| unusable(error.into()))?;
    write_atomic(&folder.join(format!("{id}{ENDING}")), &bytes, 0o600).map_err(unusable)?;
    Ok(wish.path)
}

/// The files of wishes, the oldest first.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(all) => {
            for entry in all {
                let path = entry?.path();
                if path.to_string_lossy().ends_with(ENDING) {
                    found.push(path);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    found.sort();
    Ok(found)
}

/// Tells the manager of what is queued, for ever. `linked` ends a pause.
pub(crate) async fn tell(route: Route, folder: PathBuf, credentials: Arc<Credentials>, linked: Arc<Notify>) {
    let mut pause = PAUSE;
    loop {
        let waiting = entries(&folder).unwrap_or_default();
        let mut failed = false;
        for path in waiting.iter().take(MAX_QUEUED) {
            if let Err(error) = told(&route, &credentials, path).await {
                tracing::info!(%error, "the manager cannot be told yet of a file that is queued");
                failed = true;
                break;
            }
        }
        let wait = if failed { pause.mul_f64(0.5 + fastrand::f64()) } else { LOOK };
        pause = if failed { (pause * 2).min(MAX_PAUSE) } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = linked.notified() => pause = PAUSE,
        }
    }
}

/// Tells of one, and forgets it when the manager has it, or will never take it.
async fn told(route: &Route, credentials: &Credentials, path: &Path) -> Result<(), RenewError> {
    let wish = match read(path) {
        Ok(wish) => wish,
        Err(reason) => {
            tracing::error!(reason, "{} cannot be read as a queued file, and is removed", path.display());
            forget(path);
            return Ok(());
        }
    };
    let body = serde_json::to_vec(&wish).map_err(|error| RenewError::Answer(error.to_string()))?;
    match ask::<FileName>(route, credentials, (Method::POST, AGENT_UPLOADS), body).await {
        Ok(name) => {
            tracing::info!(path = wish.path, %name, "the manager knows of a file that is to be sent");
            forget(path);
            Ok(())
        }
        // No other try makes it better.
        Err(RenewError::Refused(problem)) if problem.code == ErrorCode::BadRequest => {
            tracing::error!(path = wish.path, %problem, "the manager does not take this file");
            forget(path);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<AgentUpload, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it has {size} bytes"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        // It is told again, and known there.
        tracing::warn!(%error, "cannot remove {}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_on_disk_in_order_and_bounded() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Folders::new(temporary.path().join("state"));
        let file = temporary.path().join("core");
        let queue = |path: &Path| queue(&folders, path, Some("core-1".parse().unwrap()), Meta::new());
        assert!(matches!(queue(&file), Err(QueueError::File { .. })), "there is no such file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(queue(&file), Err(QueueError::NoAgent(_))));
        folders.create().unwrap();
        assert!(queue(temporary.path()).unwrap_err().to_string().contains("is a folder"));
        assert!(queue(Path::new("/dev/null")).unwrap_err().to_string().contains("no regular file"));
        let long = Meta::from([("k".to_owned(), "x".repeat(1000))]);
        assert!(matches!(super::queue(&folders, &file, None, long), Err(QueueError::Request(_))));
        for _ in 0..MAX_QUEUED {
            assert_eq!(queue(&file).unwrap(), file.to_str().unwrap());
        }
        assert!(matches!(queue(&file), Err(QueueError::Full)));
        let found = entries(&folders.uploads()).unwrap();
        assert_eq!(found.len(), MAX_QUEUED);
        let first = read(&found[0]).unwrap();
        assert_eq!((first.path.as_str(), first.name.unwrap().as_str()), (file.to_str().unwrap(), "core-1"));
        let at = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        assert!(at(&found[0]) <= at(&found[MAX_QUEUED - 1]));
    }

    #[test]
    fn what_somebody_damaged_is_no_wish() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a.json");
        for bad in ["", "{", "{\"id\":1}"] {
            fs::write(&path, bad).unwrap();
            assert!(read(&path).is_err(), "{bad}");
        }
        fs::write(&path, vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
        assert!(read(&path).unwrap_err().contains("bytes"));
    }
}
