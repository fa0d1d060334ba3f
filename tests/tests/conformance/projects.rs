//! Rows of kind application, recipe and project: whole folders.

use std::collections::BTreeMap;
use std::path::Path;

use robo_dsl::{CompileOptions, Compiled, compile_project_with, compile_recipe_with};
use robo_model::graph::Application;

use super::folder::Folder;
use super::table::Row;
use super::verdict::{self, Problem, Seen, Want};

/// What `${project.version}` of descriptors stands for.
const VERSION: &str = "0.10-SNAPSHOT";

/// What is wrong with our verdict on a row.
pub(super) fn check(row: &Row, corpus: &Path) -> Vec<Problem> {
    let place = row.place(corpus);
    let project = || compile(&place, Folder::of(&place));
    match row.stage.as_str() {
        "application" if row.notes.contains("copies module-a's graph") => folder(row, &with_its_neighbour(&place), &[]),
        "application" => folder(row, &project(), &row.runtime),
        // What the original builds is a folder below.
        "maven project structure" => folder(row, &compile(&place, Folder::of(&place.join("src/main/model"))), &[]),
        "application(strict)" => {
            let mut problems = folder(row, &project(), &row.runtime);
            problems.extend(verdict::no_errors(&seen(&recipe(&place))));
            problems
        }
        // Observed before the filter for recipes.
        "recipe(flex+filter)" => folder(row, &recipe(&place), &[]),
        "recipe(maven)" => {
            let mut problems = folder(row, &recipe(&place), &verdict::wants("REC_AVOID_INSTANCES"));
            problems.extend(verdict::hold(&row.runtime, &seen(&project())));
            problems
        }
        // A folder without a descriptor is read as a recipe.
        "tooling completion (flex)" => folder(row, &recipe(&place), &row.runtime),
        other => vec![Problem::other(format!("no check for the stage `{other}`"))],
    }
}

fn folder(row: &Row, compiled: &Compiled, observed: &[Want]) -> Vec<Problem> {
    let seen = seen(compiled);
    let mut problems = verdict::hold(&row.expected, &seen);
    problems.extend(verdict::hold(observed, &seen));
    if row.valid {
        problems.extend(verdict::no_errors(&seen));
        if row.stage == "application" {
            problems.extend(more_warnings(row, observed, &seen));
        }
        let ours = compiled.application.as_ref().map_or(0, |application| application.instances.len());
        problems.extend(verdict::counted("instances", row.noted("observed instances"), ours));
    } else {
        problems.extend(verdict::refused(&seen));
    }
    verdict::with_ours(problems, &seen)
}

fn seen(compiled: &Compiled) -> Vec<Seen> {
    verdict::seen(&compiled.diagnostics, &compiled.sources)
}

/// `NAME/src/main/model`: the first folder is the artifact.
pub(super) fn filter(place: &Path) -> BTreeMap<String, String> {
    let artifact = place.ancestors().nth(3).and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let properties = [("project.artifactId", &*artifact), ("project.version", VERSION)];
    properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The application in a folder that is right.
pub(super) fn application(place: &Path) -> Application {
    let compiled = compile(place, Folder::of(place));
    compiled.application.unwrap_or_else(|| panic!("{}: {:?}", place.display(), compiled.diagnostics))
}

fn compile(place: &Path, mut folder: Folder) -> Compiled {
    let options = CompileOptions { properties: filter(place), ..CompileOptions::default() };
    compile_project_with(&options, &mut folder)
}

fn recipe(place: &Path) -> Compiled {
    let options = CompileOptions { properties: filter(place), ..CompileOptions::default() };
    compile_recipe_with(&options, &mut Folder::of(place))
}

/// A Maven build puts the graph of the module beside it into this one's, and its recipes beside this one's; alone its
/// import leads nowhere.
fn with_its_neighbour(place: &Path) -> Compiled {
    let alone = compile(place, Folder::of(place));
    let codes: Vec<_> = alone.diagnostics.iter().filter_map(|d| d.code.alias()).collect();
    assert!(codes.contains(&"CO_UNREACHABLE_FILE"), "{}: {codes:?}", place.display());
    let neighbour =
        place.ancestors().nth(4).expect("a module lies beside another").join("module-a/src/main/model/graph");
    let folder = Folder::of(place).mount("graph/net.roboconf.test/module-a", &neighbour);
    compile(place, folder.mount("graph/VM", &neighbour.join("VM")))
}

/// A warning of the original's that the original does not give here.
fn more_warnings(row: &Row, observed: &[Want], seen: &[Seen]) -> Vec<Problem> {
    let mut wanted: Vec<&str> = observed.iter().chain(&row.expected).map(|want| want.code.as_str()).collect();
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
