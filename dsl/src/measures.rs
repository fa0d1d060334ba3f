//! Measures (`probes/<Component>.measures`): what an agent watches, and which event it tells of.
//!
//! A file is cut into sections at lines that begin with `[event`; the rest of a section is for its handler. Blank
//! lines and lines that begin with `#` do not count, and `{{ name }}` stands for a value of the file
//! `<Component>.measures.properties`. The original passes over what it cannot read without a word; it is warned of here.

mod handlers;
mod placeholders;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::Properties;
use crate::source::{FileId, Place, Span, Spanned, narrow};
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// Begins a section, in any case.
const SECTION: &str = "[event";

/// The handlers that the original has.
const HANDLERS: [&str; 4] = ["file", "nagios", "rest", "docker"];

/// One section of a file of measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The event that is told of.
    pub event: String,
    /// What is watched.
    pub probe: Probe,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A file or folder.
    File {
        /// Where it is.
        path: String,
        /// When the event is told.
        when: FileCondition,
    },
    /// A query to Nagios, in the language of Livestatus; its answer is told each time.
    Nagios {
        /// The machine that is asked.
        host: String,
        /// Its port.
        port: u16,
        /// The query, line by line.
        query: String,
    },
    /// A number or text in the answer of an HTTP server.
    Rest {
        /// Where to get it.
        url: String,
        /// Which of the answer's values.
        parameter: String,
        /// How it is compared.
        operator: Operator,
        /// With what.
        value: String,
    },
    /// A container that does not run.
    Docker {
        /// Its name; that of the instance where nothing is said.
        container: Option<String>,
    },
    /// A handler that is not one of the original's.
    Other {
        /// Its name.
        handler: String,
        /// Its text.
        text: String,
    },
}

