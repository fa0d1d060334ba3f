//! Who waits for a time.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;

use super::backoff;

/// One time for each instance that waits, and the instances by their times.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarms {
    by_key: BTreeMap<InstanceKey, UnixMillis>,
    by_time: BTreeSet<(UnixMillis, InstanceKey)>,
}

impl Alarms {
    /// `key` looks again at `at`, or earlier where that was said before.
    pub(super) fn set(&mut self, key: &InstanceKey, at: UnixMillis) {
        if self.by_key.get(key).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        self.remove(key);
        self.by_key.insert(key.clone(), at);
        self.by_time.insert((at, key.clone()));
    }

    pub(super) fn remove(&mut self, key: &InstanceKey) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<UnixMillis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Whose time has come, also where it is further away than any wait is, because the clock was set back.
    pub(super) fn due(&self, now: UnixMillis) -> Vec<InstanceKey> {
        let early = self.by_time.iter().take_while(|(at, _)| backoff::is_due(*at, now));
        let late = self.by_time.iter().rev().take_while(|(at, _)| *at > now && backoff::is_due(*at, now));
        early.chain(late).map(|(_, key)| key.clone()).collect()
    }
}
