//! The files of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::code;

/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 6] = [".git", "target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "node_modules"];

/// A Rust file.
pub(super) struct Source {
    /// Below the workspace's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// A test, a benchmark, or a file that only tests include.
    pub(super) is_test: bool,
}

impl Source {
    /// Its code without comments, texts and tests.
    pub(super) fn code(&self) -> String {
        code::without_tests(&code::bare(&self.text)).0
    }
}

/// Every file that is text, by its path below the root.
pub(super) fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&super::root(), "", &mut found);
    found.sort();
    found
}

/// Every Rust file.
pub(super) fn rust() -> Vec<Source> {
    let mut files: Vec<Source> = texts()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| Source { is_test: lies_among_tests(&path), path, text })
        .collect();
    assert!(files.len() > 50, "only {} Rust files were found", files.len());
    let only_tests: BTreeSet<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let within = |module: &String| {
            file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        file.is_test |= only_tests.iter().any(within);
    }
    files
}

fn lies_among_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.split('/').any(|part| matches!(part, "tests" | "benches"))
}

/// The paths, without `.rs`, of modules that this file declares for tests only.
fn test_modules(file: &Source) -> Vec<String> {
    let (_, names) = code::without_tests(&code::bare(&file.text));
    let folder = folder_of_modules(&file.path);
    names.into_iter().map(|name| format!("{folder}/{name}")).collect()
}

/// Where the modules lie that the file at `path` declares.
pub(super) fn folder_of_modules(path: &str) -> &str {
    if is_root(path) {
        return path.rsplit_once('/').map_or("", |(folder, _)| folder);
    }
    path.strip_suffix(".rs").unwrap_or(path)
}

/// True for files that cargo compiles by themselves.
pub(super) fn is_root(path: &str) -> bool {
    match path.split('/').collect::<Vec<_>>()[..] {
        ["tests", "tests", file] => file == "all.rs",
        [_, "tests" | "benches" | "examples" | "fuzz_targets", _] | [_, "src", "bin", _] | [_, "build.rs"] => true,
        [_, "src", file] => matches!(file, "lib.rs" | "main.rs"),
        _ => false,
    }
}

fn walk(folder: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().expect("a readable entry");
        if kind.is_dir() && !NOT_OURS.contains(&path.as_str()) {
            walk(&entry.path(), &path, found);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push((path, text));
        }
    }
}

#[test]
fn modules_lie_where_rust_looks_for_them() {
    assert_eq!(folder_of_modules("agent/src/lib.rs"), "agent/src");
    assert_eq!(folder_of_modules("agent/src/link.rs"), "agent/src/link");
    assert_eq!(folder_of_modules("tests/tests/all.rs"), "tests/tests");
    assert_eq!(folder_of_modules("tests/tests/house/code.rs"), "tests/tests/house/code");
    assert_eq!(folder_of_modules("wire/tests/golden.rs"), "wire/tests");
    assert_eq!(folder_of_modules("dsl/src/tests/x.rs"), "dsl/src/tests/x");
}
