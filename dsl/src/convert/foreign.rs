//! Files of another language: one word about the file says more than a mistake in each of its lines.

use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::position::boundary;
use crate::source::{FileId, Place, Span, narrow};

/// How much of a file is looked at, in bytes.
const LOOK: usize = 64 * 1024;

/// What is said of a file that is surely no graph. Nothing of what a graph may begin with is taken for one.
pub(super) fn foreign(name: &str, text: &str, file: FileId) -> Option<Diagnostic> {
    let (text, _) = text.split_at_checked(boundary(text, LOOK))?;
    let line = text.lines().find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    })?;
    let language = language(text, line.trim())?;
    let start = (line.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let start = start + line.len() - line.trim_start().len();
    let place = Place { file, span: Span::new(narrow(start), narrow(start + line.trim().len())) };
    let found = Diagnostic::new(
        Code::UnrecognizedBlock,
        place,
        format!("`{name}` looks like {language}, not like a graph"),
    )
    .label("begins nothing known")
    .help("is this the right file? A graph has blocks: a line `NAME {`, lines as `installer: target;`, and a line `}`");
    Some(found)
}

fn language(text: &str, first: &str) -> Option<&'static str> {
    let from = text.find(first).and_then(|at| text.get(at..)).unwrap_or_default();
    let mut signs = from.chars().filter(|c| !c.is_whitespace());
    match (signs.next(), signs.next()) {
        (Some('{'), Some('"')) | (Some('['), Some('{' | '"' | '[')) => Some("JSON"),
        (Some('<'), Some(c)) if c.is_alphabetic() || matches!(c, '!' | '?') => Some("HTML or XML"),
        _ if first == "---" || is_yaml_line(first) => {
            // Neither a property nor a block of ours in all of it.
            let ours = |line: &str| line.ends_with([';', '{', '}', ',']);
            (!text.lines().any(|line| ours(line.trim()))).then_some("YAML")
        }
        _ => None,
    }
}

/// `key:` or `key: value`.
fn is_yaml_line(line: &str) -> bool {
    let key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    line.split_once(':').is_some_and(|(name, value)| key(name) && (value.is_empty() || value.starts_with(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_foreign() {
        let of = |text: &str| {
            let found = foreign("a", text, FileId(0))?;
            assert!(!found.span.of(text).is_empty());
            Some(language(text, found.span.of(text)).unwrap())
        };
        for (text, expect) in [
            ("{\n \"a\": 1\n}\n", Some("JSON")),
            ("# c\n\n [{}]", Some("JSON")),
            ("<?xml version=\"1.0\"?>", Some("HTML or XML")),
            ("kind: Pod\nmetadata:\n  name: x\n", Some("YAML")),
            ("---\na: 1\n", Some("YAML")),
            ("", None),
            ("# a: b\n", None),
            ("{\n}\n", None),
            ("A {\n}\n", None),
            ("installer: target;\n", None),
            ("a: b\nA {\n}\n", None),
            ("import x;\n", None),
            ("< 5\n", None),
        ] {
            assert_eq!(of(text), expect, "{text}");
        }
    }
}
