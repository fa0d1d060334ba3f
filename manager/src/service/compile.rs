//! From an uploaded bundle to what is wished: the manager compiles again, it is the authority.

use std::collections::{BTreeMap, BTreeSet};

use robo_dsl::{CompileOptions, Compiled, Loader, Severity, compile_file_with, compile_project_with};
use robo_model::limits::{MAX_RECIPE_FILES, MAX_SOURCE_BYTES};
use robo_model::spec::{FileRef, RelativePath};
use robo_wire::api::{Bundle, Entry};

use super::error::{GraphErrors, ServiceError};
use crate::files::Files;
use crate::plan::Desired;

/// Most source files of one application.
const MAX_SOURCES: usize = 10_000;

/// Most errors of a graph that are told; the client has shown all of them before.
const MAX_ERRORS: usize = 20;

/// Compiles the bundle. Reads files and computes for long: not for the runtime's own threads.
pub(super) fn compile(files: &Files, bundle: &Bundle) -> Result<Desired, ServiceError> {
    check_bounds(bundle)?;
    check_files(files, bundle)?;
    let options = CompileOptions { default_name: bundle.default_name.clone(), properties: bundle.properties.clone() };
    let mut loader = Sources { files, bundle, all: listed(bundle) };
    let compiled = match &bundle.entry {
        Entry::File(path) => compile_file_with(path.as_str(), &options, &mut loader),
        Entry::Project => compile_project_with(&options, &mut loader),
    };
    match compiled.application {
        Some(application) => Ok(Desired { application, recipes: bundle.recipes.clone() }),
        None => Err(ServiceError::Graph(errors(&compiled))),
    }
}

/// Reads the sources out of the store of files.
struct Sources<'a> {
    files: &'a Files,
    bundle: &'a Bundle,
    /// Every file of the upload, sorted.
    all: Vec<String>,
}

impl Loader for Sources<'_> {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let relative = RelativePath::new(path).map_err(|e| e.to_string())?;
        let file = self.bundle.sources.get(&relative).ok_or("it is not part of the upload")?;
        std::fs::read(self.files.path(&file.hash)).map_err(|error| {
            tracing::error!(path, hash = %file.hash, %error, "an uploaded source cannot be read");
            "the manager cannot read it".to_owned()
        })
    }

    fn has_folder(&mut self, path: &str) -> bool {
        has_folder(self.bundle, &self.all, path)
    }

    fn files(&mut self, path: &str) -> Option<Vec<String>> {
        Some(below(&self.all, path).to_vec())
    }
}

/// The folder that the recipes' folders are in, empty or with `/` at its end: beside the entry file, or in `graph/`.
const fn recipes_root(bundle: &Bundle) -> &'static str {
    match bundle.entry {
        Entry::File(_) => "",
        Entry::Project => "graph/",
    }
}

/// Whether the folder was there. Folders without files are not uploaded: in a recipe any may have been there, and
/// who uploaded it has looked.
fn has_folder(bundle: &Bundle, all: &[String], path: &str) -> bool {
    let recipe = path.strip_prefix(recipes_root(bundle)).map(|below| below.split('/').next().unwrap_or(below));
    recipe.is_some_and(|recipe| bundle.recipes.contains_key(recipe)) || !below(all, path).is_empty()
}

/// Of sorted paths those below a folder.
fn below<'a>(all: &'a [String], folder: &str) -> &'a [String] {
    if folder.is_empty() {
        return all;
    }
    let prefix = format!("{folder}/");
    let start = all.partition_point(|path| path.as_str() < prefix.as_str());
    let rest = all.get(start..).unwrap_or_default();
    rest.get(..rest.partition_point(|path| path.starts_with(&prefix))).unwrap_or_default()
}

/// The files of the upload, sorted: sources, and recipes where they were.
fn listed(bundle: &Bundle) -> Vec<String> {
    let root = recipes_root(bundle);
    let recipes =
        bundle.recipes.iter().flat_map(|(name, files)| files.keys().map(move |file| format!("{root}{name}/{file}")));
    let sources = bundle.sources.keys().map(|source| source.as_str().to_owned());
    sources.chain(recipes).collect::<BTreeSet<String>>().into_iter().collect()
}

