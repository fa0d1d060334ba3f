//! From an uploaded bundle to what is wished: the manager compiles again, it is the authority.

use std::collections::BTreeMap;

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
    let mut loader = Sources { files, sources: &bundle.sources };
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
    sources: &'a BTreeMap<RelativePath, FileRef>,
}

impl Loader for Sources<'_> {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let relative = RelativePath::new(path).map_err(|e| e.to_string())?;
        let file = self.sources.get(&relative).ok_or("it is not part of the upload")?;
        std::fs::read(self.files.path(&file.hash)).map_err(|error| {
            tracing::error!(path, hash = %file.hash, %error, "an uploaded source cannot be read");
            "the manager cannot read it".to_owned()
        })
    }
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
