//! The page of a code for a terminal, and the list of all codes.

use std::fmt::Write as _;

use robo_dsl::{Code, Example, Severity, Stage, explain};
use serde::Serialize;

use super::paint::Palette;
use super::table::wrap;

#[cfg(test)]
mod reference;

/// Longest line of running text: longer ones are hard to read.
const MAX_WIDTH: usize = 88;

/// Shortest, however narrow the terminal is.
const MIN_WIDTH: usize = 30;

/// The codes of one range, which belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// What its codes begin with.
    pub(crate) prefix: &'static str,
    /// What its codes are about.
    pub(crate) title: &'static str,
}

/// All ranges, in the order of their numbers.
pub(crate) const RANGES: [Range; 10] = [
    Range { prefix: "E01", title: "Lines" },
    Range { prefix: "E02", title: "Blocks" },
    Range { prefix: "E03", title: "Names" },
    Range { prefix: "E04", title: "The application as a whole" },
    Range { prefix: "E05", title: "Project folders" },
    Range { prefix: "E06", title: "Recipes and targets" },
    Range { prefix: "E07", title: "Commands" },
    Range { prefix: "E08", title: "Rules" },
    Range { prefix: "E09", title: "What only robo has" },
    Range { prefix: "E10", title: "Measures" },
];

/// A code in the list, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    code: Code,
    alias: Option<&'static str>,
    severity: Severity,
    stage: Stage,
    title: &'static str,
}

impl Entry {
    pub(crate) const fn of(code: Code) -> Self {
        Self { code, alias: code.alias(), severity: code.severity(), stage: code.stage(), title: code.title() }
    }
}

/// A code with its page, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    #[serde(flatten)]
    entry: Entry,
    /// Markdown.
    meaning: String,
    wrong: Vec<File>,
    right: Vec<File>,
}

/// A file of an example.
#[derive(Debug, Serialize)]
struct File {
    file: String,
    text: String,
}

impl Explained {
    pub(crate) fn of(code: Code) -> Self {
        let page = explain(code);
        let files =
            |examples: Vec<Example>| examples.into_iter().map(|e| File { file: e.file, text: e.text }).collect();
        Self { entry: Entry::of(code), meaning: page.meaning, wrong: files(page.wrong), right: files(page.right) }
    }
}

/// The codes of a range.
pub(crate) fn codes(range: Range) -> impl Iterator<Item = Code> {
    Code::ALL.iter().copied().filter(move |code| code.as_str().starts_with(range.prefix))
}

/// What a stage is called in a sentence.
pub(crate) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Parse => "reading lines",
        Stage::Blocks => "looking at each block",
        Stage::Conversion => "looking up names",
        Stage::Runtime => "looking at the whole",
        Stage::Project => "looking at the project folder",
        Stage::Recipes => "looking at recipes and targets",
        Stage::Commands => "reading commands",
        Stage::Rules => "reading rules",
        Stage::Probes => "reading measures",
    }
}

pub(crate) const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The page of `code`, with an empty line at its end.
pub(crate) fn page(code: Code, palette: Palette, width: usize) -> String {
    let width = width.clamp(MIN_WIDTH, MAX_WIDTH);
    let page = explain(code);
    let painted = weight(code, palette, code.as_str());
    let mut out = format!("{painted}  {}\n", palette.bold(code.title()));
    let alias = code.alias().map(|alias| format!(" · in Roboconf: {alias}")).unwrap_or_default();
    let kind = format!("{} · found when {}{alias}", severity(code.severity()), stage(code.stage()));
    for line in wrap(&kind, width) {
        push(&mut out, &palette.dim(&line));
    }
    for paragraph in page.meaning.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        out.push('\n');
        for item in items(paragraph) {
            let indent = if item.starts_with("- ") { 2 } else { 0 };
            for (i, line) in wrap(&item, width - indent).iter().enumerate() {
                let lead = if i == 0 { String::new() } else { " ".repeat(indent) };
                push(&mut out, &format!("{lead}{line}"));
            }
        }
    }
    let out = code_spans(&out, palette);
    let wrong = examples(&page.wrong, &palette.bad("✗ wrong"), palette);
    let right = examples(&page.right, &palette.good("✓ right"), palette);
    format!("{out}{wrong}{right}")
}

