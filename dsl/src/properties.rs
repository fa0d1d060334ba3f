//! Java's properties files: `key = value`, `key: value`, `\` at the end of a line goes on, `\uXXXX`, `#` and `!`.
//!
//! Descriptors, targets and the values of measures are such files. Java reads them as ISO-8859-1.

use crate::source::{FileId, Place, Span, Spanned, narrow};

/// Digits of `\uXXXX`.
const UNICODE_DIGITS: usize = 4;

/// What separates a key from its value, and what is skipped around them.
const BLANKS: [char; 3] = [' ', '\t', '\x0C'];

/// A properties file, read.
#[derive(Debug)]
pub(crate) struct Properties {
    file: FileId,
    entries: Vec<Entry>,
}

/// One key and its value, unescaped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    /// Where the key stands, as written.
    pub(crate) key_span: Span,
    /// Where the value stands, as written.
    pub(crate) value_span: Span,
    /// A `\u` without four digits after it: Java refuses the whole file.
    pub(crate) malformed: Option<Span>,
}

impl Properties {
    /// Reads a text; every text is a properties file, but for what [`Self::malformed`] says.
    pub(crate) fn read(text: &str, file: FileId) -> Self {
        let mut entries = Vec::new();
        let mut lines = Lines { text, pos: 0 };
        while let Some(line) = lines.logical() {
            entries.extend(entry(&line));
        }
        Self { file, entries }
    }

    /// The first `\u` without four digits.
    pub(crate) fn malformed(&self) -> Option<Place> {
        let span = self.entries.iter().find_map(|entry| entry.malformed)?;
        Some(self.place(span))
    }

    /// The value of a key, and where it stands; the last one counts.
    pub(crate) fn get(&self, key: &str) -> Option<Spanned<&str>> {
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        Some(Spanned { value: &entry.value, place: self.place(entry.value_span) })
    }

    /// Where a key stands; the last one counts.
    pub(crate) fn key(&self, key: &str) -> Option<Place> {
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        Some(self.place(entry.key_span))
    }

    /// All entries in reading order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn place(&self, span: Span) -> Place {
        Place { file: self.file, span }
    }
}

/// The text of a properties file, and whether it is ISO-8859-1 beyond ASCII. What is UTF-8 is kept as it is, for
/// showing it: Java would read two letters for each accent.
pub(crate) fn decode(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (error.as_bytes().iter().map(|byte| char::from(*byte)).collect(), true),
    }
}

/// The characters of a logical line, each with the offset it was read from.
type Characters = Vec<(usize, char)>;

struct Lines<'t> {
    text: &'t str,
    pos: usize,
}

impl Lines<'_> {
    /// The next line that is no comment, joined with those it goes on in.
    fn logical(&mut self) -> Option<Characters> {
        let mut out = Characters::new();
        let mut first = true;
        loop {
            let more = self.natural(&mut out, first)?;
            if (!more && !out.is_empty()) || (more && self.pos >= self.text.len()) {
                return Some(out);
            }
            first = !more;
        }
    }

    /// Adds one line without its leading blanks; true when it goes on in the next one. Only a `first` line is a comment.
    fn natural(&mut self, out: &mut Characters, first: bool) -> Option<bool> {
        let rest = self.text.get(self.pos..).filter(|rest| !rest.is_empty())?;
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        let start = self.pos + (line.len() - line.trim_start_matches(BLANKS).len());
        let behind = rest.get(end..).unwrap_or_default();
        let line_end = if behind.starts_with("\r\n") { 2 } else { usize::from(!behind.is_empty()) };
        self.pos += end + line_end;
        let line = line.trim_start_matches(BLANKS);
        if first && line.starts_with(['#', '!']) {
            return Some(false);
        }
        let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let more = backslashes % 2 == 1;
        let line = if more { line.strip_suffix('\\').unwrap_or(line) } else { line };
        out.extend(line.char_indices().map(|(i, c)| (start + i, c)));
        Some(more)
    }
}

fn entry(line: &Characters) -> Option<Entry> {
    let (key, mut rest) = line.split_at_checked(key_length(line))?;
    let mut separator = false;
    while let Some(((_, c), after)) = rest.split_first() {
        match c {
            c if BLANKS.contains(c) => rest = after,
            '=' | ':' if !separator => {
                separator = true;
                rest = after;
            }
            _ => break,
        }
    }
    let (key, bad_key) = unescaped(key, line);
    let (value, bad_value) = unescaped(rest, line);
    let value_start = rest.first().map_or(end_of(line), |(at, _)| *at);
    Some(Entry {
        key,
        value,
        key_span: span(line.first()?.0, line.get(key_length(line)).map_or(end_of(line), |(at, _)| *at)),
        value_span: span(value_start, end_of(line)),
        malformed: bad_key.or(bad_value),
    })
}

