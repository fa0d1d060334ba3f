//! The tree's items cut into tokens. Put together, their texts are the file, byte for byte.

use crate::source::{Span, narrow, widen};
use crate::syntax::tree::{ItemKind, Tree};

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes.
    pub span: Span,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// White space within a line.
    Blank,
    /// LF, with the CR before it.
    LineEnd,
    /// From `#` to the end of the line.
    Comment,
    /// `import`, `facet`, `instance of`, `application`, and what else stands before a name.
    Word,
    /// A block's name.
    Name,
    /// A property's name.
    Property,
    /// A property's value, or one line of it; the place that an import names.
    Value,
    /// `:`, `;`, `{`, `}`
    Punctuation,
    /// What could not be read.
    Garbage,
}

/// The tokens of a file. Works on any text; mistakes are tokens too.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token> {
    let tree = crate::syntax::parse(source, crate::source::FileId(0), &mut crate::diagnostic::Sink::default());
    let mut out = Cutter { source, tokens: Vec::new() };
    for item in &tree.items {
        out.item(&tree, item.span, &item.kind);
    }
    out.tokens
}

struct Cutter<'s> {
    source: &'s str,
    tokens: Vec<Token>,
}

impl Cutter<'_> {
    fn item(&mut self, tree: &Tree, span: Span, kind: &ItemKind) {
        let mut at = span.start;
        match kind {
            ItemKind::Import { location } => at = self.part(at, *location, TokenKind::Value),
            ItemKind::Open { name, .. } => at = self.part(at, *name, TokenKind::Name),
            ItemKind::Property { name, value } => {
                at = self.part(at, *name, TokenKind::Property);
                let pieces = tree.pieces(value);
                let pieces = if pieces.is_empty() { std::slice::from_ref(&value.span) } else { pieces };
                for piece in pieces {
                    at = self.part(at, *piece, TokenKind::Value);
                }
            }
            ItemKind::Garbage => return self.push(span.start, span.end, TokenKind::Garbage),
            ItemKind::Blank | ItemKind::Comment | ItemKind::Close => {}
        }
        self.gap(at, span.end);
    }

    /// What is before `part`, then `part`; gives where it ends.
    fn part(&mut self, from: u32, part: Span, kind: TokenKind) -> u32 {
        self.gap(from, part.start);
        self.push(part.start, part.end, kind);
        part.end
    }

    fn push(&mut self, start: u32, end: u32, kind: TokenKind) {
        if start < end {
            self.tokens.push(Token { kind, span: Span::new(start, end) });
        }
    }

    /// White space, punctuation, comments and keywords between the parts that the tree names.
    fn gap(&mut self, from: u32, to: u32) {
        let mut at = from;
        while at < to {
            let rest = self.source.get(widen(at)..widen(to)).unwrap_or_default();
            let Some(first) = rest.chars().next() else { return };
            let (kind, len) = match first {
                '\n' => (TokenKind::LineEnd, 1),
                '\r' if rest.starts_with("\r\n") => (TokenKind::LineEnd, 2),
                '#' => {
                    let line = rest.find('\n').unwrap_or(rest.len());
                    let text = rest.get(..line).unwrap_or_default();
                    (TokenKind::Comment, text.strip_suffix('\r').map_or(line, str::len))
                }
                ':' | ';' | '{' | '}' => (TokenKind::Punctuation, 1),
                c if c <= ' ' => (TokenKind::Blank, blank_len(rest)),
                _ => {
                    let end = rest.find(|c: char| c <= ' ' || matches!(c, '#' | ':' | ';' | '{' | '}'));
                    (TokenKind::Word, end.unwrap_or(rest.len()))
                }
            };
            let end = at + narrow(len.max(1));
            self.push(at, end, kind);
            at = end;
        }
    }
}

fn blank_len(text: &str) -> usize {
    let end = text.find(|c: char| c > ' ' || c == '\n').unwrap_or(text.len());
    let blank = text.get(..end).unwrap_or_default();
    // A CR that belongs to the line end stays with it.
    if text.get(end..).is_some_and(|rest| rest.starts_with('\n')) && blank.len() > 1 {
        blank.strip_suffix('\r').map_or(end, str::len)
    } else {
        end
    }
}
