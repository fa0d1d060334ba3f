//! Reading a file, and replacing it by one with another text: whole, or not at all.

use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use robo_agent::folders;
use robo_model::limits::MAX_SOURCE_BYTES;

use crate::error::CliError;

/// The bytes of a file.
///
/// # Errors
/// When it is none, is too large, or cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |error| CliError::new(format!("cannot read {}: {error}", path.display()));
    // Before it is opened: a pipe would wait for somebody who writes.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(CliError::new(format!("{} is no file that can be rewritten", path.display()))
            .help("to format what a program writes: `PROGRAM | robo fmt -`"));
    }
    let bytes = bounded(std::fs::File::open(path).map_err(unreadable)?).map_err(unreadable)?;
    within_limit(bytes, || path.display().to_string())
}

/// The bytes of standard input.
///
/// # Errors
/// As [`read`].
pub(super) fn read_input() -> Result<Vec<u8>, CliError> {
    let bytes = bounded(std::io::stdin().lock())
        .map_err(|error| CliError::new(format!("cannot read standard input: {error}")))?;
    within_limit(bytes, || "standard input".to_owned())
}

fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_SOURCE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn within_limit(bytes: Vec<u8>, what: impl Fn() -> String) -> Result<Vec<u8>, CliError> {
    if bytes.len() <= MAX_SOURCE_BYTES {
        return Ok(bytes);
    }
    Err(CliError::new(format!("{} has more than {MAX_SOURCE_BYTES} bytes", what())).help("is this the right file?"))
}

/// Replaces a file, or what a link leads to. Mode and owner stay. On an error the file is as it was.
///
/// # Errors
/// When it is read-only, or the disk does not take it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let unwritable =
        |error| CliError::new(format!("cannot write {}: {error}", path.display())).note("the file is as it was");
    let target = path.canonicalize().map_err(unwritable)?;
    let old = std::fs::metadata(&target).map_err(unwritable)?;
    if old.permissions().readonly() {
        return Err(CliError::new(format!("{} is read-only", path.display()))
            .note("the file is as it was")
            .help("make it writable first, or write elsewhere: `robo fmt - < FILE`"));
    }
    // A file that we may not write must not be replaced either, although its folder would let us.
    drop(std::fs::OpenOptions::new().write(true).open(&target).map_err(unwritable)?);
    folders::replace(&target, bytes, PRIVATE, |new| {
        let made = new.metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        new.set_permissions(old.permissions())?;
        new.sync_all()
    })
    .map_err(unwritable)?;
    target.parent().map_or(Ok(()), folders::sync_dir).map_err(unwritable)
}

/// The mode of the new file until it has that of the old one.
const PRIVATE: u32 = 0o600;
