//! `define`: variables, and the built-in values that only they may take.

use std::ops::Range;

use crate::code::Code;

use super::date;
use super::instruction::Reader;
use super::line::{Value, trim};
use super::world::{FAKE, Limit, World};

/// The first free index.
pub(super) const SMART_INDEX: &str = "$(SMART_INDEX)";
const NANO_TIME: &str = "$(NANO_TIME)";
const MILLI_TIME: &str = "$(MILLI_TIME)";
const UUID: &str = "$(UUID)";
const FORMATTED_TIME: &str = "$(FORMATTED_TIME ";
const EXISTING_INDEX: &str = "$(EXISTING_INDEX ";

/// Every built-in value's name.
pub(super) const NAMES: [&str; 6] =
    ["NANO_TIME", "MILLI_TIME", "UUID", "FORMATTED_TIME", "SMART_INDEX", "EXISTING_INDEX"];

/// Largest bound of an index, as in the original.
const MAX_BOUND: u64 = 0x7FFF_FFFF;

/// Whether a `$(…)` that is left in a definition is a built-in value; `name` is what stands in the parentheses.
pub(super) fn is_builtin(name: &str) -> bool {
    matches!(name, "NANO_TIME" | "MILLI_TIME" | "UUID" | "SMART_INDEX")
        || name.starts_with("FORMATTED_TIME ")
        || name.starts_with("EXISTING_INDEX ")
}

/// The checks of a value; `value` are its bytes in the line.
pub(super) fn check(reader: &mut Reader<'_, '_, '_>, value: &Range<usize>) {
    let text = reader.text(value).to_owned();
    if let Some(pattern) = whole_time(&text) {
        let pattern = value.start + pattern.start..value.start + pattern.end;
        check_time(reader, value, &pattern);
    } else if let Some(at) = text.find(FORMATTED_TIME) {
        let at = value.start + at;
        let end = reader.text(&(at..value.end)).find(')').map_or(value.end, |close| at + close + 1);
        reader.wrong(
            Code::MixedPatterns,
            &(at..end),
            "a formatted time stands beside something else",
            "must be alone",
            |_| "define it as a variable of its own, and use that: `define now = $(FORMATTED_TIME HH:mm )`".to_owned(),
        );
    }
    if text.contains(EXISTING_INDEX) && existing(&text).is_none() {
        let at = value.start + text.find(EXISTING_INDEX).unwrap_or_default();
        let end = reader.text(&(at..value.end)).find(')').map_or(value.end, |close| at + close + 1);
        reader.wrong(
            Code::InvalidIndexPattern,
            &(at..end),
            "this pattern of an index is none",
            "not understood",
            |_| {
                "write `$(EXISTING_INDEX MIN)` or `MAX`, in capitals, and behind it a bound if you like: `MIN > 3`"
                    .to_owned()
            },
        );
    }
}

fn check_time(reader: &mut Reader<'_, '_, '_>, value: &Range<usize>, pattern: &Range<usize>) {
    let text = reader.text(pattern).to_owned();
    if text.contains("$(") {
        reader.wrong(
            Code::MixedPatterns,
            value,
            "a formatted time stands beside something else",
            "must be alone",
            |_| "define each as a variable of its own, and use these".to_owned(),
        );
        return;
    }
    let cut = !reader.text(&(pattern.start..value.end - 1)).ends_with(' ');
    let (range, why) = match date::format(&text, 0) {
        // The original breaks off with an exception.
        Ok(_) if value.end - value.start < FORMATTED_TIME.len() + 2 => (value.clone(), "it is empty".to_owned()),
        Ok(_) => return,
        Err(error) => {
            let wrong = error.range();
            (pattern.start + wrong.start..pattern.start + wrong.end, error.to_string())
        }
    };
    let message = format!("`{}` is no pattern of a date: {why}", crate::syntax::short(&text));
    reader.wrong(Code::InvalidDatePattern, &range, message, "not understood", |_| {
        if cut {
            "leave a blank before `)`, else the last character is lost: `$(FORMATTED_TIME yyyy-MM-dd HH:mm )`"
                .to_owned()
        } else {
            "write it as in `yyyy-MM-dd 'at' HH:mm`, with other letters in quotes".to_owned()
        }
    });
}

