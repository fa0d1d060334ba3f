//! robo's own properties of a component, one module for each subject.

mod container;
mod health;
mod limits;
mod process;
mod rollout;

use super::raw::RawProperty;
use super::{Checker, Extras};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

pub(super) use rollout::rollout;

/// Those with a fixed name.
pub(crate) const PROPERTIES: [&str; 14] = [
    "run",
    "restart",
    "check",
    "drift",
    "user",
    "deploy-timeout",
    "start-timeout",
    "stop-timeout",
    "memory",
    "cpu",
    "lease",
    "rollout",
    "image",
    "network",
];

/// Whether a property was one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Yes,
    Unknown,
}

/// A value without the blanks around it, and the way from its parts to the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'p> {
    property: &'p RawProperty<'p>,
    pub(super) text: &'p str,
}

impl<'p> Given<'p> {
    pub(super) fn new(property: &'p RawProperty<'p>) -> Self {
        Self { property, text: property.value.as_str().trim() }
    }

    fn span(&self) -> Span {
        self.span_of(self.text)
    }

    /// Where a part of the text stands in the file.
    fn span_of(&self, part: &str) -> Span {
        self.property.value.span_of(part)
    }

    /// Where some bytes of the text stand in the file.
    fn span_at(&self, range: std::ops::Range<usize>) -> Span {
        self.text.get(range).map_or_else(|| self.span(), |part| self.span_of(part))
    }
}

/// Takes one of our properties, or says that it is none.
pub(super) fn apply(checker: &mut Checker<'_>, extras: &mut Extras, property: &RawProperty<'_>) -> Applied {
    let name = property.name.as_str();
    let (family, key) = name.split_once('.').map_or((name, None), |(family, key)| (family, Some(key)));
    let keyed = matches!(family, "env" | "volume");
    if !keyed && !PROPERTIES.contains(&name) {
        return Applied::Unknown;
    }
    // An environment variable may be empty.
    if family != "env" && !checker.has_value(property) {
        return Applied::Yes;
    }
    let given = Given::new(property);
    if !checker.fits(given.text, given.span()) {
        return Applied::Yes;
    }
    match family {
        "env" => process::environment(checker, extras, property, key.unwrap_or_default()),
        "volume" => container::volume(checker, extras, property, key.unwrap_or_default()),
        "run" => extras.run = process::command(checker, given, given.text).or(extras.run.take()),
        "restart" => extras.restart = process::restart(checker, given).or(extras.restart.take()),
        "check" => extras.check = health::check(checker, given).or(extras.check.take()),
        "drift" => extras.drift = health::drift(checker, given).or(extras.drift),
        "user" => extras.user = limits::user(checker, given).or(extras.user.take()),
        "deploy-timeout" => extras.deploy_timeout = limits::duration(checker, given, given.text),
        "start-timeout" => extras.start_timeout = limits::duration(checker, given, given.text),
        "stop-timeout" => extras.stop_timeout = limits::duration(checker, given, given.text),
        "lease" => extras.lease = limits::duration(checker, given, given.text),
        "memory" => extras.memory = limits::memory(checker, given),
        "cpu" => extras.cpu = limits::cpu(checker, given),
        "rollout" => extras.rollout = rollout(checker, given),
        "image" => extras.image = container::image(checker, given).or(extras.image.take()),
        _ => extras.network = container::network(checker, given).or(extras.network.take()),
    }
    Applied::Yes
}

/// Without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

impl Checker<'_> {
    /// Reports a wrong value of one of our properties.
    fn wrong(&mut self, code: Code, span: Span, message: String, label: &str, help: impl Into<String>) {
        let found = Diagnostic::new(code, self.place(span), message).label(label).help(help);
        self.push(found);
    }
}
