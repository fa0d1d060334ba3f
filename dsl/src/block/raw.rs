//! The tree's items gathered to blocks.

use crate::source::Span;
use crate::syntax::{BlockKind, ItemKind, Text, Tree};

/// A block as written.
#[derive(Debug)]
pub(crate) struct RawBlock<'s> {
    pub(crate) kind: BlockKind,
    pub(crate) name: Text<'s>,
    pub(crate) properties: Vec<RawProperty<'s>>,
    /// The block it stands in, by its place in the list; always an earlier one.
    pub(crate) parent: Option<usize>,
    /// It has neither a name nor `{`, which was reported.
    pub(crate) headless: bool,
    /// The comment right above it, without `#`.
    pub(crate) annotation: Option<String>,
}

/// `NAME: VALUE;`
#[derive(Debug)]
pub(crate) struct RawProperty<'s> {
    pub(crate) name: Text<'s>,
    pub(crate) value: Text<'s>,
}

/// Every block of the tree; a block stands before those in it.
pub(crate) fn blocks<'s>(source: &'s str, tree: &Tree) -> Vec<RawBlock<'s>> {
    let mut blocks: Vec<RawBlock<'s>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut comment: Option<Span> = None;
    for item in &tree.items {
        let above = comment.take();
        match &item.kind {
            ItemKind::Comment => comment = Some(item.span),
            ItemKind::Blank | ItemKind::Import { .. } | ItemKind::Garbage => {}
            ItemKind::Open { block, name } => {
                let annotation = above.filter(|_| open.is_empty()).map(|span| annotation(span.of(source)));
                let parent = open.last().copied();
                open.push(blocks.len());
                let name = Text::new(source, *name);
                let headless = name.as_str().is_empty() && !item.span.of(source).contains('{');
                blocks.push(RawBlock { kind: *block, name, properties: Vec::new(), parent, headless, annotation });
            }
            ItemKind::Property { name, value } => {
                let pieces = tree.pieces(value);
                let value = match pieces {
                    [] => Text::new(source, value.span),
                    pieces => Text::join(source, pieces),
                };
                if let Some(block) = open.last().and_then(|i| blocks.get_mut(*i)) {
                    block.properties.push(RawProperty { name: Text::new(source, *name), value });
                }
            }
            ItemKind::Close => {
                open.pop();
            }
        }
    }
    blocks
}

/// Every `#` and the blanks after it are removed, as in the original, and every CR.
fn annotation(comment: &str) -> String {
    let comment = comment.replace('\r', "");
    let lines = comment.lines().map(|line| {
        let parts = line.trim_matches(|c| c <= ' ').split('#');
        parts.enumerate().map(|(i, part)| if i == 0 { part } else { part.trim_start() }).collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}