/// The pattern of a value that is a formatted time and nothing else. As in the original, the character before `)` is
/// not part of it.
fn whole_time(value: &str) -> Option<Range<usize>> {
    let end = value.starts_with(FORMATTED_TIME).then(|| value.strip_suffix(')'))??;
    let last = end.chars().next_back().map_or(0, char::len_utf8);
    let end = (end.len() - last).max(FORMATTED_TIME.len());
    Some(trim(value, FORMATTED_TIME.len()..end))
}

/// What `$(EXISTING_INDEX …)` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Existing {
    /// Its bytes in the value, from `$` to after `)`.
    start: usize,
    end: usize,
    smallest: bool,
    /// Only indexes greater than this.
    above: Option<u64>,
    /// Only indexes smaller than this.
    below: Option<u64>,
}

/// The last well-formed `$(EXISTING_INDEX …)` of a value.
fn existing(value: &str) -> Option<Existing> {
    value.rmatch_indices(EXISTING_INDEX).find_map(|(start, _)| {
        let rest = blanks(value.get(start + EXISTING_INDEX.len()..)?);
        let (smallest, rest) = match rest.strip_prefix("MIN") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("MAX")?),
        };
        let rest = blanks(rest);
        let (above, below, rest) = match rest.chars().next()? {
            '>' => {
                let (bound, rest) = bound(rest)?;
                (Some(bound), None, rest)
            }
            '<' => {
                let (bound, rest) = bound(rest)?;
                (None, Some(bound), rest)
            }
            _ => (None, None, rest),
        };
        let rest = blanks(rest).strip_prefix(')')?;
        Some(Existing { start, end: value.len() - rest.len(), smallest, above, below })
    })
}

/// `> 3`: its number, and what follows.
fn bound(text: &str) -> Option<(u64, &str)> {
    let text = blanks(text.get(1..)?);
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let bound = text.strip_suffix(rest)?.parse().ok().filter(|bound| *bound <= MAX_BOUND)?;
    Some((bound, rest))
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches(super::line::is_blank)
}

