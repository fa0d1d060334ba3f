//! The tree's items gathered to blocks.

use std::ops::Range;

use super::MAX_BLOCKS;
use crate::source::Span;
use crate::syntax::{BlockKind, ItemKind, Text, Tree, bare_property, second_property};

/// A block as written.
#[derive(Debug)]
pub(crate) struct RawBlock<'s> {
    pub(crate) kind: BlockKind,
    pub(crate) name: Text<'s>,
    pub(crate) properties: Vec<RawProperty<'s>>,
    /// The block it stands in, by its place in the list; always an earlier one.
    pub(crate) parent: Option<usize>,
    /// Its head was reported.
    pub(crate) reported: bool,
    /// Lines in it that could not be read; reported.
    pub(crate) garbage: Vec<&'s str>,
    /// The comment right above it.
    pub(crate) comment: Option<&'s str>,
}

/// `NAME: VALUE;`
#[derive(Debug)]
pub(crate) struct RawProperty<'s> {
    pub(crate) name: Text<'s>,
    pub(crate) value: Text<'s>,
}

/// A piece of a file: a block with all that stands in it, or what stands in none.
#[derive(Debug)]
pub(crate) enum Piece<'s> {
    Import(Span),
    /// A block stands before those in it.
    Blocks(Vec<RawBlock<'s>>),
    /// Lines outside of blocks that could not be read; reported.
    Garbage(&'s str),
}

/// The pieces of a file, in order.
pub(crate) fn pieces<'s>(source: &'s str, tree: &Tree) -> impl Iterator<Item = Piece<'s>> {
    let mut at = 0;
    let mut comment: Option<Span> = None;
    std::iter::from_fn(move || {
        while let Some(item) = tree.items.get(at) {
            let above = comment.take();
            let first = at;
            at += 1;
            match &item.kind {
                ItemKind::Comment => comment = Some(item.span),
                ItemKind::Import { location } => return Some(Piece::Import(*location)),
                ItemKind::Garbage => return Some(Piece::Garbage(item.span.of(source))),
                ItemKind::Open { .. } => {
                    at = end_of_block(tree, first);
                    let mut blocks = blocks(source, tree, first..at);
                    if let Some(block) = blocks.first_mut() {
                        block.comment = above.map(|span| span.of(source));
                    }
                    return Some(Piece::Blocks(blocks));
                }
                ItemKind::Blank | ItemKind::Property { .. } | ItemKind::Close => {}
            }
        }
        None
    })
}

/// After the item that closes the block which opens at `first`.
fn end_of_block(tree: &Tree, first: usize) -> usize {
    let mut depth = 0_usize;
    for (i, item) in tree.items.iter().enumerate().skip(first) {
        match item.kind {
            ItemKind::Open { .. } => depth += 1,
            ItemKind::Close => depth = depth.saturating_sub(1),
            ItemKind::Blank
            | ItemKind::Comment
            | ItemKind::Import { .. }
            | ItemKind::Property { .. }
            | ItemKind::Garbage => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tree.items.len()
}

fn blocks<'s>(source: &'s str, tree: &Tree, range: Range<usize>) -> Vec<RawBlock<'s>> {
    let mut blocks: Vec<RawBlock<'s>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for item in tree.items.get(range).unwrap_or_default() {
        if blocks.len() > MAX_BLOCKS {
            break;
        }
        let block = open.last().and_then(|i| blocks.get_mut(*i));
        match (&item.kind, block) {
            (ItemKind::Open { block: kind, name }, above) => {
                let parent = open.last().copied();
                if let Some(above) = above.filter(|above| *kind == BlockKind::Ignored && above.kind != *kind) {
                    // What it was meant to be is not known: it may be a part of the block around it.
                    above.garbage.push(item.span.of(source));
                }
                open.push(blocks.len());
                let name = Text::new(source, *name);
                let headless = name.as_str().is_empty() && !item.span.of(source).contains('{');
                blocks.push(RawBlock {
                    kind: *kind,
                    name,
                    properties: Vec::new(),
                    parent,
                    reported: headless || tree.is_reported(item),
                    garbage: Vec::new(),
                    comment: None,
                });
            }
            (ItemKind::Garbage, Some(block)) => block.garbage.push(item.span.of(source)),
            (ItemKind::Property { name, value }, Some(block)) => {
                let pieces = tree.pieces(value);
                let text = match pieces {
                    [] => Text::new(source, value.span),
                    pieces => Text::join(source, without_last_comma(source, pieces).as_deref().unwrap_or(pieces)),
                };
                let property = RawProperty { name: Text::new(source, *name), value: text };
                split(source, property, &mut block.properties);
            }
            (ItemKind::Close, _) => {
                open.pop();
            }
            (
                ItemKind::Blank
                | ItemKind::Comment
                | ItemKind::Import { .. }
                | ItemKind::Garbage
                | ItemKind::Property { .. },
                _,
            ) => {}
        }
    }
    blocks
}

/// A list that breaks off after a comma, without `;`, was reported: the comma is not taken for an empty item too.
fn without_last_comma(source: &str, pieces: &[Span]) -> Option<Vec<Span>> {
    let last = pieces.last()?;
    let ended = source.get(last.range().end..).is_some_and(|rest| rest.starts_with(';'));
    if ended || !last.of(source).ends_with(',') {
        return None;
    }
    let mut pieces = pieces.to_vec();
    pieces.last_mut()?.end -= 1;
    Some(pieces)
}

/// Two properties on one line, which was reported, are two.
fn split<'s>(source: &'s str, property: RawProperty<'s>, out: &mut Vec<RawProperty<'s>>) {
    let mut rest = property;
    while let Some((first, second)) = second_property(rest.value.as_str()) {
        let Some((name, value)) = bare_property(second) else { break };
        let part = |part: &str| Text::new(source, rest.value.span_of(part));
        let (first, name, value) = (part(first), part(name), part(value));
        out.push(RawProperty { name: rest.name, value: first });
        rest = RawProperty { name, value };
    }
    out.push(rest);
}

/// A comment as documentation: every `#` and the blanks after it are removed, as in the original.
pub(crate) fn annotation(comment: &str) -> String {
    let lines = comment.lines().map(|line| {
        let line = line.replace('\r', "");
        let parts = line.trim_matches(|c| c <= ' ').split('#');
        parts.enumerate().map(|(i, part)| if i == 0 { part } else { part.trim_start() }).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}
