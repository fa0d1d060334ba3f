//! Each component with what it inherits: installer, exports, imports.

use std::collections::{BTreeSet, HashSet};

use robo_model::graph::Import;
use robo_model::name::{ComponentName, Variable, is_flex_id};

use crate::block::{ExportDecl, ImportDecl};
use crate::code::Code;
use crate::convert::{ComponentId, Graph};
use crate::diagnostic::{Diagnostic, Sink};
use crate::suggest::did_you_mean;
use crate::syntax::short;

pub(super) fn check(graph: &Graph, reachable: &BTreeSet<ComponentId>, sink: &mut Sink) {
    let offered = Offered::new(graph, reachable);
    for id in reachable {
        installer(graph, *id, sink);
        process(graph, *id, sink);
        for export in &graph.component(*id).decl.exports {
            random(export, sink);
        }
        inheritance(graph, *id, sink);
        for import in &graph.component(*id).imports {
            own_export(graph, *id, import, sink);
            resolvable(graph, *id, import, &offered, sink);
        }
    }
    // A facet's exports count once, however many components have it.
    let facets: BTreeSet<_> = reachable.iter().flat_map(|id| &graph.component(*id).all_facets).collect();
    for facet in facets {
        for export in &graph.facet(*facet).decl.exports {
            random(export, sink);
        }
    }
}

fn installer(graph: &Graph, id: ComponentId, sink: &mut Sink) {
    let component = graph.component(id);
    let name = &component.decl.name;
    let Some(installer) = graph.installer(id) else {
        sink.push(
            Diagnostic::new(Code::EmptyInstaller, name.place, format!("`{}` has no installer", name.value))
                .label("neither it nor what it extends says how it is installed")
                .help("write `installer: script;`, `process`, `logger` or, for a machine, `target`"),
        );
        return;
    };
    debug_assert!(is_flex_id(&installer.value), "checked with its block");
    if component.parents.is_empty() && installer.value != "target" {
        let trimmed = installer.value.trim();
        let help = if trimmed.eq_ignore_ascii_case("target") {
            "write `installer: target;` in lower case, without a blank before `;`".to_owned()
        } else {
            format!("write `installer: target;` if it is a machine, or name `{}` in the `children` of one", name.value)
        };
        let message = format!("`{}` stands in no other component, so it must be a machine", name.value);
        sink.push(
            Diagnostic::new(Code::RootInstaller, installer.place, message)
                .label(format!("`{}` is not `target`", short(&installer.value)))
                .help(help)
                .related(name.place, "a root component"),
        );
    }
}

/// `run` and its kin need `installer: process`, and the other way round.
fn process(graph: &Graph, id: ComponentId, sink: &mut Sink) {
    let component = graph.component(id);
    let is_process = graph.installer(id).is_some_and(|installer| installer.value == "process");
    let extras = &component.decl.extras;
    let name = &component.decl.name;
    let uses = [
        extras.run.as_ref().map(|run| ("run", run.place)),
        extras.restart.as_ref().map(|restart| ("restart", restart.place)),
        extras.env.values().next().map(|value| ("env", value.place)),
    ];
    if let Some((what, place)) = uses.into_iter().flatten().next().filter(|_| !is_process) {
        let message = format!("`{what}` of `{}` has no effect without `installer: process`", name.value);
        sink.push(
            Diagnostic::new(Code::RunWithoutProcess, place, message)
                .label("only a process is run")
                .help("write `installer: process;`, or leave the line out"),
        );
    }
    let extended = graph.component_ids().any(|other| graph.component(other).extends == Some(id));
    if is_process && !extended && graph.nearest(id, |decl| decl.extras.run.as_ref()).is_none() {
        sink.push(
            Diagnostic::new(
                Code::ProcessWithoutRun,
                name.place,
                format!("the process `{}` has no command", name.value),
            )
            .label("`run` is missing in this block")
            .help("write `run: command and arguments;`"),
        );
    }
}

fn random(export: &ExportDecl, sink: &mut Sink) {
    let Some(kind) = &export.random else { return };
    let name = &export.name.value;
    if !kind.value.eq_ignore_ascii_case("port") {
        sink.push(
            Diagnostic::new(
                Code::InvalidRandomKind,
                kind.place,
                format!("`{}` is no kind of random value", short(&kind.value)),
            )
            .label("unknown kind")
            .help(format!("write `random[port] {name}`")),
        );
    }
    if let Some(value) = &export.value {
        sink.push(
            Diagnostic::new(Code::RandomWithValue, value.place, format!("the random variable `{name}` has a value"))
                .label("robo picks it")
                .help(format!("leave out either the value or `random[{}]`", kind.value)),
        );
    }
}

