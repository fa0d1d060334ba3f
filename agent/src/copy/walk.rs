//! What there is to be sent, in order: a folder before what is in it, names sorted. Links are told and not followed, so
//! that nothing outside of the folder is read, whatever somebody does to it meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use robo_model::quantity::UnixMillis;
use robo_wire::copy::{Content, Kind, MAX_INLINE, MAX_PATH, RawPath, Told, short};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::fault::{explain, explain_io};

/// Most folders within one another: each is held open, and no sane tree is deeper.
const MAX_DEPTH: usize = 200;

/// Something to be sent.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: RawPath,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) modified_at: Option<UnixMillis>,
    /// The file, where its content does not travel in the entry, and what it was when it was opened.
    pub(super) file: Option<(File, Stat)>,
}

/// What the walk comes upon.
#[derive(Debug)]
pub(super) enum Step {
    /// To be sent.
    Item(Item),
    /// Left out, and no fault: it is no file.
    Skip(Told),
    /// It cannot be read.
    Fail(Told),
}

/// A walk through a file or a folder.
#[derive(Debug)]
pub(super) struct Walk {
    root: Option<PathBuf>,
    recursive: bool,
    /// The folders that it is in; of each the names that are left, the last one first.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    folder: OwnedFd,
    name: Vec<u8>,
    left: Vec<Vec<u8>>,
}

impl Walk {
    pub(super) fn new(root: &Path, recursive: bool) -> Self {
        Self { root: Some(root.to_owned()), recursive, levels: Vec::new() }
    }

    /// The next; nothing at the end.
    ///
    /// # Errors
    /// When the root itself cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Step>, String> {
        if let Some(root) = self.root.take() {
            return self.begin(&root).map(|item| Some(Step::Item(item)));
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(leaf) = level.left.pop() else {
                self.levels.pop();
                continue;
            };
            let mut name = level.name.clone();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(&leaf);
            let name = RawPath(name);
            return Ok(Some(match self.enter(&name, &leaf) {
                Ok(step) => step,
                Err(reason) => Step::Fail(told(&name, &reason)),
            }));
        }
    }

    /// The root: a link that was named is followed.
    fn begin(&mut self, root: &Path) -> Result<Item, String> {
        let fault = |error| explain("read", root.display(), error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = openat(CWD, root, flags, Mode::empty()).map_err(fault)?;
        let stat = fstat(&fd).map_err(fault)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.recursive => {
                self.descend(fd, Vec::new()).map_err(fault)?;
                Ok(item(&RawPath::default(), Kind::Folder, &stat))
            }
            FileType::Directory => {
                Err(format!("`{}` is a folder; copy it with all that is in it by `--recursive`", root.display()))
            }
            FileType::RegularFile => file_item(&RawPath::default(), File::from(fd), stat)
                .map_err(|error| explain_io("read", root.display(), &error)),
            other @ (FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown) => {
                Err(format!("`{}` is {}, and only files, folders and links are copied", root.display(), word(other)))
            }
        }
    }

    fn enter(&mut self, name: &RawPath, leaf: &[u8]) -> Result<Step, String> {
        let fault = |error| explain("read", name, error);
        let Some(level) = self.levels.last() else { return Err("it is in no folder".to_owned()) };
        if name.0.len() > MAX_PATH {
            return Err(format!("its path is longer than {MAX_PATH} bytes"));
        }
        let stat = statat(&level.folder, leaf, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.levels.len() >= MAX_DEPTH => {
                Err(format!("it is deeper than {MAX_DEPTH} folders"))
            }
            FileType::Directory => {
                let fd = openat(&level.folder, leaf, flags | OFlags::DIRECTORY, Mode::empty()).map_err(fault)?;
                let stat = fstat(&fd).map_err(fault)?;
                self.descend(fd, name.0.clone()).map_err(fault)?;
                Ok(Step::Item(item(name, Kind::Folder, &stat)))
            }
            FileType::Symlink => {
                let text = readlinkat(&level.folder, leaf, Vec::new()).map_err(fault)?;
                Ok(Step::Item(item(name, Kind::Link(RawPath(text.into_bytes())), &stat)))
            }
            FileType::RegularFile => {
                let fd = openat(&level.folder, leaf, flags, Mode::empty()).map_err(fault)?;
                let stat = fstat(&fd).map_err(fault)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err("it became something else while it was looked at".to_owned());
                }
                file_item(name, File::from(fd), stat).map(Step::Item).map_err(|e| explain_io("read", name, &e))
            }
            other @ (FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown) => Ok(Step::Skip(told(name, &format!("it is {}", word(other))))),
        }
    }

    fn descend(&mut self, folder: OwnedFd, name: Vec<u8>) -> Result<(), Errno> {
        let mut left = Vec::new();
        for entry in Dir::read_from(folder.as_fd())? {
            let entry = entry?;
            let leaf = entry.file_name().to_bytes();
            // What another copy has not finished is not part of the folder.
            if leaf != b"." && leaf != b".." && !super::part::is_part(leaf) {
                left.push(leaf.to_vec());
            }
        }
        left.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { folder, name, left });
        Ok(())
    }
}

