//! Instances.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use robo_model::name::{InstanceName, NameError, NameTemplate, NameTemplateError, is_flex_id};
use robo_model::template::{self, references};

use super::extension::unquoted;
use super::lists::items;
use super::raw::{RawBlock, RawProperty};
use super::{Checker, InstanceDecl, Named, Override, Reference};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Spanned;
use crate::suggest::closest;
use crate::syntax::short;

/// `instance of NAME { … }`
pub(super) fn instance(checker: &mut Checker<'_>, block: &RawBlock<'_>, parent: Option<usize>) -> InstanceDecl {
    let (component, named) = checker.defined_name(block, Code::EmptyComponentName);
    let place = component.place;
    let component = (named != Named::Not).then_some(Reference { name: component, reported: named != Named::Well });
    block.garbage.iter().for_each(|lines| checker.gaps.add(lines));
    let mut out = InstanceDecl {
        name: Spanned { value: fallback_name(component.as_ref()), place },
        component,
        place,
        template: None,
        named: false,
        unread: !block.garbage.is_empty(),
        parent,
        count: None,
        channels: Vec::new(),
        data: BTreeMap::new(),
        overrides: Vec::new(),
    };
    let (mut has_name, mut runtime_data) = (false, None);
    for property in &block.properties {
        let errors = checker.sink.errors();
        match property.name.as_str() {
            "name" => {
                if let Some(name) = instance_name(checker, property).filter(|_| !has_name) {
                    (out.name, out.template, out.named) = (name.plain, name.template, true);
                }
                has_name = true;
            }
            "instance-data" if checker.has_value(property) => {
                no_secret(checker, property);
                runtime_data = runtime_data.or(Some(property.value.as_str()));
            }
            key => other(checker, &mut out, key, property),
        }
        out.unread |= checker.sink.errors() > errors;
    }
    for entry in runtime_data.iter().flat_map(|text| text.split(',')) {
        let (key, value) = entry.split_once('=').filter(|(key, _)| !key.is_empty()).unwrap_or((entry, ""));
        out.data.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
    }
    let headless = block.reported && block.name.as_str().is_empty();
    if !has_name && !headless {
        missing_name(checker, block, &mut out);
    }
    out
}

/// What an instance is called in messages when it has no name of its own.
fn fallback_name(component: Option<&Reference>) -> InstanceName {
    let component = component.map(|component| component.name.value.as_str());
    component.and_then(|name| InstanceName::new(name).ok()).unwrap_or_else(|| UNNAMED.clone())
}

#[expect(clippy::expect_used, reason = "the text is a name")]
static UNNAMED: LazyLock<InstanceName> = LazyLock::new(|| InstanceName::new("unnamed").expect("a name"));

/// A property that is neither `name` nor `instance-data`.
fn other(checker: &mut Checker<'_>, out: &mut InstanceDecl, key: &str, property: &RawProperty<'_>) {
    match key {
        "count" => out.count = out.count.take().or(count(checker, property)),
        "channels" if checker.has_value(property) => {
            out.channels.extend(items(&property.value).map(|(item, _)| item.to_owned()));
        }
        // The manager knows the state of what runs; a file cannot.
        "channels" | "instance-data" | "instance-state" => {}
        key => match data_key(key) {
            Some(key) => {
                no_secret(checker, property);
                out.data.insert(key.to_owned(), property.value.as_str().to_owned());
            }
            None => out.overrides.extend(variable(checker, property)),
        },
    }
}

/// A block without `name`. Where a line of it was meant to give one, that is one mistake.
fn missing_name(checker: &mut Checker<'_>, block: &RawBlock<'_>, out: &mut InstanceDecl) {
    let gives_name = |line: &str| {
        let rest = line.trim_start().get(4..).filter(|_| line.trim_start().starts_with("name"));
        rest.is_some_and(|rest| {
            let value = rest.trim_start_matches([' ', '\t', '=', ':']);
            value.len() < rest.len() && !value.trim_matches([' ', '\t', ';', '\r']).is_empty()
        })
    };
    if block.garbage.iter().flat_map(|lines| lines.lines()).any(gives_name) {
        return;
    }
    let misspelt = out.overrides.iter().position(|over| closest(&over.key.value, ["name"]).is_some());
    let whose = match &out.component {
        Some(component) => format!("of `{}` ", component.name.value),
        None => String::new(),
    };
    let found = Diagnostic::new(Code::MissingInstanceName, out.place, format!("this instance {whose}has no name"))
        .label("`name` is missing in this block");
    // What was meant to be the name is no override.
    let found = match misspelt.map(|i| out.overrides.remove(i)) {
        Some(over) => found
            .help(format!("write `name: {};`", short(&over.value.value)))
            .related(over.key.place, "did you mean `name`?"),
        None => found.help("write `name: the-name;` in the block"),
    };
    checker.push(found);
}

