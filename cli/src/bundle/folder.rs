//! Which files a folder has: nothing outside of it, and not without end.

use std::path::Path;

use super::recipes::is_left_behind;

/// Most files that are listed: an upload holds 10,000 sources and as many files of recipes. A folder with more is no
/// application's; what depends on which files there are is not checked then.
const MAX_FILES: usize = 20_000;

/// Deepest folder that is listed: ends a walk that links lead in circles.
const MAX_DEPTH: usize = 32;

/// All files below `folder`, which is below `root`, as paths from `root`, sorted; none when there is no such folder.
/// What tools leave behind does not count, nor what a link outside of `root` leads to. Nothing when a folder cannot
/// be read, or there are too many files.
pub(super) fn files(root: &Path, folder: &str) -> Option<Vec<String>> {
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let real = root.canonicalize().ok()?;
    let start = root.join(folder);
    let inside = start.canonicalize().is_ok_and(|start| start.starts_with(&real) && start.is_dir());
    let mut queue = if inside { vec![(start, folder.to_owned(), 0)] } else { Vec::new() };
    let mut found = Vec::new();
    while let Some((path, relative, depth)) = queue.pop() {
        for entry in std::fs::read_dir(&path).ok()? {
            let path = entry.ok()?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !is_left_behind(name))
            else {
                continue;
            };
            let relative = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            let link = std::fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_symlink());
            if link && !path.canonicalize().is_ok_and(|target| target.starts_with(&real)) {
                continue;
            }
            let Ok(kind) = std::fs::metadata(&path) else { continue };
            if kind.is_file() {
                found.push(relative);
            } else if kind.is_dir() {
                if depth == MAX_DEPTH {
                    return None;
                }
                queue.push((path, relative, depth + 1));
            }
            if found.len() + queue.len() > MAX_FILES {
                return None;
            }
        }
    }
    found.sort();
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folders_are_listed_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        for name in ["project/graph/a.graph", "project/graph/A/s/x", "project/.git/y", "project/b~", "outside/z"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        symlink("a.graph", root.join("graph/b.graph")).unwrap();
        symlink("../../outside", root.join("graph/out")).unwrap();
        symlink("nowhere", root.join("graph/bad")).unwrap();
        let all = ["graph/A/s/x", "graph/a.graph", "graph/b.graph"].map(str::to_owned).to_vec();
        assert_eq!(files(&root, ""), Some(all.clone()));
        assert_eq!(files(&root, "graph"), Some(all.clone()));
        assert_eq!(files(&root, "graph/A"), Some(all[..1].to_vec()));
        assert_eq!(files(&root, "commands"), Some(Vec::new()));
        assert_eq!(files(&root, "../outside"), Some(Vec::new()));
        symlink(".", root.join("graph/loop")).unwrap();
        assert_eq!(files(&root, ""), None, "in circles");
    }
}
