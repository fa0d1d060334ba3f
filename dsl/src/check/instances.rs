//! Each instance: its parent, its overrides, its values.

use std::collections::BTreeSet;

use robo_model::graph::ExportValue;

use crate::code::Code;
use crate::convert::{ExportSource, Graph, Node};
use crate::diagnostic::{Diagnostic, Sink};
use crate::suggest::did_you_mean;

pub(super) fn check(graph: &Graph, nodes: &[Node], sink: &mut Sink) {
    for node in nodes {
        parent(graph, nodes, node, sink);
        overrides(graph, node, sink);
        values(graph, node, sink);
    }
}

fn parent(graph: &Graph, nodes: &[Node], node: &Node, sink: &mut Sink) {
    let component = graph.component(node.component);
    let what = &component.decl.name.value;
    let name = &node.name().value;
    let allowed: Vec<String> = component
        .parents
        .iter()
        .take(SHOWN_PARENTS)
        .map(|id| format!("`{}`", graph.component(*id).decl.name.value))
        .collect();
    let above = node.parent.and_then(|parent| nodes.get(parent));
    let place = node.decl.component.place;
    match above {
        None if !component.parents.is_empty() => sink.push(
            Diagnostic::new(
                Code::MissingInstanceParent,
                place,
                format!("the instance `{name}` of `{what}` stands in no other instance"),
            )
            .label(format!("a `{what}` cannot stand alone"))
            .help(format!("put the block into an instance of {}", allowed.join(" or ")))
            .related(component.decl.name.place, "the component"),
        ),
        // Parents are in ascending order.
        Some(above) if component.parents.binary_search(&above.component).is_err() => {
            let parent = &graph.component(above.component).decl.name.value;
            let help = if allowed.is_empty() {
                format!("move it out of `{}`, or write `children: {what};` in `{parent}`", above.name().value)
            } else {
                format!(
                    "put it into an instance of {}, or write `children: {what};` in `{parent}`",
                    allowed.join(" or ")
                )
            };
            sink.push(
                Diagnostic::new(
                    Code::InvalidInstanceParent,
                    place,
                    format!("an instance of `{what}` may not stand in one of `{parent}`"),
                )
                .label(format!("`{what}` is no child of `{parent}`"))
                .help(help)
                .related(above.decl.component.place, "it stands in this one"),
            );
        }
        None | Some(_) => {}
    }
}

/// Most possible parents that a help lists.
const SHOWN_PARENTS: usize = 4;

fn overrides(graph: &Graph, node: &Node, sink: &mut Sink) {
    let component = graph.component(node.component);
    let what = &component.decl.name.value;
    let over = |i: &usize| node.decl.overrides.get(*i);
    for over in node.magic.iter().filter_map(over) {
        if sink.is_full() {
            return;
        }
        let key = over.key.value.as_str();
        let binding: &[&str] = if graph.is_host(node.component) { &["device", "devices", "target"] } else { &[] };
        let known = ["name", "count", "channels"]
            .into_iter()
            .chain(binding.iter().copied())
            .chain(component.exports.keys().map(|variable| variable.local.as_str()));
        let help = did_you_mean(key, known, || format!("export `{key}` in `{what}`, or write `data.{key}` for data"));
        sink.push(
            Diagnostic::new(
                Code::MagicVariable,
                over.key.place,
                format!("`{key}` overrides nothing: `{what}` does not export it"),
            )
            .label("no such variable")
            .help(help)
            .related(component.decl.name.place, "the component"),
        );
    }
    for (i, variables) in &node.ambiguous {
        let Some(over) = over(i) else { continue };
        let names: Vec<String> =
            variables.iter().take(SHOWN_VARIABLES).map(|variable| format!("`{variable}`")).collect();
        sink.push(
            Diagnostic::new(
                Code::AmbiguousOverriding,
                over.key.place,
                format!("`{}` overrides {} variables: {}", over.key.value, variables.len(), names.join(", ")),
            )
            .label("several variables of this name")
            .help("this is fine if all are meant; otherwise write the full name"),
        );
    }
}

/// Most variables that a message lists.
const SHOWN_VARIABLES: usize = 4;

/// Every exported variable needs a value, but for addresses and ports that robo fills in.
fn values(graph: &Graph, node: &Node, sink: &mut Sink) {
    let component = graph.component(node.component);
    let what = &component.decl.name.value;
    let mut told = BTreeSet::new();
    for (variable, value) in &node.exports {
        let missing = match value {
            ExportValue::Missing => true,
            ExportValue::Text(text) => text.chars().all(|c| c <= ' ') && !variable.is_address(),
            ExportValue::Address | ExportValue::RandomPort => false,
        };
        // The same variable under another prefix is the same mistake.
        if !missing || !told.insert(variable.local.as_str()) {
            continue;
        }
        let local = &variable.local;
        let declared = component.exports.get(variable);
        let random = declared.is_some_and(|export| matches!(export.source, ExportSource::Random { .. }));
        let help = if random {
            format!(
                "a random port belongs to the component that declares it: write `exports: random[port] {local};` in `{what}`"
            )
        } else {
            format!("write `{local}: value;` in the instance, or `{local} = value` in the component")
        };
        let mut found = Diagnostic::new(
            Code::MissingVariableValue,
            node.name().place,
            format!("`{}` exports `{variable}` without a value", node.name().value),
        )
        .label(format!("`{local}` has no value here"))
        .help(help);
        if let Some(export) = declared {
            found = found.related(export.place, "exported here");
        }
        sink.push(found);
    }
}
