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
    AliasDecl, ApplicationDecl, CheckDecl, ComponentDecl, Declarations, ExportDecl, Extras, FacetDecl, Gaps,
    ImportDecl, InstanceDecl, Named, Override, Part, Reference, Unread,
};

pub(crate) use exports::random;
pub(crate) use lists::import_words;

#[cfg(test)]
pub(crate) use extension::PROPERTIES;

use std::sync::LazyLock;

use raw::{Piece, RawBlock, RawProperty};
use robo_model::limits::{MAX_INSTANCES, MAX_NAME_BYTES, MAX_VALUE_BYTES};
use robo_model::name::{ComponentName, is_id};

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::{BOM_HELP, BlockKind, Text, Tree, misspelt_keyword, short};

/// Most components and facets of one file, and most instances: a text of this kind is none that a person wrote.
const MAX_BLOCKS: usize = MAX_INSTANCES;

/// Most properties of one block. Generated instances have some dozens of overrides.
const MAX_PROPERTIES: usize = 10_000;

/// Checks every block of a parsed file.
pub(crate) fn check(source: &str, file: FileId, tree: &Tree, sink: &mut Sink) -> Declarations {
    let mut out = Declarations::default();
    let mut checker = Checker { source, file, sink, gaps: Gaps::default(), doubled: Vec::new() };
    let mut full = false;
    for piece in raw::pieces(source, tree) {
        match piece {
            Piece::Import(location) => out.imports.extend(checker.import(&Text::new(source, location), location)),
            Piece::Garbage(lines) => checker.gaps.add(lines),
            Piece::Blocks(mut blocks) if !full => {
                blocks.first_mut().into_iter().for_each(|block| checker.misspelt_kind(block));
                checker.blocks(&blocks, &mut out);
                full = checker.too_many(&out);
            }
            Piece::Blocks(_) => {}
        }
    }
    out.gaps = checker.gaps;
    out
}

/// What the checks of one file's blocks share.
pub(crate) struct Checker<'d> {
    source: &'d str,
    pub(crate) file: FileId,
    pub(crate) sink: &'d mut Sink,
    gaps: Gaps,
    /// The names of properties that the block at hand has twice.
    doubled: Vec<String>,
}

/// Where the declaration of a block is.
#[derive(Clone, Copy)]
enum Declared {
    Component(usize),
    Facet(usize),
    Instance(usize),
    Application,
    /// It has none, and what stands in it has none.
    Not,
}

