//! Each instance: its parent, its overrides, its values.

use std::collections::{HashMap, HashSet};

use robo_model::graph::ExportValue;
use robo_model::name::Variable;

use crate::block::{Override, Part};
use crate::code::Code;
use crate::convert::{Applied, BINDINGS, ComponentId, Export, ExportSource, Graph, Node, value_of};
use crate::diagnostic::{Diagnostic, Sink};
use crate::suggest::did_you_mean;

pub(super) fn check(graph: &Graph, nodes: &[Node], sink: &mut Sink) {
    let mut needs: HashMap<ComponentId, Vec<&Variable>> = HashMap::new();
    for node in nodes {
        let Some(id) = node.component else { continue };
        parent(graph, nodes, (node, id), sink);
        overrides(graph, node, id, sink);
        let needs = needs.entry(id).or_insert_with(|| without_value(graph, id));
        values(graph, (node, id), needs, sink);
    }
}

fn parent(graph: &Graph, nodes: &[Node], (node, id): (&Node, ComponentId), sink: &mut Sink) {
    let component = graph.component(id);
    let what = &component.decl.name.value;
    let name = &node.name().value;
    let allowed = || -> Vec<String> {
        let names = component.parents.iter().take(SHOWN_PARENTS);
        names.map(|id| format!("`{}`", graph.component(*id).decl.name.value)).collect()
    };
    let above = node.parent.and_then(|parent| nodes.get(parent));
    let place = node.decl.place;
    match above {
        None if !component.parents.is_empty() => sink.push(
            Diagnostic::new(
                Code::MissingInstanceParent,
                place,
                format!("the instance `{name}` of `{what}` stands in no other instance"),
            )
            .label(format!("a `{what}` cannot stand alone"))
            .help(format!("put the block into an instance of {}", allowed().join(" or ")))
            .related(component.decl.name.place, "the component"),
        ),
        Some(above) => {
            let Some(parent) = above.component.map(|id| (id, graph.component(id))) else { return };
            let (parent_id, parent) = parent;
            let open = parent.open.has(Part::Children) || component.open.has(Part::Facets) || component.maybe_child;
            // Parents are in ascending order.
            if open || component.parents.binary_search(&parent_id).is_ok() {
                return;
            }
            let parent = &parent.decl.name.value;
            let help = if component.parents.is_empty() {
                format!("move it out of `{}`, or write `children: {what};` in `{parent}`", above.name().value)
            } else {
                format!(
                    "put it into an instance of {}, or write `children: {what};` in `{parent}`",
                    allowed().join(" or ")
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
                .related(above.decl.place, "it stands in this one"),
            );
        }
        None => {}
    }
}

/// Most possible parents that a help lists.
const SHOWN_PARENTS: usize = 4;

fn overrides(graph: &Graph, node: &Node, id: ComponentId, sink: &mut Sink) {
    for (over, applied) in node.decl.overrides.iter().zip(&node.overrides) {
        match applied {
            Applied::Local(variables) if variables.len() > 1 => {
                sink.push_with(Code::AmbiguousOverriding, over.key.place, || ambiguous(over, variables));
            }
            Applied::Magic(_) if !graph.component(id).open.has(Part::Exports) => {
                sink.push_with(Code::MagicVariable, over.key.place, || magic(graph, id, over));
            }
            Applied::Local(_) | Applied::Full(_) | Applied::Magic(_) | Applied::Binding | Applied::Unknown => {}
        }
    }
}

fn magic(graph: &Graph, id: ComponentId, over: &Override) -> Diagnostic {
    let component = graph.component(id);
    let what = &component.decl.name.value;
    let key = over.key.value.as_str();
    let binding: &[&str] = if graph.is_host(id) { &BINDINGS } else { &[] };
    let known = ["name", "count", "channels"]
        .into_iter()
        .chain(binding.iter().copied())
        .chain(component.exports.keys().map(|variable| variable.local.as_str()));
    let help = did_you_mean(key, known, || format!("export `{key}` in `{what}`, or write `data.{key}` for data"));
    let message = format!("`{key}` overrides nothing: `{what}` does not export it");
    Diagnostic::new(Code::MagicVariable, over.key.place, message)
        .label("no such variable")
        .help(help)
        .related(component.decl.name.place, "the component")
}

fn ambiguous(over: &Override, variables: &[Variable]) -> Diagnostic {
    let names: Vec<String> = variables.iter().take(SHOWN_VARIABLES).map(|variable| format!("`{variable}`")).collect();
    let message = format!("`{}` overrides {} variables: {}", over.key.value, variables.len(), names.join(", "));
    Diagnostic::new(Code::AmbiguousOverriding, over.key.place, message)
        .label("several variables of this name")
        .help("this is fine if all are meant; otherwise write the full name")
}

/// Most variables that a message lists.
const SHOWN_VARIABLES: usize = 4;

/// The variables of a component that have no value unless an instance gives one.
fn without_value(graph: &Graph, id: ComponentId) -> Vec<&Variable> {
    let component = graph.component(id);
    let name = &component.decl.name.value;
    let missing = |(variable, export): &(&Variable, &Export)| match value_of(name, variable, &export.source) {
        ExportValue::Missing => true,
        ExportValue::Text(text) => is_blank(&text) && ExportValue::filled_in(variable).is_none(),
        ExportValue::Address | ExportValue::Addresses(_) | ExportValue::RandomPort => false,
    };
    component.exports.iter().filter(missing).map(|(variable, _)| variable).collect()
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c <= ' ')
}

/// Every exported variable needs a value, but for addresses and ports that robo fills in.
fn values(graph: &Graph, (node, id): (&Node, ComponentId), needs: &[&Variable], sink: &mut Sink) {
    if node.decl.unread || graph.component(id).open.has(Part::Exports) {
        return;
    }
    // What an override gives, and whether that is blank; of several the last one counts.
    let mut order: Vec<&Variable> = Vec::new();
    let mut blank: HashMap<&Variable, bool> = HashMap::new();
    for (over, applied) in node.decl.overrides.iter().zip(&node.overrides) {
        let variables = match applied {
            Applied::Local(variables) => variables.as_ref(),
            Applied::Full(variable) | Applied::Magic(Some(variable)) => std::slice::from_ref(variable),
            Applied::Magic(None) | Applied::Binding | Applied::Unknown => &[],
        };
        let is_blank = is_blank(&over.value.value);
        for variable in variables {
            order.push(variable);
            blank.insert(variable, is_blank);
        }
    }
    let open = needs.iter().copied().filter(|variable| !blank.contains_key(variable));
    let emptied = order.iter().copied();
    let emptied =
        emptied.filter(|variable| blank.get(variable) == Some(&true) && ExportValue::filled_in(variable).is_none());
    // The same variable under another prefix is the same mistake.
    let mut told: HashSet<&str> = HashSet::new();
    for variable in open.chain(emptied) {
        if told.insert(variable.local.as_str()) {
            let place = node.name().place;
            sink.push_with(Code::MissingVariableValue, place, || missing_value(graph, (node, id), variable));
        }
    }
}

fn missing_value(graph: &Graph, (node, id): (&Node, ComponentId), variable: &Variable) -> Diagnostic {
    let component = graph.component(id);
    let what = &component.decl.name.value;
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
    let name = node.name();
    let message = format!("`{}` exports `{variable}` without a value", name.value);
    let mut found = Diagnostic::new(Code::MissingVariableValue, name.place, message)
        .label(format!("`{local}` has no value here"))
        .help(help);
    if let Some(export) = declared {
        found = found.related(export.place, "exported here");
    }
    found
}
