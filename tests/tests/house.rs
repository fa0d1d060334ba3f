//! The rules of the house: what may import what, what is never the case, budgets. Each scanner is tested on a bad
//! snippet beside it, so that no rule passes because it sees nothing.

#![expect(clippy::string_slice, reason = "offsets come from the text they cut; a panic is a failed test")]

mod budget;
mod code;
mod docs;
mod imports;
mod lints;
mod purity;
mod sources;

use std::path::PathBuf;

/// The root of the workspace.
fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the workspace").to_owned()
}

/// Fails with all that was found, one line each.
#[track_caller]
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}\n  {}\n", found.join("\n  "));
}
