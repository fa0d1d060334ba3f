//! The agent's folder: can it be written, how much room is there, does the ledger read, is everything looked after.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::code::Code;
use crate::folders::Folders;
use crate::keeper::proc::boot_id;
use crate::ledger::{LedgerStore, Origin};

/// Less than this, in bytes, and the next download or the ledger's next write may fail.
const LITTLE_ROOM: u64 = 16 * 1024 * 1024;

/// A file that is there for a moment, to see whether one can be.
const TRIAL: &str = ".doctor";

pub(super) fn examine(folders: &Folders) -> Vec<Finding> {
    let root = folders.root();
    // Whether it is there, and whether we may look into it.
    if let Err(error) = fs::read_dir(root) {
        let found = if error.kind() == io::ErrorKind::NotFound {
            format!("there is no folder {}", root.display())
        } else {
            format!("{} cannot be read: {error}", root.display())
        };
        let mut findings = vec![Finding::failed("folder", Code::StateFolder, found)];
        let others = ["room", "agent", "ledger", "keepers"];
        findings.extend(others.map(|check| Finding::skipped(check, "the folder cannot be read")));
        return findings;
    }
    vec![folder(root), room(root), agent(folders), ledger(folders), keepers(folders)]
}

fn folder(root: &Path) -> Finding {
    let trial = root.join(format!("{TRIAL}-{}", std::process::id()));
    let written = fs::write(&trial, "x").and_then(|()| fs::remove_file(&trial));
    let (path, kind) = (root.display(), file_system(root).unwrap_or_else(|| "a file system of unknown kind".into()));
    match written {
        Ok(()) => Finding::ok("folder", format!("{path} on {kind}")),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            Finding::failed("folder", Code::DiskFull, format!("{path} on {kind} is full"))
        }
        Err(error) => {
            Finding::failed("folder", Code::StateFolder, format!("{path} on {kind} cannot be written: {error}"))
        }
    }
}

fn room(root: &Path) -> Finding {
    match rustix::fs::statvfs(root) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} MB are free", free / 1_000_000);
            if free < LITTLE_ROOM { Finding::failed("room", Code::DiskFull, found) } else { Finding::ok("room", found) }
        }
        Err(error) => Finding::skipped("room", format!("the system does not tell: {error}")),
    }
}

/// The kind of the file system that `path` lies on, by the longest mount point above it (`proc(5)`, mountinfo).
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(left.split(' ').nth(4)?.replace("\\040", " "));
        path.starts_with(&point).then(|| (point.components().count(), right.split(' ').next().unwrap_or_default()))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind.to_owned())
}

fn agent(folders: &Folders) -> Finding {
    match folders.is_locked() {
        Ok(true) => Finding::ok("agent", "it runs"),
        Ok(false) => Finding::failed("agent", Code::NotRunning, "none runs on this folder"),
        Err(error) => Finding::failed("agent", Code::StateFolder, format!("the folder's lock cannot be read: {error}")),
    }
}

fn ledger(folders: &Folders) -> Finding {
    let found = match LedgerStore::inspect(&folders.ledger()) {
        Ok(found) => found,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return Finding::failed("ledger", Code::Ledger, format!("{error}{cause}"));
        }
    };
    let damaged = found.origins.iter().find_map(|(part, origin)| match origin {
        Origin::Whole | Origin::Missing => None,
        Origin::Before(None) => Some(format!("`{}` is missing", part.file_name())),
        Origin::Before(Some(damage)) | Origin::Lost(damage) => {
            Some(format!("`{}` is damaged: {damage}", part.file_name()))
        }
    });
    match damaged {
        Some(damaged) => Finding::failed("ledger", Code::Ledger, damaged),
        None => Finding::ok("ledger", format!("{} instances are assigned", found.ledger.assignment.instances.len())),
    }
}

fn keepers(folders: &Folders) -> Finding {
    let runs = match folders.all_runs() {
        Ok(runs) => runs,
        Err(error) => {
            return Finding::failed(
                "keepers",
                Code::StateFolder,
                format!("the folders of instances cannot be read: {error}"),
            );
        }
    };
    let boot = boot_id();
    let (mut kept, mut alone) = (0_usize, Vec::new());
    for run in runs {
        let (Ok(Some(running)), Ok(None)) = (run.running(), run.exit()) else { continue };
        if running.boot != boot {
            continue;
        }
        if running.keeper.is_alive() {
            kept += 1;
        } else if let Some(child) = running.child.filter(|child| child.is_alive()) {
            alone.push(format!("process {} of {}", child.pid, run.path().display()));
        }
    }
    if alone.is_empty() {
        Finding::ok("keepers", format!("{kept} programs run, each with its keeper"))
    } else {
        Finding::failed("keepers", Code::Keeper, format!("without a keeper: {}", alone.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Part;

    #[test]
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Folders::new(temporary.path());
        folders.create().unwrap();
        drop(LedgerStore::open(&folders.ledger()).unwrap());
        let of = |findings: &[Finding], check: &str| findings.iter().find(|f| f.check == check).unwrap().clone();
        let found = examine(&folders);
        assert_eq!(of(&found, "folder").code, None, "{found:?}");
        assert_eq!(of(&found, "ledger").found, "0 instances are assigned");
        assert_eq!(of(&found, "keepers").found, "0 programs run, each with its keeper");
        assert_eq!(of(&found, "agent").code, Some("AGT_NOT_RUNNING"));
        let lock = folders.lock().unwrap();
        assert_eq!(of(&examine(&folders), "agent").found, "it runs");
        drop(lock);
        for part in Part::ALL {
            fs::write(folders.ledger().join(part.file_name()), "nonsense").unwrap();
        }
        let damaged = of(&examine(&folders), "ledger");
        assert_eq!(damaged.code, Some("AGT_LEDGER"), "{damaged:?}");
        let left = fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().contains(TRIAL)));
    }
}
