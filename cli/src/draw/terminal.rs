//! A picture in the terminal: containment as a tree, and below each box what it gives and needs.
//!
//! A component that may stand in several others is drawn in full once, and referred to elsewhere.

mod detail;

use super::picture::{EdgeKind, Links, Node, NodeKind, Picture, Shows};
use super::words;
use crate::output::paint::Palette;
use detail::Details;

/// How it is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) palette: Palette,
    /// Columns; at least [`MIN_WIDTH`] are used.
    pub(crate) width: usize,
    /// Long lists in full.
    pub(crate) full: bool,
}

/// Narrower than that a line holds no list any more.
const MIN_WIDTH: usize = 40;

/// Deepest nesting that is drawn in one tree; what is deeper follows as a tree of its own. Also keeps lines short.
const LEVELS: usize = 12;

/// Columns that are left for words at the deepest level.
const WORDS: usize = 34;

/// Columns of one level.
const STEP: usize = 3;

/// Draws `picture`, with a line break at its end.
pub(crate) fn terminal(picture: &Picture<'_>, view: View) -> String {
    let view = View { width: view.width.max(MIN_WIDTH), ..view };
    let links = picture.links();
    let mut text = heading(picture, view);
    let mut tree = Tree::new(picture, &links, view);
    for root in tree.roots() {
        tree.draw(root);
    }
    // Whatever stands in a circle of parents has no root; and what was too deep comes here.
    for node in 0..picture.nodes.len() {
        tree.draw(node);
    }
    text.push_str(&tree.text);
    text.push_str(&footer(picture));
    text
}

/// `shop 1.0.0: 5 components, 10 instances on 5 hosts`, and what it is.
fn heading(picture: &Picture<'_>, view: View) -> String {
    let application = picture.application;
    let version = application.version.as_ref().map(|version| format!(" {}", words::printable(version)));
    let hosts = application.instances.values().filter(|instance| application.is_host(instance)).count();
    let instances = words::count(application.instances.len(), "instance");
    let mut text = format!(
        "{}{}: {}, {instances}",
        view.palette.bold(application.name.as_str()),
        version.unwrap_or_default(),
        words::count(application.components.len(), "component"),
    );
    if hosts > 0 {
        text.push_str(&format!(" on {}", words::count(hosts, "host")));
    }
    text = words::shortened(&text, view.width) + "\n";
    if let Some(description) = &application.description {
        let shown = words::shortened(&words::printable(description), view.width);
        text.push_str(&format!("{}\n", view.palette.dim(&shown)));
    }
    text
}

fn footer(picture: &Picture<'_>) -> String {
    let shown = picture.nodes.iter().filter(|node| node.kind == NodeKind::Component).count();
    match picture.centre.and_then(|centre| picture.nodes.get(centre)) {
        Some(centre) if shown < picture.total => {
            format!("\n{shown} of {} are shown, those near {}\n", words::count(picture.total, "component"), centre.name)
        }
        Some(_) | None if picture.nodes.is_empty() => "\nThere is nothing to draw.\n".into(),
        Some(_) | None => String::new(),
    }
}

struct Tree<'p, 'a> {
    picture: &'p Picture<'a>,
    links: &'p Links,
    details: Details<'p, 'a>,
    view: View,
    seen: Vec<bool>,
    text: String,
}

/// A box that is still to be drawn.
struct Item {
    node: usize,
    /// What its lines begin with.
    rail: String,
    level: usize,
    last: bool,
}

impl<'p, 'a> Tree<'p, 'a> {
    fn new(picture: &'p Picture<'a>, links: &'p Links, view: View) -> Self {
        let details = Details { picture, links, view };
        Self { picture, links, details, view, seen: vec![false; picture.nodes.len()], text: String::new() }
    }

    /// What stands in nothing.
    fn roots(&self) -> Vec<usize> {
        let contained = |node: &usize| {
            let into = self.links.into.get(*node).into_iter().flatten();
            into.filter_map(|at| self.picture.edges.get(*at)).any(|edge| edge.kind == EdgeKind::Contains)
        };
        (0..self.picture.nodes.len()).filter(|node| !contained(node)).collect()
    }

