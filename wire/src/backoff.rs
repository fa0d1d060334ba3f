//! How long who was cut off waits before it dials again: exponential, with full jitter, so that a herd of devices whose
//! manager comes back spreads by itself ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

/// Upper bound of the first wait: a short cut of the network costs about a second.
const FIRST: Duration = Duration::from_millis(500);

/// Upper bound of all waits: a manager that comes back hears from everyone within this time.
const LONGEST: Duration = Duration::from_secs(15);

/// Counts failed attempts.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait, 15 s at most. `chance` is in 0..1 and drawn by the caller.
    pub fn next(&mut self, chance: f64) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_spread_below_it() {
        let mut backoff = Backoff::default();
        let bounds: Vec<Duration> = (0..8).map(|_| backoff.next(1.0)).collect();
        assert_eq!(bounds[0], FIRST);
        assert!(bounds.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(bounds[7], LONGEST);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
    }
}
