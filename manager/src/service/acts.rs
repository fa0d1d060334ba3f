//! What is done once on request: a running step cancelled, what failed or is held tried again.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath, ProjectName};
use robo_wire::api::{ActAnswer, ActRequest, ActVerdict, Scope};
use robo_wire::stream::Verdict;

use super::Service;
use super::error::{ServiceError, near};
use crate::links::{ActTarget, Links};
use crate::store::ReportedInstance;

impl Service {
    /// Asks each device that has some of the instances, and answers when all verdicts are there. What leaves the
    /// application and is not gone yet belongs to it still: a step that removes it may hang too. The history is told by
    /// the devices, with `by`.
    ///
    /// # Errors
    /// When there is no such application, instance or component, or the store fails.
    pub async fn act(
        &self,
        links: &dyn Links,
        project: &ProjectName,
        name: &ApplicationName,
        request: &ActRequest,
        by: &str,
    ) -> Result<ActAnswer, ServiceError> {
        let instances = self.store().instances(project, Some(name)).await?;
        let record = self.store().application(project, name).await?;
        let application = record.as_ref().map(|record| &record.revision.desired.application);
        if application.is_none() && instances.is_empty() {
            return Err(self.no_application(project, name).await?);
        }
        let meant = meant(name, application, &instances, &request.scope)?;
        let devices = self.store().devices(project).await?;
        let names: BTreeMap<DeviceId, DeviceName> = devices.into_iter().map(|d| (d.id, d.name)).collect();
        let mut targets = Vec::new();
        for (device, component) in meant {
            let scope = Scope { application: Some(name.clone()), component, ..request.scope.clone() };
            targets.push(ActTarget { device, verb: request.verb, scope, by: by.to_owned() });
        }
        let asked: Vec<DeviceId> = targets.iter().map(|target| target.device.clone()).collect();
        let judged = links.act(targets).await;
        let mut verdicts: BTreeMap<DeviceName, ActVerdict> = BTreeMap::new();
        for (id, judged) in asked.into_iter().zip(judged) {
            // A device that was removed in the meantime has no name; what stood on it has gone with it.
            let Some(device) = names.get(&id) else { continue };
            let paths = judged.instances.into_iter().filter(|key| key.application == *name).map(|key| key.path);
            let paths: Vec<InstancePath> = paths.collect();
            match verdicts.get_mut(device) {
                Some(verdict) => join(verdict, judged.verdict, paths),
                None => {
                    let verdict = ActVerdict { device: device.clone(), verdict: judged.verdict, instances: paths };
                    verdicts.insert(device.clone(), verdict);
                }
            }
        }
        Ok(ActAnswer { devices: verdicts.into_values().collect() })
    }
}

/// A device was asked twice: what went wrong counts.
fn join(verdict: &mut ActVerdict, other: Verdict, paths: Vec<InstancePath>) {
    if verdict.verdict == Verdict::Ok {
        verdict.verdict = other;
    }
    verdict.instances.extend(paths);
    verdict.instances.sort_unstable();
    verdict.instances.dedup();
}

/// Who has to be asked, each with the word for the component that its agent understands: it knows an instance's
/// component and facets, and not what the component extends.
fn meant(
    name: &ApplicationName,
    application: Option<&Application>,
    instances: &[ReportedInstance],
    scope: &Scope,
) -> Result<BTreeSet<(DeviceId, Option<ComponentName>)>, ServiceError> {
    if let Some(path) = &scope.path
        && !instances.iter().any(|one| one.key.path == *path)
        && !application.is_some_and(|application| application.instances.contains_key(path))
    {
        let near = near(path.as_str(), instances.iter().map(|one| one.key.path.as_str()));
        return Err(ServiceError::NoInstance { application: name.clone(), path: path.clone(), near });
    }
    if let Some(component) = &scope.component {
        known(name, application, instances, component)?;
    }
    let is_at = |path: &InstancePath| {
        scope.path.as_ref().is_none_or(|root| path.is_within(root) && !(scope.below && path == root))
    };
    let word = |one: &ReportedInstance| match &scope.component {
        None => Some(None),
        Some(named) => word_for(application, &one.component, named).map(Some),
    };
    let at = instances.iter().filter(|one| is_at(&one.key.path));
    Ok(at.filter_map(|one| Some((one.device.clone(), word(one)?))).collect())
}

