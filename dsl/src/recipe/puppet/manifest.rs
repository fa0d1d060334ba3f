//! What can be said of a Puppet manifest without Puppet: brackets and quotes, and the parameters of its class.
//!
//! It errs on the side of silence: what may be a regular expression or a text over several lines (`@(END)`) ends the
//! check of brackets, but not that of parameters.

use std::collections::BTreeSet;
use std::ops::Range;

/// A manifest, read.
#[derive(Debug, Default)]
pub(super) struct Manifest<'t> {
    /// The first class that has parameters.
    pub(super) class: Option<Class<'t>>,
    /// Where it is not well formed, why, and what to do.
    pub(super) problem: Option<(Range<usize>, &'static str, &'static str)>,
}

/// A class.
#[derive(Debug)]
pub(super) struct Class<'t> {
    /// Where its name stands.
    pub(super) name: Range<usize>,
    /// The names of its parameters, with their `$`.
    pub(super) parameters: BTreeSet<&'t str>,
}

impl<'t> Manifest<'t> {
    pub(super) fn read(text: &'t str) -> Self {
        Scan { text, at: 0, open: Vec::new(), head: Head::None, sure: true, before: None, out: Self::default() }.run()
    }
}

/// How far the head of a class was read.
enum Head<'t> {
    None,
    /// After `class`.
    Keyword,
    /// After its name: what comes before the parameters may be `inherits`.
    Name(Range<usize>),
    /// In the parameters, which began at this depth of brackets; a name is one's own before its `=`.
    Parameters {
        name: Range<usize>,
        depth: usize,
        value: bool,
        found: BTreeSet<&'t str>,
    },
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    open: Vec<(usize, u8)>,
    head: Head<'t>,
    /// False after something that this scan does not understand.
    sure: bool,
    /// The last byte that was no blank.
    before: Option<u8>,
    out: Manifest<'t>,
}

const QUOTE_HELP: &str = "close it with the same quote";

impl<'t> Scan<'t> {
    fn run(mut self) -> Manifest<'t> {
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            match byte {
                b'#' => self.skip_line(),
                b'\'' | b'"' => self.string(byte),
                b'(' | b'[' | b'{' => self.opening(byte),
                b')' | b']' | b'}' => self.closing(byte),
                b'/' if matches!(self.before, Some(b'~' | b'{' | b'(' | b',' | b'[') | None) => self.unsure(),
                b'@' if self.text.get(self.at..).is_some_and(|rest| rest.starts_with("@(")) => self.unsure(),
                b'$' => self.variable(),
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => self.word(),
                _ => {
                    if let (b'=' | b',', Head::Parameters { depth, value, .. }) = (byte, &mut self.head)
                        && *depth == self.open.len()
                    {
                        *value = byte == b'=';
                    }
                    self.at += 1;
                }
            }
            if !byte.is_ascii_whitespace() && byte != b'#' {
                self.before = Some(byte);
            }
        }
        if let Some((at, _)) = self.open.first().copied() {
            self.problem(at..at + 1, "a bracket of the manifest is never closed", "close it");
        }
        self.out
    }

    fn unsure(&mut self) {
        self.sure = false;
        self.at += 1;
    }

    fn problem(&mut self, at: Range<usize>, message: &'static str, help: &'static str) {
        if self.sure && self.out.problem.is_none() {
            self.out.problem = Some((at, message, help));
        }
    }

    fn skip_line(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn string(&mut self, quote: u8) {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == quote {
                return;
            }
        }
        self.problem(start..start + 1, "a quote of the manifest is never closed", QUOTE_HELP);
        self.sure = false;
        self.at = self.text.len();
    }

    fn opening(&mut self, byte: u8) {
        self.open.push((self.at, byte));
        self.at += 1;
        match std::mem::replace(&mut self.head, Head::None) {
            Head::Name(name) if byte == b'(' && self.out.class.is_none() => {
                let depth = self.open.len();
                self.head = Head::Parameters { name, depth, value: false, found: BTreeSet::new() };
            }
            head @ Head::Parameters { .. } => self.head = head,
            Head::None | Head::Keyword | Head::Name(_) => {}
        }
    }

    fn closing(&mut self, byte: u8) {
        let at = self.at;
        self.at += 1;
        if let Head::Parameters { depth, .. } = &self.head
            && *depth == self.open.len()
            && let Head::Parameters { name, found, .. } = std::mem::replace(&mut self.head, Head::None)
            && !found.is_empty()
        {
            self.out.class = Some(Class { name, parameters: found });
        }
        let fits = match self.open.pop() {
            Some((_, open)) => matches!((open, byte), (b'(', b')') | (b'[', b']') | (b'{', b'}')),
            None => false,
        };
        if !fits {
            self.problem(at..at + 1, "a bracket of the manifest closes nothing", "open it, or remove it");
        }
    }

    fn variable(&mut self) {
        let start = self.at;
        self.at += 1;
        self.name();
        let name = self.text.get(start..self.at).unwrap_or_default();
        if let Head::Parameters { depth, value: false, found, .. } = &mut self.head
            && *depth == self.open.len()
        {
            found.insert(name);
        }
    }

    fn word(&mut self) {
        let start = self.at;
        self.name();
        let word = self.text.get(start..self.at).unwrap_or_default();
        self.head = match std::mem::replace(&mut self.head, Head::None) {
            Head::None if word.eq_ignore_ascii_case("class") => Head::Keyword,
            Head::Keyword => Head::Name(start..self.at),
            head @ (Head::Name(_) | Head::Parameters { .. }) => head,
            Head::None => Head::None,
        };
    }

    fn name(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(**b, b'_' | b':' | b'-')).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, class: Option<(&str, &[&str])>, problem: Option<usize>) {
        let read = Manifest::read(text);
        let found =
            read.class.map(|c| (text.get(c.name).unwrap().to_owned(), c.parameters.into_iter().collect::<Vec<_>>()));
        assert_eq!(found, class.map(|(name, parameters)| (name.to_owned(), parameters.to_vec())), "{text}");
        assert_eq!(read.problem.map(|(at, _, _)| at.start), problem, "{text}");
    }

    #[test]
    fn classes_and_brackets_are_found() {
        check("class a::start($x = undef, $y) { file{'/t': mode => 755 } }", Some(("a::start", &["$x", "$y"])), None);
        check(
            "# class b ($no) {\nclass a inherits p (\n  String $x = 'b)', # $z\n  Array[Int] $y = [f($q)],\n) {}",
            Some(("a", &["$x", "$y"])),
            None,
        );
        check("class a { notify{\"x\":} }", None, None);
        check("class a () {}", None, None);
        check("class a($x) {} class b($y) {}", Some(("a", &["$x"])), None);
        check("class a($x = { 'k' => $v }) {", Some(("a", &["$x"])), Some(28));
        check("class a($x = undef)\n file{'f': }\n}", Some(("a", &["$x"])), Some(33));
        check("file { \"x: }", None, Some(7));
        check("if $x =~ /\\(['/ { a }", None, None);
        check("$x = @(END)\n it's\n END", None, None);
        check("a[1) ]", None, Some(3));
        check("", None, None);
    }
}
