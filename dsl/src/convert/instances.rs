//! Instances with their components looked up and their overrides applied.

use std::collections::HashMap;
use std::sync::Arc;

use robo_model::graph::{Binding, ExportValue};
use robo_model::limits::MAX_INSTANCES;
use robo_model::name::{ComponentName, Variable, VariableName, is_id};

use super::binding;
use super::exports::ExportSource;
use super::graph::{ComponentId, Graph};
use super::inherit::Budget;
use super::siblings;
use crate::block::{InstanceDecl, Override};
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
    /// Nothing, and reported, where it is not known.
    pub(crate) component: Option<ComponentId>,
    /// By its place in the list; always an earlier one.
    pub(crate) parent: Option<usize>,
    /// What each of its overrides is, in their order.
    pub(crate) overrides: Vec<Applied>,
    pub(crate) binding: Option<Binding>,
}

/// What an override overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Every variable of this local name. Replicas under the component's own prefix count too.
    Local(Arc<[Variable]>),
    /// One variable by its full name.
    Full(Variable),
    /// Nothing: it adds a variable, where its name can be one.
    Magic(Option<Variable>),
    /// Which machine it is.
    Binding,
    /// The component is not known.
    Unknown,
}

/// Looks up components, applies overrides, reads bindings. What stands in an instance of an unknown component
/// is looked at all the same.
pub(crate) fn instances(decls: Vec<InstanceDecl>, graph: &Graph, sink: &mut Sink) -> Vec<Node> {
    let mut budget = Budget::of(MAX_EXPORTED);
    let mut nodes: Vec<Node> = Vec::with_capacity(decls.len());
    let mut locals = Locals { graph, known: HashMap::new() };
    for decl in decls {
        let component = decl.component.as_ref().and_then(|name| {
            let found = graph.find(name.name.value.as_str());
            if found.is_none() && !name.reported && !graph.gaps.mention(name.name.value.as_str()) {
                sink.push_with(Code::UnknownComponent, name.name.place, || unknown_component(graph, &name.name));
            }
            found
        });
        let exported = component.map_or(0, |id| graph.component(id).exports.len());
        if budget.spend(exported + decl.overrides.len()).is_none() {
            sink.push(too_many(decl.place));
            break;
        }
        nodes.push(node(decl, component, &mut locals, sink));
    }
    siblings::check(&nodes, graph, sink);
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

fn unknown_component(graph: &Graph, component: &Spanned<ComponentName>) -> Diagnostic {
    let name = component.value.as_str();
    let help = if graph.find_facet(name).is_some() {
        format!("`{name}` is a facet; instances are of components")
    } else {
        did_you_mean(name, graph.component_names(), || format!("define it: `{name} {{`"))
    };
    Diagnostic::new(Code::UnknownComponent, component.place, format!("the component `{name}` is not defined"))
        .label("unknown component")
        .help(help)
}

/// The variables of components by their local names; made when the first instance with overrides is met.
struct Locals<'g> {
    graph: &'g Graph,
    known: HashMap<ComponentId, HashMap<VariableName, Arc<[Variable]>>>,
}

impl<'g> Locals<'g> {
    fn find(&mut self, id: ComponentId, local: &str) -> Option<&Arc<[Variable]>> {
        let graph = self.graph;
        let known = self.known.entry(id).or_insert_with(|| {
            let mut by_local: HashMap<VariableName, Vec<Variable>> = HashMap::new();
            for variable in graph.component(id).exports.keys() {
                by_local.entry(variable.local.clone()).or_default().push(variable.clone());
            }
            by_local.into_iter().map(|(local, variables)| (local, variables.into())).collect()
        });
        known.get(local)
    }
}

fn node(decl: InstanceDecl, component: Option<ComponentId>, locals: &mut Locals<'_>, sink: &mut Sink) -> Node {
    let mut overrides = Vec::with_capacity(decl.overrides.len());
    let mut bindings = Vec::new();
    for over in &decl.overrides {
        let applied = component.map_or(Applied::Unknown, |id| applied(over, id, locals));
        if applied == Applied::Binding {
            bindings.push(over);
        }
        overrides.push(applied);
    }
    let host = component.map(|id| locals.graph.is_host(id));
    let binding = host.and_then(|host| binding::binding(&decl, &bindings, host, sink));
    Node { component, parent: decl.parent, overrides, binding, decl }
}

fn applied(over: &Override, id: ComponentId, locals: &mut Locals<'_>) -> Applied {
    let graph = locals.graph;
    let key = over.key.value.as_str();
    if let Some(variables) = locals.find(id, key) {
        return Applied::Local(Arc::clone(variables));
    }
    let component = graph.component(id);
    let full = Variable::parse(key).ok();
    match full {
        Some(full) if component.exports.contains_key(&full) => Applied::Full(full),
        _ if graph.is_host(id) && BINDINGS.contains(&key) => Applied::Binding,
        _ if !is_id(key) => Applied::Magic(None),
        Some(full) => Applied::Magic(Some(full)),
        None => Applied::Magic(Variable::parse(&format!("{}.{key}", component.decl.name.value)).ok()),
    }
}

/// What says which machine a host instance is.
pub(crate) const BINDINGS: [&str; 3] = ["device", "devices", "target"];

/// The value of a variable before overrides.
pub(crate) fn value_of(component: &ComponentName, variable: &Variable, source: &ExportSource) -> ExportValue {
    let filled_in = ExportValue::filled_in(variable);
    match source {
        ExportSource::Text { value, .. } if filled_in.is_none() || !value.trim().is_empty() => {
            ExportValue::Text(value.clone())
        }
        ExportSource::Random { owner } if owner == component => ExportValue::RandomPort,
        ExportSource::None | ExportSource::Text { .. } => filled_in.unwrap_or(ExportValue::Missing),
        ExportSource::Random { .. } => ExportValue::Missing,
    }
}

/// Its place, for messages about the whole instance.
impl Node {
    pub(crate) fn name(&self) -> &Spanned<robo_model::name::InstanceName> {
        &self.decl.name
    }
}
