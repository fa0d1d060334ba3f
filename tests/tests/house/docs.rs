//! What the documents name is there: links, examples, commands; and no path of anybody's machine stands in a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::sources;

/// Folders that exist on the machine of whoever wrote the line, and nowhere else. In pieces, or this file would break
/// its own rule.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/fa", "rm/")];

#[test]
fn no_path_of_a_machine() {
    let found: Vec<String> = sources::texts().iter().flat_map(|(path, text)| machine_paths(path, text)).collect();
    super::none("a file names a folder of somebody's machine", &found);
}

#[test]
fn links_lead_somewhere() {
    let root = super::root();
    let mut found = Vec::new();
    let texts = sources::texts();
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root.join(Path::new(path).parent().unwrap_or_else(|| Path::new("")));
        let dead = links(text).into_iter().filter(|link| !folder.join(link).exists());
        found.extend(dead.map(|link| format!("{path}: {link}")));
    }
    super::none("a link leads nowhere", &found);
}

#[test]
fn commands_in_the_readme_exist() {
    let root = super::root();
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    let named = commands(&readme);
    assert!(named.len() >= 10, "the README's table names only {named:?}");
    let lacking = named.into_iter().filter(|name| {
        let file = format!("cli/src/commands/{name}.rs");
        !root.join(file).is_file() && !has_variant(&root, name)
    });
    super::none("the README names a command that is none", &lacking.collect::<Vec<_>>());
    for example in ["examples/shop/app.graph", "examples/fleet/app.graph"] {
        assert!(root.join(example).is_file(), "{example} is gone");
    }
    assert!(readme.contains("\ncargo run --release -- up examples/shop/app.graph\n"));
}

#[test]
fn tests_that_hold_a_row_exist() {
    let parity = fs::read_to_string(super::root().join("docs/parity.md")).expect("the rows");
    let rows = tests_of_rows(&parity);
    assert!(rows.len() >= 37, "only {} rows", rows.len());
    let sources = sources::rust();
    let tests: BTreeSet<&str> = sources.iter().flat_map(|source| tests_in(&source.text)).collect();
    let lacking = rows.iter().flat_map(|(row, named)| {
        let none = (named.is_empty()).then(|| format!("{row} names no test"));
        let unknown = named.iter().filter(|test| !tests.contains(**test));
        none.into_iter().chain(unknown.map(move |test| format!("{row}: {test}")))
    });
    super::none("a row names a test that is none", &lacking.collect::<Vec<_>>());
}

#[test]
fn tests_of_attacks_exist() {
    let security = fs::read_to_string(super::root().join("docs/security.md")).expect("the attacks");
    let rows = tests_of_attacks(&security);
    assert!(rows.len() >= 20, "only {} attacks", rows.len());
    let sources = sources::rust();
    let tests: BTreeSet<&str> = sources.iter().flat_map(|source| tests_in(&source.text)).collect();
    let lacking = rows.iter().flat_map(|(attack, named)| {
        let none = (named.is_empty()).then(|| format!("{attack} names no test"));
        let unknown = named.iter().filter(|test| !tests.contains(**test));
        none.into_iter().chain(unknown.map(move |test| format!("{attack}: {test}")))
    });
    super::none("an attack names a test that is none", &lacking.collect::<Vec<_>>());
}

/// Each attack, and the tests in the last column of its table.
fn tests_of_attacks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells
        .filter(|cells| cells.len() >= 4 && cells[0] != "attack")
        .map(|cells| (cells[0], cells[cells.len() - 1].split('`').skip(1).step_by(2).collect()))
        .collect()
}

/// The names of the tests that run with all others: functions with `#[test]` or `#[tokio::test]`, and without
/// `#[ignore]`. Those of `proptest!` stand there with `#[test]`, too.
fn tests_in(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // Of the attributes above the line: whether one makes it a test, and whether one leaves it out.
    let (mut is_test, mut is_ignored) = (false, false);
    // In the middle of an attribute of several lines.
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if inside {
            inside = !line.ends_with(']');
            continue;
        }
        if let Some(attribute) = line.strip_prefix("#[") {
            let is =
                |name: &str| attribute.strip_prefix(name).is_some_and(|rest| rest.starts_with([']', '(', ' ', '=']));
            is_test |= is("test") || is("tokio::test");
            is_ignored |= is("ignore");
            inside = !attribute.contains(']');
            continue;
        }
        let words = line.strip_prefix("pub ").unwrap_or(line);
        let words = words.strip_prefix("async ").unwrap_or(words);
        let name = words.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        found.extend(name.filter(|_| is_test && !is_ignored));
        if !line.starts_with("//") {
            (is_test, is_ignored) = (false, false);
        }
    }
    found
}

