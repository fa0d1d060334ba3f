//! Each block by itself: names, lists, values. What leaves here is typed, and was checked as far as
//! one block can be.
//!
//! A part that is wrong is reported and left out; the rest of its block goes on, so that one bad item
//! of a list does not hide the others.

mod application;
mod component;
mod decl;
mod exports;
mod extension;
mod instance;
mod lists;
mod raw;

pub(crate) use decl::{
    AliasDecl, ApplicationDecl, CheckDecl, ComponentDecl, Declarations, ExportDecl, Extras, FacetDecl, ImportDecl,
    InstanceDecl, Override,
};

pub(crate) use exports::random;
pub(crate) use lists::import_words;

use raw::{RawBlock, RawProperty};
use robo_model::limits::{MAX_NAME_BYTES, MAX_VALUE_BYTES};
use robo_model::name::{ComponentName, is_id};

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::{BOM_HELP, BlockKind, ItemKind, Text, Tree, short};

/// Checks every block of a parsed file.
pub(crate) fn check(source: &str, file: FileId, tree: &Tree, sink: &mut Sink) -> Declarations {
    let mut out = Declarations::default();
    let mut checker = Checker { file, sink };
    for item in &tree.items {
        if let ItemKind::Import { location } = &item.kind {
            out.imports.extend(checker.import(&Text::new(source, *location), *location));
        }
    }
    let blocks = raw::blocks(source, tree);
    // Where each block's declaration is, if it is an instance that could be read.
    let mut instances: Vec<Option<usize>> = Vec::with_capacity(blocks.len());
    for block in &blocks {
        let mut declared = None;
        checker.duplicates(block);
        match block.kind {
            BlockKind::Component => {
                out.graph_at.get_or_insert(checker.place(block.name.whole()));
                out.components.extend(component::component(&mut checker, block));
            }
            BlockKind::Facet => {
                out.graph_at.get_or_insert(checker.place(block.name.whole()));
                out.facets.extend(component::facet(&mut checker, block));
            }
            BlockKind::Application => out.applications.push(application::application(&mut checker, block)),
            BlockKind::Instance => {
                out.instances_at.get_or_insert(checker.place(block.name.whole()));
                let parent = block.parent.and_then(|p| blocks.get(p));
                let above = block.parent.and_then(|p| instances.get(p).copied().flatten());
                let decl = instance::instance(&mut checker, block, above);
                if parent.is_some_and(|parent| matches!(parent.kind, BlockKind::Component | BlockKind::Facet)) {
                    checker.instance_ignored(block);
                } else if parent.is_none() || above.is_some() {
                    declared = decl.map(|decl| {
                        out.instances.push(decl);
                        out.instances.len() - 1
                    });
                }
            }
            BlockKind::Ignored => {}
        }
        instances.push(declared);
    }
    out
}

/// What the checks of one file's blocks share.
pub(crate) struct Checker<'d> {
    pub(crate) file: FileId,
    pub(crate) sink: &'d mut Sink,
}

