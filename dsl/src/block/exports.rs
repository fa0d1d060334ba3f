//! `exports: ip, port = 8080, banner = "a; b, c", random[port] ajp;`

use robo_model::name::{NameError, VariableName, is_id};

use super::raw::RawProperty;
use super::{Checker, ExportDecl, name_help};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::{Span, Spanned};
use crate::syntax::{Text, short};

/// The variables that a property exports.
pub(super) fn exports(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Vec<ExportDecl> {
    let text = &property.value;
    let mut out = Vec::new();
    let mut rest = text.as_str();
    let mut first = true;
    loop {
        let end = rest.find([',', '=']).unwrap_or(rest.len());
        let (written, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (value, next) = match after.strip_prefix('=') {
            Some(after) => value(checker, text, after),
            None => (Value::None, after.strip_prefix(',')),
        };
        // A comma before the first variable is tolerated, as in the original.
        let leading = first && blank(written) && after.starts_with(',');
        first = false;
        if !leading {
            out.extend(export(checker, text, written, &value));
        }
        match next {
            // After a quoted value the list may end with a comma; after a plain one it may not.
            Some(next) if matches!(value, Value::Quoted(_)) && blank(next) => return out,
            Some(next) => rest = next,
            None => return out,
        }
    }
}

#[derive(Clone, Copy)]
enum Value<'t> {
    None,
    Plain(&'t str),
    Quoted(&'t str),
}

fn blank(text: &str) -> bool {
    text.chars().all(|c| c <= ' ')
}

/// What follows `=`, and what follows the comma after it.
fn value<'t>(checker: &mut Checker<'_>, text: &Text<'_>, after: &'t str) -> (Value<'t>, Option<&'t str>) {
    let comma = after.find(',').unwrap_or(after.len());
    // Looked for up to the comma alone: a list may be long, and have no quotes in it.
    let plain = after.get(..comma).unwrap_or_default();
    let Some(open) = plain.find('"') else {
        let plain = plain.trim_matches(|c| c <= ' ');
        let value = if plain.is_empty() { Value::None } else { Value::Plain(plain) };
        return (value, after.get(comma + 1..));
    };
    let before = after.get(..open).unwrap_or_default();
    if !blank(before) {
        malformed(
            checker,
            text.span_of(before.trim()),
            "text stands before the quotes",
            "put the whole value in the quotes",
        );
        return (Value::None, after.get(comma + 1..));
    }
    let inside = after.get(open + 1..).unwrap_or_default();
    let Some(close) = inside.find('"') else {
        let quote = after.get(open..=open).unwrap_or_default();
        malformed(checker, text.span_of(quote), "the quotes are not closed", "write a second `\"` after the value");
        return (Value::None, None);
    };
    let quoted = inside.get(..close).unwrap_or_default();
    let rest = inside.get(close + 1..).unwrap_or_default();
    let end = rest.find(',').unwrap_or(rest.len());
    let behind = rest.get(..end).unwrap_or_default();
    if !blank(behind) {
        malformed(checker, text.span_of(behind.trim()), "text follows the quotes", "put a comma after the quotes");
    }
    (Value::Quoted(quoted), rest.get(end + 1..))
}

fn malformed(checker: &mut Checker<'_>, span: Span, what: &str, help: &str) {
    let found = Diagnostic::new(
        Code::InvalidExportValue,
        checker.place(span),
        format!("a quoted value is not well formed: {what}"),
    )
    .label(what)
    .help(help);
    checker.push(found);
}

fn export(checker: &mut Checker<'_>, text: &Text<'_>, written: &str, value: &Value<'_>) -> Option<ExportDecl> {
    let written = written.trim_matches(|c| c <= ' ');
    let (kind, name) = random(written);
    let span = text.span_of(name);
    if name.is_empty() {
        let found =
            Diagnostic::new(Code::EmptyVariableName, checker.place(text.span_of(written)), "an export has no name")
                .label("a variable's name is missing here")
                .help("write `name` or `name = value`, or remove a comma");
        checker.push(found);
        return None;
    }
    let name = exported_name(checker, name, span)?;
    let value = match *value {
        Value::None => None,
        Value::Plain(value) | Value::Quoted(value) => {
            let span = text.span_of(value);
            if !checker.fits(value, span) {
                return None;
            }
            Some(checker.spanned(value.to_owned(), span))
        }
    };
    let random = kind.map(|kind| checker.spanned(kind.to_owned(), text.span_of(kind)));
    Some(ExportDecl { name, random, value })
}

fn exported_name(checker: &mut Checker<'_>, name: &str, span: Span) -> Option<Spanned<VariableName>> {
    match VariableName::new(name) {
        Ok(good) => return Some(checker.spanned(good, span)),
        Err(NameError::TooLong { .. }) => {
            let found = checker.too_long(name, span);
            checker.push(found);
            return None;
        }
        Err(_) => {}
    }
    let message = format!("`{}` is not a variable's name", short(name));
    let found = Diagnostic::new(Code::InvalidExportedName, checker.place(span), message)
        .label("a name has letters, digits, `_`, `-` and `.`, and starts with a letter or `_`")
        .help(name_help(name));
    checker.push(found);
    if let Some(rest) = name.strip_prefix("external ") {
        let rest = rest.trim();
        let help = if is_id(rest) { format!("write `{rest}`") } else { "leave `external` out".to_owned() };
        let found =
            Diagnostic::new(Code::ExternalExport, checker.place(span), "`external` belongs to imports, not to exports")
                .label("`external` has no meaning here")
                .help(help);
        checker.push(found);
    }
    None
}

/// `random[KIND] NAME`, in any case; otherwise no kind and the whole text.
pub(crate) fn random(written: &str) -> (Option<&str>, &str) {
    let is_random = written.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("random["));
    let parts = written.get(7..).filter(|_| is_random).and_then(|rest| rest.split_once(']'));
    match parts {
        Some((kind, name)) => (Some(kind), name.trim_matches(|c| c <= ' ')),
        None => (None, written),
    }
}
