//! The bytes of the ledger's files, as pure functions: one line `robo-ledger VERSION SHA256 LENGTH`, then JSON.
//!
//! Length and checksum are those of what follows the line; the length came later than the checksum, so a file without
//! it is whole when its checksum fits. Append-only: a field has a default, one that is not known is skipped. What an
//! older agent could not skip needs a new version.

use robo_model::resolve::Provider;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{Ledger, Part};

/// The version of the files that this agent writes; it reads all older ones.
pub const VERSION: u32 = 1;

/// The first word of each file.
const MAGIC: &str = "robo-ledger";

/// Why bytes are not a part of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Only its beginning is there.
    #[error("it was cut off after {0} bytes")]
    Torn(usize),
    /// The disk does not give it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is something else.
    #[error("its first line is not a ledger's")]
    Foreign,
    /// Some of its bytes changed.
    #[error("its content does not match its checksum")]
    Checksum,
    /// Its bytes are as they were written, and make no sense.
    #[error("its content cannot be read: {0}")]
    Content(String),
    /// A newer agent wrote it. That is no damage: it must be left as it is.
    #[error("it has version {0}, this agent reads up to {VERSION}")]
    Newer(u32),
}

/// The whole file of one part of `ledger`.
#[must_use]
#[expect(clippy::expect_used, reason = "all keys of these maps are texts, and nothing in them refuses to be written")]
pub fn encode(ledger: &Ledger, part: Part) -> Vec<u8> {
    let body = match part {
        Part::Assignment => serde_json::to_vec(&ledger.assignment),
        Part::Imports => serde_json::to_vec(&ledger.imports.values().collect::<Vec<_>>()),
        Part::State => serde_json::to_vec(&ledger.state),
    };
    with_header(&body.expect("a ledger can be written as JSON"))
}

/// Reads the whole file of one part, into `ledger`.
///
/// # Errors
/// When it is damaged, or of a newer version; `ledger` is then as it was.
pub fn decode(part: Part, bytes: &[u8], ledger: &mut Ledger) -> Result<(), Damage> {
    let body = checked(bytes)?;
    match part {
        Part::Assignment => ledger.assignment = read(body)?,
        Part::Imports => {
            let providers: Vec<Provider> = read(body)?;
            ledger.imports = providers.into_iter().map(|provider| (provider.key.clone(), provider)).collect();
        }
        Part::State => ledger.state = read(body)?,
    }
    Ok(())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(body).map_err(|e| Damage::Content(e.to_string()))
}

fn with_header(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{MAGIC} {VERSION} {} {}\n", hex::encode(Sha256::digest(body)), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The body behind a header that fits it.
fn checked(bytes: &[u8]) -> Result<&[u8], Damage> {
    let line = bytes.iter().position(|byte| *byte == b'\n').and_then(|end| bytes.split_at_checked(end + 1));
    let Some((line, body)) = line else {
        let begins = |magic: &[u8]| bytes.starts_with(magic) || magic.starts_with(bytes);
        return Err(if begins(MAGIC.as_bytes()) { Damage::Torn(bytes.len()) } else { Damage::Foreign });
    };
    let mut words = std::str::from_utf8(line).map_err(|_| Damage::Foreign)?.split_ascii_whitespace();
    if words.next() != Some(MAGIC) {
        return Err(Damage::Foreign);
    }
    // The version stands before the checksum so that a newer one may check in another way.
    let version: u32 = words.next().and_then(|word| word.parse().ok()).ok_or(Damage::Foreign)?;
    if version > VERSION {
        return Err(Damage::Newer(version));
    }
    let sum = words.next().ok_or(Damage::Foreign)?;
    let length: Option<usize> = words.next().and_then(|word| word.parse().ok());
    if length.is_some_and(|length| body.len() < length) {
        return Err(Damage::Torn(bytes.len()));
    }
    if sum == hex::encode(Sha256::digest(body)) { Ok(body) } else { Err(Damage::Checksum) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::examples;

    fn decoded(part: Part, bytes: &[u8]) -> Result<Ledger, Damage> {
        let mut ledger = Ledger::default();
        decode(part, bytes, &mut ledger).map(|()| ledger)
    }

    #[test]
    fn each_part_comes_back_as_written() {
        let ledger = examples::ledger();
        let mut read = Ledger::default();
        for part in Part::ALL {
            decode(part, &encode(&ledger, part), &mut read).unwrap();
        }
        assert_eq!(read, ledger);
    }

    #[test]
    fn damages_are_told_apart() {
        let good = encode(&examples::ledger(), Part::State);
        let check = |bytes: &[u8], expect: Damage| assert_eq!(decoded(Part::State, bytes), Err(expect));
        for cut in [0, 5, 20, 80, good.len() / 2, good.len() - 1] {
            check(&good[..cut], Damage::Torn(cut));
        }
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        check(&flipped, Damage::Checksum);
        check(&[good.as_slice(), b"x"].concat(), Damage::Checksum);
        check(&vec![0; good.len()], Damage::Foreign);
        check(b"{\n}", Damage::Foreign);
        check(b"robo-ledger\n{}", Damage::Foreign);
        check(b"robo-ledger x y\n{}", Damage::Foreign);
        check(b"robo-ledger 99 whatever\n", Damage::Newer(99));
        let Err(Damage::Content(reason)) = decoded(Part::State, &with_header(b"{}")) else { panic!("no state") };
        assert!(reason.contains("missing field"), "{reason}");
    }

    #[test]
    fn a_file_without_a_length_is_read() {
        let body = b"[]";
        let old = format!("robo-ledger 1 {}\n[]", hex::encode(Sha256::digest(body)));
        assert_eq!(decoded(Part::Imports, old.as_bytes()), Ok(Ledger::default()));
    }
}
