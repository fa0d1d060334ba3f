//! A rule's text without its comments, with the way back to the file's bytes.

use std::ops::Range;

use crate::source::{Span, narrow};

/// What ends a line for the original's `.`.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Pieces of a file, put together.
#[derive(Debug)]
pub(super) struct Joined {
    text: String,
    /// From this offset of the text on, at that offset of the file; the first one is always there.
    jumps: Vec<(usize, usize)>,
}

/// The text without `/* … */`, then without `// …`, then without `# …`, in this order, as in the original: the end of
/// the line goes too, so that the next line follows at once, and without one there is no comment.
pub(super) fn without_comments(text: &str) -> Joined {
    let whole = Joined { text: text.to_owned(), jumps: vec![(0, 0)] };
    let blocks = block_comments(&whole.text);
    let joined = whole.without(&blocks);
    let slashes = line_comments(&joined.text, "//");
    let joined = joined.without(&slashes);
    let sharps = line_comments(&joined.text, "#");
    joined.without(&sharps)
}

impl Joined {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The file's bytes that a range of the text was read from.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let start = self.at(range.start);
        let end = if range.end > range.start { self.at(range.end - 1) + 1 } else { start };
        Span::new(narrow(start), narrow(end))
    }

    fn at(&self, offset: usize) -> usize {
        let after = self.jumps.partition_point(|(from, _)| *from <= offset);
        let (from, source) = after.checked_sub(1).and_then(|i| self.jumps.get(i)).copied().unwrap_or_default();
        source + (offset - from)
    }

    /// Takes ranges out, which are in order and apart.
    fn without(self, cuts: &[Range<usize>]) -> Self {
        if cuts.is_empty() {
            return self;
        }
        let mut out = Self { text: String::with_capacity(self.text.len()), jumps: Vec::new() };
        let mut at = 0;
        let mut jumps = self.jumps.iter().copied().peekable();
        for cut in cuts.iter().cloned().chain(std::iter::once(self.text.len()..self.text.len())) {
            while jumps.next_if(|(from, _)| *from <= at).is_some() {}
            out.jumps.push((out.text.len(), self.at(at)));
            while let Some((from, source)) = jumps.next_if(|(from, _)| *from < cut.start) {
                out.jumps.push((out.text.len() + (from - at), source));
            }
            out.text.push_str(self.text.get(at..cut.start).unwrap_or_default());
            at = cut.end;
        }
        out
    }
}

/// `/* … */`; one that does not end is none.
fn block_comments(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(start) = find(text, at, "/*") {
        let Some(end) = find(text, start + 2, "*/") else { break };
        out.push(start..end + 2);
        at = end + 2;
    }
    out
}

/// From `mark` to the end of the line, and the end too; one in the last line is none.
fn line_comments(text: &str, mark: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(start) = find(text, at, mark) {
        let rest = text.get(start..).unwrap_or_default();
        let Some(length) = rest.find(LINE_ENDS) else { break };
        let behind = rest.get(length..).unwrap_or_default();
        let line_end = if behind.starts_with("\r\n") { 2 } else { usize::from(behind.starts_with('\n')) };
        at = start + length + line_end;
        if line_end > 0 {
            out.push(start..at);
        }
    }
    out
}

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    text.get(from..)?.find(what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let joined = without_comments(text);
        assert_eq!(joined.text(), expect, "{text:?}");
        for (i, c) in joined.text().char_indices() {
            let span = joined.span(i..i + c.len_utf8());
            assert_eq!(span.of(text).chars().next(), Some(c), "{text:?} at {i}");
        }
    }

    #[test]
    fn comments_are_taken_out_and_offsets_lead_back() {
        check("a/* b */c", "ac");
        check("a/*/b*/c/**/d", "acd");
        check("a/* b", "a/* b");
        check("a // b\nc # d\r\ne", "a c e");
        check("a // b", "a // b");
        check("a // b\rc\nd", "a // b\rc\nd");
        check("a # b // c\nd\n", "a ");
        check("é/*\n*/ü // ö\nä", "éü ä");
        check("a/*x*/b//c\nd/*y*/e#f\ng", "abdeg");
        check("", "");
    }
}
