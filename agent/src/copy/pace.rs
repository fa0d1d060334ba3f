//! Sends no faster than it may.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes of content that are read, hashed and sent at a time where nothing limits it: few enough to be held twice in
/// a small device's memory.
const PIECE: usize = 256 * 1024;

/// The smallest piece: below this, frames cost more than content.
const LEAST_PIECE: usize = 1024;

/// So much of a second's share is caught up after a stall, and no more: a limit that is made up for is none.
const MAX_BEHIND: Duration = Duration::from_millis(200);

/// A limit of bytes per second, or none.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Option<u64>,
    /// When the next piece may go.
    due: Instant,
}

impl Pace {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.map(|limit| limit.max(1)), due: Instant::now() }
    }

    /// How much to send at a time: ten pieces a second where it is slow.
    pub(super) fn piece(&self) -> usize {
        let tenth = self.limit.map_or(PIECE, |limit| usize::try_from(limit / 10).unwrap_or(PIECE));
        tenth.clamp(LEAST_PIECE, PIECE)
    }

    /// Waits until so many bytes more may go.
    pub(super) async fn wait(&mut self, bytes: usize) {
        let (now, due) = (Instant::now(), self.due);
        if self.limit.is_some() && now < due {
            sleep_until(due).await;
        }
        self.take(now.max(due), bytes);
    }

    /// So many bytes go at `now`; says when the next may.
    fn take(&mut self, now: Instant, bytes: usize) {
        let Some(limit) = self.limit else { return };
        let earliest = now.checked_sub(MAX_BEHIND).unwrap_or(now);
        let micros = (bytes as u64).saturating_mul(1_000_000) / limit;
        self.due = self.due.max(earliest) + Duration::from_micros(micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_and_a_stall_is_not_made_up_for() {
        let mut pace = Pace::new(Some(256 * 1024));
        let start = pace.due;
        let send = |pace: &mut Pace, mut now: Instant| {
            for _ in 0..40 {
                now = now.max(pace.due);
                pace.take(now, pace.piece());
            }
            pace.due.duration_since(start).as_secs_f64()
        };
        let taken = send(&mut pace, start);
        assert!((3.9..4.1).contains(&taken), "{taken}");
        let taken = send(&mut pace, start + Duration::from_secs(100));
        assert!((103.7..104.1).contains(&taken), "{taken}");
    }

    #[test]
    fn pieces_have_bounds() {
        assert_eq!(Pace::new(None).piece(), PIECE);
        assert_eq!(Pace::new(Some(0)).piece(), LEAST_PIECE);
        assert_eq!(Pace::new(Some(u64::MAX)).piece(), PIECE);
    }
}