/// Characters before the first separator that is not escaped.
fn key_length(line: &[(usize, char)]) -> usize {
    let mut escaped = false;
    for (i, (_, c)) in line.iter().enumerate() {
        if !escaped && (matches!(c, '=' | ':') || BLANKS.contains(c)) {
            return i;
        }
        escaped = *c == '\\' && !escaped;
    }
    line.len()
}

fn end_of(line: &[(usize, char)]) -> usize {
    line.last().map_or(0, |(at, c)| at + c.len_utf8())
}

fn span(start: usize, end: usize) -> Span {
    Span::new(narrow(start), narrow(end))
}

/// The text without its escapes, and the first `\u` that is not well formed.
fn unescaped(characters: &[(usize, char)], line: &[(usize, char)]) -> (String, Option<Span>) {
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::new();
    let mut malformed = None;
    let mut rest = characters;
    while let Some(((at, c), after)) = rest.split_first() {
        rest = after;
        if *c != '\\' {
            flush(&mut units, &mut out);
            out.push(*c);
            continue;
        }
        let Some(((_, escaped), after)) = rest.split_first() else { break };
        rest = after;
        if *escaped == 'u' {
            if let Some((unit, after)) = unicode(rest) {
                units.push(unit);
                rest = after;
            } else {
                let end = rest.get(UNICODE_DIGITS).map_or(end_of(line), |(at, _)| *at);
                malformed = malformed.or(Some(span(*at, end)));
            }
            continue;
        }
        flush(&mut units, &mut out);
        out.push(match escaped {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\x0C',
            other => *other,
        });
    }
    flush(&mut units, &mut out);
    (out, malformed)
}

/// Two `\u` may be one character, as Java keeps its strings in UTF-16.
fn flush(units: &mut Vec<u16>, out: &mut String) {
    out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

fn unicode(characters: &[(usize, char)]) -> Option<(u16, &[(usize, char)])> {
    let (digits, rest) = characters.split_at_checked(UNICODE_DIGITS)?;
    let mut unit = 0;
    for (_, digit) in digits {
        unit = unit << 4 | u16::try_from(digit.to_digit(16)?).ok()?;
    }
    Some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let got = Properties::read(text, FileId(0));
        let got: Vec<(&str, &str)> = got.entries().iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn properties_are_read_as_java_does() {
        check("a = b\nc:d\r\ne f\n", &[("a", "b"), ("c", "d"), ("e", "f")]);
        check("# x\n! y\n\n  k  =  v w \n", &[("k", "v w ")]);
        check("k = a, \\\n   b\n", &[("k", "a, b")]);
        check("k = a\\\n# b\n", &[("k", "a# b")]);
        check("k = a\\\n\nl = b", &[("k", "a"), ("l", "b")]);
        check("# c \\\nk = a\rl\u{c}b", &[("k", "a"), ("l", "b")]);
        check("\\\n# k\n", &[("#", "k")]);
        check("k\\ 1 = \\u0041\\t\\\\\n", &[("k 1", "A\t\\")]);
        check("k\\=\\:x = \\q", &[("k=:x", "q")]);
        check("k = \\ud83d\\ude00\\ud83d!", &[("k", "\u{1f600}\u{fffd}!")]);
        check("alone\nk=\n", &[("alone", ""), ("k", "")]);
        check("k = x\\", &[("k", "x")]);
        check("k = =x:y", &[("k", "=x:y")]);
        check("= v", &[("", "v")]);
        check("", &[]);
    }

    #[test]
    fn spans_are_exact_and_bad_escapes_are_found() {
        let text = "# c\n  na\\me = va\\\n  lue \nb: \\u00zz!";
        let read = Properties::read(text, FileId(0));
        assert_eq!(read.key("name").unwrap().span.of(text), "na\\me");
        assert_eq!(read.get("name").unwrap().place.span.of(text), "va\\\n  lue ");
        assert_eq!(read.malformed().unwrap().span.of(text), "\\u00zz");
        assert_eq!(Properties::read("a = \\u12", FileId(0)).malformed().unwrap().span, Span::new(4, 8));
        assert!(Properties::read("a = \\\\u12", FileId(0)).malformed().is_none());
    }
}
