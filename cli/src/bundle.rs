//! What an apply sends: the graph, compiled here first, and the recipe files of its components.
//!
//! - `check`: the same for `robo check`, which sends nothing and also takes instances alone.
//! - `folder`: which files a folder has.
//! - `locate`: which file or folder is meant, and what the application is called by default.
//! - `recipes`: the files of the recipes, found and hashed.
//!
//! Files are known by their SHA-256, so that only those go over the wire that the manager lacks.

mod check;
mod folder;
mod locate;
mod recipes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use robo_dsl::{CompileOptions, Compiled, Loader};
use robo_model::graph::Application;
use robo_model::limits::MAX_SOURCE_BYTES;
use robo_model::spec::{FileHash, FileRef, RelativePath};
use robo_wire::api::{Bundle, Entry};
use sha2::{Digest as _, Sha256};

pub(crate) use check::{Checked, check, check_with_graph};
pub(crate) use locate::Located;

use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::output::{Ui, diagnostics};
use crate::progress::BytesBar;

/// Uploads at the same time: hides the round trips of many small files, and keeps few files open.
const UPLOADS_AT_ONCE: usize = 8;

/// Bytes read from a file at once.
const READ_CHUNK: usize = 64 * 1024;

/// A graph, read and compiled.
#[derive(Debug)]
pub(crate) struct Graph {
    located: Located,
    properties: BTreeMap<String, String>,
    sources: BTreeMap<RelativePath, Vec<u8>>,
    /// The application, and what is wrong with it; file names are as seen from the working directory.
    pub(crate) compiled: Compiled,
}

/// A bundle, and where the files in it are.
#[derive(Debug)]
pub(crate) struct Packed {
    /// What the manager gets.
    pub(crate) bundle: Bundle,
    contents: BTreeMap<FileHash, Content>,
}

/// The bytes of one file.
#[derive(Debug)]
struct Content {
    size: u64,
    from: From,
}

#[derive(Debug)]
enum From {
    Memory(Bytes),
    Disk(PathBuf),
}

/// Reads and compiles what `path` means. Mistakes in the graph are in the result and not an error.
///
/// # Errors
/// When `path` is no graph file and no folder of one, or cannot be read.
pub(crate) fn compile(path: &Path, properties: &BTreeMap<String, String>) -> Result<Graph, CliError> {
    compile_for(path, properties, Purpose::Apply)
}

/// [`compile`] for what need not be an application: a reusable recipe, or a file that stands beside a graph.
///
/// # Errors
/// As there.
pub(crate) fn compile_to_check(path: &Path, properties: &BTreeMap<String, String>) -> Result<Graph, CliError> {
    compile_for(path, properties, Purpose::Check)
}

/// What a graph is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Apply,
    Check,
}

fn compile_for(path: &Path, properties: &BTreeMap<String, String>, purpose: Purpose) -> Result<Graph, CliError> {
    let located = locate::locate(path)?;
    let mut reader = Reader::new(&located.root, true);
    let options = CompileOptions { default_name: located.default_name.clone(), properties: properties.clone() };
    let mut compiled = match (&located.entry, purpose) {
        (Entry::File(entry), Purpose::Apply) => robo_dsl::compile_file_with(entry.as_str(), &options, &mut reader),
        (Entry::File(entry), Purpose::Check) => robo_dsl::compile_any(entry.as_str(), &options, &mut reader),
        (Entry::Project, Purpose::Check) if !located.has_descriptor() => {
            robo_dsl::compile_recipe_with(&options, &mut reader)
        }
        (Entry::Project, _) => robo_dsl::compile_project_with(&options, &mut reader),
    };
    for source in &mut compiled.sources {
        source.name = located.shown(&source.name);
    }
    Ok(Graph { located, properties: properties.clone(), sources: reader.given, compiled })
}

/// [`compile`], and shows what is wrong with the graph.
///
/// # Errors
/// As there, and when the graph has errors: all of them are shown, and nothing is to be sent.
pub(crate) fn compile_checked(path: &Path, properties: &BTreeMap<String, String>, ui: &Ui) -> Result<Graph, CliError> {
    compile_or(path, properties, "nothing was sent", ui)
}

/// [`compile_checked`] for other ends: `otherwise` says what a graph with errors means for them.
///
/// # Errors
/// As there.
pub(crate) fn compile_or(
    path: &Path,
    properties: &BTreeMap<String, String>,
    otherwise: &str,
    ui: &Ui,
) -> Result<Graph, CliError> {
    let graph = compile(path, properties)?;
    let shown = diagnostics::render(&graph.compiled, ui.err, ui.width);
    if !shown.is_empty() {
        ui.note(shown);
    }
    if graph.application().is_none() {
        let counts = diagnostics::Counts::of(&graph.compiled);
        return Err(CliError::new(format!("{} has {counts}; {otherwise}", path.display())));
    }
    Ok(graph)
}

