//! The state machine over lines: which line stands where, and how to go on after a bad one.

use robo_model::limits::MAX_INSTANCE_DEPTH;
use robo_model::name::is_id;

use super::line::{self, Brace, Closing, Import, Line, Opening, Piece, PieceEnd, Property};
use super::text::Text;
use super::tree::{BlockKind, Item, ItemKind, Tree, Value};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span, narrow};

/// Reads a file. Every mistake goes to `sink`; every byte goes into the tree.
pub(crate) fn parse(source: &str, file: FileId, sink: &mut Sink) -> Tree {
    let mut parser =
        Parser { source, file, sink, tree: Tree::default(), open: Vec::new(), pos: 0, too_deep: false, adrift: false };
    while let Some(raw) = parser.next_line() {
        parser.line(raw);
    }
    parser.end();
    parser.tree
}

/// A line in the file: `start..end` without its LF, `next` after it.
#[derive(Clone, Copy)]
struct Raw {
    start: usize,
    end: usize,
    next: usize,
}

impl Raw {
    fn span(self) -> Span {
        Span::new(narrow(self.start), narrow(self.next))
    }
}

struct Open {
    block: BlockKind,
    name: Span,
    /// That it has no `{` was reported.
    headless: bool,
}

struct Parser<'s, 'd> {
    source: &'s str,
    file: FileId,
    sink: &'d mut Sink,
    tree: Tree,
    /// The blocks that are open here, outermost first.
    open: Vec<Open>,
    pos: usize,
    too_deep: bool,
    /// The line before was a part of a block, outside of any, and reported: more of it is the same mistake.
    adrift: bool,
}

