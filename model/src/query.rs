//! Questions about devices: labels, facts and state, compared and joined.
//!
//! `state = online and (label.site = tokyo or label.site = "new york") and memory >= 8GiB and not capability.gpu`:
//! `and` binds closer than `or`, `not` closest. A name alone asks whether it is there. Where both sides are numbers, with
//! a size's unit or without, they are compared as numbers, else as texts; of what is not there, `!=` alone is true.
//! What a name means is the business of who asks ([`Query::matches`]).

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use crate::quantity::Bytes;

/// Longest question, in bytes: it goes into a URL.
pub const MAX_QUERY: usize = 4096;

/// Deepest nesting of parentheses and `not`: reading one takes the stack.
const MAX_DEPTH: usize = 64;

/// A question about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    /// It is there, and neither empty as a number nor `false`.
    Has(String),
    Compare(String, Relation, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Why a text is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at character {}", self.character())]
pub struct QueryError {
    /// What is wrong, and what should be there.
    what: String,
    /// Where, as bytes of the text.
    at: Range<usize>,
    text: String,
}

impl QueryError {
    /// What is wrong, and what should be there.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The text, and below it a mark at the place.
    #[must_use]
    pub fn marked(&self) -> [String; 2] {
        let before = self.text.get(..self.at.start).map_or(0, |text| text.chars().count());
        let wide = self.text.get(self.at.clone()).map_or(0, |text| text.chars().count()).max(1);
        [self.text.clone(), format!("{}{}", " ".repeat(before), "^".repeat(wide))]
    }

    fn character(&self) -> usize {
        self.text.get(..self.at.start).map_or(0, |text| text.chars().count()) + 1
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let error = |at: Range<usize>, what: String| QueryError { what, at, text: text.to_owned() };
        if text.len() > MAX_QUERY {
            return Err(error(0..0, format!("the question has {} bytes, at most {MAX_QUERY} are read", text.len())));
        }
        let tokens = tokens(text).map_err(|(at, what)| error(at, what))?;
        let mut reader = Reader { tokens: &tokens, next: 0, end: text.len(), depth: 0 };
        let root = reader.any().and_then(|root| reader.end(root)).map_err(|(at, what)| error(at, what))?;
        Ok(Self { text: text.to_owned(), root })
    }
}

impl Query {
    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All names that it asks for.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.root.names(&mut names);
        names
    }

    /// Whether it is so for what `value` says of each name; nothing is what is not there.
    #[must_use]
    pub fn matches<'a>(&self, value: &impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> bool {
        self.root.matches(value)
    }
}

impl Node {
    fn names<'a>(&'a self, into: &mut BTreeSet<&'a str>) {
        match self {
            Self::Any(all) | Self::All(all) => all.iter().for_each(|node| node.names(into)),
            Self::Not(node) => node.names(into),
            Self::Has(name) | Self::Compare(name, ..) => drop(into.insert(name)),
        }
    }

    fn matches<'a>(&self, value: &impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>) -> bool {
        match self {
            Self::Any(all) => all.iter().any(|node| node.matches(value)),
            Self::All(all) => all.iter().all(|node| node.matches(value)),
            Self::Not(node) => !node.matches(value),
            Self::Has(name) => value(name).is_some_and(|value| value != "false"),
            Self::Compare(name, relation, wanted) => {
                value(name).map_or(*relation == Relation::Unequal, |value| relation.holds(&value, wanted))
            }
        }
    }
}

impl Relation {
    fn holds(self, value: &str, wanted: &str) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        // Texts have no order that anybody would mean: `<` on them is never so.
        let order = match (number(value), number(wanted)) {
            (Some(value), Some(wanted)) => value.partial_cmp(&wanted),
            (_, _) if value == wanted => Some(Equal),
            (_, _) => None,
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::Unequal => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::AtMost => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::AtLeast => matches!(order, Some(Greater | Equal)),
        }
    }
}

/// `12`, `-1.5` and `8GiB`, whose unit counts in bytes.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    if is_plain {
        return text.parse().ok();
    }
    // Seven decimals of a petabyte are exact in it.
    text.parse::<Bytes>().ok().map(|bytes| bytes.0 as f64)
}

type Wrong = (Range<usize>, String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Relation(Relation),
    /// Bare, as it stands.
    Word(String),
    /// Quoted.
    Text(String),
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+')
}