/// When the event of a file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCondition {
    /// It exists.
    Exists,
    /// It exists; it is deleted then.
    ExistsThenDelete,
    /// It does not exist.
    Missing,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=` or `==`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// Reads a file of measures. `properties` is the text of the file beside it that gives values to `{{ name }}`.
/// What cannot be read is left out and warned of; the warnings are about [`FileId`] 0.
#[must_use]
pub fn check_measures(text: &str, properties: Option<&str>) -> (Vec<Measure>, Vec<Diagnostic>) {
    let mut sink = Sink::default();
    let values = properties.map(|text| Properties::read(text, FileId(1)));
    let measures = check(text, FileId(0), values.as_ref(), &mut sink);
    (measures, sink.finish())
}

/// Checks the text of one file. Takes time linear in the text.
pub(crate) fn check(text: &str, file: FileId, values: Option<&Properties>, sink: &mut Sink) -> Vec<Measure> {
    let mut lines = Lines { file, rest: text, at: 0, values };
    let mut out = Vec::new();
    let mut section: Option<Section> = None;
    let mut outside = false;
    while let Some(line) = lines.next(sink) {
        if starts_section(&line.value) {
            out.extend(section.take().and_then(|section| section.measure(sink)));
            section = Some(Section::new(line));
        } else if let Some(section) = &mut section {
            section.lines.push(line);
        } else if !outside {
            outside = true;
            sink.push(
                Diagnostic::new(Code::ProbeOutside, line.place, "this text stands before the first section")
                    .label("nobody reads this")
                    .help("begin a section first, as in `[event file disk-full]`"),
            );
        }
    }
    out.extend(section.and_then(|section| section.measure(sink)));
    out
}

/// Lines that count, without blanks around them, placeholders replaced.
struct Lines<'t> {
    file: FileId,
    rest: &'t str,
    at: usize,
    values: Option<&'t Properties>,
}

impl Lines<'_> {
    fn next(&mut self, sink: &mut Sink) -> Option<Spanned<String>> {
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            let start = self.at + (line.len() - line.trim_start_matches(|c| c <= ' ').len());
            self.at += self.rest.len() - rest.len();
            self.rest = rest;
            let line = line.trim_matches(|c| c <= ' ');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: self.file, span: Span::new(narrow(start), narrow(start + line.len())) };
            let value = placeholders::expanded(line, place, self.values, sink);
            return Some(Spanned { value, place });
        }
        None
    }
}

fn starts_section(line: &str) -> bool {
    line.get(..SECTION.len()).is_some_and(|start| start.eq_ignore_ascii_case(SECTION))
}

/// A section, as cut out.
struct Section {
    head: Spanned<String>,
    lines: Vec<Spanned<String>>,
}

impl Section {
    fn new(head: Spanned<String>) -> Self {
        Self { head, lines: Vec::new() }
    }

    fn measure(mut self, sink: &mut Sink) -> Option<Measure> {
        let Some((handler, event, behind)) = head(&self.head.value) else {
            sink.push(
                Diagnostic::new(
                    Code::ProbeSection,
                    self.head.place,
                    format!("`{}` does not begin a section", short(&self.head.value)),
                )
                .label("expected `[event HANDLER NAME]`")
                .help("write a handler and a name without blanks, as in `[event file disk-full]`"),
            );
            return None;
        };
        let (handler, event) = (handler.to_owned(), event.to_owned());
        if !behind.is_empty() {
            let text = Spanned { value: behind.to_owned(), place: self.head.place };
            self.lines.insert(0, text);
        }
        let probe = match handlers::probe(&handler, &self.lines) {
            Some(Ok(probe)) => probe,
            Some(Err(problem)) => {
                let place = problem.line.unwrap_or(self.head.place);
                sink.push(
                    Diagnostic::new(Code::ProbeText, place, problem.message)
                        .label("cannot be watched")
                        .help(problem.help),
                );
                return None;
            }
            None => {
                let help =
                    did_you_mean(&handler, HANDLERS, || "write one of `file`, `nagios`, `rest`, `docker`".to_owned());
                let message = format!("there is no handler `{}` for measures", short(&handler));
                sink.push(
                    Diagnostic::new(Code::ProbeHandler, self.head.place, message)
                        .label("nobody watches this")
                        .help(help),
                );
                let text: Vec<&str> = self.lines.iter().map(|line| line.value.as_str()).collect();
                Probe::Other { handler, text: text.join("\n") }
            }
        };
        Some(Measure { event, probe })
    }
}

/// `[event HANDLER NAME]`: handler, name, and what follows in the line. As in the original the name goes up to the
/// last `]` before a blank.
fn head(line: &str) -> Option<(&str, &str, &str)> {
    let rest = line.get(SECTION.len()..)?;
    let after = rest.trim_start();
    if after.len() == rest.len() {
        return None;
    }
    let (handler, rest) = after.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (name, behind) = rest.split_at_checked(word)?;
    if let Some(behind) = behind.trim_start().strip_prefix(']') {
        return Some((handler, name, behind.trim())).filter(|(_, name, _)| !name.is_empty());
    }
    let (name, more) = name.rsplit_once(']').filter(|(name, _)| !name.is_empty())?;
    let end = line.len() - behind.len() - more.len();
    Some((handler, name, line.get(end..)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, values: Option<&str>, expect: &[(Code, &str)]) -> Vec<Measure> {
        let (measures, found) = check_measures(text, values);
        let got: Vec<(Code, &str)> = found.iter().map(|d| (d.code, d.span.of(text))).collect();
        assert_eq!(got, expect, "{text:?}\n{found:#?}");
        measures
    }

    fn probe(section: &str) -> Probe {
        check(section, None, &[]).remove(0).probe
    }

    #[test]
    fn sections_are_read() {
        let text = "# comment\n\n[EVENT file gone]\nNotify if not exists /run/{{ flag }}\n  # no\n\n\
                    [event docker down-2 ]\n[Event rest a]b]\r\nCheck http://h:1/x?a=b THAT n >= 1.5\r\n";
        let measures = check(text, Some("flag = a.pid"), &[]);
        let events: Vec<&str> = measures.iter().map(|m| m.event.as_str()).collect();
        assert_eq!(events, ["gone", "down-2", "a]b"]);
        let path = "/run/a.pid".to_owned();
        assert_eq!(measures[0].probe, Probe::File { path, when: FileCondition::Missing });
        assert_eq!(measures[1].probe, Probe::Docker { container: None });
        let Probe::Rest { url, parameter, operator, value } = &measures[2].probe else { panic!("{measures:?}") };
        assert_eq!((url.as_str(), parameter.as_str(), value.as_str()), ("http://h:1/x?a=b", "n", "1.5"));
        assert_eq!(*operator, Operator::GreaterOrEqual);
        check("", None, &[]);
    }

    #[test]
    fn handlers_read_their_text() {
        let file = |path: &str, when| Probe::File { path: path.to_owned(), when };
        assert_eq!(probe("[event file a]\n/tmp/a b"), file("/tmp/a b", FileCondition::Exists));
        assert_eq!(probe("[event file a]\ndelete IF exists %TMP%/x"), file("%TMP%/x", FileCondition::ExistsThenDelete));
        assert_eq!(probe("[event file a] /tmp/x"), file("/tmp/x", FileCondition::Exists));
        assert_eq!(probe("[event docker a]\nweb"), Probe::Docker { container: Some("web".to_owned()) });
        let nagios = |host: &str, port, query: &str| Probe::Nagios { host: host.into(), port, query: query.into() };
        assert_eq!(
            probe("[event nagios a]\nGET hosts\nColumns: x"),
            nagios("localhost", 50000, "GET hosts\nColumns: x")
        );
        let other = "[event nagios a]\nNagios configuration at 10.0.0.1:6557\nGET hosts";
        assert_eq!(probe(other), nagios("10.0.0.1", 6557, "GET hosts"));
        for (written, operator) in [
            ("=", Operator::Equal),
            ("==", Operator::Equal),
            (">", Operator::Greater),
            ("<", Operator::Less),
            ("<=", Operator::LessOrEqual),
        ] {
            let read = probe(&format!("[event rest a]\ncheck http://h THAT a {written} b"));
            assert!(matches!(read, Probe::Rest { operator: found, .. } if found == operator), "{read:?}");
        }
    }

    #[test]
    fn what_is_passed_over_is_warned_of() {
        for (text, code, under) in [
            ("lost\nlost too\n[event docker a]", Code::ProbeOutside, "lost"),
            ("[event]", Code::ProbeSection, "[event]"),
            ("[event file]\n/tmp", Code::ProbeSection, "[event file]"),
            ("[eventfile a]\n/tmp", Code::ProbeSection, "[eventfile a]"),
            ("[event file a b]\n/tmp", Code::ProbeSection, "[event file a b]"),
            ("[event file a\n/tmp", Code::ProbeSection, "[event file a"),
            ("[event fiel a]\n/tmp", Code::ProbeHandler, "[event fiel a]"),
            ("[event file a]", Code::ProbeText, "[event file a]"),
            ("[event file a]\n/a\n/b", Code::ProbeText, "/b"),
            ("[event file a]\nDelete if exists", Code::ProbeText, "Delete if exists"),
            ("[event nagios a]", Code::ProbeText, "[event nagios a]"),
            ("[event nagios a]\nnagios configuration at h:x\nGET a", Code::ProbeText, "nagios configuration at h:x"),
            ("[event rest a]\nCheck http://h THAT a >0", Code::ProbeText, "Check http://h THAT a >0"),
            ("[event rest a]\nCheck http://h a > 0", Code::ProbeText, "Check http://h a > 0"),
            ("[event docker a]\nb\nc", Code::ProbeText, "c"),
            ("[event docker a]\n{{ no }}", Code::ProbePlaceholder, "{{ no }}"),
        ] {
            check(text, None, &[(code, under)]);
        }
        let (_, found) = check_measures("[event docker a]\nx{{ nmae }}", Some("name = b"));
        assert_eq!(found[0].help.as_deref(), Some("did you mean `name`?"));
    }

    #[test]
    fn long_texts_take_linear_time() {
        for piece in ["{{", "{{ a }}", "[event file a]\n", "[event ", "]", "Check a THAT "] {
            let (_, found) = check_measures(&piece.repeat(300_000 / piece.len()), Some("a = b"));
            assert!(!found.is_empty(), "{piece}");
        }
    }
}
