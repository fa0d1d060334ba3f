//! Validated names. Each is a newtype over shared text; the only way in is through its rule.
//!
//! The rules for components, variables, instances and applications are those of the original
//! language (`ID`, `FLEX_ID`, `APP_NAME`), so every accepted Roboconf name is one of ours.

mod template;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_INSTANCE_DEPTH, MAX_NAME_BYTES};

pub use self::template::{NameTemplate, NameTemplateError};

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the {kind} is empty")]
    Empty {
        /// What the text was meant to name.
        kind: &'static str,
    },
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("the {kind} has {len} bytes; at most {MAX_NAME_BYTES} are allowed")]
    TooLong {
        /// What the text was meant to name.
        kind: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The text breaks the rule of its kind.
    #[error("`{text}` is no {kind}: {rule}")]
    Malformed {
        /// What the text was meant to name.
        kind: &'static str,
        /// The text.
        text: String,
        /// The rule in words.
        rule: &'static str,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this kind of name.
            ///
            /// # Errors
            /// Says which part of the rule `text` breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check($kind, $rule, text, $valid)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a component or facet, or a variable's prefix: `[a-zA-Z_][\w.-]*`.
    /// A *definition* must not contain a dot; the language checks that, a reference may.
    ComponentName, "component name",
    "it starts with a letter or `_` and goes on with letters, digits, `_`, `-` and `.`", is_id
}

name! {
    /// The local part of a variable's name, after the prefix: `[a-zA-Z_][\w.-]*`.
    VariableName, "variable name",
    "it starts with a letter or `_` and goes on with letters, digits, `_`, `-` and `.`", is_id
}

name! {
    /// One segment of an instance path: like a component name, and blanks may stand in it.
    InstanceName, "instance name",
    "it starts with a letter or `_` and goes on with letters, digits, `_`, `-`, `.` and blanks", is_flex_id
}

name! {
    /// An application's name: letters, digits, `_ - . ( )` and blanks.
    ApplicationName, "application name",
    "it starts with a letter or `_` and goes on with letters, digits, `_`, `-`, `.`, `(`, `)` and blanks", is_app_name
}

name! {
    /// A project's name: a path segment of the API and a folder name.
    ProjectName, "project name",
    "it has lower-case letters, digits and inner `-`", is_dns_label
}

name! {
    /// A device's name, unique in its project: letters, digits, `_ - .`, starting with a letter or digit.
    DeviceName, "device name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-` and `.`", is_device_name
}

name! {
    /// A device's identity: never reused, never changed; also the subject of its certificate.
    DeviceId, "device id",
    "it has lower-case letters, digits and inner `-`", is_dns_label
}

name! {
    /// A shell session's identity, made by the manager: never reused; also the name of its recording's file.
    SessionId, "session id",
    "it has lower-case letters, digits and inner `-`", is_dns_label
}

name! {
    /// A user's name, as of a person or a pipeline; an e-mail address is one. It stands in paths of the API.
    UserName, "user name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-`, `.`, `+` and `@`", is_user_name
}

name! {
    /// A job's identity, made by the manager: never reused; also the name of its output's folder.
    JobId, "job id",
    "it has lower-case letters, digits and inner `-`", is_dns_label
}

name! {
    /// The name of a file that the manager keeps, unique in its project. It stands in paths of the API, and is a file's
    /// name where it is fetched to: letters, digits, `_ - .`, starting with a letter or digit.
    FileName, "file's name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-` and `.`", is_device_name
}

name! {
    /// The identity of a file that the manager keeps, made by the manager: never reused; also its name on the manager's
    /// disk.
    UploadId, "upload id",
    "it has lower-case letters, digits and inner `-`", is_dns_label
}

name! {
    /// A secret's name, unique in a project: letters, digits, `_ - .`, starting with a letter or digit.
    SecretName, "secret's name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-` and `.`", is_device_name
}

name! {
    /// A volume of an instance's containers, by the rule of Docker and Podman; it may become a folder's name.
    VolumeName, "volume's name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-` and `.`", is_device_name
}

name! {
    /// A network of the machine's container engine, by the rule of Docker and Podman; `host` is one.
    NetworkName, "network's name",
    "it starts with a letter or digit and goes on with letters, digits, `_`, `-` and `.`", is_device_name
}

/// `/root/child/leaf`: where an instance stands in its application's tree.
///
/// Ordered by segments, so that a parent comes right before its children.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct InstancePath(Arc<str>);

impl InstancePath {
    /// Checks `text`: it starts with `/`, and every segment is an [`InstanceName`].
    ///
    /// # Errors
    /// Says which segment is wrong, or that the path is too deep.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        let malformed = |rule| NameError::Malformed { kind: "instance path", text: text.to_owned(), rule };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(malformed("it starts with `/`, as in `/vm/database`"));
        };
        if rest.split('/').count() > MAX_INSTANCE_DEPTH {
            return Err(malformed("it has more levels than robo allows"));
        }
        for segment in rest.split('/') {
            InstanceName::new(segment)?;
        }
        Ok(Self(text.into()))
    }

    /// The path of the root instance `name`.
    #[must_use]
    pub fn root(name: &InstanceName) -> Self {
        Self(format!("/{name}").into())
    }

    /// The path of the child `name` of this instance.
    #[must_use]
    pub fn child(&self, name: &InstanceName) -> Self {
        Self(format!("{}/{name}", self.0).into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.strip_prefix('/').unwrap_or(&self.0).split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn leaf(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path of the parent; nothing for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => None,
            Some((parent, _)) => Some(Self(parent.into())),
        }
    }

    /// This path's ancestors, nearest first, without itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// True when this instance is `other` or stands somewhere below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self == other || self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// How many levels the path has; 1 for a root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.segments().count()
    }
}

