//! Which instruction a line is, and its parts: what the original's regular expressions match, without them.
//!
//! All in any case (of ASCII letters), in linear time. `\b` is Java's: any letter or digit belongs to a word.

use std::ops::Range;

use super::Verb;
use super::line::{ends_line, is_blank, trim};

/// The instructions, in the order in which the original looks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Associate,
    ChangeStatus,
    Bulk,
    Email,
    Define,
    Create,
    Replicate,
    Rename,
    Write,
    Append,
    Execute,
}

impl Kind {
    /// Which instruction the line begins; a longer word that begins alike is taken for it.
    pub(super) fn of(text: &str) -> Option<Self> {
        const ALL: [(&str, Kind); 10] = [
            ("associate", Kind::Associate),
            ("change", Kind::ChangeStatus),
            ("email", Kind::Email),
            ("define", Kind::Define),
            ("create", Kind::Create),
            ("replicate", Kind::Replicate),
            ("rename", Kind::Rename),
            ("write", Kind::Write),
            ("append", Kind::Append),
            ("execute", Kind::Execute),
        ];
        // No word of a bulk instruction begins like another one, so the order does not show.
        ALL.into_iter()
            .find(|(word, _)| begins(text, word))
            .map(|(_, kind)| kind)
            .or_else(|| is_bulk(text).then_some(Self::Bulk))
    }

    /// How it is written.
    pub(super) const fn usage(self) -> &'static str {
        match self {
            Self::Associate => "associate /PATH with TARGET",
            Self::ChangeStatus => "change status of /PATH to STATUS",
            Self::Bulk => "deploy and start all /PATH",
            Self::Email => "email ADDRESS, ADDRESS with MESSAGE",
            Self::Define => "define NAME = VALUE",
            Self::Create => "create COMPONENT as NAME under /PATH",
            Self::Replicate => "replicate /PATH as NAME",
            Self::Rename => "rename /PATH as NAME",
            Self::Write => "write TEXT into FILE",
            Self::Append => "append TEXT into FILE",
            Self::Execute => "execute NAME",
        }
    }
}

/// The parts of an instruction of the form `… LEFT keyword RIGHT`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) left: Range<usize>,
    pub(super) keyword: Range<usize>,
    pub(super) right: Range<usize>,
}

/// What must stand around the word that parts an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing before it; after it anything but a letter, digit or `_`.
    Word,
    /// A blank before it; after it anything but a letter, digit or `_`.
    BlankWord,
    /// Nothing before it; a blank after it.
    Blank,
    /// A blank before it and after it.
    Blanks,
}

/// `HEAD LEFT keyword RIGHT`, where each word of the head is followed by blanks.
pub(super) fn parts(text: &str, head: &[&str], keyword: &str, around: Around) -> Option<Parts> {
    let left = after_head(text, head)?;
    split(text, left, keyword, around)
}

/// As [`parts`], and what stands on the left begins with `/`.
pub(super) fn path_parts(text: &str, head: &[&str], keyword: &str, around: Around) -> Option<Parts> {
    let left = after_head(text, head)?;
    if text.as_bytes().get(left) != Some(&b'/') {
        return None;
    }
    let mut parts = split(text, left + 1, keyword, around)?;
    parts.left.start = left;
    Some(parts)
}

/// `NAME = VALUE` after `define`.
pub(super) fn define(text: &str) -> Option<Parts> {
    let left = after_head(text, &["define"])?;
    let equals = left + text.get(left..)?.find('=')?;
    in_one_line(text)?;
    let right = trim(text, equals + 1..text.len());
    Some(Parts { left: trim(text, left..equals), keyword: equals..equals + 1, right })
}

/// What follows `execute`.
pub(super) fn execute(text: &str) -> Option<Range<usize>> {
    let from = after_head(text, &["execute"])?;
    in_one_line(text)?;
    Some(trim(text, from..text.len()))
}

/// `THING under PATH` in a part of a line.
pub(super) fn under(text: &str, part: Range<usize>) -> (Range<usize>, Option<Range<usize>>) {
    let written = text.get(..part.end).unwrap_or_default();
    match split(written, part.start, "under", Around::Blanks) {
        Some(parts) => (parts.left, Some(parts.right)),
        None => (part, None),
    }
}

/// A bulk instruction: its verb, and a path or the component after `instances of`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bulk {
    pub(super) verb: Range<usize>,
    pub(super) path: Option<Range<usize>>,
    pub(super) component: Option<Range<usize>>,
}

