//! Removes a file that is elsewhere by now: if it is still what was copied, and nothing else.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use robo_wire::copy::Purge;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::fault::{explain, explain_io};
use super::part::hash_file;

/// Removes it; a relative path begins at `home`. One that is gone already is as it should be.
///
/// # Errors
/// Why it stays, in one sentence for people.
pub(super) fn purge(asked: &Purge, home: &Path) -> Result<(), String> {
    let path = home.join(std::ffi::OsStr::from_bytes(&asked.path.0));
    let shown = path.display();
    // A link was followed when it was copied; what it leads to is not ours to remove.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = match openat(CWD, path.as_path(), flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(explain("remove", &shown, error)),
    };
    let before = fstat(&file).map_err(|error| explain("look at", &shown, error))?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(format!("`{shown}` is no file any more, and stays"));
    }
    let changed = || Err(format!("`{shown}` was changed since it was sent, and stays"));
    if u64::try_from(before.st_size).ok() != Some(asked.size) {
        return changed();
    }
    let mut hash = Sha256::new();
    let read = hash_file(&mut file, asked.size, &mut hash).map_err(|error| explain_io("read", &shown, &error))?;
    if read != asked.size || hex::encode(hash.finalize()) != asked.sha256 {
        return changed();
    }
    // Nothing keeps a program from writing between this look and the removal; the look makes that a matter of microseconds.
    let now =
        statat(CWD, path.as_path(), AtFlags::SYMLINK_NOFOLLOW).map_err(|error| explain("look at", &shown, error))?;
    let what = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if what(&now) != what(&before) {
        return changed();
    }
    unlinkat(CWD, path.as_path(), AtFlags::empty()).map_err(|error| explain("remove", &shown, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &Path, content: &[u8]) -> Purge {
        let path = robo_wire::copy::RawPath(path.as_os_str().as_bytes().to_vec());
        Purge { path, size: content.len() as u64, sha256: hex::encode(Sha256::digest(content)) }
    }

    #[test]
    fn what_was_sent_goes_and_what_was_not_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "new lines").unwrap();
        for old in ["old", "old lines"] {
            let why = purge(&asked(&path, old.as_bytes()), Path::new("/")).unwrap_err();
            assert!(why.contains("changed since it was sent") && path.exists(), "{why}");
        }
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        purge(&asked(&folder.path().join("link"), b"new lines"), Path::new("/")).unwrap_err();
        purge(&asked(folder.path(), b""), Path::new("/")).unwrap_err();
        assert!(path.exists());
        purge(&asked(Path::new("log"), b"new lines"), folder.path()).unwrap();
        assert!(!path.exists());
        // The answer to the first time was lost.
        purge(&asked(&path, b"new lines"), Path::new("/")).unwrap();
    }
}
