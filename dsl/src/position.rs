//! Lines and columns of many places of one file, without reading the file once for each.
//!
//! A mark every so many bytes says how far the lines and columns are there; from it to the place is a short way.

/// Bytes between two marks: short to read through, and the marks take less than a twentieth of the file.
const STEP: usize = 1024;

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A line and a column as editors count them: both from 0, the column in UTF-16 code units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct EditorPosition {
    /// The line, from 0.
    pub line: usize,
    /// The UTF-16 code units before it in its line.
    pub character: usize,
}

/// How far the lines are at one byte; all from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    offset: usize,
    line: usize,
    pub(crate) line_start: usize,
    chars: usize,
    units: usize,
}

/// The marks of a text, in order.
pub(crate) fn marks(text: &str) -> Vec<Mark> {
    let mut marks = Vec::with_capacity(text.len() / STEP + 1);
    let mut mark = Mark::default();
    while let Some(rest) = text.get(mark.offset..).filter(|rest| !rest.is_empty()) {
        marks.push(mark);
        mark = mark.after(rest.get(..boundary(rest, STEP)).unwrap_or(rest));
    }
    marks
}

impl Mark {
    /// How far the lines are at `offset`, or at the start of the character that it is in, or at the end.
    pub(crate) fn at(marks: &[Self], text: &str, offset: usize) -> Self {
        let offset = boundary(text, offset);
        let after = marks.partition_point(|mark| mark.offset <= offset);
        let mark = after.checked_sub(1).and_then(|i| marks.get(i)).copied().unwrap_or_default();
        mark.after(text.get(mark.offset..offset).unwrap_or_default())
    }

    /// Behind `text`, which begins here.
    fn after(mut self, text: &str) -> Self {
        let last = match text.rsplit_once('\n') {
            Some((before, last)) => {
                self.line += 1 + before.bytes().filter(|byte| *byte == b'\n').count();
                self.line_start = self.offset + before.len() + 1;
                (self.chars, self.units) = (0, 0);
                last
            }
            None => text,
        };
        self.chars += last.chars().count();
        self.units += last.encode_utf16().count();
        self.offset += text.len();
        self
    }
}

impl From<Mark> for Position {
    fn from(mark: Mark) -> Self {
        Self { line: mark.line + 1, column: mark.chars + 1 }
    }
}

impl From<Mark> for EditorPosition {
    fn from(mark: Mark) -> Self {
        Self { line: mark.line, character: mark.units }
    }
}

/// `at`, or the start of the character that it is in, or the end.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let marks = marks(text);
        for offset in (0..text.len() + 3).step_by(if text.len() > STEP { 7 } else { 1 }) {
            let before = text.get(..boundary(text, offset)).unwrap();
            let last = before.rsplit('\n').next().unwrap();
            let expect = Mark {
                offset: before.len(),
                line: before.matches('\n').count(),
                line_start: before.len() - last.len(),
                chars: last.chars().count(),
                units: last.encode_utf16().count(),
            };
            assert_eq!(Mark::at(&marks, text, offset), expect, "{offset}");
        }
    }

    #[test]
    fn marks_lead_to_every_byte() {
        check("");
        check("é\na😀b\n");
        check(&"x😀é\n\n".repeat(500));
        check(&"aé😀".repeat(700));
    }
}
