//! `$(name)` in values: every name must be one that the agent can give a value to.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{Check, Probe};
use robo_model::template::references;

use crate::code::Code;
use crate::convert::{ComponentId, ExportSource, Graph, Node};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Place;
use crate::suggest::did_you_mean;

/// What the original substitutes in every value; `robo_model::template` gives them their values.
const INSTANCE_VARIABLES: [&str; 5] = [
    "ROBOCONF_INSTANCE_NAME",
    "ROBOCONF_INSTANCE_PATH",
    "ROBOCONF_COMPONENT_NAME",
    "ROBOCONF_CLEAN_INSTANCE_PATH",
    "ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH",
];

pub(super) fn check(graph: &Graph, nodes: &[Node], sink: &mut Sink) {
    let mut cache: BTreeMap<ComponentId, BTreeSet<String>> = BTreeMap::new();
    for id in graph.component_ids() {
        for (text, place) in texts(graph, id) {
            one(graph, id, (text, place), &mut cache, sink);
        }
    }
    for node in nodes {
        for over in &node.decl.overrides {
            one(graph, node.component, (&over.value.value, over.value.place), &mut cache, sink);
        }
    }
}

/// The values that a component itself declares. What it inherits was checked where it is declared, with
/// fewer names known there.
fn texts(graph: &Graph, id: ComponentId) -> Vec<(&str, Place)> {
    let component = graph.component(id);
    let extras = &component.decl.extras;
    let mut found: Vec<(&str, Place)> = Vec::new();
    for export in component.exports.values() {
        if let ExportSource::Text { value, place } = &export.source {
            found.push((value, *place));
        }
    }
    found.extend(extras.run.iter().chain(extras.env.values()).map(|text| (text.value.as_str(), text.place)));
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

fn one(
    graph: &Graph,
    id: ComponentId,
    (text, place): (&str, Place),
    cache: &mut BTreeMap<ComponentId, BTreeSet<String>>,
    sink: &mut Sink,
) {
    if !text.contains("$(") {
        return;
    }
    for (name, _) in references(text) {
        if name.starts_with("secret:") {
            let message = format!("`$({name})` is a secret; secrets are not available in this version of robo");
            sink.push(
                Diagnostic::new(Code::SecretsNotAvailable, place, message)
                    .label("not available yet")
                    .help("keep it in a file on the machine, readable for the component's user only"),
            );
            continue;
        }
        let known = cache.entry(id).or_insert_with(|| known(graph, id));
        if known.contains(name) || imported_from_elsewhere(graph, id, name) {
            continue;
        }
        let component = &graph.component(id).decl.name.value;
        let help = did_you_mean(name, known.iter().map(String::as_str), || {
            format!("export or import it in `{component}`; imports are written with their prefix, as in `$(Db.ip)`")
        });
        sink.push(
            Diagnostic::new(
                Code::UnknownTemplateName,
                place,
                format!("nothing gives `$({name})` of `{component}` a value"),
            )
            .label(format!("`{name}` is neither exported nor imported"))
            .help(help),
        );
    }
}

/// Local names of the component's exports, its imports with their prefix, and what is known of every instance.
fn known(graph: &Graph, id: ComponentId) -> BTreeSet<String> {
    let component = graph.component(id);
    let mut names: BTreeSet<String> = INSTANCE_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(component.exports.keys().map(|variable| variable.local.to_string()));
    for import in &component.imports {
        match &import.import.variable {
            Some(_) => {
                names.insert(import.import.to_string());
            }
            None => {
                let all = graph.component_ids().flat_map(|other| graph.component(other).exports.keys());
                names.extend(all.filter(|v| v.prefix == import.import.prefix).map(ToString::to_string));
            }
        }
    }
    names
}

/// `external Lamp.*` may bring any variable of `Lamp`.
fn imported_from_elsewhere(graph: &Graph, id: ComponentId, name: &str) -> bool {
    let prefix = name.split_once('.').map(|(prefix, _)| prefix);
    let imports = &graph.component(id).imports;
    imports.iter().any(|i| i.import.external && i.import.variable.is_none() && Some(i.import.prefix.as_str()) == prefix)
}
