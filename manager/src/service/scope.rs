//! Which instances of an application people mean.

use std::collections::BTreeSet;

use robo_model::graph::{Application, Instance};
use robo_model::name::{ComponentName, InstancePath};
use robo_model::state::Wanted;
use robo_wire::api::Scope;

use super::error::{ServiceError, near};

/// The instances whose subtrees are meant: that at the path or those right below it, or all of a component or facet.
///
/// # Errors
/// When there is no such instance, component or facet, or nothing is left.
pub(super) fn roots(application: &Application, scope: &Scope) -> Result<BTreeSet<InstancePath>, ServiceError> {
    if let Some(path) = &scope.path {
        known_path(application, path)?;
    }
    if let Some(component) = &scope.component {
        known_component(application, component)?;
    }
    let meant = |instance: &&Instance| {
        let path = &instance.path;
        match (&scope.component, &scope.path) {
            (Some(component), Some(root)) => {
                path.is_within(root) && !(scope.below && path == root) && is_a(application, instance, component)
            }
            // Below everything stand all but the first ones.
            (Some(component), None) => {
                !(scope.below && path.parent().is_none()) && is_a(application, instance, component)
            }
            (None, Some(root)) if scope.below => path.parent().as_ref() == Some(root),
            (None, Some(root)) => path == root,
            (None, None) if scope.below => path.parent().is_some_and(|parent| parent.parent().is_none()),
            (None, None) => path.parent().is_none(),
        }
    };
    let roots: BTreeSet<InstancePath> =
        application.instances.values().filter(meant).map(|instance| instance.path.clone()).collect();
    if roots.is_empty() && (scope.below || scope.component.is_some()) {
        return Err(ServiceError::NothingMeant { application: application.name.clone(), what: told(scope) });
    }
    Ok(roots)
}

/// Refuses to stop machines: one is there or not, and what stands on it is stopped instead. Those that are only part of
/// a whole application are passed over.
///
/// # Errors
/// When a root is a machine and was meant by name.
pub(super) fn check_hosts(
    application: &Application,
    roots: &BTreeSet<InstancePath>,
    scope: &Scope,
    wanted: Wanted,
) -> Result<(), ServiceError> {
    if wanted != Wanted::Stopped || (scope.path.is_none() && scope.component.is_none()) {
        return Ok(());
    }
    match roots.iter().find(|path| is_host(application, path)) {
        // Machines that stand on the one that was named are part of what stands on it.
        Some(_) if scope.below && scope.component.is_none() => Ok(()),
        Some(path) => Err(ServiceError::HostStopped { application: application.name.clone(), path: path.clone() }),
        None => Ok(()),
    }
}

/// The instances of these subtrees that can be `wanted`, in order: machines do not stop.
pub(super) fn within(application: &Application, roots: &BTreeSet<InstancePath>, wanted: Wanted) -> Vec<InstancePath> {
    let is_in = |path: &&InstancePath| roots.contains(path) || path.ancestors().any(|above| roots.contains(&above));
    let can = |path: &&InstancePath| wanted != Wanted::Stopped || !is_host(application, path);
    application.instances.keys().filter(is_in).filter(can).cloned().collect()
}

fn is_host(application: &Application, path: &InstancePath) -> bool {
    application.instances.get(path).is_some_and(|instance| application.is_host(instance))
}

/// True when the instance is of the component, of one that extends it, or of one with the facet.
fn is_a(application: &Application, instance: &Instance, name: &ComponentName) -> bool {
    let component = application.components.get(&instance.component);
    component.is_some_and(|component| component.lineage.contains(name) || component.facets.contains(name))
        || instance.component == *name
}

fn known_path(application: &Application, path: &InstancePath) -> Result<(), ServiceError> {
    if application.instances.contains_key(path) {
        return Ok(());
    }
    let near = near(path.as_str(), application.instances.keys().map(InstancePath::as_str));
    Err(ServiceError::NoInstance { application: application.name.clone(), path: path.clone(), near })
}

fn known_component(application: &Application, name: &ComponentName) -> Result<(), ServiceError> {
    let components = application.components.values();
    let all: BTreeSet<&ComponentName> =
        components.flat_map(|c| c.lineage.iter().chain(&c.facets).chain([&c.name])).collect();
    if all.contains(name) {
        return Ok(());
    }
    let near = near(name.as_str(), all.iter().map(|name| name.as_str()));
    Err(ServiceError::NoComponent { application: application.name.clone(), name: name.clone(), near })
}

