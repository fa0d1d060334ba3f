//! Rule files (`rules.autonomic/*.drl`): when an event comes, these commands run.
//!
//! The original takes comments out, and then matches one pattern with the whole text:
//! `rule "NAME" … when EVENT then COMMANDS end`, in any case. Its groups are greedy: the *last* `when` and the last
//! `then` count, so a file holds one rule. What stands between the name and `when` may say how often the rule runs;
//! what is unknown there is ignored.

mod joined;
mod scan;

use std::time::Duration;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span, Spanned};
use joined::Joined;
use scan::{Parts, Problem};

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names it.
    pub name: String,
    /// It does not run again before this time is over, in whole seconds; zero where the file says nothing.
    pub sleep: Duration,
    /// An older event does not count, in whole seconds; nothing where any event counts.
    pub window: Option<Duration>,
    /// The event that it waits for.
    pub event: String,
    /// The files of commands that it runs, without `.commands`, in this order.
    pub commands: Vec<String>,
}

/// Reads one rule. Nothing when it has errors; they are about [`FileId`] 0.
#[must_use]
pub fn check_rule(text: &str) -> (Option<Rule>, Vec<Diagnostic>) {
    let mut sink = Sink::default();
    let rule = check(text, FileId(0), &mut sink).rule;
    (rule, sink.finish())
}

/// What a rule's file gives.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Nothing when the file has errors.
    pub(crate) rule: Option<Rule>,
    /// The commands that it names, also when something else is wrong.
    pub(crate) commands: Vec<Spanned<String>>,
}

/// Checks the text of one rule. Takes time linear in the text.
pub(crate) fn check(text: &str, file: FileId, sink: &mut Sink) -> Checked {
    let joined = joined::without_comments(text);
    let parts = match scan::parts(joined.text()) {
        Ok(parts) => parts,
        Err(problem) => {
            sink.push(invalid(&joined, file, &problem));
            return Checked::default();
        }
    };
    let before = sink.errors();
    let place = |span: Span| Place { file, span };
    let commands: Vec<Spanned<String>> = commands(&joined, &parts)
        .map(|(command, span)| Spanned { value: command.to_owned(), place: place(span) })
        .collect();
    let name = scan::trimmed(joined.text(), parts.name.clone());
    let event = scan::trimmed(joined.text(), parts.event.clone());
    let mut missing = |empty: bool, code: Code, at: std::ops::Range<usize>, message: &str, help: &str| {
        if empty {
            sink.push(Diagnostic::new(code, place(joined.span(at)), message).label("nothing is said here").help(help));
        }
    };
    let quotes = parts.name.start - 1..parts.name.end + 1;
    missing(name.is_empty(), Code::EmptyRuleName, quotes, "the rule has no name", "write `rule \"scale up\"`");
    let help = "write the event's name between `when` and `then`, as the measures call it";
    missing(event.is_empty(), Code::EmptyWhen, parts.when.clone(), "the rule waits for no event", help);
    let help = "write between `then` and `end` which commands run: `scale-up` for `commands/scale-up.commands`";
    missing(commands.is_empty(), Code::EmptyThen, parts.then.clone(), "the rule runs no commands", help);
    let sleep = seconds(&joined, &parts, "sleep period is", file, sink);
    let window = seconds(&joined, &parts, "time window is", file, sink);
    let rule = (sink.errors() == before).then(|| Rule {
        name: slice(&joined, name),
        sleep: sleep.unwrap_or_default(),
        window,
        event: slice(&joined, event),
        commands: commands.iter().map(|command| command.value.clone()).collect(),
    });
    Checked { rule, commands }
}

fn slice(joined: &Joined, range: std::ops::Range<usize>) -> String {
    joined.text().get(range).unwrap_or_default().to_owned()
}

fn commands<'j>(joined: &'j Joined, parts: &Parts) -> impl Iterator<Item = (&'j str, Span)> {
    let start = parts.commands.start;
    let text = joined.text().get(parts.commands.clone()).unwrap_or_default();
    let mut at = start;
    text.split([';', '\n']).filter_map(move |item| {
        let range = scan::trimmed(joined.text(), at..at + item.len());
        at += item.len() + 1;
        let command = joined.text().get(range.clone()).filter(|command| !command.is_empty())?;
        Some((command, joined.span(range)))
    })
}

/// `sleep period is 8s`: the first of these phrases counts.
fn seconds(joined: &Joined, parts: &Parts, phrase: &'static str, file: FileId, sink: &mut Sink) -> Option<Duration> {
    let digits = scan::number(joined.text(), parts.properties.clone(), phrase)?;
    let text = joined.text().get(digits.clone()).unwrap_or_default();
    match text.parse::<i32>().ok().and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => {
            let place = Place { file, span: joined.span(digits) };
            let message = format!("`{}` seconds are too many", crate::syntax::short(text));
            sink.push(
                Diagnostic::new(Code::InvalidRuleSyntax, place, message)
                    .label("too large a number")
                    .help(format!("write a number of seconds up to {}, which is some 68 years", i32::MAX)),
            );
            None
        }
    }
}

