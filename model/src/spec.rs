//! What one device should run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graph::{ExportValue, Import, Installer, Settings};
use crate::name::{ApplicationName, ComponentName, InstancePath, Variable};
use crate::state::Wanted;

/// Orders the assignments of one device: a higher one replaces a lower one, never the reverse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Generation(pub u64);

/// The highest generation there is: every reader of JSON has it exactly, and no database's numbers end near it. A device
/// that is told something new each millisecond comes here in 285,000 years; a higher number is no count of ours.
pub const MAX_GENERATION: Generation = Generation(1 << 53);

impl Generation {
    /// The one after this; after [`MAX_GENERATION`] comes none.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < MAX_GENERATION.0 { Self(self.0 + 1) } else { MAX_GENERATION }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct FileHash(Box<str>);

/// The text is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 in lower-case hexadecimal")]
pub struct NotAHash(String);

impl FileHash {
    /// Checks that `text` is a SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(text: impl Into<String>) -> Result<Self, NotAHash> {
        let text = text.into();
        let good = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.into_boxed_str())) } else { Err(NotAHash(text)) }
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for FileHash {
    type Error = NotAHash;
    fn try_from(text: String) -> Result<Self, NotAHash> {
        Self::new(text)
    }
}

impl From<FileHash> for String {
    fn from(hash: FileHash) -> Self {
        hash.0.into_string()
    }
}

/// A relative path that stays inside the folder it is joined to: no `..`, no root, no empty
/// segment, no NUL, no backslash. Slashes separate the segments on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct RelativePath(Box<str>);

/// Why a text is no safe relative path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path inside the folder: no `..`, no leading `/`, no empty part")]
pub struct UnsafePath(String);

impl RelativePath {
    /// Checks `text`.
    ///
    /// # Errors
    /// When joining it to a folder could lead out of that folder.
    pub fn new(text: impl Into<String>) -> Result<Self, UnsafePath> {
        let text = text.into();
        let good = text.len() <= 4096
            && !text.bytes().any(|b| b == 0 || b == b'\\')
            && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if good { Ok(Self(text.into_boxed_str())) } else { Err(UnsafePath(text)) }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RelativePath {
    type Error = UnsafePath;
    fn try_from(text: String) -> Result<Self, UnsafePath> {
        Self::new(text)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0.into_string()
    }
}

/// One file, known by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileRef {
    /// What its bytes hash to.
    pub hash: FileHash,
    /// How many bytes it has.
    pub size: u64,
    /// True when it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// Recipe files by their path below the recipe's folder (`scripts/start.sh`).
pub type RecipeFiles = BTreeMap<RelativePath, FileRef>;

/// What identifies an instance on a device: a device may serve several applications.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstanceKey {
    /// The application.
    pub application: ApplicationName,
    /// The path in it.
    pub path: InstancePath,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.application, self.path)
    }
}

/// Everything an agent needs to know of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// How it is brought to life.
    pub installer: Installer,
    /// What it offers; never `RandomPort` or `Missing`: the planner has resolved those.
    #[serde(default)]
    pub exports: BTreeMap<Variable, ExportValue>,
    /// What it needs.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// Its recipe.
    #[serde(default)]
    pub files: RecipeFiles,
    /// Deadlines, user, check.
    #[serde(default)]
    pub settings: Settings,
    /// What it should be.
    #[serde(default)]
    pub wanted: Wanted,
    /// What it offers to other applications: the name outside, `Prefix.name`, and the variable of
    /// [`InstanceSpec::exports`] whose value it has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outside: BTreeMap<Variable, Variable>,
    /// Which applications its external imports of a prefix come from. A prefix that is bound to none is missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bindings: BTreeMap<ComponentName, BTreeSet<ApplicationName>>,
    /// The facets of its component, by which it can be named. They change nothing of what runs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub facets: BTreeSet<ComponentName>,
}

/// Everything one device should run. An instance that the agent has and this lacks is undeployed and forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Orders the assignments of one device.
    pub generation: Generation,
    /// In the order of applications and paths: a parent stands before its children.
    pub instances: Vec<InstanceSpec>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "scripts/start.sh", "a b/ü", "...", "a/.b"] {
            assert!(RelativePath::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\..\\b"] {
            assert!(RelativePath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn generations_end_where_they_would_overflow() {
        for (of, expect) in [(0, 1), ((1 << 53) - 1, 1 << 53), (1 << 53, 1 << 53), (u64::MAX, 1 << 53)] {
            assert_eq!(Generation(of).next(), Generation(expect), "{of}");
        }
    }

    #[test]
    fn a_hash_is_sixty_four_digits() {
        assert!(FileHash::new("ab".repeat(32)).is_ok());
        assert!(FileHash::new("AB".repeat(32)).is_err());
        assert!(FileHash::new("ab").is_err());
    }
}