impl Graph {
    /// The application, when the graph has no errors.
    pub(crate) const fn application(&self) -> Option<&Application> {
        self.compiled.application.as_ref()
    }

    /// Finds and hashes the recipe files and makes the bundle.
    ///
    /// # Errors
    /// When the graph has errors, or a recipe's folder holds something that cannot be sent.
    pub(crate) fn pack(&self) -> Result<Packed, CliError> {
        let Some(application) = self.application() else {
            return Err(CliError::new("a graph with errors cannot be sent"));
        };
        let mut contents = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for (path, bytes) in &self.sources {
            let file = file_ref(bytes)?;
            let content = Content { size: file.size, from: From::Memory(Bytes::copy_from_slice(bytes)) };
            contents.insert(file.hash.clone(), content);
            sources.insert(path.clone(), file);
        }
        let recipes = recipes::collect(&self.located.recipes, application, &mut |file, path| {
            let content = Content { size: file.size, from: From::Disk(path) };
            contents.entry(file.hash.clone()).or_insert(content);
        })?;
        let bundle = Bundle {
            entry: self.located.entry.clone(),
            default_name: self.located.default_name.clone(),
            properties: self.properties.clone(),
            sources,
            recipes,
        };
        Ok(Packed { bundle, contents })
    }
}

impl Packed {
    /// Sends the files that the manager lacks.
    ///
    /// # Errors
    /// When the manager cannot be reached or refuses one, or a file changed since it was hashed.
    pub(crate) async fn upload(&self, client: &Client, ui: &Ui) -> Result<(), CliError> {
        let missing = client.missing_files(self.contents.keys().cloned().collect()).await?;
        let missing: Vec<_> = missing.iter().filter_map(|hash| self.contents.get_key_value(hash)).collect();
        let bar = BytesBar::new(ui, missing.len(), missing.iter().map(|(_, content)| content.size).sum());
        let uploads = missing.into_iter().map(|(hash, content)| send(client, hash, content, &bar));
        stream::iter(uploads).buffer_unordered(UPLOADS_AT_ONCE).try_collect::<Vec<()>>().await?;
        bar.finish();
        Ok(())
    }
}

async fn send(client: &Client, hash: &FileHash, content: &Content, bar: &BytesBar) -> Result<(), CliError> {
    match &content.from {
        From::Memory(bytes) => {
            client.put_file(hash, content.size, stream::iter([Ok(bytes.clone())])).await?;
            bar.advance(content.size);
            Ok(())
        }
        From::Disk(path) => {
            let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(path, &error))?;
            let counter = bar.clone();
            let chunks = tokio_util::io::ReaderStream::with_capacity(file, READ_CHUNK).inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    counter.advance(u64::try_from(chunk.len()).unwrap_or_default());
                }
            });
            client.put_file(hash, content.size, chunks).await.map_err(|error| with_file(error, path))
        }
    }
}

fn with_file(error: ClientError, path: &Path) -> CliError {
    CliError::from(error).note(format!("while {} was sent", path.display()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("cannot read {}: {error}", path.display()))
}

fn file_ref(bytes: &[u8]) -> Result<FileRef, CliError> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(FileRef { hash: hash(&Sha256::digest(bytes))?, size, executable: false })
}

fn hash(digest: &[u8]) -> Result<FileHash, CliError> {
    FileHash::new(hex::encode(digest)).map_err(|error| CliError::new(error.to_string()))
}

/// Reads source files below a folder, and may remember them: they are sent too.
struct Reader {
    root: PathBuf,
    /// What need not be read again, and what was given from elsewhere.
    given: BTreeMap<RelativePath, Vec<u8>>,
    keeps: bool,
    /// How many files were read.
    loaded: usize,
}

impl Reader {
    fn new(root: &Path, keeps: bool) -> Self {
        Self { root: root.to_owned(), given: BTreeMap::new(), keeps, loaded: 0 }
    }
}

