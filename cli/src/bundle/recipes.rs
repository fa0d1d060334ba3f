//! The files of the recipes: found beside the graph, hashed, never from outside their folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use robo_model::graph::Application;
use robo_model::limits::MAX_RECIPE_FILES;
use robo_model::name::ComponentName;
use robo_model::spec::{FileRef, RecipeFiles, RelativePath};
use robo_wire::api::MAX_FILE_BYTES;
use sha2::{Digest as _, Sha256};

use crate::error::CliError;

/// Deepest folder in a recipe: ends a walk that links lead in circles.
const MAX_DEPTH: usize = 32;

/// Bytes hashed at once.
const CHUNK: usize = 64 * 1024;

/// Folders and files that tools leave behind.
const LEFT_BEHIND: [&str; 4] = [".git", ".svn", "__pycache__", ".DS_Store"];

/// The recipes of all components, each from the folder below `root` that bears its name; `found` hears of each file.
///
/// # Errors
/// Names the file that cannot be sent, and why.
pub(super) fn collect(
    root: &Path,
    application: &Application,
    found: &mut dyn FnMut(&FileRef, PathBuf),
) -> Result<BTreeMap<ComponentName, RecipeFiles>, CliError> {
    let names: BTreeSet<_> = application.components.values().flat_map(|c| &c.lineage).collect();
    let mut recipes = BTreeMap::new();
    let mut count = 0;
    for name in names {
        let folder = root.join(name.as_str());
        if !folder.is_dir() {
            continue;
        }
        let real = folder.canonicalize().map_err(|error| unreadable(&folder, &error))?;
        let mut walk = Walk { real, files: BTreeMap::new(), count: &mut count, found };
        walk.folder(&folder, "", 0)?;
        recipes.insert(name.clone(), walk.files);
    }
    Ok(recipes)
}

struct Walk<'a> {
    /// The recipe's folder without links; nothing outside it is sent.
    real: PathBuf,
    files: RecipeFiles,
    /// Files of all recipes so far.
    count: &'a mut usize,
    found: &'a mut dyn FnMut(&FileRef, PathBuf),
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, below: &str, depth: usize) -> Result<(), CliError> {
        if depth > MAX_DEPTH {
            return Err(CliError::new(format!("{} is nested more than {MAX_DEPTH} folders deep", folder.display()))
                .help("is there a link that leads in circles?"));
        }
        for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let path = entry.map_err(|error| unreadable(folder, &error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(CliError::new(format!("the name of {} is not UTF-8 text", path.display()))
                    .help("rename the file: other machines must be able to have it too"));
            };
            if is_left_behind(name) {
                continue;
            }
            let relative = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            self.entry(&path, relative, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: String, depth: usize) -> Result<(), CliError> {
        self.stays_inside(path)?;
        let kind = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if kind.is_dir() {
            return self.folder(path, &relative, depth + 1);
        }
        if !kind.is_file() {
            return Err(CliError::new(format!("{} is neither a file nor a folder", path.display()))
                .help("a recipe may hold nothing else; move it elsewhere"));
        }
        let relative = RelativePath::new(relative).map_err(|error| CliError::new(error.to_string()))?;
        *self.count += 1;
        if *self.count > MAX_RECIPE_FILES {
            return Err(CliError::new(format!("the recipes have more than {MAX_RECIPE_FILES} files"))
                .note(format!("{} is one too many", path.display()))
                .help("pack them into an archive that the recipe unpacks, or fetch them in `deploy`"));
        }
        let file = hash_file(path, kind.permissions().mode() & 0o111 != 0)?;
        (self.found)(&file, path.to_owned());
        self.files.insert(relative, file);
        Ok(())
    }

    /// A link may point to something in the same recipe; it is sent as a copy of that.
    fn stays_inside(&self, path: &Path) -> Result<(), CliError> {
        let kind = std::fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
        if !kind.is_symlink() {
            return Ok(());
        }
        let target = path.canonicalize().map_err(|error| {
            CliError::new(format!("the link {} leads nowhere: {error}", path.display())).help("remove or mend it")
        })?;
        if target.starts_with(&self.real) {
            return Ok(());
        }
        Err(CliError::new(format!("the link {} leads out of its recipe", path.display()))
            .note(format!("to {}", target.display()))
            .help("copy what it points to into the recipe's folder"))
    }
}

/// What editors and other tools leave in a folder, and nobody wants elsewhere.
pub(super) fn is_left_behind(name: &str) -> bool {
    let backup = name.ends_with('~') || name.starts_with('#') && name.ends_with('#') || name.starts_with(".#");
    let swap = name.starts_with('.') && (name.ends_with(".swp") || name.ends_with(".swo"));
    LEFT_BEHIND.contains(&name) || backup || swap || Path::new(name).extension().is_some_and(|e| e == "pyc")
}

fn hash_file(path: &Path, executable: bool) -> Result<FileRef, CliError> {
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0_u64;
    loop {
        let count = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(path, &error)),
        };
        size += u64::try_from(count).unwrap_or_default();
        if size > MAX_FILE_BYTES {
            return Err(CliError::new(format!("{} is larger than {} GiB", path.display(), MAX_FILE_BYTES >> 30))
                .help("let the recipe's `deploy` fetch files of this size"));
        }
        hasher.update(chunk.get(..count).unwrap_or_default());
    }
    Ok(FileRef { hash: super::hash(&hasher.finalize())?, size, executable })
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn walk(folder: &Path) -> Result<RecipeFiles, CliError> {
        let mut count = 0;
        let real = folder.canonicalize().unwrap();
        let mut walk = Walk { real, files: BTreeMap::new(), count: &mut count, found: &mut |_, _| {} };
        walk.folder(folder, "", 0)?;
        Ok(walk.files)
    }

    #[test]
    fn leftovers_stay_at_home_and_modes_travel() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a.py", "a.pyc", "b~", "#c#", ".d.swp", ".#e", "__pycache__/f", ".git/g", "sub/run.sh", ".env"] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.join("sub/run.sh"), mode).unwrap();
        symlink("a.py", root.join("link.py")).unwrap();
        let files = walk(root).unwrap();
        let seen: Vec<_> = files.iter().map(|(path, file)| (path.as_str(), file.executable)).collect();
        assert_eq!(seen, [(".env", false), ("a.py", false), ("link.py", false), ("sub/run.sh", true)]);
        let hash = |name: &str| &files[&RelativePath::new(name).unwrap()].hash;
        assert_eq!(hash("link.py"), hash("a.py"));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let check = |make: &dyn Fn(&Path), expect: &str| {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path());
            let error = walk(folder.path()).unwrap_err();
            assert!(error.what().contains(expect), "{error:?}");
        };
        check(&|root| symlink("/etc/hostname", root.join("out")).unwrap(), "out leads out of its recipe");
        check(&|root| symlink("nowhere", root.join("bad")).unwrap(), "bad leads nowhere");
        check(&|root| symlink(".", root.join("loop")).unwrap(), "nested more than 32 folders");
        check(&|root| drop(std::os::unix::net::UnixListener::bind(root.join("s")).unwrap()), "s is neither a file");
    }
}
