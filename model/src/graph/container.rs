//! What `installer: container` runs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ImageRef;
use crate::limits::MAX_PATH_BYTES;
use crate::name::{NetworkName, VolumeName};

/// One container of Docker or Podman.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Container {
    /// What it is made from.
    pub image: ImageRef,
    /// The command line in it, as written, where the image's own is not meant: words split as a shell does, then
    /// `$(name)` expanded in each; no shell runs.
    #[serde(default)]
    pub run: Option<String>,
    /// `env.KEY: value;` with `$(name)` and `$(secret:NAME)` not yet expanded.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `volume.NAME: /path;`: data that outlives the container, and where it is seen. No two have one path.
    #[serde(default)]
    pub volumes: BTreeMap<VolumeName, MountPath>,
    /// The engine's network it is in; the engine's default where none is given.
    #[serde(default)]
    pub network: Option<NetworkName>,
}

/// Where a volume is seen in a container: an absolute path below `/`, without `.`, `..` and empty parts.
///
/// No `:` and `,`: container engines separate a volume from its options with them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct MountPath(Box<str>);

/// Why a text is no path for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MountPathError {
    /// It does not start with `/`.
    #[error("the path does not start with `/`")]
    Relative,
    /// It is `/` alone.
    #[error("`/` is all of the container, and no volume can hide it")]
    Root,
    /// It has `.`, `..` or nothing between two `/`, or a `/` at its end.
    #[error("the path has `.`, `..`, an empty part or a final `/` in it")]
    Part,
    /// It has a character that a container engine takes for something else.
    #[error("the path has `:`, `,` or a control character in it")]
    Character,
    /// It is longer than [`MAX_PATH_BYTES`].
    #[error("the path has more than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

impl MountPath {
    /// Checks `text`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, MountPathError> {
        let inside = text.strip_prefix('/').ok_or(MountPathError::Relative)?;
        if inside.is_empty() {
            return Err(MountPathError::Root);
        }
        if text.len() > MAX_PATH_BYTES {
            return Err(MountPathError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || matches!(c, ':' | ',')) {
            return Err(MountPathError::Character);
        }
        if inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(MountPathError::Part);
        }
        Ok(Self(text.into()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for MountPath {
    type Error = MountPathError;
    fn try_from(text: String) -> Result<Self, MountPathError> {
        Self::new(&text)
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> Self {
        path.0.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_absolute_paths() {
        for good in ["/data", "/var/lib/app data", "/a/.b", "/ü"] {
            assert_eq!(MountPath::new(good).map(String::from).as_deref(), Ok(good));
        }
        let long = format!("/{}", "x".repeat(MAX_PATH_BYTES));
        for (bad, why) in [
            ("", MountPathError::Relative),
            ("data", MountPathError::Relative),
            ("/", MountPathError::Root),
            ("/a/", MountPathError::Part),
            ("//a", MountPathError::Part),
            ("/a/../b", MountPathError::Part),
            ("/a:ro", MountPathError::Character),
            ("/a,b", MountPathError::Character),
            ("/a\0", MountPathError::Character),
            (&long, MountPathError::TooLong),
        ] {
            assert_eq!(MountPath::new(bad), Err(why), "{bad}");
        }
    }
}