/// The parts of a bulk instruction; a `/` makes it one with a path.
pub(super) fn bulk(text: &str) -> Option<Bulk> {
    bulk_path(text).or_else(|| bulk_component(text))
}

fn is_bulk(text: &str) -> bool {
    [bulk_path(text), bulk_component(text)].into_iter().flatten().any(|bulk| verb_of(text, &bulk).is_some())
}

/// Which verb it is.
pub(super) fn verb_of(text: &str, bulk: &Bulk) -> Option<Verb> {
    const ALL: [(&str, Verb); 4] = [
        ("delete", Verb::Delete),
        ("deploy and start all", Verb::DeployAndStartAll),
        ("stop all", Verb::StopAll),
        ("undeploy all", Verb::UndeployAll),
    ];
    let written = text.get(bulk.verb.clone())?;
    ALL.into_iter().find_map(|(name, verb)| {
        let rest = begins(written, name).then(|| written.get(name.len()..))??;
        (rest.is_empty() || rest.eq_ignore_ascii_case(" all")).then_some(verb)
    })
}

fn bulk_path(text: &str) -> Option<Bulk> {
    let slash = text.find('/').filter(|slash| *slash > 0)?;
    in_one_line(text.get(slash..)?)?;
    Some(Bulk { verb: trim(text, 0..slash), path: Some(trim(text, slash..text.len())), component: None })
}

fn bulk_component(text: &str) -> Option<Bulk> {
    in_one_line(text)?;
    let mut end = text.len();
    while let Some(at) = rfind(text, 0, end, "instances") {
        end = at;
        let before = at > 1 && blank_before(text, at);
        let of = skip_blanks(text, at + "instances".len());
        if before && of > at + "instances".len() && begins(text.get(of..)?, "of") && of + 2 < text.len() {
            let component = Some(trim(text, of + 2..text.len()));
            return Some(Bulk { verb: trim(text, 0..at), path: None, component });
        }
    }
    None
}

/// Whether `text` begins with `word`, in any case.
pub(super) fn begins(text: &str, word: &str) -> bool {
    text.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// The first `word` at or after `from`, in any case.
pub(super) fn find(text: &str, from: usize, word: &str) -> Option<usize> {
    let windows = text.as_bytes().get(from..)?.windows(word.len());
    windows.into_iter().position(|window| window.eq_ignore_ascii_case(word.as_bytes())).map(|at| from + at)
}

/// The last `word` that begins in `from..end`, in any case.
fn rfind(text: &str, from: usize, end: usize, word: &str) -> Option<usize> {
    let end = (end + word.len() - 1).min(text.len());
    let windows = text.as_bytes().get(from..end)?.windows(word.len());
    windows.into_iter().rposition(|window| window.eq_ignore_ascii_case(word.as_bytes())).map(|at| from + at)
}

/// The end of a head: each of its words is followed by blanks.
fn after_head(text: &str, head: &[&str]) -> Option<usize> {
    let mut at = 0;
    for word in head {
        if !begins(text.get(at..)?, word) {
            return None;
        }
        let end = at + word.len();
        at = skip_blanks(text, end);
        if at == end {
            return None;
        }
    }
    Some(at)
}

/// Parts what begins at `from` at the last `keyword` that has the right things around it.
fn split(text: &str, from: usize, keyword: &str, around: Around) -> Option<Parts> {
    in_one_line(text)?;
    let mut end = text.len();
    while let Some(at) = rfind(text, from, end, keyword) {
        end = at;
        let after = at + keyword.len();
        let left = match around {
            Around::Word | Around::Blank => true,
            Around::BlankWord | Around::Blanks => at > from && blank_before(text, at),
        };
        let right = match around {
            Around::Word | Around::BlankWord => {
                !text.get(after..)?.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            }
            Around::Blank | Around::Blanks => text.get(after..)?.starts_with(is_blank),
        };
        if left && right {
            return Some(Parts {
                left: trim(text, from..at),
                keyword: at..after,
                right: trim(text, after..text.len()),
            });
        }
    }
    None
}

fn skip_blanks(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    text.len() - rest.trim_start_matches(is_blank).len()
}

fn blank_before(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.ends_with(is_blank))
}

/// Nothing when a character ends the line for the original although it is not LF.
fn in_one_line(text: &str) -> Option<()> {
    (!text.contains(ends_line)).then_some(())
}
