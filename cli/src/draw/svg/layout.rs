//! Where boxes, machines and arrows go: the layered layout of the crate `dagre`.
//!
//! It places boxes in ranks and gives every arrow a free way through each rank; `route` makes lines of that.

use dagre::graph::{Graph, GraphOptions};
use dagre::layout::types::LabelPos;
use dagre::{EdgeLabel, LayoutOptions, NodeLabel};

use super::boxes::{Content, SMALL};
use super::metrics;
use super::route::{self, Way};
use crate::draw::picture::{Edge, EdgeKind, NodeKind, Picture};
use crate::draw::words;

/// Between boxes of a rank, between arrows, between ranks.
const BOX_GAP: f64 = 36.0;
const ARROW_GAP: f64 = 18.0;
const RANK_GAP: f64 = 64.0;

/// A label's height, and the room beside it.
const LABEL_HEIGHT: f64 = 16.0;
const LABEL_GAP: f64 = 8.0;

/// Between a machine's frame and what is in it; above its own name there is room in the box.
const FRAME: f64 = 16.0;
const TITLE_GAP: f64 = 2.0;

/// Which way arrows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Right,
}

/// A box around its middle.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    pub(super) const fn left(self) -> f64 {
        self.x - self.width / 2.0
    }

    pub(super) const fn top(self) -> f64 {
        self.y - self.height / 2.0
    }

    const fn turned(self) -> Self {
        Self { x: self.y, y: self.x, width: self.height, height: self.width }
    }
}

/// The way of one arrow.
#[derive(Debug)]
pub(crate) struct Line {
    /// Which edge of the picture.
    pub(crate) edge: usize,
    /// An SVG path.
    pub(crate) path: String,
    /// Its text, and where the middle of that is.
    pub(crate) label: Option<(String, f64, f64)>,
}

/// Everything at its place.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By node.
    pub(crate) boxes: Vec<Rect>,
    /// The frames of machines, outer ones first.
    pub(crate) machines: Vec<Rect>,
    pub(crate) lines: Vec<Line>,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Lays `picture` out. To the right it is laid out downwards with sides exchanged, and turned.
pub(super) fn layout(picture: &Picture<'_>, contents: &[Content], direction: Direction) -> Layout {
    let mut graph: Graph<NodeLabel, EdgeLabel> =
        Graph::with_options(GraphOptions { directed: true, multigraph: true, compound: true });
    for (at, content) in contents.iter().enumerate() {
        let (width, height) = turned(direction, content.width, content.height);
        graph.set_node(box_id(at), Some(NodeLabel { width, height, ..NodeLabel::default() }));
    }
    for (at, node) in picture.nodes.iter().enumerate() {
        nest(&mut graph, at, node.kind, node.host);
    }
    for (at, edge) in picture.edges.iter().enumerate() {
        connect(&mut graph, at, edge, direction);
    }
    let options = LayoutOptions { nodesep: BOX_GAP, edgesep: ARROW_GAP, ranksep: RANK_GAP, ..LayoutOptions::default() };
    dagre::layout(&mut graph, Some(options));
    read(&graph, picture, direction)
}

fn box_id(at: usize) -> String {
    format!("box {at}")
}

fn machine_id(at: usize) -> String {
    format!("machine {at}")
}

/// A machine is a frame, with its own box in it, so that arrows can end there.
fn nest(graph: &mut Graph<NodeLabel, EdgeLabel>, at: usize, kind: NodeKind, host: Option<usize>) {
    let above = host.map(machine_id);
    if kind == NodeKind::Host {
        let machine = machine_id(at);
        graph.set_node(machine.clone(), Some(NodeLabel::default()));
        graph.set_parent(&box_id(at), Some(&machine));
        graph.set_parent(&machine, above.as_deref());
    } else if above.is_some() {
        graph.set_parent(&box_id(at), above.as_deref());
    }
}

fn connect(graph: &mut Graph<NodeLabel, EdgeLabel>, at: usize, edge: &Edge<'_>, direction: Direction) {
    if edge.from == edge.to {
        return;
    }
    let (from, to) = ends(edge);
    let text = label(edge);
    let (width, height) = match &text {
        Some(text) => turned(direction, metrics::width(text, SMALL) + LABEL_GAP, LABEL_HEIGHT),
        None => (0.0, 0.0),
    };
    // What stands on something shall stand right below it.
    let weight = if edge.kind == EdgeKind::Contains { 2 } else { 1 };
    let line = EdgeLabel { width, height, weight, labelpos: LabelPos::Center, ..EdgeLabel::default() };
    graph.set_edge(box_id(from), box_id(to), Some(line), Some(&at.to_string()));
}

