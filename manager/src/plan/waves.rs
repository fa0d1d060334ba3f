//! The order in which everything can start, and what stands in the way of it.

use std::collections::BTreeMap;

use robo_model::graph::Import;
use robo_model::name::InstancePath;

use super::net::{Column, View};
use super::warning::{Warnings, list};

/// Layers: what an instance needs stands in earlier ones, and what needs each other in the same. Tells of what
/// will not start by itself.
pub(super) fn waves(view: &View<'_>, warnings: &mut Warnings) -> Vec<Vec<InstancePath>> {
    let layers = Layers::new(view);
    warn_of_cycles(view, &layers.cycles, warnings);
    warn_of_missing(view, warnings);
    warn_of_external(view, warnings);
    let mut waves: Vec<Vec<InstancePath>> = Vec::new();
    for (position, pair) in view.pairs.iter().enumerate().filter(|(_, pair)| pair.new.is_some()) {
        let level = layers.level[position];
        waves.resize_with(waves.len().max(level), Vec::new);
        if let Some(wave) = level.checked_sub(1).and_then(|wave| waves.get_mut(wave)) {
            wave.push(pair.path.clone());
        }
    }
    waves
}

/// Strongly connected components (Tarjan, 1972) without recursion, and how deep each stands. Nodes are the instances
/// and, after them, the slots, so that edges are as many as imports and exports and not as pairs of them.
struct Layers {
    instances: usize,
    edges: Column<Vec<usize>>,
    /// When a node was first met, from 1; 0 before.
    met: Column<usize>,
    low: Column<usize>,
    /// The component's number, from 1; 0 while it is open.
    component: Column<usize>,
    components: usize,
    open: Vec<usize>,
    /// The wave of an instance, from 1; the highest wave of a slot's providers.
    level: Column<usize>,
    cycles: Vec<Vec<usize>>,
}

impl Layers {
    fn new(view: &View<'_>) -> Self {
        let edges = edges(view);
        let count = edges.iter().len();
        let mut layers = Self {
            instances: view.pairs.len(),
            edges,
            met: Column::filled(0, count),
            low: Column::filled(0, count),
            component: Column::filled(0, count),
            components: 0,
            open: Vec::new(),
            level: Column::filled(0, count),
            cycles: Vec::new(),
        };
        let mut clock = 0;
        for node in 0..layers.instances {
            if layers.met[node] == 0 {
                layers.walk(node, &mut clock);
            }
        }
        layers.cycles.sort();
        layers
    }

    /// Visits everything that `root` needs, deepest first.
    fn walk(&mut self, root: usize, clock: &mut usize) {
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            if *next == 0 {
                *clock += 1;
                self.met[node] = *clock;
                self.low[node] = *clock;
                self.open.push(node);
            }
            let target = self.edges[node].get(*next).copied();
            *next += 1;
            match target {
                Some(target) if self.met[target] == 0 => path.push((target, 0)),
                Some(target) if self.component[target] == 0 => {
                    self.low[node] = self.low[node].min(self.met[target]);
                }
                Some(_) => {}
                None => {
                    path.pop();
                    if self.low[node] == self.met[node] {
                        self.close(node);
                    }
                    if let Some((above, _)) = path.last() {
                        self.low[*above] = self.low[*above].min(self.low[node]);
                    }
                }
            }
        }
    }

    /// Takes the component of `root` off the open nodes; everything it needs is closed already.
    fn close(&mut self, root: usize) {
        self.components += 1;
        let mut members = Vec::new();
        while let Some(node) = self.open.pop() {
            self.component[node] = self.components;
            members.push(node);
            if node == root {
                break;
            }
        }
        let targets = members.iter().flat_map(|node| &self.edges[*node]);
        let below = targets.filter(|target| self.component[**target] != self.components).map(|t| self.level[*t]).max();
        let mut instances: Vec<usize> = members.iter().copied().filter(|node| *node < self.instances).collect();
        let level = below.unwrap_or(0) + usize::from(!instances.is_empty());
        for node in members {
            self.level[node] = level;
        }
        // One instance alone with a slot only offers what it also imports: nobody imports from himself.
        if instances.len() > 1 {
            instances.sort_unstable();
            self.cycles.push(instances);
        }
    }
}

/// From each instance to its parent and the slots it cannot do without, and from each slot to all who offer in it.
fn edges(view: &View<'_>) -> Column<Vec<usize>> {
    let net = &view.after;
    let instances = view.pairs.len();
    let of_instances = (0..instances).map(|instance| {
        let parent = view.family.parents[instance].filter(|parent| net.members[*parent].is_some());
        let needs = net.needs_of(instance).filter(|need| need.mandatory);
        let slots = needs.flat_map(|need| &need.slots).map(|slot| instances + slot);
        parent.into_iter().filter(|_| net.members[instance].is_some()).chain(slots).collect()
    });
    let of_slots = (0..net.slot_count()).map(|slot| net.providers(slot).to_vec());
    of_instances.chain(of_slots).collect()
}

fn warn_of_cycles(view: &View<'_>, cycles: &[Vec<usize>], warnings: &mut Warnings) {
    if cycles.is_empty() {
        return;
    }
    let up = view.after.up(&view.family, &view.after.wanted(&view.family));
    for cycle in cycles {
        let names = list(
            cycle.iter().filter_map(|i| view.pairs.get(*i)).map(|pair| &pair.path).collect::<Vec<_>>().into_iter(),
        );
        let outcome = if cycle.iter().all(|instance| up[*instance]) {
            "others serve them, too, so that they start, in an order that is not fixed"
        } else {
            "they wait for one another and never start; mark one of the imports `(optional)`"
        };
        warnings.add(format!("{names} import each other: {outcome}"));
    }
}

fn warn_of_missing(view: &View<'_>, warnings: &mut Warnings) {
    let net = &view.after;
    let mut waiting: BTreeMap<String, Vec<&InstancePath>> = BTreeMap::new();
    for need in net.needs.iter().filter(|need| need.mandatory) {
        let served = need.slots.iter().flat_map(|slot| net.providers(*slot)).any(|p| *p != need.importer);
        let Some(placed) = net.members[need.importer].filter(|_| !served) else { continue };
        let imports = placed.spec.imports.iter().filter(|i| i.prefix == *need.prefix && !i.external && !i.optional);
        let imports: Vec<&Import> = imports.collect();
        if !imports.is_empty() {
            waiting.entry(list(imports.into_iter())).or_default().push(&placed.spec.key.path);
        }
    }
    for (imports, importers) in waiting {
        let importers = list(importers.into_iter());
        warnings.add(format!(
            "nothing in the application offers {imports}, and {importers} cannot start without: \
             add an instance that exports it, or mark the import `(optional)`"
        ));
    }
}

fn warn_of_external(view: &View<'_>, warnings: &mut Warnings) {
    let mut importers: BTreeMap<(&Import, bool), Vec<&InstancePath>> = BTreeMap::new();
    for placed in view.after.members.iter().flatten() {
        for import in placed.spec.imports.iter().filter(|import| import.external) {
            importers.entry((import, import.optional)).or_default().push(&placed.spec.key.path);
        }
    }
    for ((import, optional), importers) in importers {
        let importers = list(importers.into_iter());
        let outcome = if optional { "goes without" } else { "does not start" };
        warnings.add(format!(
            "`{import}` comes from another application, which this version does not bind: {importers} {outcome}"
        ));
    }
}
