//! `check: http PORT PATH;`, `check: tcp PORT;`, `check: run COMMAND;`, each with `every TIME` and `timeout TIME` behind
//! it, and `drift: heal;`, which says what becomes of what is not well.

use robo_model::graph::{Check, Drift, Probe};

use super::super::{CheckDecl, Checker};
use super::{Given, limits, process};
use crate::code::Code;
use crate::suggest::did_you_mean;
use crate::syntax::short;

const KINDS: [&str; 3] = ["http", "tcp", "run"];
const OPTIONS: [&str; 2] = ["every", "timeout"];

pub(super) fn check(checker: &mut Checker<'_>, given: Given<'_>) -> Option<CheckDecl> {
    let (mut every, mut timeout) = (None, None);
    let mut rest = given.text;
    while let Some((before, word, value)) = last_two_words(rest) {
        let slot = match word {
            "every" => &mut every,
            "timeout" => &mut timeout,
            _ => break,
        };
        if slot.is_some() {
            wrong(checker, given, word, "this is given twice", "keep one of the two".to_owned());
            return None;
        }
        *slot = Some(limits::duration(checker, given, value)?);
        rest = before;
    }
    let probe = probe(checker, given, rest)?;
    let check = Check { probe, every: every.unwrap_or(Check::EVERY), timeout: timeout.unwrap_or(Check::TIMEOUT) };
    Some(CheckDecl { text: checker.spanned(given.text.to_owned(), given.span()), check })
}

const DRIFTS: [(&str, Drift); 2] = [("report", Drift::Report), ("heal", Drift::Heal)];

pub(super) fn drift(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Drift> {
    if let Some((_, drift)) = DRIFTS.iter().find(|(name, _)| *name == given.text) {
        return Some(*drift);
    }
    let all = || "write `heal` or `report`".to_owned();
    checker.wrong(
        Code::InvalidDrift,
        given.span(),
        format!("`{}` is not what can become of drift", short(given.text)),
        "neither `heal` nor `report`",
        did_you_mean(given.text, DRIFTS.map(|(name, _)| name), all),
    );
    None
}

fn probe(checker: &mut Checker<'_>, given: Given<'_>, text: &str) -> Option<Probe> {
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let probe = match kind {
        "run" => {
            let line = text.strip_prefix(kind).unwrap_or_default().trim_start();
            if line.is_empty() {
                let help = "write `check: run COMMAND;`".to_owned();
                wrong(checker, given, kind, "no command follows", help);
                return None;
            }
            return Some(Probe::Run { command: process::command(checker, given, line)?.value });
        }
        "http" => {
            let port = port(checker, given, kind, words.next())?;
            let path = words.next();
            let Some(path) = path.filter(|path| path.starts_with('/')) else {
                let help = "write `check: http PORT /path;`".to_owned();
                wrong(checker, given, path.unwrap_or(kind), "a path that starts with `/` is needed", help);
                return None;
            };
            Probe::Http { port, path: path.to_owned() }
        }
        "tcp" => Probe::Tcp { port: port(checker, given, kind, words.next())? },
        other => {
            let all = "write `check: http PORT /path;`, `check: tcp PORT;` or `check: run COMMAND;`";
            let help = did_you_mean(other, KINDS, || all.to_owned());
            wrong(checker, given, other, "neither `http` nor `tcp` nor `run`", help);
            return None;
        }
    };
    match words.next() {
        None => Some(probe),
        Some(word) if OPTIONS.contains(&word) => {
            wrong(checker, given, word, "no single time follows", format!("write it as in `{word} 5s`"));
            None
        }
        Some(word) => {
            let all = || "only `every 5s` and `timeout 5s` may follow".to_owned();
            wrong(checker, given, word, "not expected here", did_you_mean(word, OPTIONS, all));
            None
        }
    }
}

/// A number from 1 to 65535, or a `$(name)` that becomes one.
fn port(checker: &mut Checker<'_>, given: Given<'_>, kind: &str, word: Option<&str>) -> Option<String> {
    let good = |text: &&str| text.contains("$(") || text.parse::<u16>().is_ok_and(|port| port > 0);
    let port = word.filter(good);
    if port.is_none() {
        let help = match kind {
            "http" => "write `check: http PORT /path;` with a port from 1 to 65535, or `$(name)`",
            _ => "write `check: tcp PORT;` with a port from 1 to 65535, or `$(name)`",
        };
        wrong(checker, given, word.unwrap_or(kind), "a port is needed", help.to_owned());
    }
    port.map(str::to_owned)
}

fn wrong(checker: &mut Checker<'_>, given: Given<'_>, part: &str, label: &str, help: String) {
    // The kind of an empty check, or a fixed word, is no part of the text.
    let message = format!("`{}` is not a check", short(given.text));
    checker.wrong(Code::InvalidCheck, given.span_of(part), message, label, help);
}

fn last_two_words(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, value) = text.rsplit_once(char::is_whitespace)?;
    let (before, word) = rest.trim_end().rsplit_once(char::is_whitespace)?;
    Some((before.trim_end(), word, value))
}