/// The word that stands for an instance of `component` when people say `named`; nothing when they do not mean it.
fn word_for(
    application: Option<&Application>,
    component: &ComponentName,
    named: &ComponentName,
) -> Option<ComponentName> {
    if component == named {
        return Some(named.clone());
    }
    let found = application?.components.get(component)?;
    if found.facets.contains(named) {
        return Some(named.clone());
    }
    found.lineage.contains(named).then(|| component.clone())
}

fn known(
    name: &ApplicationName,
    application: Option<&Application>,
    instances: &[ReportedInstance],
    component: &ComponentName,
) -> Result<(), ServiceError> {
    let components = application.into_iter().flat_map(|application| application.components.values());
    let of_graph = components.flat_map(|c| c.lineage.iter().chain(&c.facets).chain([&c.name]));
    let all: BTreeSet<&ComponentName> = of_graph.chain(instances.iter().map(|one| &one.component)).collect();
    if all.contains(component) {
        return Ok(());
    }
    let near = near(component.as_str(), all.iter().map(|name| name.as_str()));
    Err(ServiceError::NoComponent { application: name.clone(), name: component.clone(), near })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application() -> Application {
        let component = |name: &str, facets: &[&str], lineage: &[&str]| serde_json::json!({"name": name, "lineage": lineage, "facets": facets, "installer": {"kind": "script"}});
        serde_json::from_value(serde_json::json!({
            "name": "shop",
            "components": {
                "Db": component("Db", &["Storage"], &["Db"]),
                "Mysql": component("Mysql", &["Storage"], &["Mysql", "Db"]),
                "Web": component("Web", &[], &["Web"]),
            },
            "instances": {},
        }))
        .unwrap()
    }

    fn instances() -> Vec<ReportedInstance> {
        let on = |device: &str, path: &str, component: &str| ReportedInstance {
            device: device.parse().unwrap(),
            key: robo_model::spec::InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() },
            component: component.parse().unwrap(),
            ..instance()
        };
        vec![
            on("one", "/a", "Vm"),
            on("one", "/a/db", "Db"),
            on("two", "/b", "Vm"),
            on("two", "/b/db", "Mysql"),
            on("two", "/b/web", "Web"),
        ]
    }

    /// The scope as `path|component|below`; who is asked, as `device` or `device Component`.
    fn check(scope: &str, expect: Result<&[&str], &str>) {
        let mut parts = scope.split('|');
        let mut part = || parts.next().filter(|text| !text.is_empty());
        let asked = Scope {
            path: part().map(|path| path.parse().unwrap()),
            component: part().map(|name| name.parse().unwrap()),
            below: part().is_some(),
            application: None,
        };
        let got = meant(&"shop".parse().unwrap(), Some(&application()), &instances(), &asked);
        match (got, expect) {
            (Ok(meant), Ok(expect)) => {
                let told = |(device, word): (DeviceId, Option<ComponentName>)| match word {
                    Some(word) => format!("{device} {word}"),
                    None => device.to_string(),
                };
                assert_eq!(meant.into_iter().map(told).collect::<Vec<_>>(), expect, "{scope}");
            }
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{scope}: {error}"),
            (got, expect) => panic!("{scope}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn the_devices_that_have_what_is_meant_are_asked() {
        check("", Ok(&["one", "two"]));
        check("/b", Ok(&["two"]));
        check("/a/db||below", Ok(&[]));
        check("|Storage", Ok(&["one Storage", "two Storage"]));
        check("|Db", Ok(&["one Db", "two Mysql"]));
        check("/a|Db", Ok(&["one Db"]));
        check("|Web", Ok(&["two Web"]));
        check("|Vm", Ok(&["one Vm", "two Vm"]));
        check("/c", Err("no instance `/c`"));
        check("|Wep", Err("no component or facet `Wep`"));
    }

    fn instance() -> ReportedInstance {
        ReportedInstance {
            device: "one".parse().unwrap(),
            key: robo_model::spec::InstanceKey { application: "shop".parse().unwrap(), path: "/a".parse().unwrap() },
            component: "Vm".parse().unwrap(),
            installer: "script".to_owned(),
            wanted: None,
            report: None,
            lapsed: false,
        }
    }
}
