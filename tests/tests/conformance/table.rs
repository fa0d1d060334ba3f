//! The two tables: tab separated, the first line names the columns, no quoting.

use std::fs;
use std::path::{Path, PathBuf};

use super::verdict::{Want, wants};

/// A row of `conformance.tsv`.
pub(super) struct Row {
    pub(super) kind: String,
    repository: String,
    pub(super) path: String,
    pub(super) valid: bool,
    /// What the original's tests expect: errors of an invalid row, warnings of a valid one.
    pub(super) expected: Vec<Want>,
    pub(super) stage: String,
    pub(super) context: String,
    pub(super) file_type: String,
    pub(super) parse: Vec<Want>,
    pub(super) model: Vec<Want>,
    pub(super) convert: Vec<Want>,
    pub(super) runtime: Vec<Want>,
    pub(super) notes: String,
}

/// A row of `inline-vectors.tsv`.
pub(super) struct Vector {
    pub(super) kind: String,
    /// With Java's escapes undone.
    pub(super) input: String,
    pub(super) expected: String,
}

pub(super) fn rows(corpus: &Path) -> Vec<Row> {
    read(&corpus.join("conformance.tsv"), row)
}

pub(super) fn vectors(corpus: &Path) -> Vec<Vector> {
    read(&corpus.join("inline-vectors.tsv"), |cells| {
        Ok(Vector {
            kind: cells.get("kind")?.to_owned(),
            input: unescaped(cells.get("input (Java escapes kept)")?),
            expected: cells.get("expected")?.to_owned(),
        })
    })
}

impl Row {
    /// Where the file or folder lies in the corpus.
    pub(super) fn place(&self, corpus: &Path) -> PathBuf {
        let repository = self.repository.rsplit('/').next().unwrap_or_default();
        corpus.join("roboconf").join(repository).join(&self.path)
    }

    /// The number of something in the notes: `observed instances=6`, `3 roots`.
    pub(super) fn noted(&self, what: &str) -> Option<usize> {
        if let Some((_, after)) = self.notes.split_once(&format!("{what}=")) {
            return after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        }
        let words: Vec<&str> = self.notes.split([' ', ',', ';', '.', ':', '(']).filter(|w| !w.is_empty()).collect();
        let same = |word: &str| word.trim_end_matches('s') == what.trim_end_matches('s');
        words.windows(2).find(|pair| same(pair[1])).and_then(|pair| pair[0].parse().ok())
    }
}

fn row(cells: &Cells<'_>) -> Result<Row, String> {
    let mut expected = wants(cells.get("expected_codes")?);
    for (want, line) in expected.iter_mut().zip(cells.get("expected_lines")?.split(',')) {
        want.line = line.trim().parse().ok().filter(|line| *line > 0);
    }
    let runtime = cells.get("obs_runtime")?;
    Ok(Row {
        kind: cells.get("kind")?.to_owned(),
        repository: cells.get("repo")?.to_owned(),
        path: cells.get("path")?.to_owned(),
        valid: match cells.get("expected")? {
            "valid" => true,
            "invalid" => false,
            other => return Err(format!("`{other}` is neither valid nor invalid")),
        },
        expected,
        stage: cells.get("stage")?.to_owned(),
        context: cells.get("context")?.to_owned(),
        file_type: cells.get("obs_file_type")?.to_owned(),
        parse: wants(cells.get("obs_parse")?),
        model: wants(cells.get("obs_model")?),
        convert: wants(cells.get("obs_convert")?),
        runtime: if runtime == "-" { Vec::new() } else { wants(runtime) },
        notes: cells.get("notes")?.to_owned(),
    })
}

fn read<T>(path: &Path, make: impl Fn(&Cells<'_>) -> Result<T, String>) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    parse(&text, make).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse<T>(text: &str, make: impl Fn(&Cells<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let numbered = (2..).zip(lines);
    let each = numbered.map(|(number, line)| {
        let cells = Cells { head: &head, line: line.split('\t').collect() };
        make(&cells).map_err(|error| format!("line {number}: {error}"))
    });
    each.collect()
}

struct Cells<'t> {
    head: &'t [&'t str],
    line: Vec<&'t str>,
}

impl<'t> Cells<'t> {
    fn get(&self, column: &str) -> Result<&'t str, String> {
        let at = self.head.iter().position(|name| *name == column).ok_or_else(|| format!("no column `{column}`"))?;
        self.line.get(at).copied().ok_or_else(|| format!("nothing in column `{column}`"))
    }
}

/// Java's escapes, as far as the table has them.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' {
            chars.next().unwrap_or(c)
        } else {
            out.push(c);
            continue;
        };
        out.push(match c {
            't' => '\t',
            'n' => '\n',
            other => other,
        });
    }
    out
}

#[test]
fn tables_are_read_strictly() {
    let pair = |cells: &Cells<'_>| Ok((cells.get("b")?.to_owned(), cells.get("a")?.to_owned()));
    assert_eq!(parse("a\tb\n1\t2\n", pair).unwrap(), [("2".to_owned(), "1".to_owned())]);
    assert!(parse("a\tb\n1\n", pair).is_err() && parse("a\n1\n", pair).is_err());
    assert_eq!(unescaped("a\\tb\\\"c\\nd\\\\"), "a\tb\"c\nd\\");
}
