//! Instances.

use std::collections::BTreeMap;

use robo_model::name::{InstanceName, NameError, NameTemplate, NameTemplateError};
use robo_model::template::{Reference, references};

use super::extension::unquoted;
use super::lists::items;
use super::raw::{RawBlock, RawProperty};
use super::{Checker, InstanceDecl, Override};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Spanned;
use crate::syntax::short;

/// `instance of NAME { … }`. Nothing when its component or its own name cannot be read.
pub(super) fn instance(checker: &mut Checker<'_>, block: &RawBlock<'_>, parent: Option<usize>) -> Option<InstanceDecl> {
    let component = checker.defined_name(block, Code::EmptyComponentName);
    let (mut name, mut named, mut count) = (None, false, None);
    let (mut channels, mut data, mut overrides) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut runtime_data = None;
    for property in &block.properties {
        let value = property.value.as_str();
        match property.name.as_str() {
            "name" => {
                named = true;
                name = name.or(instance_name(checker, property));
            }
            "count" => count = count.or(self::count(checker, property)),
            "channels" if checker.has_value(property) => {
                channels.extend(items(&property.value).map(|(item, _)| item.to_owned()));
            }
            "instance-data" if checker.has_value(property) => {
                no_secret(checker, property);
                runtime_data = runtime_data.or(Some(value));
            }
            // The manager knows the state of what runs; a file cannot.
            "channels" | "instance-data" | "instance-state" => {}
            key => match data_key(key) {
                Some(key) => {
                    no_secret(checker, property);
                    data.insert(key.to_owned(), value.to_owned());
                }
                None => overrides.extend(variable(checker, property)),
            },
        }
    }
    for entry in runtime_data.iter().flat_map(|text| text.split(',')) {
        let (key, value) = entry.split_once('=').filter(|(key, _)| !key.is_empty()).unwrap_or((entry, ""));
        data.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
    }
    if !named && !block.headless {
        let found = Diagnostic::new(
            Code::MissingInstanceName,
            checker.place(block.name.whole()),
            format!("this instance of `{}` has no name", block.name.as_str()),
        )
        .label("`name` is missing in this block")
        .help("write `name: the-name;` in the block");
        checker.push(found);
    }
    let (Some(component), Some(name)) = (component, name) else {
        checker.sink.incomplete = true;
        return None;
    };
    let Name { plain: name, template } = name;
    Some(InstanceDecl { component, name, template, parent, count, channels, data, overrides })
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
            .help(braces_help(text).unwrap_or_else(|| super::name_help(text)))
    };
    checker.push(found);
    None
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
        if let Reference::Secret(name) = reference {
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
