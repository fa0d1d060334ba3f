//! References of container images: `registry.example:5000/team/app:1.4@sha256:…`, in the grammar that OCI registries and
//! container engines share (`distribution/reference`).
//!
//! ```text
//! reference = [ host [ ":" port ] "/" ] path [ ":" tag ] [ "@sha256:" 64 hexadecimal digits ]
//! path      = part { "/" part }          lower-case letters and digits, with `.`, `_`, `__` or dashes between them
//! ```
//!
//! What precedes the first `/` is a host when it has a `.`, a `:` or an upper-case letter in it, or is `localhost`.

use core::net::Ipv6Addr;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_IMAGE_NAME_BYTES;

/// Longest tag, in bytes, by the grammar.
const MAX_TAG_BYTES: usize = 128;

/// Hexadecimal digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// Which image, and where it is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    host: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text names no image, and which part of it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ImageError {
    /// The bytes that are wrong.
    pub range: Range<usize>,
    /// What is wrong with them.
    pub kind: ImageErrorKind,
}

/// What is wrong with the reference of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageErrorKind {
    /// `https://…`.
    #[error("an image has no scheme before its registry")]
    Scheme,
    /// Nothing where the image's path should be.
    #[error("the image's name is missing")]
    Empty,
    /// Not a host's name or address.
    #[error("this is not the host of a registry")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("this is not a port from 1 to 65535")]
    Port,
    /// An upper-case letter in the path.
    #[error("an image's name is in lower case")]
    UpperCase,
    /// A part of the path that breaks the grammar.
    #[error("this is no part of an image's name")]
    Path,
    /// 64 hexadecimal digits alone: an engine would take them for an image's id.
    #[error("this is an image's id, not its name")]
    Id,
    /// Host and path have more than [`MAX_IMAGE_NAME_BYTES`].
    #[error("the image's name is longer than {MAX_IMAGE_NAME_BYTES} bytes")]
    TooLong,
    /// A tag that breaks the grammar.
    #[error("this is no tag")]
    Tag,
    /// Not a SHA-256.
    #[error("this is no SHA-256")]
    Digest,
}

impl ImageErrorKind {
    /// What to write instead.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Scheme => "leave out the scheme: write `registry.example/app:1.4`",
            Self::Empty => {
                "write an image as in `image: nginx:1.27;`, with its registry where it is not the engine's own"
            }
            Self::Host => "write the registry as in `registry.example/app` or `localhost:5000/app`",
            Self::Port => "write the registry's port as in `registry.example:5000/app`",
            Self::UpperCase => "write it in lower case; only a registry's host and a tag may have upper-case letters",
            Self::Path => "write lower-case letters and digits, with single `.`, `_` or dashes between them",
            Self::Id => "write the name under which a registry has it",
            Self::TooLong => "choose a shorter name",
            Self::Tag => {
                "a tag has letters, digits, `_`, `.` and `-`, starts with a letter, a digit or `_`, and has at most 128"
            }
            Self::Digest => "write `@sha256:` and 64 digits from `0-9a-f`, as the registry shows them",
        }
    }
}

impl ImageRef {
    /// The registry, with its port where one is given; nothing means the engine's own.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The image's name in the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; without it and a digest `latest` is meant.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The SHA-256 of the image's manifest in hexadecimal; with it the image never changes.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if let Some(at) = text.find("://") {
            return Err(ImageError { range: 0..at + 3, kind: ImageErrorKind::Scheme });
        }
        let (rest, digest) = cut(text, text.find('@'));
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let colon = rest.get(after_slash..).and_then(|last| last.find(':')).map(|colon| after_slash + colon);
        let (name, tag) = cut(rest, colon);
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first), path),
            Some(_) | None => (None, name),
        };
        let path_at = name.len() - path.len();
        host.map(check_host).transpose()?;
        check_path(path, path_at)?;
        if name.len() > MAX_IMAGE_NAME_BYTES {
            return Err(ImageError { range: 0..name.len(), kind: ImageErrorKind::TooLong });
        }
        if host.is_none() && is_digest(path) {
            return Err(ImageError { range: 0..path.len(), kind: ImageErrorKind::Id });
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            // An empty tag is shown with its colon.
            let start = name.len() + usize::from(!tag.is_empty());
            return Err(ImageError { range: start..rest.len(), kind: ImageErrorKind::Tag });
        }
        let hex = digest.map(|digest| digest.strip_prefix("sha256:").filter(|hex| is_digest(hex)));
        if hex == Some(None) {
            return Err(ImageError { range: rest.len()..text.len(), kind: ImageErrorKind::Digest });
        }
        Ok(Self {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: hex.flatten().map(str::to_owned),
        })
    }
}