fn tokens(text: &str) -> Result<Vec<(Range<usize>, Token)>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        let two = |token: Token| (2, token);
        let (length, token) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' => (1, Token::Open),
            ')' => (1, Token::Close),
            '!' if rest.starts_with("!=") => two(Token::Relation(Relation::Unequal)),
            '=' if rest.starts_with("==") => two(Token::Relation(Relation::Equal)),
            '<' if rest.starts_with("<=") => two(Token::Relation(Relation::AtMost)),
            '>' if rest.starts_with(">=") => two(Token::Relation(Relation::AtLeast)),
            '=' => (1, Token::Relation(Relation::Equal)),
            '<' => (1, Token::Relation(Relation::Less)),
            '>' => (1, Token::Relation(Relation::Greater)),
            '"' | '\'' => {
                let inner = rest.get(1..).unwrap_or_default();
                let Some(end) = inner.find(c) else {
                    return Err((at..text.len(), format!("a text begins with {c} and does not end with it")));
                };
                (end + 2, Token::Text(inner.get(..end).unwrap_or_default().to_owned()))
            }
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (end, Token::Word(rest.get(..end).unwrap_or_default().to_owned()))
            }
            '&' | '|' | '!' => {
                let help = "write `and`, `or` and `not`";
                return Err((at..at + 1, format!("`{c}` has no meaning here: {help}")));
            }
            c => {
                let help = "put a text with other characters between quotes";
                return Err((at..at + c.len_utf8(), format!("`{c}` has no meaning here: {help}")));
            }
        };
        found.push((at..at + length, token));
        at += length;
    }
    Ok(found)
}

struct Reader<'a> {
    tokens: &'a [(Range<usize>, Token)],
    next: usize,
    end: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn place(&self) -> Range<usize> {
        self.tokens.get(self.next).map_or(self.end..self.end, |(at, _)| at.clone())
    }

    fn wrong<T>(&self, what: &str) -> Result<T, Wrong> {
        Err((self.place(), what.to_owned()))
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        self.next += usize::from(is);
        is
    }

    fn end(&self, root: Node) -> Result<Node, Wrong> {
        match self.peek() {
            None => Ok(root),
            Some(Token::Close) => self.wrong("a `)` closes nothing"),
            Some(_) => self.wrong("`and` or `or` is missing before this"),
        }
    }

    fn any(&mut self) -> Result<Node, Wrong> {
        let mut all = vec![self.all()?];
        while self.takes("or") {
            all.push(self.all()?);
        }
        Ok(one_of(all, Node::Any))
    }

    fn all(&mut self) -> Result<Node, Wrong> {
        let mut all = vec![self.one()?];
        while self.takes("and") {
            all.push(self.one()?);
        }
        Ok(one_of(all, Node::All))
    }

    fn one(&mut self) -> Result<Node, Wrong> {
        if self.depth >= MAX_DEPTH {
            return self.wrong(&format!("this is nested deeper than {MAX_DEPTH} times"));
        }
        self.depth += 1;
        let node = if self.takes("not") { Ok(Node::Not(Box::new(self.one()?))) } else { self.plain() };
        self.depth -= 1;
        node
    }

    fn plain(&mut self) -> Result<Node, Wrong> {
        match self.peek() {
            Some(Token::Open) => {
                let open = self.place();
                self.next += 1;
                let inner = self.any()?;
                match self.peek() {
                    Some(Token::Close) => self.next += 1,
                    Some(_) => return self.wrong("`and`, `or` or `)` is missing before this"),
                    None => return Err((open, "this `(` is never closed".to_owned())),
                }
                Ok(inner)
            }
            Some(Token::Word(word)) if matches!(word.as_str(), "and" | "or") => {
                let what = format!("a comparison is missing before `{word}`");
                self.wrong(&what)
            }
            Some(Token::Word(name)) => {
                let name = name.clone();
                self.next += 1;
                self.comparison(name)
            }
            Some(Token::Text(_)) => self.wrong("a name comes first, as in `label.site = \"new york\"`"),
            Some(Token::Relation(_)) => self.wrong("a name is missing before this"),
            Some(Token::Close) => self.wrong("a comparison is missing before `)`"),
            None => self.wrong("a comparison is missing, as in `label.site = tokyo`"),
        }
    }

    fn comparison(&mut self, name: String) -> Result<Node, Wrong> {
        let Some(Token::Relation(relation)) = self.peek() else { return Ok(Node::Has(name)) };
        let relation = *relation;
        self.next += 1;
        let value = match self.peek() {
            Some(Token::Word(word)) if matches!(word.as_str(), "and" | "or" | "not") => {
                let what = format!("a value is missing before `{word}`; put it between quotes where it is the value");
                return self.wrong(&what);
            }
            Some(Token::Word(value) | Token::Text(value)) => value.clone(),
            Some(_) | None => return self.wrong("a value is missing, as in `memory >= 8GiB`"),
        };
        let orders = !matches!(relation, Relation::Equal | Relation::Unequal);
        if orders && number(&value).is_none() {
            let what =
                format!("`{value}` is no number: `<`, `<=`, `>` and `>=` compare numbers, as in `20`, `0.5`, `8GiB`");
            return self.wrong(&what);
        }
        self.next += 1;
        Ok(Node::Compare(name, relation, value))
    }
}

