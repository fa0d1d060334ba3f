//! Rows of kind graph, instances and mixed: one file, with what it imports.
//!
//! The file is compiled as the entry of a project folder, where the original's rules for graphs and
//! instances hold. A line of the original that is 0 stands for an unknown block or for the entry file: those
//! codes are compared without their line.

use std::path::Path;

use robo_dsl::{CompileOptions, Compiled, Stage, TokenKind, compile_file, compile_project_with, tokens};

use super::fixtures;
use super::folder::Folder;
use super::layout;
use super::table::Row;
use super::verdict::{self, Problem, Seen, Want};

/// What is wrong with our verdict on a row.
pub(super) fn check(row: &Row, corpus: &Path) -> Vec<Problem> {
    let place = row.place(corpus);
    let name = place.file_name().expect("a row names a file").to_string_lossy().into_owned();
    let folder = place.parent().expect("a file lies in a folder");
    let (project, file) = match row.kind.as_str() {
        "graph" => (Folder::project(&name, None).mount("graph", folder), format!("graph/{name}")),
        "instances" => {
            let project = Folder::project("main.graph", Some(&name)).text("graph/main.graph", fixtures::graph(row));
            (project.mount("instances", folder), format!("instances/{name}"))
        }
        _ => return mixed(row, folder, &name),
    };
    let compiled = compile(project.clone());
    let all = verdict::seen(&compiled.diagnostics, &compiled.sources);
    let seen: Vec<Seen> = all.iter().filter(|seen| seen.file == file).cloned().collect();
    let mut problems = if row.valid { valid(row, &seen) } else { invalid(row, &seen) };
    problems.extend(observed(row, &seen));
    problems.extend(instances(row, &compiled, &all));
    if row.valid {
        let text = std::fs::read_to_string(&place).expect("the corpus is text");
        problems.extend(file_type(row, &text));
        problems.extend(layout::check(&text, |text| {
            let compiled = compile(project.clone().text(&file, text));
            let mut codes: Vec<&str> = compiled.diagnostics.iter().map(|found| found.code.as_str()).collect();
            codes.sort_unstable();
            (compiled.application, codes)
        }));
    }
    verdict::with_ours(problems, &all)
}

/// Robo's own form lets one file hold both; a project folder does not.
fn mixed(row: &Row, folder: &Path, name: &str) -> Vec<Problem> {
    let seen = |compiled: &Compiled| verdict::seen(&compiled.diagnostics, &compiled.sources);
    let in_project = seen(&compile(Folder::project(name, None).mount("graph", folder)));
    assert!(verdict::hold(&row.expected, &in_project).is_empty(), "{name} in a project folder: {in_project:?}");
    let alone = seen(&compile_file(name, &mut Folder::of(folder)));
    let mut problems = verdict::hold(&row.expected, &alone);
    problems.extend(observed(row, &alone));
    problems
}

fn compile(mut made: Folder) -> Compiled {
    compile_project_with(&CompileOptions::default(), &mut made)
}

fn valid(row: &Row, seen: &[Seen]) -> Vec<Problem> {
    let mut problems = verdict::clean(&stages(&row.stage), seen);
    problems.extend(verdict::hold(&row.expected, seen));
    problems
}

fn invalid(row: &Row, seen: &[Seen]) -> Vec<Problem> {
    let mut problems = verdict::refused(seen);
    problems.extend(verdict::hold(&row.expected, seen));
    problems
}

/// The stage and those before it.
fn stages(stage: &str) -> Vec<Stage> {
    let all = [Stage::Parse, Stage::Blocks, Stage::Conversion, Stage::Runtime];
    let reached = match stage.rsplit('+').next().unwrap_or_default() {
        "parse" | "syntax" => 1,
        "model" => 2,
        "conversion" => 3,
        "runtime" => 4,
        other => panic!("unknown stage `{other}`"),
    };
    all[..reached].to_vec()
}

/// What the original printed for the whole file, stage by stage; `CO_` only of the conversion's column, which repeats
/// those before it.
fn observed(row: &Row, seen: &[Seen]) -> Vec<Problem> {
    let conversion = row.convert.iter().filter(|want| want.code.starts_with("CO_")).cloned();
    let all: Vec<Want> =
        [&row.parse, &row.model, &row.runtime].into_iter().flatten().cloned().chain(conversion).collect();
    let mut problems = verdict::hold(&all, seen);
    if row.valid && row.model.is_empty() {
        problems.extend(verdict::clean(&[Stage::Blocks], seen));
    }
    problems
}

/// Counts in the notes: instances, and those without a parent.
fn instances(row: &Row, compiled: &Compiled, all: &[Seen]) -> Vec<Problem> {
    let (roots, count) = (row.noted("roots"), row.noted("instances"));
    if row.kind != "instances" || count.or(roots).is_none() {
        return Vec::new();
    }
    let Some(application) = &compiled.application else {
        let why: Vec<String> = all.iter().map(verdict::shown).collect();
        return vec![Problem::other(format!("no application came out: {}", why.join(", ")))];
    };
    let ours = application.instances.keys().filter(|path| path.parent().is_none()).count();
    let found =
        [verdict::counted("roots", roots, ours), verdict::counted("instances", count, application.instances.len())];
    found.into_iter().flatten().collect()
}

/// Which blocks a file holds, by its tokens.
fn file_type(row: &Row, text: &str) -> Option<Problem> {
    let tokens = tokens(text);
    let any = |kind, word: &str| {
        tokens.iter().any(|t| t.kind == kind && (word.is_empty() || t.span.of(text).eq_ignore_ascii_case(word)))
    };
    let ours = match () {
        () if any(TokenKind::Word, "instance") => "INSTANCE",
        () if any(TokenKind::Name, "") => "GRAPH",
        () if any(TokenKind::Word, "import") => "AGGREGATOR",
        () => "EMPTY",
    };
    (ours != row.file_type).then(|| Problem::other(format!("the file is {ours}, not {}", row.file_type)))
}
