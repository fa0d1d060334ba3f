//! `application NAME { version: 1.4.0; exports-prefix: Wh; exports: Db.ip as db-ip; tags: a, b; rollout: 10%; }`

use super::extension::{Given, rollout, unquoted};
use super::lists::items;
use super::raw::RawBlock;
use super::{AliasDecl, ApplicationDecl, Checker};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Place;
use crate::syntax::{Text, short};

const PROPERTIES: [&str; 6] = ["version", "description", "exports-prefix", "exports", "tags", "rollout"];

/// The block that replaces a descriptor.
pub(super) fn application(checker: &mut Checker<'_>, block: &RawBlock<'_>) -> ApplicationDecl {
    let name = checker.spanned(block.name.as_str().to_owned(), block.name.whole());
    let mut out = ApplicationDecl {
        name,
        version: None,
        description: None,
        tags: Vec::new(),
        exports_prefix: None,
        exports: Vec::new(),
        rollout: None,
        unread: !block.garbage.is_empty(),
    };
    block.garbage.iter().for_each(|lines| checker.gaps.add(lines));
    for property in &block.properties {
        let errors = checker.sink.errors();
        let text = property.value.as_str().trim();
        let spanned = checker.spanned(text.to_owned(), property.value.span_of(text));
        match property.name.as_str() {
            name if !PROPERTIES.contains(&name) => checker.not_applicable(block, property, &PROPERTIES),
            _ if !checker.has_value(property) => {}
            "version" => out.version = Some(spanned),
            "description" => out.description = Some(unquoted(text).to_owned()),
            "exports-prefix" => out.exports_prefix = Some(spanned),
            "rollout" => out.rollout = rollout(checker, Given::new(property)),
            "tags" => {
                out.tags.extend(items(&property.value).map(|(tag, _)| tag.to_owned()).filter(|tag| !tag.is_empty()));
            }
            _ => out.exports.extend(aliases(checker, &property.value)),
        }
        out.unread |= checker.sink.errors() > errors;
    }
    out
}

/// `X.y as z, …`
fn aliases(checker: &mut Checker<'_>, text: &Text<'_>) -> Vec<AliasDecl> {
    let mut out = Vec::new();
    for (item, span) in items(text) {
        let words: Vec<&str> = item.split_whitespace().collect();
        match words.as_slice() {
            [variable, word, alias] if word.eq_ignore_ascii_case("as") && !item.contains('=') => {
                let variable = checker.spanned((*variable).to_owned(), text.span_of(variable));
                out.push(AliasDecl { variable, alias: checker.spanned((*alias).to_owned(), text.span_of(alias)) });
            }
            _ => {
                let place = Place { file: checker.file, span };
                let message = format!("`{}` does not say what is exported under which name", short(item));
                let found = Diagnostic::new(Code::InvalidExternalExports, place, message)
                    .label("expected `Component.variable as name`")
                    .help("write it as in `Db.ip as db-ip`");
                checker.push(found);
            }
        }
    }
    out
}