fn invalid(joined: &Joined, file: FileId, problem: &Problem) -> Diagnostic {
    let (at, message, label, help) = match problem {
        Problem::Keyword(at) => (
            at.clone(),
            "a rule begins with `rule` and a name in quotes",
            "`rule \"name\"` is expected here",
            "write `rule \"scale up\"`, then `when`, `then` and `end`",
        ),
        Problem::Name(at) => (
            at.clone(),
            "the rule's name does not stand in quotes",
            "a name in quotes, and a blank after it, is expected here",
            "write `rule \"scale up\"`",
        ),
        Problem::When(at) => (
            at.clone(),
            "the rule does not say when it runs",
            "`when` and an event are expected",
            "write `when`, and in the next line the event's name",
        ),
        Problem::Then(at) => (
            at.clone(),
            "the rule does not say what it runs",
            "`then` and commands are expected",
            "write `then`, and in the next line the commands' name",
        ),
        Problem::End(at) => (
            at.clone(),
            "the rule does not end with `end`",
            "`end` is expected after this",
            "write `end` in a line of its own",
        ),
        Problem::LastComment(at) => (
            at.clone(),
            "a comment in the last line is taken for a part of the rule",
            "this line does not end",
            "end the line: a comment ends where the next line begins",
        ),
        Problem::OpenComment(at) => (
            at.clone(),
            "a comment does not end, so it is taken for a part of the rule",
            "begins here",
            "write `*/` at its end",
        ),
    };
    Diagnostic::new(Code::InvalidRuleSyntax, Place { file, span: joined.span(at) }, message).label(label).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "rule \"scale up\"\n\tsleep period is 120s\n\tTime window is 60 // s\nwhen\n\thigh-load\nthen\n\t\
                        create-vm; notify\nend\n";

    fn rule(text: &str) -> Rule {
        let (rule, found) = check_rule(text);
        rule.unwrap_or_else(|| panic!("{text}\n{found:#?}"))
    }

    /// A rule, the codes it gives, and the text under the first one.
    fn refused(text: &str, expect: &[Code], under: &str) {
        let (rule, found) = check_rule(text);
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), expect, "{text:?}");
        assert!(rule.is_none(), "{text:?}");
        assert_eq!(found[0].span.of(text), under, "{text:?}");
    }

    #[test]
    fn rules_are_read_as_the_original_does() {
        let read = rule(RULE);
        assert_eq!((read.name.as_str(), read.event.as_str()), ("scale up", "high-load"));
        assert_eq!((read.sleep.as_secs(), read.window.map(|w| w.as_secs())), (120, Some(60)));
        assert_eq!(read.commands, ["create-vm", "notify"]);
        let plain = rule("RULE \" a \" When e THEN b\r\n;;c EnD");
        assert_eq!((plain.name.as_str(), plain.event.as_str()), ("a", "e"));
        assert_eq!((plain.sleep, plain.window), (Duration::ZERO, None));
        assert_eq!(plain.commands, ["b", "c"]);
        let ignored = rule("rule \"a\" occurrences is 3 asleep period is 9 sleep period is x when e then c end");
        assert_eq!(ignored.sleep, Duration::ZERO);
        assert_eq!(rule("rule \"a\"\rwhen\re\rthen\rc\rend").event, "e", "CR is a blank");
    }

    #[test]
    fn comments_go_and_groups_are_greedy() {
        let glued = rule("/* a\n** b */rule # c\n \"a\" when e // f\n then http://x\n/y # z\nend");
        assert_eq!(glued.commands, ["http:/y"]);
        assert_eq!(rule("rule \"a\" when when e then d then c end").event, "e then d");
        let two = rule("rule \"a\" when e then c end rule \"b\" when f then d end");
        assert_eq!((two.name.as_str(), two.event.as_str()), ("a", "f"));
        assert_eq!(rule("rule \"a\" when e then c end then d end").commands, ["d"]);
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let incomplete = "rule \"\"\nwhen\n\t\nthen\n\t\nend\n";
        refused(incomplete, &[Code::EmptyRuleName, Code::EmptyWhen, Code::EmptyThen], "\"\"");
        for (text, under) in [
            ("\n\tThis is none\nend", "This"),
            ("", ""),
            ("rule a when e then c end", "a"),
            ("rule \"a when e then c end", "\"a when e then c end"),
            ("rule \"a\"when e then c end", "\"a\"when"),
            ("rule \"a\" e then c end", "\"a\""),
            ("rule \"a\" when e c end", "when"),
            ("rule \"a\" when then c end", "when"),
            ("rule \"a\" when e then c", "c"),
            ("rule \"a\" when e then end", "then"),
            ("rule \"a\" when e then c end // x", "// x"),
            ("rule \"a\" when e then c end # x", "# x"),
            ("rule \"a\" when e then c end /* x", "/* x"),
            ("rule \"a\" sleep period is 2147483648s when e then c end", "2147483648"),
            ("rule \"a\" time window is 99999999999999999999 when e then c end", "99999999999999999999"),
        ] {
            refused(text, &[Code::InvalidRuleSyntax], under);
        }
        refused("rule \"a\" when  \t then c end", &[Code::EmptyWhen], "when");
        refused("rule \"a\" when e then ;;\n; end", &[Code::EmptyThen], "then");
    }

    #[test]
    fn long_texts_take_linear_time() {
        for piece in ["/*", "//", "#", "rule \"a\" when ", " then ", "sleep period is ", "when\n", "/* ", "; "] {
            let text = format!("rule \"a\" {} end", piece.repeat(200_000 / piece.len()));
            assert!(check_rule(&text).0.is_none(), "{piece}");
        }
    }
}