impl Checker<'_> {
    fn place(&self, span: Span) -> Place {
        Place { file: self.file, span }
    }

    fn spanned<T>(&self, value: T, span: Span) -> Spanned<T> {
        Spanned { value, place: self.place(span) }
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    fn import(&mut self, text: &Text<'_>, location: Span) -> Option<Spanned<String>> {
        if text.as_str().is_empty() {
            let found = Diagnostic::new(Code::EmptyImportLocation, self.place(location), "the import names no file")
                .label("a file's path is missing here")
                .help("write `import path/of/file.graph;`");
            self.push(found);
            return None;
        }
        Some(self.spanned(text.as_str().to_owned(), location))
    }

    fn instance_ignored(&mut self, block: &RawBlock<'_>) {
        let message =
            format!("the instance of `{}` stands inside a component or facet and is ignored", block.name.as_str());
        let found = Diagnostic::new(Code::InstanceIgnored, self.place(block.name.whole()), message)
            .label("has no effect here")
            .help("move it out of the block; instances may stand in the same file");
        self.push(found);
    }

    /// A property may stand once, but for `exports` and `imports`, which add up.
    fn duplicates(&mut self, block: &RawBlock<'_>) {
        let mut seen = std::collections::HashMap::new();
        for property in &block.properties {
            let name = property.name.as_str();
            if name.eq_ignore_ascii_case("exports") || name.eq_ignore_ascii_case("imports") {
                continue;
            }
            match seen.entry(name) {
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(property.name.whole());
                }
                std::collections::hash_map::Entry::Occupied(first) => {
                    let place = self.place(*first.get());
                    let message = format!("`{name}` is given twice in one {}", block.kind.noun());
                    let found = Diagnostic::new(Code::DuplicateProperty, self.place(property.name.whole()), message)
                        .label("given again")
                        .help("keep one of the two")
                        .related(place, "first given here");
                    self.push(found);
                }
            }
        }
    }

    /// False, and reported, when a property has a blank value.
    fn has_value(&mut self, property: &RawProperty<'_>) -> bool {
        if !property.value.as_str().trim_matches(|c| c <= ' ').is_empty() {
            return true;
        }
        let name = property.name.as_str();
        let found = Diagnostic::new(
            Code::EmptyPropertyValue,
            self.place(property.name.whole()),
            format!("`{name}` has no value"),
        )
        .label("nothing follows")
        .help(format!("write `{name}: value;`, or leave the line out"));
        self.push(found);
        false
    }

    /// A property that does not belong into this kind of block.
    fn not_applicable(&mut self, block: &RawBlock<'_>, property: &RawProperty<'_>, known: &[&str]) {
        let name = property.name.as_str();
        let known_words = || {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("it may have {}", names.join(", "))
        };
        let noun = block.kind.noun();
        let found = Diagnostic::new(
            Code::PropertyNotApplicable,
            self.place(property.name.whole()),
            format!("a {noun} has no property `{}`", short(name)),
        )
        .label(format!("unknown in a {noun}"))
        .help(did_you_mean(name, known.iter().copied(), known_words));
        self.push(found);
    }

    /// The name that a block defines.
    fn defined_name(&mut self, block: &RawBlock<'_>, empty: Code) -> Option<Spanned<ComponentName>> {
        let name = block.name.as_str();
        let span = block.name.whole();
        let noun = block.kind.noun();
        if block.headless {
            return None;
        }
        let found = if name.is_empty() {
            Diagnostic::new(empty, self.place(span), format!("this {noun} has no name"))
                .label("a name is missing here")
                .help("write the name right before `{`")
        } else if !is_id(name) {
            let help = match name.strip_prefix("instanceof ") {
                Some(rest) => format!("did you mean `instance of {}`?", rest.trim()),
                None => name_help(name),
            };
            Diagnostic::new(Code::InvalidName, self.place(span), format!("`{}` is not a name", short(name)))
                .label("a name has letters, digits, `_` and `-`, and starts with a letter or `_`")
                .help(help)
        } else if name.contains('.') {
            Diagnostic::new(
                Code::DotNotAllowed,
                self.place(span),
                format!("the name `{}` has a dot in it", short(name)),
            )
            .label("no dot here: it separates a component from its variable")
            .help(format!("write `{}`", name.replace('.', "-").trim_end_matches('-')))
        } else {
            match ComponentName::new(name) {
                Ok(name) => return Some(self.spanned(name, span)),
                Err(_) => self.too_long(name, span),
            }
        };
        self.sink.incomplete = true;
        self.push(found);
        None
    }

    /// A name that is used, from a list or alone.
    fn used_name(&mut self, item: &str, span: Span, code: Code) -> Option<Spanned<ComponentName>> {
        match ComponentName::new(item) {
            Ok(name) => Some(self.spanned(name, span)),
            Err(robo_model::name::NameError::TooLong { .. }) => {
                let found = self.too_long(item, span);
                self.push(found);
                None
            }
            Err(_) => {
                let found = Diagnostic::new(code, self.place(span), format!("`{}` is not a name", short(item)))
                    .label("a name has letters, digits, `_`, `-` and `.`, and starts with a letter or `_`")
                    .help(name_help(item));
                self.push(found);
                None
            }
        }
    }

    fn too_long(&self, name: &str, span: Span) -> Diagnostic {
        let message = format!("the name `{}` has {} bytes, {MAX_NAME_BYTES} are allowed", short(name), name.len());
        Diagnostic::new(Code::NameTooLong, self.place(span), message)
            .label("too long")
            .help("names become folder names and parts of environment variables: choose a shorter one")
    }

    /// False, and reported, when a value is longer than an environment variable may be.
    fn fits(&mut self, value: &str, span: Span) -> bool {
        if value.len() <= MAX_VALUE_BYTES {
            return true;
        }
        let message = format!("the value has {} bytes, {MAX_VALUE_BYTES} are allowed", value.len());
        let found = Diagnostic::new(Code::ValueTooLong, self.place(span), message)
            .label("too long")
            .help("put it into a file of the recipe");
        self.push(found);
        false
    }
}

/// What to write instead of a bad name.
fn name_help(name: &str) -> String {
    if name.contains('\u{FEFF}') {
        return BOM_HELP.to_owned();
    }
    let unquoted = name.trim_matches('"');
    let mut good: String =
        unquoted.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' }).collect();
    good.truncate(MAX_NAME_BYTES);
    let good = good.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '_').trim_end_matches(['-', '.']);
    if is_id(good) { format!("write `{}`", short(good)) } else { "choose a name as in `Tomcat-8`".to_owned() }
}
