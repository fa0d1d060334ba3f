//! What components inherit: lineage, facets, children, imports, exports.
//!
//! Everything here walks with visited sets, so circles end; the checks report them later.

use std::collections::{BTreeSet, HashSet};

use super::exports;
use super::graph::{ChildRef, ComponentId, FacetId, Graph, Guesses};
use crate::block::{ImportDecl, Part, Unread};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Place;

/// Deepest inheritance. Real graphs have three or four levels; every level repeats all that is above it.
const MAX_LINEAGE: usize = 100;

/// Most relations that inheritance may multiply to in one graph: parents and children, and exported
/// variables. A graph of 10,000 components has some 100,000.
const MAX_RELATIONS: usize = 1_000_000;

/// Fills in all that components inherit.
pub(super) fn apply(graph: &mut Graph, guesses: &Guesses, sink: &mut Sink) {
    lineages(graph, sink);
    graph.complete = multiply(graph, guesses).is_some();
    if !graph.complete {
        let at = graph.component_ids().next().map(|id| graph.component(id).decl.name.place).unwrap_or_default();
        sink.push(too_large(at));
    }
}

/// What is said of a graph that is small as written and large in what it means.
fn too_large(at: Place) -> Diagnostic {
    let message = format!("inheritance multiplies the graph to more than {MAX_RELATIONS} relations");
    Diagnostic::new(Code::GraphTooLarge, at, message)
        .label("in the graph that begins here")
        .help("split the graph, or use fewer facets and variables with many members")
}

/// Nothing when it becomes too much.
fn multiply(graph: &mut Graph, guesses: &Guesses) -> Option<()> {
    let mut budget = Budget::of(MAX_RELATIONS);
    for id in graph.component_ids() {
        graph.component_mut(id).all_facets = all_facets(graph, id, &mut budget)?;
    }
    open_parts(graph);
    children(graph, guesses, &mut budget)?;
    exports::apply(graph, &mut budget)?;
    for id in graph.component_ids() {
        graph.component_mut(id).imports = imports(graph, id, &mut budget)?;
    }
    Some(())
}

/// How many of something there may still be.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn of(count: usize) -> Self {
        Self(count)
    }

    /// Nothing when there are too many.
    pub(super) fn spend(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.checked_sub(count)?;
        Some(())
    }
}

fn lineages(graph: &mut Graph, sink: &mut Sink) {
    let mut reported = false;
    for id in graph.component_ids() {
        let mut lineage = vec![id];
        let mut seen = HashSet::from([id]);
        let mut next = graph.component(id).extends;
        while let Some(above) = next.filter(|above| seen.insert(*above)) {
            lineage.push(above);
            next = graph.component(above).extends;
            if lineage.len() > MAX_LINEAGE {
                if !reported {
                    reported = true;
                    sink.push(too_deep(graph, id));
                }
                break;
            }
        }
        let component = graph.component_mut(id);
        component.in_circle = next == Some(id);
        if lineage.len() > MAX_LINEAGE {
            component.open.mark_all();
        }
        component.lineage = lineage;
    }
}

fn too_deep(graph: &Graph, id: ComponentId) -> Diagnostic {
    let name = &graph.component(id).decl.name;
    let message = format!("`{}` extends more than {MAX_LINEAGE} components", name.value);
    Diagnostic::new(Code::InheritanceTooDeep, name.place, message)
        .label("too many levels of `extends` above it")
        .help("use facets for what many components share")
}

fn all_facets(graph: &Graph, id: ComponentId, budget: &mut Budget) -> Option<Vec<FacetId>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut queue: Vec<FacetId> = Vec::new();
    for above in graph.component(id).lineage.iter().rev() {
        queue.extend(graph.component(*above).facets.iter().rev());
    }
    while let Some(facet) = queue.pop() {
        budget.spend(1)?;
        if seen.insert(facet) {
            found.push(facet);
            queue.extend(graph.facet(facet).extends.iter().rev());
        }
    }
    Some(found)
}

