//! A piece of a file as the language sees it, with the way back to the file's bytes.

use std::borrow::Cow;
use std::ops::Range;

use crate::source::{Span, narrow};

/// Text without any CR (the original deletes each, wherever it stands) and, for a value that goes over
/// several lines, without what is between its pieces.
#[derive(Debug, Clone)]
pub(crate) struct Text<'s> {
    text: Cow<'s, str>,
    /// Where the text begins in the file.
    start: u32,
    /// Further on: from this offset of the text, at that offset of the file.
    jumps: Vec<(u32, u32)>,
}

impl<'s> Text<'s> {
    pub(crate) fn new(source: &'s str, span: Span) -> Self {
        let text = span.of(source);
        if text.contains('\r') {
            return Self::join(source, &[span]);
        }
        Self { text: Cow::Borrowed(text), start: span.start, jumps: Vec::new() }
    }

    pub(crate) fn join(source: &str, pieces: &[Span]) -> Self {
        let mut text = String::new();
        let mut jumps = Vec::new();
        for piece in pieces {
            let mut at = piece.start;
            for part in piece.of(source).split('\r') {
                jumps.push((narrow(text.len()), at));
                text.push_str(part);
                at += narrow(part.len()) + 1;
            }
        }
        let start = jumps.first().map_or(0, |jump| jump.1);
        Self { text: Cow::Owned(text), start, jumps }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    /// The file's bytes that a range of the text was read from.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        let start = self.at(range.start);
        let end = if range.end > range.start { self.at(range.end - 1) + 1 } else { start };
        Span::new(start, end)
    }

    /// The file's bytes of `part`, which is a slice of this text; of the whole where it is not.
    pub(crate) fn span_of(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if start > self.text.len() || part.len() > self.text.len() - start {
            return self.whole();
        }
        self.span(start..start + part.len())
    }

    fn at(&self, offset: usize) -> u32 {
        let offset = narrow(offset);
        let after = self.jumps.partition_point(|(from, _)| *from <= offset);
        match after.checked_sub(1).and_then(|i| self.jumps.get(i)) {
            Some((from, source)) => source + (offset - from),
            None => self.start + offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_back_over_carriage_returns() {
        let source = "ab\rcd\r\ref";
        let text = Text::new(source, Span::new(1, 9));
        assert_eq!(text.as_str(), "bcdef");
        assert_eq!(text.span(0..1), Span::new(1, 2));
        assert_eq!(text.span(1..3), Span::new(3, 5));
        assert_eq!(text.span(3..5), Span::new(7, 9));
        assert_eq!(text.span_of(text.as_str().get(1..2).unwrap()), Span::new(3, 4));
    }

    #[test]
    fn pieces_are_joined() {
        let source = "a,\n  b";
        let text = Text::join(source, &[Span::new(0, 2), Span::new(5, 6)]);
        assert_eq!(text.as_str(), "a,b");
        assert_eq!(text.span(2..3), Span::new(5, 6));
    }
}
