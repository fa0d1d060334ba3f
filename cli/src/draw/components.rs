//! The picture of the components: who may stand below whom, who needs what of whom.

use std::borrow::Cow;
use std::collections::BTreeMap;

use robo_model::graph::{Application, Component, Import};

use super::picture::{Edge, EdgeKind, Node, NodeKind, Picture, Shows};
use super::words;

/// All components, the facets that something imports from, and the applications that are imported from.
pub(crate) fn components(application: &Application) -> Picture<'_> {
    let mut nodes: Vec<Node<'_>> = application.components.values().map(node).collect();
    let mut known: BTreeMap<(NodeKind, &str), usize> = BTreeMap::new();
    for (at, name) in application.components.keys().enumerate() {
        known.insert((NodeKind::Component, name.as_str()), at);
    }
    let mut edges = Vec::new();
    for (at, component) in application.components.values().enumerate() {
        let contains = component.children.iter().filter_map(|c| known.get(&(NodeKind::Component, c.as_str())));
        edges.extend(contains.map(|child| Edge::plain(at, *child, EdgeKind::Contains)));
        for (key, import) in imports(application, component) {
            let to = *known.entry(key).or_insert_with(|| {
                nodes.push(Node::new(id(key), key.0, key.1));
                nodes.len() - 1
            });
            edges.push(Edge { from: at, to, ..import });
        }
    }
    // Facets are known only now: one is drawn when something imports from it.
    for (at, component) in application.components.values().enumerate() {
        let facets = component.facets.iter().filter_map(|f| known.get(&(NodeKind::Facet, f.as_str())));
        edges.extend(facets.map(|facet| Edge::plain(at, *facet, EdgeKind::Has)));
        let above = component.lineage.get(1).and_then(|c| known.get(&(NodeKind::Component, c.as_str())));
        edges.extend(above.map(|above| Edge::plain(at, *above, EdgeKind::Extends)));
    }
    edges.sort_by_key(|edge| (edge.from, edge.kind));
    let total = application.components.len();
    Picture { application, shows: Shows::Components, total, centre: None, nodes, edges }
}

fn node(component: &Component) -> Node<'_> {
    Node {
        installer: Some(component.installer.name()),
        facets: component.facets.iter().map(|facet| facet.as_str()).collect(),
        extends: component.lineage.get(1).map(|above| above.as_str()),
        gives: words::offers(&component.name, &component.exports),
        ..Node::new(Cow::Borrowed(component.name.as_str()), NodeKind::Component, component.name.as_str())
    }
}

/// Names of applications are a world of their own; the blank keeps them apart from ours.
fn id(key: (NodeKind, &str)) -> Cow<'_, str> {
    if key.0 == NodeKind::External { format!("external {}", key.1).into() } else { Cow::Borrowed(key.1) }
}

/// One arrow for each provider: needed when any variable of it is.
fn imports<'a>(application: &Application, component: &'a Component) -> BTreeMap<(NodeKind, &'a str), Edge<'a>> {
    let mut arrows: BTreeMap<(NodeKind, &str), Edge<'_>> = BTreeMap::new();
    for import in &component.imports {
        let prefix = import.prefix.as_str();
        let kind = match import {
            Import { external: true, .. } => NodeKind::External,
            Import { prefix, .. } if application.components.contains_key(prefix) => NodeKind::Component,
            Import { .. } => NodeKind::Facet,
        };
        let arrow = arrows.entry((kind, prefix)).or_insert_with(|| Edge::plain(0, 0, EdgeKind::MayNeed));
        if !import.optional {
            arrow.kind = EdgeKind::Needs;
        }
        let variable = import.variable.as_ref().map_or("*", |variable| variable.as_str());
        if !arrow.variables.contains(&variable) {
            arrow.variables.push(variable);
        }
    }
    arrows
}
