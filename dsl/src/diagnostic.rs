//! What is wrong, where, and what to write instead.

use std::collections::HashSet;

use crate::code::{Code, Severity, Stage};
use crate::source::{FileId, Place, Span};

/// Most diagnostics of one compilation: nobody reads more, and a binary file would give one per line.
pub const MAX_DIAGNOSTICS: usize = 1000;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Its stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Which step found it.
    pub stage: Stage,
    /// In which file.
    pub file: FileId,
    /// The exact bytes.
    pub span: Span,
    /// One plain sentence that names the thing.
    pub message: String,
    /// What to write under the span; may be empty.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

/// Another place that belongs to a mistake.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Related {
    /// In which file.
    pub file: FileId,
    /// The exact bytes.
    pub span: Span,
    /// What stands there.
    pub label: String,
}

impl Diagnostic {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            stage: code.stage(),
            file: place.file,
            span: place.span,
            message: message.into(),
            label: String::new(),
            help: None,
            related: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { file: place.file, span: place.span, label: label.into() });
        self
    }
}

/// Collects diagnostics, up to [`MAX_DIAGNOSTICS`].
#[derive(Debug, Default)]
pub(crate) struct Sink {
    list: Vec<Diagnostic>,
    errors: usize,
    dropped: Option<Place>,
    /// Codes that do not count here.
    without: &'static [Code],
}

impl Sink {
    /// One that does not hear of some codes.
    pub(crate) fn without(codes: &'static [Code]) -> Self {
        Self { without: codes, ..Self::default() }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.without.contains(&diagnostic.code) {
            return;
        }
        if diagnostic.severity == Severity::Error {
            self.errors += 1;
        }
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(diagnostic);
        } else if self.dropped.is_none() {
            self.dropped = Some(Place { file: diagnostic.file, span: diagnostic.span });
        }
    }

    /// A diagnostic that is costly to make: it is made only when it is kept.
    pub(crate) fn push_with(&mut self, code: Code, place: Place, make: impl FnOnce() -> Diagnostic) {
        if !self.is_full() {
            self.push(make());
        } else if !self.without.contains(&code) {
            self.errors += usize::from(code.severity() == Severity::Error);
            self.dropped.get_or_insert(place);
        }
    }

    /// How many errors came so far, those that were too many included.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// True when no more is kept: whoever builds costly messages may stop.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_DIAGNOSTICS
    }

    /// All of them in reading order, each once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let mut seen = HashSet::new();
        self.list.retain(|d| seen.insert((d.code, d.file, d.span, d.message.clone())));
        self.list.sort_by_key(|d| (d.file, d.span.start, d.span.end));
        if let Some(place) = self.dropped {
            let message = format!("there are more than {MAX_DIAGNOSTICS} mistakes; the others are not shown");
            self.list.push(
                Diagnostic::new(Code::TooManyDiagnostics, place, message)
                    .label("the first one that is not shown")
                    .help("is this the right file? Otherwise mend those above and look again"),
            );
        }
        self.list
    }
}
