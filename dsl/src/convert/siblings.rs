//! Instances that stand in one place: no two have the same path, with all the copies that `count` makes.

use std::collections::HashMap;

use robo_model::limits::{MAX_INSTANCES, MAX_NAME_BYTES};

use super::graph::Graph;
use super::instances::{MAX_EXPORTED, Node, too_many};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};

pub(super) fn check(nodes: &[Node], graph: &Graph, sink: &mut Sink) {
    let few = few_enough(nodes, graph, sink);
    let mut order: Vec<&Node> = nodes.iter().filter(|node| node.decl.named).collect();
    // Stable: of one name, the first written stays the first.
    order.sort_by(|a, b| key(a).cmp(&key(b)));
    for group in order.chunk_by(|a, b| a.parent == b.parent) {
        for same in group.chunk_by(|a, b| a.decl.name.value == b.decl.name.value) {
            duplicates(same, sink);
        }
        if few && group.iter().any(|node| node.decl.count.is_some()) {
            copies(group, sink);
        }
    }
}

fn key(node: &Node) -> (Option<usize>, &str) {
    (node.parent, node.decl.name.value.as_str())
}

/// One diagnostic for each declaration of a path that has several.
fn duplicates(same: &[&Node], sink: &mut Sink) {
    let [first, second, ..] = same else { return };
    for node in same {
        let name = node.name();
        let (there, label) = if node.name().place == first.name().place {
            (second.name().place, "named again here")
        } else {
            (first.name().place, "first named here")
        };
        sink.push_with(Code::DuplicateInstance, name.place, || {
            let message = format!("{} instances in one place are named `{}`", same.len(), name.value);
            Diagnostic::new(Code::DuplicateInstance, name.place, message)
                .label("one of them")
                .help("names of neighbours differ; choose another one")
                .related(there, label)
        });
    }
}

/// The copies of neighbours, among themselves and with the others.
fn copies(group: &[&Node], sink: &mut Sink) {
    let mut names: HashMap<String, &Node> = HashMap::new();
    for node in group.iter().filter(|node| node.decl.count.is_none()) {
        names.insert(node.name().value.as_str().to_owned(), node);
    }
    for node in group {
        let Some(count) = &node.decl.count else { continue };
        let plain = node.name().value.as_str();
        let width = count.value.to_string().len();
        if plain.len() + width > MAX_NAME_BYTES {
            let message = format!("the copies of `{plain}` have names of more than {MAX_NAME_BYTES} bytes");
            let found = Diagnostic::new(Code::NameTooLong, node.name().place, message);
            sink.push(found.label("with the number of the copy").help("choose a shorter name"));
            continue;
        }
        let mut met: Option<(String, &Node)> = None;
        for number in 1..=count.value {
            let name = format!("{plain}{number:0width$}");
            if let Some(other) = names.get(&name) {
                // Two blocks of one name were reported as such.
                if other.name().value != node.name().value {
                    met = met.or(Some((name, other)));
                }
                continue;
            }
            names.insert(name, node);
        }
        if let Some((name, other)) = met {
            sink.push(conflict(node, other, &name));
        }
    }
}

fn conflict(copied: &Node, met: &Node, name: &str) -> Diagnostic {
    let message = format!("`count` makes a second instance `{name}` in the same place");
    Diagnostic::new(Code::ConflictingInferredInstance, copied.name().place, message)
        .label("one of its copies meets another instance")
        .help("choose a name that no copy gets: copies are the name and a number")
        .related(met.name().place, "this instance")
}

/// False, and reported, when there are too many with all copies.
fn few_enough(nodes: &[Node], graph: &Graph, sink: &mut Sink) -> bool {
    let mut sizes: Vec<usize> = Vec::with_capacity(nodes.len());
    let (mut total, mut exports) = (0_usize, 0_usize);
    for node in nodes {
        let count = node.decl.count.as_ref().map_or(1, |count| usize::try_from(count.value).unwrap_or(usize::MAX));
        let above = node.parent.and_then(|parent| sizes.get(parent).copied()).unwrap_or(1);
        let size = count.saturating_mul(above);
        sizes.push(size);
        let exported = node.component.map_or(0, |id| graph.component(id).exports.len()) + node.overrides.len();
        total = total.saturating_add(size);
        exports = exports.saturating_add(size.saturating_mul(exported));
        if total > MAX_INSTANCES || exports > MAX_EXPORTED {
            let place = node.decl.count.as_ref().map_or(node.name().place, |count| count.place);
            sink.push(too_many(place));
            return false;
        }
    }
    true
}
