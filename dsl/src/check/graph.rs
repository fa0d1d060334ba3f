//! Roots, circles, facets that nobody has.

use std::collections::{BTreeSet, HashSet};

use super::components;
use crate::code::Code;
use crate::convert::{ChildRef, ComponentId, FacetId, Graph};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Place;

pub(super) fn check(graph: &Graph, sink: &mut Sink) {
    let roots: Vec<ComponentId> = graph.component_ids().filter(|id| graph.component(*id).parents.is_empty()).collect();
    let nothing = graph.component_ids().next().is_none();
    if roots.is_empty() && !graph.gaps.files && !(nothing && graph.gaps.any) {
        no_root(graph, sink);
    }
    let reachable = if roots.is_empty() { graph.component_ids().collect() } else { reachable(graph, &roots) };
    components::check(graph, &reachable, sink);
    if !roots.is_empty() {
        containment(graph, &reachable, sink);
    }
    facet_circles(graph, &reachable, sink);
    orphans(graph, sink);
}

fn no_root(graph: &Graph, sink: &mut Sink) {
    let first = graph.component_ids().next();
    let facet = graph.facet_ids().next().map(|id| graph.facet(id).decl.name.place);
    let place = first.map(|id| graph.component(id).decl.name.place).or(facet).unwrap_or_default();
    let (label, help) = match first {
        None => (
            facet.map_or("", |_| "a facet alone is no machine"),
            "write a component whose installer is `target`: a machine that the others run on",
        ),
        Some(_) => (
            "every component stands in another, this one too",
            "a machine stands in nothing: take the component with `installer: target` out of all `children`",
        ),
    };
    sink.push(Diagnostic::new(Code::NoRootComponent, place, "the graph has no root component").label(label).help(help));
}

fn reachable(graph: &Graph, roots: &[ComponentId]) -> BTreeSet<ComponentId> {
    let mut found: BTreeSet<ComponentId> = roots.iter().copied().collect();
    let mut queue: Vec<ComponentId> = roots.to_vec();
    while let Some(id) = queue.pop() {
        queue.extend(graph.component(id).all_children.iter().filter(|child| found.insert(**child)));
    }
    found
}

/// Components that contain themselves in the end. Those that only lead to a circle are not named.
fn containment(graph: &Graph, reachable: &BTreeSet<ComponentId>, sink: &mut Sink) {
    for circle in circles(reachable.iter().copied(), |id| &graph.component(id).all_children) {
        let names: Vec<&str> = circle.iter().map(|id| graph.component(*id).decl.name.value.as_str()).collect();
        for id in &circle {
            let name = &graph.component(*id).decl.name;
            let message = match names.as_slice() {
                [_] => format!("`{}` may contain itself", name.value),
                names => {
                    format!("`{}` may contain itself, through {}", name.value, through(names, name.value.as_str()))
                }
            };
            sink.push(
                Diagnostic::new(Code::ContainmentCycle, name.place, message)
                    .label("in a circle of `children`")
                    .help("remove one of the `children` in the circle, or the facet that brings it"),
            );
        }
    }
}

/// Most names that a message about a circle lists.
const SHOWN_IN_CIRCLE: usize = 5;