impl<'s> Parser<'s, '_> {
    fn raw_at(&self, start: usize) -> Option<Raw> {
        let rest = self.source.get(start..).filter(|rest| !rest.is_empty())?;
        Some(match rest.find('\n') {
            Some(i) => Raw { start, end: start + i, next: start + i + 1 },
            None => Raw { start, end: self.source.len(), next: self.source.len() },
        })
    }

    fn next_line(&mut self) -> Option<Raw> {
        let raw = self.raw_at(self.pos)?;
        self.pos = raw.next;
        Some(raw)
    }

    fn text(&self, raw: Raw) -> Text<'s> {
        let line = self.source.get(raw.start..raw.end).unwrap_or_default().trim_end_matches('\r');
        Text::new(self.source, Span::new(narrow(raw.start), narrow(raw.start + line.len())))
    }

    fn line(&mut self, raw: Raw) {
        let text = self.text(raw);
        let line = match self.open.last() {
            None => line::top(text.as_str()),
            Some(open) => line::body(text.as_str(), open.block),
        };
        match line {
            Line::Blank => self.run(raw, ItemKind::Blank),
            Line::Comment => self.run(raw, ItemKind::Comment),
            Line::Import(import) => self.import(raw, &text, import),
            Line::Open(opening) => self.opening(raw, &text, opening),
            Line::Close(closing) => self.closing(raw, &text, closing),
            Line::Property(property) => self.property(raw, &text, property),
            Line::Garbage(code) if self.open.is_empty() => self.unknown_block(raw, &text, code),
            Line::Garbage(code) => self.unknown_property(raw, &text, code),
        }
    }

    /// Adds lines that need no more than their place; neighbours of one kind become one item.
    fn run(&mut self, raw: Raw, kind: ItemKind) {
        match self.tree.items.last_mut() {
            Some(last) if last.kind == kind => last.span.end = narrow(raw.next),
            _ => self.item(raw.span(), kind),
        }
    }

    fn item(&mut self, span: Span, kind: ItemKind) {
        self.tree.items.push(Item { span, kind });
    }

    fn place(&self, span: Span) -> Place {
        Place { file: self.file, span }
    }

    fn report(&mut self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, self.place(span), message)
    }

    fn import(&mut self, raw: Raw, text: &Text<'_>, import: Import<'_>) {
        let location = text.span_of(import.location);
        self.item(raw.span(), ItemKind::Import { location });
        if import.end.is_empty() {
            let end = Span::new(location.end, location.end);
            let found = self
                .report(
                    Code::ImportEnd,
                    end,
                    format!("the import of `{}` has no `;` at its end", short(import.location)),
                )
                .label("`;` is missing here")
                .help(if import.location.ends_with('{') {
                    "a line with `import` in it imports a file: give the block another name"
                } else {
                    "write `import path/of/file.graph;`"
                });
            self.sink.push(found);
            self.adrift = import.location.ends_with('{');
        } else if import.end != ";" {
            let extra = text.span_of(line::trim(import.end.strip_prefix(';').unwrap_or(import.end)));
            let found = self
                .report(Code::OneBlockPerLine, extra, "an import takes a line of its own")
                .label("does not belong here")
                .help("put what follows `;` on the next line");
            self.sink.push(found);
        }
    }

    fn opening(&mut self, raw: Raw, text: &Text<'_>, opening: Opening<'_>) {
        self.adrift = false;
        let name = if opening.name.is_empty() {
            // An empty name has no place of its own: it stands for the line's code.
            let code = text.span_of(line::trim(text.as_str()));
            Span::new(code.start, code.end)
        } else {
            text.span_of(opening.name)
        };
        match opening.brace {
            Brace::Open => self.push_block(raw.span(), opening.block, name, opening.name.is_empty()),
            Brace::Extra(extra) => self.opening_with_more(raw, text, opening, name, extra),
            Brace::Missing => self.opening_without_brace(raw, opening, name),
        }
    }

    fn push_block(&mut self, span: Span, block: BlockKind, name: Span, nameless: bool) {
        let mut block = block;
        if self.open.len() >= MAX_INSTANCE_DEPTH {
            if !self.too_deep {
                self.too_deep = true;
                let found = self
                    .report(
                        Code::NestingTooDeep,
                        name,
                        format!("instances nest at most {MAX_INSTANCE_DEPTH} levels deep"),
                    )
                    .label("one level too deep")
                    .help("is a `}` missing above? A machine, a container and what runs in it are three levels");
                self.sink.push(found);
            }
            block = BlockKind::Ignored;
        }
        let shown = if nameless { empty_name(self.source, name) } else { name };
        self.item(span, ItemKind::Open { block, name: shown });
        self.open.push(Open { block, name, headless: false });
    }

    /// `A { x` and `A { name: b; }`: reported once, and read as if each statement had its line.
    fn opening_with_more(&mut self, raw: Raw, text: &Text<'_>, opening: Opening<'_>, name: Span, extra: &str) {
        let (inside, closed) = extra.strip_suffix('}').map_or((extra, false), |inside| (inside, true));
        let found = self
            .report(
                Code::OpenExtra,
                text.span_of(extra),
                format!("nothing may follow the `{{` of `{}`", short(opening.name)),
            )
            .label("goes to the next line")
            .help(over_lines(text.as_str(), inside));
        self.sink.push(found);
        let Span { start, end } = raw.span();
        let mut at = text.span_of(extra).start;
        self.push_block(Span::new(start, at), opening.block, name, opening.name.is_empty());
        // With a block inside it is not read any further.
        let nested = inside.contains('{').then_some(line::trim(inside));
        let statements = line::statements(inside).filter(|_| nested.is_none());
        for statement in statements.chain(nested) {
            let span = text.span_of(statement);
            let kind = line::statement(statement).filter(|_| nested.is_none()).map_or(ItemKind::Garbage, |property| {
                let value = Value::single(text.span_of(property.value.text));
                ItemKind::Property { name: text.span_of(property.name), value }
            });
            self.item(Span::new(at, span.end), kind);
            at = span.end;
        }
        if closed {
            self.item(Span::new(at, end), ItemKind::Close);
            self.open.pop();
        } else if let Some(last) = self.tree.items.last_mut() {
            last.span.end = end;
        }
    }

    /// A lone name. If what follows looks like a body, the block is read as if `{` were there.
    fn opening_without_brace(&mut self, raw: Raw, opening: Opening<'_>, name: Span) {
        let what = if opening.name.is_empty() {
            opening.block.noun().to_owned()
        } else {
            format!("`{}`", short(opening.name))
        };
        let end = Span::new(name.end, name.end);
        let found = self
            .report(Code::OpenMissing, end, format!("{what} begins a block, but has no `{{`"))
            .label("`{` is missing here")
            .help("write `{` at the end of this line, and `}` on a line of its own after the last property");
        self.sink.push(found);
        self.reported_head(raw, opening.block, name, opening.name.is_empty());
    }

    /// The head of a block that was reported: the block begins if what follows looks like its body.
    fn reported_head(&mut self, raw: Raw, block: BlockKind, name: Span, nameless: bool) {
        let next = match self.what_follows(raw, block) {
            Follows::Body => raw.next,
            Follows::Brace(brace) => brace.next,
            Follows::Other => return self.run(raw, ItemKind::Garbage),
        };
        self.pos = next;
        self.tree.reported.push(narrow(raw.start));
        self.push_block(Span::new(narrow(raw.start), narrow(next)), block, name, nameless);
        if let Some(open) = self.open.last_mut() {
            open.headless = next == raw.next;
        }
    }

    fn what_follows(&self, head: Raw, block: BlockKind) -> Follows {
        let mut at = self.pos;
        let head = indentation(self.text(head).as_str());
        while let Some(raw) = self.raw_at(at) {
            at = raw.next;
            let text = self.text(raw);
            if line::trim(text.as_str()) == "{" {
                return Follows::Brace(raw);
            }
            return match line::body(text.as_str(), block) {
                Line::Blank | Line::Comment => continue,
                // The end of the block around it.
                Line::Close(_) if !self.open.is_empty() && indentation(text.as_str()) < head => Follows::Other,
                Line::Close(_) | Line::Property(_) => Follows::Body,
                Line::Open(_) if block == BlockKind::Instance && text.as_str().starts_with([' ', '\t']) => {
                    Follows::Body
                }
                Line::Open(_) | Line::Import(_) | Line::Garbage(_) => Follows::Other,
            };
        }
        Follows::Other
    }

    fn closing(&mut self, raw: Raw, text: &Text<'_>, closing: Closing<'_>) {
        self.open.pop();
        if closing.extra.is_empty() {
            return self.item(raw.span(), ItemKind::Close);
        }
        let found = self
            .report(Code::CloseExtra, text.span_of(closing.extra), "nothing but a comment may follow `}`")
            .label("does not belong here")
            .help("put it on a line of its own, or begin it with `#`");
        self.sink.push(found);
        // `} facet B {`: what follows begins a block all the same.
        if let Some(opening) = line::misplaced_opening(closing.extra) {
            let Span { start, end } = raw.span();
            let at = text.span_of(closing.extra).start;
            self.item(Span::new(start, at), ItemKind::Close);
            return self.push_block(Span::new(at, end), opening.block, text.span_of(opening.name), false);
        }
        self.item(raw.span(), ItemKind::Close);
        for _ in closing.extra.bytes().filter(|byte| *byte == b'}') {
            if self.open.is_empty() {
                break;
            }
            self.close_silently();
        }
    }

    /// Ends the innermost block where no `}` of its own stands.
    fn close_silently(&mut self) {
        let end = narrow(self.pos);
        self.item(Span::new(end, end), ItemKind::Close);
        self.open.pop();
    }

    fn property(&mut self, raw: Raw, text: &Text<'_>, property: Property<'_>) {
        let name = text.span_of(property.name);
        let first = self.without_trailer(text, property.value);
        let span = text.span_of(first.text);
        self.stray(text, first);
        let mut value = Value::single(span);
        match first.end {
            PieceEnd::Semicolon => {}
            PieceEnd::Nothing => self.no_semicolon(text.span_of(first.text), property.name, name),
            PieceEnd::Comma => value = self.further_lines(span, property.name, name),
        }
        let item = Span::new(narrow(raw.start), narrow(self.pos));
        self.item(item, ItemKind::Property { name, value });
    }

    /// What cannot be a statement behind the `;`, and is reported: a comment of another language, or invisible blanks.
    fn without_trailer<'t>(&mut self, text: &Text<'_>, piece: Piece<'t>) -> Piece<'t> {
        let Some((value, trailer)) = line::trailer(&piece) else { return piece };
        let (label, help) = if trailer.starts_with('/') {
            ("does not belong here", COMMENT_HELP.to_owned())
        } else {
            let c = trailer.chars().next().map_or(0, u32::from);
            ("an invisible character", format!("delete it: U+{c:04X} looks like a blank and is none"))
        };
        let found = self
            .report(Code::OneBlockPerLine, text.span_of(trailer), "nothing but a comment may follow a property's `;`")
            .label(label)
            .help(help);
        self.sink.push(found);
        Piece { text: value, end: PieceEnd::Semicolon, stray: None }
    }

    fn stray(&mut self, text: &Text<'_>, piece: Piece<'_>) {
        let Some(stray) = piece.stray else { return };
        let found = self
            .report(Code::OneBlockPerLine, text.span_of(stray), "a property takes a line of its own")
            .label("a second `;`")
            .help(if piece.text.contains(['“', '”', '„']) {
                "a value with `;` in it stands in straight quotes: `\"`"
            } else {
                "put what follows it on the next line; a value with `;` in it stands in quotes"
            });
        self.sink.push(found);
    }

    fn no_semicolon(&mut self, value: Span, name: &str, at: Span) {
        let end = value.end.max(at.end);
        let found = self
            .report(Code::PropertyEnd, Span::new(end, end), format!("`{}` has no `;` at its end", short(name)))
            .label("`;` is missing here")
            .help("every property ends with `;`; only a `,` goes on in the next line");
        self.sink.push(found);
    }

    /// A value whose line ends in `,` goes on in the next one that is no comment.
    fn further_lines(&mut self, first: Span, name: &str, at: Span) -> Value {
        let holder = self.open.last().map_or(BlockKind::Ignored, |open| open.block);
        let first_piece = narrow(self.tree.pieces.len());
        self.tree.pieces.push(first);
        let mut last = first;
        let mut look = self.pos;
        while let Some(raw) = self.raw_at(look) {
            look = raw.next;
            let text = self.text(raw);
            if matches!(line::body(text.as_str(), holder), Line::Blank | Line::Comment) {
                continue;
            }
            let Some(piece) = line::continuation(text.as_str(), holder) else { break };
            self.pos = raw.next;
            last = text.span_of(piece.text);
            self.tree.pieces.push(last);
            self.stray(&text, piece);
            match piece.end {
                PieceEnd::Comma => continue,
                PieceEnd::Nothing => self.no_semicolon(last, name, at),
                PieceEnd::Semicolon => {}
            }
            return self.joined(first, last, first_piece);
        }
        let end = last.end.max(at.end);
        let comma = Span::new(last.end.saturating_sub(1), last.end);
        let found = self
            .report(Code::PropertyEnd, Span::new(end, end), format!("`{}` has no `;` at its end", short(name)))
            .label("`;` is missing here")
            .help("write `;` instead of the last `,`: after a `,` the list goes on in the next line")
            .related(self.place(comma), "nothing follows this comma");
        self.sink.push(found);
        self.joined(first, last, first_piece)
    }

    fn joined(&self, first: Span, last: Span, first_piece: u32) -> Value {
        let piece_count = narrow(self.tree.pieces.len()) - first_piece;
        Value { span: Span::new(first.start, last.end), first_piece, piece_count }
    }

    fn unknown_block(&mut self, raw: Raw, text: &Text<'_>, code: &str) {
        let loose = code.starts_with('}') || (code.ends_with(';') && code.contains(':'));
        if std::mem::replace(&mut self.adrift, loose) && loose {
            return self.run(raw, ItemKind::Garbage);
        }
        let misspelt = line::misspelt_keyword(code);
        let help = if code.contains('\u{FEFF}') {
            BOM_HELP.to_owned()
        } else if code.starts_with("//") || code.starts_with("/*") {
            COMMENT_HELP.to_owned()
        } else if let Some(name) = code.strip_suffix(':').filter(|name| is_id(line::trim(name))) {
            format!("write `{} {{`, and `}}` on a line of its own after the last property", line::trim(name))
        } else if code.starts_with('}') {
            "no block is open here; is a `}` too many above?".to_owned()
        } else if ["//", "/*", "--", ";"].iter().any(|sign| code.starts_with(sign)) {
            "a comment begins with `#`".to_owned()
        } else if loose {
            "a property stands in a block: is a `}` too many above?".to_owned()
        } else if let Some((block, name)) = misspelt.filter(|(_, name)| is_id(name)) {
            format!("did you mean `{}{name} {{`?", keyword(block))
        } else {
            "write `import FILE;`, `NAME {`, `facet NAME {` or `instance of NAME {`".to_owned()
        };
        let found = self
            .report(Code::UnrecognizedBlock, text.span_of(code), format!("`{}` begins nothing known", short(code)))
            .label("not a block, not an import")
            .help(help);
        self.sink.push(found);
        if loose {
            return self.run(raw, ItemKind::Garbage);
        }
        let (block, name) = misspelt.unwrap_or((BlockKind::Component, code));
        self.reported_head(raw, block, text.span_of(name), name.is_empty());
    }

    fn unknown_property(&mut self, raw: Raw, text: &Text<'_>, code: &str) {
        let holder = self.open.last().map_or(BlockKind::Ignored, |open| open.block);
        if let Some(opening) = line::misplaced_opening(code) {
            return self.block_in_block(raw, text, opening);
        }
        let head = line::broken_opening(code);
        match &head {
            Some(opening) => self.broken_block(raw, text, opening),
            None => self.run(raw, ItemKind::Garbage),
        }
        let (number, expected) = match holder {
            BlockKind::Ignored => return,
            BlockKind::Instance => (Code::InvalidPropertyOrInstance, "neither a property nor an instance"),
            BlockKind::Component | BlockKind::Facet | BlockKind::Application => {
                (Code::InvalidProperty, "not a property")
            }
        };
        let help = match head.and_then(|opening| line::misspelt_keyword(opening.name)) {
            Some((block, name)) if is_id(name) => format!("did you mean `{}{name} {{`?", keyword(block)),
            Some(_) | None => property_help(code),
        };
        let found = self
            .report(number, text.span_of(code), format!("`{}` is {expected}", short(code)))
            .label(expected)
            .help(help);
        self.sink.push(found);
    }

    /// A head in a block that has no name: what stands in it is read, so that the blocks around it end where they do.
    fn broken_block(&mut self, raw: Raw, text: &Text<'_>, opening: &Opening<'_>) {
        let inside_instance = self.open.last().is_some_and(|open| open.block == BlockKind::Instance);
        let meant =
            line::misspelt_keyword(opening.name).filter(|(block, _)| inside_instance && *block == BlockKind::Instance);
        let (block, name) = meant.unwrap_or((BlockKind::Ignored, opening.name));
        self.tree.reported.push(narrow(raw.start));
        self.push_block(raw.span(), block, text.span_of(name), name.is_empty());
    }

    /// `B {` inside of a block. Without indentation it begins a new block and the open ones are over.
    fn block_in_block(&mut self, raw: Raw, text: &Text<'_>, opening: Opening<'_>) {
        let name = text.span_of(opening.name);
        let outermost = self.open.first().map(|open| (open.block, open.name));
        let indented = text.as_str().starts_with([' ', '\t']);
        let holder = self.open.last().map_or(BlockKind::Ignored, |open| open.block);
        let ignored = holder == BlockKind::Ignored;
        let property = indented && opening.block == BlockKind::Component && PROPERTIES.contains(&opening.name);
        // In an instance, with its indentation: `instance of` was forgotten.
        let forgotten = indented && holder == BlockKind::Instance && opening.block == BlockKind::Component;
        if let Some((block, at)) = outermost.filter(|_| !ignored) {
            let number =
                if block == BlockKind::Instance { Code::InvalidPropertyOrInstance } else { Code::InvalidProperty };
            let message = format!("`{}` begins a block inside of another", short(opening.name));
            let help = if property {
                format!("a property is no block: write `{}: value;`", opening.name)
            } else if forgotten {
                format!("write `instance of {} {{`", short(opening.name))
            } else {
                "close the block above with `}` on a line of its own first".to_owned()
            };
            let place = self.place(at);
            let found = self
                .report(number, name, message)
                .label("a block cannot stand here")
                .help(help)
                .related(place, "this block is still open");
            self.sink.push(found);
        }
        if !indented {
            let start = narrow(raw.start);
            while self.open.pop().is_some() {
                self.item(Span::new(start, start), ItemKind::Close);
            }
        }
        let block = match (indented && (ignored || property), forgotten) {
            (true, _) => BlockKind::Ignored,
            (false, true) => BlockKind::Instance,
            (false, false) => opening.block,
        };
        if forgotten && !property {
            self.tree.reported.push(narrow(raw.start));
        }
        self.push_block(raw.span(), block, name, false);
    }

    /// Every block that is open at the end of the file lacks its `}`.
    fn end(&mut self) {
        let end = narrow(self.source.len());
        while let Some(open) = self.open.pop() {
            self.item(Span::new(end, end), ItemKind::Close);
            if open.block == BlockKind::Ignored || open.headless {
                continue;
            }
            let name = short(open.name.of(self.source)).into_owned();
            let place = self.place(open.name);
            let found = self
                .report(
                    Code::CloseMissing,
                    Span::new(end, end),
                    format!("the {} `{name}` has no `}}`", open.block.noun()),
                )
                .label("the file ends here")
                .help("write `}` on a line of its own after the block's last property")
                .related(place, "the block begins here");
            self.sink.push(found);
        }
    }
}

