//! What `robo check` looks at: graphs as they are applied, and also files of instances with the graph they refer to.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use robo_dsl::{CompileOptions, Compiled};
use robo_model::limits::MAX_SOURCE_BYTES;
use robo_model::spec::RelativePath;

use super::locate::{INSTANCES, project_of};
use super::{Reader, compile_to_check};
use crate::error::CliError;

/// What standard input is called, and what it is read as.
const STANDARD_INPUT: (&str, &str) = ("<stdin>", "app.graph");

/// What was found.
#[derive(Debug)]
pub(crate) struct Checked {
    /// File names are as seen from the working directory.
    pub(crate) compiled: Compiled,
    /// What was assumed.
    pub(crate) note: Option<String>,
}

/// Compiles what `path` means; `-` is standard input. A file of instances in a project folder is compiled with the
/// project's graph.
///
/// # Errors
/// When there is no such thing, or it cannot be read.
pub(crate) fn check(path: &Path, properties: &BTreeMap<String, String>) -> Result<Checked, CliError> {
    if path.as_os_str() == "-" {
        return standard_input(properties);
    }
    if path.extension().is_some_and(|ending| ending == "instances")
        && let Some((path, project)) = in_project(path)
    {
        let path = path.as_path();
        let mut descriptor = Reader::new(&project, false);
        let entry = robo_dsl::graph_entry(properties, &mut descriptor);
        if let Some(graph) = entry.map(|entry| project.join("graph").join(entry)).filter(|graph| graph.is_file()) {
            let note = format!("{}: checked with its project's graph {}", path.display(), graph.display());
            let root = project.join("graph");
            return Ok(Checked { note: Some(note), ..with_graph(path, (&root, &graph), properties)? });
        }
    }
    Ok(Checked { compiled: compile_to_check(path, properties)?.compiled, note: None })
}

/// A file with the project in whose instances it is. From inside of that folder the path alone does not tell.
fn in_project(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let here = project_of(path).map(|project| (path.to_owned(), project));
    here.or_else(|| {
        let path = std::path::absolute(path).ok()?;
        project_of(&path).map(|project| (path, project))
    })
}

/// Compiles a file of instances with the graph of another file.
///
/// # Errors
/// When one of them is no file.
pub(crate) fn check_with_graph(
    path: &Path,
    graph: &Path,
    properties: &BTreeMap<String, String>,
) -> Result<Checked, CliError> {
    if !path.is_file() {
        let what = if path.is_dir() { "is a folder" } else { "is no file" };
        return Err(CliError::new(format!("{} {what}", path.display()))
            .help("`--graph` goes with a file of instances; a folder has its graph in it"));
    }
    if !graph.is_file() {
        let what = if graph.is_dir() { "is a folder" } else { "is no file" };
        return Err(CliError::new(format!("{} {what}", graph.display())).help("`--graph` takes the file of the graph"));
    }
    with_graph(path, (graph.parent().unwrap_or(Path::new("")), graph), properties)
}

/// `graph` is a file below the folder that its imports are relative to.
fn with_graph(
    path: &Path,
    (graph_root, graph): (&Path, &Path),
    properties: &BTreeMap<String, String>,
) -> Result<Checked, CliError> {
    // Imports among a project's instances are relative to their folder, wherever the file is in it.
    let root = match project_of(path) {
        Some(project) => project.join(INSTANCES),
        None => path.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let entry = relative(path, &root)?;
    let graph_entry = relative(graph, graph_root)?;
    let mut instances = Reader::new(&root, false);
    let mut graphs = Reader::new(graph_root, false);
    let options = CompileOptions { properties: properties.clone(), ..CompileOptions::default() };
    let mut compiled = robo_dsl::compile_instances(&entry, &mut instances, &graph_entry, &mut graphs, &options);
    // The graph's files come first; an entry that could not be read is among them.
    let of_graph = graphs.loaded.max(1);
    for (i, source) in compiled.sources.iter_mut().enumerate() {
        let root = if i < of_graph { graph_root } else { &root };
        source.name = root.join(&source.name).display().to_string();
    }
    Ok(Checked { compiled, note: None })
}

fn standard_input(properties: &BTreeMap<String, String>) -> Result<Checked, CliError> {
    let (shown, name) = STANDARD_INPUT;
    let mut bytes = Vec::new();
    // One more byte than allowed: the language says that it is too large.
    let limit = u64::try_from(MAX_SOURCE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| CliError::new(format!("cannot read standard input: {error}")))?;
    let mut reader = Reader::new(Path::new(""), false);
    let options = CompileOptions { default_name: None, properties: properties.clone() };
    let entry = RelativePath::new(name).map_err(|error| CliError::new(error.to_string()))?;
    reader.given.insert(entry, bytes);
    let mut compiled = robo_dsl::compile_file_with(name, &options, &mut reader);
    if let Some(entry) = compiled.sources.first_mut() {
        shown.clone_into(&mut entry.name);
    }
    Ok(Checked { compiled, note: None })
}

fn relative(path: &Path, root: &Path) -> Result<String, CliError> {
    let inside: Option<PathBuf> = path.strip_prefix(root).ok().map(Path::to_owned);
    inside.and_then(|path| path.to_str().map(str::to_owned)).ok_or_else(|| {
        CliError::new(format!("{} has a name that cannot be used", path.display()))
            .help("give it a name of plain UTF-8 text")
    })
}
