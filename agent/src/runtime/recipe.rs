//! Brings the recipe's folder to exactly the files of an order.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use robo_model::spec::RelativePath;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Shared, explain, in_background};
use crate::folders::{absent_is_fine, create_dir, sync_dir};
use crate::keeper::user::User;
use crate::order::Order;

/// A file to put in place: where its bytes are, and whether it is executable.
pub(super) type Sources = BTreeMap<RelativePath, (PathBuf, bool)>;

/// Gets local copies of the files of `order`. May be cancelled.
pub(super) async fn fetch(shared: &Shared, order: &Order) -> Result<Sources, String> {
    let mut sources = Sources::new();
    for (path, file) in &order.files {
        let source = shared.files.fetch(file).await.map_err(|e| format!("cannot get the recipe file `{path}`: {e}"))?;
        sources.insert(path.clone(), (source, file.executable || path.as_str().starts_with("scripts/")));
    }
    Ok(sources)
}

/// Makes `sources` the recipe's folder. Until the last moment the old one is there. Not to be cancelled: it would go
/// on behind the back of the next one.
pub(super) async fn place(recipe: PathBuf, sources: Sources, owner: Option<User>) -> Result<(), String> {
    in_background(move || {
        let fresh = recipe.with_file_name("@recipe.new");
        let placed = build(&fresh, &sources, owner.as_ref())
            .and_then(|()| swap(&fresh, &recipe).map_err(|e| explain("put the recipe in place at", &recipe, &e)));
        if placed.is_err() {
            // What is half written helps nobody, least on a full disk; the next try begins anew anyway.
            fs::remove_dir_all(&fresh).ok();
        }
        placed
    })
    .await
}

fn build(fresh: &Path, sources: &Sources, owner: Option<&User>) -> Result<(), String> {
    let begin = || {
        absent_is_fine(fs::remove_dir_all(fresh))?;
        create_dir(fresh)
    };
    begin().map_err(|e| explain("make the folder", fresh, &e))?;
    let mut folders = vec![fresh.to_owned()];
    for (path, (source, executable)) in sources {
        let to = fresh.join(path.as_str());
        let copied = copy(source, &to, *executable, &mut folders, fresh);
        copied.map_err(|e| explain(&format!("write the recipe file `{path}` to"), &to, &e))?;
    }
    folders.iter().try_for_each(|folder| sync_dir(folder).map_err(|e| explain("sync", folder, &e)))?;
    let Some(owner) = owner else { return Ok(()) };
    // Given away only when all is written, and from the inside out: until a folder is theirs, none of its user's
    // processes gets into it, so none can put a link in our way.
    let files = sources.keys().map(|path| fresh.join(path.as_str()));
    let mut given = files.chain(folders.into_iter().rev());
    given.try_for_each(|path| owner.give(&path).map_err(|e| explain("give away", &path, &e)))
}

fn copy(source: &Path, to: &Path, executable: bool, folders: &mut Vec<PathBuf>, fresh: &Path) -> io::Result<()> {
    let parents: Vec<&Path> = to.ancestors().skip(1).take_while(|folder| *folder != fresh).collect();
    for folder in parents.into_iter().rev().filter(|folder| !folder.is_dir()) {
        create_dir(folder)?;
        folders.push(folder.to_owned());
    }
    let mut file = fs::File::options().write(true).create_new(true).open(to)?;
    io::copy(&mut fs::File::open(source)?, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(if executable { 0o700 } else { 0o600 }))?;
    file.sync_all()
}

/// Makes `fresh` the folder `place`, in one instant where the file system can, and removes the old one.
fn swap(fresh: &Path, place: &Path) -> io::Result<()> {
    let old = place.with_file_name("@recipe.old");
    absent_is_fine(fs::remove_dir_all(&old))?;
    if !place.exists() {
        fs::rename(fresh, place)?;
    } else if renameat_with(CWD, fresh, CWD, place, RenameFlags::EXCHANGE).is_ok() {
        fs::remove_dir_all(fresh)?;
    } else {
        fs::rename(place, &old)?;
        fs::rename(fresh, place)?;
        fs::remove_dir_all(&old)?;
    }
    place.parent().map_or(Ok(()), sync_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(folder: &Path, files: &[(&str, bool)]) -> Sources {
        let source = |path: &str| {
            let from = folder.join(path.replace('/', "-"));
            fs::write(&from, path).unwrap();
            from
        };
        files.iter().map(|(path, x)| (RelativePath::new(*path).unwrap(), (source(path), *x))).collect()
    }

    #[test]
    fn the_folder_has_exactly_the_files() {
        let temporary = tempfile::tempdir().unwrap();
        let (recipe, fresh) = (temporary.path().join("@recipe"), temporary.path().join("@recipe.new"));
        let from = temporary.path().join("from");
        fs::create_dir(&from).unwrap();
        for files in [&[("scripts/start.sh", true), ("old", false)][..], &[("files/a/b", false)][..]] {
            // What an interrupted deploy left is no matter.
            fs::create_dir_all(fresh.join("junk")).unwrap();
            build(&fresh, &sources(&from, files), None).unwrap();
            swap(&fresh, &recipe).unwrap();
            for (path, executable) in files {
                let mode = fs::metadata(recipe.join(path)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, if *executable { 0o700 } else { 0o600 }, "{path}");
            }
        }
        assert!(!recipe.join("old").exists() && !recipe.join("junk").exists() && !fresh.exists());
    }

    #[tokio::test]
    async fn what_cannot_be_written_whole_leaves_nothing_and_keeps_the_old_one() {
        let temporary = tempfile::tempdir().unwrap();
        let recipe = temporary.path().join("@recipe");
        let good = sources(temporary.path(), &[("a", false)]);
        place(recipe.clone(), good.clone(), None).await.unwrap();
        let mut cut = good;
        cut.insert(RelativePath::new("b").unwrap(), (temporary.path().join("gone"), false));
        let error = place(recipe.clone(), cut, None).await.unwrap_err();
        assert!(error.contains("`b`"), "{error}");
        assert!(recipe.join("a").exists() && !recipe.join("b").exists());
        assert!(!temporary.path().join("@recipe.new").exists());
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let sources = sources(temporary.path(), &[("a", false), ("a/b", false)]);
        let error = build(&temporary.path().join("@recipe.new"), &sources, None).unwrap_err();
        assert!(error.contains("`a/b`"), "{error}");
    }
}
