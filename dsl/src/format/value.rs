//! The blanks in a value. Where they belong to it, it is left alone.

use std::borrow::Cow;

use super::trim;
use crate::block::{import_words, random};
use crate::syntax::BlockKind;

/// How a value may be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Every blank belongs to the value.
    Verbatim,
    /// Items between commas, trimmed by the language.
    List,
    /// `external Db.ip (optional), Cache.*`
    Imports,
    /// `ip, port = 8080, banner = "a, b", random[port] ajp`
    Exports,
}

impl Style {
    /// The style of a block's property. Names are case-sensitive: `Exports` is none of ours.
    pub(super) fn of(block: Option<BlockKind>, property: &str) -> Self {
        match (block, property) {
            (Some(BlockKind::Component), "children" | "facets")
            | (Some(BlockKind::Facet), "children" | "extends")
            | (Some(BlockKind::Application), "tags" | "exports")
            | (Some(BlockKind::Instance), "channels") => Self::List,
            (Some(BlockKind::Component), "imports") => Self::Imports,
            (Some(BlockKind::Component | BlockKind::Facet), "exports") => Self::Exports,
            // A component's `extends` is one name, whose last blank counts.
            _ => Self::Verbatim,
        }
    }

    /// Whether this line of a value is well formed by itself, so that its blanks can be told apart.
    pub(super) fn fits(self, line: &str) -> bool {
        self != Self::Exports || exports(line).is_some()
    }

    /// One line of a value.
    pub(super) fn render(self, line: &str) -> Cow<'_, str> {
        match self {
            Self::Verbatim => Cow::Borrowed(line),
            Self::List => Cow::Owned(list(line, Cow::Borrowed)),
            Self::Imports => Cow::Owned(list(line, |item| Cow::Owned(import(item)))),
            Self::Exports => match exports(line) {
                Some(items) => Cow::Owned(join(items.iter().map(|item| Cow::Owned(export(item))))),
                None => Cow::Borrowed(line),
            },
        }
    }
}

/// The items of a list, each written by `item`. An empty item at the end vanishes, one of blanks does not: it is reported.
fn list<'t>(line: &'t str, item: impl Fn(&'t str) -> Cow<'t, str>) -> String {
    let mut out = join(line.split(',').map(|text| item(trim(text))));
    if line.rsplit_once(',').is_some_and(|(_, last)| !last.is_empty() && trim(last).is_empty()) {
        out.push(' ');
    }
    out
}

/// With a comma between two items and a blank before each that is not empty.
fn join<'t>(items: impl Iterator<Item = Cow<'t, str>>) -> String {
    let mut out = String::new();
    for (i, item) in items.enumerate() {
        out.push_str(match (i, item.is_empty()) {
            (0, _) => "",
            (_, true) => ",",
            (_, false) => ", ",
        });
        out.push_str(&item);
    }
    out
}

fn import(item: &str) -> String {
    let (external, name, optional) = import_words(item);
    let words = [if external { "external" } else { "" }, name, if optional { "(optional)" } else { "" }];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `NAME`, `NAME =`, `NAME = VALUE`; the value with its quotes.
struct Export<'t> {
    name: &'t str,
    value: Option<&'t str>,
}

fn export(item: &Export<'_>) -> String {
    let (kind, name) = random(item.name);
    let kind = kind.map(|kind| format!("random[{kind}]"));
    let equals = item.value.map(|_| "=");
    let words = [kind.as_deref(), Some(name), equals, item.value].into_iter().flatten();
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The items of a line; nothing when a quoted value in it is not well formed.
fn exports(line: &str) -> Option<Vec<Export<'_>>> {
    let mut items = Vec::new();
    let mut rest = line;
    loop {
        let (name, after) = rest.split_at_checked(rest.find([',', '=']).unwrap_or(rest.len()))?;
        let (value, next) = match after.strip_prefix('=') {
            Some(after) => {
                let end = value_end(after)?;
                (Some(trim(after.get(..end)?)), after.get(end + 1..))
            }
            None => (None, after.strip_prefix(',')),
        };
        items.push(Export { name: trim(name), value });
        match next {
            Some(next) => rest = next,
            None => return Some(items),
        }
    }
}

/// Where the value at the start of `text` ends: at a comma, or with the text.
fn value_end(text: &str) -> Option<usize> {
    let comma = text.find(',').unwrap_or(text.len());
    let Some(open) = text.find('"').filter(|open| *open < comma) else { return Some(comma) };
    let inside = text.get(open + 1..)?;
    let close = open + 1 + inside.find('"')? + 1;
    let behind = text.get(close..)?;
    let end = close + behind.find(',').unwrap_or(behind.len());
    let plain = trim(text.get(..open)?).is_empty() && trim(text.get(close..end)?).is_empty();
    plain.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_between_words() {
        let check = |style: Style, line: &str, expect: &str| {
            assert!(style.fits(line), "{line}");
            assert_eq!(style.render(line), expect, "{line}");
            assert_eq!(style.render(expect), expect, "{line}");
        };
        check(Style::Verbatim, " a ,b  ", " a ,b  ");
        check(Style::List, "A ,B,\tC c,", "A, B, C c,");
        check(Style::List, ",a,,b,", ", a,, b,");
        check(Style::List, ",a,,b ,\t", ", a,, b, ");
        check(
            Style::Imports,
            "EXTERNALa.b(Optional) ,external  c.*,d.e  (optional)",
            "external a.b (optional), external c.*, d.e (optional)",
        );
        check(Style::Imports, "external,(optional)", "external, (optional)");
        check(
            Style::Exports,
            " ip,port=8080 ,b= \"x,  y\" , RANDOM[Port]p",
            "ip, port = 8080, b = \"x,  y\", random[Port] p",
        );
        check(Style::Exports, "d=,e==f =\tg,", "d =, e = =f =\tg,");
        for broken in ["a = b \"c\"", "a = \"b", "a = \"b\" c"] {
            assert!(!Style::Exports.fits(broken), "{broken}");
        }
    }
}
