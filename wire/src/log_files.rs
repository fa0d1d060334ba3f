//! Which files of logs a device has: what instances and its agent print, and the backup of that.
//!
//! The answer is [`crate::stream::StreamFrame`]s: a [`LogFiles`] in JSON as standard output, and a verdict.

use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

/// Most files of one answer: those of a thousand instances.
pub const MAX_LOG_FILES: usize = 5_000;

/// Longest answer, in bytes: so many files in folders of some depth.
pub const MAX_LOG_FILES_ANSWER: usize = 4 * 1024 * 1024;

/// Asks a device which files of logs it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilesOpen {}

/// `GET …/devices/{name}/log-files`: the files of logs on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogFiles {
    /// First those of the agent, then those of the backup, then those of the instances, by name; of each the newest first.
    pub files: Vec<LogFile>,
    /// How many more there are: at most [`MAX_LOG_FILES`] are told.
    #[serde(default)]
    pub left_out: u64,
    /// One sentence for each folder that cannot be read.
    #[serde(default)]
    pub unread: Vec<String>,
}

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogFile {
    /// Whose: `agent`, `backup`, or an instance with its application, as in `shop/web-1/web`.
    pub of: String,
    /// Where it lies on the device.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written to last, by the device's clock; nothing where its file system does not say.
    #[serde(default)]
    pub changed_at: Option<UnixMillis>,
}

impl LogFile {
    /// Whose files the agent's own are.
    pub const AGENT: &str = "agent";
    /// Whose files those of the backup are.
    pub const BACKUP: &str = "backup";
}
