//! Results grouped: targets that printed the same and ended the same stand together.

use std::collections::BTreeMap;

use robo_wire::stream::Verdict;

use super::outcome::{Outcome, Said};

/// Most columns of the names above a group; of more their number is told.
const MAX_NAMES: usize = 100;

/// The groups, the largest first, each with its names, its verdict and what was printed.
pub(super) fn groups(said: &[(&Outcome, Said<'_>)]) -> Vec<u8> {
    let mut groups: BTreeMap<(String, Said<'_>), Vec<&str>> = BTreeMap::new();
    for (outcome, said) in said {
        let verdict = outcome.verdict.as_ref().map(Verdict::to_string).unwrap_or_default();
        groups.entry((verdict, *said)).or_default().push(&outcome.name);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let mut text = Vec::new();
    for (number, ((verdict, said), names)) in groups.iter().enumerate() {
        if number > 0 {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("{} ({}): {verdict}\n", listed(names), counted(names.len())).as_bytes());
        for part in [said.stdout, said.stderr] {
            text.extend_from_slice(part);
            if part.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
        }
        if said.truncated {
            text.extend_from_slice("(there was more output than is kept)\n".as_bytes());
        }
    }
    text
}

fn counted(count: usize) -> String {
    if count == 1 { "1 device".to_owned() } else { format!("{count} devices") }
}

/// Names as far as they fit.
pub(super) fn listed(names: &[&str]) -> String {
    fit(names, MAX_NAMES)
}

/// Names as far as they fit into so many columns; how many more there are.
pub(crate) fn fit(names: &[&str], columns: usize) -> String {
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let rest = names.len() - number;
        let more = format!(" and {rest} more");
        let needed = text.len() + name.len() + 2 + if rest > 1 { more.len() } else { 0 };
        if number > 0 && needed > columns {
            text.push_str(&more);
            break;
        }
        if number > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use robo_wire::stream::DeviceTarget;

    use super::super::outcome::{Outcomes, Stream};
    use super::*;

    #[test]
    fn who_says_the_same_stands_together() {
        let name = |i: usize| DeviceTarget { name: format!("d{i}"), device: None };
        let mut outcomes = Outcomes::new((0..4).map(name).collect());
        for i in 0..4 {
            let text: &[u8] = if i == 1 { b"old" } else { b"new\n" };
            outcomes.keep(i, Stream::Stdout, text);
            outcomes.decide(i, if i == 3 { Verdict::Failed { code: 7 } } else { Verdict::Ok });
        }
        outcomes.keep(3, Stream::Stderr, b"oops");
        let text = String::from_utf8(groups(&outcomes.said())).unwrap();
        assert_eq!(text, "d0, d2 (2 devices): ok\nnew\n\nd3 (1 device): exit 7\nnew\noops\n\nd1 (1 device): ok\nold\n");
    }

    #[test]
    fn many_names_are_counted() {
        assert_eq!(fit(&["a", "b"], 10), "a, b");
        assert_eq!(fit(&["a", "b", "c"], 14), "a and 2 more");
        assert_eq!(fit(&["a-name-that-is-too-long-itself", "b"], 4), "a-name-that-is-too-long-itself and 1 more");
        assert_eq!(fit(&[], 4), "");
    }
}
