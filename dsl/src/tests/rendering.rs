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
