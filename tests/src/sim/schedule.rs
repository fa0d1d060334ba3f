//! What happens when: virtual time, and everything that is still to come, in one order.

use std::collections::BTreeMap;

/// Virtual time in milliseconds since the simulation began. It only goes forward; the clocks of the nodes are
/// made from it and may jump.
pub(super) type Time = u64;

/// One second.
pub(super) const SECOND: Time = 1_000;

/// What is still to come. Things of the same time come in the order in which they were put in.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    now: Time,
    next: u64,
    count: u64,
    to_come: BTreeMap<(Time, u64), E>,
}

impl<E> Schedule<E> {
    pub(super) const fn new() -> Self {
        Self { now: 0, next: 0, count: 0, to_come: BTreeMap::new() }
    }

    pub(super) const fn now(&self) -> Time {
        self.now
    }

    /// How much has happened.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// `event` happens at `time`, or now when that is past.
    pub(super) fn at(&mut self, time: Time, event: E) {
        self.to_come.insert((time.max(self.now), self.next), event);
        self.next += 1;
    }

    pub(super) fn after(&mut self, wait: Time, event: E) {
        self.at(self.now.saturating_add(wait), event);
    }

    /// The next thing, and time is there.
    pub(super) fn next(&mut self) -> Option<E> {
        let ((time, _), event) = self.to_come.pop_first()?;
        self.now = time;
        self.count += 1;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_order() {
        let mut schedule = Schedule::new();
        schedule.at(5, "c");
        schedule.at(3, "a");
        schedule.at(3, "b");
        assert_eq!([schedule.next(), schedule.next()], [Some("a"), Some("b")]);
        schedule.at(1, "late is now");
        assert_eq!(schedule.next(), Some("late is now"));
        assert_eq!((schedule.now(), schedule.next()), (3, Some("c")));
        assert_eq!((schedule.next(), schedule.count()), (None, 4));
    }
}