/// What begins a block of this kind, before its name.
fn keyword(block: BlockKind) -> &'static str {
    match block {
        BlockKind::Facet => "facet ",
        BlockKind::Instance => "instance of ",
        BlockKind::Application => "application ",
        BlockKind::Component | BlockKind::Ignored => "",
    }
}

/// What to write instead of a line that is no property.
fn property_help(code: &str) -> String {
    if code.starts_with("//") || code.starts_with("/*") {
        return COMMENT_HELP.to_owned();
    }
    let code = code.trim_end_matches([';', ',']);
    let words = |(name, value): (&str, &str)| (line::trim(name).to_owned(), line::trim(value).to_owned());
    let pair = code.split_once('=').or_else(|| code.split_once(line::is_space)).map(words);
    match pair {
        Some((name, value)) if is_id(&name) && !value.is_empty() => format!("write `{name}: {};`", short(&value)),
        Some(_) | None => "write `name: value;`, or close the block with `}` first".to_owned(),
    }
}

const COMMENT_HELP: &str = "a comment begins with `#`";

/// Names of properties that people write as blocks.
const PROPERTIES: [&str; 9] =
    ["children", "exports", "extends", "installer", "facets", "imports", "data", "env", "check"];

/// Most statements of a block that a help shows.
const SHOWN_STATEMENTS: usize = 4;

