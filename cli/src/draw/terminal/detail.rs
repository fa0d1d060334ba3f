//! The lines below a box in the terminal: what it gives, what it needs, who needs it.

use console::measure_text_width;

use super::View;
use crate::draw::picture::{Edge, EdgeKind, Links, Node, NodeKind, Picture, Shows};
use crate::draw::words::{self, List};
use crate::output::paint::Palette;

/// Lines of one list, unless everything is wished.
const LIST_LINES: usize = 2;

/// Arrows below one box, unless everything is wished.
const ARROWS: usize = 6;

/// Names beside one arrow or facet; more are counted.
const NAMES: usize = 12;

/// Narrowest list beside an arrow; with less room it stands below.
const LIST_WIDTH: usize = 24;

/// Columns of `gives  `.
const LABEL: usize = 7;

pub(super) struct Details<'p, 'a> {
    pub(super) picture: &'p Picture<'a>,
    pub(super) links: &'p Links,
    pub(super) view: View,
}

/// An arrow's ends that are told in one line.
struct Arrow<'p, 'a> {
    edge: &'p Edge<'a>,
    name: &'p str,
    who: List,
    note: Option<&'static str>,
}

impl<'p, 'a> Details<'p, 'a> {
    /// The lines below `node`, in `room` columns.
    pub(super) fn lines(&self, node: usize, room: usize) -> Vec<String> {
        let Some(shown) = self.picture.nodes.get(node) else { return Vec::new() };
        let mut lines = Vec::new();
        if self.picture.shows == Shows::Components || self.view.full {
            lines.extend(self.list("gives", &List::all(shown.gives.clone()), room));
        }
        if matches!(shown.kind, NodeKind::Facet | NodeKind::Exchange) {
            lines.extend(self.list("from", &self.names(self.links.members.get(node)), room));
        }
        let arrows = self.arrows(node);
        let most = if self.view.full { usize::MAX } else { ARROWS };
        for (at, arrow) in arrows.iter().take(most).enumerate() {
            lines.extend(self.arrow(if at == 0 { "needs" } else { "" }, arrow, room));
        }
        if arrows.len() > most {
            let left = format!("and {} more", arrows.len() - most);
            lines.push(format!("{}{}", " ".repeat(LABEL), self.view.palette.dim(&left)));
        }
        if self.picture.shows == Shows::Components {
            lines.extend(self.list("for", &self.users(node, shown), room));
        }
        lines
    }

    fn list(&self, label: &str, items: &List, room: usize) -> Vec<String> {
        let most = if self.view.full { usize::MAX } else { LIST_LINES };
        let wrapped = words::wrapped(items, room.saturating_sub(LABEL), most);
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        wrapped.into_iter().zip(labels).map(|(text, label)| format!("{}{text}", self.label(label))).collect()
    }

    fn label(&self, label: &str) -> String {
        self.view.palette.dim(&format!("{label:<LABEL$}"))
    }

    /// What `node` imports: from each component or facet; between instances by prefix.
    fn arrows(&self, node: usize) -> Vec<Arrow<'p, 'a>> {
        let mut arrows: Vec<Arrow<'p, 'a>> = Vec::new();
        for edge in self.edges(self.links.out.get(node)).filter(|edge| edge.kind.is_import()) {
            let Some(to) = self.picture.nodes.get(edge.to) else { continue };
            match self.picture.shows {
                Shows::Components => arrows.push(self.to_component(edge, to)),
                Shows::Instances => match arrows.iter_mut().find(|a| a.edge.prefix == edge.prefix) {
                    Some(known) => known.who.items.push(to.id.to_string()),
                    None => arrows.push(self.to_instance(edge, to)),
                },
            }
        }
        arrows
    }

    fn to_component(&self, edge: &'p Edge<'a>, to: &'p Node<'a>) -> Arrow<'p, 'a> {
        let who = self.names(self.links.members.get(edge.to));
        let note = match to.kind {
            NodeKind::External => Some("another application"),
            NodeKind::Component | NodeKind::Facet | NodeKind::Host | NodeKind::Instance | NodeKind::Exchange => None,
        };
        Arrow { edge, name: to.name, who, note }
    }

