//! The inside of one line. The texts given here have no line end and no CR.
//!
//! White space follows the original: `trim` takes every character up to U+0020, `\s` is the six
//! ASCII ones.

use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{tag_no_case, take_till, take_till1, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{eof, peek, recognize, verify};
use nom::sequence::{preceded, terminated};
use robo_model::name::is_id;

use super::tree::BlockKind;

type Parsed<'t, T> = nom::IResult<&'t str, T>;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'t> {
    Blank,
    Comment,
    Import(Import<'t>),
    Open(Opening<'t>),
    Close(Closing<'t>),
    Property(Property<'t>),
    /// None of these; without its comment.
    Garbage(&'t str),
}

/// `import LOCATION;`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Import<'t> {
    pub(super) location: &'t str,
    /// What follows the location; `;` when all is well, empty when that is missing.
    pub(super) end: &'t str,
}

/// `NAME {`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening<'t> {
    pub(super) block: BlockKind,
    /// What stands between the keyword and `{`, trimmed.
    pub(super) name: &'t str,
    pub(super) brace: Brace<'t>,
}

/// How an opening ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brace<'t> {
    Open,
    Missing,
    /// Text after `{`.
    Extra(&'t str),
}

/// `}`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing<'t> {
    /// Text after `}` that is no comment; empty when all is well.
    pub(super) extra: &'t str,
}

/// `NAME: VALUE;`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Property<'t> {
    pub(super) name: &'t str,
    pub(super) value: Piece<'t>,
}

/// A value, or one line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'t> {
    /// Without the final `;`; trimmed on the left only when there is one.
    pub(super) text: &'t str,
    pub(super) end: PieceEnd,
    /// The first `;` that stands inside and outside of quotes.
    pub(super) stray: Option<&'t str>,
}

/// How a piece of a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceEnd {
    Semicolon,
    /// A comma: the next line may go on with it.
    Comma,
    Nothing,
}

/// Every character up to U+0020 is blank, as for Java's `trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Java's `\s`.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r')
}

/// What stands before the first `#`.
fn code(text: &str) -> &str {
    take_till::<_, _, nom::error::Error<&str>>(|c| c == '#').parse_complete(text).map_or(text, |(_, code)| code)
}

/// A line outside of blocks: the first of blank, comment, import, facet, instance, application, component that fits.
pub(super) fn top(text: &str) -> Line<'_> {
    let text = trim(text);
    if text.is_empty() {
        return Line::Blank;
    }
    if text.starts_with('#') {
        return Line::Comment;
    }
    let code = trim(code(text));
    if let Some(import) = import(code) {
        return Line::Import(import);
    }
    let keyword = |word, block| keyword(word, code).and_then(|rest| opening(block, rest));
    let named = |opening: &Opening<'_>| !opening.name.is_empty();
    keyword("facet", BlockKind::Facet)
        .or_else(|| keyword("instance of", BlockKind::Instance))
        .or_else(|| keyword("application", BlockKind::Application).filter(named))
        .or_else(|| opening(BlockKind::Component, code))
        .map_or(Line::Garbage(code), Line::Open)
}

/// A line inside of a block: the first of end, blank, comment, instance, property that fits.
pub(super) fn body(text: &str, holder: BlockKind) -> Line<'_> {
    let text = trim(text);
    if let Some(rest) = text.strip_prefix('}') {
        return Line::Close(Closing { extra: trim(code(rest)) });
    }
    if text.is_empty() {
        return Line::Blank;
    }
    if text.starts_with('#') {
        return Line::Comment;
    }
    let code = trim(code(text));
    if let Some(opening) = keyword("instance of", code).and_then(|rest| opening(BlockKind::Instance, rest)) {
        return Line::Open(opening);
    }
    match property(value_code(text, code, holder)) {
        Some(property) => Line::Property(property),
        None => Line::Garbage(code),
    }
}

/// A further line of a value; nothing when the line cannot be one.
pub(super) fn continuation(text: &str, holder: BlockKind) -> Option<Piece<'_>> {
    let text = trim(text);
    let code = trim(code(text));
    let ends = code.starts_with('}') || keyword("instance of", code).is_some() || begins_property(code).is_ok();
    (!ends).then(|| piece(value_code(text, code, holder)))
}

