//! The one pattern of a rule, by hand: a regular expression would take its time on a long text.

use std::ops::Range;

/// What the pattern's groups are, as ranges of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Between the quotes.
    pub(super) name: Range<usize>,
    /// Between the name and `when`.
    pub(super) properties: Range<usize>,
    pub(super) when: Range<usize>,
    /// Between `when` and `then`.
    pub(super) event: Range<usize>,
    pub(super) then: Range<usize>,
    /// Between `then` and `end`.
    pub(super) commands: Range<usize>,
}

/// What the text lacks, and where to show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Keyword(Range<usize>),
    Name(Range<usize>),
    When(Range<usize>),
    Then(Range<usize>),
    End(Range<usize>),
    LastComment(Range<usize>),
    OpenComment(Range<usize>),
}

/// Fewest bytes between two keywords: a blank, something, a blank. What is between may be a blank too.
const FEWEST_BETWEEN: usize = 3;

/// Takes a rule apart.
pub(super) fn parts(text: &str) -> Result<Parts, Problem> {
    let all = trimmed(text, 0..text.len());
    let (name, properties) = head(text, &all)?;
    let end = all.end.saturating_sub("end".len());
    let ends = is_word(text, end, "end") && end > properties && is_blank_before(text, end);
    if !ends {
        return Err(comment(text, &all).unwrap_or_else(|| Problem::End(last_word(text, &all))));
    }
    let head = name.start - 1..name.end + 1;
    let fits = |at: &usize, word: &str| is_blank_at(text, at + word.len());
    let then = words(text, properties..end, "then")
        .rfind(|at| fits(at, "then") && is_blank_before(text, *at) && end - (at + "then".len()) >= FEWEST_BETWEEN);
    let limit = then.unwrap_or(end);
    let mut whens = words(text, properties..limit, "when");
    let when = whens.rfind(|at| fits(at, "when") && limit - (at + "when".len()) >= FEWEST_BETWEEN);
    let Some(then) = then else {
        let some = words(text, properties..end, "then").next_back().map(|at| at..at + "then".len());
        let at = some.or(when.map(|at| at..at + "when".len()));
        return Err(at.map_or(Problem::When(head), Problem::Then));
    };
    let Some(when) = when else {
        let some = words(text, properties..then, "when").next_back();
        return Err(Problem::When(some.map_or(head, |at| at..at + "when".len())));
    };
    let (when, then) = (when..when + "when".len(), then..then + "then".len());
    Ok(Parts {
        name,
        properties: properties..when.start,
        event: when.end..then.start,
        commands: then.end..end,
        when,
        then,
    })
}

/// `rule "NAME" `: the name, and where the rest begins.
fn head(text: &str, all: &Range<usize>) -> Result<(Range<usize>, usize), Problem> {
    let first = first_word(text, all.start);
    if !is_word(text, all.start, "rule") {
        return Err(Problem::Keyword(first));
    }
    let after = skip_blanks(text, all.start + "rule".len());
    if after == all.start + "rule".len() && !text.get(after..).is_some_and(|rest| rest.starts_with('"')) {
        return Err(Problem::Keyword(first));
    }
    let quoted = text.get(after..).unwrap_or_default();
    let word = Problem::Name(first_word(text, after));
    if after == all.start + "rule".len() {
        return Err(Problem::Name(first));
    }
    let Some(inner) = quoted.strip_prefix('"') else { return Err(word) };
    let Some(length) = inner.find('"') else {
        let line = quoted.find('\n').unwrap_or(quoted.len());
        return Err(Problem::Name(trimmed(text, after..after + line)));
    };
    let name = after + 1..after + 1 + length;
    let properties = skip_blanks(text, name.end + 1);
    if properties == name.end + 1 {
        return Err(Problem::Name(after..first_word(text, name.end).end));
    }
    Ok((name, properties))
}

/// The digits after the first `phrase` that has some; `phrase` begins a word.
pub(super) fn number(text: &str, range: Range<usize>, phrase: &'static str) -> Option<Range<usize>> {
    words(text, range.clone(), phrase).find_map(|at| {
        let before = text.get(range.start..at).and_then(|before| before.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let after = at + phrase.len();
        let start = skip_blanks(text, after);
        let digits = text.get(start..range.end)?.bytes().take_while(u8::is_ascii_digit).count();
        (start > after && digits > 0).then_some(start..start + digits)
    })
}

/// A range without what the original's `trim` takes away.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (piece.len() - piece.trim_start_matches(|c| c <= ' ').len());
    let end = range.start + piece.trim_end_matches(|c| c <= ' ').len();
    start..end.max(start)
}

/// Where a word stands in a range, in any case.
fn words<'t>(text: &'t str, range: Range<usize>, word: &'static str) -> Words<'t> {
    Words { text, range, word }
}

struct Words<'t> {
    text: &'t str,
    range: Range<usize>,
    word: &'static str,
}

impl Iterator for Words<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.range.start + self.word.len() <= self.range.end {
            let at = self.range.start;
            self.range.start += 1;
            if is_word(self.text, at, self.word) {
                return Some(at);
            }
        }
        None
    }
}

impl DoubleEndedIterator for Words<'_> {
    fn next_back(&mut self) -> Option<usize> {
        while self.range.start + self.word.len() <= self.range.end {
            let at = self.range.end - self.word.len();
            self.range.end -= 1;
            if is_word(self.text, at, self.word) {
                return Some(at);
            }
        }
        None
    }
}

fn is_word(text: &str, at: usize, word: &str) -> bool {
    text.as_bytes().get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// What `\s` is in the original.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn is_blank_at(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).copied().is_some_and(is_blank)
}

fn is_blank_before(text: &str, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| is_blank_at(text, before))
}

fn skip_blanks(text: &str, from: usize) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| is_blank(**byte)).count()
}

fn first_word(text: &str, from: usize) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    from..from + rest.find(|c| c <= ' ').unwrap_or(rest.len())
}

fn last_word(text: &str, all: &Range<usize>) -> Range<usize> {
    let piece = text.get(all.clone()).unwrap_or_default();
    let start = piece.rfind(|c: char| c <= ' ').map_or(0, |at| at + 1);
    all.start + start..all.end
}

/// A comment that is none because it does not end: why the text does not end with `end`.
fn comment(text: &str, all: &Range<usize>) -> Option<Problem> {
    let piece = text.get(all.clone())?;
    if let Some(open) = piece.rfind("/*").filter(|open| !piece.get(*open..).is_some_and(|rest| rest.contains("*/"))) {
        return Some(Problem::OpenComment(all.start + open..all.end));
    }
    let line = piece.rfind('\n').map_or(0, |at| at + 1);
    let last = piece.get(line..)?;
    let at = [last.find("//"), last.find('#')].into_iter().flatten().min()?;
    Some(Problem::LastComment(all.start + line + at..all.end))
}
