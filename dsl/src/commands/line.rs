//! Logical lines: glued where a `\` stands right before LF, without comments, with variables replaced. Each keeps a
//! map back to the file, so that a mistake is shown where it was written.

use std::collections::HashMap;
use std::ops::Range;

use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Place, Span, narrow};

/// The logical lines of a text, in order; linear in its length.
pub(super) struct Lines<'t> {
    text: &'t str,
    at: Option<usize>,
    line: usize,
}

/// One logical line: text that is not empty, or that was glued from nothing.
#[derive(Debug)]
pub(super) struct Line {
    /// The text without comment.
    pub(super) text: String,
    /// Where it comes from.
    pieces: Vec<Piece>,
    /// The line of the file that it begins on, from 1.
    pub(super) number: usize,
    /// That line's bytes, without blanks around it.
    first: Range<usize>,
}

/// A part of a line, and the part of the file that it comes from.
#[derive(Debug, Clone)]
struct Piece {
    at: usize,
    source: Range<usize>,
    /// False for a variable's value, which is not written there.
    verbatim: bool,
}

/// The value of a variable.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) text: String,
    /// Stands in for an index that was not found.
    pub(super) disabled: bool,
}

/// What became of a line's variables.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// One of them stands in for an index that was not found.
    pub(super) disabled: bool,
    /// How many bytes were put in.
    pub(super) bytes: usize,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: Some(0), line: 1 }
    }

    /// The parts of the file that the next logical line is glued from, and the number of its first line.
    fn glued(&mut self) -> Option<(Vec<Range<usize>>, usize)> {
        let mut from = self.at?;
        let number = self.line;
        let mut parts = Vec::new();
        loop {
            let end = self.text.get(from..)?.find('\n').map(|length| from + length);
            let part = from..end.unwrap_or(self.text.len());
            self.at = end.map(|end| end + 1);
            self.line += 1;
            let written = self.text.get(part.clone())?;
            let Some(rest) = written.strip_suffix('\\').filter(|_| end.is_some()) else {
                parts.push(part);
                return Some((parts, number));
            };
            parts.push(from..from + rest.len());
            let after = self.text.get(part.end + 1..)?;
            let blank = after.get(..after.len() - after.trim_start_matches(is_blank).len())?;
            self.line += blank.matches('\n').count();
            from = part.end + 1 + blank.len();
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        loop {
            let (mut parts, number) = self.glued()?;
            trim_ends(self.text, &mut parts);
            let first = parts.first()?.clone();
            let (parts, glued) = without_comment(self.text, parts);
            let mut line = Line { text: String::new(), pieces: Vec::new(), number, first };
            for part in parts {
                line.pieces.push(Piece { at: line.text.len(), source: part.clone(), verbatim: true });
                line.text.push_str(self.text.get(part)?);
            }
            if glued || !line.text.is_empty() {
                return Some(line);
            }
        }
    }
}

/// Removes blanks around the whole; those beside a place where lines were glued stay.
fn trim_ends(text: &str, parts: &mut [Range<usize>]) {
    if let Some(first) = parts.first_mut() {
        *first = trim_start(text, first.clone());
    }
    if let Some(last) = parts.last_mut() {
        *last = trim_end(text, last.clone());
    }
}

/// Cuts the comment off, and tells whether what is left holds a place where lines were glued. As in the original, a
/// comment ends at any character that ends a line in Java; what follows then makes the line a wrong one.
fn without_comment(text: &str, parts: Vec<Range<usize>>) -> (Vec<Range<usize>>, bool) {
    let count = parts.len();
    let mut kept = Vec::with_capacity(count);
    let mut comment = None;
    for (i, part) in parts.into_iter().enumerate() {
        let written = text.get(part.clone()).unwrap_or_default();
        let mut from = 0;
        if comment.is_none() {
            let Some(hash) = written.find('#') else {
                kept.push(part);
                continue;
            };
            kept.push(part.start..part.start + hash);
            comment = Some((i, false));
            from = hash;
        }
        match comment {
            Some((_, true)) => kept.push(part),
            Some((begin, false)) => {
                let rest = written.get(from..).unwrap_or_default();
                if let Some(end) = rest.find(ends_line) {
                    kept.push(part.start + from + end..part.end);
                    comment = Some((begin, true));
                }
            }
            None => {}
        }
    }
    let glued = match comment {
        None => count > 1,
        Some((begin, _)) => begin > 0,
    };
    (kept, glued)
}

