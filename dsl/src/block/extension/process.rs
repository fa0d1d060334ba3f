//! `run: COMMAND;`, `restart: POLICY;`, `env.KEY: VALUE;`

use robo_model::graph::RestartPolicy;

use super::super::raw::RawProperty;
use super::super::{Checker, Extras};
use super::{Given, unquoted};
use crate::code::Code;
use crate::source::Spanned;
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// `line` is the part of the value that is the command line.
pub(super) fn command(checker: &mut Checker<'_>, given: Given<'_>, line: &str) -> Option<Spanned<String>> {
    let span = given.span_of(line);
    if shlex::split(line).is_some_and(|words| !words.is_empty()) {
        return Some(checker.spanned(line.to_owned(), span));
    }
    checker.wrong(
        Code::InvalidCommand,
        span,
        "the command line cannot be split into words".to_owned(),
        "a quote or a backslash is open at the end",
        "close every `\"` and `'`; words are split as a shell does, but no shell runs",
    );
    None
}

const POLICIES: [(&str, RestartPolicy); 3] =
    [("always", RestartPolicy::Always), ("on-failure", RestartPolicy::OnFailure), ("never", RestartPolicy::Never)];

pub(super) fn restart(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Spanned<RestartPolicy>> {
    if let Some((_, policy)) = POLICIES.iter().find(|(name, _)| *name == given.text) {
        return Some(checker.spanned(*policy, given.span()));
    }
    let all = || "write `always`, `on-failure` or `never`".to_owned();
    checker.wrong(
        Code::InvalidRestart,
        given.span(),
        format!("`{}` is not a restart policy", short(given.text)),
        "unknown policy",
        did_you_mean(given.text, POLICIES.map(|(name, _)| name), all),
    );
    None
}

pub(super) fn environment(checker: &mut Checker<'_>, extras: &mut Extras, property: &RawProperty<'_>, key: &str) {
    let good = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        let message = match key {
            "" => "`env` does not say which environment variable".to_owned(),
            key => format!("`{}` is not the name of an environment variable", short(key)),
        };
        let span = property.name.span_of(if key.is_empty() { property.name.as_str() } else { key });
        let label = "letters, digits and `_`, not starting with a digit";
        checker.wrong(Code::InvalidEnvironment, span, message, label, "write `env.NAME: value;`");
        return;
    }
    let text = unquoted(property.value.as_str().trim());
    let span = property.value.span_of(text);
    extras.env.insert(key.to_owned(), checker.spanned(text.to_owned(), span));
}
