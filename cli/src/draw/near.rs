//! What is near one component.

use std::collections::VecDeque;

use super::picture::{EdgeKind, Links, NodeKind, Picture};

/// Whose neighbourhood, and how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near<'n> {
    pub(crate) component: &'n str,
    /// Steps along containment, imports and inheritance, either way; at least 1.
    pub(crate) depth: usize,
}

/// The part of a picture of components that is within `near.depth` steps; nothing when there is no such component.
///
/// An import through a facet is one step to each component that has it.
pub(crate) fn near<'a>(picture: Picture<'a>, near: Near<'_>) -> Option<Picture<'a>> {
    let is_wanted = |node: &super::picture::Node<'_>| node.kind == NodeKind::Component && node.name == near.component;
    let start = picture.nodes.iter().position(is_wanted)?;
    let kept = Search::new(&picture).run(start, near.depth);
    Some(part(picture, &kept, start))
}

/// A search by breadth. A facet is passed in half a step, and in one direction: who has a facet is no
/// neighbour of the others who have it.
struct Search<'p, 'a> {
    picture: &'p Picture<'a>,
    links: Links,
    /// Half steps to each node.
    distance: Vec<Option<usize>>,
    /// A facet that was passed from its importers, or from who has it: each once.
    passed: Vec<[bool; 2]>,
    queue: VecDeque<(usize, usize, Entered)>,
}

/// How a search came to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    Anyhow,
    ByImport,
    ByHaving,
}

impl<'p, 'a> Search<'p, 'a> {
    fn new(picture: &'p Picture<'a>) -> Self {
        let size = picture.nodes.len();
        let (distance, passed) = (vec![None; size], vec![[false; 2]; size]);
        Self { picture, links: picture.links(), distance, passed, queue: VecDeque::new() }
    }

    fn run(mut self, start: usize, depth: usize) -> Vec<bool> {
        let limit = depth.saturating_mul(2);
        self.enter(start, 0, Entered::Anyhow);
        while let Some((node, steps, entered)) = self.queue.pop_front() {
            if steps < limit {
                self.leave(node, steps, entered);
            }
        }
        let reached: Vec<bool> = self.distance.iter().map(Option::is_some).collect();
        (0..reached.len())
            .map(|node| reached.get(node).copied().unwrap_or(false) && self.is_of_use(node, &reached))
            .collect()
    }

    fn enter(&mut self, node: usize, steps: usize, entered: Entered) {
        let facet = self.picture.nodes.get(node).is_some_and(|node| node.kind == NodeKind::Facet);
        let side = usize::from(entered == Entered::ByHaving);
        let news = if facet {
            let passed = self.passed.get_mut(node).and_then(|sides| sides.get_mut(side));
            passed.is_some_and(|passed| !std::mem::replace(passed, true))
        } else {
            self.distance.get(node).is_some_and(Option::is_none)
        };
        if let Some(distance) = self.distance.get_mut(node).filter(|_| news) {
            distance.get_or_insert(steps);
            self.queue.push_back((node, steps, entered));
        }
    }

    fn leave(&mut self, node: usize, steps: usize, entered: Entered) {
        let picture = self.picture;
        let (out, into) = (self.links.out.get(node).cloned(), self.links.into.get(node).cloned());
        for edge in out.unwrap_or_default().into_iter().filter_map(|at| picture.edges.get(at)) {
            let facet = picture.nodes.get(edge.to).is_some_and(|to| to.kind == NodeKind::Facet);
            match edge.kind {
                EdgeKind::Has => self.enter(edge.to, steps + 1, Entered::ByHaving),
                EdgeKind::Needs | EdgeKind::MayNeed if facet => self.enter(edge.to, steps + 1, Entered::ByImport),
                EdgeKind::Needs | EdgeKind::MayNeed | EdgeKind::Contains | EdgeKind::Extends => {
                    self.enter(edge.to, steps + 2, Entered::Anyhow);
                }
            }
        }
        for edge in into.unwrap_or_default().into_iter().filter_map(|at| picture.edges.get(at)) {
            match (entered, edge.kind) {
                (Entered::ByImport, EdgeKind::Has) | (Entered::ByHaving, EdgeKind::Needs | EdgeKind::MayNeed) => {
                    self.enter(edge.from, steps + 1, Entered::Anyhow);
                }
                (Entered::Anyhow, _) => self.enter(edge.from, steps + 2, Entered::Anyhow),
                (Entered::ByImport | Entered::ByHaving, _) => {}
            }
        }
    }

    /// A facet without anybody here who imports from it says nothing.
    fn is_of_use(&self, node: usize, reached: &[bool]) -> bool {
        let facet = self.picture.nodes.get(node).is_some_and(|node| node.kind == NodeKind::Facet);
        let edges = self.links.into.get(node).into_iter().flatten().filter_map(|at| self.picture.edges.get(*at));
        !facet || edges.filter(|e| e.kind.is_import()).any(|e| reached.get(e.from).copied().unwrap_or(false))
    }
}

fn part<'a>(picture: Picture<'a>, kept: &[bool], centre: usize) -> Picture<'a> {
    let mut new = vec![None; kept.len()];
    let mut nodes = Vec::new();
    for ((node, kept), new) in picture.nodes.into_iter().zip(kept).zip(&mut new) {
        if *kept {
            *new = Some(nodes.len());
            nodes.push(node);
        }
    }
    let to = |old: usize| new.get(old).copied().flatten();
    let edges = picture.edges.into_iter();
    let edges = edges.filter_map(|e| Some(super::picture::Edge { from: to(e.from)?, to: to(e.to)?, ..e })).collect();
    Picture { centre: to(centre), nodes, edges, ..picture }
}