fn inheritance(graph: &Graph, id: ComponentId, sink: &mut Sink) {
    let component = graph.component(id);
    if component.in_circle {
        let name = &component.decl.name;
        let place = component.decl.extends.as_ref().map_or(name.place, |extends| extends.place);
        sink.push(
            Diagnostic::new(Code::InheritanceCycle, place, format!("`{}` extends itself in the end", name.value))
                .label("in a circle of `extends`")
                .help("remove one `extends` of the circle"),
        );
    }
}

/// A component must not wait for what it gives itself.
fn own_export(graph: &Graph, id: ComponentId, decl: &ImportDecl, sink: &mut Sink) {
    let import = &decl.import;
    let component = graph.component(id);
    let own = match variable(import) {
        Some(variable) => component.exports.contains_key(&variable),
        None => {
            let supers = component.lineage.iter().map(|above| &graph.component(*above).decl.name.value);
            let facets = component.all_facets.iter().map(|facet| &graph.facet(*facet).decl.name.value);
            supers.chain(facets).any(|name| *name == import.prefix)
        }
    };
    if own && !import.optional {
        let name = &component.decl.name.value;
        sink.push(
            Diagnostic::new(
                Code::ImportsOwnExport,
                decl.place,
                format!("`{name}` needs `{import}`, which it exports itself"),
            )
            .label("it would wait for another one like itself, and that one for this one")
            .help(format!("write `{import} (optional)`")),
        );
    }
}

fn variable(import: &Import) -> Option<Variable> {
    import.variable.clone().map(|local| Variable { prefix: import.prefix.clone(), local })
}

/// Every variable that some component of the graph exports.
struct Offered {
    variables: HashSet<Variable>,
    prefixes: HashSet<ComponentName>,
}

impl Offered {
    fn new(graph: &Graph, reachable: &BTreeSet<ComponentId>) -> Self {
        let variables: HashSet<Variable> =
            reachable.iter().flat_map(|id| graph.component(*id).exports.keys().cloned()).collect();
        let prefixes = variables.iter().map(|variable| variable.prefix.clone()).collect();
        Self { variables, prefixes }
    }
}

/// Optional imports too must be exported by somebody; external ones come from elsewhere.
fn resolvable(graph: &Graph, id: ComponentId, decl: &ImportDecl, offered: &Offered, sink: &mut Sink) {
    let import = &decl.import;
    let found = match variable(import) {
        _ if import.external => true,
        Some(variable) => offered.variables.contains(&variable),
        None => offered.prefixes.contains(&import.prefix),
    };
    if found {
        return;
    }
    let text = import.to_string();
    let raw_facet = graph
        .facet_ids()
        .any(|facet| graph.facet(facet).decl.exports.iter().any(|export| export.name.value.as_str() == text));
    let facet = graph.find_facet(import.prefix.as_str());
    let unused_facet = raw_facet || (import.variable.is_none() && facet.is_some());
    let code = if unused_facet { Code::UnresolvableFacetVariable } else { Code::UnresolvableVariable };
    let name = &graph.component(id).decl.name.value;
    let help = match facet {
        Some(_) if offered.prefixes.iter().all(|prefix| *prefix != import.prefix) => {
            format!("no component has the facet `{0}`: write `facets: {0};` in the one that exports it", import.prefix)
        }
        _ => suggestion(import, offered),
    };
    sink.push(
        Diagnostic::new(code, decl.place, format!("nothing exports `{text}`, which `{name}` imports"))
            .label("no component exports this")
            .help(help),
    );
}

fn suggestion(import: &Import, offered: &Offered) -> String {
    let mut same: Vec<String> =
        offered.variables.iter().filter(|v| v.prefix == import.prefix).map(ToString::to_string).collect();
    same.sort();
    if same.is_empty() {
        let mut all: Vec<String> = match import.variable {
            Some(_) => offered.variables.iter().map(ToString::to_string).collect(),
            None => offered.prefixes.iter().map(|prefix| format!("{prefix}.*")).collect(),
        };
        all.sort();
        return did_you_mean(&import.to_string(), all.iter().map(String::as_str), || {
            "export it in a component of this graph, or write `external` before it if it comes from another application"
                .into()
        });
    }
    did_you_mean(&import.to_string(), same.iter().map(String::as_str), || {
        let names: Vec<String> = same.iter().take(SHOWN_EXPORTS).map(|name| format!("`{name}`")).collect();
        format!("`{}` exports {}", import.prefix, names.join(", "))
    })
}

/// Most exported variables that a help lists.
const SHOWN_EXPORTS: usize = 6;
