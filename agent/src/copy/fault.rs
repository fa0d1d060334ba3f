//! Failures of the file system in words for people: what was tried, with which path, and what to do.

use std::fmt::Display;
use std::io::ErrorKind;

use rustix::io::Errno;

/// One sentence on why something cannot be done with `path`.
pub(super) fn explain(doing: &str, path: impl Display, error: Errno) -> String {
    let why = match error {
        Errno::NOENT => "there is no such file or folder".to_owned(),
        Errno::ACCESS | Errno::PERM => "the user of the agent or of `robo` may not do that there".to_owned(),
        Errno::ISDIR => "it is a folder".to_owned(),
        Errno::NOTDIR => "a part of the path is no folder".to_owned(),
        Errno::NOSPC => "there is no space left on the device; make room and copy again, it goes on".to_owned(),
        Errno::DQUOT => "the user's quota is used up".to_owned(),
        Errno::ROFS => "the file system is mounted read-only".to_owned(),
        Errno::LOOP => "it is a symbolic link, and links are not followed here".to_owned(),
        Errno::NAMETOOLONG => "the name is too long".to_owned(),
        Errno::FBIG => "the file system takes no files of this size".to_owned(),
        other => std::io::Error::from(other).to_string(),
    };
    format!("cannot {doing} `{path}`: {why}")
}

/// The same for errors of the standard library.
pub(super) fn explain_io(doing: &str, path: impl Display, error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => explain(doing, path, Errno::from_raw_os_error(number)),
        None if error.kind() == ErrorKind::UnexpectedEof => format!("cannot {doing} `{path}`: it ends too early"),
        None => format!("cannot {doing} `{path}`: {error}"),
    }
}
