//! The canonical layout of graph and instance files.
//!
//! Only what stands between words changes, never a word, and never what a line means:
//!
//! - One tab for each level; `name: value;` with one blank; `NAME {` and `}` on lines of their own.
//! - Keywords in lower case; one blank after each comma of a list and around the `=` of an export.
//! - A list that goes over several lines keeps its lines, one level deeper than its name. A list on one line stays on
//!   it, however long: a Roboconf project's own tools read no further lines.
//! - One blank line at most; none at a block's or the file's ends; one between top-level blocks.
//! - Comments keep their text. One on a line of its own is indented like the lines around it and stays right above what
//!   it stood above; one behind something stands two blanks after it, not aligned: one long line would move them all.
//! - LF ends each line; every CR goes, as the language reads none.
//!
//! Left as they are: values that are no list, since a blank before `;` belongs to them (`name: vm ;`), and lines with
//! words before the property or import, which the language drops and the author may still want back. Text that cannot
//! be read is refused, so that nothing is moved that nobody understood.

mod value;

use std::borrow::Cow;

use value::Style;

use crate::code::Code;
use crate::convert::decode;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, SourceFile, Span, narrow};
use crate::syntax::{BOM_HELP, BlockKind, Item, ItemKind, Tree, Value, is_space, parse};

/// A file that is left as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unformatted {
    /// The file as it was read.
    pub source: SourceFile,
    /// What in it cannot be read, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

/// The canonical layout of `text`: another text of the same meaning, with every comment.
/// Formatting that again changes nothing.
///
/// # Errors
/// The mistakes of its lines, when they cannot be read. Names and values need not be right.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    format_file("", text.as_bytes().to_vec()).map_err(|refused| refused.diagnostics)
}

/// [`format()`] for a file's bytes. `name` is what diagnostics show.
///
/// # Errors
/// When it is not text, or its lines cannot be read.
pub fn format_file(name: &str, bytes: Vec<u8>) -> Result<String, Unformatted> {
    let (text, problem) = decode(name, bytes);
    let mut sink = Sink::default();
    if let Some((code, span, message, help)) = problem {
        sink.push(Diagnostic::new(code, place(span), message).label("here").help(help));
    } else {
        let tree = parse(&text, FileId(0), &mut sink);
        unreadable(&text, &mut sink);
        if sink.errors() == 0 {
            return Ok(match text.contains('\r') {
                false => layout(&text, &tree),
                true => {
                    let text = text.replace('\r', "");
                    layout(&text, &parse(&text, FileId(0), &mut Sink::default()))
                }
            });
        }
    }
    let source = SourceFile::new(name.to_owned(), text);
    Err(Unformatted { source, diagnostics: sink.finish() })
}

/// What a compiler may read, with a warning or without, and a formatter must not touch.
fn unreadable(text: &str, sink: &mut Sink) {
    // Blanks before it would go, and then it would be one.
    let first = text.find(|c| c > ' ').filter(|at| text.get(*at..).is_some_and(|rest| rest.starts_with('\u{FEFF}')));
    if let Some(at) = first.filter(|_| sink.errors() == 0) {
        let place = place(Span::new(narrow(at), narrow(at + '\u{FEFF}'.len_utf8())));
        let message = "the file starts with a byte order mark";
        sink.push(Diagnostic::new(Code::UnrecognizedBlock, place, message).label("here").help(BOM_HELP));
    }
    // Such a file is one line to the language; without its CRs nobody could tell any more what the lines were.
    let alone = text.find('\r').filter(|at| !text.contains('\n') && at + 1 < text.len());
    if let Some(at) = alone.filter(|_| sink.errors() == 0) {
        let place = place(Span::new(narrow(at), narrow(at + 1)));
        let message = "the lines of this file end with CR alone, so it is all one line";
        let found = Diagnostic::new(Code::UnrecognizedBlock, place, message).label("LF is missing here");
        sink.push(found.help("save it with LF or CR LF line ends"));
    }
}

const fn place(span: Span) -> Place {
    Place { file: FileId(0), span }
}

/// The layout of a text without CR that has no syntax error.
fn layout(source: &str, tree: &Tree) -> String {
    let mut out =
        Layout { source, tree, text: String::with_capacity(source.len()), open: Vec::new(), last: Last::Start };
    let mut blank = false;
    for (i, item) in tree.items.iter().enumerate() {
        if item.kind == ItemKind::Blank {
            blank = true;
            continue;
        }
        let leads_to = if item.kind == ItemKind::Comment { tree.items.get(i + 1) } else { Some(item) };
        out.separate(blank, item.kind, leads_to.map(|item| item.kind));
        out.item(item);
        blank = false;
    }
    out.text
}

/// What the last line was, as far as blank lines depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Start,
    Open,
    Close,
    Import,
    Other,
}

struct Layout<'s> {
    source: &'s str,
    tree: &'s Tree,
    text: String,
    /// The blocks that are open here, outermost first.
    open: Vec<BlockKind>,
    last: Last,
}

impl<'s> Layout<'s> {
    /// Writes an empty line where one belongs before an item; a comment counts as what it stands right above of.
    fn separate(&mut self, blank: bool, kind: ItemKind, leads_to: Option<ItemKind>) {
        let block = matches!(leads_to, Some(ItemKind::Open { .. }));
        let import = matches!(leads_to, Some(ItemKind::Import { .. }));
        let wanted = match self.last {
            Last::Start | Last::Open => false,
            Last::Close => blank || self.open.is_empty() && (block || import),
            Last::Import => blank || block,
            Last::Other => blank,
        };
        if wanted && kind != ItemKind::Close {
            self.text.push('\n');
        }
    }

