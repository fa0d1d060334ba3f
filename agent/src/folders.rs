//! Where everything of an agent lies on disk.
//!
//! ```text
//! <state>/lock  manager  device  ssh_ca.pub  token  ledger/  identity/  files/<hash>  uploads/<wish>.json  log/agent.log
//! <state>/log-backup  upgrade/
//! <state>/instances/<application>/<segment>/<segment>/@recipe  @data  @logs  @runs/<run>  @context.json
//! ```
//!
//! No application or instance name starts with `@`, so no two instances ever share a folder, and a child's folder
//! is never taken for a part of its parent's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use robo_model::spec::InstanceKey;

use crate::keeper::record::RunFolder;
use crate::keeper::user::User;
use crate::lock;
use crate::order::RunId;

/// Folders are for the agent alone.
const PRIVATE: u32 = 0o700;

/// A folder on the way to one that belongs to another user: may be passed through, not listed.
const PASSAGE: u32 = 0o711;

/// Deepest folder that is searched for runs: the application's, and one for each level of an instance path.
const MAX_DEPTH: usize = robo_model::limits::MAX_INSTANCE_DEPTH + 1;

/// The name of [`InstanceFolder::managed_file`].
const MANAGED: &str = "@files.json";

/// The folders of one agent.
#[derive(Debug, Clone)]
pub struct Folders {
    root: PathBuf,
}

/// The folders of one instance.
#[derive(Debug, Clone)]
pub struct InstanceFolder {
    instances: PathBuf,
    path: PathBuf,
}

impl Folders {
    /// The folders below `state_dir`; nothing is made yet.
    #[must_use]
    pub fn new(state_dir: impl AsRef<Path>) -> Self {
        let given = state_dir.as_ref();
        Self { root: std::path::absolute(given).unwrap_or_else(|_| given.to_owned()) }
    }

    /// Makes the folders that are always there, for this user alone.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create(&self) -> io::Result<()> {
        self.create_root()?;
        for folder in [self.ledger(), self.identity(), self.files(), self.instances()] {
            create_dir(&folder)?;
        }
        Ok(())
    }

    /// Makes the folder of the agent's own log, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create_log(&self) -> io::Result<()> {
        self.create_root()?;
        create_dir(&self.log())
    }

    fn create_root(&self) -> io::Result<()> {
        if self.root.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&self.root)
    }

    /// Takes the state folder for one agent; nothing when another one has it. It is free when the file is dropped.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let path = self.root.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(lock::take(&file)?.then_some(file))
    }

    /// True while an agent has the state folder. The lock itself is not touched: an agent that starts just then would find
    /// it taken.
    ///
    /// # Errors
    /// When the folder, or the kernel's table of locks (`/proc/locks`), cannot be read.
    pub fn is_locked(&self) -> io::Result<bool> {
        let inode = match fs::metadata(self.root.join("lock")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?.ino().to_string(),
        };
        let table = fs::read_to_string("/proc/locks")?;
        Ok(table.lines().filter_map(|line| holder(line, &inode)).any(is_one_of_ours))
    }

    /// The file with `host:port` of the manager that was dialled last, for who looks at the device.
    #[must_use]
    pub fn manager(&self) -> PathBuf {
        self.root.join("manager")
    }

    /// The file with the device's identity, its name and its project, as the manager said last.
    #[must_use]
    pub fn bearer(&self) -> PathBuf {
        self.root.join("device")
    }

    /// The file with the key by which the manager's certificates for SSH are known, as the manager said last.
    #[must_use]
    pub fn ssh_authority(&self) -> PathBuf {
        self.root.join("ssh_ca.pub")
    }

    /// The file with what the manager switched off here.
    #[must_use]
    pub fn switches(&self) -> PathBuf {
        self.root.join("switches")
    }

    /// The file in which an enrolment token may wait for the agent; it goes once the device has come with it.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }

    /// The state folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What must survive a crash.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// Key and certificates.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// Files that the manager is to keep, and has not been told of.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The file that says how far the backup of logs is.
    pub(crate) fn log_backup(&self) -> PathBuf {
        self.root.join("log-backup")
    }

    /// What the agent says of itself.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Recipe files by their hash.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// What is kept of upgrades of the agent.
    pub(crate) fn upgrade(&self) -> PathBuf {
        self.root.join("upgrade")
    }

    /// The folders of the instance `key`.
    #[must_use]
    pub fn instance(&self, key: &InstanceKey) -> InstanceFolder {
        let instances = self.instances();
        let mut path = instances.join(key.application.as_str());
        path.extend(key.path.segments());
        InstanceFolder { instances, path }
    }

    /// The folders of every run of every instance that is on disk.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn all_runs(&self) -> io::Result<Vec<RunFolder>> {
        let mut found = Vec::new();
        for folder in self.all_folders()? {
            found.extend(runs_in(&folder.join("@runs"))?);
        }
        Ok(found)
    }

    /// The lists of files of every deployed instance that is on disk.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn all_managed(&self) -> io::Result<Vec<PathBuf>> {
        let lists = self.all_folders()?.into_iter().map(|folder| folder.join(MANAGED));
        Ok(lists.filter(|list| list.is_file()).collect())
    }

    /// The folder of each instance's output that is on disk, in order, with `application/segment/…`.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn all_logs(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for folder in self.all_folders()? {
            let logs = folder.join("@logs");
            let name = folder.strip_prefix(self.instances()).unwrap_or(&folder).to_string_lossy().into_owned();
            // A link may lead anywhere.
            if fs::symlink_metadata(&logs).is_ok_and(|logs| logs.is_dir()) {
                found.push((name, logs));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The folders of applications and instances.
    fn all_folders(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut open = vec![(self.instances(), 0)];
        while let Some((folder, depth)) = open.pop() {
            for entry in entries(&folder)? {
                let own = entry.file_name().as_encoded_bytes().starts_with(b"@");
                if !own && depth < MAX_DEPTH && entry.file_type()?.is_dir() {
                    open.push((entry.path(), depth + 1));
                }
            }
            found.push(folder);
        }
        Ok(found)
    }

    fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }
}

