//! Where programs lie: the one that runs, the next one beside it, and the one before.
//!
//! The next one is tried from where it will be renamed from, on the same file system: what is tried is what takes the
//! place, and what would hinder that (another user's folder, a disk that is full, one that runs no programs) shows before.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::Fault;
use crate::code::Code;
use crate::folders::{absent_is_fine, sync_dir};

/// Left free on each disk beyond the program: the ledger has to be written meanwhile.
const MARGIN: u64 = 16 * 1024 * 1024;

/// How long a program may take to say its version: an unoptimised one on a slow card, many times over.
const VERSION_TIME: Duration = Duration::from_secs(20);

/// Most that is read of what it says then.
const MAX_VERSION_TEXT: u64 = 4096;

/// What it begins with.
const PRODUCT: &str = "robo-agent ";

/// How often a program that is "busy" is tried again: a process that we are just starting may hold its file for an instant.
const BUSY_TRIES: u32 = 20;

/// Time between two such tries.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// The places of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The program that is started.
    pub(super) program: PathBuf,
    /// The next one.
    pub(super) next: PathBuf,
    /// The one before.
    pub(super) previous: PathBuf,
}

impl Place {
    /// The places around `program`.
    pub(super) fn of(program: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = program.file_name().unwrap_or_default().to_owned();
            name.push(ending);
            program.with_file_name(name)
        };
        Self { program: program.to_owned(), next: beside(".upgrade"), previous: beside(".previous") }
    }

    /// The folder that they lie in.
    pub(super) fn folder(&self) -> &Path {
        self.program.parent().unwrap_or_else(|| Path::new("/"))
    }

    /// Whether a program of `size` bytes can be put there, and its last `missing` bytes into the folder `part` before.
    pub(super) fn check(&self, size: u64, part: &Path, missing: u64) -> Result<(), Fault> {
        let folder = self.folder();
        access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let reason = format!(
                "{} cannot be written by the user that the agent runs as ({}), and its program lies there",
                folder.display(),
                io::Error::from(error)
            );
            Fault::new(Code::InstallFolder, reason)
        })?;
        let device = |path: &Path| fs::metadata(path).ok().map(|about| about.dev());
        if device(folder) == device(part) {
            return room(folder, size.saturating_add(missing));
        }
        room(folder, size).and_then(|()| room(part, missing))
    }

    /// Lays the next program beside the one that runs, whole and on the disk; what was there goes.
    pub(super) fn lay(&self, from: &Path) -> Result<(), Fault> {
        let copied = || {
            let mode = fs::metadata(&self.program)?.permissions().mode() & 0o755;
            absent_is_fine(fs::remove_file(&self.next))?;
            let mut next = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&self.next)?;
            io::copy(&mut File::open(from)?, &mut next)?;
            next.set_permissions(Permissions::from_mode(mode | 0o700))?;
            next.sync_all()?;
            sync_dir(self.folder())
        };
        copied().map_err(|error: io::Error| {
            self.clear();
            Fault::at(Code::InstallFolder, "write", &self.next, &error)
        })
    }

    /// The next one takes the place of the one that runs, which stays as the one before. There is no moment without one.
    pub(super) fn swap(&self) -> io::Result<()> {
        absent_is_fine(fs::remove_file(&self.previous))?;
        if fs::hard_link(&self.program, &self.previous).is_err() {
            // Some file systems know no second names.
            fs::copy(&self.program, &self.previous)?;
        }
        fs::rename(&self.next, &self.program)?;
        sync_dir(self.folder())
    }

    /// The one before takes its place again.
    pub(super) fn swap_back(&self) -> io::Result<()> {
        fs::rename(&self.previous, &self.program)?;
        sync_dir(self.folder())
    }

    /// Removes the next one.
    pub(super) fn clear(&self) {
        if let Err(error) = absent_is_fine(fs::remove_file(&self.next)) {
            tracing::warn!(%error, "cannot remove {}", self.next.display());
        }
    }

    /// Whether the next program runs here at all: it says its version.
    pub(super) async fn ask_version(&self) -> Result<(), Fault> {
        let fault = |reason: String| Fault::new(Code::Program, format!("{}: {reason}", self.next.display()));
        let said = timeout(VERSION_TIME, Box::pin(self.version()));
        let said = said.await.map_err(|_| fault(format!("it does not say its version within {VERSION_TIME:?}")))?;
        let said = said.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOEXEC) => fault("it is no program for this machine".to_owned()),
            Some(Errno::ACCESS) => fault("it may not be run; is the file system mounted `noexec`?".to_owned()),
            Some(Errno::NOENT) => {
                fault("what its first line or its header names to run it with is not here".to_owned())
            }
            _ => fault(error.to_string()),
        })?;
        if said.starts_with(PRODUCT) {
            return Ok(());
        }
        let line: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
        Err(fault(format!("it is no agent: asked for its version, it says `{}`", line.escape_debug())))
    }

    async fn version(&self) -> io::Result<String> {
        let mut command = Command::new(&self.next);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut tries = 1;
        let mut child = loop {
            match command.spawn() {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::TXTBSY) && tries < BUSY_TRIES => {
                    tries += 1;
                    sleep(BUSY_PAUSE).await;
                }
                other => break other?,
            }
        };
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("it has no output"));
        };
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        let (mut out, mut err) = (out.take(MAX_VERSION_TEXT), err.take(MAX_VERSION_TEXT));
        let (one, other) = tokio::join!(out.read_to_end(&mut said), err.read_to_end(&mut complained));
        one.and(other)?;
        // Who has more to say may say it to nobody.
        drop((out, err));
        let status = child.wait().await?;
        if !status.success() {
            let why = String::from_utf8_lossy(&complained).lines().next().unwrap_or_default().to_owned();
            return Err(io::Error::other(format!("asked for its version, it ended with {status}: {why}")));
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

fn room(folder: &Path, needed: u64) -> Result<(), Fault> {
    let Ok(stat) = statvfs(folder) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = needed.saturating_add(MARGIN);
    if free >= needed {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let reason = format!("{} has {} MB free, and {} MB are needed", folder.display(), free / 1_000_000, mb(needed));
    Err(Fault::new(Code::DiskFull, reason))
}
