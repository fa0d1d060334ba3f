//! `$(name)` in values: every name must be one that the agent can give a value to.

use std::collections::{BTreeSet, HashMap, HashSet};

use robo_model::graph::{Check, Probe};
use robo_model::template::references;

use super::offered::Offered;
use crate::code::Code;
use crate::convert::{ComponentId, Graph, Node};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Place;
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// What the original substitutes in every value; `robo_model::template` gives them their values.
const INSTANCE_VARIABLES: [&str; 5] = [
    "ROBOCONF_INSTANCE_NAME",
    "ROBOCONF_INSTANCE_PATH",
    "ROBOCONF_COMPONENT_NAME",
    "ROBOCONF_CLEAN_INSTANCE_PATH",
    "ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH",
];

pub(super) fn check(graph: &Graph, nodes: &[Node], sink: &mut Sink) {
    let mut checker = Checker {
        graph,
        offered: Offered::new(graph, graph.component_ids()),
        known: HashMap::new(),
        told: HashSet::new(),
    };
    for id in graph.component_ids() {
        for (text, place) in texts(graph, id) {
            checker.text(id, text, place, sink);
        }
    }
    for node in nodes {
        for over in &node.decl.overrides {
            checker.text(node.component, &over.value.value, over.value.place, sink);
        }
    }
}

/// The values that a component declares itself, and those of its facets: a facet has no imports, so what is
/// known there depends on who has it. What it extends is checked by itself.
fn texts(graph: &Graph, id: ComponentId) -> Vec<(&str, Place)> {
    let component = graph.component(id);
    let extras = &component.decl.extras;
    let own = component.decl.exports.iter();
    let by_facet = component.facets.iter().flat_map(|facet| &graph.facet(*facet).decl.exports);
    let values = own.chain(by_facet).filter_map(|export| export.value.as_ref());
    let values = values.chain(&extras.run).chain(extras.env.values());
    let mut found: Vec<(&str, Place)> = values.map(|text| (text.value.as_str(), text.place)).collect();
    if let Some(check) = &extras.check {
        let Check { probe, every: _, timeout: _ } = &check.value;
        match probe {
            Probe::Http { port, path } => found.extend([(port.as_str(), check.place), (path, check.place)]),
            Probe::Tcp { port } => found.push((port, check.place)),
            Probe::Run { command } => found.push((command, check.place)),
        }
    }
    found
}

struct Checker<'g> {
    graph: &'g Graph,
    offered: Offered<'g>,
    /// By component: local names of its exports, and its imports but for wildcards.
    known: HashMap<ComponentId, BTreeSet<String>>,
    /// Where a mistake was reported: a facet's value is looked at once for each component that has it.
    told: HashSet<(Place, String)>,
}

impl Checker<'_> {
    fn text(&mut self, id: ComponentId, text: &str, place: Place, sink: &mut Sink) {
        if !text.contains("$(") {
            return;
        }
        for (name, _) in references(text) {
            if name.starts_with("secret:") {
                if self.told.insert((place, name.to_owned())) {
                    sink.push(secret(name, place));
                }
            } else if !self.is_known(id, name) && self.told.insert((place, name.to_owned())) {
                sink.push(self.unknown(id, name, place));
            }
        }
    }

    fn is_known(&mut self, id: ComponentId, name: &str) -> bool {
        let graph = self.graph;
        let known = self.known.entry(id).or_insert_with(|| known(graph, id));
        if known.contains(name) {
            return true;
        }
        // `Lamp.*` brings any variable that is exported with this prefix; `external Lamp.*` any at all.
        let Some((prefix, local)) = name.split_once('.') else { return false };
        graph.component(id).imports.iter().any(|import| {
            import.import.variable.is_none()
                && import.import.prefix.as_str() == prefix
                && (import.import.external || self.offered.has(prefix, local))
        })
    }

    fn unknown(&self, id: ComponentId, name: &str, place: Place) -> Diagnostic {
        let component = &self.graph.component(id).decl.name.value;
        let known = self.known.get(&id).into_iter().flatten().map(String::as_str);
        let help = did_you_mean(name, known, || {
            format!("export or import it in `{component}`; imports are written with their prefix, as in `$(Db.ip)`")
        });
        let message = format!("nothing gives `$({})` of `{component}` a value", short(name));
        Diagnostic::new(Code::UnknownTemplateName, place, message)
            .label(format!("`{}` is neither exported nor imported", short(name)))
            .help(help)
    }
}

fn secret(name: &str, place: Place) -> Diagnostic {
    let message = format!("`$({})` is a secret; secrets are not available in this version of robo", short(name));
    Diagnostic::new(Code::SecretsNotAvailable, place, message)
        .label("not available yet")
        .help("keep it in a file on the machine, readable for the component's user only")
}

fn known(graph: &Graph, id: ComponentId) -> BTreeSet<String> {
    let component = graph.component(id);
    let mut names: BTreeSet<String> = INSTANCE_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(component.exports.keys().map(|variable| variable.local.to_string()));
    names.extend(component.imports.iter().filter(|i| i.import.variable.is_some()).map(|i| i.import.to_string()));
    names
}
