//! A program on its way: what came stays in the agent's folder, and is continued by the next upgrade to the same one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::Fault;
use super::notes::Notes;
use crate::code::Code;

/// Bytes read at a time to be hashed.
const PIECE: usize = 64 * 1024;

/// A program that is not whole yet.
#[derive(Debug)]
pub(super) struct Coming {
    path: PathBuf,
    file: File,
    hash: Sha256,
    place: u64,
    size: u64,
}

impl Coming {
    /// The program with this SHA-256, from where it is; parts of others go.
    pub(super) fn open(notes: &Notes, sha256: &str, size: u64) -> Result<Self, Fault> {
        let path = notes.part(sha256);
        let fault = |error: io::Error| Fault::at(Code::StateFolder, "write", &path, &error);
        notes.create().map_err(fault)?;
        notes.keep_only(sha256).map_err(fault)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path).map_err(fault)?;
        let (hash, place) = hashed(&mut file).map_err(fault)?;
        let mut coming = Self { path: path.clone(), file, hash, place, size };
        if coming.place > size {
            coming.begin_anew().map_err(fault)?;
        }
        Ok(coming)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)?;
        (self.hash, self.place) = (Sha256::new(), 0);
        Ok(())
    }

    /// So many bytes are there.
    pub(super) const fn place(&self) -> u64 {
        self.place
    }

    /// How much is there, 0 to 100.
    pub(super) fn percent(&self) -> u8 {
        let percent = self.place.saturating_mul(100).checked_div(self.size).unwrap_or(100);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.place == self.size
    }

    /// Whether bytes at `place` are those that come next, and no more than were announced.
    pub(super) fn expects(&self, place: u64, bytes: usize) -> Result<(), Fault> {
        if place == self.place && self.place.saturating_add(bytes as u64) <= self.size && bytes > 0 {
            return Ok(());
        }
        let reason = format!("the manager sends {bytes} bytes at {place}, after {} of {}", self.place, self.size);
        Err(Fault::new(Code::Answer, reason))
    }

    /// Takes bytes that it [expects](Coming::expects).
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if let Err(error) = self.file.write_all(bytes) {
            let fault = Fault::at(Code::StateFolder, "write", &self.path, &error);
            // Where it stands now nobody knows; and a full disk is better without it.
            self.forget();
            return Err(fault);
        }
        self.hash.update(bytes);
        self.place += bytes.len() as u64;
        Ok(())
    }

    /// Compares the whole of it with what was announced; what is something else goes.
    pub(super) fn finish(self, sha256: &str) -> Result<PathBuf, Fault> {
        let came = hex::encode(self.hash.clone().finalize());
        if came == sha256 {
            return Ok(self.path);
        }
        self.forget();
        Err(Fault::new(Code::Checksum, format!("a program with the SHA-256 {came} came, and {sha256} was announced")))
    }

    fn forget(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "cannot remove {}", self.path.display());
        }
    }
}

/// The hash of all that is in the file, and how much that is; the file is at its end then.
fn hashed(file: &mut File) -> io::Result<(Sha256, u64)> {
    let (mut hash, mut place, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some([]) | None => return Ok((hash, place)),
            Some(bytes) => hash.update(bytes),
        }
        place += read as u64;
    }
}
