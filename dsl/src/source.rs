//! Source files, places in them, and where they come from.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::position::{EditorPosition, Mark, Position, marks};

/// One source file as given.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// What diagnostics show: `/` separates, relative to the entry's root.
    pub name: String,
    /// Its text; what is not UTF-8 is replaced by U+FFFD, and reported. Positions are those of the text
    /// at the time when the first of them was asked for.
    pub text: String,
    /// Made when the first position is asked for: a thousand diagnostics of a large file are one pass over it.
    marks: OnceLock<Vec<Mark>>,
}

impl SourceFile {
    /// A file of this name and text.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), marks: OnceLock::new() }
    }

    /// The line and column of a byte offset, both from 1; the column counts characters.
    /// An offset beyond the end counts as the end. Takes the same time wherever it is, but for the first one.
    #[must_use]
    pub fn position(&self, offset: u32) -> Position {
        self.mark(widen(offset)).into()
    }

    /// The same as editors count.
    #[must_use]
    pub fn editor_position(&self, offset: u32) -> EditorPosition {
        self.mark(widen(offset)).into()
    }

    pub(crate) fn mark(&self, offset: usize) -> Mark {
        Mark::at(self.marks.get_or_init(|| marks(&self.text)), &self.text, offset)
    }
}

impl PartialEq for SourceFile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for SourceFile {}

/// Which of `Compiled::sources`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct FileId(pub usize);

/// A range of bytes of one file: `start` included, `end` not. Sources are below 4 GiB
/// ([`robo_model::limits::MAX_SOURCE_BYTES`]), so four bytes each suffice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// From two offsets.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// As a range of `usize`.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        widen(self.start)..widen(self.end)
    }

    /// The text that the span covers; empty when `text` is another one's.
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or_default()
    }
}

/// A span and its file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: FileId,
    pub(crate) span: Span,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl Spanned<String> {
    /// Where some bytes of the value stand. Where the value goes over several lines, only the whole has a place.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Place {
        let Place { file, span } = self.place;
        if span.range().len() != self.value.len() {
            return self.place;
        }
        Place { file, span: Span::new(span.start + narrow(range.start), span.start + narrow(range.end)) }
    }
}

/// Where imports come from. The caller reads files; the language does not.
pub trait Loader {
    /// The content of the file at `path`, which is relative to the root folder of its kind: the entry
    /// file's folder, or a Roboconf project folder. `path` never leaves that folder.
    ///
    /// # Errors
    /// Why there is no such file, for people.
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String>;

    /// Whether there is a folder `path` (without `/` at its end) at all. Only asked when a file in it is
    /// missing: a project folder may name instances and have no `instances/`.
    fn has_folder(&mut self, path: &str) -> bool {
        let _ = path;
        true
    }

    /// All files below the folder `path` (without `/` at its end; empty for the root), as [`Self::load`] takes them,
    /// sorted. Nothing when this loader cannot tell: then what depends on which files there are is not checked.
    fn files(&mut self, path: &str) -> Option<Vec<String>> {
        let _ = path;
        None
    }
}

impl Loader for BTreeMap<String, Vec<u8>> {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }

    fn has_folder(&mut self, path: &str) -> bool {
        self.keys().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    }

    fn files(&mut self, path: &str) -> Option<Vec<String>> {
        let below = |key: &&String| path.is_empty() || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        Some(self.keys().filter(below).cloned().collect())
    }
}

/// An offset as stored; texts beyond the limit are refused before they get here.
pub(crate) fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// An offset as used.
pub(crate) fn widen(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let file = SourceFile::new("a", "é\nab\n");
        let at = |offset| {
            let position = file.position(offset);
            (position.line, position.column)
        };
        assert_eq!([at(0), at(1), at(2), at(4), at(6), at(99)], [(1, 1), (1, 1), (1, 2), (2, 2), (3, 1), (3, 1)]);
    }
}
