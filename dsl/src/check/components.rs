//! Each component with what it inherits: installer, exports, imports.

use std::collections::{BTreeSet, HashSet};

use robo_model::graph::Import;
use robo_model::name::{Variable, is_flex_id};

use super::offered::Offered;
use crate::block::{ExportDecl, ImportDecl, Named, Part};
use crate::code::Code;
use crate::convert::{ComponentId, Graph};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Place;
use crate::suggest::{MAX_CANDIDATES, did_you_mean};
use crate::syntax::short;

pub(super) fn check(graph: &Graph, reachable: &BTreeSet<ComponentId>, sink: &mut Sink) {
    let offered = Offered::new(graph, reachable.iter().copied());
    let raw: HashSet<&str> = graph
        .facet_ids()
        .flat_map(|facet| graph.facet(facet).decl.exports.iter().map(|export| export.name.value.as_str()))
        .collect();
    // An import that several components inherit is one mistake, told for the first of them.
    let (mut own, mut unresolvable): (HashSet<Place>, HashSet<Place>) = Default::default();
    for id in reachable {
        installer(graph, *id, sink);
        for export in &graph.component(*id).decl.exports {
            random(export, sink);
        }
        inheritance(graph, *id, sink);
        for import in &graph.component(*id).imports {
            if is_own_export(graph, *id, &import.import) && own.insert(import.place) {
                sink.push(own_export(graph, *id, import));
            }
            if !is_resolvable(graph, &import.import, &offered) && unresolvable.insert(import.place) {
                sink.push_with(Code::UnresolvableVariable, import.place, || {
                    unresolved(graph, *id, import, (&offered, &raw))
                });
            }
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
    let open = component.open;
    if open.has(Part::Installer) || component.shadowed || component.decl.named == Named::Not {
        return;
    }
    let Some(installer) = graph.installer(id) else {
        sink.push(
            Diagnostic::new(Code::EmptyInstaller, name.place, format!("`{}` has no installer", name.value))
                .label("neither it nor what it extends says how it is installed")
                .help("write `installer: script;`, `process`, `container`, `logger` or, for a machine, `target`"),
        );
        return;
    };
    debug_assert!(is_flex_id(&installer.value), "checked with its block");
    // It may stand in one that could not be read, or be a member of a facet that was not found.
    let maybe_child = component.maybe_child
        || component.decl.named != Named::Well
        || open.has(Part::Facets)
        || graph.gaps.mention(name.value.as_str());
    if maybe_child {
        return;
    }
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
fn is_own_export(graph: &Graph, id: ComponentId, import: &Import) -> bool {
    let component = graph.component(id);
    let own = || match variable(import) {
        Some(variable) => component.exports.contains_key(&variable),
        None => {
            let supers = component.lineage.iter().map(|above| &graph.component(*above).decl.name.value);
            let facets = component.all_facets.iter().map(|facet| &graph.facet(*facet).decl.name.value);
            supers.chain(facets).any(|name| *name == import.prefix)
        }
    };
    let sure = !component.open.has(Part::Extends) || component.decl.name.value == import.prefix;
    !import.optional && sure && own()
}

fn own_export(graph: &Graph, id: ComponentId, ImportDecl { import, place }: &ImportDecl) -> Diagnostic {
    let name = &graph.component(id).decl.name.value;
    let message = format!("`{name}` needs `{import}`, which it exports itself");
    Diagnostic::new(Code::ImportsOwnExport, *place, message)
        .label("it would wait for another one like itself, and that one for this one")
        .help(format!("write `{import} (optional)`"))
}

fn variable(import: &Import) -> Option<Variable> {
    import.variable.clone().map(|local| Variable { prefix: import.prefix.clone(), local })
}

/// Optional imports too must be exported by somebody; external ones come from elsewhere.
fn is_resolvable(graph: &Graph, import: &Import, offered: &Offered<'_>) -> bool {
    let prefix = import.prefix.as_str();
    let found = match &import.variable {
        _ if import.external => true,
        Some(local) => offered.has(prefix, local.as_str()),
        None => offered.has_prefix(prefix),
    };
    found || graph.is_open(prefix, Part::Exports)
}

/// `raw` are the names of facets' exports as written.
fn unresolved(
    graph: &Graph,
    id: ComponentId,
    ImportDecl { import, place }: &ImportDecl,
    (offered, raw): (&Offered<'_>, &HashSet<&str>),
) -> Diagnostic {
    let prefix = import.prefix.as_str();
    let text = import.to_string();
    let facet = graph.find_facet(prefix).is_some();
    let unused_facet = raw.contains(text.as_str()) || (import.variable.is_none() && facet);
    let code = if unused_facet { Code::UnresolvableFacetVariable } else { Code::UnresolvableVariable };
    let name = &graph.component(id).decl.name.value;
    let help = if facet && !offered.has_prefix(prefix) {
        format!("no component has the facet `{prefix}`: write `facets: {prefix};` in the one that exports it")
    } else {
        suggestion(import, offered)
    };
    Diagnostic::new(code, *place, format!("nothing exports `{text}`, which `{name}` imports"))
        .label("no component exports this")
        .help(help)
}

fn suggestion(import: &Import, offered: &Offered<'_>) -> String {
    let text = import.to_string();
    let same: Vec<String> = offered.with_prefix(import.prefix.as_str()).take(MAX_CANDIDATES).collect();
    if same.is_empty() {
        let all: Vec<String> = match import.variable {
            Some(_) => offered.all().take(MAX_CANDIDATES).collect(),
            None => offered.prefixes().take(MAX_CANDIDATES).map(|prefix| format!("{prefix}.*")).collect(),
        };
        return did_you_mean(&text, all.iter().map(String::as_str), || {
            "export it in a component of this graph, or write `external` before it if it comes from another application"
                .into()
        });
    }
    did_you_mean(&text, same.iter().map(String::as_str), || {
        let names: Vec<String> = same.iter().take(SHOWN_EXPORTS).map(|name| format!("`{name}`")).collect();
        format!("`{}` exports {}", import.prefix, names.join(", "))
    })
}

/// Most exported variables that a help lists.
const SHOWN_EXPORTS: usize = 6;
