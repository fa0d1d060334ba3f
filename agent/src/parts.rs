//! The agent's parts as somebody sees them who asks how the device is: what works since when, and what went wrong last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use robo_model::quantity::UnixMillis;
use robo_wire::health::{AgentPart, PartState};

use crate::now;

/// The connection to the manager.
pub const LINK: &str = "link";
/// What must survive a crash, on disk.
pub const LEDGER: &str = "ledger";
/// The device's next certificate.
pub const CERTIFICATE: &str = "certificate";
/// The copy of what instances print, in files of JSON.
pub const LOG_BACKUP: &str = "log backup";

/// Longest word about what went wrong, in bytes.
const MAX_ERROR: usize = 500;

/// What is known of the parts. Clones share it.
#[derive(Debug, Clone)]
pub struct Parts {
    parts: Arc<Mutex<BTreeMap<&'static str, AgentPart>>>,
    /// When the agent began.
    began: UnixMillis,
}

impl Parts {
    /// The part works, from now on or still.
    pub fn works(&self, name: &'static str, detail: impl Into<String>) {
        self.set(name, PartState::Running, detail.into(), None);
    }

    /// The part has nothing to do.
    pub fn rests(&self, name: &'static str) {
        self.set(name, PartState::Idle, String::new(), None);
    }

    /// The part does not work, because of this.
    pub fn fails(&self, name: &'static str, error: &dyn std::fmt::Display) {
        let mut error = error.to_string();
        let end = (0..=MAX_ERROR.min(error.len())).rev().find(|at| error.is_char_boundary(*at)).unwrap_or_default();
        error.truncate(end);
        self.set(name, PartState::Error, String::new(), Some(error));
    }

    fn set(&self, name: &'static str, state: PartState, detail: String, error: Option<String>) {
        let mut parts = self.kept();
        let at = now();
        let part = parts.entry(name).or_insert_with(|| new(name, state, at));
        if part.state != state {
            part.since = at;
            // It worked once, and does again.
            if part.state == PartState::Error && state == PartState::Running {
                part.restarts += 1;
            }
        }
        (part.state, part.detail) = (state, detail);
        if error.is_some() {
            (part.last_error, part.last_error_at) = (error, Some(at));
        }
    }

    /// All of them, by name; also those of which only is known how much they have to do now.
    #[must_use]
    pub fn all(&self, counts: &[(&str, usize)]) -> Vec<AgentPart> {
        let counted = counts.iter().map(|(name, count)| {
            let state = if *count == 0 { PartState::Idle } else { PartState::Running };
            let detail = if *count == 0 { String::new() } else { format!("{count} of them") };
            AgentPart { detail, ..new(name, state, self.began) }
        });
        let mut parts: Vec<AgentPart> = counted.chain(self.kept().values().cloned()).collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        parts
    }

    /// When the agent began.
    #[must_use]
    pub const fn began(&self) -> UnixMillis {
        self.began
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<&'static str, AgentPart>> {
        // A `std` mutex: nothing waits while it is held.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self { parts: Arc::default(), began: now() }
    }
}

/// One that does this since `since`.
fn new(name: &str, state: PartState, since: UnixMillis) -> AgentPart {
    AgentPart {
        name: name.to_owned(),
        state,
        since,
        restarts: 0,
        detail: String::new(),
        last_error: None,
        last_error_at: None,
        off: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_how_often_it_began_anew_and_what_went_wrong_last() {
        let parts = Parts::default();
        let link = || parts.all(&[]).into_iter().find(|part| part.name == LINK).unwrap();
        parts.works(LINK, "one");
        let first = link();
        assert_eq!((first.state, first.restarts, first.last_error), (PartState::Running, 0, None));
        parts.works(LINK, "two");
        assert_eq!((link().since, link().detail), (first.since, "two".to_owned()));
        parts.fails(LINK, &"é".repeat(400));
        let failed = link();
        assert_eq!((failed.state, failed.last_error.map(|error| error.len())), (PartState::Error, Some(500)));
        parts.works(LINK, "three");
        let again = link();
        assert_eq!((again.restarts, again.state, again.last_error.is_some()), (1, PartState::Running, true));
        parts.rests(LEDGER);
        let all = parts.all(&[("shells", 2), ("forwards", 0)]);
        let states: Vec<(&str, PartState)> = all.iter().map(|part| (part.name.as_str(), part.state)).collect();
        use PartState::{Idle, Running};
        assert_eq!(states, [("forwards", Idle), (LEDGER, Idle), (LINK, Running), ("shells", Running)]);
    }
}
