//! `$(name)` in values: every name must be one that the agent can give a value to, and secrets stand where nobody else
//! reads them.

use std::collections::{BTreeSet, HashMap, HashSet};

use robo_model::graph::Import;
use robo_model::name::{NameError, SecretName};
use robo_model::template::{Reference, references};

use super::offered::Offered;
use crate::block::Part;
use crate::code::Code;
use crate::convert::{ComponentId, Graph, Node};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};
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
        for value in values(graph, id) {
            checker.value(id, &value, sink);
        }
    }
    for node in nodes {
        let Some(component) = node.component else { continue };
        for over in &node.decl.overrides {
            let value = Value { given: &over.value, purpose: Purpose::Export };
            checker.value(component, &value, sink);
        }
    }
}

/// A value, and what it is for.
struct Value<'g> {
    given: &'g Spanned<String>,
    purpose: Purpose,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To every importer.
    Export,
    /// Into an argument list, which every user of the machine may read.
    Command,
    /// To the port, path or command that is tried.
    Check,
    /// To the program alone: secrets may stand here.
    Environment,
}

impl Purpose {
    const fn noun(self) -> &'static str {
        match self {
            Self::Export => "an exported value",
            Self::Command => "a command line",
            Self::Check => "a check",
            Self::Environment => "an environment variable",
        }
    }
}

/// The values that a component declares itself, and those of its facets: a facet has no imports, so what is
/// known there depends on who has it. What it extends is checked by itself.
fn values(graph: &Graph, id: ComponentId) -> impl Iterator<Item = Value<'_>> {
    let component = graph.component(id);
    let extras = &component.decl.extras;
    let own = component.decl.exports.iter();
    let by_facet = component.facets.iter().flat_map(|facet| &graph.facet(*facet).decl.exports);
    let exports = own.chain(by_facet).filter_map(|export| export.value.as_ref()).map(|value| (value, Purpose::Export));
    let commands = extras.run.iter().map(|value| (value, Purpose::Command));
    let environment = extras.env.values().map(|value| (value, Purpose::Environment));
    let checks = extras.check.iter().map(|check| (&check.text, Purpose::Check));
    exports.chain(commands).chain(environment).chain(checks).map(|(value, purpose)| Value { given: value, purpose })
}

struct Checker<'g> {
    graph: &'g Graph,
    offered: Offered<'g>,
    known: HashMap<ComponentId, Known>,
    /// Where a mistake was reported: a facet's value is looked at once for each component that has it.
    told: HashSet<(Place, String)>,
}

impl Checker<'_> {
    fn value(&mut self, id: ComponentId, value: &Value<'_>, sink: &mut Sink) {
        if !value.given.value.contains("$(") {
            return;
        }
        for (reference, range) in references(&value.given.value) {
            let place = value.given.part(range);
            let found = match reference {
                Reference::Secret(name) => secret(name, place, value.purpose),
                Reference::Variable(name) if self.is_known(id, name) => None,
                Reference::Variable(name) => Some(self.unknown(id, name, place, value.purpose)),
            };
            if let Some(found) = found.filter(|_| self.told.insert((place, reference.to_string()))) {
                sink.push(found);
            }
        }
    }

    fn is_known(&mut self, id: ComponentId, name: &str) -> bool {
        let graph = self.graph;
        let known = self.known.entry(id).or_insert_with(|| known(graph, id));
        if known.names.contains(name) {
            return true;
        }
        // What could not be read may export or import it.
        let open = graph.component(id).open;
        if open.has(Part::Exports) || open.has(Part::Imports) {
            return true;
        }
        // `Lamp.*` brings any variable that is exported with this prefix; `external Lamp.*` any at all.
        let Some((prefix, local)) = name.split_once('.') else { return false };
        known.wildcards.get(prefix).is_some_and(|external| {
            *external || self.offered.has(prefix, local) || graph.is_open(prefix, Part::Exports)
        })
    }

    fn unknown(&self, id: ComponentId, name: &str, place: Place, purpose: Purpose) -> Diagnostic {
        let component = &self.graph.component(id).decl.name.value;
        let known = self.known.get(&id).into_iter().flat_map(|known| &known.names).map(String::as_str);
        let help = did_you_mean(name, known, || {
            format!("export or import it in `{component}`; imports are written with their prefix, as in `$(Db.ip)`")
        });
        let message = format!("nothing gives `$({})` of `{component}` a value", short(name));
        // Exports of the original may have such texts in them.
        let (code, message) = match purpose {
            Purpose::Export => (Code::PlainTemplateName, format!("{message}: it is exported as it stands here")),
            Purpose::Command | Purpose::Check | Purpose::Environment => (Code::UnknownTemplateName, message),
        };
        Diagnostic::new(code, place, message)
            .label(format!("`{}` is neither exported nor imported", short(name)))
            .help(help)
    }
}

/// What is wrong with `$(secret:NAME)`.
fn secret(name: &str, place: Place, purpose: Purpose) -> Option<Diagnostic> {
    if purpose != Purpose::Environment {
        return Some(secret_not_allowed(name, place, purpose.noun()));
    }
    let error = SecretName::new(name).err()?;
    let message = match error {
        NameError::Empty { .. } => "`$(secret:)` does not say which secret".to_owned(),
        NameError::TooLong { .. } | NameError::Malformed { .. } => format!("`{}` is not a secret's name", short(name)),
    };
    let found = Diagnostic::new(Code::InvalidSecret, place, message)
        .label("letters, digits, `_`, `-` and `.`, starting with a letter or digit")
        .help("write it as in `$(secret:db-password)`");
    Some(found)
}

/// A secret in `noun`, where others would read it.
pub(crate) fn secret_not_allowed(name: &str, place: Place, noun: &str) -> Diagnostic {
    let message = format!("the secret `{}` stands in {noun}, which others can read", short(name));
    Diagnostic::new(Code::SecretNotAllowed, place, message)
        .label("not a place for a secret")
        .help("secrets may stand in `env.KEY` alone: write `env.PASSWORD: $(secret:db-password);`, and let the program read the variable")
}

/// What has a value in the values of one component.
struct Known {
    /// Local names of its exports, and its imports but for wildcards.
    names: BTreeSet<String>,
    /// The prefixes of imports such as `Lamp.*`; true for `external Lamp.*`.
    wildcards: HashMap<String, bool>,
}

fn known(graph: &Graph, id: ComponentId) -> Known {
    let component = graph.component(id);
    let mut names: BTreeSet<String> = INSTANCE_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    names.extend(component.exports.keys().map(|variable| variable.local.to_string()));
    let mut wildcards: HashMap<String, bool> = HashMap::new();
    for Import { prefix, variable, external, .. } in component.imports.iter().map(|decl| &decl.import) {
        match variable {
            Some(variable) => drop(names.insert(format!("{prefix}.{variable}"))),
            None => *wildcards.entry(prefix.to_string()).or_default() |= external,
        }
    }
    Known { names, wildcards }
}
