//! Who may import whom.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Each crate, and those of ours that it may import.
const ARROWS: [(&str, &[&str]); 7] = [
    ("robo-model", &[]),
    ("robo-wire", &["robo-model"]),
    ("robo-dsl", &["robo-model"]),
    ("robo-agent", &["robo-model", "robo-wire"]),
    ("robo-manager", &["robo-dsl", "robo-model", "robo-wire"]),
    ("robo-cli", &["robo-agent", "robo-dsl", "robo-manager", "robo-model", "robo-wire"]),
    ("robo-tests", &["robo-agent", "robo-dsl", "robo-manager", "robo-model", "robo-wire"]),
];

/// All that the pure crates import from others. None of these does I/O, asks a clock or is random.
const PURE: [(&str, &[&str]); 3] = [
    ("robo-model", &["humantime", "serde", "thiserror", "utoipa"]),
    ("robo-wire", &["minicbor-serde", "serde", "sha2", "thiserror", "utoipa"]),
    ("robo-dsl", &["miette", "nom", "serde", "shlex", "strsim", "thiserror"]),
];

/// What a device has no room for: parsers of the language, HTTP servers, database engines, HTTP client stacks.
const NOT_ON_A_DEVICE: [&str; 7] = ["axum", "miette", "nom", "reqwest", "rusqlite", "sqlx", "utoipa"];

/// A crate and what it depends on, tests included or not.
struct Crate {
    name: String,
    all: BTreeSet<String>,
    normal: BTreeSet<String>,
}

#[test]
fn the_arrows_hold() {
    super::none("a crate imports one of ours that it may not", &wrong_arrows(&crates()));
}

#[test]
fn pure_crates_import_only_what_is_pure() {
    super::none("a pure crate imports what nobody has looked at", &impure(&crates()));
}

#[test]
fn an_agent_is_small() {
    let agent = crates().into_iter().find(|package| package.name == "robo-agent").expect("an agent");
    let found: Vec<String> = agent.normal.into_iter().filter(|n| NOT_ON_A_DEVICE.contains(&n.as_str())).collect();
    super::none("the agent imports what a device has no room for", &found);
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(super::root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata")
}

fn crates() -> Vec<Crate> {
    let of = |package: cargo_metadata::Package| {
        let name = |dependency: &cargo_metadata::Dependency| dependency.name.clone();
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(name).collect();
        Crate { name: package.name.to_string(), all: package.dependencies.iter().map(name).collect(), normal }
    };
    metadata().packages.into_iter().map(of).collect()
}

fn wrong_arrows(crates: &[Crate]) -> Vec<String> {
    let names: BTreeSet<&str> = crates.iter().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    if names != ARROWS.iter().map(|(name, _)| *name).collect() {
        found.push(format!("the crates are {names:?}"));
    }
    for package in crates {
        let allowed = ARROWS.iter().find(|(name, _)| *name == package.name).map_or(&[][..], |(_, allowed)| allowed);
        let ours = package.all.iter().filter(|name| names.contains(name.as_str()));
        found.extend(ours.filter(|n| !allowed.contains(&n.as_str())).map(|n| format!("{} → {n}", package.name)));
    }
    found
}

fn impure(crates: &[Crate]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, allowed) in PURE {
        let package = crates.iter().find(|package| package.name == name).expect("a crate of the workspace");
        let foreign = package.normal.iter().filter(|n| !n.starts_with("robo-") && !allowed.contains(&n.as_str()));
        found.extend(foreign.map(|n| format!("{name} → {n}")));
    }
    found
}

#[test]
fn a_wrong_arrow_is_seen() {
    let package = |name: &str, needs: &[&str]| {
        let all: BTreeSet<String> = needs.iter().map(|n| (*n).to_owned()).collect();
        Crate { name: name.to_owned(), normal: all.clone(), all }
    };
    let mut crates: Vec<Crate> = ARROWS.iter().map(|(name, needs)| package(name, needs)).collect();
    assert!(wrong_arrows(&crates).is_empty() && impure(&crates).is_empty());
    crates[0] = package("robo-model", &["robo-wire", "tokio"]);
    assert_eq!(wrong_arrows(&crates), ["robo-model → robo-wire"]);
    assert_eq!(impure(&crates), ["robo-model → tokio"]);
    crates.push(package("robo-utils", &[]));
    assert_eq!(wrong_arrows(&crates).len(), 2);
}
