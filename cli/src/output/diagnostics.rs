//! Mistakes in a graph: drawn with their lines for people, as plain data for programs.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme};
use robo_dsl::{Compiled, Diagnostic, Severity, SourceFile};
use serde::Serialize;

use super::paint::Palette;

/// Narrowest drawing; below that a line of source is no longer readable.
const MIN_WIDTH: usize = 40;

/// All diagnostics of a compilation, each with its source lines.
pub(crate) fn render(compiled: &Compiled, palette: Palette, width: usize) -> String {
    let theme = if palette.is_on() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width.max(MIN_WIDTH)).with_links(false);
    let mut text = String::new();
    let sources: Vec<SourceFile> = compiled.sources.iter().map(printable).collect();
    for diagnostic in &compiled.diagnostics {
        let report = robo_dsl::report(&printable_words(diagnostic), &sources);
        if handler.render_report(&mut text, &report).is_err() {
            // A drawing that fails must not hide the mistake.
            text.push_str(&diagnostic.message);
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// A file as a terminal may get it: what would move the cursor or change colours is replaced. Offsets stay right.
fn printable(source: &SourceFile) -> SourceFile {
    SourceFile::new(without_controls(&source.name), without_controls(&source.text))
}

/// Messages quote the file.
fn printable_words(diagnostic: &Diagnostic) -> Diagnostic {
    let mut diagnostic = diagnostic.clone();
    diagnostic.message = without_controls(&diagnostic.message);
    diagnostic.label = without_controls(&diagnostic.label);
    diagnostic.related.iter_mut().for_each(|related| related.label = without_controls(&related.label));
    diagnostic.help = diagnostic.help.as_deref().map(without_controls);
    diagnostic
}

/// Each control character becomes one that takes as many bytes. Ends of lines and tabs stay.
fn without_controls(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => c,
        _ if c.is_control() && c.len_utf8() == 1 => '?',
        _ if c.is_control() => '¿',
        _ => c,
    };
    text.chars().map(shown).collect()
}

/// How many there are of each weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

impl Counts {
    pub(crate) fn of(compiled: &Compiled) -> Self {
        let count = |wanted| compiled.diagnostics.iter().filter(|d| d.severity == wanted).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning) }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
        self.warnings += other.warnings;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count, word| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        match (self.errors, self.warnings) {
            (0, 0) => f.write_str("no errors"),
            (errors, 0) => f.write_str(&plural(errors, "error")),
            (0, warnings) => f.write_str(&plural(warnings, "warning")),
            (errors, warnings) => write!(f, "{} and {}", plural(errors, "error"), plural(warnings, "warning")),
        }
    }
}

/// One diagnostic for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Plain<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'static str>,
    severity: Severity,
    stage: robo_dsl::Stage,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    file: &'a str,
    /// Bytes from the file's start; `end` is not included.
    start: u32,
    end: u32,
    /// Both from 1, in characters.
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl<'a> Plain<'a> {
    /// The plain form of a diagnostic of `compiled`.
    pub(crate) fn of(diagnostic: &'a Diagnostic, compiled: &'a Compiled) -> Self {
        let source = compiled.sources.get(diagnostic.file.0);
        let at = |offset| source.map_or((1, 1), |s| (s.position(offset).line, s.position(offset).column));
        let ((line, column), (end_line, end_column)) = (at(diagnostic.span.start), at(diagnostic.span.end));
        Self {
            code: diagnostic.code.as_str(),
            alias: diagnostic.code.alias(),
            severity: diagnostic.severity,
            stage: diagnostic.stage,
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
            file: source.map_or("", |s| s.name.as_str()),
            start: diagnostic.span.start,
            end: diagnostic.span.end,
            line,
            column,
            end_line,
            end_column,
        }
    }

    /// `shop.graph:3:12 E0210`, which editors and terminals can jump to.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}:{} {}", self.file, self.line, self.column, self.code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn broken() -> Compiled {
        let text = "VM {\n\tinstaller: target;\n\tchildren: Dbb;\n}\nDb {\n\tinstaller: script;\n}\n";
        let mut files = BTreeMap::from([("shop.graph".to_owned(), text.as_bytes().to_vec())]);
        robo_dsl::compile_file("shop.graph", &mut files)
    }

    #[test]
    fn a_mistake_is_drawn_with_its_line() {
        let compiled = broken();
        let text = render(&compiled, Palette::new(false), 80);
        assert!(text.contains("shop.graph:3:"), "{text}");
        assert!(text.contains("children: Dbb;"), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours");
        assert!(render(&compiled, Palette::new(true), 80).contains('\u{1b}'));
        assert_eq!(Counts::of(&compiled).to_string(), "1 error");
    }

    #[test]
    fn a_graph_cannot_command_the_terminal() {
        let text = "VM {\n\tinstaller: tar\u{1b}[31mget\u{9b}0m\u{7};\n}\n";
        let mut files = BTreeMap::from([("a.graph".to_owned(), text.as_bytes().to_vec())]);
        let drawn = render(&robo_dsl::compile_file("a.graph", &mut files), Palette::new(false), 80);
        assert!(drawn.contains("tar?[31mget¿0m?"), "{drawn}");
        assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'), "{drawn:?}");
    }

    #[test]
    fn a_program_gets_positions() {
        let compiled = broken();
        let plain = serde_json::to_value(Plain::of(&compiled.diagnostics[0], &compiled)).unwrap();
        assert_eq!((&plain["line"], &plain["file"]), (&3.into(), &"shop.graph".into()));
        assert_eq!(plain["severity"], "error");
        assert!(plain["message"].as_str().unwrap().contains("Dbb"));
    }
}
