//! Files of devices that the manager keeps: sent when the device is there, found by name, shared by links.

use std::collections::BTreeMap;
use std::fmt;

use robo_model::limits::MAX_NAME_BYTES;
use robo_model::name::{DeviceName, FileName};
use robo_model::quantity::{Millis, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::copy::MAX_PATH;

/// Most keys of one file's metadata: what people filter by, not a database.
pub const MAX_META: usize = 32;

/// Most bytes of a metadata key.
pub const MAX_META_KEY: usize = 63;

/// Most bytes of a metadata value.
pub const MAX_META_VALUE: usize = 255;

/// The lowest limit on how fast a file comes, in bytes per second: below this, nobody can tell slow from stuck.
pub const MIN_RATE: u64 = 1024;

/// How long a link to a file is good for where nothing else is said.
pub const SHARE_TTL: Millis = Millis::from_secs(7 * 24 * 60 * 60);

/// The longest time that a link may be good for.
pub const MAX_SHARE_TTL: Millis = Millis::from_secs(90 * 24 * 60 * 60);

/// The shortest: a clock counts whole seconds for people.
pub const MIN_SHARE_TTL: Millis = Millis::from_secs(1);

/// Most files in one page of a list.
pub const MAX_PAGE: u32 = 500;

/// Files in a page where nobody says how many.
pub const PAGE: u32 = 100;

/// Where a device asks the manager to fetch a file.
pub const AGENT_UPLOADS: &str = "/v1/agent/uploads";

/// Where links begin; the secret follows.
pub const SHARED: &str = "/v1/shared/";

/// Keys and values that say what a file is.
pub type Meta = BTreeMap<String, String>;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UploadState {
    /// It waits for its device, or for its turn.
    Pending,
    /// It is on its way.
    InProgress,
    /// It is on the manager's disk, whole and checked.
    Completed,
    /// It will not come.
    Failed,
    /// Somebody said that it need not come.
    Cancelled,
}

impl UploadState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// True when nothing of it moves any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Asks for a file of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadRequest {
    /// Which device.
    pub device: DeviceName,
    /// Where it is there; relative to the home of the agent's user.
    pub path: String,
    /// What it is called here; by device and path where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FileName>,
    /// What it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: Meta,
    /// True when it takes the place of a file of that name.
    #[serde(default)]
    pub replace: bool,
    /// True when the device's file is removed once it is here.
    #[serde(default)]
    pub purge: bool,
    /// At most so many bytes a second, at least [`MIN_RATE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// A device asks that a file of its own is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentUpload {
    /// Names this wish of the device's: one that is told twice is one.
    pub id: String,
    /// Where the file is.
    pub path: String,
    /// What it is called; by device and path where nothing is given. A number is added to one that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FileName>,
    /// What it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: Meta,
}

/// What became of the device's own file after it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Purged {
    /// It is to be removed.
    Wanted,
    /// It was removed.
    Done,
    /// It stays.
    Kept {
        /// Why.
        reason: String,
    },
}

/// A file, as the manager knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadView {
    /// Its name.
    pub name: FileName,
    /// The device that it is from, as that is or was called.
    pub device: DeviceName,
    /// Where it was there.
    pub path: String,
    /// How far it is.
    pub state: UploadState,
    /// Bytes in all, where that is known.
    #[serde(default)]
    pub total: Option<u64>,
    /// Bytes that are here.
    pub sent: u64,
    /// Its SHA-256 in hexadecimal digits, once it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why it does not come, or has not come yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it is.
    #[serde(default)]
    pub meta: Meta,
    /// Who asked for it: a user, or the device itself.
    pub by: String,
    /// When.
    pub created_at: UnixMillis,
    /// When it was completed, failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// What becomes of the device's own; nothing where it just stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<Purged>,
    /// At most so many bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Some files of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadPage {
    /// In order.
    pub uploads: Vec<UploadView>,
    /// Where the next page begins; nothing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// By what a list is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UploadSort {
    /// By name.
    #[default]
    Name,
    /// The largest first.
    Size,
    /// The newest first.
    Time,
}

impl UploadSort {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Time];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Time => "time",
        }
    }
}

/// Asks for a link to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShareRequest {
    /// How long it is good for: [`MIN_SHARE_TTL`] to [`MAX_SHARE_TTL`]; [`SHARE_TTL`] where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Millis>,
}

/// A link to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShareView {
    /// By which it is taken back; it opens nothing.
    pub id: String,
    /// Which file.
    pub file: FileName,
    /// The path of the link, with its secret; told once, when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: UnixMillis,
    /// The moment from which on it opens nothing.
    pub expires_at: UnixMillis,
}

