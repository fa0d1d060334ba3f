//! What a person should know before agreeing; bounded, since one cause may touch every instance.

use std::fmt::Display;

use robo_model::state::Wanted;

use super::{Desired, Overrides};

/// Most warnings in one plan: nobody reads more.
const MAX_WARNINGS: usize = 100;

/// Most names in one sentence.
const MAX_NAMES: usize = 5;

/// Gathers warnings, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    lines: Vec<String>,
    omitted: usize,
}

impl Warnings {
    /// Adds one.
    pub(super) fn add(&mut self, line: String) {
        if self.lines.len() < MAX_WARNINGS {
            self.lines.push(line);
        } else {
            self.omitted += 1;
        }
    }

    /// An apply drops what people asked for beside the application.
    pub(super) fn dropped_overrides(&mut self, desired: &Desired, overrides: &Overrides) {
        for (path, wanted) in &overrides.wanted {
            let done = match wanted {
                Wanted::Started => continue,
                Wanted::Stopped => "stopped",
                Wanted::NotDeployed => "undeployed",
            };
            if desired.application.instances.contains_key(path) {
                self.add(format!("`{path}` was {done} by hand: it starts again, and all below it"));
            }
        }
    }

    /// All, in the order in which they came.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.omitted > 0 {
            self.lines.push(format!("and {} more warnings", self.omitted));
        }
        self.lines
    }
}

/// `` `a`, `b` and 3 more``.
pub(super) fn list<T: Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown: Vec<String> = names.take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    match (shown.split_last(), more) {
        (Some((last, rest)), 0) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        (_, 0) => shown.concat(),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
