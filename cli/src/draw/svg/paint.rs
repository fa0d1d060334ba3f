//! The document. Everything that comes from a graph is escaped by `maud`.

use maud::{Markup, PreEscaped, html};

use super::Place;
use super::boxes::{Content, LINE, NAME, PADDING, SMALL};
use super::layout::{Layout, Line, Rect};
use super::metrics;
use crate::draw::picture::{Edge, EdgeKind, Node, NodeKind, Picture, Shows};
use crate::draw::words;

/// Around everything.
const MARGIN: f64 = 20.0;

/// Height of the title in a file, and of the legend.
const TITLE: f64 = 52.0;
const LEGEND: f64 = 34.0;

/// Between two entries of the legend, and a sample's length.
const LEGEND_GAP: f64 = 22.0;
const SAMPLE: f64 = 34.0;

/// The whole drawing. `place` says whether it needs a title.
pub(super) fn document(picture: &Picture<'_>, contents: &[Content], layout: &Layout, place: Place) -> String {
    let title = title(picture);
    let top = if place == Place::File { MARGIN + TITLE } else { MARGIN };
    let legend = legend(picture);
    let legend_width = legend.iter().map(|(_, text)| SAMPLE + 8.0 + metrics::width(text, SMALL) + LEGEND_GAP).sum();
    let title_width = metrics::bold_width(&title, 17.0);
    let width = layout.width.max(legend_width).max(title_width) + 2.0 * MARGIN;
    let height = top + layout.height + LEGEND + MARGIN;
    // More than one drawing may stand in a page.
    let id = match picture.shows {
        Shows::Components => "robo-components",
        Shows::Instances => "robo-instances",
    };
    let drawing = html! {
        svg xmlns="http://www.w3.org/2000/svg" class="robo" width=(n(width)) height=(n(height))
            viewBox=(format!("0 0 {} {}", n(width), n(height))) role="img" aria-labelledby=(format!("{id}-title {id}-desc")) {
            title id=(format!("{id}-title")) { (title) }
            desc id=(format!("{id}-desc")) { (description(picture)) }
            style { (PreEscaped(STYLE)) }
            defs { (markers(id)) }
            rect.page width=(n(width)) height=(n(height)) {}
            @if place == Place::File {
                text.title x=(n(MARGIN)) y=(n(MARGIN + 18.0)) { (title) }
                text.small x=(n(MARGIN)) y=(n(MARGIN + 36.0)) { (subtitle(picture)) }
            }
            g transform=(format!("translate({} {})", n(MARGIN), n(top))) {
                @for machine in &layout.machines { (frame(*machine)) }
                @for line in &layout.lines { (arrow(picture, line, id)) }
                @for line in &layout.lines { (label(line)) }
                @for ((node, content), rect) in picture.nodes.iter().zip(contents).zip(&layout.boxes) {
                    (boxed(node, content, *rect))
                }
            }
            (legend_row(&legend, id, height - MARGIN))
        }
    };
    let mut text = drawing.into_string();
    text.push('\n');
    text
}

fn title(picture: &Picture<'_>) -> String {
    let application = picture.application;
    let version = application.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let what = match (picture.shows, picture.centre.and_then(|centre| picture.nodes.get(centre))) {
        (_, Some(centre)) => format!("what is near {}", centre.name),
        (Shows::Components, None) => "components".into(),
        (Shows::Instances, None) => "instances".into(),
    };
    words::printable(&format!("{}{version}: {what}", application.name))
}

fn subtitle(picture: &Picture<'_>) -> String {
    let text = picture.application.description.clone().unwrap_or_else(|| description(picture));
    words::shortened(&words::printable(&text), 120)
}

fn description(picture: &Picture<'_>) -> String {
    let (boxes, arrows) = (picture.nodes.len(), picture.edges.iter().filter(|edge| edge.kind.is_import()).count());
    format!("{} with {}", words::count(boxes, "box").replace("boxs", "boxes"), words::count(arrows, "import"))
}

fn frame(rect: Rect) -> Markup {
    html! {
        rect.machine x=(n(rect.left())) y=(n(rect.top())) width=(n(rect.width)) height=(n(rect.height)) rx="12" {}
    }
}

fn arrow(picture: &Picture<'_>, line: &Line, id: &str) -> Markup {
    let Some(edge) = picture.edges.get(line.edge) else { return html! {} };
    let (class, end) = look(edge.kind);
    let name = |at: usize| picture.nodes.get(at).map_or("", |node| node.id.as_ref());
    html! {
        path class=(class) d=(line.path) marker-end=[end.map(|end| format!("url(#{id}-{end})"))] {
            title { (told(edge, name(edge.from), name(edge.to))) }
        }
    }
}

