//! The lossless tree, flat: each item covers whole lines, and all items together cover the file.

use crate::source::{Span, widen};

/// What the lines of a file are.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// In reading order. A zero-width `Close` ends a block whose `}` is missing or stands elsewhere.
    pub(crate) items: Vec<Item>,
    /// The pieces of values that go over several lines.
    pub(super) pieces: Vec<Span>,
    /// Where the `Open` items begin whose head was reported, in reading order.
    pub(super) reported: Vec<u32>,
}

/// Some whole lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// From the first byte of the first line to the line end of the last, included.
    pub(crate) span: Span,
    pub(crate) kind: ItemKind,
}

/// What the lines are. Spans are parts of the item's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// Lines of white space.
    Blank,
    /// Lines that begin with `#`.
    Comment,
    /// `import LOCATION;`
    Import { location: Span },
    /// `NAME {`, `facet NAME {`, `instance of NAME {`, `application NAME {`
    Open { block: BlockKind, name: Span },
    /// `NAME: VALUE;`
    Property { name: Span, value: Value },
    /// `}`
    Close,
    /// Lines that are none of these; reported.
    Garbage,
}

/// Which kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Component,
    Facet,
    Instance,
    Application,
    /// Read only to find its end: reported, or nested too deeply.
    Ignored,
}

impl BlockKind {
    /// For messages.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Facet => "facet",
            Self::Instance => "instance",
            Self::Application => "application",
            Self::Ignored => "block",
        }
    }
}

/// Where a property's value stands, without the `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    /// From its first piece to its last.
    pub(crate) span: Span,
    /// Its pieces are those of the tree from here; none when it is on one line.
    pub(super) first_piece: u32,
    pub(super) piece_count: u32,
}

impl Value {
    pub(super) const fn single(span: Span) -> Self {
        Self { span, first_piece: 0, piece_count: 0 }
    }
}

impl Tree {
    /// The head of this `Open` item was reported: what is wrong with its name is no second mistake.
    pub(crate) fn is_reported(&self, item: &Item) -> bool {
        self.reported.binary_search(&item.span.start).is_ok()
    }

    /// The pieces of a value: one for each line it goes over.
    pub(crate) fn pieces(&self, value: &Value) -> &[Span] {
        let start = widen(value.first_piece);
        self.pieces.get(start..start + widen(value.piece_count)).unwrap_or_default()
    }
}
