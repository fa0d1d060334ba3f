//! Which variables a component exports, with everything it inherits (CH:192-297, 781-845 of the original).
//!
//! Facets first, then what the component extends, then its own: its own also sets every inherited
//! variable of the same local name. At the end each variable of another prefix is given under the
//! component's own prefix too.

use std::collections::{BTreeMap, HashMap};

use robo_model::name::{ComponentName, Variable};

use super::graph::{ComponentId, FacetId, Graph};
use super::inherit::Budget;
use crate::block::ExportDecl;
use crate::source::Place;

/// An exported variable.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) source: ExportSource,
    /// Where it was declared.
    pub(crate) place: Place,
}

/// Where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExportSource {
    Text {
        value: String,
        place: Place,
    },
    /// A random port is one only for the type that declares it, as in the original.
    Random {
        owner: ComponentName,
    },
    None,
}

type Exports = BTreeMap<Variable, Export>;

/// Fills in the exports of every component; nothing when there are too many.
pub(super) fn apply(graph: &mut Graph, budget: &mut Budget) -> Option<()> {
    let facets = all_facets(graph, budget)?;
    let mut done = vec![false; graph.component_ids().count()];
    for id in graph.component_ids() {
        let oldest_first: Vec<ComponentId> = graph.component(id).lineage.iter().rev().copied().collect();
        for id in oldest_first {
            if std::mem::replace(done.get_mut(id.0).unwrap_or(&mut false), true) {
                continue;
            }
            let exports = component(graph, id, &facets);
            budget.spend(exports.len())?;
            graph.component_mut(id).exports = exports;
        }
    }
    Some(())
}

fn component(graph: &Graph, id: ComponentId, facets: &[Exports]) -> Exports {
    let component = graph.component(id);
    let mut map = Exports::new();
    for facet in &component.facets {
        map.extend(facets.get(facet.0).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }
    if let Some(above) = component.extends {
        map.extend(graph.component(above).exports.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    let name = &component.decl.name.value;
    own(&mut map, name, &component.decl.exports, true);
    replicate(&mut map, name, |prefix| {
        component.lineage.iter().position(|above| graph.component(*above).decl.name.value == *prefix)
    });
    map
}

/// Puts a type's own exports over what it inherits.
fn own(map: &mut Exports, name: &ComponentName, exports: &[ExportDecl], by_local_name: bool) {
    let mut inherited: HashMap<String, Vec<Variable>> = HashMap::new();
    if by_local_name && !exports.is_empty() {
        for variable in map.keys() {
            inherited.entry(variable.local.as_str().to_owned()).or_default().push(variable.clone());
        }
    }
    for decl in exports {
        let written = decl.name.value.as_str();
        let export = Export { source: source(decl, name), place: decl.name.place };
        for variable in inherited.get(written).into_iter().flatten() {
            map.insert(variable.clone(), export.clone());
        }
        let as_is = Variable::parse(written).ok().filter(|v| map.contains_key(v) || v.prefix == *name);
        let full = as_is.or_else(|| Variable::parse(&format!("{name}.{written}")).ok());
        if let Some(full) = full {
            map.insert(full, export);
        }
    }
}

fn source(decl: &ExportDecl, owner: &ComponentName) -> ExportSource {
    match (&decl.random, &decl.value) {
        (Some(_), _) => ExportSource::Random { owner: owner.clone() },
        (None, Some(value)) => ExportSource::Text { value: value.value.clone(), place: value.place },
        (None, None) => ExportSource::None,
    }
}

/// Every variable of another prefix is also one of this component. Where two prefixes offer the same local
/// name the original's choice depends on hashes; here the nearest of the lineage wins, then the first by name.
fn replicate(map: &mut Exports, name: &ComponentName, rank: impl Fn(&ComponentName) -> Option<usize>) {
    let mut others: Vec<(usize, Variable)> = map
        .keys()
        .filter(|variable| variable.prefix != *name)
        .map(|variable| (rank(&variable.prefix).unwrap_or(usize::MAX), variable.clone()))
        .collect();
    others.sort();
    for (_, variable) in others {
        let Some(export) = map.get(&variable).cloned() else { continue };
        map.entry(Variable { prefix: name.clone(), local: variable.local }).or_insert(export);
    }
}

/// The exports of every facet: its own, and those of the facets it extends. Nothing when there are too many.
fn all_facets(graph: &Graph, budget: &mut Budget) -> Option<Vec<Exports>> {
    let count = graph.facet_ids().count();
    let mut maps: Vec<Option<Exports>> = vec![None; count];
    let mut entered = vec![false; count];
    for start in graph.facet_ids() {
        let mut stack = vec![start];
        while let Some(id) = stack.last().copied() {
            if maps.get(id.0).is_none_or(Option::is_some) {
                stack.pop();
                continue;
            }
            // The first time its extended facets come first; the second time they are there, or in a circle.
            let again = std::mem::replace(entered.get_mut(id.0).unwrap_or(&mut true), true);
            if !again {
                stack.extend(graph.facet(id).extends.iter().filter(|f| !entered.get(f.0).copied().unwrap_or(true)));
                continue;
            }
            let map = facet(graph, id, &maps);
            budget.spend(map.len())?;
            if let Some(slot) = maps.get_mut(id.0) {
                *slot = Some(map);
            }
        }
    }
    Some(maps.into_iter().map(Option::unwrap_or_default).collect())
}

fn facet(graph: &Graph, id: FacetId, maps: &[Option<Exports>]) -> Exports {
    let facet = graph.facet(id);
    let mut map = Exports::new();
    for above in &facet.extends {
        let above = maps.get(above.0).and_then(Option::as_ref);
        map.extend(above.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }
    own(&mut map, &facet.decl.name.value, &facet.decl.exports, false);
    map
}
