//! Instances with their components looked up and their overrides applied.

use std::collections::{BTreeMap, HashMap};

use robo_model::graph::{Binding, ExportValue};
use robo_model::limits::MAX_INSTANCES;
use robo_model::name::{ComponentName, Variable, is_id};

use super::binding;
use super::exports::ExportSource;
use super::graph::{ComponentId, Graph};
use super::inherit::Budget;
use crate::block::InstanceDecl;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};
use crate::suggest::did_you_mean;

/// Most variables that all instances of one application export together; the largest application we
/// know of has some 20 in each of its 10,000 instances.
pub(super) const MAX_EXPORTED: usize = 8_000_000;

/// A declared instance.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) decl: InstanceDecl,
    pub(crate) component: ComponentId,
    /// By its place in the list; always an earlier one.
    pub(crate) parent: Option<usize>,
    pub(crate) exports: BTreeMap<Variable, ExportValue>,
    pub(crate) binding: Option<Binding>,
    /// Overrides that override nothing, and those that override several variables; by place in the declaration.
    pub(crate) magic: Vec<usize>,
    pub(crate) ambiguous: Vec<(usize, Vec<Variable>)>,
}

/// Looks up components, applies overrides, reads bindings. An instance of an unknown component is
/// reported and left out, with all that stands in it.
pub(crate) fn instances(decls: Vec<InstanceDecl>, graph: &Graph, sink: &mut Sink) -> Vec<Node> {
    let errors = sink.errors();
    let mut budget = Budget::of(MAX_EXPORTED);
    let mut nodes: Vec<Node> = Vec::with_capacity(decls.len());
    let mut places: Vec<Option<usize>> = Vec::with_capacity(decls.len());
    for decl in decls {
        let parent = decl.parent.map(|parent| places.get(parent).copied().flatten());
        let component = graph.find(decl.component.value.as_str());
        if component.is_none() {
            sink.push_unknown(|| unknown_component(graph, &decl));
        }
        let (Some(component), false) = (component, parent == Some(None)) else {
            places.push(None);
            continue;
        };
        if budget.spend(graph.component(component).exports.len()).is_none() {
            sink.push(too_many(decl.component.place));
            break;
        }
        places.push(Some(nodes.len()));
        nodes.push(node(decl, component, parent.flatten(), graph, sink));
    }
    if sink.errors() == errors {
        duplicates(&nodes, sink);
    }
    nodes
}

/// What is said where an application becomes too large.
pub(super) fn too_many(place: Place) -> Diagnostic {
    let message =
        format!("the application has more than {MAX_INSTANCES} instances, or {MAX_EXPORTED} variables in them");
    Diagnostic::new(Code::TooManyInstances, place, message)
        .label("here it becomes too many")
        .help("lower the `count` here or above, or split the application")
}

fn unknown_component(graph: &Graph, decl: &InstanceDecl) -> Diagnostic {
    let name = decl.component.value.as_str();
    let help = if graph.find_facet(name).is_some() {
        format!("`{name}` is a facet; instances are of components")
    } else {
        did_you_mean(name, graph.component_names(), || format!("define it: `{name} {{`"))
    };
    Diagnostic::new(Code::UnknownComponent, decl.component.place, format!("the component `{name}` is not defined"))
        .label("unknown component")
        .help(help)
}

fn node(decl: InstanceDecl, component: ComponentId, parent: Option<usize>, graph: &Graph, sink: &mut Sink) -> Node {
    let known = &graph.component(component).exports;
    let what = &graph.component(component).decl.name.value;
    let mut exports: BTreeMap<Variable, ExportValue> =
        known.iter().map(|(variable, export)| (variable.clone(), value_of(what, variable, &export.source))).collect();
    let mut by_local: HashMap<&str, Vec<&Variable>> = HashMap::new();
    for variable in known.keys() {
        by_local.entry(variable.local.as_str()).or_default().push(variable);
    }
    let (mut magic, mut ambiguous, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    let host = graph.is_host(component);
    for (i, over) in decl.overrides.iter().enumerate() {
        let key = over.key.value.as_str();
        let value = ExportValue::Text(over.value.value.clone());
        let full = Variable::parse(key).ok();
        if let Some(variables) = by_local.get(key) {
            // Replicas under the component's own prefix and what they replicate are one variable to a person.
            if variables.len() > 1 {
                ambiguous.push((i, variables.iter().map(|v| (*v).clone()).collect()));
            }
            exports.extend(variables.iter().map(|variable| ((*variable).clone(), value.clone())));
        } else if let Some(full) = full.as_ref().filter(|full| known.contains_key(*full)) {
            exports.insert(full.clone(), value);
        } else if host && matches!(key, "device" | "devices" | "target") {
            bindings.push(over);
        } else {
            magic.push(i);
            let added = full.or_else(|| Variable::parse(&format!("{what}.{key}")).ok()).filter(|_| is_id(key));
            exports.extend(added.map(|variable| (variable, value)));
        }
    }
    let binding = binding::binding(&decl, &bindings, host, sink);
    Node { decl, component, parent, exports, binding, magic, ambiguous }
}

/// The value of a variable before overrides.
pub(super) fn value_of(component: &ComponentName, variable: &Variable, source: &ExportSource) -> ExportValue {
    match source {
        ExportSource::Text { value, .. } if !(value.trim().is_empty() && variable.is_address()) => {
            ExportValue::Text(value.clone())
        }
        ExportSource::Random { owner } if owner == component => ExportValue::RandomPort,
        ExportSource::None | ExportSource::Text { .. } if variable.is_address() => ExportValue::Address,
        ExportSource::None | ExportSource::Text { .. } | ExportSource::Random { .. } => ExportValue::Missing,
    }
}

/// One diagnostic for each declaration of a path that has several.
fn duplicates(nodes: &[Node], sink: &mut Sink) {
    let mut places: HashMap<(Option<usize>, &str), Vec<Place>> = HashMap::new();
    let key = |node: &Node| (node.parent, node.decl.name.value.clone());
    for node in nodes {
        places.entry((node.parent, node.decl.name.value.as_str())).or_default().push(node.decl.name.place);
    }
    for node in nodes {
        let (parent, name) = key(node);
        let all = places.get(&(parent, name.as_str())).map_or(&[] as &[Place], Vec::as_slice);
        let [first, second, ..] = all else { continue };
        let place = node.decl.name.place;
        let (there, label) = if place == *first { (second, "named again here") } else { (first, "first named here") };
        sink.push(
            Diagnostic::new(
                Code::DuplicateInstance,
                place,
                format!("{} instances in one place are named `{name}`", all.len()),
            )
            .label("one of them")
            .help("names of neighbours differ; choose another one")
            .related(*there, label),
        );
    }
}

/// Its place, for messages about the whole instance.
impl Node {
    pub(crate) fn name(&self) -> &Spanned<robo_model::name::InstanceName> {
        &self.decl.name
    }
}
