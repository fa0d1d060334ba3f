//! Draws. What is drawn depends on the seed and on what it is for, not on what was drawn before: a story from which
//! something is left out goes on as before in all other places, and so it can be made shorter.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// A source of draws for one purpose.
pub(super) fn of(seed: u64, purpose: impl Hash) -> fastrand::Rng {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    purpose.hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish())
}

/// True with this probability.
pub(super) fn hits(rng: &mut fastrand::Rng, probability: f64) -> bool {
    rng.f64() < probability
}

/// One of `all`; nothing of none.
pub(super) fn one_of<'a, T>(rng: &mut fastrand::Rng, all: &'a [T]) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.usize(..all.len())) }
}