/// Who has a facet gives to who imports from it: it belongs below the facet.
const fn ends(edge: &Edge<'_>) -> (usize, usize) {
    match edge.kind {
        EdgeKind::Has => (edge.to, edge.from),
        EdgeKind::Contains | EdgeKind::Needs | EdgeKind::MayNeed | EdgeKind::Extends => (edge.from, edge.to),
    }
}

fn label(edge: &Edge<'_>) -> Option<String> {
    edge.kind.is_import().then(|| words::variables(&edge.variables))
}

const fn turned(direction: Direction, width: f64, height: f64) -> (f64, f64) {
    match direction {
        Direction::Down => (width, height),
        Direction::Right => (height, width),
    }
}

fn read(graph: &Graph<NodeLabel, EdgeLabel>, picture: &Picture<'_>, direction: Direction) -> Layout {
    let rect = |id: &str| {
        let node = graph.node(id)?;
        Some(Rect { x: node.x?, y: node.y?, width: node.width, height: node.height })
    };
    let boxes: Vec<Rect> = (0..picture.nodes.len()).map(|at| rect(&box_id(at)).unwrap_or_default()).collect();
    let machines = frames(picture, &boxes, |at| rect(&machine_id(at)));
    let mut ways = Vec::new();
    let mut reach = (0.0_f64, 0.0_f64);
    for (at, edge) in picture.edges.iter().enumerate().filter(|(_, edge)| is_drawn(picture, edge)) {
        let (from, to) = ends(edge);
        let Some(line) = graph.edge(&box_id(from), &box_id(to), Some(&at.to_string())) else { continue };
        let points: Vec<(f64, f64)> = line.points.iter().map(|point| (point.x, point.y)).collect();
        for (x, y) in &points {
            // A label stands around its line.
            reach = (reach.0.max(x + line.width / 2.0), reach.1.max(y + line.height / 2.0));
        }
        let label = label(edge).zip(line.x.zip(line.y));
        ways.push(Way { edge: at, from, to, points, label: label.map(|(text, (x, y))| (text, x, y)) });
    }
    let flip = direction == Direction::Right;
    let lines = route::lines(&boxes, ways, flip);
    let turn = |rect: Rect| if flip { rect.turned() } else { rect };
    let boxes: Vec<Rect> = boxes.into_iter().map(turn).collect();
    let machines: Vec<Rect> = machines.into_iter().map(turn).collect();
    placed(boxes, machines, lines, if flip { (reach.1, reach.0) } else { reach })
}

/// The frame shows what stands on a machine.
fn is_drawn(picture: &Picture<'_>, edge: &Edge<'_>) -> bool {
    let framed =
        edge.kind == EdgeKind::Contains && picture.nodes.get(edge.from).is_some_and(|from| from.kind == NodeKind::Host);
    !framed && edge.from != edge.to
}

/// The frames of machines, outer ones first. The layout leaves empty ranks above and below what is in one.
fn frames(picture: &Picture<'_>, boxes: &[Rect], frame: impl Fn(usize) -> Option<Rect>) -> Vec<Rect> {
    let mut reach: Vec<Option<(f64, f64)>> = vec![None; boxes.len()];
    let mut grow = |at: Option<usize>, top: f64, bottom: f64| {
        if let Some(reach) = at.and_then(|at| reach.get_mut(at)) {
            let (above, below) = reach.unwrap_or((top, bottom));
            *reach = Some((above.min(top), below.max(bottom)));
        }
        at.and_then(|at| reach.get(at).copied().flatten())
    };
    // What stands on a machine comes after it, so from the end a frame is complete before it is needed.
    let mut frames = Vec::new();
    for (at, (node, rect)) in picture.nodes.iter().zip(boxes).enumerate().rev() {
        let (top, bottom) = (rect.top(), rect.top() + rect.height);
        if node.kind != NodeKind::Host {
            grow(node.host, top - FRAME, bottom + FRAME);
            continue;
        }
        let (top, bottom) = grow(Some(at), top - TITLE_GAP, bottom + FRAME).unwrap_or((top, bottom));
        grow(node.host, top - FRAME, bottom + FRAME);
        frames.extend(frame(at).map(|own| Rect { y: f64::midpoint(top, bottom), height: bottom - top, ..own }));
    }
    frames.reverse();
    frames
}

/// As large as what is in it; `reach` is how far lines go.
fn placed(boxes: Vec<Rect>, machines: Vec<Rect>, lines: Vec<Line>, reach: (f64, f64)) -> Layout {
    let all = || boxes.iter().chain(&machines);
    let right = all().map(|rect| rect.x + rect.width / 2.0).fold(reach.0, f64::max);
    let bottom = all().map(|rect| rect.y + rect.height / 2.0).fold(reach.1, f64::max);
    Layout { width: right, height: bottom, boxes, machines, lines }
}