fn check_bounds(bundle: &Bundle) -> Result<(), ServiceError> {
    let recipe_files = bundle.recipes.values().map(BTreeMap::len).sum();
    for (what, count, max) in
        [("sources", bundle.sources.len(), MAX_SOURCES), ("recipe files", recipe_files, MAX_RECIPE_FILES)]
    {
        if count > max {
            return Err(ServiceError::TooManyFiles { what, count, max });
        }
    }
    let too_large = |file: &FileRef| file.size > MAX_SOURCE_BYTES as u64;
    match bundle.sources.iter().find(|(_, file)| too_large(file)) {
        None => Ok(()),
        Some((path, file)) => {
            Err(ServiceError::SourceTooLarge { path: path.clone(), bytes: file.size, max: MAX_SOURCE_BYTES })
        }
    }
}

/// Every file of the bundle is there, and as large as the bundle says.
fn check_files(files: &Files, bundle: &Bundle) -> Result<(), ServiceError> {
    let mut missing = Vec::new();
    for file in bundle.sources.values().chain(bundle.recipes.values().flat_map(BTreeMap::values)) {
        match files.size(&file.hash)? {
            None => missing.push(file.hash.clone()),
            Some(size) if size == file.size => {}
            Some(found) => return Err(ServiceError::WrongSize { hash: file.hash.clone(), said: file.size, found }),
        }
    }
    missing.sort();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { Err(ServiceError::FilesMissing(missing)) }
}

fn errors(compiled: &Compiled) -> GraphErrors {
    let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    let line = |diagnostic: &&robo_dsl::Diagnostic| {
        let place = compiled.sources.get(diagnostic.file.0).map_or_else(String::new, |source| {
            let at = source.position(diagnostic.span.start);
            format!(" {}:{}:{}", source.name, at.line, at.column)
        });
        format!("{}{place}: {}", diagnostic.code, diagnostic.message)
    };
    GraphErrors { lines: errors.iter().take(MAX_ERRORS).map(line).collect(), count: errors.len() }
}

#[cfg(test)]
mod tests {
    use robo_model::name::ComponentName;
    use robo_model::spec::FileHash;

    use super::*;

    #[test]
    fn an_upload_lists_what_was_beside_the_graph() {
        let path = |text: &str| RelativePath::new(text).unwrap();
        let file = FileRef { hash: FileHash::new("0".repeat(64)).unwrap(), size: 0, executable: false };
        let name = |text: &str| ComponentName::new(text).unwrap();
        let mut bundle = Bundle {
            entry: Entry::Project,
            default_name: None,
            properties: BTreeMap::new(),
            sources: ["graph/main.graph", "graph/VM/t.properties"].map(|p| (path(p), file.clone())).into(),
            recipes: BTreeMap::from([
                (name("VM"), BTreeMap::from([(path("t.properties"), file.clone())])),
                (name("Db"), BTreeMap::from([(path("scripts/a"), file.clone())])),
                (name("Empty"), BTreeMap::new()),
            ]),
        };
        let all = ["graph/Db/scripts/a", "graph/VM/t.properties", "graph/main.graph"];
        let found = listed(&bundle);
        assert_eq!(below(&found, ""), all);
        assert_eq!(below(&found, "graph"), all);
        assert_eq!(below(&found, "graph/Db"), ["graph/Db/scripts/a"]);
        for (folder, there) in [
            ("graph", true),
            ("graph/Empty", true),
            ("graph/Db/scripts", true),
            ("graph/Empty/scripts", true),
            ("graph/No", false),
            ("instances", false),
        ] {
            assert_eq!(has_folder(&bundle, &found, folder), there, "{folder}");
        }
        bundle.entry = Entry::File(path("app.graph"));
        let found = listed(&bundle);
        assert_eq!(below(&found, "Db"), ["Db/scripts/a"]);
        assert!(has_folder(&bundle, &found, "Empty") && !has_folder(&bundle, &found, "graph/Empty"));
    }
}
