//! Rows of `inline-vectors.tsv`: one line, one value, one name, one small folder.
//!
//! The original's tests call its classes for most of them; here each becomes the smallest file that has the thing.

use robo_dsl::{CompileOptions, Stage, TokenKind, compile_project_with, syntax_errors, tokens};

use super::folder::Folder;
use super::lines;
use super::table::Vector;
use super::verdict::{self, Problem, Seen};

/// The graph that the original's test writes before it tries instances.
const GRAPH: &str = "A {\n\tinstaller: target;\n}\n";

/// What is wrong with our verdict on a row.
pub(super) fn check(vector: &Vector) -> Vec<Problem> {
    let input = vector.input.as_str();
    if let Some(property) = vector.kind.strip_prefix("property ") {
        return blocks(vector, &with_property(property, input));
    }
    if let Some(what) = vector.kind.strip_prefix("line: ") {
        return line(what, input, &vector.expected);
    }
    match vector.kind.as_str() {
        "import location" => blocks(vector, &format!("import {input};\n")),
        "facet name" => blocks(vector, &format!("facet {input} {{\n}}\n")),
        "component name" => blocks(vector, &format!("{input} {{\n}}\n")),
        "'instance of' component name" => blocks(vector, &instance(input, &vector.expected)),
        "command-line" => lines::check(input, &vector.expected),
        kind if kind.starts_with("application ") => application(input, &vector.expected),
        _ => vec![Problem::other("not tried")],
    }
}

/// A block that may have the property, with this value.
fn with_property(property: &str, value: &str) -> String {
    match property {
        "count" | "channels" => format!("instance of A {{\n\tname: a;\n\t{property}: {value};\n}}\n"),
        "extends" => format!("facet a {{\n\t{property}: {value};\n}}\n"),
        _ => format!("A {{\n\t{property}: {value};\n}}\n"),
    }
}

fn instance(component: &str, expected: &str) -> String {
    // The row that repeats the name says so only by its codes: one for each further time.
    let names = 1 + expected.matches("PM_DUPLICATE_PROPERTY").count();
    format!("instance of {component} {{\n{}}}\n", "\tname: a;\n".repeat(names))
}

/// Each block by itself: what is expected of the text's blocks.
fn blocks(vector: &Vector, text: &str) -> Vec<Problem> {
    let instances = text.starts_with("instance of");
    let mut folder = match instances {
        true => Folder::project("g.graph", Some("i.instances"))
            .text("graph/g.graph", GRAPH)
            .text("instances/i.instances", text),
        false => Folder::project("g.graph", None).text("graph/g.graph", text),
    };
    expect(&compile(&mut folder), &vector.expected)
}

fn compile(folder: &mut Folder) -> Vec<Seen> {
    let compiled = compile_project_with(&CompileOptions::default(), folder);
    verdict::seen(&compiled.diagnostics, &compiled.sources)
}

fn expect(seen: &[Seen], expected: &str) -> Vec<Problem> {
    if expected == "(none)" {
        return verdict::clean(&[Stage::Parse, Stage::Blocks], seen);
    }
    verdict::with_ours(verdict::hold(&verdict::wants(expected.trim_end_matches(" (first)")), seen), seen)
}

/// What one line is.
fn line(what: &str, input: &str, expected: &str) -> Vec<Problem> {
    let kinds: Vec<TokenKind> = tokens(input).iter().map(|token| token.kind).collect();
    let ours = match what {
        "comment" => said(
            kinds.iter().find(|kind| **kind != TokenKind::Blank) == Some(&TokenKind::Comment),
            "comment",
            "not a comment",
        ),
        "blank" => said(kinds.iter().all(|kind| *kind == TokenKind::Blank), "blank", "not blank"),
        "split inline comment" => split(input),
        "import" => statement(input, "import", import(input)),
        "property" => {
            let text = format!("A {{\n{input}\n}}\n");
            statement(&text, "property", tokens(&text).iter().any(|token| token.kind == TokenKind::Property))
        }
        _ => "not tried".to_owned(),
    };
    if ours == expected { Vec::new() } else { vec![Problem::other(format!("ours is: {ours}; not: {expected}"))] }
}

fn said(is: bool, yes: &str, no: &str) -> String {
    if is { yes } else { no }.to_owned()
}

fn import(text: &str) -> bool {
    tokens(text).iter().any(|token| token.kind == TokenKind::Word && token.span.of(text).eq_ignore_ascii_case("import"))
}

/// `import, (none)`, the codes of what is wrong with it, or `not an import`.
fn statement(text: &str, what: &str, is: bool) -> String {
    if !is {
        let article = if what == "import" { "an" } else { "a" };
        return format!("not {article} {what}");
    }
    let codes: Vec<&str> = syntax_errors(text).iter().filter_map(|found| found.code.alias()).collect();
    if codes.is_empty() { format!("{what}, (none)") } else { codes.join(",") }
}

/// The blanks before a comment belong to it.
fn split(input: &str) -> String {
    let at = tokens(input).iter().find(|token| token.kind == TokenKind::Comment).map(|token| token.span.range().start);
    let (code, comment) = input.split_at(at.unwrap_or(input.len()));
    let (code, blanks) = if at.is_some() { code.split_at(code.trim_end().len()) } else { (code, "") };
    let shown = |text: &str| text.replace('\t', "\\t");
    format!("code=<{}> comment=<{}{}>", shown(code), shown(blanks), shown(comment))
}

/// A small project folder.
fn application(input: &str, expected: &str) -> Vec<Problem> {
    let text = input.split('\'').nth(1).unwrap_or_default();
    let mut folder = match input {
        "(empty directory)" => Folder::default(),
        "(empty graph dir)" => Folder::project("main.graph", None).text("graph/readme", ""),
        _ if input.starts_with("main.graph = ") => Folder::project("main.graph", None).text("graph/main.graph", text),
        _ if input.starts_with("G + init.instances ") => {
            let folder = Folder::project("main.graph", Some("init.instances")).text("graph/main.graph", GRAPH);
            folder.text("instances/init.instances", text).listed()
        }
        _ => return vec![Problem::other("not tried")],
    };
    expect(&compile(&mut folder), expected)
}
