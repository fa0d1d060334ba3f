//! What the handlers of measures make of their text.

use super::{FileCondition, Operator, Probe};
use crate::source::{Place, Spanned};

/// Where Nagios is asked when nothing is said.
const NAGIOS_HOST: &str = "localhost";

/// And its port.
const NAGIOS_PORT: u16 = 50_000;

/// What a handler cannot read.
pub(super) struct Problem {
    /// The line; the section's head where nothing is.
    pub(super) line: Option<Place>,
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

/// The probe of a section's lines; nothing when there is no such handler.
pub(super) fn probe(handler: &str, lines: &[Spanned<String>]) -> Option<Result<Probe, Problem>> {
    Some(match handler {
        "file" => file(lines),
        "nagios" => nagios(lines),
        "rest" => rest(lines),
        "docker" => docker(lines),
        _ => return None,
    })
}

/// The one line of a section.
fn only<'l>(
    lines: &'l [Spanned<String>],
    message: &'static str,
    help: &'static str,
) -> Result<&'l Spanned<String>, Problem> {
    match lines {
        [line] => Ok(line),
        [] => Err(Problem { line: None, message, help }),
        [_, second, ..] => {
            Err(Problem { line: Some(second.place), message: "the section has more than one line", help })
        }
    }
}

/// `PATH`, `Delete if exists PATH` or `Notify if not exists PATH`
fn file(lines: &[Spanned<String>]) -> Result<Probe, Problem> {
    let help = "write a path, `Delete if exists PATH` or `Notify if not exists PATH`, and nothing else";
    let line = only(lines, "the section names no file", help)?;
    let (path, when) = if let Some(path) = after_words(&line.value, &["delete", "if", "exists"]) {
        (path, FileCondition::ExistsThenDelete)
    } else if let Some(path) = after_words(&line.value, &["notify", "if", "not", "exists"]) {
        (path, FileCondition::Missing)
    } else {
        (line.value.as_str(), FileCondition::Exists)
    };
    if path.is_empty() {
        return Err(Problem { line: Some(line.place), message: "the section names no file", help });
    }
    Ok(Probe::File { path: path.to_owned(), when })
}

/// An optional line `Nagios configuration at HOST[:PORT]`, then a query
fn nagios(lines: &[Spanned<String>]) -> Result<Probe, Problem> {
    let (mut host, mut port, mut query) = (NAGIOS_HOST, NAGIOS_PORT, lines);
    if let Some((first, others)) = lines.split_first()
        && let Some(address) = after_words(&first.value, &["nagios", "configuration", "at"])
    {
        let problem = Problem {
            line: Some(first.place),
            message: "this is no address of a Nagios server",
            help: "write `Nagios configuration at localhost:50000`",
        };
        (host, port) = match address.rsplit_once(':') {
            None if !address.is_empty() => (address, NAGIOS_PORT),
            Some((host, number)) if !host.is_empty() => match number.trim().parse() {
                Ok(port) => (host, port),
                Err(_) => return Err(problem),
            },
            None | Some(_) => return Err(problem),
        };
        query = others;
    }
    if query.is_empty() {
        let help = "write a query of Livestatus, as in `GET hosts` and, in the next line, `Columns: host_name`";
        return Err(Problem { line: None, message: "the section asks nothing", help });
    }
    let query: Vec<&str> = query.iter().map(|line| line.value.as_str()).collect();
    Ok(Probe::Nagios { host: host.to_owned(), port, query: query.join("\n") })
}

/// `Check URL THAT PARAMETER OPERATOR VALUE`
fn rest(lines: &[Spanned<String>]) -> Result<Probe, Problem> {
    let help =
        "write `Check URL THAT NAME > VALUE` with blanks around each word; `=`, `==`, `>`, `>=`, `<`, `<=` are known";
    let line = only(lines, "the section checks nothing", help)?;
    let problem = |message| Problem { line: Some(line.place), message, help };
    let Some(rest) = after_words(&line.value, &["check"]) else {
        return Err(problem("the section does not begin with `Check`"));
    };
    let mut words = rest.splitn(2, char::is_whitespace);
    let (url, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(rest) = after_words(rest, &["that"]) else {
        return Err(problem("the address is not followed by `THAT`"));
    };
    let mut words = rest.splitn(2, char::is_whitespace);
    let (parameter, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_start());
    let mut words = rest.splitn(2, char::is_whitespace);
    let operator = match words.next().unwrap_or_default() {
        "=" | "==" => Operator::Equal,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        _ => return Err(problem("the comparison is none")),
    };
    let value = words.next().unwrap_or_default().trim();
    if value.is_empty() {
        return Err(problem("there is nothing to compare with"));
    }
    let (url, parameter, value) = (url.to_owned(), parameter.to_owned(), value.to_owned());
    Ok(Probe::Rest { url, parameter, operator, value })
}

/// Nothing, or a container's name
fn docker(lines: &[Spanned<String>]) -> Result<Probe, Problem> {
    if lines.is_empty() {
        return Ok(Probe::Docker { container: None });
    }
    let line = only(lines, "the section names no container", "write one container's name, or nothing")?;
    Ok(Probe::Docker { container: Some(line.value.clone()) })
}

/// What follows some words, in any case, with blanks between them.
fn after_words<'l>(line: &'l str, words: &[&str]) -> Option<&'l str> {
    let mut rest = line.trim_start();
    for word in words {
        let start = rest.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word))?;
        let after = rest.get(start.len()..)?;
        rest = after.trim_start();
        if rest.len() == after.len() && !after.is_empty() {
            return None;
        }
    }
    Some(rest)
}
