//! Who needs whom, as a graph: how deep each one stands, and who needs one another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::net::Column;

/// Each circle of instances once round: each needs the next, the last the first. The edges are those of the
/// instances, which come first, and after them those of the slots in which instances offer something.
pub(crate) fn circles(instances: usize, edges: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let layers = Layers::new(instances, edges.into_iter().collect());
    layers.cycles.iter().map(|members| layers.round(members)).collect()
}

/// Strongly connected components (Tarjan, 1972) without recursion, and how deep each stands. Nodes are the instances
/// and, after them, the slots, so that edges are as many as imports and exports and not as pairs of them.
pub(super) struct Layers {
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
    pub(super) level: Column<usize>,
    /// Instances that need one another, each set in order.
    pub(super) cycles: Vec<Vec<usize>>,
}

impl Layers {
    /// `edges` lead from each instance to the instances and slots that it needs, and from each slot to those who offer
    /// in it.
    pub(super) fn new(instances: usize, edges: Column<Vec<usize>>) -> Self {
        let count = edges.iter().len();
        let mut layers = Self {
            instances,
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

    /// A shortest way from the first of the members through others back to itself.
    pub(super) fn round(&self, members: &[usize]) -> Vec<usize> {
        let Some(first) = members.first().copied() else { return Vec::new() };
        let mut from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = VecDeque::from([first]);
        let mut looked_at: BTreeSet<usize> = BTreeSet::new();
        while let Some(node) = open.pop_front().filter(|_| !from.contains_key(&first)) {
            let is_in = |target: &&usize| self.component[**target] == self.component[first];
            for target in self.edges[node].iter().filter(is_in) {
                let is_slot = *target >= self.instances;
                let next = if is_slot { self.edges[*target].as_slice() } else { std::slice::from_ref(target) };
                // Nobody imports from himself: the first is reached from others only.
                if node != first && next.contains(&first) {
                    from.entry(first).or_insert(node);
                } else if !is_slot || looked_at.insert(*target) {
                    for next in next.iter().filter(is_in).filter(|next| **next != node && **next != first) {
                        if !from.contains_key(next) {
                            from.insert(*next, node);
                            open.push_back(*next);
                        }
                    }
                }
            }
        }
        let mut round = Vec::new();
        let mut node = from.get(&first).copied();
        while let Some(at) = node.filter(|at| *at != first) {
            round.push(at);
            node = from.get(&at).copied();
        }
        round.push(first);
        round.reverse();
        round
    }
}
