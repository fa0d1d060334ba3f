//! Mistakes in a graph: drawn with their lines for people, as plain data for programs.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme};
use robo_dsl::{Code, Compiled, Diagnostic, EditorPosition, FileId, Position, Reporter, Severity, Span, Stage};
use serde::Serialize;

use super::paint::Palette;

/// Narrowest drawing; below that a line of source is no longer readable.
const MIN_WIDTH: usize = 40;

/// All diagnostics of a compilation, each with its source lines.
pub(crate) fn render(compiled: &Compiled, palette: Palette, width: usize) -> String {
    let theme = if palette.is_on() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = width.max(MIN_WIDTH);
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let reporter = Reporter::new(&compiled.sources, width);
    let mut text = String::new();
    for diagnostic in &compiled.diagnostics {
        let report = reporter.report(diagnostic);
        if handler.render_report(&mut text, &report).is_err() {
            // A drawing that fails must not hide the mistake.
            text.push_str(&report.to_string());
        }
        for place in report.elsewhere() {
            if handler.render_report(&mut text, place).is_err() {
                text.push_str(&place.to_string());
            }
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
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
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'static str>,
    severity: Severity,
    stage: Stage,
    message: &'a str,
    /// What stands under the exact characters.
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(flatten)]
    place: PlainPlace<'a>,
    related: Vec<PlainRelated<'a>>,
}

/// A place for programs.
#[derive(Debug, Serialize)]
struct PlainPlace<'a> {
    file: &'a str,
    /// Bytes from the file's start; `end` is not included.
    start: u32,
    end: u32,
    /// Both from 1, in characters; the end is not included.
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    range: EditorRange,
}

/// Where nothing is.
const ZERO: (Position, EditorPosition) = (Position { line: 1, column: 1 }, EditorPosition { line: 0, character: 0 });

/// As the language server protocol has it.
#[derive(Debug, Serialize)]
struct EditorRange {
    start: EditorPosition,
    end: EditorPosition,
}

#[derive(Debug, Serialize)]
struct PlainRelated<'a> {
    label: &'a str,
    #[serde(flatten)]
    place: PlainPlace<'a>,
}

impl<'a> Plain<'a> {
    /// The plain form of a diagnostic of `compiled`.
    pub(crate) fn of(diagnostic: &'a Diagnostic, compiled: &'a Compiled) -> Self {
        let place = |file: FileId, span: Span| {
            let source = compiled.sources.get(file.0);
            let at = |offset| source.map_or(ZERO, |source| (source.position(offset), source.editor_position(offset)));
            let ((start, editor_start), (end, editor_end)) = (at(span.start), at(span.end));
            PlainPlace {
                file: source.map_or("", |source| source.name.as_str()),
                start: span.start,
                end: span.end,
                line: start.line,
                column: start.column,
                end_line: end.line,
                end_column: end.column,
                range: EditorRange { start: editor_start, end: editor_end },
            }
        };
        let related = diagnostic.related.iter();
        Self {
            code: diagnostic.code,
            alias: diagnostic.code.alias(),
            severity: diagnostic.severity,
            stage: diagnostic.stage,
            message: &diagnostic.message,
            label: &diagnostic.label,
            help: diagnostic.help.as_deref(),
            place: place(diagnostic.file, diagnostic.span),
            related: related.map(|r| PlainRelated { label: &r.label, place: place(r.file, r.span) }).collect(),
        }
    }

    /// `shop.graph:3:12 E0210`, which editors and terminals can jump to.
    pub(crate) fn name(&self) -> String {
        let PlainPlace { file, line, column, .. } = &self.place;
        format!("{}:{line}:{column} {}", robo_dsl::printable(file), self.code)
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
        assert!(drawn.contains("tar␛[31mget�0m␇"), "{drawn}");
        assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'), "{drawn:?}");
    }

    #[test]
    fn a_program_gets_positions() {
        let compiled = broken();
        let plain = serde_json::to_value(Plain::of(&compiled.diagnostics[0], &compiled)).unwrap();
        assert_eq!((&plain["line"], &plain["file"]), (&3.into(), &"shop.graph".into()));
        assert_eq!((&plain["column"], &plain["end_column"]), (&12.into(), &15.into()));
        let range =
            serde_json::json!({ "start": { "line": 2, "character": 11 }, "end": { "line": 2, "character": 14 } });
        assert_eq!((&plain["range"], &plain["related"]), (&range, &serde_json::json!([])));
        assert_eq!((&plain["severity"], &plain["stage"]), (&"error".into(), &"conversion".into()));
        assert_eq!((&plain["code"], &plain["alias"]), (&"E0309".into(), &"CO_INEXISTING_CHILD".into()));
        assert!(plain["message"].as_str().unwrap().contains("Dbb"));
    }
}
