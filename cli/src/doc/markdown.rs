//! The page for repositories, in the Markdown of GitHub, with drawings for Mermaid.

use robo_model::graph::Application;

use super::page::{Fact, Leaf, Line, Page, Piece, Section, Table, page};
use crate::draw::{self, MERMAID_EDGES, Picture, words};

/// The page about `application`.
pub(crate) fn markdown(application: &Application) -> String {
    let page = page(application);
    let mut text = head(&page);
    text.push_str(&contents(&page));
    text.push_str("\n## How it fits together\n\n");
    text.push_str(&drawing(&draw::components(application)));
    text.push_str(&sections("Components", &page.components));
    text.push_str(&sections("Facets", &page.facets));
    if !page.instances.is_empty() {
        text.push_str("\n## Instances\n\n");
        text.push_str(&drawing(&draw::instances(application)));
        text.push('\n');
        text.extend(page.instances.iter().map(instance));
    }
    text
}

fn head(page: &Page) -> String {
    let mut text = format!("# {}", escaped(&page.title));
    if let Some(version) = &page.version {
        text.push_str(&format!(" {}", escaped(version)));
    }
    text.push('\n');
    if let Some(description) = &page.description {
        text.push_str(&format!("\n{}\n", escaped(description)));
    }
    if !page.tags.is_empty() {
        let tags: Vec<String> = page.tags.iter().map(|tag| code(tag)).collect();
        text.push_str(&format!("\nTags: {}\n", tags.join(", ")));
    }
    text.push_str(&facts(&page.facts));
    text
}

fn contents(page: &Page) -> String {
    let links = |sections: &[Section]| {
        let link = |section: &Section| format!("[{}](#{})", escaped(&section.name), section.anchor);
        sections.iter().map(link).collect::<Vec<_>>().join(", ")
    };
    let mut text = "\n## Contents\n\n- [How it fits together](#how-it-fits-together)\n".to_owned();
    for (title, anchor, sections) in
        [("Components", "components", &page.components), ("Facets", "facets", &page.facets)]
    {
        if !sections.is_empty() {
            text.push_str(&format!("- [{title}](#{anchor}): {}\n", links(sections)));
        }
    }
    if !page.instances.is_empty() {
        text.push_str("- [Instances](#instances)\n");
    }
    text
}

fn sections(title: &str, sections: &[Section]) -> String {
    let mut text = String::new();
    for (at, section) in sections.iter().enumerate() {
        if at == 0 {
            text.push_str(&format!("\n## {title}\n"));
        }
        let kind = if section.kind.is_empty() { String::new() } else { format!(" ({})", escaped(&section.kind)) };
        text.push_str(&format!("\n<a id=\"{}\"></a>\n\n### {}{kind}\n", section.anchor, escaped(&section.name)));
        if !section.note.is_empty() {
            let note: Vec<String> = section.note.iter().map(|line| escaped(line)).collect();
            text.push_str(&format!("\n{}\n", note.join("\n")));
        }
        text.push_str(&facts(&section.facts));
        text.extend(section.tables.iter().map(rows));
    }
    text
}

fn instance(leaf: &Leaf) -> String {
    let fact = |fact: &Fact| format!("; {}: {}", fact.label.to_lowercase(), line(&fact.line));
    let facts: String = leaf.facts.iter().map(fact).collect();
    let indent = "  ".repeat(leaf.level);
    format!("{indent}- **{}** {}{facts}\n", escaped(&leaf.name), piece(&leaf.component))
}

fn facts(facts: &[Fact]) -> String {
    let mut text = if facts.is_empty() { String::new() } else { "\n".to_owned() };
    for fact in facts {
        text.push_str(&format!("- {}: {}\n", fact.label, line(&fact.line)));
    }
    text
}

fn rows(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("\n**{}**\n\n", table.title);
    text.push_str(&row(table.head.iter().map(|name| (*name).to_owned()).collect()));
    text.push_str(&row(table.head.iter().map(|_| "---".to_owned()).collect()));
    for cells in &table.rows {
        text.push_str(&row(cells.iter().map(line).collect()));
    }
    text
}

fn line(line: &Line) -> String {
    line.iter().map(piece).collect()
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => escaped(text),
        Piece::Code(text) => code(text),
        Piece::Link { to, text } => format!("[{}](#{to})", escaped(text)),
    }
}

fn drawing(picture: &Picture<'_>) -> String {
    let arrows = picture.edges.len();
    if arrows > MERMAID_EDGES {
        let help = "A part is drawn by `robo graph --component NAME`.";
        return format!("{arrows} arrows are too many for one drawing. {help}\n");
    }
    format!("```mermaid\n{}```\n", draw::mermaid(picture))
}

/// Plain text: a backslash before a mark that means something makes it no more than that mark.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // What begins a list or a heading does so only at a line's start; a number only with what follows it.
    let (mut start, mut number) = (true, false);
    for c in words::printable(text).chars() {
        let begins = (start && matches!(c, '-' | '+' | '=')) || (number && matches!(c, '.' | ')'));
        if begins || matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '$' | '#') {
            safe.push('\\');
        }
        number = (start || number) && c.is_ascii_digit();
        start = c == '\n' || (start && c == ' ');
        safe.push(c);
    }
    safe
}

/// Code, between more backticks than it has in a row. In tables `|` ends a cell even inside of it.
fn code(text: &str) -> String {
    let text = words::printable(text).replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if text.is_empty() {
        "(nothing)".into()
    } else if text.starts_with('`') || text.ends_with('`') {
        format!("{fence} {text} {fence}")
    } else {
        format!("{fence}{text}{fence}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_code_are_only_that() {
        assert_eq!(escaped("a_b *c* <d> [e](f) `g` | h"), r"a\_b \*c\* \<d\> \[e\](f) \`g\` \| h");
        assert_eq!(escaped("- 1. #x\n"), r"\- 1. \#x?");
        assert_eq!(escaped("10. of v1.0 - (ok)"), r"10\. of v1.0 - (ok)");
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(code("`a|"), "`` `a\\| ``");
        assert_eq!(code(""), "(nothing)");
    }
}