/// How to write a block that stands on one line.
fn over_lines(line: &str, inside: &str) -> String {
    let head = line::trim(line.split('{').next().unwrap_or_default());
    let mut help = format!("a block's properties and its `}}` each take a line of their own:\n{} {{", short(head));
    let mut statements = line::statements(inside);
    for statement in statements.by_ref().take(SHOWN_STATEMENTS) {
        help.push_str("\n  ");
        help.push_str(&short(statement));
        if !statement.ends_with(';') {
            help.push(';');
        }
    }
    help.push_str(if statements.next().is_some() { "\n  …\n}" } else { "\n}" });
    help
}

/// How many blanks stand before a line's text.
fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

enum Follows {
    Body,
    Brace(Raw),
    Other,
}

/// A nameless block's name: nothing, right before its `{` or at the end of its keyword.
fn empty_name(source: &str, code: Span) -> Span {
    let text = code.of(source);
    let at = code.start + narrow(text.find('{').unwrap_or(text.len()));
    Span::new(at, at)
}

pub(crate) const BOM_HELP: &str = "the file starts with a byte order mark (U+FEFF); save it as UTF-8 without one";

/// Longest piece of a file in a message, in characters.
const SHOWN: usize = 60;

/// `text`, cut for a message.
pub(crate) fn short(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        None => text.into(),
        Some((i, _)) => format!("{}…", text.get(..i).unwrap_or_default()).into(),
    }
}

/// An error in whose words `text` stands, with that cut for a message.
pub(crate) fn told(error: &impl std::fmt::Display, text: &str) -> String {
    let words = error.to_string();
    if text.len() <= SHOWN { words } else { words.replace(text, &short(text)) }
}
