//! The harness: the real manager and real agents in this process, or the real programs beside it.
//!
//! Everything lies in a temporary folder, listens on loopback and port 0, and ends with its owner. Tests wait for
//! conditions with [`eventually`], never for time.
//!
//! - [`inside`]: manager and agents as tasks of this process.
//! - [`programs`]: the binaries, built once, run with folders of their own.
//! - [`api`]: the manager's API, as tests call it; [`visitor`]: somebody at a shell session.
//! - [`proxy`]: a bad network; [`peer`]: somebody bad with a device's key; [`impostor`]: with the manager's;
//!   [`stand_in`]: agents that run nothing, and do what a test wants of them.
//! - [`sim`]: the seeded simulation, without any of these.

#![expect(clippy::expect_used, reason = "a harness that cannot go on fails its test, and says what was missing")]

pub mod api;
pub mod impostor;
pub mod inside;
pub mod peer;
pub mod programs;
pub mod proxy;
pub mod sim;
pub mod stand_in;
pub mod visitor;

use std::future::Future;
use std::time::{Duration, Instant};

/// Upper bound of every wait: far more than any healthy run takes, so that only a real hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` gives something.
///
/// # Panics
/// When it has not after [`PATIENCE`]; `what` says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// [`eventually`] for tests without a runtime.
///
/// # Panics
/// When the condition does not come true.
pub fn eventually_blocking<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(LOOK);
    }
}