fn through(names: &[&str], but: &str) -> String {
    let others: Vec<String> =
        names.iter().filter(|name| **name != but).take(SHOWN_IN_CIRCLE).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(1 + others.len());
    let list = others.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

fn facet_circles(graph: &Graph, reachable: &BTreeSet<ComponentId>, sink: &mut Sink) {
    let used: BTreeSet<FacetId> = reachable.iter().flat_map(|id| &graph.component(*id).all_facets).copied().collect();
    for circle in circles(used.into_iter(), |id| &graph.facet(id).extends) {
        for id in circle {
            let name = &graph.facet(id).decl.name;
            let message = format!("the facet `{}` extends itself in the end", name.value);
            sink.push(
                Diagnostic::new(Code::FacetCycle, name.place, message)
                    .label("in a circle of `extends`")
                    .help("remove one `extends` of the circle"),
            );
        }
    }
}

/// The strongly connected sets of nodes that lie on a circle, each in order of the nodes (Tarjan, without recursion).
fn circles<'g, N: Copy + Ord + std::hash::Hash + 'g>(
    nodes: impl Iterator<Item = N>,
    next: impl Fn(N) -> &'g Vec<N>,
) -> Vec<Vec<N>> {
    let mut search = Search::default();
    for start in nodes {
        if search.index.contains_key(&start) {
            continue;
        }
        search.enter(start);
        let mut work = vec![(start, 0)];
        while let Some((node, at)) = work.pop() {
            match next(node).get(at) {
                Some(to) => {
                    work.push((node, at + 1));
                    if !search.index.contains_key(to) {
                        search.enter(*to);
                        work.push((*to, 0));
                    } else if search.on_stack.contains(to) {
                        search.lower(node, search.index.get(to).copied());
                    }
                }
                None => {
                    if let Some((above, _)) = work.last() {
                        search.lower(*above, search.low.get(&node).copied());
                    }
                    search.leave(node, next(node).contains(&node));
                }
            }
        }
    }
    search.circles.sort();
    search.circles
}

struct Search<N> {
    index: std::collections::HashMap<N, usize>,
    low: std::collections::HashMap<N, usize>,
    stack: Vec<N>,
    on_stack: HashSet<N>,
    circles: Vec<Vec<N>>,
}

impl<N> Default for Search<N> {
    fn default() -> Self {
        Self {
            index: std::collections::HashMap::new(),
            low: std::collections::HashMap::new(),
            stack: Vec::new(),
            on_stack: HashSet::new(),
            circles: Vec::new(),
        }
    }
}

impl<N: Copy + Ord + std::hash::Hash> Search<N> {
    fn enter(&mut self, node: N) {
        let number = self.index.len();
        self.index.insert(node, number);
        self.low.insert(node, number);
        self.stack.push(node);
        self.on_stack.insert(node);
    }

    fn lower(&mut self, node: N, to: Option<usize>) {
        if let (Some(low), Some(to)) = (self.low.get_mut(&node), to) {
            *low = (*low).min(to);
        }
    }

    fn leave(&mut self, node: N, loops: bool) {
        if self.low.get(&node) != self.index.get(&node) {
            return;
        }
        let mut set = Vec::new();
        while let Some(top) = self.stack.pop() {
            self.on_stack.remove(&top);
            set.push(top);
            if top == node {
                break;
            }
        }
        if set.len() > 1 || loops {
            set.sort();
            self.circles.push(set);
        }
    }
}

/// Facets that no component names itself, even when an extending facet is used.
fn orphans(graph: &Graph, sink: &mut Sink) {
    for id in graph.facet_ids() {
        let facet = graph.facet(id);
        let name = &facet.decl.name;
        let text = name.value.as_str();
        // A component of its name was reported: that may have been meant.
        let used = !facet.users.is_empty() || facet.maybe_used || graph.find(text).is_some();
        if used || graph.gaps.mention(text) {
            continue;
        }
        let code = if facet.children.is_empty() { Code::OrphanFacet } else { Code::OrphanFacetWithChildren };
        sink.push(
            Diagnostic::new(code, name.place, format!("no component has the facet `{}`", name.value))
                .label("unused facet")
                .help(format!("write `facets: {};` in a component, or remove the facet", name.value)),
        );
        for child in &facet.children {
            let ChildRef::Component(child) = child else { continue };
            let child = &graph.component(*child).decl.name;
            sink.push(unreachable(child.value.as_str(), child.place, name.place));
        }
    }
}

fn unreachable(name: &str, place: Place, facet: Place) -> Diagnostic {
    Diagnostic::new(
        Code::UnreachableComponent,
        place,
        format!("`{name}` may only stand in a facet that no component has"),
    )
    .label("no instance of it can have a parent")
    .help("give the facet to a component, or name the child in a component's `children`")
    .related(facet, "the unused facet")
}
