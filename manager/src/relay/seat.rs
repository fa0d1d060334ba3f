//! The one seat that a relay has for a manager, and who sits on it.
//!
//! Whoever sits there stays as long as it is heard of. The same process may dial again, and takes over at once: its network
//! may have changed before we noticed. Another one, with the same token, has to wait until the first is gone or silent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::gateway::mux::Opened;

/// The seat.
#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many have sat there.
    count: u64,
    sitting: Option<Sitting>,
}

#[derive(Debug)]
struct Sitting {
    number: u64,
    process: String,
    way: Option<Way>,
    gone: CancellationToken,
}

/// The way to the manager.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Asks for a new stream.
    pub(super) open: mpsc::Sender<Opened>,
    /// Called when the manager is gone.
    pub(super) gone: CancellationToken,
}

/// Who has the seat, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    seat: Arc<Seat>,
    number: u64,
    /// Called when another one took over, and when this is dropped.
    pub(super) gone: CancellationToken,
}

impl Seat {
    /// The seat for that process of a manager; nothing when another one has it.
    pub(super) fn claim(self: &Arc<Self>, process: &str) -> Option<Claim> {
        let mut state = self.state();
        match &state.sitting {
            Some(sitting) if sitting.process != process => return None,
            Some(sitting) => sitting.gone.cancel(),
            None => {}
        }
        state.count += 1;
        let (number, gone) = (state.count, CancellationToken::new());
        state.sitting = Some(Sitting { number, process: process.to_owned(), way: None, gone: gone.clone() });
        drop(state);
        Some(Claim { seat: Arc::clone(self), number, gone })
    }

    /// The way to the manager that is there.
    pub(super) fn way(&self) -> Option<Way> {
        self.state().sitting.as_ref().and_then(|sitting| sitting.way.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// From now on who comes is passed on.
    pub(super) fn open(&self, open: mpsc::Sender<Opened>) {
        let mut state = self.seat.state();
        if let Some(sitting) = state.sitting.as_mut().filter(|sitting| sitting.number == self.number) {
            sitting.way = Some(Way { open, gone: self.gone.clone() });
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.gone.cancel();
        let mut state = self.seat.state();
        if state.sitting.as_ref().is_some_and(|sitting| sitting.number == self.number) {
            state.sitting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_manager_waits_and_the_same_one_takes_over() {
        let seat = Arc::new(Seat::default());
        let first = seat.claim("a").unwrap();
        assert!(seat.way().is_none(), "it was not welcomed yet");
        first.open(mpsc::channel(1).0);
        assert!(seat.way().is_some() && seat.claim("b").is_none() && !first.gone.is_cancelled());
        let again = seat.claim("a").unwrap();
        assert!(first.gone.is_cancelled());
        again.open(mpsc::channel(1).0);
        drop(first);
        assert!(seat.way().is_some() && seat.claim("b").is_none(), "the old one takes nothing with it");
        drop(again);
        assert!(seat.way().is_none());
        assert!(seat.claim("b").is_some());
    }
}
