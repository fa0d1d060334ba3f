//! How long the body of a request may take: who sends it byte by byte holds nothing for long.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout};

/// How long is waited for a body in any case: a link that was cut comes back within this time, or not at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes for which one more second is waited. The slowest links that a device is at have twice as many.
const BYTES_A_SECOND: u64 = 512;

/// Bytes that the slowest disk of a device gives in a second.
const READ_A_SECOND: u64 = 4 * 1024 * 1024;

/// How long was waited for the sender, and what came in that time. What we do meanwhile does not count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    patience: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) const fn new(patience: Duration) -> Self {
        Self { patience, waited: Duration::ZERO, bytes: 0 }
    }

    /// How long the next bytes may take.
    pub(crate) const fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.bytes / BYTES_A_SECOND);
        self.patience.saturating_add(earned).saturating_sub(self.waited)
    }

    pub(crate) const fn came(&mut self, bytes: u64, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Waits longer: the sender has to read so many bytes of its own before it can go on.
    pub(crate) const fn allow(&mut self, bytes: u64) {
        let time = Duration::from_secs(bytes / READ_A_SECOND);
        self.patience = self.patience.saturating_add(time);
    }
}

/// The body, which breaks off when it comes too slowly. Not for one that goes on as long as somebody has something to say.
pub(super) fn paced(body: Body) -> Body {
    Body::from_stream(in_time(body.into_data_stream(), PATIENCE))
}

fn in_time<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    patience: Duration,
) -> impl Stream<Item = Result<Bytes, axum::BoxError>> + Send
where
    E: Into<axum::BoxError> + Send,
{
    let begin = (Box::pin(body), Some(Pace::new(patience)));
    stream::unfold(begin, async |(mut body, pace)| {
        let mut pace = pace?;
        let begun = Instant::now();
        let Ok(next) = timeout(pace.left(), pin!(body.next())).await else {
            let (bytes, waited) = (pace.bytes, (pace.waited + begun.elapsed()).as_secs());
            let slow = io::Error::new(io::ErrorKind::TimedOut, format!("{bytes} bytes came in {waited} s"));
            return Some((Err(slow.into()), (body, None)));
        };
        let next = next?.map_err(Into::into);
        pace.came(next.as_ref().map_or(0, |bytes| bytes.len() as u64), begun.elapsed());
        Some((next, (body, Some(pace))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn time_is_earned_by_bytes() {
        let mut pace = Pace::new(PATIENCE);
        assert_eq!(pace.left(), seconds(60));
        // One byte a second earns nothing, however long it goes on.
        for _ in 0..59 {
            pace.came(1, seconds(1));
        }
        assert_eq!(pace.left(), seconds(1));
        pace.came(1, seconds(5));
        assert_eq!(pace.left(), Duration::ZERO);
        // A slow link that goes on is never too slow.
        let mut pace = Pace::new(PATIENCE);
        for _ in 0..10_000 {
            pace.came(2 * BYTES_A_SECOND, seconds(1));
            assert!(pace.left() >= seconds(60));
        }
        pace.came(0, seconds(60));
        assert!(pace.left() > seconds(60), "a cut that heals");
    }

    #[tokio::test]
    async fn a_body_that_stays_away_breaks_off_and_one_that_ends_does_not() {
        let some = || stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"some"))]);
        let ended: Vec<_> = in_time(some(), seconds(60)).collect().await;
        assert!(matches!(ended.as_slice(), [Ok(bytes)] if bytes == "some"), "{ended:?}");
        let stays_away = some().chain(stream::pending());
        let broken: Vec<_> = in_time(stays_away, Duration::from_millis(1)).collect().await;
        let [Ok(_), Err(error)] = broken.as_slice() else { panic!("{broken:?}") };
        assert_eq!(error.to_string(), "4 bytes came in 0 s");
    }
}
