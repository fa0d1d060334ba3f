//! The texts of tokens. The store only ever sees their SHA-256.
//!
//! An enrolment token is `rbe1.<SHA-256 of the manager's CA>.<secret>`: the device pins the CA before it says
//! anything. A person's or pipeline's is `rbt1.<secret>`. Both secrets are 32 random bytes in hexadecimal.

use sha2::{Digest as _, Sha256};

/// Bytes of a secret: nobody guesses these.
const SECRET_BYTES: usize = 32;

const ENROLL: &str = "rbe1";
const API: &str = "rbt1";

/// There is no randomness to be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

/// What a text that should be an enrolment token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollToken {
    /// One of the manager whose CA was asked about; with the hash it is stored under.
    Ours {
        /// SHA-256 of the whole text, in hexadecimal.
        hash: String,
    },
    /// One of another manager.
    Foreign,
    /// No enrolment token.
    Malformed,
}

impl EnrollToken {
    /// Reads `text` as a manager does whose CA certificate has this SHA-256, in hexadecimal.
    #[must_use]
    pub fn read(text: &str, ca_fingerprint: &str) -> Self {
        let mut parts = text.trim().split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(ENROLL), Some(ca), Some(secret), None) if is_hash(ca) && !secret.is_empty() => {
                if ca.eq_ignore_ascii_case(ca_fingerprint) { Self::Ours { hash: hash(text) } } else { Self::Foreign }
            }
            _ => Self::Malformed,
        }
    }
}

/// A new enrolment token of the manager whose CA certificate has this SHA-256, in hexadecimal.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_enroll_token(ca_fingerprint: &str) -> Result<String, NoRandomness> {
    Ok(format!("{ENROLL}.{ca_fingerprint}.{}", random_hex(SECRET_BYTES)?))
}

/// A new token for a person or a pipeline.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_api_token() -> Result<String, NoRandomness> {
    Ok(format!("{API}.{}", random_hex(SECRET_BYTES)?))
}

/// What a token is stored and looked up under: finding it takes the same time whatever the text is.
#[must_use]
pub fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.trim()))
}

/// Random bytes in hexadecimal.
///
/// # Errors
/// When the system gives none.
pub fn random_hex(bytes: usize) -> Result<String, NoRandomness> {
    let mut random = vec![0; bytes];
    fill_random(&mut random)?;
    Ok(hex::encode(random))
}

/// Fills with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(NoRandomness)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart() {
        let ours = "ab".repeat(32);
        let token = new_enroll_token(&ours).unwrap();
        assert_eq!(EnrollToken::read(&token, &ours), EnrollToken::Ours { hash: hash(&token) });
        assert_eq!(EnrollToken::read(&format!(" {token}\n"), &ours), EnrollToken::Ours { hash: hash(&token) });
        assert_eq!(EnrollToken::read(&token, &"cd".repeat(32)), EnrollToken::Foreign);
        let api = new_api_token().unwrap();
        for bad in ["", "rbe1", "rbe1.x.y", &format!("{token}.x"), &api, &format!("rbe1.{ours}.")] {
            assert_eq!(EnrollToken::read(bad, &ours), EnrollToken::Malformed, "{bad}");
        }
        assert_ne!(new_enroll_token(&ours).unwrap(), token);
    }
}
