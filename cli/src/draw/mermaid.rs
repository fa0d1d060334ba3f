//! A picture for Mermaid, as GitHub and GitLab draw it in Markdown.
//! The syntax: <https://mermaid.js.org/syntax/flowchart.html>.

use super::picture::{Edge, EdgeKind, Node, NodeKind, Picture, Shows};
use super::words;

/// Most arrows that Mermaid draws where nobody sets its `maxEdges`.
pub(crate) const MERMAID_EDGES: usize = 500;

/// `picture` as a flow chart.
pub(crate) fn mermaid(picture: &Picture<'_>) -> String {
    let mut text = "flowchart TB\n".to_owned();
    match picture.shows {
        Shows::Components => {
            for (at, shown) in picture.nodes.iter().enumerate() {
                text.push_str(&format!("    {}\n", node(at, shown)));
            }
        }
        Shows::Instances => subgraphs(picture, &mut text),
    }
    for edge in &picture.edges {
        text.extend(arrow(picture, edge));
    }
    text.push_str("    classDef facet fill:#fff8e1,stroke:#9a6700,color:#3b2300\n");
    text.push_str("    classDef external stroke-dasharray:4 3\n");
    text
}

/// Hosts in hosts. Mermaid lets arrows end at a subgraph, so a host needs no box of its own.
fn subgraphs(picture: &Picture<'_>, text: &mut String) {
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
        let content = inside.get(at).into_iter().flatten();
        if close {
            text.push_str("    end\n");
        } else if shown.kind == NodeKind::Host && inside.get(at).is_some_and(|inside| !inside.is_empty()) {
            text.push_str(&format!("    subgraph n{at}[\"{}\"]\n", label(shown)));
            stack.push((at, true));
            stack.extend(content.rev().map(|child| (*child, false)));
        } else {
            text.push_str(&format!("    {}\n", node(at, shown)));
        }
    }
}

fn node(at: usize, node: &Node<'_>) -> String {
    let label = label(node);
    match node.kind {
        NodeKind::Component | NodeKind::Instance | NodeKind::Host => format!("n{at}[\"{label}\"]"),
        NodeKind::Facet | NodeKind::Exchange => format!("n{at}{{{{\"{label}\"}}}}:::facet"),
        NodeKind::External => format!("n{at}([\"{label}\"]):::external"),
    }
}

fn label(node: &Node<'_>) -> String {
    let mut lines = vec![format!("<b>{}</b>", escaped(node.name))];
    let what: Vec<&str> = node.component.into_iter().chain(node.installer.filter(|name| !name.is_empty())).collect();
    lines.extend((!what.is_empty()).then(|| escaped(&what.join(", "))));
    lines.extend(node.binding.as_deref().map(escaped));
    lines.join("<br>")
}

fn arrow(picture: &Picture<'_>, edge: &Edge<'_>) -> Option<String> {
    let shown = picture.nodes.get(edge.from)?;
    let (from, to) = (edge.from, edge.to);
    let label = escaped(&words::variables(&edge.variables));
    Some(match edge.kind {
        // The subgraph shows it.
        EdgeKind::Contains if shown.kind == NodeKind::Host => return None,
        EdgeKind::Contains => format!("    n{from} === n{to}\n"),
        EdgeKind::Needs => format!("    n{from} -->|\"{label}\"| n{to}\n"),
        EdgeKind::MayNeed => format!("    n{from} -.->|\"{label}\"| n{to}\n"),
        // Who has a facet gives to who imports from it: it belongs below the facet.
        EdgeKind::Has => format!("    n{to} -.-o n{from}\n"),
        EdgeKind::Extends => format!("    n{from} -->|extends| n{to}\n"),
    })
}

/// Mermaid reads labels as HTML, and some as Markdown: all but plain words becomes a numbered character.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in words::printable(text).chars() {
        if c.is_alphanumeric() || matches!(c, ' ' | ',' | '.' | '-' | '+' | '/' | '=' | ':') {
            safe.push(c);
        } else {
            safe.push_str(&format!("#{};", u32::from(c)));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_only_words() {
        assert_eq!(escaped("a_b <script> \"x\" #1; é"), "a#95;b #60;script#62; #34;x#34; #35;1#59; é");
    }
}
