//! A diagnostic with its source lines, as `miette` draws them.
//!
//! A report owns only the lines around its labels, so that a thousand of them for a large file
//! stay small; the line numbers and columns are those of the whole file.

use std::fmt;

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::code::{Code, Severity};
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Position, SourceFile, Span, boundary, narrow, widen};

/// Lines kept before the first and after the last label; `miette` shows one or two.
const CONTEXT_LINES: usize = 4;

/// Most bytes kept of a line on each side of a label: a line of some megabytes is not for a terminal.
const CONTEXT_BYTES: usize = 512;

/// Related places farther away than this are shown on their own.
const SAME_SNIPPET_BYTES: u32 = 64 * 1024;

/// One diagnostic with what is needed to draw it.
#[derive(Debug)]
pub struct Report {
    code: Code,
    severity: Severity,
    message: String,
    help: Option<String>,
    labels: Vec<(Span, String)>,
    window: Window,
    others: Vec<Elsewhere>,
}

/// The view of `diagnostic` that `miette` draws. `sources` are those of the same compilation.
#[must_use]
pub fn report(diagnostic: &Diagnostic, sources: &[SourceFile]) -> Report {
    let mut labels = vec![(diagnostic.span, diagnostic.label.clone())];
    let mut others = Vec::new();
    for related in &diagnostic.related {
        let near = related.span.start.abs_diff(diagnostic.span.start) <= SAME_SNIPPET_BYTES;
        if related.file == diagnostic.file && near {
            labels.push((related.span, related.label.clone()));
        } else {
            let window = Window::around(sources, related.file, &[related.span]);
            others.push(Elsewhere { label: related.label.clone(), span: related.span, window });
        }
    }
    let spans: Vec<Span> = labels.iter().map(|(span, _)| *span).collect();
    Report {
        code: diagnostic.code,
        severity: diagnostic.severity,
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        window: Window::around(sources, diagnostic.file, &spans),
        labels,
        others,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.window)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().enumerate().map(|(i, (span, text))| {
            let text = (!text.is_empty()).then(|| text.clone());
            if i == 0 {
                LabeledSpan::new_primary_with_span(text, *span)
            } else {
                LabeledSpan::new_with_span(text, *span)
            }
        })))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.others.is_empty() {
            return None;
        }
        Some(Box::new(self.others.iter().map(|other| other as &dyn miette::Diagnostic)))
    }
}

/// A related place in another file, or far away.
#[derive(Debug)]
struct Elsewhere {
    label: String,
    span: Span,
    window: Window,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl std::error::Error for Elsewhere {}

impl miette::Diagnostic for Elsewhere {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.window)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(Some(self.label.clone()), self.span))))
    }
}

/// Some lines of a file that answer to the offsets of the whole file.
#[derive(Debug)]
struct Window {
    name: String,
    text: String,
    /// Where `text` begins in the file.
    start: usize,
    /// Lines before it.
    lines: usize,
    /// Columns before it in its first line.
    column: usize,
}

impl Window {
    fn around(sources: &[SourceFile], file: FileId, spans: &[Span]) -> Self {
        let (name, text) = sources.get(file.0).map_or(("", ""), |s| (s.name.as_str(), s.text.as_str()));
        let position = |at| sources.get(file.0).map(|source| source.position(narrow(at)));
        let first = spans.iter().map(|s| widen(s.start)).min().unwrap_or_default().min(text.len());
        let last = spans.iter().map(|s| widen(s.end)).max().unwrap_or_default().clamp(first, text.len());
        let start = back(text, first);
        let end = forth(text, last);
        let Position { line, column } = position(start).unwrap_or(Position { line: 1, column: 1 });
        Self {
            name: name.to_owned(),
            text: text.get(start..end).unwrap_or_default().to_owned(),
            start,
            lines: line - 1,
            column: column - 1,
        }
    }
}

/// The start of the window: some lines up, but not far in a very long line.
fn back(text: &str, from: usize) -> usize {
    let mut at = from;
    for line in 0..CONTEXT_LINES {
        let before = text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        if at - start > CONTEXT_BYTES {
            return if line == 0 { boundary(text, at - CONTEXT_BYTES) } else { at };
        }
        if start == 0 {
            return 0;
        }
        at = if line + 1 == CONTEXT_LINES { start } else { start - 1 };
    }
    at
}

/// The end of the window, likewise.
fn forth(text: &str, from: usize) -> usize {
    let mut at = from;
    for line in 0..CONTEXT_LINES {
        let after = text.get(at..).unwrap_or_default();
        let end = after.find('\n').map_or(text.len(), |i| at + i);
        if end - at > CONTEXT_BYTES {
            return if line == 0 { boundary(text, at + CONTEXT_BYTES) } else { at };
        }
        at = (end + 1).min(text.len());
    }
    at
}

impl SourceCode for Window {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let offset = span.offset().checked_sub(self.start).ok_or(MietteError::OutOfBounds)?;
        let contents = self.text.read_span(&(offset, span.len()).into(), lines_before, lines_after)?;
        let inner = contents.span();
        let column = if contents.line() == 0 { self.column + contents.column() } else { contents.column() };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            (inner.offset() + self.start, inner.len()).into(),
            contents.line() + self.lines,
            column,
            contents.line_count(),
        )))
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        let range = span.range();
        (range.start, range.len()).into()
    }
}
