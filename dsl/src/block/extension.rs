//! robo's own properties of a component: process, check, deadlines.

use robo_model::graph::{Check, Probe, RestartPolicy};
use robo_model::quantity::Millis;

use super::raw::RawProperty;
use super::{Checker, Extras};
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// Those with a fixed name.
pub(super) const PROPERTIES: [&str; 7] =
    ["run", "restart", "check", "user", "deploy-timeout", "start-timeout", "stop-timeout"];

/// Part of the language, not of this version.
const NOT_YET: [&str; 6] = ["lease", "memory", "cpu", "rollout", "image", "network"];

/// True for a property that the language has and this version does not.
pub(super) fn is_planned(name: &str) -> bool {
    NOT_YET.contains(&name) || name.starts_with("volume.")
}

/// Whether a property was one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Yes,
    Unknown,
}

/// Takes one of our properties, or says that it is none.
pub(super) fn apply(checker: &mut Checker<'_>, extras: &mut Extras, property: &RawProperty<'_>) -> Applied {
    let name = property.name.as_str();
    let key = name.strip_prefix("env.");
    if is_planned(name) {
        not_available(checker, property);
        return Applied::Yes;
    }
    if key.is_none() && !PROPERTIES.contains(&name) {
        return Applied::Unknown;
    }
    if key.is_none() && !checker.has_value(property) {
        return Applied::Yes;
    }
    let text = property.value.as_str().trim();
    let span = property.value.span_of(text);
    if !checker.fits(text, span) {
        return Applied::Yes;
    }
    match (name, key) {
        (_, Some(key)) => environment(checker, extras, property, key),
        ("run", _) => extras.run = command(checker, text, span).or(extras.run.take()),
        ("restart", _) => extras.restart = restart(checker, text, span).or(extras.restart.take()),
        ("check", _) => extras.check = check(checker, property, text, span).or(extras.check.take()),
        ("user", _) => extras.user = user(checker, text, span).or(extras.user.take()),
        ("deploy-timeout", _) => extras.deploy_timeout = duration(checker, text, span),
        ("start-timeout", _) => extras.start_timeout = duration(checker, text, span),
        _ => extras.stop_timeout = duration(checker, text, span),
    }
    Applied::Yes
}

/// Reports something that the language has and this version does not.
pub(super) fn not_available(checker: &mut Checker<'_>, property: &RawProperty<'_>) {
    let name = property.name.as_str();
    let found = Diagnostic::new(
        Code::NotAvailable,
        checker.place(property.name.whole()),
        format!("`{name}` is not available in this version of robo"),
    )
    .label("not available yet")
    .help("leave the line out");
    checker.push(found);
}

fn environment(checker: &mut Checker<'_>, extras: &mut Extras, property: &RawProperty<'_>, key: &str) {
    let good = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !good {
        let message = format!("`{}` is not the name of an environment variable", short(key));
        let found = Diagnostic::new(Code::InvalidEnvironment, checker.place(property.name.whole()), message)
            .label("letters, digits and `_`, not starting with a digit")
            .help("write `env.NAME: value;`");
        checker.push(found);
        return;
    }
    let text = unquoted(property.value.as_str().trim());
    let span = property.value.span_of(text);
    extras.env.insert(key.to_owned(), checker.spanned(text.to_owned(), span));
}

/// Without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn command(checker: &mut Checker<'_>, text: &str, span: Span) -> Option<Spanned<String>> {
    if shlex::split(text).is_some_and(|words| !words.is_empty()) {
        return Some(checker.spanned(text.to_owned(), span));
    }
    let found =
        Diagnostic::new(Code::InvalidCommand, checker.place(span), "the command line cannot be split into words")
            .label("a quote or a backslash is open at the end")
            .help("close every `\"` and `'`; words are split as a shell does, but no shell runs");
    checker.push(found);
    None
}