/// What may be missing in a component may be missing in those that inherit from it.
fn open_parts(graph: &mut Graph) {
    let is_open = |unread: Unread| unread != Unread::default();
    if !graph.component_ids().any(|id| is_open(graph.component(id).open))
        && !graph.facet_ids().any(|id| is_open(graph.facet(id).open))
    {
        return;
    }
    let own: Vec<Unread> = graph.component_ids().map(|id| graph.component(id).open).collect();
    for id in graph.component_ids() {
        let component = graph.component(id);
        let mut open = Unread::default();
        for above in component.lineage.iter().filter_map(|above| own.get(above.0)) {
            open.add(*above);
        }
        if open.has(Part::Extends) {
            // Anything may be inherited.
            open.mark_all();
        }
        let by_facet = component.all_facets.iter().map(|facet| graph.facet(*facet).open);
        for facet in by_facet {
            if facet.has(Part::Extends) || facet.has(Part::Exports) {
                open.mark(Part::Exports);
            }
            if facet.has(Part::Extends) || facet.has(Part::Children) {
                open.mark(Part::Children);
            }
        }
        if open.has(Part::Facets) {
            open.mark(Part::Exports);
            open.mark(Part::Children);
        }
        graph.component_mut(id).open = open;
    }
}

/// Nothing when there are too many.
fn children(graph: &mut Graph, guesses: &Guesses, budget: &mut Budget) -> Option<()> {
    let mut heirs: Vec<Vec<ComponentId>> = vec![Vec::new(); graph.component_ids().count()];
    let mut members: Vec<Vec<ComponentId>> = vec![Vec::new(); graph.facet_ids().count()];
    for id in graph.component_ids() {
        let component = graph.component(id);
        for above in &component.lineage {
            heirs.get_mut(above.0).into_iter().for_each(|list| list.push(id));
        }
        for facet in &component.all_facets {
            members.get_mut(facet.0).into_iter().for_each(|list| list.push(id));
        }
    }
    for id in graph.component_ids() {
        let component = graph.component(id);
        let own = component.lineage.iter().flat_map(|above| &graph.component(*above).children);
        let by_facet = component.all_facets.iter().flat_map(|facet| &graph.facet(*facet).children);
        let mut found = BTreeSet::new();
        for child in own.chain(by_facet) {
            let who = match child {
                ChildRef::Component(id) => heirs.get(id.0),
                ChildRef::Facet(id) => members.get(id.0),
            };
            let who = who.map_or(&[] as &[ComponentId], Vec::as_slice);
            budget.spend(1 + who.len())?;
            found.extend(who);
        }
        let found: Vec<ComponentId> = found.into_iter().collect();
        for child in &found {
            graph.component_mut(*child).parents.push(id);
        }
        graph.component_mut(id).all_children = found;
    }
    for child in &guesses.children {
        let who = match child {
            ChildRef::Component(id) => heirs.get(id.0),
            ChildRef::Facet(id) => members.get(id.0),
        };
        for id in who.into_iter().flatten() {
            graph.component_mut(*id).maybe_child = true;
        }
    }
    Some(())
}

/// Along the lineage; the nearer declaration of a variable replaces the farther, and in one component the
/// later replaces the earlier.
fn imports(graph: &Graph, id: ComponentId, budget: &mut Budget) -> Option<Vec<ImportDecl>> {
    let mut found: Vec<ImportDecl> = Vec::new();
    let mut seen = HashSet::new();
    for above in &graph.component(id).lineage {
        let mut own: Vec<ImportDecl> = Vec::new();
        let decl = &graph.component(*above).decl;
        // Environments and volumes are multiplied in the same way, when the application is put together.
        budget.spend(decl.imports.len() + decl.extras.env.len() + decl.extras.volumes.len())?;
        for import in decl.imports.iter().rev() {
            if seen.insert((import.import.prefix.clone(), import.import.variable.clone())) {
                own.push(import.clone());
            }
        }
        found.extend(own.into_iter().rev());
    }
    Some(found)
}