    fn item(&mut self, item: &Item) {
        let raw = item.span.of(self.source);
        self.last = match item.kind {
            ItemKind::Blank => return,
            // Only a text with errors has garbage.
            ItemKind::Comment | ItemKind::Garbage => {
                raw.lines().for_each(|line| self.line(self.open.len(), trim(line), ""));
                Last::Other
            }
            ItemKind::Import { location } => {
                self.import(raw, location);
                Last::Import
            }
            ItemKind::Open { block, name } => {
                let comment = comment(raw.split_once('{').map_or(raw, |(_, rest)| rest));
                self.line(self.open.len(), &opening(block, name.of(self.source)), comment);
                self.open.push(block);
                Last::Open
            }
            ItemKind::Property { name, value } => {
                self.property(item.span, name, &value);
                Last::Other
            }
            ItemKind::Close => {
                self.open.pop();
                self.line(self.open.len(), "}", comment(raw));
                Last::Close
            }
        };
    }

    fn import(&mut self, raw: &str, location: Span) {
        let raw = trim(raw);
        let code = raw.get(..raw.find('#').unwrap_or(raw.len())).unwrap_or(raw);
        let word = code.get(.."import".len()).filter(|word| word.eq_ignore_ascii_case("import"));
        // Words before `import` are dropped by the language. `importimport a;` has some too.
        if word.is_some_and(|word| code.get(word.len()..).is_some_and(|rest| rest.starts_with(is_space))) {
            self.line(0, &format!("import {};", location.of(self.source)), comment(raw));
        } else {
            self.line(0, raw, "");
        }
    }

    fn property(&mut self, item: Span, name: Span, value: &Value) {
        let depth = self.open.len();
        let before = Span::new(item.start, name.start).of(self.source);
        let one = [value.span];
        let pieces = match self.tree.pieces(value) {
            [] => one.as_slice(),
            pieces => pieces,
        };
        if !trim(before).is_empty() {
            return self.further(item, depth, &mut |_, line| (Cow::Borrowed(trim(line)), ""));
        }
        let name = name.of(self.source);
        let style = Style::of(self.open.last().copied(), name);
        let style = if pieces.iter().all(|piece| style.fits(piece.of(self.source))) { style } else { Style::Verbatim };
        let (mut next, mut first, source) = (pieces.iter().peekable(), true, self.source);
        self.further(item, depth, &mut |start, line| {
            let end = start + narrow(line.len());
            let Some(piece) = next.next_if(|piece| piece.start <= end) else { return (Cow::Borrowed(trim(line)), "") };
            let head = if std::mem::take(&mut first) { name } else { "" };
            let rest = Span::new(piece.end, end).of(source);
            let code = property_line(head, &style.render(piece.of(source)), rest.starts_with(';'));
            (Cow::Owned(code), comment(rest))
        });
    }

    /// The lines of an item, those after the first one level deeper. `line` makes code and comment of where it starts
    /// and of its text.
    fn further(&mut self, item: Span, depth: usize, line: &mut dyn FnMut(u32, &'s str) -> (Cow<'s, str>, &'s str)) {
        let (mut at, mut indent, mut blank) = (item.start, depth, false);
        for raw in item.of(self.source).split_inclusive('\n') {
            let (code, comment) = line(at, raw.strip_suffix('\n').unwrap_or(raw));
            at += narrow(raw.len());
            if code.is_empty() && comment.is_empty() {
                blank = true;
                continue;
            }
            if std::mem::take(&mut blank) {
                self.text.push('\n');
            }
            self.line(indent, &code, comment);
            indent = depth + 1;
        }
    }

    fn line(&mut self, indent: usize, code: &str, comment: &str) {
        self.text.extend(std::iter::repeat_n('\t', indent));
        self.text.push_str(code);
        if !comment.is_empty() {
            self.text.push_str(if code.is_empty() { "" } else { "  " });
            self.text.push_str(comment);
        }
        self.text.push('\n');
    }
}

/// `NAME: VALUE;`, or a further line of a value.
fn property_line(name: &str, value: &str, end: bool) -> String {
    let colon = match (name.is_empty(), value.is_empty()) {
        (true, _) => "",
        (false, true) => ":",
        (false, false) => ": ",
    };
    format!("{name}{colon}{value}{}", if end { ";" } else { "" })
}

/// `facet NAME {`. A blank before `{` would make another statement of some names: `facet{` is a component,
/// and a word that ends in `import` with a blank after it is an import, wherever it stands.
fn opening(block: BlockKind, name: &str) -> String {
    let keyword = match block {
        BlockKind::Component | BlockKind::Ignored => "",
        BlockKind::Facet => "facet",
        BlockKind::Instance => "instance of",
        BlockKind::Application => "application",
    };
    let is = |word: &str| name.eq_ignore_ascii_case(word);
    let ends = name.len().checked_sub("import".len()).and_then(|at| name.get(at..));
    let close = ends.is_some_and(|word| word.eq_ignore_ascii_case("import"))
        || block == BlockKind::Component && (is("facet") || is("instance of"));
    let words = [keyword, name].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let blank = if close || words.is_empty() { "" } else { " " };
    format!("{words}{blank}{{")
}

/// From the first `#` on, without blanks at the end.
fn comment(text: &str) -> &str {
    trim(text.find('#').and_then(|at| text.get(at..)).unwrap_or_default())
}

/// Every character up to U+0020 is blank, as for the language.
fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}