/// An instance's own name.
struct Name {
    /// With `device` for `{device}`.
    plain: Spanned<InstanceName>,
    /// With `{device}`, and where that stands.
    template: Option<Spanned<NameTemplate>>,
}

fn instance_name(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Option<Name> {
    if !checker.has_value(property) {
        return None;
    }
    // The blank before `;` belongs to the name, as in the original.
    let text = property.value.as_str();
    let span = property.value.whole();
    let error = match NameTemplate::new(text) {
        Ok(template) => {
            let at = text.find(NameTemplate::DEVICE).unwrap_or_default();
            let device = property.value.span(at..at + NameTemplate::DEVICE.len());
            let plain = checker.spanned(template.stand_in(), span);
            return Some(Name { plain, template: Some(checker.spanned(template, device)) });
        }
        Err(NameTemplateError::None) => match InstanceName::new(text) {
            Ok(name) => return Some(Name { plain: checker.spanned(name, span), template: None }),
            Err(error) => error,
        },
        Err(NameTemplateError::Several { at }) => {
            let place = checker.place(property.value.span(at));
            let message = "`{device}` stands in the instance's name twice";
            let found = Diagnostic::new(Code::DeviceNameTemplate, place, message)
                .label("the second one")
                .help("keep one of the two");
            checker.push(found);
            return None;
        }
        Err(NameTemplateError::Name(error)) => error,
    };
    let found = if let NameError::TooLong { .. } = error {
        checker.too_long(text, span)
    } else {
        let message = format!("`{}` is not an instance's name", short(text));
        Diagnostic::new(Code::InvalidInstanceName, checker.place(span), message)
            .label("letters, digits, `_`, `-`, `.` and blanks, starting with a letter or `_`")
            .help(braces_help(text).or_else(|| quotes_help(text)).unwrap_or_else(|| super::name_help(text)))
    };
    checker.push(found);
    None
}

/// Blanks may stand in an instance's name; it needs no quotes for that.
fn quotes_help(text: &str) -> Option<String> {
    let unquoted = unquoted(text.trim());
    (unquoted != text && is_flex_id(unquoted)).then(|| format!("write `{unquoted}`, without quotes"))
}

/// What to write instead of a name with braces in it.
fn braces_help(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    let help = match inside {
        "device" if after.contains(['{', '}']) => "keep only the braces of `{device}`".to_owned(),
        "device" => "a name starts with a letter or `_`, as in `robot-{device}`".to_owned(),
        inside => crate::suggest::did_you_mean(inside, ["device"], || {
            "only `{device}` may stand in braces: it becomes the name of each device that `devices` selects".to_owned()
        }),
    };
    Some(help.replace("mean `device`", "mean `{device}`"))
}

/// The data of an instance goes to the one who makes the machine, and is shown.
fn no_secret(checker: &mut Checker<'_>, property: &RawProperty<'_>) {
    for (reference, range) in references(property.value.as_str()) {
        if let template::Reference::Secret(name) = reference {
            let place = checker.place(property.value.span(range));
            checker.push(crate::check::secret_not_allowed(name, place, "the data of an instance"));
        }
    }
}

fn count(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Option<Spanned<u32>> {
    if !checker.has_value(property) {
        return None;
    }
    let text = property.value.as_str();
    let span = property.value.whole();
    // Java's `parseInt`: a sign may stand before the digits, a blank may not follow them.
    match text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0) {
        Some(1) => {
            let found = Diagnostic::new(Code::UselessInstanceCount, checker.place(span), "`count: 1` has no effect")
                .label("one is what there is anyway")
                .help("leave the line out");
            checker.push(found);
            None
        }
        Some(number) => Some(checker.spanned(number, span)),
        None => {
            let trimmed = text.trim();
            let help = if trimmed != text && trimmed.parse::<u32>().is_ok() {
                format!("write `count: {trimmed};` without a blank before `;`")
            } else {
                "write a whole number from 2".to_owned()
            };
            let message = format!("`{}` is not a count", short(text));
            let found = Diagnostic::new(Code::InvalidInstanceCount, checker.place(span), message)
                .label("not a number from 1")
                .help(help);
            checker.push(found);
            None
        }
    }
}

/// The key after `data.`, in any case.
fn data_key(name: &str) -> Option<&str> {
    name.get(..5).filter(|start| start.eq_ignore_ascii_case("data.")).and_then(|_| name.get(5..))
}

/// Anything else overrides an exported variable. Quotes around the value are removed.
fn variable(checker: &mut Checker<'_>, property: &RawProperty<'_>) -> Option<Override> {
    let value = property.value.as_str();
    let trimmed = value.trim_matches(|c| c <= ' ');
    let inside = unquoted(trimmed);
    let value = if inside.len() == trimmed.len() { value } else { inside };
    let span = property.value.span_of(value);
    if !checker.fits(value, span) {
        return None;
    }
    let key = checker.spanned(property.name.as_str().to_owned(), property.name.whole());
    Some(Override { key, value: checker.spanned(value.to_owned(), span) })
}
