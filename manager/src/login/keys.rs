//! The provider's keys: kept for a while, asked for again when a token names one that is not among them.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use super::verify::{Signed, TokenFault};
use crate::limits::{Buckets, Rate};

/// How long they are believed: a key that the provider takes back is good here for no longer.
const KEPT: Duration = Duration::from_secs(600);

/// How often they are asked for again because of an unknown key: who makes tokens up makes the provider no work.
const AGAIN: Rate = Rate { burst: 5, per_second: 1.0 / 60.0 };

/// Most keys of a provider: the large ones have four.
const MAX_KEYS: usize = 100;

/// As the provider tells of them.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Those that are known.
#[derive(Debug)]
pub(super) struct Keys {
    known: Vec<Jwk>,
    since: Option<Instant>,
    again: Buckets<()>,
}

/// What is known of a key.
pub(super) enum Found {
    /// This one.
    Key(Box<Jwk>),
    /// Nothing: the provider may be asked.
    Ask,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { known: Vec::new(), since: None, again: Buckets::new(AGAIN) }
    }

    /// The key that a token is signed with, so it says.
    pub(super) fn find(&mut self, signed: &Signed, now: Instant) -> Result<Found, TokenFault> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= KEPT) {
            return Ok(Found::Ask);
        }
        if let Some(key) = self.known_key(signed) {
            return Ok(Found::Key(Box::new(key.clone())));
        }
        if self.again.take(&(), now).is_ok() { Ok(Found::Ask) } else { Err(TokenFault::UnknownKey) }
    }

    /// The one that it says, after the provider was asked.
    pub(super) fn asked(&self, signed: &Signed) -> Result<Jwk, TokenFault> {
        self.known_key(signed).cloned().ok_or(TokenFault::UnknownKey)
    }

    /// Takes the place of those that were known. What is no key for signatures, or of a kind that is not known here,
    /// is passed over: a provider may have such, too.
    pub(super) fn put(&mut self, text: &[u8], now: Instant) -> Result<(), String> {
        let set: KeySet = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("it tells of {} keys: at most {MAX_KEYS} are taken", set.keys.len()));
        }
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        self.known = keys.filter(|key| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption))).collect();
        self.since = Some(now);
        Ok(())
    }

    /// Where a token names no key, there must be but one that it can be.
    fn known_key(&self, signed: &Signed) -> Option<&Jwk> {
        let is_named = |key: &Jwk| signed.key.is_none() || signed.key == key.common.key_id;
        let mut found = self.known.iter().filter(|key| is_named(key) && is_for(key, signed.algorithm));
        let first = found.next()?;
        if signed.key.is_none() && found.next().is_some() { None } else { Some(first) }
    }
}

/// A key that says what it is for is for nothing else.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    key.common.key_algorithm.is_none_or(|of| of.to_string().parse() == Ok(algorithm))
}