#[test]
fn tests_are_told_from_what_only_looks_like_them() {
    let check = |text: &str, expect: &[&str]| assert_eq!(tests_in(text), expect, "{text}");
    check("#[test]\nfn a() {}\nfn b() {}\n    #[test]\n    fn c() {}", &["a", "c"]);
    check("#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {}", &["a"]);
    check("#[test]\n#[should_panic(expected = \"x\")]\n// why\nfn a() {}", &["a"]);
    check("#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[ignore]\n#[test]\nfn b() {}", &[]);
    check("#[test]\n#[expect(\n    x,\n    reason = \"y\"\n)]\nfn a() {}", &["a"]);
    check("#[cfg(test)]\nfn a() {}\n#[tests]\nfn b() {}\n/// #[test]\nfn c() {}", &[]);
}

/// Each row's id, and the tests in its last column.
fn tests_of_rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    let is_row = |id: &str| {
        let number = id.trim_start_matches(|c: char| c.is_ascii_uppercase());
        number.len() < id.len() && number.parse::<u8>().is_ok()
    };
    cells
        .filter(|cells| cells.len() == 4 && is_row(cells[0]))
        .map(|cells| (cells[0], cells[3].split('`').skip(1).step_by(2).collect()))
        .collect()
}

#[test]
fn rows_are_read() {
    let text =
        "| row | feature | in robo | tests |\n|---|---|---|---|\n| C1 | a | b | `x`, `y_z` |\n| H2 | a | b | none |\n";
    assert_eq!(tests_of_rows(text), [("C1", vec!["x", "y_z"]), ("H2", vec![])]);
}

#[test]
fn every_example_is_whole() {
    let root = super::root().join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(&root).expect("examples") {
        let folder = entry.expect("a readable folder").path();
        let graph = fs::read_to_string(folder.join("app.graph")).unwrap_or_default();
        found.extend(incomplete(&folder, &graph));
    }
    super::none("an example is not whole", &found);
}

/// What `robo fmt --check examples` says.
#[test]
fn every_example_is_formatted() {
    let texts = sources::texts();
    let ours = |path: &str| path.starts_with("examples/") && (path.ends_with(".graph") || path.ends_with(".instances"));
    let graphs: Vec<_> = texts.iter().filter(|(path, _)| ours(path)).collect();
    assert!(graphs.len() >= 2, "the examples are gone");
    let odd = graphs.into_iter().filter(|(_, text)| robo_dsl::format(text).as_ref() != Ok(text));
    super::none(
        "an example is not laid out as `robo fmt` does",
        &odd.map(|(path, _)| path.clone()).collect::<Vec<_>>(),
    );
}

fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let begins = |line: &str, at: usize| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"./_-})>$*~".contains(c))
    };
    let is_bad = |line: &str| MACHINE_PATHS.iter().any(|bad| line.match_indices(bad).any(|(at, _)| begins(line, at)));
    let lines = text.lines().enumerate().filter(|(_, line)| is_bad(line));
    lines.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())).collect()
}

/// Targets of `[text](target)` that are files.
fn links(text: &str) -> Vec<String> {
    let targets = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split_once(')'));
    let files = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned).collect()
}

/// The words after `robo` in the first column of tables: `| `robo up FILE` | …`.
fn commands(text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `robo ")?.split_once('`'));
    cells.filter_map(|(words, _)| words.split_whitespace().next()).map(str::to_owned).collect()
}

/// Commands that share a file (`start`, `stop`, `undeploy`) are variants of the command enum.
fn has_variant(root: &Path, name: &str) -> bool {
    // `ssh-proxy` is `SshProxy`.
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    };
    let variant: String = name.split('-').map(capital).collect();
    let text = fs::read_to_string(root.join("cli/src/commands.rs")).unwrap_or_default();
    text.contains(&format!(" {variant}(")) || text.contains(&format!(" {variant},"))
}

/// What an example lacks: its graph, its README, a component for each recipe folder.
fn incomplete(folder: &Path, graph: &str) -> Vec<String> {
    let mut found = Vec::new();
    let name = folder.display();
    if graph.is_empty() {
        found.push(format!("{name} has no app.graph"));
    }
    if !folder.join("README.md").is_file() {
        found.push(format!("{name} has no README.md"));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        let recipe = entry.file_name().into_string().unwrap_or_default();
        if !graph.lines().any(|line| line.split_whitespace().next() == Some(recipe.as_str())) {
            found.push(format!("{name}/{recipe} is the recipe of no component"));
        }
    }
    found
}

#[test]
fn what_is_wrong_in_a_document_is_seen() {
    let bad = format!("cd {}main\nfine: target{}x", MACHINE_PATHS[0], MACHINE_PATHS[0]);
    assert_eq!(machine_paths("a", &bad).len(), 1);
    assert_eq!(links("[a](b.md#c) [d](https://e) [f](#g)"), ["b.md"]);
    assert_eq!(commands("| `robo up FILE` | x |\n| `robo down` | y |\nno `robo x`"), ["up", "down"]);
    let empty = tempfile::tempdir().unwrap();
    fs::create_dir(empty.path().join("Web")).unwrap();
    assert_eq!(incomplete(empty.path(), "").len(), 3);
    assert_eq!(incomplete(empty.path(), "Webb {\n}").len(), 2);
    assert_eq!(incomplete(empty.path(), "Web {\n}").len(), 1);
}
