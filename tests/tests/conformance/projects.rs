//! Rows of kind application, recipe and project: whole folders.

use std::collections::BTreeMap;
use std::path::Path;

use robo_dsl::{CompileOptions, Compiled, compile_project_with};

use super::folder::Folder;
use super::table::Row;
use super::verdict::{self, Problem, Seen};

/// What `${project.version}` of descriptors stands for.
const VERSION: &str = "0.10-SNAPSHOT";

/// What is wrong with our verdict on a row.
pub(super) fn check(row: &Row, corpus: &Path) -> Vec<Problem> {
    let place = row.place(corpus);
    let compiled = match row.kind.as_str() {
        // What the original builds is a folder below.
        "project" => compile(&place, Folder::of(&place.join("src/main/model"))),
        _ if row.notes.contains("copies module-a's graph") => with_its_neighbour(&place),
        _ => compile(&place, Folder::of(&place)),
    };
    let seen = verdict::seen(&compiled.diagnostics, &compiled.sources);
    let mut problems = verdict::hold(&row.expected, &seen);
    if row.valid {
        problems.extend(
            seen.iter().filter(|seen| seen.error).map(|seen| Problem {
                code: seen.code.to_owned(),
                text: format!("valid, but: {}", verdict::shown(seen)),
            }),
        );
        problems.extend(verdict::hold(&row.runtime, &seen));
        problems.extend(more_warnings(row, &seen));
        let ours = compiled.application.as_ref().map_or(0, |application| application.instances.len());
        problems.extend(verdict::counted("instances", row.noted("observed instances"), ours));
    } else {
        problems.extend(verdict::refused(&seen));
        problems.extend(verdict::hold(&row.runtime, &seen));
    }
    verdict::with_ours(problems, &seen)
}

/// `NAME/src/main/model`: the first folder is the artifact.
pub(super) fn filter(place: &Path) -> BTreeMap<String, String> {
    let artifact = place.ancestors().nth(3).and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let properties = [("project.artifactId", &*artifact), ("project.version", VERSION)];
    properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn compile(place: &Path, mut folder: Folder) -> Compiled {
    let options = CompileOptions { properties: filter(place), ..CompileOptions::default() };
    compile_project_with(&options, &mut folder)
}

/// A Maven build puts the graph of the module beside it into this one's; alone its import leads nowhere.
fn with_its_neighbour(place: &Path) -> Compiled {
    let alone = compile(place, Folder::of(place));
    let codes: Vec<_> = alone.diagnostics.iter().filter_map(|d| d.code.alias()).collect();
    assert!(codes.contains(&"CO_UNREACHABLE_FILE"), "{}: {codes:?}", place.display());
    let neighbour =
        place.ancestors().nth(4).expect("a module lies beside another").join("module-a/src/main/model/graph");
    compile(place, Folder::of(place).mount("graph/net.roboconf.test/module-a", &neighbour))
}

/// A warning of the original's that the original does not give here.
fn more_warnings(row: &Row, seen: &[Seen]) -> Vec<Problem> {
    let mut wanted: Vec<&str> = row.runtime.iter().chain(&row.expected).map(|want| want.code.as_str()).collect();
    let mut problems = Vec::new();
    for seen in seen.iter().filter(|seen| !seen.error && !seen.code.starts_with('E')) {
        match wanted.iter().position(|code| *code == seen.code) {
            Some(at) => {
                wanted.swap_remove(at);
            }
            None => problems
                .push(Problem { code: seen.code.to_owned(), text: format!("too much: {}", verdict::shown(seen)) }),
        }
    }
    problems
}