impl InstanceFolder {
    /// The instance's folder; its children's are inside.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe as deployed.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.path.join("@recipe")
    }

    /// What the instance keeps; its home.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path.join("@data")
    }

    /// Its output.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("@logs")
    }

    /// What its scripts and programs are told.
    #[must_use]
    pub fn context_file(&self) -> PathBuf {
        self.path.join("@context.json")
    }

    /// Which files were deployed, and how they have to be.
    #[must_use]
    pub(crate) fn managed_file(&self) -> PathBuf {
        self.path.join(MANAGED)
    }

    /// The folder of one run.
    #[must_use]
    pub(crate) fn run(&self, run: RunId) -> RunFolder {
        RunFolder::at(self.runs().join(run.0.to_string()))
    }

    /// The folders of all runs that are on disk, newest first.
    pub(crate) fn all_runs(&self) -> io::Result<Vec<RunFolder>> {
        runs_in(&self.runs())
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("@runs")
    }

    /// Makes the folders of the instance; `@data` and `@logs` are `owner`'s, where there is one.
    ///
    /// # Errors
    /// When one cannot be made, or something that is no folder stands in the way.
    pub(crate) fn create(&self, owner: Option<&User>) -> io::Result<()> {
        let below = self.path.strip_prefix(&self.instances).map_err(io::Error::other)?;
        let mut folder = self.instances.clone();
        let mut passages = vec![folder.clone()];
        for part in below {
            folder.push(part);
            create_dir(&folder)?;
            passages.push(folder.clone());
        }
        for folder in [self.data(), self.logs(), self.runs()] {
            create_dir(&folder)?;
        }
        let Some(owner) = owner else { return Ok(()) };
        passages.extend(self.instances.parent().map(Path::to_owned));
        for folder in passages {
            if fs::metadata(&folder)?.permissions().mode() & 0o777 == PRIVATE {
                fs::set_permissions(&folder, fs::Permissions::from_mode(PASSAGE))?;
            }
        }
        owner.give(&self.data())?;
        owner.give(&self.logs())
    }

    /// Removes recipe, data, context and runs; the output stays.
    pub(crate) fn remove_deployed(&self) -> io::Result<()> {
        // The runs go last: while they are there, an undeploy that was cut off finds that its script has run.
        for folder in [self.recipe(), self.path.join("@recipe.new"), self.path.join("@recipe.old"), self.data()] {
            absent_is_fine(fs::remove_dir_all(folder))?;
        }
        for file in [self.context_file(), self.managed_file()] {
            absent_is_fine(fs::remove_file(file))?;
        }
        absent_is_fine(fs::remove_dir_all(self.runs()))
    }

    /// Removes all of the instance, not its children, and the folders that are empty then.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.remove_deployed()?;
        absent_is_fine(fs::remove_dir_all(self.logs()))?;
        for folder in self.path.ancestors().take_while(|f| *f != self.instances) {
            match fs::remove_dir(folder) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                other => absent_is_fine(other)?,
            }
        }
        Ok(())
    }
}

