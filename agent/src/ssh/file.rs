//! The process that looks at a user's `authorized_keys`, or changes it, as that user.
//!
//! The agent starts its own executable again, as the user whose file it is: what is written is the user's, and a link or
//! a folder that the user put there leads nowhere where the user could not go. A change is whole or not at all, and lines
//! that it is not about stay as they are, to the byte.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitCode};

use robo_model::quantity::UnixMillis;
use robo_wire::api::{MAX_SSH_KEYS, SshKeyChange, SshKeys};
use rustix::fs::{self as unix, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// The hidden argument that makes the executable this process; the user's home follows.
pub const ARGUMENT: &str = "ssh-key-file";

/// Largest file that is read, in bytes: some thousand keys, and a few MiB in JSON whatever is in it.
const MAX_FILE: u64 = 512 * 1024;

/// Most bytes of what is asked for.
const MAX_CHANGE: u64 = 16 * 1024;

const FOLDER: &str = ".ssh";
const FILE: &str = "authorized_keys";
const BESIDE: &str = "authorized_keys.robo-new";

/// The option that says until when a key counts.
const EXPIRY: &str = "expiry-time=";

/// Does what standard input says, and tells on standard output; on standard error why not.
#[must_use]
pub fn main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let home = words.next().unwrap_or_default();
    match asked().and_then(|change| carry_out(Path::new(&home), &change)) {
        Ok(keys) => {
            let said = serde_json::to_vec(&keys).map_err(io::Error::other);
            let told = said.and_then(|said| io::stdout().lock().write_all(&said));
            if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(reason) => {
            // An agent that is gone needs to know nothing.
            drop(io::stderr().lock().write_all(reason.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn asked() -> Result<SshKeyChange, String> {
    let mut text = Vec::new();
    io::stdin().take(MAX_CHANGE).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let change: SshKeyChange = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    change.check().map(|()| change)
}

/// Does it in the folder `.ssh` of this home.
fn carry_out(home: &Path, change: &SshKeyChange) -> Result<SshKeys, String> {
    let Some(folder) = folder(home, matches!(change, SshKeyChange::Add { .. }))? else {
        return Ok(SshKeys::default());
    };
    // Two at a time would each write what the other one did not have.
    unix::flock(&folder, FlockOperation::LockExclusive).map_err(|error| cannot("be locked", error))?;
    let (before, mode) = read(&folder)?;
    let after = match change {
        SshKeyChange::List => before.clone(),
        SshKeyChange::Add { key, note, expires_at } => {
            let until = expires_at.map(local_time).transpose()?;
            added(&before, key, note, until.as_deref())?
        }
        SshKeyChange::Remove { key } => removed(&before, key),
    };
    let changed = after != before;
    if changed {
        write(&folder, &after, mode).map_err(|error| cannot("be written", error))?;
    }
    let lines = String::from_utf8_lossy(&after);
    let lines = lines.lines().filter(|line| Entry::of(line).is_some()).take(MAX_SSH_KEYS).map(str::to_owned);
    Ok(SshKeys { user: String::new(), changed, lines: lines.collect() })
}

fn cannot(what: &str, error: Errno) -> String {
    format!("~/{FOLDER}/{FILE} cannot {what}: {error}")
}

/// The folder, made where there is none and one is needed.
fn folder(home: &Path, make: bool) -> Result<Option<OwnedFd>, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let home = unix::open(home, flags, Mode::empty())
        .map_err(|error| format!("the user's home {} cannot be opened: {error}", home.display()))?;
    let open = || unix::openat(&home, FOLDER, flags | OFlags::NOFOLLOW, Mode::empty());
    let folder = match open() {
        Err(Errno::NOENT) if !make => return Ok(None),
        Err(Errno::NOENT) => unix::mkdirat(&home, FOLDER, Mode::RWXU).and_then(|()| open()),
        other => other,
    };
    let folder = folder.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => format!("~/{FOLDER} is no folder, or a link, and links are not followed"),
        error => format!("~/{FOLDER} cannot be opened: {error}"),
    })?;
    is_own(&folder, FOLDER)?;
    Ok(Some(folder))
}

/// Refuses what another user has a say in: an SSH server would refuse it, too.
fn is_own(what: &OwnedFd, name: &str) -> Result<unix::Stat, String> {
    let stat = unix::fstat(what).map_err(|error| cannot("be looked at", error))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(format!("~/{name} is another user's"));
    }
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(format!("others may write ~/{name}: `chmod go-w ~/{name}` first"));
    }
    Ok(stat)
}

/// The file and its mode; nothing, for nobody else to read, where there is none.
fn read(folder: &OwnedFd) -> Result<(Vec<u8>, Mode), String> {
    // A pipe of that name would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match unix::openat(folder, FILE, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok((Vec::new(), Mode::RUSR | Mode::WUSR)),
        Err(Errno::LOOP) => return Err(format!("~/{FOLDER}/{FILE} is a link, and links are not followed")),
        other => other.map_err(|error| cannot("be opened", error))?,
    };
    let stat = is_own(&file, &format!("{FOLDER}/{FILE}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("~/{FOLDER}/{FILE} is no file"));
    }
    let mut text = Vec::new();
    let count = File::from(file).take(MAX_FILE + 1).read_to_end(&mut text);
    let count = count.map_err(|error| format!("~/{FOLDER}/{FILE} cannot be read: {error}"))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(format!("~/{FOLDER}/{FILE} has more than {MAX_FILE} bytes"));
    }
    Ok((text, Mode::from_raw_mode(stat.st_mode)))
}

