//! The files of deployed recipes, looked at again and again: what somebody changed behind our back is drift.
//!
//! When a deploy step is done, a list of its files with their hashes lies beside the recipe's folder; it counts from
//! there on, also for the next agent. A look asks the kernel for each file's times and number, and reads only what moved.
//! A file that the deploy script itself changed or removed is right as the script left it; files that are not in the
//! list are nobody's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use robo_model::spec::{FileHash, InstanceKey, RecipeFiles, RelativePath};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Shared, explain, in_background};
use crate::folders::{Folders, InstanceFolder, absent_is_fine, write_atomic};
use crate::order::Report;

/// Time from one look to the next: what somebody changes is seen within seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// After a look comes a pause of at least so many times as long: looking costs at most five hundredths of a processor,
/// however many files there are and however large is what has to be read.
const REST: u32 = 20;

/// Most files of one instance that a report names; the rest is counted.
const MAX_NAMED: usize = 20;

/// Largest list that is read: [`robo_model::limits::MAX_RECIPE_FILES`] of the longest paths that are usual.
const MAX_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// Others have no business with it.
const PRIVATE: u32 = 0o600;

/// The files of a deployed instance, as they have to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Managed {
    key: InstanceKey,
    files: BTreeMap<RelativePath, Expected>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    hash: FileHash,
    size: u64,
    executable: bool,
    /// How it looked when it had this hash.
    #[serde(default)]
    seen: Print,
}

