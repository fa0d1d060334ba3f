//! A picture for Graphviz. The syntax: <https://graphviz.org/doc/info/lang.html>.

use super::picture::{Edge, EdgeKind, Node, NodeKind, Picture, Shows};
use super::words;

/// `picture` as a digraph: components as boxes, machines as clusters.
pub(crate) fn dot(picture: &Picture<'_>) -> String {
    let mut text = format!("digraph {} {{\n", quoted(picture.application.name.as_str()));
    text.push_str(HEAD);
    match picture.shows {
        Shows::Components => {
            for (at, shown) in picture.nodes.iter().enumerate() {
                text.push_str(&format!("\t{}\n", node(at, shown)));
            }
        }
        Shows::Instances => clusters(picture, &mut text),
    }
    for edge in &picture.edges {
        text.extend(arrow(picture, edge));
    }
    text.push_str("}\n");
    text
}

const HEAD: &str = "\
\tgraph [compound=true, newrank=true, ranksep=0.6, nodesep=0.35, fontname=\"Helvetica,Arial,sans-serif\"];
\tnode [shape=box, style=\"rounded,filled\", fillcolor=white, color=\"#57606a\", fontname=\"Helvetica,Arial,sans-serif\", fontsize=12];
\tedge [color=\"#57606a\", fontname=\"Helvetica,Arial,sans-serif\", fontsize=10];
";

/// Hosts in hosts; the host itself is the first box in its cluster, so that arrows can end at it.
fn clusters(picture: &Picture<'_>, text: &mut String) {
    let mut inside: Vec<Vec<usize>> = vec![Vec::new(); picture.nodes.len()];
    let mut stack = Vec::new();
    for (at, node) in picture.nodes.iter().enumerate() {
        match node.host.and_then(|host| inside.get_mut(host)) {
            Some(inside) => inside.push(at),
            None => stack.push((at, false)),
        }
    }
    stack.reverse();
    while let Some((at, close)) = stack.pop() {
        let Some(shown) = picture.nodes.get(at) else { continue };
        if close {
            text.push_str("\t}\n");
        } else if shown.kind == NodeKind::Host {
            text.push_str(&format!(
                "\tsubgraph cluster_{at} {{\n\t\tstyle=\"rounded,filled\"; fillcolor=\"#f3f5f8\"; color=\"#8c959f\";\n\t{}\n",
                node(at, shown)
            ));
            stack.push((at, true));
            stack.extend(inside.get(at).into_iter().flatten().rev().map(|child| (*child, false)));
        } else {
            text.push_str(&format!("\t{}\n", node(at, shown)));
        }
    }
}

fn node(at: usize, node: &Node<'_>) -> String {
    let mut lines = vec![node.name.to_owned()];
    let what: Vec<&str> = node.component.into_iter().chain(node.installer.filter(|name| !name.is_empty())).collect();
    lines.extend((!what.is_empty()).then(|| what.join(", ")));
    lines.extend(node.binding.clone());
    let style = match node.kind {
        NodeKind::Component | NodeKind::Instance => "",
        NodeKind::Host => ", shape=plaintext, style=\"\"",
        NodeKind::Facet | NodeKind::Exchange => ", shape=hexagon, style=filled, fillcolor=\"#fff8e1\"",
        NodeKind::External => ", style=\"rounded,dashed\"",
    };
    let label: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    format!("n{at} [label=\"{}\"{style}];", label.join("\\n"))
}

fn arrow(picture: &Picture<'_>, edge: &Edge<'_>) -> Option<String> {
    let from = picture.nodes.get(edge.from)?;
    let style = match edge.kind {
        // The cluster shows it; the ranks must still follow.
        EdgeKind::Contains if from.kind == NodeKind::Host => "style=invis".to_owned(),
        EdgeKind::Contains => "arrowhead=none, penwidth=1.6, color=\"#0550ae\"".to_owned(),
        EdgeKind::Needs => format!("label=\"{}\"", escaped(&words::variables(&edge.variables))),
        EdgeKind::MayNeed => format!("style=dashed, label=\"{}\"", escaped(&words::variables(&edge.variables))),
        EdgeKind::Has => "style=dotted, arrowhead=odot".to_owned(),
        EdgeKind::Extends => "arrowhead=onormal".to_owned(),
    };
    // Who has a facet gives to who imports from it: it belongs below the facet.
    let (from, to) = if edge.kind == EdgeKind::Has { (edge.to, edge.from) } else { (edge.from, edge.to) };
    Some(format!("\tn{from} -> n{to} [{style}];\n"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Inside `"…"`: a backslash would begin an escape of the label, a quote would end it.
fn escaped(text: &str) -> String {
    words::printable(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stays_in_its_quotes() {
        assert_eq!(quoted("a \"b\" \\N c\n"), r#""a \"b\" \\N c?""#);
    }
}
