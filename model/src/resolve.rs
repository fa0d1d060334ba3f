//! Which provider satisfies which import, and when an instance has all it needs.
//!
//! As in the original (ImportHelpers.java) the unit of completeness is the *prefix*: an instance
//! has its imports when, for each prefix of its mandatory imports, at least one other instance
//! is known that exports it. An instance never imports from itself. External imports come from the applications
//! that their prefix is bound to, and see only what those offer to the outside.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::graph::Import;
use crate::name::{ApplicationName, ComponentName, Variable};
use crate::spec::{InstanceKey, InstanceSpec};

/// A started instance and what it offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// Everything it exports, by full name.
    pub exports: BTreeMap<Variable, String>,
    /// What it offers to other applications, by its name outside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outside: BTreeMap<Variable, String>,
}

/// Where exports and imports meet: an application, and a prefix inside of it or the one it has outside. The two are
/// told apart, because a component may have the name of the application's prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Topic {
    /// The application of the provider.
    pub application: ApplicationName,
    /// The prefix.
    pub prefix: ComponentName,
    /// True for what is offered to other applications.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
}

impl Provider {
    /// Where it offers something.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<Topic> {
        topics_offered(&self.key.application, &self.exports, &self.outside)
    }
}

/// Where somebody of `application` with these exports offers something.
#[must_use]
pub fn topics_offered(
    application: &ApplicationName,
    exports: &BTreeMap<Variable, String>,
    outside: &BTreeMap<Variable, String>,
) -> BTreeSet<Topic> {
    let inside = exports.keys().map(|variable| (variable, false));
    let outside = outside.keys().map(|variable| (variable, true));
    inside
        .chain(outside)
        .map(|(variable, outside)| Topic { application: application.clone(), prefix: variable.prefix.clone(), outside })
        .collect()
}

/// The places that `import` of an instance with this specification looks at: one, or one for each bound application.
pub fn topics_of<'a>(spec: &'a InstanceSpec, import: &'a Import) -> impl Iterator<Item = Topic> + 'a {
    let inside = (!import.external).then_some(&spec.key.application);
    let bound = import.external.then(|| spec.bindings.get(&import.prefix)).flatten();
    inside.into_iter().chain(bound.into_iter().flatten()).map(|application| Topic {
        application: application.clone(),
        prefix: import.prefix.clone(),
        outside: import.external,
    })
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

/// What an instance with the specification `spec` receives from `providers`.
pub fn resolve<'a>(spec: &InstanceSpec, providers: impl IntoIterator<Item = &'a Provider>) -> Imports {
    let mut wanted: BTreeMap<(bool, &ComponentName), Vec<&Import>> = BTreeMap::new();
    for import in &spec.imports {
        wanted.entry((import.external, &import.prefix)).or_default().push(import);
    }
    let mut received = Imports::new();
    if wanted.is_empty() {
        return received;
    }
    for provider in providers.into_iter().filter(|provider| provider.key != spec.key) {
        let inside = provider.key.application == spec.key.application;
        let variables = if inside { &provider.exports } else { &provider.outside };
        for (variable, value) in variables {
            let bound = |prefix| spec.bindings.get(prefix).is_some_and(|b| b.contains(&provider.key.application));
            let Some(imports) = wanted.get(&(!inside, &variable.prefix)) else { continue };
            let named = imports.iter().any(|i| i.variable.as_ref().is_none_or(|v| *v == variable.local));
            if named && (inside || bound(&variable.prefix)) {
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
            outside: BTreeMap::new(),
        }
    }

    fn spec(path: &str, imports: &[Import]) -> InstanceSpec {
        let text = format!(
            r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "X", "installer": {{"kind": "script"}}}}"#
        );
        InstanceSpec { imports: imports.to_vec(), ..serde_json::from_str(&text).unwrap() }
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
        let got = resolve(&spec("/b/web", &[import("Db.*", false)]), [&db]);
        assert_eq!(got["Db"][&key("/a/db")].variables.len(), 2);
        let got = resolve(&spec("/b/web", &[import("Db.ip", false)]), [&db]);
        assert_eq!(got["Db"][&key("/a/db")].variables.len(), 1);
    }

    #[test]
    fn completeness_goes_by_prefix_and_ignores_oneself() {
        let imports = [import("Db.ip", false), import("Db.nothing", false), import("Cache.ip", true)];
        let own = provider("/b/web", &[("Db.ip", "x")]);
        let got = resolve(&spec("/b/web", &imports), [&own]);
        assert_eq!(missing(&imports, &got).len(), 2);
        let db = provider("/a/db", &[("Db.ip", "x")]);
        let got = resolve(&spec("/b/web", &imports), [&own, &db]);
        assert!(missing(&imports, &got).is_empty());
    }

    #[test]
    fn another_application_is_another_world() {
        let mut other = provider("/a/db", &[("Db.ip", "x")]);
        other.key.application = "other".parse().unwrap();
        assert!(resolve(&spec("/b/web", &[import("Db.ip", false)]), [&other]).is_empty());
    }

    #[test]
    fn an_external_import_sees_what_bound_applications_offer_outside() {
        let mut other = provider("/a/db", &[("Db.ip", "1"), ("Wh.secret", "2")]);
        other.key.application = "stock".parse().unwrap();
        other.outside = [("Wh.ip".parse().unwrap(), "1".to_owned())].into();
        let external = Import { external: true, ..import("Wh.*", false) };
        let mut web = spec("/b/web", std::slice::from_ref(&external));
        assert!(resolve(&web, [&other]).is_empty(), "bound to nobody");
        assert_eq!(topics_of(&web, &external).count(), 0);
        web.bindings = [("Wh".parse().unwrap(), ["stock".parse().unwrap()].into())].into();
        let got = resolve(&web, [&other]);
        assert_eq!(
            got["Wh"][&other.key].variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(),
            [("ip", "1")]
        );
        assert!(topics_of(&web, &external).all(|topic| other.topics().contains(&topic)));
        // An instance of the same application is no other application, whatever it offers outside.
        other.key.application = "shop".parse().unwrap();
        assert!(resolve(&web, [&other]).is_empty());
    }
}
