//! The examples of `docs/language.md`.

const LANGUAGE: &str = include_str!("../../../docs/language.md");

/// The texts between `` ```graph `` and `` ``` ``, each with its line.
fn examples() -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in LANGUAGE.lines().enumerate() {
        match line.strip_prefix("```") {
            Some("graph") => {
                open = true;
                out.push((number + 1, String::new()));
            }
            Some(_) => open = false,
            None if open => out.last_mut().unwrap().1.extend([line, "\n"]),
            None => {}
        }
    }
    out
}

#[test]
fn every_example_compiles() {
    let examples = examples();
    assert!(examples.len() >= 8, "the examples are gone");
    for (line, text) in examples {
        let compiled = super::compile(&text);
        assert!(compiled.diagnostics.is_empty(), "docs/language.md:{line}\n{:#?}", compiled.diagnostics);
    }
}

/// Each of robo's own properties is told of.
#[test]
fn every_property_is_named() {
    for property in crate::block::PROPERTIES {
        assert!(LANGUAGE.contains(&format!("{property}:")), "{property}");
    }
}
