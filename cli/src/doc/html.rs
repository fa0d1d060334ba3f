//! The page for browsers: one file, no script, nothing from elsewhere. `maud` escapes all that is not ours.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use robo_model::graph::Application;

use super::page::{Fact, Leaf, Line, Page, Piece, Section, Table, page};
use crate::draw::{self, Picture, Place};

/// The page about `application`.
pub(crate) fn html(application: &Application) -> String {
    let page = page(application);
    let components = drawing(&draw::components(application));
    let instances = drawing(&draw::instances(application));
    let whole = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The page asks for nothing, and a value in it cannot make it do so.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (page.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(&page))
                (contents(&page))
                main {
                    section id="drawing" { h2 { "How it fits together" } figure { (components) } }
                    (sections("Components", "components", &page.components))
                    (sections("Facets", "facets", &page.facets))
                    @if !page.instances.is_empty() {
                        section id="instances" {
                            h2 { "Instances" }
                            figure { (instances) }
                            ul.tree { @for leaf in &page.instances { (instance(leaf)) } }
                        }
                    }
                }
            }
        }
    };
    let mut text = whole.into_string();
    text.push('\n');
    text
}

fn head(page: &Page) -> Markup {
    markup! {
        header {
            h1 { (page.title) @if let Some(version) = &page.version { " " span.version { (version) } } }
            @if let Some(description) = &page.description { p.lead { (description) } }
            @if !page.tags.is_empty() { p { @for tag in &page.tags { span.tag { (tag) } " " } } }
            (facts(&page.facts))
        }
    }
}

fn contents(page: &Page) -> Markup {
    let links = |sections: &[Section]| {
        markup! { ul { @for section in sections { li { a href=(format!("#{}", section.anchor)) { (section.name) } } } } }
    };
    markup! {
        nav aria-label="Contents" {
            ul {
                li { a href="#drawing" { "How it fits together" } }
                @if !page.components.is_empty() {
                    li { a href="#components" { "Components" } (links(&page.components)) }
                }
                @if !page.facets.is_empty() { li { a href="#facets" { "Facets" } (links(&page.facets)) } }
                @if !page.instances.is_empty() { li { a href="#instances" { "Instances" } } }
            }
        }
    }
}

fn sections(title: &str, anchor: &str, sections: &[Section]) -> Markup {
    markup! {
        @if !sections.is_empty() {
            section id=(anchor) {
                h2 { (title) }
                @for section in sections {
                    article id=(section.anchor) {
                        h3 { (section.name) @if !section.kind.is_empty() { " " span.kind { (section.kind) } } }
                        @if !section.note.is_empty() { p.note { (section.note.join("\n")) } }
                        (facts(&section.facts))
                        @for table in &section.tables { (rows(table)) }
                    }
                }
            }
        }
    }
}

fn facts(facts: &[Fact]) -> Markup {
    markup! {
        @if !facts.is_empty() { dl { @for fact in facts { div { dt { (fact.label) } dd { (line(&fact.line)) } } } } }
    }
}

fn rows(table: &Table) -> Markup {
    markup! {
        h4 { (table.title) }
        div.wide {
            table {
                thead { tr { @for name in table.head { th scope="col" { (name) } } } }
                tbody { @for row in &table.rows { tr { @for cell in row { td { (line(cell)) } } } } }
            }
        }
    }
}

fn instance(leaf: &Leaf) -> Markup {
    markup! {
        li style=(format!("margin-left:{}em", leaf.level * 2)) title=(leaf.path) {
            strong { (leaf.name) } " " (piece(&leaf.component))
            @for fact in &leaf.facts { span.more { (fact.label.to_lowercase()) ": " (line(&fact.line)) } }
        }
    }
}

fn line(line: &Line) -> Markup {
    markup! { @for one in line { (piece(one)) } }
}

fn piece(piece: &Piece) -> Markup {
    match piece {
        Piece::Text(text) => markup! { (text) },
        Piece::Code(text) => markup! { code { (text) } },
        Piece::Link { to, text } => markup! { a href=(format!("#{to}")) { (text) } },
    }
}

fn drawing(picture: &Picture<'_>) -> Markup {
    match draw::svg(picture, Place::Page) {
        // Made by `maud` too.
        Ok(svg) => PreEscaped(svg),
        Err(error) => markup! {
            p { (error) ". A part is drawn by " code { "robo graph --component NAME" } "." }
        },
    }
}

const STYLE: &str = "
:root{color-scheme:light dark;--text:#1f2328;--soft:#57606a;--line:#d0d7de;--back:#fff;--box:#f6f8fa;--link:#0550ae}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--soft:#9198a1;--line:#30363d;--back:#0d1117;--box:#161b22;--link:#79b8ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;padding:1.5rem;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
h1{margin:0;font-size:2rem}
h2{margin:2.5rem 0 1rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
h3{margin:0 0 .5rem;font-size:1.25rem}
h4{margin:1rem 0 .3rem;font-size:.9rem;color:var(--soft)}
a{color:var(--link);text-decoration:none}
a:hover,a:focus{text-decoration:underline}
code{font:.875em ui-monospace,monospace;overflow-wrap:anywhere}
.lead{margin:.3rem 0;font-size:1.15rem;color:var(--soft)}
.version{font-weight:normal;color:var(--soft)}
.kind,.tag{padding:.1rem .5rem;border:1px solid var(--line);border-radius:1rem;background:var(--box);font-size:.85rem;font-weight:normal;color:var(--soft)}
.note{white-space:pre-line}
nav ul{margin:.3rem 0;padding-left:1.2rem}
nav ul ul{display:flex;flex-wrap:wrap;gap:0 1rem;padding:0;list-style:none}
figure{margin:0;overflow-x:auto}
svg.robo{display:block;max-width:100%;height:auto}
article{margin:1rem 0;padding:1rem;border:1px solid var(--line);border-radius:.5rem}
dl{margin:0;display:grid;gap:.2rem}
dl div{display:flex;gap:1rem}
dt{flex:0 0 9rem;color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-size:.8rem;font-weight:normal;color:var(--soft)}
.tree{padding:0;list-style:none}
.tree li{padding:.15rem 0}
.more{margin-left:1rem;color:var(--soft)}
@media (max-width:40rem){body{padding:1rem}dl div{display:block}svg.robo{max-width:none}}
@media print{body{max-width:none;padding:0}nav{display:none}article{break-inside:avoid}a{color:inherit}}
";