    /// Draws the tree below `root`, unless it is drawn already.
    fn draw(&mut self, root: usize) {
        if self.seen.get(root).copied().unwrap_or(true) {
            return;
        }
        let mut stack = vec![Item { node: root, rail: String::new(), level: 0, last: true }];
        while let Some(item) = stack.pop() {
            let Some(node) = self.picture.nodes.get(item.node) else { continue };
            if self.seen.get(item.node).copied().unwrap_or(true) {
                self.head(&item, node, Some("see above"));
            } else if item.level >= self.levels() && !self.children(item.node).is_empty() {
                self.head(&item, node, Some("see below"));
            } else {
                self.full(&item, node, &mut stack);
            }
        }
    }

    /// As many as leave room for words.
    fn levels(&self) -> usize {
        LEVELS.min(self.view.width.saturating_sub(WORDS) / STEP)
    }

    fn full(&mut self, item: &Item, node: &Node<'_>, stack: &mut Vec<Item>) {
        if let Some(seen) = self.seen.get_mut(item.node) {
            *seen = true;
        }
        self.head(item, node, None);
        let children = self.children(item.node);
        let rail = match (item.level, item.last) {
            (0, _) => String::new(),
            (_, true) => format!("{}   ", item.rail),
            (_, false) => format!("{}│  ", item.rail),
        };
        let inner = format!("{rail}{}", if children.is_empty() { "   " } else { "│  " });
        let room = self.view.width.saturating_sub(console::measure_text_width(&inner));
        for line in self.details.lines(item.node, room) {
            self.text.push_str(&format!("{}{line}\n", self.view.palette.dim(&inner)));
        }
        let last = children.last().copied();
        stack.extend(children.into_iter().rev().map(|child| Item {
            node: child,
            rail: rail.clone(),
            level: item.level + 1,
            last: Some(child) == last,
        }));
    }

    /// The line of a box: branch, name, what it is.
    fn head(&mut self, item: &Item, node: &Node<'_>, reference: Option<&str>) {
        let palette = self.view.palette;
        let airy = self.picture.shows == Shows::Components;
        let branch = match (item.level, item.last) {
            (0, _) => String::new(),
            (_, true) => format!("{}└─ ", item.rail),
            (_, false) => format!("{}├─ ", item.rail),
        };
        if item.level == 0 {
            self.text.push('\n');
        } else if airy {
            self.text.push_str(&format!("{}\n", palette.dim(&format!("{}│", item.rail))));
        }
        let what = reference.map_or_else(|| self.what(node), |reference| palette.dim(reference));
        let name = if self.picture.centre == Some(item.node) {
            format!("{} {}", palette.hint("▶"), palette.bold(node.name))
        } else {
            palette.bold(node.name)
        };
        let line = format!("{}{name}  {what}", palette.dim(&branch));
        self.text.push_str(&words::shortened(line.trim_end(), self.view.width));
        self.text.push('\n');
    }

    /// `process · backend · extends Server`
    fn what(&self, node: &Node<'_>) -> String {
        let palette = self.view.palette;
        let mut parts = Vec::new();
        parts.extend(node.component.map(str::to_owned));
        parts.extend(node.installer.filter(|name| !name.is_empty()).map(|name| detail::installer(palette, name)));
        parts.extend(node.binding.clone());
        parts.extend(node.extends.map(|above| format!("extends {above}")));
        if !node.facets.is_empty() {
            parts.push(format!("has {}", node.facets.join(", ")));
        }
        match node.kind {
            NodeKind::Facet => parts.push("facet".into()),
            NodeKind::External => parts.push("another application".into()),
            NodeKind::Exchange => parts.push("what many take of many".into()),
            NodeKind::Component | NodeKind::Host | NodeKind::Instance => {}
        }
        parts.join(&palette.dim(" · "))
    }

    fn children(&self, node: usize) -> Vec<usize> {
        let out = self.links.out.get(node).into_iter().flatten().filter_map(|at| self.picture.edges.get(*at));
        out.filter(|edge| edge.kind == EdgeKind::Contains).map(|edge| edge.to).collect()
    }
}
