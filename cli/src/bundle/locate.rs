//! Which graph a path means.

use std::path::{Path, PathBuf};

use robo_model::spec::RelativePath;
use robo_wire::api::Entry;

use crate::error::CliError;

/// Names of graph files that say nothing about the application: the folder's name does.
const NAMELESS: [&str; 2] = ["app", "main"];

/// The folder that makes a folder a project.
const DESCRIPTOR: &str = "descriptor";

/// Most graph files that are named when a folder holds several.
const NAMED: usize = 5;

/// A graph on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    /// The folder that source paths are relative to.
    pub(crate) root: PathBuf,
    /// What is compiled.
    pub(crate) entry: Entry,
    /// The application's name where the sources give none.
    pub(crate) default_name: Option<String>,
    /// The folder that holds the recipes' folders.
    pub(crate) recipes: PathBuf,
}

impl Located {
    /// A project has one; a reusable recipe need not.
    pub(super) fn has_descriptor(&self) -> bool {
        self.root.join(DESCRIPTOR).is_dir()
    }

    /// A source's name as seen from the working directory.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }
}

/// Finds the graph that `path` means: a file, a Roboconf project folder, or a folder with one graph in it.
///
/// # Errors
/// When it means none, or more than one.
pub(crate) fn locate(path: &Path) -> Result<Located, CliError> {
    let kind = std::fs::metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            CliError::new(format!("there is no file or folder {}", path.display()))
        } else {
            CliError::new(format!("cannot read {}: {error}", path.display()))
        }
    })?;
    if kind.is_file() {
        return file(path);
    }
    if is_project(path)? {
        let default_name = folder_name(path);
        return Ok(Located { root: path.to_owned(), entry: Entry::Project, default_name, recipes: path.join("graph") });
    }
    file(&only_graph(path)?)
}

/// The folder of a project's instances.
pub(super) const INSTANCES: &str = "instances";

/// The Roboconf project folder in whose instances the file `path` is.
pub(super) fn project_of(path: &Path) -> Option<PathBuf> {
    let mut folders = path.ancestors().skip(1);
    folders.find_map(|folder| {
        let project = folder.file_name().filter(|name| *name == INSTANCES).and_then(|_| folder.parent())?;
        (project.join("descriptor").is_dir() && project.join("graph").is_dir()).then(|| project.to_owned())
    })
}

/// Whether a folder has a project's parts. One that lacks a part is a project too, so that what it lacks can be said,
/// but not where a graph file stands in it: then that is meant.
fn is_project(path: &Path) -> Result<bool, CliError> {
    let (descriptor, graph) = (path.join(DESCRIPTOR).is_dir(), path.join("graph").is_dir());
    Ok(descriptor && graph || (descriptor || graph) && graphs(path)?.is_empty())
}

fn file(path: &Path) -> Result<Located, CliError> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| RelativePath::new(name).ok());
    let Some(name) = name else {
        return Err(CliError::new(format!("{} has a name that cannot be sent", path.display()))
            .help("give it a name of plain UTF-8 text without backslashes"));
    };
    let root = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::new(),
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let default_name = stem.filter(|stem| !NAMELESS.contains(&stem.as_str())).or_else(|| folder_name(&root));
    Ok(Located { recipes: root.clone(), root, entry: Entry::File(name), default_name })
}

fn only_graph(folder: &Path) -> Result<PathBuf, CliError> {
    let found = graphs(folder)?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(CliError::new(format!("there is no graph in the folder {}", folder.display()))
            .help("give a graph file, a folder with one `*.graph` in it, or a Roboconf project (descriptor/, graph/)")),
        many => {
            let names: Vec<_> = many.iter().take(NAMED).map(|p| p.display().to_string()).collect();
            let more = if many.len() > NAMED { " …" } else { "" };
            Err(CliError::new(format!("there are {} graphs in the folder {}", many.len(), folder.display()))
                .help(format!("say which one: {}{more}", names.join(", "))))
        }
    }
}

/// The graph files directly in a folder, sorted.
fn graphs(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |error| CliError::new(format!("cannot read the folder {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e == "graph") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The folder's own name, also for `.` and `..`.
fn folder_name(folder: &Path) -> Option<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Some(folder.canonicalize().ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn names_come_from_file_or_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("warehouse");
        touch(&root.join("app.graph"));
        let name = |path: &Path| locate(path).unwrap().default_name.unwrap();
        assert_eq!(name(&root), "warehouse");
        assert_eq!(name(&root.join("app.graph")), "warehouse");
        touch(&root.join("lamp.graph"));
        assert_eq!(name(&root.join("lamp.graph")), "lamp");
        let error = locate(&root).unwrap_err();
        assert!(error.what().starts_with("there are 2 graphs"), "{error:?}");
        assert!(error.helps()[0].contains("app.graph") && error.helps()[0].contains("lamp.graph"));
    }

    #[test]
    fn a_project_folder_is_taken_as_one() {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join("lamp/descriptor/application.properties"));
        touch(&folder.path().join("lamp/graph/main.graph"));
        let located = locate(&folder.path().join("lamp")).unwrap();
        assert_eq!(located.entry, Entry::Project);
        assert_eq!(located.default_name.as_deref(), Some("lamp"));
        assert!(located.recipes.ends_with("lamp/graph"));
        assert!(locate(folder.path()).unwrap_err().what().starts_with("there is no graph"));
        touch(&folder.path().join("recipe/graph/db.graph"));
        let recipe = locate(&folder.path().join("recipe")).unwrap();
        assert!(recipe.entry == Entry::Project && !recipe.has_descriptor());
        touch(&folder.path().join("recipe/app.graph"));
        assert!(matches!(locate(&folder.path().join("recipe")).unwrap().entry, Entry::File(_)), "a file is meant");
    }
}
