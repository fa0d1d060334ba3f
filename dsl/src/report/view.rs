//! The lines that a diagnostic shows of one file: those of its labels and their neighbours, each short enough for
//! the terminal and without what a terminal would obey.
//!
//! Offsets in here are those of the shown text, not of the file: a line may be cut, a character replaced.

use std::borrow::Cow;
use std::collections::BTreeMap;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::position::{Position, boundary};
use crate::source::{SourceFile, Span, widen};

/// How far a line's end is looked for, in bytes: of a line of some megabytes no neighbour is shown.
const LOOK_AHEAD: usize = 64 * 1024;

/// Columns that a tab goes to a multiple of, as `miette` draws it.
const TAB: usize = 4;

/// Fewest columns of a line that are shown, however narrow the terminal is.
const FEWEST_COLUMNS: usize = 30;

/// What `miette` draws beside a line's number, and the sign of what is cut off.
const GUTTER: usize = 5;

/// Some lines of a file.
#[derive(Debug)]
pub(super) struct View {
    name: String,
    groups: Vec<Group>,
    /// Where in the file the labels are, by their shown offset.
    places: Vec<(usize, Position)>,
}

/// Lines that follow each other.
#[derive(Debug)]
struct Group {
    /// Shown offset of its first byte.
    start: usize,
    /// Number of its first line, from 0.
    line: usize,
    /// Each line with its LF.
    text: String,
}

/// A span as shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) span: SourceSpan,
    /// Columns to the right of where its label begins.
    pub(super) room: usize,
}

/// The view of `spans`, and what is shown of each of them: nothing where its line was cut before it.
/// The first one of a line is always shown.
pub(super) fn view(source: &SourceFile, spans: &[Span], width: usize) -> (View, Vec<Option<Shown>>) {
    let text = source.text.as_str();
    let lines = lines(source, spans);
    let digits = lines.keys().next_back().map_or(1, |last| (last + 1).to_string().len());
    let columns = width.saturating_sub(digits + GUTTER).max(FEWEST_COLUMNS);
    let mut view = View { name: printable(&source.name).into_owned(), groups: Vec::new(), places: Vec::new() };
    let mut shown = vec![None; spans.len()];
    let mut at = 0;
    for (number, lines) in grouped(lines) {
        // A gap, so that no span can go over it.
        at += 1;
        let mut group = Group { start: at, line: number, text: String::new() };
        for line in lines {
            let cut = Cut::new(text, &line, spans, columns);
            for (i, mark) in line.spans.iter().zip(&cut.spans) {
                let (Some(start), Some(end), Some(slot)) = (mark.start, mark.end, shown.get_mut(*i)) else { continue };
                let room = columns.saturating_sub(usize::midpoint(start.1, end.1));
                *slot = Some(Shown { span: (at + start.0, end.0 - start.0).into(), room });
                view.places.push((at + start.0, source.position(mark.span.start)));
            }
            at += cut.text.len();
            group.text.push_str(&cut.text);
        }
        view.groups.push(group);
    }
    (view, shown)
}

/// Lines that follow each other, with the number of their first one; those of the first span come first.
fn grouped(lines: BTreeMap<usize, Line>) -> Vec<(usize, Vec<Line>)> {
    let mut groups: Vec<(usize, Vec<Line>)> = Vec::new();
    for (number, line) in lines {
        match groups.last_mut().filter(|(first, lines)| first + lines.len() == number) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((number, vec![line])),
        }
    }
    groups.sort_by_key(|(_, lines)| !lines.iter().any(|line| line.spans.contains(&0)));
    groups
}

/// A line of the file.
#[derive(Debug, Default)]
struct Line {
    start: usize,
    /// The spans that begin in it, by their place in the list.
    spans: Vec<usize>,
}

/// The lines in which spans begin, and those before and after, by their number from 0.
fn lines(source: &SourceFile, spans: &[Span]) -> BTreeMap<usize, Line> {
    let text = source.text.as_str();
    let mut lines: BTreeMap<usize, Line> = BTreeMap::new();
    for (i, span) in spans.iter().enumerate() {
        let at = boundary(text, widen(span.start));
        let number = source.position(span.start).line - 1;
        let start = source.mark(at).line_start;
        lines.entry(number).or_insert(Line { start, spans: Vec::new() }).spans.push(i);
        if let (Some(before), Some(number)) = (start.checked_sub(1), number.checked_sub(1)) {
            lines.entry(number).or_insert(Line { start: source.mark(before).line_start, spans: Vec::new() });
        }
        let ahead = text.get(at..boundary(text, at + LOOK_AHEAD)).unwrap_or_default();
        if let Some(end) = ahead.find('\n').map(|end| at + end + 1).filter(|end| *end < text.len()) {
            lines.entry(number + 1).or_insert(Line { start: end, spans: Vec::new() });
        }
    }
    lines
}

/// A line as shown, with its LF.
#[derive(Debug, Default)]
struct Cut {
    text: String,
    column: usize,
    spans: Vec<Mark>,
}

