//! Java's properties syntax: `key = value`, `key: value`, `\` at the end of a line goes on, `\uXXXX`, `#` and `!`.

use crate::source::{Span, narrow};

/// One key and its value, unescaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    /// Where the value stands, as written.
    pub(super) value_span: Span,
}

/// All entries in reading order.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let mut out = Vec::new();
    let mut lines = Lines { text, pos: 0 };
    while let Some(line) = lines.logical() {
        out.extend(entry(&line));
    }
    out
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
        loop {
            let more = self.natural(&mut out)?;
            if !more && !out.is_empty() {
                return Some(out);
            }
            if more && self.pos >= self.text.len() {
                return Some(out);
            }
        }
    }

    /// Adds one line without its leading blanks; true when it goes on in the next one.
    fn natural(&mut self, out: &mut Characters) -> Option<bool> {
        let rest = self.text.get(self.pos..).filter(|rest| !rest.is_empty())?;
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        let start = self.pos + (line.len() - line.trim_start_matches([' ', '\t', '\x0C']).len());
        let behind = rest.get(end..).unwrap_or_default();
        let line_end = if behind.starts_with("\r\n") { 2 } else { usize::from(!behind.is_empty()) };
        self.pos += end + line_end;
        let line = line.trim_start_matches([' ', '\t', '\x0C']);
        if out.is_empty() && line.starts_with(['#', '!']) {
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
    let mut rest = line.as_slice();
    let mut key: &[(usize, char)] = rest;
    let mut escaped = false;
    for (i, (_, c)) in line.iter().enumerate() {
        if !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0C') {
            (key, rest) = line.split_at_checked(i)?;
            break;
        }
        escaped = *c == '\\' && !escaped;
        if i + 1 == line.len() {
            rest = &[];
        }
    }
    let mut separator = false;
    while let Some(((_, c), after)) = rest.split_first() {
        match c {
            ' ' | '\t' | '\x0C' => rest = after,
            '=' | ':' if !separator => {
                separator = true;
                rest = after;
            }
            _ => break,
        }
    }
    let end = line.last().map_or(0, |(at, c)| at + c.len_utf8());
    let start = rest.first().map_or(end, |(at, _)| *at);
    Some(Entry { key: unescaped(key), value: unescaped(rest), value_span: Span::new(narrow(start), narrow(end)) })
}

fn unescaped(characters: &[(usize, char)]) -> String {
    let mut out = String::new();
    let mut characters = characters.iter().map(|(_, c)| *c);
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0C'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let got = entries(text);
        let got: Vec<(&str, &str)> = got.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn properties_are_read_as_java_does() {
        check("a = b\nc:d\r\ne f\n", &[("a", "b"), ("c", "d"), ("e", "f")]);
        check("# x\n! y\n\n  k  =  v w \n", &[("k", "v w ")]);
        check("k = a, \\\n   b\n", &[("k", "a, b")]);
        check("k\\ 1 = \\u0041\\t\\\\\n", &[("k 1", "A\t\\")]);
        check("alone\nk=\n", &[("alone", ""), ("k", "")]);
        check("k = x\\", &[("k", "x")]);
        check("k = =x:y", &[("k", "=x:y")]);
    }
}