impl Line {
    /// Replaces each `$(name)` that `variables` knows, up to `most` bytes of values.
    pub(super) fn expand(&mut self, variables: &HashMap<String, Value>, most: usize) -> Expansion {
        let mut done = Expansion::default();
        if variables.is_empty() || !self.text.contains("$(") {
            return done;
        }
        let mut text = String::with_capacity(self.text.len());
        let mut pieces = Vec::new();
        let mut from = 0;
        for (name, range) in innermost(&self.text) {
            let Some(value) = variables.get(name) else { continue };
            if done.bytes + value.text.len() > most {
                done.bytes = most + 1;
                return done;
            }
            done.bytes += value.text.len();
            done.disabled |= value.disabled;
            self.copy(from..range.start, &mut text, &mut pieces);
            pieces.push(Piece { at: text.len(), source: self.source(&range), verbatim: false });
            text.push_str(&value.text);
            from = range.end;
        }
        self.copy(from..self.text.len(), &mut text, &mut pieces);
        self.text = text;
        self.pieces = pieces;
        done
    }

    fn copy(&self, range: Range<usize>, text: &mut String, pieces: &mut Vec<Piece>) {
        let mut index = self.index_at(range.start);
        let mut at = range.start;
        while let Some(piece) = self.pieces.get(index).filter(|_| at < range.end) {
            let end = (piece.at + piece.source.len()).min(range.end);
            let source = piece.source.start + at.saturating_sub(piece.at)..piece.source.start + (end - piece.at);
            if end > at {
                pieces.push(Piece { at: text.len(), source, verbatim: true });
                text.push_str(self.text.get(at..end).unwrap_or_default());
                at = end;
            }
            index += 1;
        }
    }

    /// The last piece that begins at `at` or before.
    fn index_at(&self, at: usize) -> usize {
        self.pieces.partition_point(|piece| piece.at <= at).saturating_sub(1)
    }

    /// Where a part of the text was written; for a variable's value, where the variable stands.
    fn source(&self, range: &Range<usize>) -> Range<usize> {
        let offset = |at: usize, end: bool| {
            let index = self.index_at(if end { at.saturating_sub(1).max(range.start) } else { at });
            let Some(piece) = self.pieces.get(index) else { return self.first.start };
            match (piece.verbatim, end) {
                (true, _) => (piece.source.start + (at - piece.at.min(at))).min(piece.source.end),
                (false, false) => piece.source.start,
                (false, true) => piece.source.end,
            }
        };
        let start = offset(range.start, false);
        if range.is_empty() { start..start } else { start..offset(range.end, true).max(start) }
    }

    /// All of it.
    pub(super) fn span(&self) -> Span {
        let all = self.source(&(0..self.text.len()));
        Span::new(narrow(all.start.min(self.first.start)), narrow(all.end.max(self.first.start)))
    }

    /// A mistake in a part of the text. It lies on the line where the instruction begins, as in the original; a part
    /// that was written on a later line is shown beside it.
    pub(super) fn wrong(
        &self,
        file: FileId,
        code: Code,
        range: &Range<usize>,
        message: impl Into<String>,
        label: &str,
    ) -> Diagnostic {
        let place = |range: &Range<usize>| Place { file, span: Span::new(narrow(range.start), narrow(range.end)) };
        let source = self.source(range);
        if self.text.is_empty() {
            // Nothing but the `\` that glues is there.
            return Diagnostic::new(code, place(&(self.first.start..self.first.start + 1)), message).label(label);
        }
        if source.start <= self.first.end {
            return Diagnostic::new(code, place(&source), message).label(label);
        }
        Diagnostic::new(code, place(&self.first), message).label("in this instruction").related(place(&source), label)
    }
}

/// Every `$(name)`, with its bytes from `$` to after `)`; of nested ones the innermost. Linear.
fn innermost(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let close = from + text.get(from..)?.find(')')?;
        let before = text.get(from..close)?;
        let next = before.rfind("$(").map(|open| {
            let open = from + open;
            (text.get(open + 2..close).unwrap_or_default(), open..close + 1)
        });
        from = close + 1;
        Some(next)
    })
    .flatten()
}

/// Every `$(…)` as the original finds those that are left: from the first `$(` to the next `)`. Linear.
pub(super) fn references(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let open = from + text.get(from..)?.find("$(")?;
        let close = open + text.get(open..)?.find(')')?;
        from = close + 1;
        Some((text.get(open + 2..close)?, open..close + 1))
    })
}

/// White space of the original's patterns.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{B}' | '\u{C}' | '\r')
}

/// What `.` does not match in the original's patterns, LF aside.
pub(super) fn ends_line(c: char) -> bool {
    matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The range without what the original trims: every character up to U+0020.
pub(super) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    trim_end(text, trim_start(text, range))
}

fn trim_start(text: &str, range: Range<usize>) -> Range<usize> {
    let written = text.get(range.clone()).unwrap_or_default();
    range.end - written.trim_start_matches(|c| c <= ' ').len()..range.end
}

fn trim_end(text: &str, range: Range<usize>) -> Range<usize> {
    let written = text.get(range.clone()).unwrap_or_default();
    range.start..range.start + written.trim_end_matches(|c| c <= ' ').len()
}