fn told(name: &RawPath, reason: &str) -> Told {
    Told { number: None, name: name.clone(), reason: short(reason) }
}

fn item(name: &RawPath, kind: Kind, stat: &Stat) -> Item {
    Item { name: name.clone(), kind, mode: stat.st_mode & 0o7777, modified_at: modified_at(stat), file: None }
}

/// A file; of a small one all that is in it.
fn file_item(name: &RawPath, mut file: File, stat: Stat) -> std::io::Result<Item> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size <= MAX_INLINE as u64 {
        // What the kernel makes up on reading says no size: so look how much comes.
        let mut content = Vec::new();
        (&mut file).take(MAX_INLINE as u64 + 1).read_to_end(&mut content)?;
        if content.len() <= MAX_INLINE {
            return Ok(item(name, Kind::Small(Content(content)), &stat));
        }
        file.rewind()?;
        let item = item(name, Kind::File(None), &stat);
        return Ok(Item { file: Some((file, stat)), ..item });
    }
    let item = item(name, Kind::File(Some(size)), &stat);
    Ok(Item { file: Some((file, stat)), ..item })
}

/// When it was changed last; nothing for what is from before 1970.
pub(super) fn modified_at(stat: &Stat) -> Option<UnixMillis> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let millis = u64::from(u32::try_from(stat.st_mtime_nsec).ok()? / 1_000_000);
    Some(UnixMillis(seconds.checked_mul(1000)?.checked_add(millis)?))
}

/// The name that a copy of `path` has where nothing else is said.
pub(super) fn own_name(path: &Path) -> Option<&OsStr> {
    path.file_name().filter(|name| !name.as_bytes().is_empty())
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(root: &Path) -> Vec<String> {
        let mut walk = Walk::new(root, true);
        let mut found = Vec::new();
        while let Some(step) = walk.next().unwrap() {
            found.push(match step {
                Step::Item(item) => match item.kind {
                    Kind::Small(content) => format!("{} small {}", item.name, content.0.len()),
                    Kind::File(size) => format!("{} file {size:?}", item.name),
                    Kind::Folder => format!("{} folder", item.name),
                    Kind::Link(text) => format!("{} -> {text}", item.name),
                },
                Step::Skip(told) => format!("{} skipped: {}", told.name, told.reason),
                Step::Fail(told) => format!("{} failed: {}", told.name, told.reason),
            });
        }
        found
    }

    #[test]
    fn a_tree_is_told_in_order_and_links_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("tree");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/large"), vec![1; MAX_INLINE + 1]).unwrap();
        std::fs::write(root.join("a/z"), "z").unwrap();
        std::fs::write(root.join(OsStr::from_bytes(b"\xff")), "").unwrap();
        std::fs::write(root.join(".robo-0123456789abcdef.part"), "not whole").unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let found = all(&root);
        drop(socket);
        assert_eq!(
            found,
            [
                " folder",
                "a folder",
                "a/b folder",
                "a/b/large file Some(32769)",
                "a/z small 1",
                "etc -> /etc",
                "socket skipped: it is a socket",
                "\u{fffd} small 0",
            ]
        );
    }

    #[test]
    fn a_root_that_cannot_be_sent_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let check = |path: &Path, recursive, expect: &str| {
            let error = Walk::new(path, recursive).next().unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check(temporary.path(), false, "--recursive");
        check(&temporary.path().join("none"), true, "there is no such file");
        check(Path::new("/dev/null"), true, "is a device");
        let item = Walk::new(Path::new("/proc/self/status"), false).next().unwrap();
        assert!(matches!(item, Some(Step::Item(Item { kind: Kind::Small(content), .. })) if !content.0.is_empty()));
    }
}
