//! Files of commands that execute each other.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::context::stem;
use super::line::{Lines, is_blank};
use super::pattern;

/// What another file executes.
#[derive(Debug, Clone, Default)]
pub(super) struct Sibling {
    /// The files that it executes, by name; what a variable names is not known.
    executes: HashSet<String>,
    /// Its text holds `execute` with its own name, which is how the original finds a loop.
    pub(super) names_itself: bool,
}

impl Sibling {
    pub(super) fn read(name: &str, text: &str) -> Self {
        let executes = Lines::new(text)
            .filter(|line| pattern::begins(&line.text, "execute"))
            .filter_map(|line| Some(stem(line.text.get(pattern::execute(&line.text)?)?).to_owned()))
            .filter(|name| !name.contains("$("))
            .collect();
        Self { executes, names_itself: names(text, name) }
    }
}

/// Whether `text` holds `execute`, blanks and `name`, in any case. Linear for any text, as blanks do not hold `execute`.
fn names(text: &str, name: &str) -> bool {
    const WORD: &str = "execute";
    let mut from = 0;
    while let Some(at) = pattern::find(text, from, WORD) {
        from = at + WORD.len();
        let rest = text.get(from..).unwrap_or_default();
        let after = rest.trim_start_matches(is_blank);
        if after.len() < rest.len() && pattern::begins(after, name) {
            return true;
        }
    }
    false
}

/// The files from which `own` is reached, over any number of others.
pub(super) fn leading_to<'s>(own: &str, siblings: &'s BTreeMap<String, Sibling>) -> HashSet<&'s str> {
    let mut callers: HashMap<&str, Vec<&'s str>> = HashMap::new();
    for (name, sibling) in siblings {
        for called in &sibling.executes {
            callers.entry(called).or_default().push(name);
        }
    }
    let mut found = HashSet::new();
    let mut open = callers.get(own).cloned().unwrap_or_default();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(callers.get(name).into_iter().flatten());
        }
    }
    found
}
