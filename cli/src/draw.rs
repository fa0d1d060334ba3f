//! Drawings of an application: pure functions from an application to text.
//!
//! - `picture`: boxes and arrows as data, whatever draws them; `components` and `instances` make one,
//!   `near` keeps what is near one component.
//! - `words`: what stands in a box or beside an arrow.
//! - `terminal`, `dot`, `mermaid`, `svg`: one renderer each; `data`: the same for programs.
//!
//! All of them are linear in boxes and arrows, but for `svg`, which has limits, and draw the same picture the same way.

mod components;
mod data;
mod dot;
mod instances;
mod mermaid;
mod near;
mod picture;
mod svg;
mod terminal;
pub(crate) mod words;

pub(crate) use components::components;
pub(crate) use data::data;
pub(crate) use dot::dot;
pub(crate) use instances::instances;
pub(crate) use mermaid::{MERMAID_EDGES, mermaid};
pub(crate) use near::{Near, near};
pub(crate) use picture::Picture;
pub(crate) use svg::{Place, svg};
pub(crate) use terminal::{View, terminal};

#[cfg(test)]
mod tests;
