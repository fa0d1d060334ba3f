//! Which provider satisfies which import, and when an instance has all it needs.
//!
//! As in the original (ImportHelpers.java) the unit of completeness is the *prefix*: an instance
//! has its imports when, for each prefix of its mandatory imports, at least one other instance
//! is known that exports it. An instance never imports from itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::graph::Import;
use crate::name::{ComponentName, Variable};
use crate::spec::InstanceKey;

/// A started instance and what it offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// Everything it exports, by full name.
    pub exports: BTreeMap<Variable, String>,
}

/// The imports that one instance receives: by prefix, then by provider, the variables it asked for.
pub type Imports = BTreeMap<ComponentName, BTreeMap<InstanceKey, Imported>>;

/// What one provider gives to one importer under one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The provider's component.
    pub component: ComponentName,
    /// Local names and values, restricted to those the importer declares.
    pub variables: BTreeMap<crate::name::VariableName, String>,
}

/// What `imports` of the instance `importer` receive from `providers`. Within its application only:
/// external imports are bound between applications and are not resolved here.
pub fn resolve<'a>(
    importer: &InstanceKey,
    imports: &[Import],
    providers: impl IntoIterator<Item = &'a Provider>,
) -> Imports {
    let mut wanted: BTreeMap<&ComponentName, Vec<&Import>> = BTreeMap::new();
    for import in imports.iter().filter(|i| !i.external) {
        wanted.entry(&import.prefix).or_default().push(import);
    }
    let mut received = Imports::new();
    if wanted.is_empty() {
        return received;
    }
    for provider in providers {
        if provider.key == *importer || provider.key.application != importer.application {
            continue;
        }
        for (variable, value) in &provider.exports {
            let Some(imports) = wanted.get(&variable.prefix) else { continue };
            if imports.iter().any(|i| i.variable.as_ref().is_none_or(|v| *v == variable.local)) {
                received
                    .entry(variable.prefix.clone())
                    .or_default()
                    .entry(provider.key.clone())
                    .or_insert_with(|| Imported { component: provider.component.clone(), variables: BTreeMap::new() })
                    .variables
                    .insert(variable.local.clone(), value.clone());
            }
        }
    }
    received
}

/// The mandatory imports that nothing in `received` satisfies; empty when the instance may start.
#[must_use]
pub fn missing<'a>(imports: &'a [Import], received: &Imports) -> Vec<&'a Import> {
    let served: BTreeSet<&ComponentName> =
        received.iter().filter(|(_, by)| !by.is_empty()).map(|(prefix, _)| prefix).collect();
    imports.iter().filter(|i| !i.optional && !served.contains(&i.prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> InstanceKey {
        InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
    }

    fn provider(path: &str, exports: &[(&str, &str)]) -> Provider {
        Provider {
            key: key(path),
            component: "Db".parse().unwrap(),
            exports: exports.iter().map(|(n, v)| (n.parse().unwrap(), (*v).to_owned())).collect(),
        }
    }

    fn import(text: &str, optional: bool) -> Import {
        let (prefix, variable) = text.split_once('.').unwrap();
        Import {
            prefix: prefix.parse().unwrap(),
            variable: (variable != "*").then(|| variable.parse().unwrap()),
            optional,
            external: false,
        }
    }

    #[test]
    fn a_wildcard_takes_all_and_a_name_takes_one() {
        let db = provider("/a/db", &[("Db.ip", "1.2.3.4"), ("Db.port", "5"), ("Store.port", "5")]);
        let got = resolve(&key("/b/web"), &[import("Db.*", false)], [&db]);
        assert_eq!(got["Db"][&key("/a/db")].variables.len(), 2);
        let got = resolve(&key("/b/web"), &[import("Db.ip", false)], [&db]);
        assert_eq!(got["Db"][&key("/a/db")].variables.len(), 1);
    }

    #[test]
    fn completeness_goes_by_prefix_and_ignores_oneself() {
        let imports = [import("Db.ip", false), import("Db.nothing", false), import("Cache.ip", true)];
        let own = provider("/b/web", &[("Db.ip", "x")]);
        let got = resolve(&key("/b/web"), &imports, [&own]);
        assert_eq!(missing(&imports, &got).len(), 2);
        let db = provider("/a/db", &[("Db.ip", "x")]);
        let got = resolve(&key("/b/web"), &imports, [&own, &db]);
        assert!(missing(&imports, &got).is_empty());
    }

    #[test]
    fn another_application_is_another_world() {
        let mut other = provider("/a/db", &[("Db.ip", "x")]);
        other.key.application = "other".parse().unwrap();
        assert!(resolve(&key("/b/web"), &[import("Db.ip", false)], [&other]).is_empty());
    }
}