/// The statements of a block that stands on one line, each with its `;`.
pub(super) fn statements(inside: &str) -> impl Iterator<Item = &str> {
    let mut rest = inside;
    std::iter::from_fn(move || {
        let end = stray_semicolon(rest).map_or(rest.len(), |at| offset_in(rest, at) + 1);
        let (statement, after) = rest.split_at_checked(end)?;
        rest = after;
        let statement = trim(statement);
        (!statement.is_empty() || !after.is_empty()).then_some(statement)
    })
    .filter(|statement| !statement.is_empty())
}

/// A property with or without its `;`, where there is one.
pub(super) fn statement(text: &str) -> Option<Property<'_>> {
    property(text).filter(|property| is_id(property.name))
}

/// An opening `NAME {` whose name is none: nothing when the line does not end with `{`.
pub(super) fn broken_opening(code: &str) -> Option<Opening<'_>> {
    opening(BlockKind::Component, code).filter(|opening| opening.brace == Brace::Open && !opening.name.is_empty())
}

/// A keyword that is written wrongly, and the name after it: `instanceof Web`, `fcaet web`.
pub(crate) fn misspelt_keyword(head: &str) -> Option<(BlockKind, &str)> {
    let (first, rest) = head.split_once(is_space)?;
    let rest = rest.trim_start_matches(is_space);
    let near = |word: &str, keyword: &str| strsim::osa_distance(&word.to_ascii_lowercase(), keyword) <= 2;
    if first.len() > "instances-of".len() {
        return None;
    }
    if near(first, "instanceof") || near(first, "instance-of") {
        return Some((BlockKind::Instance, rest));
    }
    if near(first, "instance") {
        let (second, name) = rest.split_once(is_space).unwrap_or(("", rest));
        let of = strsim::osa_distance(&second.to_ascii_lowercase(), "of") <= 1 && !second.is_empty();
        return Some((BlockKind::Instance, if of { name.trim_start_matches(is_space) } else { rest }));
    }
    near(first, "facet").then_some((BlockKind::Facet, rest))
}

/// Where `part`, a slice of `text`, begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// An opening `NAME {` where a property should stand: a `}` was forgotten.
pub(super) fn misplaced_opening(code: &str) -> Option<Opening<'_>> {
    let block = |word, block| keyword(word, code).and_then(|rest| opening(block, rest));
    block("facet", BlockKind::Facet)
        .or_else(|| block("application", BlockKind::Application).filter(|o| !o.name.is_empty()))
        .or_else(|| opening(BlockKind::Component, code))
        .filter(|opening| opening.brace == Brace::Open && is_id(opening.name))
}

/// `import\s+[^;]*`, searched and not anchored, as in the original; the rest must be `;`.
fn import(code: &str) -> Option<Import<'_>> {
    let word = |at: &'_ str| -> bool { at.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("import")) };
    let start =
        code.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'i' | b'I')).map(|(i, _)| i).find(|i| {
            code.get(*i..).is_some_and(|at| word(at) && at.get(6..).is_some_and(|t| t.starts_with(is_space)))
        })?;
    let statement = preceded(tag_no_case("import"), preceded(take_while1(is_space), take_till(|c| c == ';')));
    let (end, location) = complete(statement, code.get(start..)?)?;
    Some(Import { location: trim(location), end: trim(end) })
}

/// What follows `word` when the line starts with it as a word of its own.
fn keyword<'t>(word: &'static str, code: &'t str) -> Option<&'t str> {
    let end = alt((eof, recognize(verify(nom::character::complete::anychar, |c| is_space(*c)))));
    let (rest, _) = complete(terminated(tag_no_case(word), peek(end)), code)?;
    Some(rest)
}

/// `name { "{" }`; nothing when this is not the opening of a block.
fn opening(block: BlockKind, text: &str) -> Option<Opening<'_>> {
    let (rest, name) = complete(take_till(|c| c == '{'), text)?;
    let name = trim(name);
    if rest.is_empty() {
        let missing = name.is_empty() || is_id(name);
        return missing.then_some(Opening { block, name, brace: Brace::Missing });
    }
    let (rest, _) = complete(take_while1(|c| c == '{'), rest)?;
    let extra = trim(rest);
    Some(Opening { block, name, brace: if extra.is_empty() { Brace::Open } else { Brace::Extra(extra) } })
}

