//! What a machine needs to become a device: the script that installs the agent, and the agents' programs.
//!
//! Both are given to whoever asks, for they hold no secret. Nobody has to trust the way they come by: the line that `robo
//! device enroll` prints has the script's SHA-256, and the script has those of the programs and of the authority.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// The script, with `@NAMES@` where this manager's are to stand.
const SCRIPT: &str = include_str!("install/install.sh");

/// Bytes read from the disk at a time.
const CHUNK: usize = 64 * 1024;

/// Longest address that is taken: a name of 253 bytes, a colon and a port fit.
const MAX_ADDRESS: usize = 260;

/// A machine's architecture, as `uname -m` calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Armv7,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit Intel and AMD.
    X86_64,
}

impl Architecture {
    /// All for which there may be an agent.
    pub const ALL: [Self; 4] = [Self::Aarch64, Self::Armv7, Self::Riscv64, Self::X86_64];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7l",
            Self::Riscv64 => "riscv64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The one of this name; nothing for others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.as_str() == name)
    }

    /// The one of this program; nothing where its name does not say which.
    fn own() -> Option<Self> {
        Self::named(std::env::consts::ARCH)
    }
}

/// Where a manager is, as devices dial it: `HOST:PORT`, of characters that mean nothing to a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerAddress(String);

impl ManagerAddress {
    /// Reads `HOST[:PORT]`; without a port it is `port`. Nothing when it is neither a name nor an address.
    #[must_use]
    pub fn read(text: &str, port: u16) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
            Some(_) | None => (text, port),
        };
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_good = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_of_a_name) && !host.starts_with('-'),
        };
        (is_good && text.len() <= MAX_ADDRESS).then(|| Self(format!("{host}:{port}")))
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// The agents' programs that a manager has to give away.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    folder: Option<PathBuf>,
    /// What was hashed, so that it is not read again for each device.
    hashed: Arc<Mutex<BTreeMap<PathBuf, Hashed>>>,
}

#[derive(Debug, Clone)]
struct Hashed {
    version: Version,
    hash: String,
}

/// One program, open: it stays this one when another file takes its name.
#[derive(Debug, Clone)]
pub struct Program {
    file: Arc<File>,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Program {
    /// At most `most` bytes from `place` on; fewer at its end.
    ///
    /// # Errors
    /// When it cannot be read, or was cut short since.
    pub fn read(&self, place: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(place)).unwrap_or(usize::MAX);
        let mut piece = vec![0; most.min(left)];
        self.file.read_exact_at(&mut piece, place)?;
        Ok(piece)
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Programs {
    /// Those in `folder`: `robo-agent-ARCHITECTURE`, and `robo-agent` for this machine's own.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), hashed: Arc::default() }
    }

    /// The program for machines of this architecture; nothing when there is none.
    #[must_use]
    pub fn path(&self, architecture: Architecture) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let own = (Architecture::own() == Some(architecture)).then(|| folder.join("robo-agent"));
        let named = folder.join(format!("robo-agent-{}", architecture.as_str()));
        std::iter::once(named).chain(own).find(|path| path.is_file())
    }

    /// What there is, each with its SHA-256 in hexadecimal. Reads the files that are new since the last time, so it takes a
    /// while.
    #[must_use]
    pub fn hashes(&self) -> Vec<(Architecture, String)> {
        let there = Architecture::ALL.into_iter().filter_map(|of| Some((of, self.path(of)?)));
        let hashed = there.filter_map(|(of, path)| match self.hash(&path) {
            Ok(hash) => Some((of, hash)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read an agent's program; it is not given away");
                None
            }
        });
        hashed.collect()
    }

