//! Roboconf's own files, each with the original's verdict: `conformance.tsv` in the folder that `ROBO_CORPUS` names.
//!
//! One check for each kind of row. A row that no check takes is counted and shown as not tried.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use robo_dsl::{CompileOptions, Diagnostic, Loader, Severity, SourceFile, compile_project_with, syntax_errors};

/// What `${project.version}` of the examples' descriptors stands for.
const VERSION: &str = "0.10-SNAPSHOT";

/// The repository that is held to the row; the other one's rows are not tried yet.
const REPOSITORY: &str = "roboconf/roboconf-examples";

/// One row of the table.
struct Row {
    kind: String,
    repository: String,
    path: String,
    expected: String,
}

/// How one kind of row is tried: the errors found in the file or folder.
type Check = fn(&Path) -> Vec<String>;

const CHECKS: [(&str, Check); 3] =
    [("application", application_errors), ("graph", file_errors), ("instances", file_errors)];

#[test]
fn conformance() {
    let Some(corpus) = std::env::var_os("ROBO_CORPUS").map(|folder| from_root(Path::new(&folder))) else {
        println!("ROBO_CORPUS is not set: conformance was not tried");
        return;
    };
    let table = corpus.join("conformance.tsv");
    let text = fs::read_to_string(&table).unwrap_or_else(|e| panic!("cannot read {}: {e}", table.display()));
    let rows = rows(&text).unwrap_or_else(|e| panic!("{}: {e}", table.display()));
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    let mut not_tried: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in &rows {
        match check_of(row) {
            Some(check) => {
                *tried.entry(&row.kind).or_default() += 1;
                wrong.extend(verdict(row, &check(&corpus.join("roboconf").join(row.folder()).join(&row.path))));
            }
            None => *not_tried.entry(&row.kind).or_default() += 1,
        }
    }
    println!("conformance: tried {tried:?}, not tried yet {not_tried:?}");
    assert!(CHECKS.iter().all(|(kind, _)| tried.contains_key(kind)), "the table lacks a kind: {tried:?}");
    assert!(wrong.is_empty(), "{} rows come out otherwise than in the original:\n{}", wrong.len(), wrong.join("\n"));
}

impl Row {
    /// The repository's folder in the corpus.
    fn folder(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

/// A relative folder counts from the workspace's root, wherever cargo starts the test.
fn from_root(folder: &Path) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the workspace").join(folder)
}

/// Tab separated, the first line names the columns, no quoting.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| head.iter().position(|c| *c == name).ok_or_else(|| format!("no column `{name}`"));
    let (kind, repository, path, expected) = (column("kind")?, column("repo")?, column("path")?, column("expected")?);
    let mut rows = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: usize| match cells.get(at) {
            Some(cell) => Ok((*cell).to_owned()),
            None => Err(format!("line {number} has only {} columns", cells.len())),
        };
        rows.push(Row {
            kind: cell(kind)?,
            repository: cell(repository)?,
            path: cell(path)?,
            expected: cell(expected)?,
        });
    }
    Ok(rows)
}

fn check_of(row: &Row) -> Option<Check> {
    if row.repository != REPOSITORY || !matches!(row.expected.as_str(), "valid" | "invalid") {
        return None;
    }
    CHECKS.iter().find(|(kind, _)| *kind == row.kind).map(|(_, check)| *check)
}

/// What is wrong with our verdict, if it is.
fn verdict(row: &Row, errors: &[String]) -> Option<String> {
    match (row.expected.as_str(), errors) {
        ("valid", []) => None,
        ("valid", errors) => Some(format!("  {} {}: valid, but: {}", row.kind, row.path, errors.join("; "))),
        (_, []) => Some(format!("  {} {}: no error, but it is {}", row.kind, row.path, row.expected)),
        (_, _) => None,
    }
}

/// A project folder as a whole, its descriptor filtered as Maven does it.
fn application_errors(folder: &Path) -> Vec<String> {
    // `NAME/src/main/model`: the first folder is the artifact.
    let artifact = folder.ancestors().nth(3).and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let properties = [("project.artifactId", &*artifact), ("project.version", VERSION)];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let options = CompileOptions { properties, ..CompileOptions::default() };
    let compiled = compile_project_with(&options, &mut Folder(folder));
    let errors = errors(&compiled.diagnostics, &compiled.sources);
    if errors.is_empty() && compiled.application.is_none() {
        return vec!["no application came out, and no error either".into()];
    }
    errors
}

/// One file by itself.
fn file_errors(path: &Path) -> Vec<String> {
    match fs::read_to_string(path) {
        Ok(text) => errors(&syntax_errors(&text), &[SourceFile::new("", text.as_str())]),
        Err(error) => vec![format!("cannot read it: {error}")],
    }
}

fn errors(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> Vec<String> {
    let told = |diagnostic: &Diagnostic| {
        let source = sources.get(diagnostic.file.0).expect("the diagnostic's file is among the sources");
        let at = source.position(diagnostic.span.start);
        format!("{}:{}:{}: {:?}: {}", source.name, at.line, at.column, diagnostic.code, diagnostic.message)
    };
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).map(told).collect()
}

/// Reads files below a folder.
struct Folder<'a>(&'a Path);

impl Loader for Folder<'_> {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn has_folder(&mut self, path: &str) -> bool {
        self.0.join(path).is_dir()
    }
}

#[test]
fn a_wrong_verdict_is_seen() {
    let table = "kind\trepo\tpath\texpected\ngraph\troboconf/roboconf-examples\ta.graph\tvalid\n";
    let mut row = rows(table).unwrap().remove(0);
    assert!(check_of(&row).is_some() && row.folder() == "roboconf-examples");
    assert!(verdict(&row, &[]).is_none() && verdict(&row, &["x".into()]).is_some());
    row.expected = "invalid".into();
    assert!(verdict(&row, &[]).is_some() && verdict(&row, &["x".into()]).is_none());
    assert!(rows("kind\trepo\n").is_err() && rows("kind\trepo\tpath\texpected\na\tb\n").is_err());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.graph");
    assert_eq!(file_errors(&file).len(), 1, "a file that is not there");
    fs::write(&file, "A {\n\tinstaller script\n}\n").unwrap();
    assert!(!file_errors(&file).is_empty(), "a file with an error");
    assert!(!application_errors(folder.path()).is_empty(), "a folder that is no project");
}
