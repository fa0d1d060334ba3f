//! What stands in a box, and how large it is.

use super::metrics;
use crate::draw::picture::{EdgeKind, Node, NodeKind, Picture, Shows};
use crate::draw::words;

/// Sizes of letters.
pub(super) const NAME: f64 = 14.0;
pub(super) const SMALL: f64 = 11.0;

/// From one line of small letters to the next.
pub(super) const LINE: f64 = 15.0;

/// Between a box's edge and its words.
pub(super) const PADDING: f64 = 12.0;

/// Lines of exports in one box; more are counted. The terminal and the page have them all.
const GIVES: usize = 3;

/// Longest line of a box, in letters.
const LETTERS: usize = 36;

/// Narrowest box.
const MIN_WIDTH: f64 = 84.0;

/// The words of one box.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) name: String,
    /// `process`, or `Web · process`.
    pub(super) what: String,
    pub(super) gives: Vec<String>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The words of every box, by node.
pub(super) fn contents(picture: &Picture<'_>) -> Vec<Content> {
    let mut own = vec![Vec::new(); picture.nodes.len()];
    for edge in picture.edges.iter().filter(|edge| edge.from == edge.to) {
        // Among instances of one component; an arrow from a box to itself would only be hard to see.
        let word = if edge.kind == EdgeKind::Needs { "needs" } else { "may need" };
        if let Some(own) = own.get_mut(edge.from) {
            own.push(format!("{word} {} of its like", words::variables(&edge.variables)));
        }
    }
    picture.nodes.iter().zip(own).map(|(node, own)| content(node, picture.shows, own)).collect()
}

fn content(node: &Node<'_>, shows: Shows, own: Vec<String>) -> Content {
    let mut what: Vec<String> = node.component.map(str::to_owned).into_iter().collect();
    what.extend(node.installer.filter(|name| !name.is_empty()).map(words::printable));
    what.extend(node.binding.clone());
    match node.kind {
        NodeKind::Facet => what.push("facet".into()),
        NodeKind::External => what.push("another application".into()),
        NodeKind::Exchange => what.push("from many to many".into()),
        NodeKind::Component | NodeKind::Host | NodeKind::Instance => {}
    }
    let name = words::shortened(node.name, LETTERS);
    let what = words::shortened(&what.join(" · "), LETTERS);
    let mut gives = if shows == Shows::Components { node.gives.clone() } else { Vec::new() };
    if gives.len() > GIVES {
        let left = gives.len() - (GIVES - 1);
        gives.truncate(GIVES - 1);
        gives.push(format!("and {left} more"));
    }
    gives.extend(own);
    let gives: Vec<String> = gives.iter().map(|line| words::shortened(line, LETTERS)).collect();
    let widest = gives.iter().chain([&what]).map(|line| metrics::width(line, SMALL));
    let widest = widest.fold(metrics::bold_width(&name, NAME), f64::max);
    let lines = usize::from(!what.is_empty()) + gives.len();
    let gap = if gives.is_empty() { 0.0 } else { LINE / 2.0 };
    #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
    let height = PADDING * 2.0 + NAME + LINE * lines as f64 + gap - 4.0;
    let width = (widest + 2.0 * PADDING).max(MIN_WIDTH).ceil();
    Content { name, what, gives, width, height }
}
