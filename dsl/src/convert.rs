//! Blocks of all files to a graph and instances: names are looked up, inheritance is applied.

mod assemble;
mod binding;
mod exports;
mod foreign;
mod graph;
mod inherit;
mod instances;
mod load;
mod siblings;

pub(crate) use assemble::assemble;
pub(crate) use exports::{Export, ExportSource};
pub(crate) use graph::{ChildRef, ComponentId, FacetId, Graph, graph};
pub(crate) use instances::{Applied, BINDINGS, Node, instances, value_of};
pub(crate) use load::{Files, Kind, Model, decode};