impl World<'_> {
    /// Gives a variable its value: built-in values are worked out. `parent` is the path after `under`.
    ///
    /// # Errors
    /// When that takes too much.
    pub(super) fn define(
        &mut self,
        name: &str,
        value: &str,
        parent: Option<&robo_model::name::InstancePath>,
    ) -> Result<Value, Limit> {
        let folder = format!("{}/", parent.map_or("", |parent| parent.as_str()));
        let text = self.moments(value);
        let text = match text.split_once(SMART_INDEX) {
            None => text,
            Some((before, after)) => {
                let index = self.free_index(&format!("{folder}{before}"), after)?;
                text.replace(SMART_INDEX, &index.to_string())
            }
        };
        let value = match existing(&text) {
            None => Value { text, disabled: false },
            Some(wanted) => self.existing(&folder, &text, wanted)?,
        };
        // Once not found, always not found, as in the original: also after a definition that succeeds.
        let sticky = self.variables.get(name).is_some_and(|old| old.disabled);
        let stored = Value { text: value.text.clone(), disabled: value.disabled || sticky };
        self.variables.insert(name.to_owned(), stored);
        Ok(value)
    }

    /// Replaces times and identifiers.
    fn moments(&mut self, value: &str) -> String {
        let moment = self.context.moment;
        if let Some(pattern) = whole_time(value).and_then(|pattern| value.get(pattern)) {
            // A pattern that is none has been refused.
            return date::format(pattern, moment.nanos).unwrap_or_default();
        }
        let mut text = value.replace(NANO_TIME, &moment.nanos.to_string());
        text = text.replace(MILLI_TIME, &(moment.nanos / 1_000_000).to_string());
        if text.contains(UUID) {
            text = text.replace(UUID, &self.next_uuid());
        }
        text
    }

    /// The identifiers of a file differ from each other. They begin with a letter, so that a name can be one.
    fn next_uuid(&mut self) -> String {
        const VERSION: u128 = 0xA000_0000_0000_4000_8000_0000_0000_0000;
        const FREE: u128 = 0x0FFF_FFFF_FFFF_0FFF_3FFF_FFFF_FFFF_FFFF;
        let bits = self.context.moment.uuid.wrapping_add(self.identifiers) & FREE | VERSION;
        self.identifiers += 1;
        let digits = format!("{bits:032x}");
        let part = |range| digits.get(range).unwrap_or_default();
        [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
    }

    /// Looks for an index among all paths; where none is found, an instance stands in for it.
    fn existing(&mut self, folder: &str, value: &str, wanted: Existing) -> Result<Value, Limit> {
        let (before, after) = (value.get(..wanted.start), value.get(wanted.end..));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let found = if self.context.application.is_none() {
            // Any index will do for checking the rest.
            Some(1)
        } else {
            let count = self.paths().len();
            self.count(count)?;
            let before = format!("{folder}{before}");
            let in_bounds = |index: &u64| {
                wanted.above.is_none_or(|above| *index > above)
                    && wanted.below.is_none_or(|below| *index < below && *index > 0)
            };
            let found = self.paths().filter_map(|path| index_in(path.as_str(), &before, after)).filter(in_bounds);
            if wanted.smallest { found.min() } else { found.max() }
        };
        if let Some(index) = found {
            return Ok(Value {
                text: format!("{}{index}{after}", value.get(..wanted.start).unwrap_or_default()),
                disabled: false,
            });
        }
        if let Ok(path) = robo_model::name::InstancePath::new(format!("{folder}{FAKE}")) {
            self.add(path, None)?;
        }
        Ok(Value { text: FAKE.to_owned(), disabled: true })
    }
}

/// The digits between `before` and `after`, anywhere in `path`, as the original looks for them: as many digits as
/// `after` leaves.
fn index_in(path: &str, before: &str, after: &str) -> Option<u64> {
    path.match_indices(before).find_map(|(at, _)| {
        let rest = path.get(at + before.len()..)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        (1..=digits)
            .rev()
            .find(|length| rest.get(*length..).is_some_and(|rest| rest.starts_with(after)))
            .and_then(|length| rest.get(..length)?.parse().ok().filter(|index| *index <= MAX_BOUND))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_found_anywhere() {
        assert_eq!(index_in("/srv 12", "/srv ", ""), Some(12));
        assert_eq!(index_in("/any/srv 2/x", "/srv ", ""), Some(2));
        assert_eq!(index_in("/a1255", "/a", "5"), Some(125));
        assert_eq!(index_in("/a5", "/a", "5"), None);
        assert_eq!(index_in("/a99999999999999999999999", "/a", ""), None);
    }

    #[test]
    fn index_patterns_are_strict() {
        let read = |value: &str| existing(value).map(|e| (e.smallest, e.above, e.below));
        assert_eq!(read("x $(EXISTING_INDEX MIN) y"), Some((true, None, None)));
        assert_eq!(read("$(EXISTING_INDEX  MAX   > 4)"), Some((false, Some(4), None)));
        assert_eq!(read("$(EXISTING_INDEX MIN <415 )"), Some((true, None, Some(415))));
        for bad in ["MAXIMUM)", "min)", "MIN > )", "MIN 4)", "MIN", "MIN > 99999999999)"] {
            assert_eq!(read(&format!("$(EXISTING_INDEX {bad}")), None, "{bad}");
        }
    }
}
