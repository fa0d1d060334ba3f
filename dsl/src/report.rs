//! A diagnostic with its source lines, as `miette` draws them.
//!
//! A report owns only the lines around its labels, cut to the terminal's width, so that a thousand of them for a
//! large file stay small; the line numbers and columns are those of the whole file.

use std::borrow::Cow;
use std::fmt;

use miette::{LabeledSpan, SourceCode};

use crate::code::{Code, Severity};
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, SourceFile, Span};
use view::{Shown, View, view};

mod view;
pub use view::printable;

/// The width of a drawing where the caller says none.
const DEFAULT_WIDTH: usize = 100;

/// Narrowest line of a label's text.
const LABEL_WIDTH: usize = 24;

/// What `miette` draws before a label's text.
const LABEL_ARROW: usize = 4;

/// Makes reports from the diagnostics of one compilation.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'s> {
    sources: &'s [SourceFile],
    width: usize,
}

/// One diagnostic with what is needed to draw it.
#[derive(Debug)]
pub struct Report {
    code: Code,
    severity: Severity,
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    view: View,
    others: Vec<Elsewhere>,
}

/// The view of `diagnostic` that `miette` draws on a terminal of usual width. `sources` are those of the same compilation.
#[must_use]
pub fn report(diagnostic: &Diagnostic, sources: &[SourceFile]) -> Report {
    Reporter::new(sources, DEFAULT_WIDTH).report(diagnostic)
}

impl<'s> Reporter<'s> {
    /// For the files of one compilation, and a terminal of so many columns.
    #[must_use]
    pub const fn new(sources: &'s [SourceFile], width: usize) -> Self {
        Self { sources, width }
    }

    /// The view of `diagnostic` that `miette` draws.
    #[must_use]
    pub fn report(&self, diagnostic: &Diagnostic) -> Report {
        let mut spans = vec![diagnostic.span];
        let mut labels = vec![diagnostic.label.as_str()];
        let mut others = Vec::new();
        for related in &diagnostic.related {
            if related.file == diagnostic.file {
                spans.push(related.span);
                labels.push(&related.label);
            } else {
                others.push(self.elsewhere(related.file, related.span, &related.label));
            }
        }
        if matches!(diagnostic.code, Code::NotUtf8 | Code::NulByte) {
            // The lines of what is no text say nothing; the message names the byte.
            spans.clear();
        }
        let (view, shown) = self.view(diagnostic.file, &spans);
        let mut drawn = Vec::new();
        for (i, (shown, label)) in shown.into_iter().zip(labels).enumerate() {
            match shown {
                Some(shown) => drawn.push(labelled(shown, label, i == 0)),
                None => others.extend(spans.get(i).map(|span| self.elsewhere(diagnostic.file, *span, label))),
            }
        }
        Report {
            code: diagnostic.code,
            severity: diagnostic.severity,
            message: printable(&diagnostic.message).into_owned(),
            help: diagnostic.help.as_deref().map(|help| lines(help).join("\n")),
            labels: drawn,
            view,
            others,
        }
    }

    fn view(&self, file: FileId, spans: &[Span]) -> (View, Vec<Option<Shown>>) {
        match self.sources.get(file.0) {
            Some(source) => view(source, spans, self.width),
            None => view(&SourceFile::new("", ""), spans, self.width),
        }
    }

    fn elsewhere(&self, file: FileId, span: Span, label: &str) -> Elsewhere {
        let (view, shown) = self.view(file, &[span]);
        let label = printable(label).into_owned();
        let span = shown.into_iter().flatten().next().map(|shown| LabeledSpan::new_primary_with_span(None, shown.span));
        Elsewhere { label, span, view }
    }
}

/// A help may have several lines.
fn lines(help: &str) -> Vec<Cow<'_, str>> {
    help.split('\n').map(printable).collect()
}

fn labelled(shown: Shown, label: &str, primary: bool) -> LabeledSpan {
    let room = shown.room.saturating_sub(LABEL_ARROW).max(LABEL_WIDTH);
    let text = (!label.is_empty()).then(|| wrapped(&printable(label), room));
    if primary {
        LabeledSpan::new_primary_with_span(text, shown.span)
    } else {
        LabeledSpan::new_with_span(text, shown.span)
    }
}

/// Lines of at most `width` characters; a longer word is broken.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 {
            let breaks = column + 1 + length > width;
            out.push(if breaks { '\n' } else { ' ' });
            column = if breaks { 0 } else { column + 1 };
        }
        for c in word.chars() {
            if column == width {
                out.push('\n');
                column = 0;
            }
            out.push(c);
            column += 1;
        }
    }
    out
}

impl Report {
    /// Related places in other files, or far away in a long line: to be drawn below it, each by itself.
    pub fn elsewhere(&self) -> impl Iterator<Item = &dyn miette::Diagnostic> {
        self.others.iter().map(|other| other as &dyn miette::Diagnostic)
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
        Some(&self.view)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// A related place in another file, or far away in a long line.
#[derive(Debug)]
struct Elsewhere {
    label: String,
    span: Option<LabeledSpan>,
    view: View,
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
        Some(&self.view)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.span.iter().cloned()))
    }
}