fn restart(checker: &mut Checker<'_>, text: &str, span: Span) -> Option<Spanned<RestartPolicy>> {
    let policy = match text {
        "always" => RestartPolicy::Always,
        "on-failure" => RestartPolicy::OnFailure,
        "never" => RestartPolicy::Never,
        other => {
            let all = || "write `always`, `on-failure` or `never`".to_owned();
            let message = format!("`{}` is not a restart policy", short(other));
            let found = Diagnostic::new(Code::InvalidRestart, checker.place(span), message)
                .label("unknown policy")
                .help(did_you_mean(other, ["always", "on-failure", "never"], all));
            checker.push(found);
            return None;
        }
    };
    Some(checker.spanned(policy, span))
}

fn user(checker: &mut Checker<'_>, text: &str, span: Span) -> Option<Spanned<String>> {
    let good = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good && text.len() <= MAX_USER_BYTES {
        return Some(checker.spanned(text.to_owned(), span));
    }
    let found =
        Diagnostic::new(Code::InvalidUser, checker.place(span), format!("`{}` is not a user's name", short(text)))
            .label("letters, digits, `_`, `-` and `.`, starting with a letter or `_`")
            .help("write the name of a user of the machine, as in `user: svc;`");
    checker.push(found);
    None
}

/// Longest name of a user on Linux.
const MAX_USER_BYTES: usize = 32;

fn duration(checker: &mut Checker<'_>, text: &str, span: Span) -> Option<Millis> {
    match text.parse() {
        Ok(duration) => Some(duration),
        Err(error) => {
            let found = Diagnostic::new(Code::InvalidDuration, checker.place(span), error.to_string())
                .label("not a length of time")
                .help("write a number and its unit: `500ms`, `30s`, `5m`, `24h`");
            checker.push(found);
            None
        }
    }
}

/// `http PORT PATH`, `tcp PORT` or `run COMMAND`, then `every D` and `timeout D`.
fn check(checker: &mut Checker<'_>, property: &RawProperty<'_>, text: &str, span: Span) -> Option<Spanned<Check>> {
    let (mut every, mut timeout) = (Check::EVERY, Check::TIMEOUT);
    let mut rest = text;
    while let Some((before, word, value)) = last_two_words(rest) {
        let slot = match word {
            "every" => &mut every,
            "timeout" => &mut timeout,
            _ => break,
        };
        *slot = duration(checker, value, property.value.span_of(value))?;
        rest = before;
    }
    let mut words = rest.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let arguments: Vec<&str> = words.collect();
    let probe = match (kind, arguments.as_slice()) {
        ("http", [port, path]) if is_port(port) && path.starts_with('/') => {
            Probe::Http { port: (*port).to_owned(), path: (*path).to_owned() }
        }
        ("tcp", [port]) if is_port(port) => Probe::Tcp { port: (*port).to_owned() },
        ("run", [_, ..]) => {
            let line = rest.strip_prefix("run").unwrap_or_default().trim_start();
            Probe::Run { command: command(checker, line, property.value.span_of(line))?.value }
        }
        _ => {
            bad_check(checker, span, kind, text);
            return None;
        }
    };
    Some(checker.spanned(Check { probe, every, timeout }, span))
}

fn bad_check(checker: &mut Checker<'_>, span: Span, kind: &str, text: &str) {
    let help = match kind {
        "http" => "write `check: http PORT /path;` with a port from 1 to 65535, or `$(name)`",
        "tcp" => "write `check: tcp PORT;` with a port from 1 to 65535, or `$(name)`",
        "run" => "write `check: run COMMAND;`",
        _ => "write `check: http PORT /path;`, `check: tcp PORT;` or `check: run COMMAND;`, then `every 5s timeout 5s`",
    };
    let found = Diagnostic::new(Code::InvalidCheck, checker.place(span), format!("`{}` is not a check", short(text)))
        .label("not `http`, `tcp` or `run` with what belongs to it")
        .help(help);
    checker.push(found);
}

fn is_port(text: &str) -> bool {
    text.contains("$(") || text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn last_two_words(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, value) = text.rsplit_once(char::is_whitespace)?;
    let (before, word) = rest.trim_end().rsplit_once(char::is_whitespace)?;
    Some((before.trim_end(), word, value))
}
