//! Every variable that components export, by prefix.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::Variable;

use crate::convert::{ComponentId, Graph};

/// What some components export.
pub(super) struct Offered<'g> {
    by_prefix: BTreeMap<&'g str, BTreeSet<&'g str>>,
}

impl<'g> Offered<'g> {
    pub(super) fn new(graph: &'g Graph, by: impl IntoIterator<Item = ComponentId>) -> Self {
        let mut by_prefix: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for id in by {
            for Variable { prefix, local } in graph.component(id).exports.keys() {
                by_prefix.entry(prefix.as_str()).or_default().insert(local.as_str());
            }
        }
        Self { by_prefix }
    }

    pub(super) fn has(&self, prefix: &str, local: &str) -> bool {
        self.by_prefix.get(prefix).is_some_and(|locals| locals.contains(local))
    }

    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.by_prefix.contains_key(prefix)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &'g str> {
        self.by_prefix.keys().copied()
    }

    /// Full names with this prefix.
    pub(super) fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = String> {
        let found = self.by_prefix.get_key_value(prefix).into_iter();
        found.flat_map(|(prefix, locals)| locals.iter().map(move |local| format!("{prefix}.{local}")))
    }

    /// All full names.
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        self.by_prefix.iter().flat_map(|(prefix, locals)| locals.iter().map(move |local| format!("{prefix}.{local}")))
    }
}