/// Puts a file with these bytes in the place of the one that is there.
fn write(folder: &OwnedFd, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    match unix::unlinkat(folder, BESIDE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = unix::openat(folder, BESIDE, flags, Mode::RUSR | Mode::WUSR)?;
    let written = fill(&file, bytes, mode)
        .and_then(|()| unix::renameat(folder, BESIDE, folder, FILE))
        .and_then(|()| unix::fsync(folder));
    if written.is_err() {
        // What is half written helps nobody, least on a full disk.
        unix::unlinkat(folder, BESIDE, AtFlags::empty()).ok();
    }
    written
}

fn fill(file: &OwnedFd, bytes: &[u8], mode: Mode) -> Result<(), Errno> {
    unix::fchmod(file, mode)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = rustix::io::write(file, rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    unix::fsync(file)
}

/// A line with a key.
struct Entry<'a> {
    options: &'a str,
    kind: &'a str,
    key: &'a str,
    comment: &'a str,
}

impl<'a> Entry<'a> {
    /// What a line says; nothing where it has no key.
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (first, rest) = word(line);
        let (options, kind, rest) = if is_kind(first) {
            ("", first, rest)
        } else {
            let (kind, rest) = word(rest);
            (first, kind, rest)
        };
        let (key, comment) = word(rest);
        (is_kind(kind) && !key.is_empty()).then_some(Self { options, kind, key, comment })
    }

    fn is(&self, key: &str) -> bool {
        key.split_once(' ') == Some((self.kind, self.key))
    }

    /// Whether it says nothing but until when it counts: more is an administrator's own.
    fn is_plain(&self) -> bool {
        let value = self.options.strip_prefix(EXPIRY).unwrap_or(if self.options.is_empty() { "\"\"" } else { "" });
        let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inside.is_some_and(|value| !value.contains('"'))
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| word.starts_with(begin)) && !word.contains(['=', ',', '"'])
}

/// The first word, in which spaces may stand between quotes, and the rest.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                let (word, rest) = text.split_at(at);
                return (word, rest.trim_start());
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (text, "")
}

/// The file with this key in it, once, until then.
fn added(before: &[u8], key: &str, note: &str, until: Option<&str>) -> Result<Vec<u8>, String> {
    let options = until.map(|until| format!("{EXPIRY}\"{until}\" ")).unwrap_or_default();
    let (mut after, mut is_there) = (Vec::new(), false);
    for piece in before.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(piece);
        let Some(entry) = Entry::of(&text).filter(|entry| entry.is(key)) else {
            after.extend_from_slice(piece);
            continue;
        };
        if !entry.is_plain() {
            let options = entry.options;
            return Err(format!("the key is there with options of its own, `{options}`: remove it first"));
        }
        // A second line of the same key would let it in for longer, or not let it in.
        if std::mem::replace(&mut is_there, true) {
            continue;
        }
        if entry.options == options.trim_end() {
            after.extend_from_slice(piece);
        } else {
            let comment = if note.is_empty() { entry.comment } else { note };
            after.extend_from_slice(format!("{options}{key} {comment}").trim_end().as_bytes());
            after.push(b'\n');
        }
    }
    if !is_there {
        if after.last().is_some_and(|last| *last != b'\n') {
            after.push(b'\n');
        }
        after.extend_from_slice(format!("{options}{key} {note}").trim_end().as_bytes());
        after.push(b'\n');
    }
    Ok(after)
}

/// The file without this key, whatever its lines say of it.
fn removed(before: &[u8], key: &str) -> Vec<u8> {
    let is_other = |piece: &&[u8]| !Entry::of(&String::from_utf8_lossy(piece)).is_some_and(|entry| entry.is(key));
    before.split_inclusive(|byte| *byte == b'\n').filter(is_other).collect::<Vec<_>>().concat()
}

/// A time as SSH servers of all versions read it: by this machine's clock on the wall, which the system alone knows.
fn local_time(at: UnixMillis) -> Result<String, String> {
    let output = Command::new("date").arg("-d").arg(format!("@{}", at.0 / 1000)).arg("+%Y%m%d%H%M%S").output();
    let output =
        output.map_err(|error| format!("`date` cannot be run, which knows this device's time zone: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text);
    }
    Err("`date -d @SECONDS` does not say which time that is on this device".to_owned())
}

#[cfg(test)]
mod tests;
