//! A crate's clippy.toml replaces the root's: those of the pure crates must hold all of it, and more.

use std::collections::BTreeSet;
use std::fs;

/// Bans that a pure crate cannot be without.
const PURE_BANS: [&str; 6] = [
    "\"std::env::var\"",
    "\"std::fs::read\"",
    "\"std::net::TcpStream\"",
    "\"std::process::Command\"",
    "\"std::time::Instant::now\"",
    "\"std::time::SystemTime::now\"",
];

#[test]
fn pure_crates_keep_the_bans_of_the_root() {
    let read = |path: &str| fs::read_to_string(super::root().join(path)).expect(path);
    let root = read("clippy.toml");
    for name in ["model", "wire", "dsl"] {
        let own = read(&format!("{name}/clippy.toml"));
        super::none(&format!("{name}/clippy.toml lacks lines of the root's"), &lacking(&root, &own));
        let unbanned: Vec<String> =
            PURE_BANS.iter().filter(|ban| !own.contains(**ban)).map(|ban| (*ban).to_owned()).collect();
        super::none(&format!("{name}/clippy.toml does not ban"), &unbanned);
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    let read = |name: &str| fs::read_to_string(super::root().join(name).join("Cargo.toml")).expect(name);
    let without = ["model", "wire", "dsl", "agent", "manager", "cli", "tests"].into_iter();
    let without: Vec<String> =
        without.filter(|name| !read(name).contains("[lints]\nworkspace = true")).map(str::to_owned).collect();
    super::none("a crate does not take the workspace's lints", &without);
}

/// The settings of `root` that `own` does not repeat.
fn lacking(root: &str, own: &str) -> Vec<String> {
    let settings = |text: &str| -> BTreeSet<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    settings(root).difference(&settings(own)).cloned().collect()
}

#[test]
fn a_lacking_ban_is_seen() {
    let root = "# a\na = 1\nbans = [\n    { path = \"x\" },\n]\n";
    assert!(lacking(root, "a = 1\nbans = [\n{ path = \"x\" },\n  { path = \"y\" },\n]").is_empty());
    assert_eq!(lacking(root, "a = 2\nbans = [\n{ path = \"x\" },\n]"), ["a = 1"]);
}
