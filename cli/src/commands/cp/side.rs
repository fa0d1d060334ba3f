//! What a word of the command line means: a path here, a path on devices, or standard input and output.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use robo_model::name::DeviceName;
use robo_wire::copy::{MAX_PATH, RawPath};

use crate::error::CliError;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Side {
    /// A path on this machine.
    Local(PathBuf),
    /// Standard input or output.
    Standard,
    /// A path on these devices; on those that options choose where there are none.
    Remote { names: Vec<DeviceName>, path: RawPath },
}

impl Side {
    /// Reads a word. What has a colon before any `/` is on devices.
    ///
    /// # Errors
    /// When what stands before the colon is no device's name.
    pub(in crate::commands) fn parse(word: &OsStr) -> Result<Self, CliError> {
        let all = word.as_bytes();
        if all == b"-" {
            return Ok(Self::Standard);
        }
        let Some(colon) = all.iter().position(|byte| *byte == b':') else { return Ok(Self::Local(word.into())) };
        let (before, after) = (all.get(..colon).unwrap_or_default(), all.get(colon + 1..).unwrap_or_default());
        if before.contains(&b'/') {
            return Ok(Self::Local(word.into()));
        }
        if after.len() > MAX_PATH {
            return Err(CliError::new(format!("a path of {} bytes is too long", after.len())));
        }
        let text = String::from_utf8_lossy(before);
        let mut names: Vec<DeviceName> = Vec::new();
        for name in text.split(',').filter(|_| !text.is_empty()) {
            let name: DeviceName = name.parse().map_err(|error| {
                CliError::new(format!("`{name}` is no name of a device: {error}"))
                    .help(format!("a file here with a colon in its name: `./{}`", word.display()))
            })?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // The home, as with other programs of this kind.
        let path = if after.is_empty() { b".".to_vec() } else { after.to_vec() };
        Ok(Self::Remote { names, path: RawPath(path) })
    }

    /// The devices that it names, where it is on devices.
    pub(super) fn names(&self) -> Option<&[DeviceName]> {
        match self {
            Self::Remote { names, .. } => Some(names),
            Self::Local(_) | Self::Standard => None,
        }
    }
}

/// A path's bytes.
pub(super) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// A path of bytes.
pub(super) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Permissions in octal digits.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| "it is three or four octal digits, as in `644`".to_owned())
}

/// Bytes per second: a number, with `K`, `M` or `G` for powers of 1024.
pub(in crate::commands) fn rate(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((end, 'K' | 'k')) => (text.get(..end), 1 << 10),
        Some((end, 'M' | 'm')) => (text.get(..end), 1 << 20),
        Some((end, 'G' | 'g')) => (text.get(..end), 1 << 30),
        _ => (Some(text), 1_u64),
    };
    let number: Option<u64> = number.and_then(|number| number.parse().ok());
    number
        .and_then(|number| number.checked_mul(factor))
        .filter(|rate| *rate > 0)
        .ok_or_else(|| "it is a number of bytes per second, as in `256K`, `1M` or `4096`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_means_devices() {
        let remote = |names: &[&str], path: &str| Side::Remote {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            path: path.into(),
        };
        let check = |word: &str, expect: Side| assert_eq!(Side::parse(OsStr::new(word)).unwrap(), expect, "{word}");
        check("a", Side::Local("a".into()));
        check("./a:b", Side::Local("./a:b".into()));
        check("/x/a:b", Side::Local("/x/a:b".into()));
        check("-", Side::Standard);
        check("d1:/x:y", remote(&["d1"], "/x:y"));
        check("d1,d2,d1:x", remote(&["d1", "d2"], "x"));
        check(":/x", remote(&[], "/x"));
        check("d1:", remote(&["d1"], "."));
        for bad in ["no good:/x", "a,,b:/x", "D!:x", ",:x"] {
            assert!(Side::parse(OsStr::new(bad)).is_err(), "{bad}");
        }
        let raw = OsStr::from_bytes(b"d1:\xff");
        assert_eq!(
            Side::parse(raw).unwrap(),
            Side::Remote { names: vec!["d1".parse().unwrap()], path: RawPath(vec![0xff]) }
        );
    }

    #[test]
    fn modes_and_rates_are_read_or_refused() {
        assert_eq!(mode("644"), Ok(0o644));
        assert_eq!(mode("4755"), Ok(0o4755));
        assert!(["", "8", "rwx", "77777", "-1"].iter().all(|bad| mode(bad).is_err()));
        assert_eq!(rate("256K"), Ok(256 * 1024));
        assert_eq!(rate("1m"), Ok(1 << 20));
        assert_eq!(rate("7"), Ok(7));
        assert!(["", "K", "0", "-1", "1T", "1.5M", "99999999999999G"].iter().all(|bad| rate(bad).is_err()));
    }
}