/// Class and end of an arrow.
const fn look(kind: EdgeKind) -> (&'static str, Option<&'static str>) {
    match kind {
        EdgeKind::Contains => ("contains", None),
        EdgeKind::Needs => ("needs", Some("arrow")),
        EdgeKind::MayNeed => ("may", Some("arrow")),
        EdgeKind::Has => ("has", Some("dot")),
        EdgeKind::Extends => ("extends", Some("hollow")),
    }
}

fn told(edge: &Edge<'_>, from: &str, to: &str) -> String {
    let variables = || edge.variables.join(", ").replace('*', "all");
    match edge.kind {
        EdgeKind::Contains => format!("{to} stands on {from}"),
        EdgeKind::Needs => format!("{from} needs {} of {to}", variables()),
        EdgeKind::MayNeed => format!("{from} takes {} of {to} when it is there", variables()),
        EdgeKind::Has => format!("{from} has {to}"),
        EdgeKind::Extends => format!("{from} extends {to}"),
    }
}

fn label(line: &Line) -> Markup {
    html! {
        @if let Some((text, x, y)) = &line.label {
            text.label x=(n(*x)) y=(n(y + 4.0)) { (text) }
        }
    }
}

fn boxed(node: &Node<'_>, content: &Content, rect: Rect) -> Markup {
    let (left, top) = (rect.left(), rect.top());
    let class = match node.kind {
        NodeKind::Component | NodeKind::Instance => kind_of(node.installer.unwrap_or_default()),
        NodeKind::Host => "host",
        NodeKind::Facet | NodeKind::Exchange => "facet",
        NodeKind::External => "external",
    };
    let radius = if matches!(node.kind, NodeKind::Facet | NodeKind::Exchange) { rect.height / 2.0 } else { 8.0 };
    let mut y = top + PADDING + NAME - 3.0;
    let name_at = y;
    y += if content.what.is_empty() { 0.0 } else { LINE + 1.0 };
    let what_at = y;
    y += LINE / 2.0;
    let rule = y;
    let mut rows = Vec::new();
    for row in &content.gives {
        y += LINE;
        rows.push((row, y));
    }
    html! {
        g class=(class) {
            title { (tooltip(node)) }
            rect.box x=(n(left)) y=(n(top)) width=(n(rect.width)) height=(n(rect.height)) rx=(n(radius)) {}
            text.name x=(n(rect.x)) y=(n(name_at)) { (content.name) }
            @if !content.what.is_empty() { text.what x=(n(rect.x)) y=(n(what_at)) { (content.what) } }
            @if !rows.is_empty() {
                path.rule d=(format!("M{},{}h{}", n(left + PADDING), n(rule), n(rect.width - 2.0 * PADDING))) {}
            }
            @for (row, y) in rows { text.row x=(n(left + PADDING)) y=(n(y)) { (row) } }
        }
    }
}

/// The colour of a box says what brings it to life.
fn kind_of(installer: &str) -> &'static str {
    match installer {
        "target" => "target",
        "process" | "container" => "program",
        "script" => "script",
        _ => "other",
    }
}

fn tooltip(node: &Node<'_>) -> String {
    let mut text = node.id.to_string();
    if !node.gives.is_empty() {
        text.push_str(&format!(": gives {}", node.gives.join(", ")));
    }
    text
}

/// What the kinds of arrows in this drawing mean.
fn legend(picture: &Picture<'_>) -> Vec<(EdgeKind, &'static str)> {
    let all = [
        (EdgeKind::Contains, "may stand on the upper one"),
        (EdgeKind::Needs, "needs"),
        (EdgeKind::MayNeed, "takes when it is there"),
        (EdgeKind::Has, "is provided by"),
        (EdgeKind::Extends, "extends"),
    ];
    let hosts = |edge: &Edge<'_>| picture.nodes.get(edge.from).is_some_and(|node| node.kind == NodeKind::Host);
    let drawn =
        |kind| picture.edges.iter().any(|edge| edge.kind == kind && !(kind == EdgeKind::Contains && hosts(edge)));
    all.into_iter()
        .filter(|(kind, _)| drawn(*kind))
        .map(|(kind, text)| match (kind, picture.shows) {
            (EdgeKind::Contains, Shows::Instances) => (kind, "stands on the upper one"),
            (_, _) => (kind, text),
        })
        .collect()
}

