//! What changes behind our back: told, and put right where the component says so.

use robo_model::graph::{Check, Drift};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use robo_model::state::Step;
use robo_wire::event::EventBody;

use super::observe::End;
use super::{Core, backoff, tree};
use crate::ledger::{Hold, Record};

/// Files that are changed again within this time after they were put back are put back ever later: whatever changes
/// them does so on purpose.
const CHANGED_AGAIN: Millis = Millis::from_secs(600);

/// Failed tries of a check in a row after which an instance is not well.
const TRIES: u64 = 3;

impl Core {
    /// Files of an instance were changed, or all are right again.
    pub(super) fn drifted(&mut self, key: &InstanceKey, changes: Vec<String>) {
        let Some(record) = self.record(key) else { return };
        if record.drift == changes
            || tree::is_host(record)
            || !(changes.is_empty() || record.state.is_at_rest_deployed())
        {
            return;
        }
        if let Some(record) = self.changing(key) {
            record.drift.clone_from(&changes);
        }
        self.event(Some(key.clone()), EventBody::Drift { changes });
    }

    /// All its files were just put in place.
    pub(super) fn files_are_right(&mut self, key: &InstanceKey) {
        self.drifted(key, Vec::new());
    }

    /// It is deployed again because its files were changed: the next time is later, if it is soon.
    pub(super) fn note_mend(&mut self, key: &InstanceKey) {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key).filter(|record| mend_at(record).is_some()) else {
            return;
        };
        let again = now.since(record.mended_at) < CHANGED_AGAIN;
        record.mends = if again { record.mends.saturating_add(1) } else { 1 };
        record.mended_at = now;
    }

    /// A check of a started instance changed its mind.
    pub(super) fn health(&mut self, key: &InstanceKey, healthy: bool, reason: String) {
        let Some(record) = self.changing_started(key).filter(|record| record.healthy != healthy) else { return };
        record.healthy = healthy;
        let heals = !healthy && record.spec.settings.drift == Drift::Heal;
        let heals = heals && !record.ailing && !matches!(record.hold, Hold::Cancelled { .. });
        self.changed(key);
        self.event(Some(key.clone()), EventBody::Health { healthy, reason: reason.clone() });
        if heals {
            self.ail(key, reason);
        }
    }

    /// It is stopped and started again, with the back-off of a process that ended.
    fn ail(&mut self, key: &InstanceKey, reason: String) {
        let now = self.now;
        let Some(record) = self.changing(key) else { return };
        let well = now.since(record.since) >= well_after(record.spec.settings.check.as_ref());
        record.ailing = true;
        record.restarts = record.restarts.saturating_add(1);
        record.crashes = if well { 0 } else { record.crashes.saturating_add(1) };
        record.tries = record.crashes.saturating_sub(1);
        let retry_at = now.plus(backoff::wait(record.crashes));
        self.fail(key, Step::Start, End::without_run(reason), Some(retry_at));
    }
}

/// When its files are put back; nothing where they need not be, or shall not.
pub(super) fn mend_at(record: &Record) -> Option<UnixMillis> {
    let heals = record.spec.settings.drift == Drift::Heal && !matches!(record.hold, Hold::Cancelled { .. });
    let mends = heals && !record.drift.is_empty() && record.state.is_at_rest_deployed();
    mends.then(|| record.mended_at.plus(backoff::wait(record.mends)))
}

/// What was started this long ago was well before its check failed.
fn well_after(check: Option<&Check>) -> Millis {
    let tries = check.map_or(0, |check| check.every.0.saturating_add(check.timeout.0).saturating_mul(TRIES));
    Millis(backoff::RAN_WELL.0.saturating_add(tries))
}