impl Ord for InstancePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Segment by segment, without splitting: `/` comes before whatever may stand in a name. Where both are the same
        // is passed over first, for paths have much in common.
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        let order = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        ours.get(same).map(order).cmp(&theirs.get(same).map(order))
    }
}

impl PartialOrd for InstancePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for InstancePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for InstancePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for InstancePath {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl std::str::FromStr for InstancePath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<InstancePath> for String {
    fn from(path: InstancePath) -> Self {
        path.0.as_ref().to_owned()
    }
}

/// A variable with its full name, `Prefix.local`: the prefix is what precedes the first dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variable {
    /// The component, facet or application prefix that offers the variable.
    pub prefix: ComponentName,
    /// The name below the prefix; it may contain dots itself.
    pub local: VariableName,
}

impl Variable {
    /// Reads `Prefix.local`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some((prefix, local)) = text.split_once('.') else {
            return Err(NameError::Malformed {
                kind: "variable",
                text: text.to_owned(),
                rule: "it has the form `Component.variable`",
            });
        };
        Ok(Self { prefix: ComponentName::new(prefix)?, local: local_part(local)? })
    }
}

/// What follows the first dot may start with any character of an ID, as in the original.
fn local_part(text: &str) -> Result<VariableName, NameError> {
    const RULE: &str = "letters, digits, `_`, `-` and `.` may stand after the dot";
    check("variable name", RULE, text, |t| t.bytes().all(is_id_byte))?;
    Ok(VariableName(text.into()))
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Variable {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        String::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Variable {}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.prefix, self.local)
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl TryFrom<String> for Variable {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for Variable {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<Variable> for String {
    fn from(variable: Variable) -> Self {
        variable.to_string()
    }
}

fn check(kind: &'static str, rule: &'static str, text: &str, valid: impl Fn(&str) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { kind, len: text.len() });
    }
    if !valid(text) {
        return Err(NameError::Malformed { kind, text: text.to_owned(), rule });
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_id_byte(byte: u8) -> bool {
    is_word(byte) || byte == b'-' || byte == b'.'
}

fn starts_id(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
}

/// The original's `ID`: `[a-zA-Z_](\w|-|\.)*`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    starts_id(text) && text.bytes().all(is_id_byte)
}

/// The original's `FLEX_ID`: an ID in which U+0020 may stand.
#[must_use]
pub fn is_flex_id(text: &str) -> bool {
    starts_id(text) && text.bytes().all(|b| is_id_byte(b) || b == b' ')
}

/// The original's `APP_NAME`: `[a-zA-Z_](\w|[-.() ])*`.
#[must_use]
pub fn is_app_name(text: &str) -> bool {
    starts_id(text) && text.bytes().all(|b| is_id_byte(b) || matches!(b, b' ' | b'(' | b')'))
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= 63
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_user_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+' | b'@'))
}

fn is_device_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(is_id_byte)
}

impl ProjectName {
    /// The project that always exists.
    #[must_use]
    pub fn default_project() -> Self {
        Self("default".into())
    }
}

impl DeviceName {
    /// The device that a host instance without a binding goes to: the path's segments joined by
    /// `-`, every blank made a `-` too. `/Tomcat VM/docker` goes to `Tomcat-VM-docker`.
    ///
    /// # Errors
    /// When the result is not a device name: it starts with `_`, or is too long.
    pub fn for_host(path: &InstancePath) -> Result<Self, NameError> {
        let joined: Vec<String> = path.segments().map(|s| s.trim_end().replace(' ', "-")).collect();
        Self::new(joined.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_original_rules() {
        for good in ["a", "_x", "Tomcat-8.5", "A.b"] {
            assert!(ComponentName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "8a", "-a", "a b", "é", "a/b"] {
            assert!(ComponentName::new(bad).is_err(), "{bad}");
        }
        assert!(InstanceName::new("vm 1").is_ok());
        assert!(InstanceName::new("vm\t1").is_err());
        assert!(ApplicationName::new("Shop (test) 1.0").is_ok());
        assert!(ApplicationName::new("a@b").is_err());
    }

    #[test]
    fn paths_know_their_family() {
        let path: InstancePath = "/vm 1/tomcat/war".parse().unwrap();
        assert_eq!(path.leaf(), "war");
        assert_eq!(path.parent().unwrap().as_str(), "/vm 1/tomcat");
        let root: InstancePath = "/vm 1".parse().unwrap();
        assert!(path.is_within(&root) && root.is_within(&root) && !root.is_within(&path));
        assert!(!"/vm 12".parse::<InstancePath>().unwrap().is_within(&root));
        assert_eq!(path.ancestors().map(String::from).collect::<Vec<_>>(), ["/vm 1/tomcat", "/vm 1"]);
        for bad in ["", "/", "vm", "/a//b", "/a/", "/../etc", "/a/.."] {
            assert!(InstancePath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_followed_by_its_children() {
        let mut paths: Vec<InstancePath> = ["/a b", "/a/c", "/a", "/a-b"].iter().map(|p| p.parse().unwrap()).collect();
        paths.sort();
        assert_eq!(paths.iter().map(InstancePath::as_str).collect::<Vec<_>>(), ["/a", "/a/c", "/a b", "/a-b"]);
    }

    #[test]
    fn the_prefix_ends_at_the_first_dot() {
        let variable = Variable::parse("Tomcat.db.ip").unwrap();
        assert_eq!((variable.prefix.as_str(), variable.local.as_str()), ("Tomcat", "db.ip"));
        assert!(Variable::parse("Tomcat").is_err());
    }

    #[test]
    fn hosts_have_a_device_by_name() {
        let name = |p: &str| DeviceName::for_host(&p.parse().unwrap()).map(String::from);
        assert_eq!(name("/Tomcat VM 1").unwrap(), "Tomcat-VM-1");
        assert_eq!(name("/vm/docker").unwrap(), "vm-docker");
        assert!(name("/_x").is_err());
    }
}