    /// The program for machines of this architecture, as it is now; nothing when there is none. Reads one that is new since
    /// the last time, so it takes a while.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn program(&self, of: Architecture) -> io::Result<Option<Program>> {
        let Some(path) = self.path(of) else { return Ok(None) };
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let sha256 = self.hash_of(&path, file.try_clone()?)?;
        Ok(Some(Program { file: Arc::new(file), size, sha256 }))
    }

    fn hash(&self, path: &Path) -> io::Result<String> {
        self.hash_of(path, File::open(path)?)
    }

    fn hash_of(&self, path: &Path, mut file: File) -> io::Result<String> {
        let about = file.metadata()?;
        let version = Version { inode: about.ino(), bytes: about.len(), changed: (about.ctime(), about.ctime_nsec()) };
        // Held while one is read: who asks meanwhile would read the same.
        let mut known = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashed) = known.get(path).filter(|hashed| hashed.version == version) {
            return Ok(hashed.hash.clone());
        }
        let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
        loop {
            let read = file.read(&mut chunk)?;
            match chunk.get(..read) {
                Some([]) | None => break,
                Some(bytes) => hasher.update(bytes),
            }
        }
        let hash = hex::encode(hasher.finalize());
        known.insert(path.to_owned(), Hashed { version, hash: hash.clone() });
        Ok(hash)
    }
}

/// The script by which a machine becomes a device of the manager at `manager`, whose authority has this SHA-256, in
/// hexadecimal.
#[must_use]
pub fn script(manager: &ManagerAddress, ca_fingerprint: &str, programs: &[(Architecture, String)]) -> String {
    let lines: Vec<String> = programs.iter().map(|(of, hash)| format!("{} {hash}", of.as_str())).collect();
    SCRIPT
        .replace("@MANAGER@", manager.as_str())
        .replace("@CA@", ca_fingerprint)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@AGENTS@", &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_nothing_to_a_shell() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(ManagerAddress::read(text, 443).as_ref().map(ManagerAddress::as_str), expect, "{text}");
        };
        check("robo.example.org", Some("robo.example.org:443"));
        check("robo.example.org:7626", Some("robo.example.org:7626"));
        check("10.0.0.1:1", Some("10.0.0.1:1"));
        check("[::1]:7626", Some("[::1]:7626"));
        check("[fe80::1]", Some("[fe80::1]:443"));
        let long = "a".repeat(300);
        let quoted = ["a'b", "a\"b", "$(id)", "`id`", "a;b", "a b", "a\nb", "a@b", "a/b", "-k", "é"];
        for bad in ["", ":1", "a:0", "a:65536", "a:x", "[::1", "[x]:1", "::1", "a:1:2", &long].iter().chain(&quoted) {
            check(bad, None);
        }
    }

    #[test]
    fn a_program_is_found_by_its_architecture_and_hashed_once() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::in_folder(folder.path().to_owned());
        assert!(programs.hashes().is_empty() && Programs::default().hashes().is_empty());
        let path = folder.path().join("robo-agent-riscv64");
        std::fs::write(&path, "one").unwrap();
        let one = hex::encode(Sha256::digest("one"));
        assert_eq!(programs.hashes(), [(Architecture::Riscv64, one.clone())]);
        assert_eq!(programs.hashes(), [(Architecture::Riscv64, one)]);
        std::fs::write(folder.path().join("new"), "two").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(programs.hashes(), [(Architecture::Riscv64, hex::encode(Sha256::digest("two")))]);
        let program = programs.program(Architecture::Riscv64).unwrap().unwrap();
        assert_eq!((program.size, program.sha256.clone()), (3, hex::encode(Sha256::digest("two"))));
        std::fs::write(folder.path().join("new"), "three").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!((program.read(1, 9).unwrap(), program.read(3, 9).unwrap()), (b"wo".to_vec(), Vec::new()));
        assert!(programs.program(Architecture::Aarch64).unwrap().is_none());
        std::fs::write(folder.path().join("robo-agent"), "own").unwrap();
        assert_eq!(programs.hashes().len(), 1 + usize::from(Architecture::own().is_some()));
    }

    #[test]
    fn the_script_has_all_that_it_compares_with() {
        let address = ManagerAddress::read("robo.example.org", 443).unwrap();
        let text = script(&address, &"ab".repeat(32), &[(Architecture::X86_64, "cd".repeat(32))]);
        for line in ["MANAGER='robo.example.org:443'", &format!("CA='{}'", "ab".repeat(32))] {
            assert!(text.contains(line), "{line}");
        }
        assert!(text.contains(&format!("AGENTS='x86_64 {}'", "cd".repeat(32))));
        let capitals = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase()) && !name.is_empty();
        assert!(!text.split('@').any(capitals), "something was not filled in");
    }
}
