//! The graph and the instances as a whole: what cannot work although every name is known.

mod application;
mod components;
mod graph;
mod installers;
mod instances;
mod offered;
mod template;

pub(crate) use application::{export_names, head, is_version};
pub(crate) use template::secret_not_allowed;

use crate::convert::{Graph, Node};
use crate::diagnostic::Sink;

/// All checks of the whole.
pub(crate) fn check(model: &Graph, nodes: &[Node], sink: &mut Sink) {
    graph::check(model, sink);
    installers::check(model, nodes, sink);
    instances::check(model, nodes, sink);
    template::check(model, nodes, sink);
}