fn told(scope: &Scope) -> String {
    let what = scope.component.as_ref().map_or_else(|| "no instance".to_owned(), |c| format!("no instance of `{c}`"));
    match (&scope.path, scope.below) {
        (Some(path), true) => format!("{what} below `{path}`"),
        (Some(path), false) => format!("{what} in `{path}`"),
        (None, true) => format!("{what} below its first ones"),
        (None, false) => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application() -> Application {
        let component = |name: &str, installer: &str, facets: &[&str], above: &[&str]| {
            let lineage: Vec<&str> = std::iter::once(name).chain(above.iter().copied()).collect();
            serde_json::json!({"name": name, "lineage": lineage, "facets": facets, "installer": {"kind": installer}})
        };
        let instance = |path: &str, component: &str| serde_json::json!({"path": path, "component": component});
        serde_json::from_value(serde_json::json!({
            "name": "shop",
            "components": {
                "Vm": component("Vm", "target", &[], &[]),
                "Db": component("Db", "script", &["Storage"], &[]),
                "Mysql": component("Mysql", "script", &["Storage"], &["Db"]),
                "Web": component("Web", "script", &[], &[]),
            },
            "instances": {
                "/a": instance("/a", "Vm"), "/a/db": instance("/a/db", "Mysql"), "/a/web": instance("/a/web", "Web"),
                "/a/web/app": instance("/a/web/app", "Db"), "/b": instance("/b", "Vm"), "/b/db": instance("/b/db", "Db"),
            },
        }))
        .unwrap()
    }

    /// The scope as `path|component|below`, what is stopped or why nothing is.
    fn check(scope: &str, wanted: Wanted, expect: Result<&[&str], &str>) {
        let application = application();
        let mut parts = scope.split('|');
        let mut part = || parts.next().filter(|text| !text.is_empty());
        let scope = Scope {
            path: part().map(|path| path.parse().unwrap()),
            component: part().map(|name| name.parse().unwrap()),
            below: part().is_some(),
            application: None,
        };
        let got = roots(&application, &scope).and_then(|roots| {
            check_hosts(&application, &roots, &scope, wanted)?;
            Ok(within(&application, &roots, wanted).iter().map(ToString::to_string).collect::<Vec<_>>())
        });
        match (got, expect) {
            (Ok(paths), Ok(expect)) => assert_eq!(paths, expect, "{scope:?}"),
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{scope:?}: {error}"),
            (got, expect) => panic!("{scope:?}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn what_is_meant_is_found_and_machines_do_not_stop() {
        use Wanted::{NotDeployed, Started, Stopped};
        let below_a = ["/a/db", "/a/web", "/a/web/app"];
        check("", Stopped, Ok(&["/a/db", "/a/web", "/a/web/app", "/b/db"]));
        check("", NotDeployed, Ok(&["/a", "/a/db", "/a/web", "/a/web/app", "/b", "/b/db"]));
        check("||below", Stopped, Ok(&["/a/db", "/a/web", "/a/web/app", "/b/db"]));
        check("/a", Stopped, Err("`/a` of `shop` is a machine"));
        check("/a||below", Stopped, Ok(&below_a));
        check("/a||below", NotDeployed, Ok(&below_a));
        check("/a", Started, Ok(&["/a", "/a/db", "/a/web", "/a/web/app"]));
        check("/a/web", Stopped, Ok(&["/a/web", "/a/web/app"]));
        check("/a/web||below", Stopped, Ok(&["/a/web/app"]));
        check("/a/web/app||below", Stopped, Err("no instance below `/a/web/app`"));
        check("|Storage", Stopped, Ok(&["/a/db", "/a/web/app", "/b/db"]));
        check("|Mysql", Stopped, Ok(&["/a/db"]));
        check("/b|Db", Stopped, Ok(&["/b/db"]));
        check("/a/web|Db|below", Stopped, Ok(&["/a/web/app"]));
        check("/b|Web", Stopped, Err("no instance of `Web` in `/b`"));
        check("|Vm", Stopped, Err("is a machine"));
        check("|Vm", NotDeployed, Ok(&["/a", "/a/db", "/a/web", "/a/web/app", "/b", "/b/db"]));
        check("|Mysq", Stopped, Err("no component or facet `Mysq`"));
        check("/a/wep", Stopped, Err("no instance `/a/wep`"));
    }
}
