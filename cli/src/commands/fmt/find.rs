//! Which files the given paths mean.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Deepest nesting of folders that is looked into: deeper ones are built by a mistake.
const MAX_DEPTH: usize = 64;

/// Most entries of folders that are looked at below one path: a home folder given by mistake ends soon.
const MAX_ENTRIES: usize = 1_000_000;

/// The files, each once, those of a folder sorted; or why a path means none.
pub(super) fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf, CliError>> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for path in paths {
        match below(path) {
            Ok(found) => {
                let new = |file: &PathBuf| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone()));
                out.extend(found.into_iter().filter(new).map(Ok));
            }
            Err(error) => out.push(Err(error)),
        }
    }
    out
}

fn below(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let kind = std::fs::metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            CliError::new(format!("there is no file or folder {}", path.display()))
        } else {
            CliError::new(format!("cannot read {}: {error}", path.display()))
        }
    })?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = walk(path)?;
    if found.is_empty() {
        return Err(CliError::new(format!("there is no *.graph and no *.instances in the folder {}", path.display()))
            .help("name the file or another folder; folders whose names begin with a dot are not looked into"));
    }
    found.sort();
    Ok(found)
}

/// All graph and instance files below a folder. Links to folders are not followed: they may lead in circles.
fn walk(root: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut entries = 0;
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let unreadable = |error| CliError::new(format!("cannot read the folder {}: {error}", folder.display()));
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            entries += 1;
            if entries > MAX_ENTRIES || depth > MAX_DEPTH {
                let what = if depth > MAX_DEPTH { "nested too deeply" } else { "too many files" };
                return Err(CliError::new(format!("{what} below {}", root.display()))
                    .note(format!("at most {MAX_ENTRIES} files and {MAX_DEPTH} folders in one another are looked at"))
                    .help("name the folders with your graphs"));
            }
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().map_err(unreadable)?.is_dir() {
                folders.push((path, depth + 1));
            } else if is_ours(&path) && !path.is_dir() {
                found.push(strip_dot(path));
            }
        }
    }
    Ok(found)
}

fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "graph" || extension == "instances")
}

/// `./a.graph` is shown as `a.graph`.
fn strip_dot(path: PathBuf) -> PathBuf {
    path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
}
