//! `docs/errors.md`: every page, from the same source as `robo explain`.
//!
//! `ROBO_BLESS=1 cargo test -p robo-cli errors_md` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use robo_dsl::{Code, Example, explain};

use super::{RANGES, codes, severity, stage};

const HEAD: &str = "\
# Every mistake that robo finds

Each has a code that does not change. `robo check` prints it, `robo explain CODE` shows its page in the terminal, and
this page has them all. In Roboconf most have a name of their own, which robo knows too:
`robo explain PM_INVALID_CHILD_NAME`.

An *error* keeps an application from being applied; a *warning* does not. In an example with several files each is
given with its path.

This page is generated from `dsl/src/code/table.rs` and `dsl/src/explain/`.
";

fn reference() -> String {
    let mut out = HEAD.to_owned();
    let mut add = |text: String| writeln!(out, "{text}").unwrap();
    for range in RANGES {
        add(format!("\n## {} ({}xx)\n", range.title, range.prefix));
        for code in codes(range) {
            add(format!("- [{code}](#{}) {}", code.as_str().to_lowercase(), code.title()));
        }
    }
    for code in Code::ALL {
        let page = explain(*code);
        let alias = code.alias().map(|alias| format!(", in Roboconf `{alias}`")).unwrap_or_default();
        add(format!("\n<a id=\"{}\"></a>\n", code.as_str().to_lowercase()));
        add(format!("### {code}: {}\n", code.title()));
        add(format!("*{}*, found when {}{alias}\n", severity(code.severity()), stage(code.stage())));
        add(page.meaning.clone());
        for (mark, examples) in [("✗ Wrong", &page.wrong), ("✓ Right", &page.right)] {
            for Example { file, text } in examples {
                add(format!("\n{mark}, `{file}`:\n\n```\n{text}```"));
            }
        }
    }
    out
}

#[test]
fn errors_md_is_what_the_pages_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = reference();
    if std::env::var_os("ROBO_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == text);
    assert!(same, "docs/errors.md is not what the pages say; write it anew with ROBO_BLESS=1");
}
