//! The tree is lossless, the parser never panics, and neither depth nor length makes it slow.

use proptest::prelude::*;

use super::*;
use crate::diagnostic::Sink;
use crate::source::{FileId, widen};

/// The items cover the file, and so do the tokens.
fn check_lossless(source: &str) {
    let tree = parse(source, FileId(0), &mut Sink::default());
    let mut at = 0;
    for item in &tree.items {
        assert_eq!(widen(item.span.start), at, "{source:?}: {item:?}");
        at = widen(item.span.end);
    }
    assert_eq!(at, source.len(), "{source:?}");
    let text: String = tokens(source).iter().map(|token| token.span.of(source)).collect();
    assert_eq!(text, source);
}

fn kinds(source: &str) -> String {
    let tokens = tokens(source);
    tokens.iter().map(|token| format!("{:?}:{}", token.kind, token.span.of(source))).collect::<Vec<_>>().join("|")
}

#[test]
fn tokens_are_the_file() {
    for source in [
        "",
        "\n",
        "A {\r\n\texports: a = \"x#y\", # c\r\n\r\n  b;\r\n}\r\n",
        "A\n{\n}\n",
        "} facet B {\n}\n",
        "A { x }\n}}\n",
        "imp\rort a;\r",
        "facet {\n instance of\n\n}",
        "\u{FEFF}A {",
        "a: b: c; # d",
        "import a; b # c\n#\n",
        "A {\n p: a,\n b: c;\n",
    ] {
        check_lossless(source);
    }
    assert_eq!(
        kinds("x import a.graph ; # c\n"),
        "Word:x|Blank: |Word:import|Blank: |Value:a.graph|Blank: |Punctuation:;|Blank: |Comment:# c|LineEnd:\n"
    );
    assert_eq!(
        kinds("\tfoo bar: 1, # c\r\n 2;\n"),
        // Outside of a block it is nothing known.
        "Garbage:\tfoo bar: 1, # c\r\n 2;\n"
    );
    assert_eq!(
        kinds("A {\n foo bar: 1, # c\r\n 2;\n}"),
        "Name:A|Blank: |Punctuation:{|LineEnd:\n|Blank: |Word:foo|Blank: |Property:bar|Punctuation::|Blank: |Value:1,|\
         Blank: |Comment:# c|LineEnd:\r\n|Blank: |Value:2|Punctuation:;|LineEnd:\n|Punctuation:}"
    );
}

#[test]
fn depth_and_length_cost_neither_stack_nor_time() {
    let deep = "instance of a {\n".repeat(10_000);
    check_lossless(&deep);
    let closed = format!("{deep}{}", "}\n".repeat(10_000));
    check_lossless(&closed);
    check_lossless(&format!("A {{\n exports: {};\n}}\n", "a, ".repeat(200_000)));
    check_lossless(&"facet x\n\n\n".repeat(20_000));
    check_lossless(&format!("A {{\n{}", " p: a,\n\n".repeat(20_000)));
    check_lossless(&":".repeat(1_000_000));
    check_lossless(&format!("A {{\n{}: x", ": ".repeat(500_000)));
    check_lossless(&format!("A {{\n a: {}#", "\"".repeat(1_000_001)));
}

/// Lines that mean something, and pieces of them.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "{",
        "}",
        ";",
        ":",
        ",",
        "#",
        "\"",
        "=",
        ".",
        "*",
        "import ",
        "facet ",
        "instance of ",
        "application ",
        "name: a;",
        "exports: a, b = \"c\";",
        "imports: A.b (optional),",
        "extends: B;",
        "A",
        "b",
        "é",
        "\0",
        "\u{FEFF}",
        "$(",
        ")",
        "random[port] ",
        "external ",
        "A {\n",
        "}\n",
        "count: 3;\n",
        "installer: target;\n",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_soup_is_lossless(source in soup()) {
        check_lossless(&source);
    }

    #[test]
    fn any_text_is_lossless(source in any::<String>()) {
        check_lossless(&source);
    }
}