fn one_of(mut all: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        Some(last) => {
            all.push(last);
            join(all)
        }
        None => join(all),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn value(name: &str) -> Option<Cow<'static, str>> {
        let text = match name {
            "label.site" => "new york",
            "label.camera" => "true",
            "label.spare" => "false",
            "label.gpu" => "",
            "memory" => "8589934592",
            "cores" => "4",
            "state" => "online",
            "label.version" => "1.10",
            _ => return None,
        };
        Some(Cow::Borrowed(text))
    }

    #[test]
    fn questions_are_answered() {
        for (text, expect) in [
            ("state = online", true),
            ("state == offline", false),
            ("label.camera=true and cores>2", true),
            ("cores > 4 or label.gpu", true),
            ("not label.gpu or cores = 4 and cores < 3", false),
            ("not (label.gpu and cores > 9)", true),
            ("not not label.gpu", true),
            ("label.spare", false),
            ("label.site = \"new york\"", true),
            ("label.site='new york' and state!=offline", true),
            ("memory >= 8GiB", true),
            ("memory > 8GiB", false),
            ("memory = 8GiB", true),
            ("memory < 8.5GB", false),
            ("cores = 4.0", true),
            ("cores <= 4", true),
            ("label.nothing = x", false),
            ("label.nothing != x", true),
            ("label.nothing > 1", false),
            ("label.site > 1", false),
            ("label.version = 1.10", true),
            ("cores > -1", true),
        ] {
            let query: Query = text.parse().unwrap();
            assert_eq!(query.matches(&value), expect, "{text}");
            assert_eq!(query.as_str(), text);
        }
        let query: Query = "a and (not b = 1 or c < 2) and a".parse().unwrap();
        assert_eq!(query.names().into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_wrong_question_says_where_it_is_wrong() {
        for (text, at, expect) in [
            ("", 0..0, "a comparison is missing, as in"),
            ("   ", 3..3, "a comparison is missing"),
            ("a and", 5..5, "a comparison is missing"),
            ("a and or b", 6..8, "missing before `or`"),
            ("and a", 0..3, "missing before `and`"),
            ("a b", 2..3, "`and` or `or` is missing"),
            ("(a", 0..1, "never closed"),
            ("(a b)", 3..4, "`and`, `or` or `)`"),
            ("a)", 1..2, "closes nothing"),
            ("()", 1..2, "missing before `)`"),
            ("a =", 3..3, "a value is missing"),
            ("a = and b", 4..7, "a value is missing before `and`"),
            ("a = (b)", 4..5, "a value is missing"),
            ("= 3", 0..1, "a name is missing"),
            ("\"a\" = 3", 0..3, "a name comes first"),
            ("a = \"b", 4..6, "does not end"),
            ("a && b", 2..3, "write `and`"),
            ("!a", 0..1, "write `and`, `or` and `not`"),
            ("a = ü", 4..6, "between quotes"),
            ("a > tokyo", 4..9, "no number"),
            ("a > 1..2", 4..8, "no number"),
        ] {
            let error = text.parse::<Query>().unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.to_string().contains(expect), "{text}: {error}");
        }
        let deep = format!("{}a{}", "(".repeat(70), ")".repeat(70));
        assert!(deep.parse::<Query>().unwrap_err().what().contains("nested deeper"));
        assert!("a".repeat(MAX_QUERY + 1).parse::<Query>().unwrap_err().what().contains("bytes"));
        let [text, mark] = "ü = 1".parse::<Query>().unwrap_err().marked();
        assert_eq!((text.as_str(), mark.as_str()), ("ü = 1", "^"));
        let [_, mark] = "label.a > tokyo".parse::<Query>().unwrap_err().marked();
        assert_eq!(mark, "          ^^^^^");
    }
}
