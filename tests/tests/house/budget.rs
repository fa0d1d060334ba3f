//! Budgets: file lengths, a first line that says what a file is for, names that say something.

use std::collections::BTreeSet;

use super::{code, sources};

/// Longest file, in lines, without its tests.
const MAX_LINES: usize = 800;

/// Longer files are listed, so that somebody thinks of splitting them.
const LONG: usize = 500;

/// Longest `main.rs`.
const MAX_MAIN: usize = 100;

/// Names of modules that say nothing about what is in them.
const EMPTY_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

#[test]
fn files_are_short() {
    let lengths: Vec<(String, usize)> =
        sources::rust().into_iter().map(|file| (file.path, code::lines_without_tests(&file.text))).collect();
    for (path, lines) in lengths.iter().filter(|(_, lines)| *lines > LONG) {
        println!("{path}: {lines} lines; {LONG} are better");
    }
    super::none("a file is too long; split it by what its parts are for", &too_long(&lengths));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources::rust().into_iter().filter(|file| !says_what_for(&file.text)).map(|file| file.path);
    super::none("a file does not open with `//! ` and what it is for", &silent.collect::<Vec<_>>());
}

#[test]
fn every_module_has_a_name() {
    let nameless = sources::rust().into_iter().map(|file| file.path).filter(|path| is_nameless(path));
    super::none("a module's name says nothing", &nameless.collect::<Vec<_>>());
}

#[test]
fn every_file_is_a_module_of_something() {
    let files = sources::rust();
    let files: Vec<(&str, &str)> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    super::none("a file that no `mod` names is never compiled", &forgotten(&files));
}

fn too_long(lengths: &[(String, usize)]) -> Vec<String> {
    let limit = |path: &str| if path.ends_with("/main.rs") { MAX_MAIN } else { MAX_LINES };
    let long = lengths.iter().filter(|(path, lines)| *lines > limit(path));
    long.map(|(path, lines)| format!("{path}: {lines} lines, at most {}", limit(path))).collect()
}

fn says_what_for(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.strip_prefix("//! ").is_some_and(|words| words.len() > 5))
}

fn is_nameless(path: &str) -> bool {
    path.split('/').any(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")) || part == "mod.rs")
}

fn forgotten(files: &[(&str, &str)]) -> Vec<String> {
    let mut declared = BTreeSet::new();
    for (path, text) in files {
        let folder = sources::folder_of_modules(path);
        let bare = code::bare(text);
        let names = bare.match_indices("mod ").filter_map(|(at, _)| bare[at + 4..].split_once(';'));
        declared.extend(names.map(|(name, _)| format!("{folder}/{}.rs", name.trim())));
        // A test of several files says where the others lie.
        let paths = text.split("\n#[path = \"").skip(1).filter_map(|rest| rest.split_once('"'));
        declared.extend(paths.map(|(path, _)| format!("{folder}/{path}")));
    }
    files
        .iter()
        .map(|(path, _)| *path)
        .filter(|p| !sources::is_root(p) && !declared.contains(*p))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_breaks_a_budget_is_seen() {
    let lengths = [("a/src/lib.rs", 800), ("a/src/b.rs", 801), ("a/src/main.rs", 101)].map(|(p, n)| (p.to_owned(), n));
    assert_eq!(too_long(&lengths).len(), 2);
    assert!(says_what_for("//! What it is for.\n") && !says_what_for("// no\n") && !says_what_for("//!\n"));
    assert!(is_nameless("a/src/utils.rs") && is_nameless("a/src/common/x.rs") && is_nameless("a/src/x/mod.rs"));
    assert!(!is_nameless("a/src/commons.rs"));
    let files =
        [("a/src/lib.rs", "mod b;\n// mod c;"), ("a/src/b.rs", "mod d;"), ("a/src/c.rs", ""), ("a/src/b/d.rs", "")];
    let apart = [("a/tests/x.rs", "//! X.\n#[path = \"x/y.rs\"]\nmod y;"), ("a/tests/x/y.rs", "")];
    assert_eq!(forgotten(&apart), [""; 0]);
    assert_eq!(forgotten(&files), ["a/src/c.rs"]);
}
