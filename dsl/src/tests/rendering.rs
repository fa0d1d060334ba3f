//! Diagnostics as they are drawn.

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::compile;
use crate::report;

fn render(text: &str) -> String {
    let compiled = compile(text);
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut out = String::new();
    for diagnostic in &compiled.diagnostics {
        handler.render_report(&mut out, &report(diagnostic, &compiled.sources)).unwrap();
    }
    out
}

#[test]
fn a_typing_mistake() {
    let text = "Machine {
  installer: target;
  children: Tomcat;   # the server
}
Tomact {
  installer: script;
}
";
    insta::assert_snapshot!(render(text), @r"
    E0309

      × the child `Tomcat` is not defined
       ╭─[app.graph:3:13]
     2 │   installer: target;
     3 │   children: Tomcat;   # the server
       ·             ───┬──
       ·                ╰── neither a component nor a facet
     4 │ }
       ╰────
      help: did you mean `Tomact`?
    ");
}

#[test]
fn a_second_one_points_to_the_first() {
    let text = "A {
  installer: target;
  exports: a = 1;
  installer: script;
}
";
    insta::assert_snapshot!(render(text), @r"
    E0221

      × `installer` is given twice in one component
       ╭─[app.graph:4:3]
     1 │ A {
     2 │   installer: target;
       ·   ────┬────
       ·       ╰── first given here
     3 │   exports: a = 1;
     4 │   installer: script;
       ·   ────┬────
       ·       ╰── given again
     5 │ }
       ╰────
      help: keep one of the two
    ");
}

#[test]
fn only_a_part_of_a_long_line_is_kept() {
    let text = format!(
        "A {{\n  installer: target;\n  exports: {}, é@, {};\n}}\n",
        "a,".repeat(100_000) + "a",
        "b,".repeat(100_000) + "b"
    );
    let drawn = render(&text);
    assert!(drawn.len() < 10_000, "{}", drawn.len());
    assert!(drawn.contains("app.graph:3:200015"), "{drawn}");
}

#[test]
fn lines_far_down_have_their_numbers() {
    let text = format!("A {{\n  installer: target;\n}}\n{}B {{\n  nope: 1;\n}}\n", "# comment\n".repeat(1000));
    assert!(render(&text).contains("app.graph:1005:3"), "{}", render(&text));
}

#[test]
fn a_line_is_cut_to_the_terminal() {
    let text = format!("A {{\n  installer: target;\n  exports: {}, é@, {};\n}}\n", "a".repeat(300), "b".repeat(300));
    insta::assert_snapshot!(render(&text), @r"
    E0907

      × the name `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` has 300 bytes, 128
      │ are allowed
       ╭─[app.graph:3:12]
     2 │   installer: target;
     3 │   exports: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…
       ·            ──────────────────────────────────────────┬─────────────────────────────────────────
       ·                                                      ╰── too long
     4 │ }
       ╰────
      help: names become folder names and parts of environment variables: choose a shorter one
    E0213

      × `é@` is not a variable's name
       ╭─[app.graph:3:314]
     2 │   installer: target;
     3 │ …aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, é@, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
       ·                                  ─┬
       ·                                   ╰─┤ a name has letters, digits, `_`, `-` and `.`, and starts
       ·                                     │ with a letter or `_`
     4 │ }
       ╰────
      help: choose a name as in `Tomcat-8`
    E0907

      × the name `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…` has 300 bytes, 128
      │ are allowed
       ╭─[app.graph:3:318]
     2 │   installer: target;
     3 │ …aaaaaaaaaaaaaaaaaaaaaaaaaa, é@, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
       ·                                  ───────────────────────────────┬──────────────────────────────
       ·                                                                 ╰── too long
     4 │ }
       ╰────
      help: names become folder names and parts of environment variables: choose a shorter one
    ");
}

#[test]
fn a_long_label_goes_over_several_lines() {
    insta::assert_snapshot!(render(&format!("{}A+B {{\n installer: target;\n}}\n", " ".repeat(60))), @r"
    E0211

      × `A+B` is not a name
       ╭─[app.graph:1:61]
     1 │                                                             A+B {
       ·                                                             ─┬─
       ·                                                              ╰─┤ a name has letters, digits,
       ·                                                                │ `_` and `-`, and starts with
       ·                                                                │ a letter or `_`
     2 │  installer: target;
       ╰────
      help: write `A-B`
    ");
}

#[test]
fn what_a_terminal_obeys_is_replaced() {
    let drawn = render("A {\r\n\tinstaller: tar\u{1b}[31m\rget\u{202E}\u{9b}x\u{7};\r\n}\r\n");
    assert!(!drawn.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202E}'), "{drawn:?}");
    insta::assert_snapshot!(drawn, @r"
    E0216

      × `tar␛[31mget��x␇` is not an installer
       ╭─[app.graph:2:13]
     1 │ A {
     2 │     installer: tar␛[31m␍get��x␇;
       ·                ────────┬───────
       ·                        ╰── a name, without quotes
     3 │ }
       ╰────
      help: write one of `target`, `script`, `process`, `container`, `logger`
    ");
}