/// What moves when somebody writes to a file, or puts another one in its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Print {
    number: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Print {
    fn from(file: &Metadata) -> Self {
        Self {
            number: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// What the next look has to know of an instance.
#[derive(Debug)]
pub(super) enum News {
    /// It was deployed.
    Deployed(Managed),
    /// It is being deployed or undeployed.
    Left,
    /// Nothing is left of it.
    Gone,
    /// What was told of its files may have been passed over; if something is wrong, it is told again.
    TellAgain,
}

impl Shared {
    /// The files of `key` are about to change, by us.
    pub(super) async fn leave_files(&self, key: &InstanceKey) -> Result<(), String> {
        self.note_files(key, News::Left);
        let list = self.folders.instance(key).managed_file();
        in_background(move || absent_is_fine(fs::remove_file(&list)).map_err(|e| explain("remove", &list, &e))).await
    }

    /// Nothing is left of `key`.
    pub(super) fn forget_files(&self, key: &InstanceKey) {
        self.note_files(key, News::Gone);
    }

    /// The deploy step of `key` is done, and its files are as they have to be.
    pub(super) async fn manage_files(&self, key: &InstanceKey, files: &RecipeFiles) -> Result<(), String> {
        let (folder, key, files) = (self.folders.instance(key), key.clone(), files.clone());
        let managed = in_background(move || take_down(&folder, key, &files)).await?;
        let key = managed.key.clone();
        self.note_files(&key, News::Deployed(managed));
        Ok(())
    }

    /// True when the file was in place after the deploy step of `key`, as far as anybody knows: that step may remove files.
    pub(super) fn was_deployed(&self, key: &InstanceKey, path: &RelativePath) -> bool {
        read(&self.folders.instance(key).managed_file()).map_or(true, |managed| managed.files.contains_key(path))
    }

    /// A step of `key` has ended; while it ran, what was told of its files may have been passed over.
    pub(super) fn tell_files_again(&self, key: &InstanceKey) {
        self.table().files.entry(key.clone()).or_insert(News::TellAgain);
    }

    fn note_files(&self, key: &InstanceKey, news: News) {
        self.table().files.insert(key.clone(), news);
        self.files_moved.notify_one();
    }
}

/// Looks at the files of all deployed instances for as long as the agent runs.
pub(super) async fn watch(shared: Arc<Shared>) {
    let folders = shared.folders.clone();
    let Ok(mut watched) = in_background(move || Ok(Watched::from_disk(&folders))).await else { return };
    loop {
        watched.take(std::mem::take(&mut shared.table().files));
        if watched.instances.is_empty() {
            shared.files_moved.notified().await;
            continue;
        }
        let began = Instant::now();
        let looked = in_background(move || {
            watched.look();
            Ok(watched)
        });
        match looked.await {
            Ok(back) => watched = back,
            Err(error) => return tracing::error!(%error, "the files of recipes are looked at no more"),
        }
        // What we ourselves began to change meanwhile is no drift.
        watched.take(std::mem::take(&mut shared.table().files));
        for (key, changes) in watched.news() {
            shared.report(Report::Drift { key, changes }).await;
        }
        tokio::time::sleep(LOOK_EVERY.max(began.elapsed() * REST)).await;
    }
}

/// All instances that are looked at.
#[derive(Debug)]
struct Watched {
    folders: Folders,
    instances: BTreeMap<InstanceKey, Instance>,
    /// Those of which something was told when they were left: the report may come after the deploy step that put it
    /// right, so that they are told right as well.
    owed: BTreeSet<InstanceKey>,
}

#[derive(Debug)]
struct Instance {
    recipe: PathBuf,
    files: Vec<Looked>,
    /// What is wrong, since the last look; nothing before the first one.
    changes: Option<Vec<String>>,
    /// What was reported last; nothing when that may not have counted.
    told: Option<Vec<String>>,
}

/// A file that is looked at.
#[derive(Debug)]
struct Looked {
    path: RelativePath,
    expected: Expected,
    finding: Finding,
    /// How it looked when it was read and was another one.
    wrong: Option<Print>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Right,
    Changed,
    Removed,
    NotExecutable,
}

impl Watched {
    fn from_disk(folders: &Folders) -> Self {
        let mut watched = Self { folders: folders.clone(), instances: BTreeMap::new(), owed: BTreeSet::new() };
        let lists = folders.all_managed().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for the files of deployed recipes");
            Vec::new()
        });
        for list in lists {
            match read(&list) {
                // What the former agent told is not known.
                Ok(managed) => watched.add(managed, None),
                Err(error) => tracing::warn!(list = %list.display(), %error, "the files of a recipe are not looked at"),
            }
        }
        watched
    }

    fn add(&mut self, managed: Managed, told: Option<Vec<String>>) {
        let recipe = self.folders.instance(&managed.key).recipe();
        let looked = |(path, expected)| Looked { path, expected, finding: Finding::Right, wrong: None };
        let files = managed.files.into_iter().map(looked).collect();
        self.instances.insert(managed.key, Instance { recipe, files, changes: None, told });
    }

    fn take(&mut self, news: BTreeMap<InstanceKey, News>) {
        for (key, news) in news {
            match news {
                News::Deployed(managed) => {
                    self.leave(&key);
                    // Whoever hears that the deploy step is done takes all for right.
                    let told = if self.owed.remove(&key) { None } else { Some(Vec::new()) };
                    self.add(managed, told);
                }
                News::Left => self.leave(&key),
                News::Gone => {
                    self.instances.remove(&key);
                    self.owed.remove(&key);
                }
                News::TellAgain => {
                    if let Some(instance) = self.instances.get_mut(&key) {
                        instance.told.take_if(|told| !told.is_empty());
                    }
                }
            }
        }
    }

    fn leave(&mut self, key: &InstanceKey) {
        let left = self.instances.remove(key);
        if left.and_then(|instance| instance.told).is_some_and(|told| !told.is_empty()) {
            self.owed.insert(key.clone());
        }
    }

    fn look(&mut self) {
        for instance in self.instances.values_mut() {
            for file in &mut instance.files {
                file.look(&instance.recipe);
            }
            instance.changes = Some(instance.lines());
        }
    }

    /// What has to be reported, each once.
    fn news(&mut self) -> Vec<(InstanceKey, Vec<String>)> {
        let looked = self.instances.iter_mut().filter(|(_, instance)| instance.changes.is_some());
        let moved = looked.filter(|(_, instance)| instance.changes != instance.told);
        let told = moved.filter_map(|(key, instance)| {
            instance.told.clone_from(&instance.changes);
            Some((key.clone(), instance.told.clone()?))
        });
        told.collect()
    }
}

impl Instance {
    fn lines(&self) -> Vec<String> {
        let mut wrong = self.files.iter().filter_map(|file| {
            let what = match file.finding {
                Finding::Right => return None,
                Finding::Changed => "changed",
                Finding::Removed => "removed",
                Finding::NotExecutable => "is no longer executable",
            };
            Some(format!("{} {what}", file.path))
        });
        let mut lines: Vec<String> = wrong.by_ref().take(MAX_NAMED).collect();
        let more = wrong.count();
        if more > 0 {
            lines.push(format!("and {more} more files"));
        }
        lines
    }
}

impl Looked {
    /// Where it cannot be read, what was found before stays.
    fn look(&mut self, recipe: &Path) {
        let path = recipe.join(self.path.as_str());
        let file = match fs::symlink_metadata(&path) {
            Ok(file) => file,
            Err(e) if is_absent(&e) => {
                self.finding = Finding::Removed;
                return;
            }
            Err(_) => return,
        };
        let print = Print::from(&file);
        let same = if !file.is_file() || print.size != self.expected.size {
            Some(false)
        } else if print == self.expected.seen {
            Some(true)
        } else if self.wrong == Some(print) {
            Some(false)
        } else {
            hash(&path).ok().map(|found| found == self.expected.hash)
        };
        let lost = self.expected.executable && file.mode() & 0o111 == 0;
        self.finding = match same {
            None => return,
            Some(false) => {
                self.wrong = Some(print);
                Finding::Changed
            }
            Some(true) => {
                self.expected.seen = print;
                if lost { Finding::NotExecutable } else { Finding::Right }
            }
        };
    }
}

/// Writes the list of an instance's files as they are now.
fn take_down(folder: &InstanceFolder, key: InstanceKey, files: &RecipeFiles) -> Result<Managed, String> {
    let recipe = folder.recipe();
    let mut managed = Managed { key, files: BTreeMap::new() };
    for path in files.keys() {
        let place = recipe.join(path.as_str());
        match describe(&place) {
            Ok(Some(expected)) => drop(managed.files.insert(path.clone(), expected)),
            // The deploy script took it away, or made a folder or a link of it.
            Ok(None) => {}
            Err(error) => return Err(explain("read the recipe file", &place, &error)),
        }
    }
    let list = folder.managed_file();
    let bytes = serde_json::to_vec(&managed).map_err(|e| e.to_string())?;
    write_atomic(&list, &bytes, PRIVATE).map_err(|e| explain("write", &list, &e))?;
    Ok(managed)
}

fn describe(path: &Path) -> io::Result<Option<Expected>> {
    let file = match fs::symlink_metadata(path) {
        Err(e) if is_absent(&e) => return Ok(None),
        other => other?,
    };
    if !file.is_file() {
        return Ok(None);
    }
    let seen = Print::from(&file);
    Ok(Some(Expected { hash: hash(path)?, size: file.len(), executable: file.mode() & 0o100 != 0, seen }))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(list: &Path) -> io::Result<Managed> {
    let mut bytes = Vec::new();
    File::open(list)?.take(MAX_LIST_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn hash(path: &Path) -> io::Result<FileHash> {
    // The folder may belong to the user that scripts run as: no link is followed, and no pipe is waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return FileHash::new(hex::encode(hasher.finalize())).map_err(io::Error::other);
        }
        hasher.update(piece.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Bench {
        _temporary: tempfile::TempDir,
        folders: Folders,
        recipe: PathBuf,
        watched: Watched,
    }

    fn key() -> InstanceKey {
        InstanceKey { application: "shop".parse().unwrap(), path: "/vm/web".parse().unwrap() }
    }

    impl Bench {
        /// An instance with these files, as after its deploy step.
        fn new(files: &[&str]) -> Self {
            let temporary = tempfile::tempdir().unwrap();
            let folders = Folders::new(temporary.path());
            folders.create().unwrap();
            let instance = folders.instance(&key());
            let recipe = instance.recipe();
            let file = |path: &&str| {
                let place = recipe.join(path);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(&place, path).unwrap();
                fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
                let hash = hash(&place).unwrap();
                (RelativePath::new(*path).unwrap(), robo_model::spec::FileRef { hash, size: 0, executable: true })
            };
            let files: RecipeFiles = files.iter().map(file).collect();
            take_down(&instance, key(), &files).unwrap();
            let watched = Watched::from_disk(&folders);
            Self { _temporary: temporary, folders, recipe, watched }
        }

        /// What the next look reports; nothing when that was told before.
        fn look(&mut self) -> Option<String> {
            self.watched.look();
            self.watched.news().pop().map(|(_, lines)| lines.join("; "))
        }

        fn told(&mut self, expect: &str) {
            assert_eq!(self.look().as_deref(), Some(expect));
            assert_eq!(self.look(), None, "once");
        }
    }

    #[test]
    fn what_is_changed_is_told_once_and_what_is_put_right_too() {
        let mut bench = Bench::new(&["a", "files/b", "scripts/c"]);
        bench.told("");
        let [a, b, c] = ["a", "files/b", "scripts/c"].map(|path| bench.recipe.join(path));
        fs::write(&a, "x").unwrap();
        bench.told("a changed");
        fs::write(&a, "much more").unwrap();
        assert_eq!(bench.look(), None, "it is as wrong as before");
        fs::remove_file(&b).unwrap();
        fs::set_permissions(&c, fs::Permissions::from_mode(0o600)).unwrap();
        bench.told("a changed; files/b removed; scripts/c is no longer executable");
        fs::remove_dir(b.parent().unwrap()).unwrap();
        fs::write(bench.recipe.join("new"), "").unwrap();
        assert_eq!(bench.look(), None);
        fs::create_dir(b.parent().unwrap()).unwrap();
        for (place, text) in [(&a, "a"), (&b, "files/b")] {
            fs::write(place, text).unwrap();
        }
        for place in [&b, &c] {
            fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bench.told("");
    }

    #[test]
    fn a_link_is_no_file() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.told("");
        let [a, b] = ["a", "b"].map(|path| bench.recipe.join(path));
        fs::rename(&a, bench.recipe.join("moved")).unwrap();
        std::os::unix::fs::symlink("moved", &a).unwrap();
        fs::remove_file(&b).unwrap();
        fs::create_dir(&b).unwrap();
        bench.told("a changed; b changed");
    }

    #[test]
    fn the_next_agent_sees_what_changed_meanwhile() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.told("");
        fs::write(bench.recipe.join("a"), "x").unwrap();
        // The same bytes in another file are right.
        fs::write(bench.recipe.join("new"), "b").unwrap();
        fs::set_permissions(bench.recipe.join("new"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(bench.recipe.join("new"), bench.recipe.join("b")).unwrap();
        bench.watched = Watched::from_disk(&bench.folders);
        bench.told("a changed");
        bench.watched.take([(key(), News::TellAgain)].into());
        bench.told("a changed");
        // What is deployed anew is told right, for the report of what was wrong may come late.
        bench.watched.take([(key(), News::Left)].into());
        assert_eq!(bench.look(), None);
        let list = bench.folders.instance(&key()).managed_file();
        fs::write(bench.recipe.join("a"), "a").unwrap();
        bench.watched.take([(key(), News::Deployed(read(&list).unwrap()))].into());
        bench.told("");
        bench.watched.take([(key(), News::Deployed(read(&list).unwrap()))].into());
        assert_eq!(bench.look(), None);
        bench.watched.take([(key(), News::Gone)].into());
        assert!(bench.watched.instances.is_empty() && bench.watched.owed.is_empty());
        // A list that cannot be read is nobody's end.
        fs::write(bench.folders.instance(&key()).managed_file(), "{").unwrap();
        assert!(Watched::from_disk(&bench.folders).instances.is_empty());
    }

    #[test]
    fn a_report_is_bounded() {
        let names: Vec<String> = (0..50).map(|i| format!("{i:02}")).collect();
        let mut bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        fs::remove_dir_all(&bench.recipe).unwrap();
        let told = bench.look().unwrap();
        assert!(
            told.starts_with("00 removed; 01 removed") && told.ends_with("19 removed; and 30 more files"),
            "{told}"
        );
    }
}