/// Replaces the file `path` by one with `bytes`: after a crash it has the old bytes or the new ones.
///
/// # Errors
/// When it cannot be written; the old file is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, |file| file.sync_all())?;
    // A bare name is in the folder one is in.
    path.parent().map_or(Ok(()), |folder| sync_dir(if folder == Path::new("") { Path::new(".") } else { folder }))
}

/// Replaces the file `path` by one with `bytes`, for readers that look meanwhile; `ready` sees it before they do.
///
/// # Errors
/// When it cannot be written, or is not ready; the old file is then still there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, ready: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // Two may write the same file at a time; each has a name of its own until it is ready.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    absent_is_fine(fs::remove_file(&temporary))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| ready(&file)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is half written helps nobody, least on a full disk.
        absent_is_fine(fs::remove_file(&temporary))?;
    }
    written
}

/// Makes renames and new files in `folder` durable.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes one folder for the agent alone. One that is there already is fine; a link or a file is not.
pub(crate) fn create_dir(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(folder)?.is_dir() {
                return Ok(());
            }
            let what = format!("`{}` is in the way: it is not a folder", folder.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
        }
        other => other,
    }
}

pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Who holds the file of this inode, as a line of `/proc/locks` has it. Of the device it lies on some file systems tell
/// another number here than elsewhere.
fn holder(line: &str, inode: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else { return None };
    (file.rsplit(':').next() == Some(inode)).then(|| process.parse().ok())?
}

/// The same inode of another file system may be locked by somebody else.
fn is_one_of_ours(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with("robo"))
}

fn runs_in(folder: &Path) -> io::Result<Vec<RunFolder>> {
    let mut numbers: Vec<u64> = entries(folder)?.iter().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers.into_iter().map(|n| RunFolder::at(folder.join(n.to_string()))).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
        Ok(entries) => entries.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_locks_is_read() {
        let check = |line: &str, expect: Option<u32>| assert_eq!(holder(line, "131"), expect, "{line}");
        check("1: FLOCK  ADVISORY  WRITE 42 08:01:131 0 EOF", Some(42));
        check("1: FLOCK  ADVISORY  WRITE 42 08:01:1131 0 EOF", None);
        check("1: -> FLOCK  ADVISORY  WRITE 42 08:01:131 0 EOF", None);
        check("1: POSIX  ADVISORY  WRITE 42 08:01:131 0 EOF", None);
        check("1: FLOCK  ADVISORY  WRITE x 08:01:131 0 EOF", None);
        check("", None);
    }

    fn key(path: &str) -> InstanceKey {
        InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
    }

    #[test]
    fn instances_never_share_a_folder() {
        let folders = Folders::new("/s");
        let path = |p: &str| folders.instance(&key(p)).path().to_owned();
        assert_eq!(path("/a/b_c"), Path::new("/s/instances/shop/a/b_c"));
        assert_ne!(path("/a/b_c"), path("/a_b/c"));
        assert_eq!(folders.instance(&key("/a b")).run(RunId(7)).path(), Path::new("/s/instances/shop/a b/@runs/7"));
    }

    #[test]
    fn removing_a_parent_leaves_its_children() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Folders::new(temporary.path());
        folders.create().unwrap();
        let (parent, child) = (folders.instance(&key("/vm")), folders.instance(&key("/vm/db")));
        parent.create(None).unwrap();
        child.create(None).unwrap();
        parent.remove().unwrap();
        assert!(child.data().is_dir() && !parent.data().exists());
        child.remove().unwrap();
        assert_eq!(fs::read_dir(folders.instances()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_way_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Folders::new(temporary.path());
        folders.create().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folders.instances().join("shop")).unwrap();
        let error = folders.instance(&key("/vm")).create(None).unwrap_err();
        assert!(error.to_string().contains("is in the way"), "{error}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a.json");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    }
}