/// Where in a shown line a span is: offset and column.
#[derive(Debug, Clone, Copy)]
struct Mark {
    span: Span,
    start: Option<(usize, usize)>,
    end: Option<(usize, usize)>,
}

impl Cut {
    fn new(text: &str, line: &Line, spans: &[Span], columns: usize) -> Self {
        let spans = line.spans.iter().filter_map(|i| spans.get(*i));
        let spans: Vec<Mark> = spans.map(|span| Mark { span: *span, start: None, end: None }).collect();
        let from = Self::begin(text, line.start, spans.first().map(|mark| mark.span), columns);
        let mut cut = Self { text: String::new(), column: 0, spans };
        if from > line.start {
            cut.text.push('…');
            cut.column += 1;
        }
        let mut offset = from;
        let mut rest = text.get(from..).unwrap_or_default().chars().peekable();
        loop {
            cut.pass(offset);
            let Some(c) = rest.next().filter(|c| *c != '\n') else { break };
            if c == '\r' && rest.peek().is_none_or(|next| *next == '\n') {
                break;
            }
            if cut.column >= columns {
                cut.text.push('…');
                break;
            }
            cut.column += if c == '\t' { TAB - cut.column % TAB } else { 1 };
            cut.text.push(if c == '\t' { c } else { shown(c) });
            offset += c.len_utf8();
        }
        // What ends farther on is marked up to here.
        let end = (cut.text.len(), cut.column);
        for mark in &mut cut.spans {
            mark.end = mark.end.or(Some(end));
        }
        cut.text.push('\n');
        cut
    }

    /// Notes which spans begin and end here, where the file's `offset` is.
    fn pass(&mut self, offset: usize) {
        let here = (self.text.len(), self.column);
        for mark in &mut self.spans {
            if mark.start.is_none() && offset >= widen(mark.span.start) {
                mark.start = Some(here);
            }
            if mark.start.is_some() && mark.end.is_none() && offset >= widen(mark.span.end) {
                mark.end = Some(here);
            }
        }
    }

    /// Where the shown part of a line begins: at its start, unless it is too long and its first span is far off.
    fn begin(text: &str, start: usize, span: Option<Span>, columns: usize) -> usize {
        let Some(span) = span else { return start };
        let rest = text.get(start..).unwrap_or_default();
        let fits = rest.chars().take(columns + 1).position(|c| c == '\n').is_some() || rest.len() <= columns;
        let at = boundary(text, widen(span.start));
        let near = rest.char_indices().nth(columns * 2 / 3).is_none_or(|(i, _)| start + i > at);
        if fits || near {
            return start;
        }
        let before = text.get(start..at).unwrap_or_default();
        before.char_indices().rev().nth(columns / 3).map_or(start, |(i, _)| start + i)
    }
}

/// Text as a terminal may get it: what would move the cursor, change colours or hide or turn letters is shown as a
/// sign of its own.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| shown(c) == c) { Cow::Borrowed(text) } else { text.chars().map(shown).collect() }
}

fn shown(c: char) -> char {
    match c {
        // The pictures of control characters stand in their order.
        '\0'..='\u{1F}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\u{7F}' => '\u{2421}',
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => '\u{2423}',
        '\u{80}'..='\u{9F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' => '\u{FFFD}',
        c => c,
    }
}

impl SourceCode for View {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let within = |group: &&Group| (group.start..group.start + group.text.len()).contains(&span.offset());
        let group = self.groups.iter().find(within).ok_or(MietteError::OutOfBounds)?;
        let (first, last) = (span.offset() - group.start, span.offset() - group.start + span.len());
        if last > group.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let mut from = 0;
        // A label may end right before the next line, and does not belong to it then.
        let inside = last.max(first + 1).min(group.text.len());
        let (mut start, mut line, mut count, mut after) = (0, group.line, 0, 0);
        let before = group.text.get(..first).unwrap_or_default().matches('\n').count();
        let mut end = group.text.len();
        for (i, text) in group.text.split_inclusive('\n').enumerate() {
            if i + lines_before < before {
                (start, line) = (from + text.len(), group.line + i + 1);
            } else {
                count += 1;
            }
            from += text.len();
            if from >= inside {
                if after == lines_after {
                    end = from;
                    break;
                }
                after += 1;
            }
        }
        let place = self.places.iter().find(|(offset, _)| *offset == span.offset()).map(|(_, position)| *position);
        // With lines around it `miette` draws, without it asks where the label is.
        let (line, column) = match place.filter(|_| lines_before == 0 && lines_after == 0) {
            Some(position) => (position.line - 1, position.column - 1),
            None => (line, 0),
        };
        let data = group.text.get(start..end).unwrap_or_default();
        let inner = (group.start + start, data.len()).into();
        let contents = MietteSpanContents::new_named(self.name.clone(), data.as_bytes(), inner, line, column, count);
        Ok(Box::new(contents))
    }
}
