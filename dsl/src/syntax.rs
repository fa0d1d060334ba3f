//! Text to a lossless tree: lines first, then what is inside of a line.
//!
//! The language is one of lines, as in the original: a property, an import, an opening or a closing
//! takes one line. So a mistake stays local: the parser reports it and goes on with the next line.
//! The tree is a flat list of items in reading order; every byte of the file belongs to exactly one.
//! It takes time linear in the file, and memory of a small multiple of it; nothing recurses.

mod line;
mod parse;
mod text;
mod token;
mod tree;

pub(crate) use line::{bare_property, is_space, misspelt_keyword, second_property};
pub(crate) use parse::{BOM_HELP, parse, short, told};
pub(crate) use text::Text;
pub use token::{Token, TokenKind, tokens};
pub(crate) use tree::{BlockKind, Item, ItemKind, Tree, Value};

#[cfg(test)]
mod tests;