/// All codes: number, severity, title, by range.
pub(crate) fn list(palette: Palette, width: Option<usize>) -> String {
    let mut out = String::new();
    for range in RANGES {
        if !out.is_empty() {
            out.push('\n');
        }
        push(&mut out, &palette.bold(range.title));
        for code in codes(range) {
            let lead = format!("{code}  {:<8}", severity(code.severity()));
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(lead.len() + 1).max(MIN_WIDTH));
            for (i, line) in wrap(code.title(), room).iter().enumerate() {
                let lead = if i == 0 { weight(code, palette, &lead) } else { " ".repeat(lead.len()) };
                push(&mut out, &format!("{lead} {}", code_spans(line, palette)));
            }
        }
    }
    out
}

/// In the colour of the code's severity.
fn weight(code: Code, palette: Palette, text: &str) -> String {
    match code.severity() {
        Severity::Error => palette.bad(text),
        Severity::Warning => palette.busy(text),
    }
}

/// A paragraph as one text, a list as one text per item.
fn items(paragraph: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in paragraph.lines() {
        match items.last_mut() {
            Some(item) if !line.starts_with("- ") => {
                item.push(' ');
                item.push_str(line.trim());
            }
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// What stands between backticks: coloured without them, or as it is.
fn code_spans(text: &str, palette: Palette) -> String {
    if !palette.is_on() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((code, after)) = after.split_once('`') else { break };
        out.push_str(before);
        // A span that was wrapped is coloured line by line.
        let lines: Vec<String> = code.split('\n').map(|line| palette.hint(line)).collect();
        out.push_str(&lines.join("\n"));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn examples(examples: &[Example], mark: &str, palette: Palette) -> String {
    let mut out = String::new();
    for example in examples {
        push(&mut out, &format!("\n{mark}: {}", example.file));
        if example.text.is_empty() {
            push(&mut out, &format!("    {}", palette.dim("(an empty file)")));
        }
        for line in example.text.lines() {
            push(&mut out, format!("    {}", robo_dsl::printable(&line.replace('\t', "    "))).trim_end());
        }
    }
    out
}

fn push(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    if writeln!(out, "{line}").is_err() {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_one_range() {
        let listed: Vec<Code> = RANGES.into_iter().flat_map(codes).collect();
        assert_eq!(listed, Code::ALL);
    }

    #[test]
    fn pages_fit_the_terminal() {
        let example = |code: Code| explain(code).wrong.iter().chain(&explain(code).right).count();
        for code in Code::ALL {
            let text = page(*code, Palette::new(false), 60);
            let prose = text.split("\n✗ wrong").next().unwrap_or_default();
            for line in prose.lines().skip(1) {
                assert!(console::measure_text_width(line) <= 60 || !line.contains(' '), "{line}");
            }
            let marks = text.matches("\n✗ wrong: ").count() + text.matches("\n✓ right: ").count();
            assert_eq!(marks, example(*code), "{text}");
            assert!(!text.contains('\u{1b}') && page(*code, Palette::new(true), 60).contains('\u{1b}'));
        }
    }

    #[test]
    fn the_list_has_a_line_for_each_code() {
        let text = list(Palette::new(false), None);
        assert_eq!(text.lines().filter(|line| line.starts_with('E')).count(), Code::ALL.len());
        assert!(text.starts_with("Lines\nE0101  error    A file cannot be read\n"), "{text}");
    }

    #[test]
    fn lists_and_code_spans_are_styled() {
        assert_eq!(items("- a\n  b\n- c"), ["- a b", "- c"]);
        assert_eq!(code_spans("a `b` `c", Palette::new(false)), "a `b` `c");
        assert_eq!(console::strip_ansi_codes(&code_spans("a `b\nc` `d", Palette::new(true))), "a b\nc `d");
    }
}
