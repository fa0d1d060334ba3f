//! How far a backup is, on disk: where its file ended, and up to where each log was in it by then.
//!
//! Both stand in one file, which is replaced as a whole. So after a crash they agree: what was written later is cut off,
//! and read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use robo_model::quantity::UnixMillis;
use robo_wire::tail::{FilePlace, Position};
use serde::{Deserialize, Serialize};

use crate::folders::write_atomic;

/// Most bytes that are read: two hundred for each instance, of which no device has a hundred thousand.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// For the agent alone.
const PRIVATE: u32 = 0o600;

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// The file that is written to, and how long it was.
    #[serde(default)]
    pub(super) end: Option<FilePlace>,
    /// When the first line was written to it.
    #[serde(default)]
    pub(super) begun: UnixMillis,
    /// What is in the backup of each log, by `application/segment/…`.
    #[serde(default)]
    pub(super) positions: BTreeMap<String, Position>,
}

impl Notes {
    /// Reads them; none where there are none. Those that cannot be read are told of, and are none: lines may come twice
    /// then, and none is lost.
    pub(super) fn load(path: &Path) -> Self {
        let read = || -> io::Result<Self> {
            let mut bytes = Vec::new();
            File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        match read() {
            Ok(notes) => notes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(%error, "how far the backup of logs is cannot be read from {}; it begins anew", path.display());
                Self::default()
            }
        }
    }

    /// Replaces those on disk.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        write_atomic(path, &serde_json::to_vec(self)?, PRIVATE)
    }
}
