//! `docs/differences.md`: where robo differs on purpose, as a table that this test reads.

use std::fs;

use super::verdict::Problem;

/// Most lines of the table: a language that differs in more is another one.
const MOST: usize = 12;

/// A line of the table.
pub(super) struct Difference {
    title: String,
    /// The codes that are missing, or too many, because of it.
    codes: Vec<String>,
    /// The rows that it touches; `*` stands for any text. With how often each was needed.
    rows: Vec<(String, usize)>,
}

pub(super) fn read() -> Vec<Difference> {
    let path = super::root().join("docs/differences.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let found = parse(&text);
    assert!(found.len() <= MOST, "docs/differences.md has {} lines, {MOST} are allowed", found.len());
    found
}

/// The lines of the table `| what | why | codes | rows |`; codes and rows stand in backticks.
fn parse(text: &str) -> Vec<Difference> {
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
    let each = lines.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [title, why, codes, rows] = cells.as_slice() else { panic!("not four columns: {line}") };
        assert!(!title.is_empty() && !why.is_empty(), "no reason: {line}");
        let codes = ticked(codes);
        let rows: Vec<_> = ticked(rows).into_iter().map(|row| (row, 0)).collect();
        Difference { title: (*title).to_owned(), codes, rows }
    });
    each.collect()
}

/// Marks what explains a row's problems; false when one of them is not explained.
pub(super) fn explain(differences: &mut [Difference], id: &str, problems: &[Problem]) -> bool {
    let mut all = true;
    for problem in problems {
        let mut explained = false;
        for difference in differences.iter_mut().filter(|d| d.codes.contains(&problem.code)) {
            for (_, used) in difference.rows.iter_mut().filter(|(pattern, _)| matches(pattern, id)) {
                *used += 1;
                explained = true;
            }
        }
        all &= explained;
    }
    all
}

/// Rows that are listed and held all the same.
pub(super) fn idle(differences: &[Difference]) -> Vec<String> {
    let of = |difference: &Difference| {
        let idle = difference.rows.iter().filter(|(_, used)| *used == 0);
        idle.map(|(row, _)| format!("{}: `{row}`", difference.title)).collect::<Vec<_>>()
    };
    differences.iter().flat_map(of).collect()
}

fn ticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether `*` for any text makes `pattern` the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, more)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = more.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn differences_are_read_and_needed() {
    let table = "# Title\n\n| a | b | c | d |\n|---|---|---|---|\n| Blocks | because | `X`, `Y` | `a/*.graph`, `b` |\n";
    let mut differences = parse(table);
    let problem = |code: &str| Problem { code: code.to_owned(), text: String::new() };
    assert!(explain(&mut differences, "a/x.graph", &[problem("X"), problem("Y")]));
    assert!(!explain(&mut differences, "a/x.graph", &[problem("X"), problem("Z")]));
    assert!(!explain(&mut differences, "c", &[problem("X")]));
    assert_eq!(idle(&differences), ["Blocks: `b`"]);
    assert!(matches("a*b*", "axxbc") && matches("*", "") && !matches("a*b", "abc") && !matches("ab", "abc"));
}