/// Says why this cannot be a path of a file on a device.
///
/// # Errors
/// One sentence for people.
pub fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        Err("no path is given".to_owned())
    } else if path.len() > MAX_PATH {
        Err(format!("a path of {} bytes is too long, at most {MAX_PATH} are allowed", path.len()))
    } else if path.contains('\0') {
        Err("the path has a zero byte in it".to_owned())
    } else if path.ends_with('/') {
        Err(format!("`{path}` is a folder, and one file is sent"))
    } else {
        Ok(())
    }
}

/// Says why this cannot be a file's metadata.
///
/// # Errors
/// One sentence for people.
pub fn check_meta(meta: &Meta) -> Result<(), String> {
    if meta.len() > MAX_META {
        return Err(format!("{} metadata keys, at most {MAX_META} are kept", meta.len()));
    }
    for (key, value) in meta {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        if key.is_empty() || key.len() > MAX_META_KEY || !key.bytes().all(is_good) {
            let rule = "letters, digits, `_`, `-`, `.` and `/`";
            return Err(format!("`{key}` is no metadata key: it has 1 to {MAX_META_KEY} {rule}"));
        }
        if value.len() > MAX_META_VALUE || value.chars().any(char::is_control) {
            return Err(format!(
                "the metadata value of `{key}` cannot be kept: at most {MAX_META_VALUE} bytes, no control characters"
            ));
        }
    }
    Ok(())
}

/// What a file is called where nobody says it: `DEVICE-NAME`, with the last name of its path.
#[must_use]
pub fn usual_name(device: &DeviceName, path: &str) -> Option<FileName> {
    let leaf = path.rsplit('/').next().filter(|leaf| !leaf.is_empty() && *leaf != "." && *leaf != "..")?;
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = format!("{device}-{leaf}").chars().map(good).take(MAX_NAME_BYTES).collect();
    FileName::new(text).ok()
}

/// The same name with a number behind it, for one that is taken.
#[must_use]
pub fn numbered(name: &FileName, number: u32) -> Option<FileName> {
    let ending = format!("-{number}");
    let room = MAX_NAME_BYTES.saturating_sub(ending.len());
    let begin: String = name.as_str().chars().take(room).collect();
    FileName::new(format!("{begin}{ending}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_device_and_path() {
        let device: DeviceName = "robot-7".parse().unwrap();
        let check = |path: &str, expect: Option<&str>| {
            assert_eq!(usual_name(&device, path).as_ref().map(FileName::as_str), expect, "{path}");
        };
        check("/var/log/app.log", Some("robot-7-app.log"));
        check("core", Some("robot-7-core"));
        check("/x/a b\u{e4}\\c", Some("robot-7-a-b--c"));
        for bad in ["", "/", "/x/", "..", "/x/.", "a/.."] {
            check(bad, None);
        }
        let long = usual_name(&device, &format!("/{}", "x".repeat(300))).unwrap();
        assert_eq!(long.as_str().len(), MAX_NAME_BYTES);
        assert_eq!(numbered(&long, 12).unwrap().as_str().len(), MAX_NAME_BYTES);
        assert_eq!(numbered(&"a.log".parse().unwrap(), 2).unwrap().as_str(), "a.log-2");
    }

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        for bad in ["", "..", ".", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a b", "-x", "a\n", "\u{e4}"] {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn metadata_has_bounds() {
        let meta = |key: &str, value: &str| check_meta(&Meta::from([(key.to_owned(), value.to_owned())]));
        assert!(meta("site/run.id", "7 \u{e4}").is_ok());
        assert!(meta("k", "").is_ok());
        assert!(meta(&"k".repeat(MAX_META_KEY), &"v".repeat(MAX_META_VALUE)).is_ok());
        for (key, value) in [("", "v"), ("a b", "v"), ("a=b", "v"), ("k", "a\nb"), ("k", "\x1b[31m")] {
            assert!(meta(key, value).is_err(), "{key:?}={value:?}");
        }
        assert!(
            meta(&"k".repeat(MAX_META_KEY + 1), "v").is_err() && meta("k", &"v".repeat(MAX_META_VALUE + 1)).is_err()
        );
        let many = (0..=MAX_META).map(|n| (n.to_string(), String::new())).collect();
        assert!(check_meta(&many).unwrap_err().contains("33 metadata keys"));
    }

    #[test]
    fn paths_have_bounds() {
        for good in ["core", "/var/log/x", "a b", "../x"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in ["", "/x/", "a\0b", &"x".repeat(MAX_PATH + 1)] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