fn legend_row(legend: &[(EdgeKind, &'static str)], id: &str, y: f64) -> Markup {
    let mut x = MARGIN;
    let mut entries = Vec::new();
    for (kind, text) in legend {
        entries.push((look(*kind), *text, x));
        x += SAMPLE + 8.0 + metrics::width(text, SMALL) + LEGEND_GAP;
    }
    html! {
        @for ((class, end), text, x) in entries {
            path class=(class) d=(format!("M{},{}h{}", n(x), n(y - 4.0), n(SAMPLE)))
                marker-end=[end.map(|end| format!("url(#{id}-{end})"))] {}
            text.small x=(n(x + SAMPLE + 8.0)) y=(n(y)) { (text) }
        }
    }
}

fn markers(id: &str) -> Markup {
    html! {
        marker id=(format!("{id}-arrow")) viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"
            orient="auto" markerUnits="userSpaceOnUse" { path.arrow d="M0,0.8L10,5L0,9.2z" {} }
        marker id=(format!("{id}-hollow")) viewBox="0 0 12 12" refX="11" refY="6" markerWidth="11" markerHeight="11"
            orient="auto" markerUnits="userSpaceOnUse" { path.hollow d="M1,1L11,6L1,11z" {} }
        marker id=(format!("{id}-dot")) viewBox="0 0 10 10" refX="5" refY="5" markerWidth="7" markerHeight="7"
            markerUnits="userSpaceOnUse" { circle.dot cx="5" cy="5" r="4" {} }
    }
}

/// A coordinate, without digits that say nothing.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// No variables: renderers outside of browsers do not know them.
const STYLE: &str = "
.robo text{font-family:Helvetica,Arial,'Liberation Sans',sans-serif;font-size:11px;fill:#57606a}
.robo .page{fill:#fff}
.robo .title{font-size:17px;font-weight:bold;fill:#1f2328}
.robo .name{font-size:14px;font-weight:bold;fill:#1f2328;text-anchor:middle}
.robo .what{text-anchor:middle}
.robo .row{fill:#1f2328}
.robo .label{text-anchor:middle;fill:#1f2328;stroke:#fff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.robo .box{fill:#fff;stroke:#8c959f;stroke-width:1.5}
.robo .rule{stroke:#d0d7de;fill:none}
.robo .machine{fill:#f3f6fa;stroke:#afb8c1}
.robo .host .box{fill:none;stroke:none}
.robo .target .box{fill:#eaf2fd;stroke:#3b74c4}
.robo .program .box{fill:#eaf7ee;stroke:#3a8f55}
.robo .script .box{fill:#fdf5e6;stroke:#b37d1a}
.robo .facet .box{fill:#f7effc;stroke:#8a5fb8}
.robo .external .box{fill:#fff;stroke:#8c959f;stroke-dasharray:5 4}
.robo .contains{fill:none;stroke:#9fb4cc;stroke-width:3}
.robo .needs{fill:none;stroke:#424a53;stroke-width:1.4}
.robo .may{fill:none;stroke:#424a53;stroke-width:1.4;stroke-dasharray:5 4}
.robo .has{fill:none;stroke:#8a5fb8;stroke-width:1.4;stroke-dasharray:1.5 3.5;stroke-linecap:round}
.robo .extends{fill:none;stroke:#6e7781;stroke-width:1.4}
.robo .arrow{fill:#424a53}
.robo .hollow{fill:#fff;stroke:#6e7781;stroke-width:1.4}
.robo .dot{fill:#8a5fb8}
@media (prefers-color-scheme:dark){
.robo text{fill:#9198a1}
.robo .page{fill:#0d1117}
.robo .title,.robo .name,.robo .row{fill:#e6edf3}
.robo .label{fill:#e6edf3;stroke:#0d1117}
.robo .box{fill:#161b22;stroke:#6e7681}
.robo .rule{stroke:#30363d}
.robo .machine{fill:#151b23;stroke:#3d444d}
.robo .target .box{fill:#12233d;stroke:#4f8ad8}
.robo .program .box{fill:#10281a;stroke:#4aa568}
.robo .script .box{fill:#2d220d;stroke:#c08f32}
.robo .facet .box{fill:#241a31;stroke:#a680d1}
.robo .external .box{fill:#0d1117;stroke:#6e7681}
.robo .contains{stroke:#3b4f66}
.robo .needs,.robo .may{stroke:#c0c8d0}
.robo .has{stroke:#a680d1}
.robo .arrow{fill:#c0c8d0}
.robo .hollow{fill:#0d1117}
.robo .dot{fill:#a680d1}
}
";
