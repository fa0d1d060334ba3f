//! Components and facets.

use robo_model::name::is_flex_id;

use super::extension::{self, Applied};
use super::raw::{RawBlock, RawProperty, annotation};
use super::{Checker, ComponentDecl, Extras, FacetDecl, Part, Unread, exports, lists};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Spanned;
use crate::suggest::closest;
use crate::syntax::short;

const COMPONENT_PROPERTIES: [&str; 6] = ["children", "exports", "extends", "installer", "facets", "imports"];
const FACET_PROPERTIES: [&str; 3] = ["children", "exports", "extends"];

/// `NAME { … }`
pub(super) fn component(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> ComponentDecl {
    let (name, named) = checker.defined_name(block, Code::EmptyComponentName);
    let mut unread = unread(checker, block);
    let (mut installer, mut extends) = (None, None);
    let (mut facets, mut children, mut exported, mut imports) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut extras = Extras::default();
    for property in &block.properties {
        let errors = checker.sink.errors();
        match property.name.as_str() {
            name if !COMPONENT_PROPERTIES.contains(&name) => {
                if extension::apply(checker, &mut extras, property) == Applied::Unknown {
                    let known: Vec<&str> = COMPONENT_PROPERTIES.iter().chain(&extension::PROPERTIES).copied().collect();
                    checker.not_applicable(block, property, &known);
                }
            }
            _ if !checker.has_value(property) => {}
            "installer" => installer = self::installer(checker, property).or(installer),
            "extends" => {
                // Each item must be a name; that there is one item only shows when it is looked up.
                let errors = checker.sink.errors();
                lists::references(checker, property);
                if checker.sink.errors() == errors {
                    extends = Some(checker.spanned(property.value.as_str().to_owned(), property.value.whole()));
                }
            }
            "facets" => facets.extend(lists::references(checker, property)),
            "children" => children.extend(lists::children(checker, property)),
            "exports" => exported.extend(exports::exports(checker, property)),
            _ => imports.extend(lists::imports(checker, property)),
        }
        if checker.sink.errors() > errors {
            mark(&mut unread, property.name.as_str());
        }
    }
    let annotation = block.comment.map(annotation);
    ComponentDecl {
        name,
        named,
        unread,
        annotation,
        installer,
        extends,
        facets,
        children,
        exports: exported,
        imports,
        extras,
    }
}

/// Which parts of a block its unreadable lines may be.
fn unread(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> Unread {
    let mut unread = Unread::default();
    // Which one was meant is not known.
    checker.doubled.iter().for_each(|name| mark(&mut unread, name));
    for line in block.garbage.iter().flat_map(|lines| lines.lines()) {
        checker.gaps.add(line);
        let line = line.trim();
        let end = line.find(|c: char| c.is_whitespace() || matches!(c, ':' | '='));
        let word = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        match part(word) {
            Some(part) => unread.mark(part),
            None => unread.mark_all(),
        }
    }
    unread
}

/// Marks what a property that was reported is about, if that can be told.
fn mark(unread: &mut Unread, name: &str) {
    if let Some(part) = part(name) {
        unread.mark(part);
    }
}

/// What a property is about, also when its name is misspelt.
fn part(name: &str) -> Option<Part> {
    let known = COMPONENT_PROPERTIES.iter().chain(&extension::PROPERTIES).copied();
    let name = if known.clone().any(|known| known == name) { name } else { closest(name, known)? };
    Some(match name {
        "children" => Part::Children,
        "exports" => Part::Exports,
        "extends" => Part::Extends,
        "installer" => Part::Installer,
        "facets" => Part::Facets,
        "imports" => Part::Imports,
        _ => Part::Extras,
    })
}

/// `facet NAME { … }`
pub(super) fn facet(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> FacetDecl {
    let (name, named) = checker.defined_name(block, Code::EmptyFacetName);
    let mut unread = unread(checker, block);
    let (mut extends, mut children, mut exported) = (Vec::new(), Vec::new(), Vec::new());
    for property in &block.properties {
        let errors = checker.sink.errors();
        match property.name.as_str() {
            name if !FACET_PROPERTIES.contains(&name) => checker.not_applicable(block, property, &FACET_PROPERTIES),
            _ if !checker.has_value(property) => {}
            "extends" => extends.extend(lists::references(checker, property)),
            "children" => children.extend(lists::children(checker, property)),
            _ => exported.extend(exports::exports(checker, property)),
        }
        if checker.sink.errors() > errors {
            mark(&mut unread, property.name.as_str());
        }
    }
    FacetDecl { name, named, unread, extends, children, exports: exported }
}

fn installer(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Option<Spanned<String>> {
    let value = property.value.as_str();
    let span = property.value.whole();
    if !is_flex_id(value) {
        let message = format!("`{}` is not an installer", short(value));
        let found = Diagnostic::new(Code::InvalidInstallerName, checker.place(span), message)
            .label("a name, without quotes")
            .help(match extension::unquoted(value) {
                inside if inside.len() < value.len() && is_flex_id(inside) => {
                    format!("write `{inside}`, without quotes")
                }
                _ => "write one of `target`, `script`, `process`, `container`, `logger`".to_owned(),
            });
        checker.push(found);
        return None;
    }
    Some(checker.spanned(value.to_owned(), span))
}