impl<'d> Checker<'d> {
    /// A block with all that stands in it.
    fn blocks(&mut self, blocks: &[RawBlock<'_>], out: &mut Declarations) {
        let mut declared: Vec<Declared> = Vec::with_capacity(blocks.len());
        for block in blocks {
            if out.instances.len() > MAX_BLOCKS {
                return;
            }
            let parent = block.parent.and_then(|parent| declared.get(parent).copied());
            let this = if self.few_properties(block) { self.block(block, parent, out) } else { Declared::Not };
            declared.push(this);
        }
    }

    /// `fcaet web {` was read as a component, and is reported: it goes on as what it was meant to be.
    fn misspelt_kind(&mut self, block: &mut RawBlock<'d>) {
        if block.kind != BlockKind::Component || block.reported {
            return;
        }
        let Some((kind, name)) = misspelt_keyword(block.name.as_str()).filter(|(_, name)| is_id(name)) else { return };
        let found =
            self.bad_definition(block.name.as_str(), block.name.whole(), block.kind.noun(), Code::EmptyComponentName);
        let name = Text::new(self.source, block.name.span_of(name));
        (block.kind, block.name, block.reported) = (kind, name, true);
        self.push(found);
    }

    fn block(&mut self, block: &RawBlock<'_>, parent: Option<Declared>, out: &mut Declarations) -> Declared {
        self.duplicates(block);
        let place = self.place(block.name.whole());
        match block.kind {
            BlockKind::Component => {
                out.graph_at.get_or_insert(place);
                let decl = component::component(self, block);
                // It stands in another one, which was reported; most probably it was meant to be a child of that.
                let child = || Reference { name: decl.name.clone(), reported: true };
                match parent {
                    Some(Declared::Component(i)) => {
                        out.components.get_mut(i).into_iter().for_each(|above| above.children.push(child()));
                    }
                    Some(Declared::Facet(i)) => {
                        out.facets.get_mut(i).into_iter().for_each(|above| above.children.push(child()));
                    }
                    Some(Declared::Instance(_) | Declared::Application | Declared::Not) | None => {}
                }
                out.components.push(decl);
                Declared::Component(out.components.len() - 1)
            }
            BlockKind::Facet => {
                out.graph_at.get_or_insert(place);
                out.facets.push(component::facet(self, block));
                Declared::Facet(out.facets.len() - 1)
            }
            BlockKind::Application => {
                out.applications.push(application::application(self, block));
                Declared::Application
            }
            BlockKind::Instance => {
                out.instances_at.get_or_insert(place);
                let above = match parent {
                    Some(Declared::Instance(i)) => Some(i),
                    Some(Declared::Component(_) | Declared::Facet(_) | Declared::Application | Declared::Not)
                    | None => None,
                };
                let decl = instance::instance(self, block, above);
                if matches!(parent, Some(Declared::Component(_) | Declared::Facet(_) | Declared::Application)) {
                    self.instance_ignored(block);
                }
                if parent.is_some() && above.is_none() {
                    return Declared::Not;
                }
                out.instances.push(decl);
                Declared::Instance(out.instances.len() - 1)
            }
            BlockKind::Ignored => {
                self.gaps.add(block.name.as_str());
                Declared::Not
            }
        }
    }

    /// True, and reported, when no more blocks of this file are looked at.
    fn too_many(&mut self, out: &Declarations) -> bool {
        let graph = out.components.len() + out.facets.len();
        let last = out.components.last().map(|decl| decl.name.place);
        let (code, what, place) = if out.instances.len() > MAX_BLOCKS {
            (Code::TooManyInstances, "instances", out.instances.last().map(|decl| decl.place))
        } else if graph > MAX_BLOCKS {
            (Code::GraphTooLarge, "components and facets", last.or(out.facets.last().map(|decl| decl.name.place)))
        } else {
            return false;
        };
        self.gaps.files = true;
        let place = place.unwrap_or(Place { file: self.file, span: Span::default() });
        let found = Diagnostic::new(code, place, format!("the file has more than {MAX_BLOCKS} {what}"))
            .label("here it becomes too many; what follows is not looked at")
            .help("split the application");
        self.push(found);
        true
    }

    /// False, and reported, when a block has more properties than can be meant.
    fn few_properties(&mut self, block: &RawBlock<'_>) -> bool {
        if block.properties.len() <= MAX_PROPERTIES {
            return true;
        }
        self.gaps.files = true;
        let message = format!("a block has at most {MAX_PROPERTIES} properties");
        let found = Diagnostic::new(Code::GraphTooLarge, self.place(block.name.whole()), message)
            .label("this one has more")
            .help("is a `}` missing? Put large values into a file of the recipe");
        self.push(found);
        false
    }

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
            self.gaps.files = true;
            return None;
        }
        if text.as_str().ends_with('{') {
            // The head of a block whose name is `import`; that it is none was reported.
            self.gaps.files = true;
            return None;
        }
        Some(self.spanned(text.as_str().to_owned(), location))
    }

    fn instance_ignored(&mut self, block: &RawBlock<'_>) {
        let message =
            format!("the instance of `{}` stands in a block that is no instance, and is ignored", block.name.as_str());
        let found = Diagnostic::new(Code::InstanceIgnored, self.place(block.name.whole()), message)
            .label("has no effect here")
            .help("move it out of the block; instances may stand in the same file");
        self.push(found);
    }

    /// A property may stand once, but for `exports` and `imports`, which add up.
    fn duplicates(&mut self, block: &RawBlock<'_>) {
        self.doubled.clear();
        if block.properties.len() < 2 {
            return;
        }
        let mut order: Vec<(&str, usize)> =
            block.properties.iter().enumerate().map(|(i, property)| (property.name.as_str(), i)).collect();
        order.sort_unstable();
        let mut first = 0;
        for (at, (name, i)) in order.iter().enumerate() {
            let same = order.get(first).filter(|(other, _)| other == name && first < at);
            let Some((_, earlier)) = same else {
                first = at;
                continue;
            };
            if name.eq_ignore_ascii_case("exports") || name.eq_ignore_ascii_case("imports") {
                continue;
            }
            self.doubled.push((*name).to_owned());
            let place = |i: &usize| block.properties.get(*i).map(|property| self.place(property.name.whole()));
            let (Some(here), Some(there)) = (place(i), place(earlier)) else { continue };
            let message = format!("`{name}` is given twice in one {}", block.kind.noun());
            let found = Diagnostic::new(Code::DuplicateProperty, here, message)
                .label("given again")
                .help("keep one of the two")
                .related(there, "first given here");
            self.push(found);
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

    /// The name that a block defines, or what was most probably meant by it.
    fn defined_name(&mut self, block: &RawBlock<'_>, empty: Code) -> (Spanned<ComponentName>, Named) {
        let text = block.name.as_str();
        let span = block.name.whole();
        let name = ComponentName::new(text);
        let sound = name.ok().filter(|name| !name.as_str().contains('.'));
        if let Some(name) = sound {
            let named = if block.reported { Named::Guessed } else { Named::Well };
            return (self.spanned(name, span), named);
        }
        // Whoever uses it may write it otherwise.
        self.gaps.add(text);
        if !block.reported {
            let found = self.bad_definition(text, span, block.kind.noun(), empty);
            self.push(found);
        }
        match guess(text) {
            Some(name) => (self.spanned(name, span), Named::Guessed),
            None => (self.spanned(UNNAMED.clone(), span), Named::Not),
        }
    }

    fn bad_definition(&self, name: &str, span: Span, noun: &str, empty: Code) -> Diagnostic {
        if name.is_empty() {
            Diagnostic::new(empty, self.place(span), format!("this {noun} has no name"))
                .label("a name is missing here")
                .help("write the name right before `{`")
        } else if !is_id(name) {
            let keyword = misspelt_keyword(name).filter(|_| !name.contains('\u{FEFF}'));
            let help = match keyword {
                Some((BlockKind::Instance, rest)) if is_id(rest) => format!("did you mean `instance of {rest} {{`?"),
                Some((_, rest)) if is_id(rest) => format!("did you mean `facet {rest} {{`?"),
                Some(_) | None => name_help(name),
            };
            Diagnostic::new(Code::InvalidName, self.place(span), format!("`{}` is not a name", short(name)))
                .label("a name has letters, digits, `_` and `-`, and starts with a letter or `_`")
                .help(help)
        } else if name.len() > MAX_NAME_BYTES {
            self.too_long(name, span)
        } else {
            Diagnostic::new(
                Code::DotNotAllowed,
                self.place(span),
                format!("the name `{}` has a dot in it", short(name)),
            )
            .label("no dot here: it separates a component from its variable")
            .help(format!("write `{}`", name.replace('.', "-").trim_end_matches('-')))
        }
    }

    /// A name that is used, from a list or alone; reported where it is none.
    fn used_name(&mut self, item: &str, span: Span, code: Code) -> Option<Reference> {
        let found = match ComponentName::new(item) {
            Ok(name) => return Some(Reference { name: self.spanned(name, span), reported: false }),
            Err(robo_model::name::NameError::TooLong { .. }) => self.too_long(item, span),
            Err(_) => Diagnostic::new(code, self.place(span), format!("`{}` is not a name", short(item)))
                .label("a name has letters, digits, `_`, `-` and `.`, and starts with a letter or `_`")
                .help(name_help(item)),
        };
        self.push(found);
        guess(item).map(|name| Reference { name: self.spanned(name, span), reported: true })
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
    let quoted = if name.contains('"') { ", without quotes" } else { "" };
    match guess(name) {
        Some(good) => format!("write `{}`{quoted}", short(good.as_str())),
        None => "choose a name as in `Tomcat-8`".to_owned(),
    }
}

/// The name that was most probably meant; the same for a definition and for its uses.
fn guess(name: &str) -> Option<ComponentName> {
    let unquoted = name.trim_matches(|c| matches!(c, '"' | '\u{FEFF}') || c <= ' ');
    let mut good: String = unquoted
        .chars()
        .take(MAX_NAME_BYTES)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
        .collect();
    good.truncate(MAX_NAME_BYTES);
    let good = good.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '_').trim_end_matches(['-', '.']);
    ComponentName::new(good).ok()
}

/// What a block without a name is called; nothing can refer to it.
#[expect(clippy::expect_used, reason = "the text is a name")]
static UNNAMED: LazyLock<ComponentName> = LazyLock::new(|| ComponentName::new("unnamed").expect("a name"));