impl Loader for Reader {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        use std::io::Read as _;
        let relative = RelativePath::new(path).map_err(|error| error.to_string())?;
        if self.keeps {
            if let Some(bytes) = self.given.get(&relative) {
                return Ok(bytes.clone());
            }
        } else if let Some(bytes) = self.given.remove(&relative) {
            return Ok(bytes);
        }
        let limit = u64::try_from(MAX_SOURCE_BYTES).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(self.root.join(path));
        opened.and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(|error| plain(&error))?;
        if bytes.len() > MAX_SOURCE_BYTES {
            return Err(format!("it has more than {MAX_SOURCE_BYTES} bytes"));
        }
        if self.keeps {
            self.given.insert(relative, bytes.clone());
        }
        self.loaded += 1;
        Ok(bytes)
    }

    fn has_folder(&mut self, path: &str) -> bool {
        self.root.join(path).is_dir()
    }

    fn files(&mut self, path: &str) -> Option<Vec<String>> {
        folder::files(&self.root, path)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds are not ours, and the others speak for themselves")]
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        std::io::ErrorKind::PermissionDenied => "it may not be read".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPH: &str = "\
VM {\n\tinstaller: target;\n\tchildren: Db;\n}\n\
Db {\n\tinstaller: script;\n}\n\
instance of VM {\n\tname: vm;\n\tinstance of Db {\n\t\tname: db;\n\t}\n}\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.graph"), GRAPH).unwrap();
        std::fs::create_dir_all(folder.path().join("Db/scripts")).unwrap();
        std::fs::write(folder.path().join("Db/scripts/start.sh"), "true").unwrap();
        folder
    }

    #[test]
    fn a_bundle_holds_sources_and_recipes() {
        let folder = folder();
        let graph = compile(&folder.path().join("shop.graph"), &BTreeMap::new()).unwrap();
        assert_eq!(graph.compiled.diagnostics, []);
        let packed = graph.pack().unwrap();
        assert_eq!(packed.bundle.entry, Entry::File(RelativePath::new("shop.graph").unwrap()));
        assert_eq!(packed.bundle.default_name.as_deref(), Some("shop"));
        assert_eq!(packed.bundle.sources.len(), 1);
        let recipe = packed.bundle.recipes.get("Db").unwrap();
        assert_eq!(recipe.keys().map(RelativePath::as_str).collect::<Vec<_>>(), ["scripts/start.sh"]);
        let hashes: Vec<_> = recipe.values().map(|f| f.hash.as_str()).collect();
        assert_eq!(hashes, ["b5bea41b6c623f7c09f1bf24dcae58ebab3c0cdd90ad966bc43a45b44867e12b"]);
        assert_eq!(packed.contents.len(), 2);
    }

    #[test]
    fn a_project_takes_all_that_was_looked_at_along() {
        let folder = tempfile::tempdir().unwrap();
        let graph = "VM {\n\tinstaller: target;\n\tchildren: Db;\n}\nDb {\n\tinstaller: script;\n}\n";
        for (name, text) in [
            ("descriptor/application.properties", "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=main.graph\n"),
            ("graph/main.graph", graph),
            ("graph/VM/target.properties", "id: t\nhandler: docker\nname: T\n"),
            ("graph/Db/scripts/start.sh", ""),
            ("commands/c.commands", "write a into b\n"),
            ("rules.autonomic/r.drl", "rule \"r\" when e then c end"),
            ("probes/Db.measures", "[event docker e]\n"),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let compiled = compile(folder.path(), &BTreeMap::new()).unwrap();
        assert_eq!(compiled.compiled.diagnostics, []);
        let packed = compiled.pack().unwrap();
        let sources: Vec<&str> = packed.bundle.sources.keys().map(RelativePath::as_str).collect();
        assert_eq!(
            sources,
            [
                "commands/c.commands",
                "descriptor/application.properties",
                "graph/VM/target.properties",
                "graph/main.graph",
                "probes/Db.measures",
                "rules.autonomic/r.drl",
            ]
        );
        assert_eq!(packed.bundle.recipes.len(), 2);
        std::fs::remove_dir_all(folder.path().join("descriptor")).unwrap();
        std::fs::write(folder.path().join("readme"), "").unwrap();
        let codes = |graph: Graph| graph.compiled.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>();
        let applied = codes(compile(folder.path(), &BTreeMap::new()).unwrap());
        assert!(applied.contains(&robo_dsl::Code::NoDescriptorFolder), "{applied:?}");
        assert_eq!(codes(compile_to_check(folder.path(), &BTreeMap::new()).unwrap()), []);
    }

    #[test]
    fn errors_are_told_and_not_packed() {
        let folder = folder();
        std::fs::write(folder.path().join("shop.graph"), GRAPH.replace("instance of Db", "instance of Dbb")).unwrap();
        let graph = compile(folder.path(), &BTreeMap::new()).unwrap();
        assert_eq!(graph.compiled.diagnostics.len(), 1);
        assert!(graph.pack().is_err());
        assert!(graph.compiled.sources[0].name.ends_with("/shop.graph"), "seen from here");
    }

    #[test]
    fn a_missing_file_is_said_plainly() {
        let error = compile(Path::new("no/such.graph"), &BTreeMap::new()).unwrap_err();
        assert_eq!(error.what(), "there is no file or folder no/such.graph");
    }
}