/// `[^:\s]+\s*:\s*.*`, searched and not anchored: words before the name are dropped.
fn property(code: &str) -> Option<Property<'_>> {
    let mut from = 0;
    loop {
        let colon = from + code.get(from..)?.find(':')?;
        let before = code.get(..colon)?.trim_end_matches(is_space);
        let start = before.rfind(|c| c == ':' || is_space(c)).map_or(0, |i| i + 1);
        let name = before.get(start..)?;
        if name.is_empty() || before.ends_with(':') {
            from = colon + 1;
            continue;
        }
        let value = complete(preceded(char(':'), take_while(is_space)), code.get(colon..)?)?.0;
        return Some(Property { name, value: piece(value) });
    }
}

/// A property's name and its colon at the very start of a line.
fn begins_property(code: &str) -> Parsed<'_, &str> {
    terminated(verify(take_till1(|c| c == ':' || is_space(c)), is_id), preceded(take_while(is_space), char(':')))
        .parse_complete(code)
}

fn piece(text: &str) -> Piece<'_> {
    let (text, end) = match text.strip_suffix(';') {
        Some(text) => (text, PieceEnd::Semicolon),
        None if text.ends_with(',') => (text, PieceEnd::Comma),
        None => (text, PieceEnd::Nothing),
    };
    Piece { text, end, stray: stray_semicolon(text) }
}

/// The value before a stray `;`, and what follows that where it can be no statement.
pub(super) fn trailer<'t>(piece: &Piece<'t>) -> Option<(&'t str, &'t str)> {
    let at = offset_in(piece.text, piece.stray?);
    let (value, rest) = piece.text.split_at_checked(at)?;
    let rest = rest.strip_prefix(';').map(trim)?;
    let foreign = rest.starts_with("//") || rest.starts_with("/*");
    (foreign || (!rest.is_empty() && rest.chars().all(char::is_whitespace))).then_some((value, rest))
}

/// What follows a stray `;`, when it is a property: two stand on one line.
pub(crate) fn second_property(value: &str) -> Option<(&str, &str)> {
    let at = offset_in(value, stray_semicolon(value)?);
    let (first, rest) = value.split_at_checked(at)?;
    let rest = rest.strip_prefix(';').map(trim)?;
    begins_property(rest).is_ok().then_some((first, rest))
}

/// A property's name and value, at the very start of a text.
pub(crate) fn bare_property(text: &str) -> Option<(&str, &str)> {
    let (value, name) = begins_property(text).ok()?;
    Some((name, value.trim_start_matches(is_space)))
}

/// The first `;` outside of complete `"…"` pairs.
fn stray_semicolon(text: &str) -> Option<&str> {
    if !text.contains(';') {
        return None;
    }
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(['"', ';'])?;
        if text.get(at..)?.starts_with(';') {
            return text.get(at..=at);
        }
        from = at + 1 + text.get(at + 1..)?.find('"').map_or(0, |close| close + 1);
    }
}

/// A property's line without its comment. A `#` in quotes does not begin one, unless the line is
/// a complete property up to it: in an instance the original takes that for an override.
fn value_code<'t>(text: &'t str, code: &'t str, holder: BlockKind) -> &'t str {
    let quotes = code.bytes().filter(|byte| *byte == b'"').count();
    if code.len() == text.len() || quotes % 2 == 0 || (holder == BlockKind::Instance && code.ends_with(';')) {
        return code;
    }
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(['"', '#'])).map(|i| from + i) {
        let rest = text.get(at + 1..).unwrap_or_default();
        match (text.as_bytes().get(at), rest.find('"')) {
            (Some(b'"'), Some(close)) => from = at + 1 + close + 1,
            (Some(b'"'), None) => from = at + 1,
            _ => return trim(text.get(..at).unwrap_or_default()),
        }
    }
    text
}

fn complete<'t, O>(
    mut parser: impl nom::Parser<&'t str, Output = O, Error = nom::error::Error<&'t str>>,
    text: &'t str,
) -> Option<(&'t str, O)> {
    parser.parse_complete(text).ok()
}