    fn to_instance(&self, edge: &'p Edge<'a>, to: &'p Node<'a>) -> Arrow<'p, 'a> {
        let who = if to.kind == NodeKind::Exchange {
            words::count(self.links.members.get(edge.to).map_or(0, Vec::len), "instance")
        } else {
            to.id.to_string()
        };
        Arrow { edge, name: edge.prefix.unwrap_or(to.name), who: List::all(vec![who]), note: None }
    }

    /// `──▶ Database  ip, port`
    fn arrow(&self, label: &str, arrow: &Arrow<'_, '_>, room: usize) -> Vec<String> {
        let palette = self.view.palette;
        let optional = arrow.edge.kind == EdgeKind::MayNeed;
        let (head, colour) =
            if optional { ("┄┄▶", palette.dim("┄┄▶")) } else { ("──▶", palette.hint("──▶")) };
        let mut text = format!(" {}", arrow.name);
        let mut notes: Vec<&str> = arrow.note.into_iter().collect();
        notes.extend(optional.then_some("optional"));
        if self.picture.shows == Shows::Components {
            text.push_str(&format!("  {}", words::variables(&arrow.edge.variables)));
        }
        let begin = format!("{}{colour}{text}", self.label(label));
        let note = if notes.is_empty() { String::new() } else { format!("  {}", notes.join(", ")) };
        let note = self.view.palette.dim(&note);
        if arrow.who.is_empty() {
            return vec![words::shortened(&format!("{begin}{note}"), room)];
        }
        let gap = if self.picture.shows == Shows::Components { "  from " } else { "  " };
        let most = if self.view.full { usize::MAX } else { LIST_LINES };
        let indent = LABEL + measure_text_width(head) + measure_text_width(&text) + gap.len();
        let left = room.saturating_sub(indent + measure_text_width(&note));
        let (mut lines, indent, left) = if left < LIST_WIDTH {
            // The list has its own lines.
            let indent = LABEL + measure_text_width(head) + 1;
            (vec![words::shortened(&format!("{begin}{note}"), room)], indent, room.saturating_sub(indent))
        } else {
            (Vec::new(), indent, left)
        };
        let own = !lines.is_empty();
        for (at, line) in words::wrapped(&arrow.who, left, most).into_iter().enumerate() {
            lines.push(if at == 0 && !own {
                format!("{begin}{gap}{line}")
            } else {
                format!("{}{line}", " ".repeat(indent))
            });
        }
        if let Some(last) = lines.last_mut().filter(|_| !own) {
            last.push_str(&note);
        }
        lines
    }

    /// Who imports from `node`, itself or through a facet it has.
    fn users(&self, node: usize, shown: &Node<'_>) -> List {
        let mut users = self.names(self.links.users.get(node));
        if shown.kind != NodeKind::Component {
            return users;
        }
        for edge in self.edges(self.links.out.get(node)).filter(|edge| edge.kind == EdgeKind::Has) {
            let Some(facet) = self.picture.nodes.get(edge.to) else { continue };
            let through = self.names(self.links.users.get(edge.to));
            users.items.extend(through.items.into_iter().map(|name| format!("{name} (as {})", facet.name)));
            users.left += through.left;
        }
        users
    }

    /// The names at the other ends of arrows that come in; those above [`NAMES`] are counted.
    fn names(&self, edges: Option<&'p Vec<usize>>) -> List {
        let most = if self.view.full { usize::MAX } else { NAMES };
        let total = edges.map_or(0, Vec::len);
        let shown = self.edges(edges).take(most).filter_map(|edge| self.picture.nodes.get(edge.from));
        let name = |from: &Node<'_>| match from.kind {
            NodeKind::Component => from.name.to_owned(),
            NodeKind::Facet | NodeKind::External | NodeKind::Host | NodeKind::Instance | NodeKind::Exchange => {
                from.id.to_string()
            }
        };
        List { items: shown.map(name).collect(), left: total.saturating_sub(most) }
    }

    fn edges(&self, ids: Option<&'p Vec<usize>>) -> impl Iterator<Item = &'p Edge<'a>> {
        let picture = self.picture;
        ids.into_iter().flatten().filter_map(|at| picture.edges.get(*at))
    }
}

/// In the colour of its kind: machines, programs, scripts, the rest.
pub(super) fn installer(palette: Palette, name: &str) -> String {
    let shown = words::printable(name);
    match name {
        "target" => palette.hint(&shown),
        "process" | "container" => palette.good(&shown),
        "script" => palette.busy(&shown),
        _ => palette.dim(&shown),
    }
}
