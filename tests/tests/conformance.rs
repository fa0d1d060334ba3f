//! Roboconf's own files and cases, each with the original's verdict: `conformance.tsv` and `inline-vectors.tsv` in
//! the folder that `ROBO_CORPUS` names.
//!
//! Every row is tried. A valid one has no error of its stage or an earlier one, and the warnings that it names; an
//! invalid one is refused with every code that it names, at its lines, as often as it names it. What the original was
//! observed to print in further stages is held as well. A row that comes out otherwise stands in `docs/differences.md`
//! with the codes that differ; what stands there and holds all the same is a mistake too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod differences;
mod files;
mod fixtures;
mod folder;
mod inline;
mod layout;
mod lines;
mod neighbours;
mod projects;
mod table;
mod verdict;

use verdict::Problem;

/// A row of either table, tried.
struct Tried {
    /// The kind and stage that it is counted under.
    group: String,
    /// What `docs/differences.md` calls it.
    id: String,
    problems: Vec<Problem>,
}

#[test]
fn conformance() {
    let Some(corpus) = std::env::var_os("ROBO_CORPUS").map(|folder| root().join(folder)) else {
        println!("ROBO_CORPUS is not set: conformance was not tried");
        return;
    };
    let mut differences = differences::read();
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut failing = Vec::new();
    for tried in tried(&corpus) {
        let count = counts.entry(tried.group).or_default();
        if tried.problems.is_empty() {
            count.held += 1;
        } else if differences::explain(&mut differences, &tried.id, &tried.problems) {
            count.listed += 1;
        } else {
            count.failing += 1;
            let each = tried.problems.iter().map(|problem| format!("    {}: {}", problem.code, problem.text));
            failing.push(format!("{}\n{}", tried.id, each.collect::<Vec<_>>().join("\n")));
        }
    }
    show(&counts);
    let idle = differences::idle(&differences);
    assert!(idle.is_empty(), "docs/differences.md lists what does not differ:\n{}", idle.join("\n"));
    assert!(failing.is_empty(), "rows that come out otherwise than in the original:\n{}", failing.join("\n"));
}

#[derive(Default)]
struct Counts {
    held: usize,
    listed: usize,
    failing: usize,
}

fn show(counts: &BTreeMap<String, Counts>) {
    let line = |name: &str, c: &Counts| println!("  {name:58}{:>6}{:>8}{:>9}", c.held, c.listed, c.failing);
    println!("conformance:{:48}{:>6}{:>8}{:>9}", "", "held", "listed", "failing");
    let mut sum = Counts::default();
    for (group, count) in counts {
        line(group, count);
        sum.held += count.held;
        sum.listed += count.listed;
        sum.failing += count.failing;
    }
    line("all", &sum);
}

fn tried(corpus: &Path) -> Vec<Tried> {
    let mut out = Vec::new();
    for row in table::rows(corpus) {
        let problems = match row.kind.as_str() {
            "graph" | "instances" | "mixed" => files::check(&row, corpus),
            "application" | "recipe" | "project" => projects::check(&row, corpus),
            _ => neighbours::check(&row, corpus),
        };
        out.push(Tried { group: format!("{}: {}", row.kind, row.stage), id: row.path, problems });
    }
    for vector in table::vectors(corpus) {
        let problems = inline::check(&vector);
        let id = format!("{}: {}", vector.kind, vector.input);
        out.push(Tried { group: format!("inline: {}", vector.kind), id, problems });
    }
    out
}

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}
