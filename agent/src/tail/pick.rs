//! Which lines are wanted.

use std::collections::VecDeque;

use regex_lite::{Regex, RegexBuilder};
use robo_model::quantity::UnixMillis;
use robo_wire::tail::TailOpen;

use super::Row;

/// Most memory of a compiled filter, in bytes: what is written by hand takes less, and a device has little.
const MAX_COMPILED: usize = 512 * 1024;

/// Most bytes that the last lines take while they are looked for: as much as a log of ours has.
const MAX_HELD: usize = 8 * 1024 * 1024;

/// What a line must have.
#[derive(Debug)]
pub(super) struct Pick {
    since: Option<UnixMillis>,
    until: Option<UnixMillis>,
    filter: Option<Regex>,
}

/// Says why this is no filter.
///
/// # Errors
/// One sentence for people.
pub fn check_filter(text: &str) -> Result<(), String> {
    compile(text).map(drop)
}

fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
    built.map_err(|error| format!("`{text}` is no regular expression that can be used: {error}"))
}

impl Pick {
    pub(super) fn new(open: &TailOpen) -> Result<Self, String> {
        let filter = open.filter.as_deref().map(compile).transpose()?;
        Ok(Self { since: open.since, until: open.until, filter })
    }

    pub(super) const fn since(&self) -> Option<UnixMillis> {
        self.since
    }

    pub(super) const fn until(&self) -> Option<UnixMillis> {
        self.until
    }

    /// True when nothing that comes now is wanted any more.
    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Those that are wanted. `unknown` counts those that are left out because their time is not known, `seen` all bytes.
    pub(super) fn wanted(&self, rows: Vec<Row>, unknown: &mut u64, seen: &mut usize) -> Vec<Row> {
        let mut wanted = rows;
        wanted.retain(|row| {
            *seen += row.line.text.0.len() + 1;
            if row.line.at.is_none() && (self.since.is_some() || self.until.is_some()) {
                *unknown += 1;
                return false;
            }
            self.takes(row)
        });
        wanted
    }

    fn takes(&self, row: &Row) -> bool {
        let at = row.line.at;
        let in_time = self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until));
        in_time && self.filter.as_ref().is_none_or(|filter| filter.is_match(&String::from_utf8_lossy(&row.line.text.0)))
    }
}

/// The last of many rows.
#[derive(Debug)]
pub(super) struct Last {
    most: usize,
    bytes: usize,
    rows: VecDeque<Row>,
}

impl Last {
    pub(super) fn new(most: u32) -> Self {
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), bytes: 0, rows: VecDeque::new() }
    }

    pub(super) fn push(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.bytes += row.line.text.0.len();
            self.rows.push_back(row);
            while self.rows.len() > self.most || self.bytes > MAX_HELD {
                let first = self.rows.pop_front();
                self.bytes -= first.map_or(self.bytes, |row| row.line.text.0.len());
            }
        }
    }

    /// True when one more in front would not be kept.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= self.most || self.bytes > MAX_HELD
    }

    /// The next one before all of them.
    pub(super) fn push_front(&mut self, row: Row) {
        self.bytes += row.line.text.0.len();
        self.rows.push_front(row);
    }

    pub(super) fn rows(self) -> Vec<Row> {
        self.rows.into()
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::tail::{Line, Position, Source, SourceAt, Text};

    use super::*;

    fn row(at: Option<u64>, text: &str) -> Row {
        let line = Line { at: at.map(UnixMillis), text: Text(text.as_bytes().to_vec()), cut: false };
        Row { line, after: Position::Beginning }
    }

    fn texts(rows: Vec<Row>) -> Vec<String> {
        rows.into_iter().map(|row| String::from_utf8(row.line.text.0).unwrap()).collect()
    }

    fn pick(since: Option<u64>, until: Option<u64>, filter: Option<&str>) -> Result<Pick, String> {
        let sources = vec![SourceAt { source: Source::Agent, position: None }];
        let (since, until) = (since.map(UnixMillis), until.map(UnixMillis));
        Pick::new(&TailOpen { sources, lines: None, since, until, filter: filter.map(str::to_owned), follow: false })
    }

    #[test]
    fn time_and_text_choose() {
        let rows = || vec![row(None, "a0"), row(Some(5), "a1"), row(Some(6), "b2"), row(Some(7), "a3")];
        let check = |pick: Pick, expect: &[&str], left_out| {
            let mut unknown = 0;
            let wanted = texts(pick.wanted(rows(), &mut unknown, &mut 0));
            assert_eq!((wanted.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), unknown), (expect, left_out));
        };
        check(pick(None, None, None).unwrap(), &["a0", "a1", "b2", "a3"], 0);
        check(pick(None, None, Some("^a[13]$")).unwrap(), &["a1", "a3"], 0);
        check(pick(Some(6), None, None).unwrap(), &["b2", "a3"], 1);
        check(pick(Some(5), Some(7), Some("a")).unwrap(), &["a1"], 1);
        let over = pick(None, Some(7), None).unwrap();
        assert!(over.is_over(UnixMillis(7)) && !over.is_over(UnixMillis(6)));
    }

    #[test]
    fn filters_that_are_none_are_refused() {
        for bad in ["(", "[a", "*", "a{99999}", "((a{200}){200}){200}"] {
            let error = check_filter(bad).unwrap_err();
            assert!(error.contains("no regular expression"), "{error}");
        }
        assert_eq!(check_filter("(?i)error|warn"), Ok(()));
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut last = Last::new(2);
        last.push(vec![row(None, "1"), row(None, "2"), row(None, "3")]);
        assert!(last.is_full());
        assert_eq!(texts(last.rows()), ["2", "3"]);
        let mut none = Last::new(0);
        none.push(vec![row(None, "1")]);
        assert!(none.rows().is_empty());
        let mut large = Last::new(u32::MAX);
        for _ in 0..20 {
            large.push(vec![row(None, &"x".repeat(MAX_HELD / 10))]);
        }
        assert_eq!(large.rows().len(), 10);
    }
}
