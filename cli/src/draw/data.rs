//! A picture for programs.

use serde::Serialize;

use super::picture::{EdgeKind, NodeKind, Picture, Shows};

/// Boxes and arrows, by id.
#[derive(Debug, Serialize)]
pub(crate) struct Data<'p> {
    application: &'p str,
    shows: Shows,
    nodes: Vec<PlainNode<'p>>,
    edges: Vec<PlainEdge<'p>>,
}

#[derive(Debug, Serialize)]
struct PlainNode<'p> {
    id: &'p str,
    kind: NodeKind,
    name: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installer: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extends: Option<&'p str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    facets: &'p [&'p str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    exports: &'p [String],
}

#[derive(Debug, Serialize)]
struct PlainEdge<'p> {
    from: &'p str,
    to: &'p str,
    kind: EdgeKind,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    variables: &'p [&'p str],
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'p str>,
}

/// What programs get of `picture`.
pub(crate) fn data<'p>(picture: &'p Picture<'_>) -> Data<'p> {
    let id = |at: usize| picture.nodes.get(at).map(|node| node.id.as_ref());
    let nodes = picture.nodes.iter().map(|node| PlainNode {
        id: &node.id,
        kind: node.kind,
        name: node.name,
        component: node.component,
        installer: node.installer,
        host: node.host.and_then(id),
        binding: node.binding.as_deref(),
        extends: node.extends,
        facets: &node.facets,
        exports: &node.gives,
    });
    let edges = picture.edges.iter().filter_map(|edge| {
        let (from, to) = (id(edge.from)?, id(edge.to)?);
        Some(PlainEdge { from, to, kind: edge.kind, variables: &edge.variables, prefix: edge.prefix })
    });
    Data {
        application: picture.application.name.as_str(),
        shows: picture.shows,
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
}
