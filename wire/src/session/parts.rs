//! An update that is larger than a frame may be goes in parts, and is one again on the other side.
//!
//! A device that comes back tells all it has at once, and there may be very much of it. Parts are a matter of the
//! session alone: what makes updates and what stores them sees whole ones.

use robo_model::state::InstanceReport;

use super::SessionError;
use crate::frame::{self, FrameError};
use crate::link::{FromAgent, MAX_EVENTS_PER_UPDATE, UPDATE, Update};

/// About the most bytes in a part: small enough that a heartbeat comes between two on a slow line.
const PART_BYTES: usize = 1024 * 1024;

/// After so many bytes of reports the last words of failed steps stay at home, where the logs have them.
const WORDY_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of all parts of one update, as the manager counts them: what one device may hold of its memory.
const MAX_UPDATE_BYTES: usize = 128 * 1024 * 1024;

/// The frames of an update, one after the other: one where it fits, else as many as it takes.
///
/// # Errors
/// When a single report does not fit into a frame.
pub(super) fn frames(update: Update) -> Result<Vec<u8>, FrameError> {
    if update.reports.len() <= 1 || frame::to_body(UPDATE, &update)?.len() <= PART_BYTES {
        return FromAgent::Update(update).encode();
    }
    let Update { seq, full, generation, reports, removed, events, imports, more: _ } = update;
    let part = |reports| Update { seq, full, generation, reports, more: true, ..Update::default() };
    let (mut bytes, mut here, mut weight, mut total) = (Vec::new(), Vec::new(), 0, 0);
    for mut report in reports {
        if total > WORDY_BYTES {
            leave_out_words(&mut report);
        }
        let size = frame::to_body(UPDATE, &report)?.len();
        if weight + size > PART_BYTES && !here.is_empty() {
            bytes.extend(FromAgent::Update(part(std::mem::take(&mut here))).encode()?);
            weight = 0;
        }
        weight += size;
        total += size;
        here.push(report);
    }
    bytes.extend(FromAgent::Update(part(here)).encode()?);
    let last = Update { seq, full, generation, removed, events, imports, ..Update::default() };
    bytes.extend(FromAgent::Update(last).encode()?);
    Ok(bytes)
}

fn leave_out_words(report: &mut InstanceReport) {
    if let Some(failure) = &mut report.failure {
        failure.output.clear();
    }
}

/// Puts the parts of updates together.
#[derive(Debug)]
pub(super) struct Joiner {
    parts: Option<Update>,
    bytes: usize,
}

impl Joiner {
    pub(super) const fn new() -> Self {
        Self { parts: None, bytes: 0 }
    }

    /// Takes a part whose frame has so many bytes; an update when it was the last one.
    ///
    /// # Errors
    /// When the parts do not belong together, or are too much.
    pub(super) fn take(&mut self, part: Update, bytes: usize) -> Result<Option<Update>, SessionError> {
        let whole = match self.parts.take() {
            None => {
                self.bytes = bytes;
                part
            }
            Some(parts) => {
                self.bytes = self.bytes.saturating_add(bytes);
                joined(parts, part)?
            }
        };
        if whole.events.len() > MAX_EVENTS_PER_UPDATE {
            return Err(SessionError::OutOfTurn { what: "more events", when: "than one update may have" });
        }
        if self.bytes > MAX_UPDATE_BYTES {
            return Err(SessionError::OutOfTurn { what: "more", when: "than one update may have" });
        }
        if whole.more {
            self.parts = Some(whole);
            return Ok(None);
        }
        Ok(Some(whole))
    }
}

fn joined(mut parts: Update, next: Update) -> Result<Update, SessionError> {
    if (parts.seq, parts.full, parts.generation) != (next.seq, next.full, next.generation) {
        return Err(SessionError::OutOfTurn { what: "an update", when: "between the parts of another" });
    }
    parts.reports.extend(next.reports);
    parts.removed.extend(next.removed);
    parts.events.extend(next.events);
    parts.imports = next.imports;
    parts.more = next.more;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use robo_model::spec::Generation;

    use super::*;
    use crate::frame::{Frame, MAX_CONTROL_FRAME};

    fn report(n: usize, words: usize) -> InstanceReport {
        let report = format!(
            r#"{{"application": "shop", "path": "/vm/i{n}", "component": "Web", "state": "NOT_DEPLOYED", "since": 1,
                "failure": {{"step": "deploy", "reason": "no", "output": ["{}"], "at": 1, "attempts": 1}}}}"#,
            "x".repeat(words)
        );
        serde_json::from_str(&report).unwrap()
    }

    fn update(count: usize, words: usize) -> Update {
        let removed = vec![serde_json::from_str(r#"{"application": "shop", "path": "/vm/old"}"#).unwrap()];
        let reports = (0..count).map(|n| report(n, words)).collect();
        Update { seq: 7, full: true, generation: Generation(3), reports, removed, ..Update::default() }
    }

    fn over_the_wire(update: Update) -> (usize, Update) {
        let mut bytes = frames(update).unwrap();
        let (mut joiner, mut count, mut whole) = (Joiner::new(), 0, None);
        while let Some(frame) = frame::take(&mut bytes, MAX_CONTROL_FRAME).unwrap() {
            assert!(whole.is_none(), "nothing comes after the last part");
            count += 1;
            let FromAgent::Update(part) = FromAgent::decode(&frame).unwrap() else { panic!("no update") };
            whole = joiner.take(part, frame.body.len()).unwrap();
        }
        (count, whole.expect("the last part ends it"))
    }

    #[test]
    fn an_update_is_the_same_on_the_other_side() {
        let (count, whole) = over_the_wire(update(20, 10));
        assert_eq!((count, whole), (1, update(20, 10)));
        let (count, whole) = over_the_wire(update(900, 4_000));
        assert!(count > 3, "{count}");
        assert_eq!(whole, update(900, 4_000));
    }

    #[test]
    fn very_much_is_told_without_the_last_words() {
        let (_, whole) = over_the_wire(update(12_000, 4_000));
        let wordy = |report: &&InstanceReport| report.failure.as_ref().is_some_and(|f| !f.output.is_empty());
        let with_words = whole.reports.iter().filter(wordy).count();
        assert_eq!(whole.reports.len(), 12_000);
        assert!((3_000..6_000).contains(&with_words), "{with_words}");
        assert!(whole.reports.iter().all(|report| report.failure.as_ref().is_some_and(|f| f.reason == "no")));
    }

    #[test]
    fn parts_that_do_not_belong_together_or_are_too_many_end_the_link() {
        let part = |seq| Update { seq, more: true, ..Update::default() };
        let mut joiner = Joiner::new();
        assert_eq!(joiner.take(part(1), 10).unwrap(), None);
        let error = joiner.take(part(2), 10).unwrap_err();
        assert_eq!(error.to_string(), "the other side sent an update between the parts of another");
        let mut joiner = Joiner::new();
        let error = (0..).find_map(|_| joiner.take(part(1), MAX_CONTROL_FRAME).err()).unwrap();
        assert_eq!(error.to_string(), "the other side sent more than one update may have");
    }

    #[test]
    fn a_frame_of_one_report_is_not_taken_apart() {
        let mut bytes = frames(update(1, 2 * PART_BYTES)).unwrap();
        let Frame { body, .. } = frame::take(&mut bytes, MAX_CONTROL_FRAME).unwrap().unwrap();
        assert!(body.len() > PART_BYTES && bytes.is_empty());
    }
}
