//! Components and facets.

use robo_model::name::is_flex_id;

use super::extension::{self, Applied};
use super::raw::{RawBlock, RawProperty};
use super::{Checker, ComponentDecl, Extras, FacetDecl, exports, lists};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Spanned;
use crate::syntax::short;

const COMPONENT_PROPERTIES: [&str; 6] = ["children", "exports", "extends", "installer", "facets", "imports"];
const FACET_PROPERTIES: [&str; 3] = ["children", "exports", "extends"];

/// `NAME { … }`. Nothing when it has no usable name; its properties are checked all the same.
pub(super) fn component(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> Option<ComponentDecl> {
    let name = checker.defined_name(block, Code::EmptyComponentName);
    let (mut installer, mut extends) = (None, None);
    let (mut facets, mut children, mut exported, mut imports) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut extras = Extras::default();
    for property in &block.properties {
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
    }
    let annotation = block.annotation.clone();
    name.map(|name| ComponentDecl {
        name,
        annotation,
        installer,
        extends,
        facets,
        children,
        exports: exported,
        imports,
        extras,
    })
}

/// `facet NAME { … }`
pub(super) fn facet(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> Option<FacetDecl> {
    let name = checker.defined_name(block, Code::EmptyFacetName);
    let (mut extends, mut children, mut exported) = (Vec::new(), Vec::new(), Vec::new());
    for property in &block.properties {
        match property.name.as_str() {
            name if !FACET_PROPERTIES.contains(&name) => checker.not_applicable(block, property, &FACET_PROPERTIES),
            _ if !checker.has_value(property) => {}
            "extends" => extends.extend(lists::references(checker, property)),
            "children" => children.extend(lists::children(checker, property)),
            _ => exported.extend(exports::exports(checker, property)),
        }
    }
    name.map(|name| FacetDecl { name, extends, children, exports: exported })
}

fn installer(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Option<Spanned<String>> {
    let value = property.value.as_str();
    let span = property.value.whole();
    if !is_flex_id(value) {
        let message = format!("`{}` is not an installer", short(value));
        let found = Diagnostic::new(Code::InvalidInstallerName, checker.place(span), message)
            .label("a name, without quotes")
            .help("write one of `target`, `script`, `process`, `logger`");
        checker.push(found);
        return None;
    }
    Some(checker.spanned(value.to_owned(), span))
}
