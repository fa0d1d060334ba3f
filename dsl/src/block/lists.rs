//! Lists of names, and imports.

use robo_model::graph::Import;
use robo_model::name::{ComponentName, NameError, VariableName, is_id};

use super::raw::RawProperty;
use super::{Checker, ImportDecl, Reference, name_help};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::syntax::{Text, short};

/// The items between commas, trimmed. As with Java's `split`, empty items at the end vanish.
pub(super) fn items<'t>(text: &'t Text<'_>) -> impl Iterator<Item = (&'t str, Span)> {
    let list = text.as_str().trim_end_matches(',');
    let none = list.is_empty();
    list.split(',').filter(move |_| !none).map(|item| {
        let item = item.trim_matches(|c| c <= ' ');
        (item, text.span_of(item))
    })
}

/// `children: A, B;`
pub(super) fn children(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Vec<Reference> {
    items(&property.value).filter_map(|(item, span)| checker.used_name(item, span, Code::InvalidChildName)).collect()
}

/// `facets: A, B;`, `extends: A, B;`
pub(super) fn references(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Vec<Reference> {
    let mut names = Vec::new();
    for (item, span) in items(&property.value) {
        if item.is_empty() {
            let message = format!("the list of `{}` has an empty item", property.name.as_str());
            let found = Diagnostic::new(Code::EmptyReferencedName, checker.place(span), message)
                .label("a name is missing here")
                .help("remove one of the commas");
            checker.push(found);
            continue;
        }
        names.extend(checker.used_name(item, span, Code::InvalidName));
    }
    names
}

/// `imports: Db.ip, Cache.* (optional), external Lamp.ip;`
pub(super) fn imports(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Vec<ImportDecl> {
    items(&property.value).filter_map(|(item, span)| import(checker, &property.value, item, span)).collect()
}

fn import(checker: &mut Checker<'_>, text: &Text<'_>, item: &str, span: Span) -> Option<ImportDecl> {
    let (external, name, optional) = import_words(item);
    if name.is_empty() {
        let found = Diagnostic::new(Code::EmptyVariableName, checker.place(span), "an import names no variable")
            .label("a variable is missing here")
            .help("write `Component.variable` or `Component.*`, or remove a comma");
        checker.push(found);
        return None;
    }
    let at = text.span_of(name);
    let plain = name.strip_suffix(".*").unwrap_or(name);
    if !is_id(plain) {
        let message = format!("`{}` is not an imported variable", short(name));
        let found = Diagnostic::new(Code::InvalidImportedName, checker.place(at), message)
            .label("expected `Component.variable` or `Component.*`")
            .help(name_help(name));
        checker.push(found);
        return None;
    }
    let Some((prefix, local)) = name.split_once('.').filter(|(_, local)| !local.is_empty()) else {
        let component = name.trim_end_matches('.');
        let message = format!("`{}` does not say whose variable it imports", short(name));
        let found = Diagnostic::new(Code::IncompleteImport, checker.place(at), message)
            .label("a component and a variable, with a dot between them, are needed")
            .help(format!("write `{component}.*` for every variable of `{component}`, or `Component.{component}`"));
        checker.push(found);
        return None;
    };
    let variable = if local == "*" { Ok(None) } else { variable_name(local).map(Some) };
    match (ComponentName::new(prefix), variable) {
        (Ok(prefix), Ok(variable)) => {
            Some(ImportDecl { import: Import { prefix, variable, optional, external }, place: checker.place(at) })
        }
        (Ok(prefix), Err(NameError::Malformed { .. })) => {
            let found = Diagnostic::new(
                Code::InvalidImportedName,
                checker.place(at),
                format!("`{}` is not an imported variable", short(name)),
            )
            .label("`*` stands right after the component's dot")
            .help(format!("write `{prefix}.*`"));
            checker.push(found);
            None
        }
        _ => {
            let found = checker.too_long(name, at);
            checker.push(found);
            None
        }
    }
}

/// `external NAME (optional)`, in any case. As in the original no blank need follow: `externalDb.ip` is the external
/// variable `Db.ip`.
pub(crate) fn import_words(item: &str) -> (bool, &str, bool) {
    let (rest, optional) = strip_suffix(item, "(optional)");
    let (name, external) = strip_prefix(rest, "external");
    (external, name, optional)
}

/// What follows a variable's first dot may begin with any character of a name.
fn variable_name(local: &str) -> Result<VariableName, NameError> {
    robo_model::name::Variable::parse(&format!("x.{local}")).map(|variable| variable.local)
}

fn strip_suffix<'t>(item: &'t str, word: &str) -> (&'t str, bool) {
    let at = item.len().saturating_sub(word.len());
    match (item.get(..at), item.get(at..)) {
        (Some(rest), Some(end)) if end.eq_ignore_ascii_case(word) => (rest.trim_end_matches(|c| c <= ' '), true),
        _ => (item, false),
    }
}

fn strip_prefix<'t>(item: &'t str, word: &str) -> (&'t str, bool) {
    match (item.get(..word.len()), item.get(word.len()..)) {
        (Some(start), Some(rest)) if start.eq_ignore_ascii_case(word) => (rest.trim_start_matches(|c| c <= ' '), true),
        _ => (item, false),
    }
}