/// Before and after the separator at `at`, which has one byte.
fn cut(text: &str, at: Option<usize>) -> (&str, Option<&str>) {
    match at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(host: &str) -> Result<(), ImageError> {
    let bracket = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (good, length) = match bracket {
        Some((address, _)) => (address.parse::<Ipv6Addr>().is_ok(), address.len() + 2),
        None => {
            let name = host.split(':').next().unwrap_or_default();
            (name.split('.').all(is_label), name.len())
        }
    };
    if !good {
        return Err(ImageError { range: 0..length, kind: ImageErrorKind::Host });
    }
    match host.get(length..).filter(|rest| !rest.is_empty()) {
        None => Ok(()),
        Some(rest) if rest.strip_prefix(':').is_some_and(is_port) => Ok(()),
        Some(_) => Err(ImageError { range: length..host.len(), kind: ImageErrorKind::Port }),
    }
}

/// Letters, digits and inner dashes.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `at` is where the path begins in the whole.
fn check_path(path: &str, at: usize) -> Result<(), ImageError> {
    let mut start = at;
    for part in path.split('/') {
        let range = start..start + part.len();
        if path.is_empty() {
            return Err(ImageError { range: 0..at, kind: ImageErrorKind::Empty });
        }
        if !is_part(part) {
            let kind =
                if is_part(&part.to_ascii_lowercase()) { ImageErrorKind::UpperCase } else { ImageErrorKind::Path };
            // Nothing between two slashes is shown with one of them.
            let range = if part.is_empty() { start.saturating_sub(1)..start.max(1) } else { range };
            return Err(ImageError { range, kind });
        }
        start = range.end + 1;
    }
    Ok(())
}

/// `[a-z0-9]+` with separators `.`, `_`, `__`, `-…` between.
fn is_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|b| is_word(*b));
    if !ends(part.as_bytes().first()) || !ends(part.as_bytes().last()) {
        return false;
    }
    part.as_bytes().chunk_by(|a, b| is_word(*a) == is_word(*b)).all(|run| match run {
        [first, ..] if is_word(*first) => true,
        b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|b| *b == b'-'),
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG_BYTES
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(hex: &str) -> bool {
    hex.len() == DIGEST_DIGITS && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        f.write_str(&self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@sha256:{digest}")?;
        }
        Ok(())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ImageRef {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        String::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ImageRef {}

impl TryFrom<String> for ImageRef {
    type Error = ImageError;
    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: (Option<&str>, &str, Option<&str>, bool)) {
        let image: ImageRef = text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!((image.host(), image.path(), image.tag(), image.digest().is_some()), expect, "{text}");
        assert_eq!(image.to_string(), text);
    }

    #[test]
    fn images_are_cut_as_container_engines_do() {
        let digest = "a1".repeat(32);
        check("nginx", (None, "nginx", None, false));
        check("library/nginx:1.27-alpine", (None, "library/nginx", Some("1.27-alpine"), false));
        check("registry.example/a/b/c:T_1", (Some("registry.example"), "a/b/c", Some("T_1"), false));
        check("localhost/app", (Some("localhost"), "app", None, false));
        check("localhost:5000", (None, "localhost", Some("5000"), false));
        check("host:5000/app:1", (Some("host:5000"), "app", Some("1"), false));
        check("Host/app", (Some("Host"), "app", None, false));
        check("192.168.1.7:80/a__b-c--d.e", (Some("192.168.1.7:80"), "a__b-c--d.e", None, false));
        check("[2001:db8::1]:5000/app", (Some("[2001:db8::1]:5000"), "app", None, false));
        check(&format!("r.io/app:1@sha256:{digest}"), (Some("r.io"), "app", Some("1"), true));
        check(&format!("app@sha256:{digest}"), (None, "app", None, true));
    }

    fn refused(text: &str, wrong: &str, kind: ImageErrorKind) {
        let error = text.parse::<ImageRef>().unwrap_err();
        assert_eq!((text.get(error.range.clone()), error.kind), (Some(wrong), kind), "{text}: {error:?}");
    }

    #[test]
    fn the_wrong_part_is_shown() {
        use ImageErrorKind as Kind;
        refused("https://r.io/app", "https://", Kind::Scheme);
        refused("", "", Kind::Empty);
        refused("r.io/", "r.io/", Kind::Empty);
        refused("-r.io/app", "-r.io", Kind::Host);
        refused("r..io/app", "r..io", Kind::Host);
        refused(":5000/app", "", Kind::Host);
        refused("[::g]/app", "[::g]", Kind::Host);
        refused("r.io:/app", ":", Kind::Port);
        refused("r.io:99999/app", ":99999", Kind::Port);
        refused("r.io:+80/app", ":+80", Kind::Port);
        refused("[::1]x/app", "x", Kind::Port);
        refused("r.io/Team/app", "Team", Kind::UpperCase);
        refused("Nginx", "Nginx", Kind::UpperCase);
        refused("a//b", "/", Kind::Path);
        refused("/a", "/", Kind::Path);
        refused("a/b c:1", "b c", Kind::Path);
        refused("a___b", "a___b", Kind::Path);
        refused("a.-b", "a.-b", Kind::Path);
        refused("é", "é", Kind::Path);
        refused(&"ab".repeat(32), &"ab".repeat(32), Kind::Id);
        refused(&"a/".repeat(128), "/", Kind::Path);
        refused("app:", ":", Kind::Tag);
        refused("app:-1", "-1", Kind::Tag);
        refused("app:1:2", "1:2", Kind::Tag);
        refused("app:$(tag)", "$(tag)", Kind::Tag);
        refused("app@sha256:ab", "@sha256:ab", Kind::Digest);
        refused("app@", "@", Kind::Digest);
        refused(&format!("app@sha256:{}", "A1".repeat(32)), &format!("@sha256:{}", "A1".repeat(32)), Kind::Digest);
        let long = "a".repeat(256);
        refused(&long, &long, Kind::TooLong);
    }
}
