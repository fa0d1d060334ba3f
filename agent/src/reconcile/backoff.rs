//! When what failed is tried again.

use robo_model::quantity::{Millis, UnixMillis};

/// The first wait after a failure: a glitch is over by then, and a user who looks sees it tried.
pub(super) const FIRST_RETRY: Millis = Millis::from_secs(1);

/// The longest wait: what was broken for an hour is back at most this long after it is mended.
pub(super) const LONGEST_RETRY: Millis = Millis::from_secs(60);

/// A process that ran this long did start: when it ends, it is started again at once, and its count is forgotten.
pub(super) const RAN_WELL: Millis = Millis::from_secs(10);

/// The wait after the `failures`-th failure in a row, from 1: 1 s, 2 s, 4 s … 60 s. None after none.
pub(super) fn wait(failures: u32) -> Millis {
    match failures.checked_sub(1) {
        None => Millis(0),
        Some(doublings) => {
            let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
            Millis(FIRST_RETRY.0.saturating_mul(factor).min(LONGEST_RETRY.0))
        }
    }
}

/// True when `at` has come; also when it is further away than any wait is, because the clock was set back.
pub(super) fn is_due(at: UnixMillis, now: UnixMillis) -> bool {
    at <= now || at.since(now) > LONGEST_RETRY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let waits: Vec<u64> = [0, 1, 2, 3, 6, 7, 8, 70, u32::MAX].into_iter().map(|n| wait(n).0 / 1000).collect();
        assert_eq!(waits, [0, 1, 2, 4, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn a_clock_set_back_delays_nothing_for_hours() {
        assert!(is_due(UnixMillis(5), UnixMillis(5)));
        assert!(!is_due(UnixMillis(6), UnixMillis(5)));
        assert!(is_due(UnixMillis(LONGEST_RETRY.0 + 6), UnixMillis(5)));
    }
}
