//! Which applications an application imports from: bind, show, let go.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, ComponentName, InstancePath, ProjectName};
use robo_wire::api::{Accepted, BindRequest, BindingView};

use super::error::{ServiceError, near};
use super::{Service, now, to_the_end};
use crate::bus::Ring;
use crate::plan::{self, Current, Prefixes};
use crate::store::{ApplicationRecord, Bind, LetGo};

/// Most applications that one prefix may be bound to. Their names are in the specification of every importer.
const MAX_BOUND: usize = 256;

impl Service {
    /// Each prefix that the application imports from others, or is bound.
    ///
    /// # Errors
    /// When there is no such application, or the store fails.
    pub async fn bindings(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<Vec<BindingView>, ServiceError> {
        let record = self.application(project, name).await?;
        let offers = self.store().offers(project).await?;
        let mut prefixes = imported(&record.revision.desired.application);
        prefixes.extend(record.bound_to.keys().cloned());
        let view = |prefix: ComponentName| BindingView {
            applications: record.bound_to.get(&prefix).into_iter().flatten().cloned().collect(),
            candidates: candidates(&offers, &prefix, name),
            prefix,
        };
        Ok(prefixes.into_iter().map(view).collect())
    }

    /// Replaces all bindings of a prefix, or none of them. The instances that import from it are told at once.
    ///
    /// # Errors
    /// When an application is unknown, does not offer the prefix, or is the importer itself; when the application does
    /// not import the prefix; or the store fails.
    pub async fn bind(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        prefix: &ComponentName,
        request: BindRequest,
    ) -> Result<Accepted, ServiceError> {
        let (service, project, name, prefix) = (self.clone(), project.clone(), name.clone(), prefix.clone());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let record = service.application(&project, &name).await?;
            let to: BTreeSet<ApplicationName> = request.applications.into_iter().collect();
            service.check_bind(&project, &record, &prefix, &to).await?;
            let instances = importers(&record.revision.desired.application, &prefix);
            if record.bound_to.get(&prefix).map_or(to.is_empty(), |bound| *bound == to) {
                return Ok(Accepted { instances, cursor: service.cursor(&project).await? });
            }
            let mut bound_to = record.bound_to.clone();
            bound_to.insert(prefix.clone(), to.clone());
            let ports = service.store().ports(&project).await?;
            let enrolled = service.store().device_ids(&project).await?;
            let specs = plan::specs(&Current { bound_to: &bound_to, ..record.current() }, &ports, &enrolled)?;
            let bind = Bind { application: &name, prefix: &prefix, to: &to, specs: &specs };
            let committed = service.store().bind(&project, &bind, now()).await?;
            tracing::info!(%project, application = %name, %prefix, applications = to.len(), "bound");
            service.ring(&project, &committed);
            service.bus().ring(Ring::Exports(project.clone(), name.clone()));
            Ok(Accepted { instances, cursor: committed.cursor })
        })
        .await
    }

    async fn check_bind(
        &self,
        project: &ProjectName,
        record: &ApplicationRecord,
        prefix: &ComponentName,
        to: &BTreeSet<ApplicationName>,
    ) -> Result<(), ServiceError> {
        let application = &record.revision.desired.application;
        let imported = imported(application);
        if !(imported.contains(prefix) || to.is_empty() && record.bound_to.contains_key(prefix)) {
            let application = application.name.clone();
            return Err(ServiceError::NotImported { application, prefix: prefix.clone(), imported });
        }
        if to.len() > MAX_BOUND {
            return Err(ServiceError::TooManyBound { prefix: prefix.clone(), count: to.len(), max: MAX_BOUND });
        }
        if to.contains(&application.name) {
            return Err(ServiceError::BoundToItself { application: application.name.clone() });
        }
        let known = self.store().applications(project).await?;
        let known: BTreeSet<&ApplicationName> = known.iter().map(|summary| &summary.name).collect();
        if let Some(unknown) = to.iter().find(|other| !known.contains(other)) {
            let near = near(unknown.as_str(), known.iter().map(|name| name.as_str()));
            return Err(ServiceError::NoApplication { name: unknown.clone(), near });
        }
        let offers = self.store().offers(project).await?;
        let offered = offers.get(prefix);
        match to.iter().find(|other| offered.is_none_or(|offered| !offered.contains(*other))) {
            None => Ok(()),
            Some(other) => Err(ServiceError::WrongPrefix {
                application: other.clone(),
                prefix: prefix.clone(),
                offers: offers.iter().find(|(_, by)| by.contains(other)).map(|(prefix, _)| prefix.clone()),
                candidates: candidates(&offers, prefix, &application.name),
            }),
        }
    }

    /// Those who import from an application that is to go, and what their devices run without it.
    ///
    /// # Errors
    /// When there are some and it is not forced, or the store fails.
    pub(super) async fn let_go(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        force: bool,
    ) -> Result<Vec<LetGo>, ServiceError> {
        let bindings = self.store().bindings(project).await?;
        let bound = |prefixes: &Prefixes| prefixes.values().any(|to| to.contains(name));
        let importers: Vec<ApplicationName> =
            bindings.into_iter().filter(|(_, prefixes)| bound(prefixes)).map(|(importer, _)| importer).collect();
        if !force && !importers.is_empty() {
            return Err(ServiceError::InUse { name: name.clone(), by: importers });
        }
        let ports = self.store().ports(project).await?;
        let enrolled = self.store().device_ids(project).await?;
        let mut without = Vec::with_capacity(importers.len());
        for importer in importers {
            let record = self.application(project, &importer).await?;
            let mut bound_to = record.bound_to.clone();
            let mut changed = Prefixes::new();
            for (prefix, to) in &mut bound_to {
                if to.remove(name) {
                    changed.insert(prefix.clone(), to.clone());
                }
            }
            let specs = plan::specs(&Current { bound_to: &bound_to, ..record.current() }, &ports, &enrolled)?;
            without.push(LetGo { application: importer, prefixes: changed, specs });
        }
        Ok(without)
    }

    /// The other applications that a change of `name` may touch, directly or through others, and those that these
    /// import from.
    pub(super) async fn related(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<Vec<ApplicationRecord>, ServiceError> {
        let bindings = self.store().bindings(project).await?;
        let mut records = Vec::new();
        for other in related(&bindings, name) {
            records.extend(self.store().application(project, &other).await?);
        }
        Ok(records)
    }
}

/// The applications whose instances may notice a change of `name`: those bound to it, and to them, and so on; and all
/// that these and `name` itself are bound to, since whether an instance runs depends on those. Without `name`.
fn related(bindings: &BTreeMap<ApplicationName, Prefixes>, name: &ApplicationName) -> BTreeSet<ApplicationName> {
    let mut importers: BTreeMap<&ApplicationName, Vec<&ApplicationName>> = BTreeMap::new();
    for (importer, prefixes) in bindings {
        for provider in prefixes.values().flatten() {
            importers.entry(provider).or_default().push(importer);
        }
    }
    let down = reach([name], |name| importers.get(name).into_iter().flatten().copied());
    let up = reach(down, |name| bindings.get(name).into_iter().flat_map(|prefixes| prefixes.values().flatten()));
    up.into_iter().filter(|other| *other != name).cloned().collect()
}

/// `from` and everything that is reached from there.
fn reach<'a, I: Iterator<Item = &'a ApplicationName>>(
    from: impl IntoIterator<Item = &'a ApplicationName>,
    next: impl Fn(&'a ApplicationName) -> I,
) -> BTreeSet<&'a ApplicationName> {
    let mut open: Vec<&ApplicationName> = from.into_iter().collect();
    let mut seen: BTreeSet<&ApplicationName> = open.iter().copied().collect();
    while let Some(name) = open.pop() {
        open.extend(next(name).filter(|other| seen.insert(other)));
    }
    seen
}

/// The prefixes that an application imports from others.
fn imported(application: &Application) -> BTreeSet<ComponentName> {
    let imports = application.components.values().flat_map(|component| &component.imports);
    imports.filter(|import| import.external).map(|import| import.prefix.clone()).collect()
}

/// The instances that import a prefix from others.
fn importers(application: &Application, prefix: &ComponentName) -> Vec<InstancePath> {
    let wants = |component: &ComponentName| {
        let component = application.components.get(component);
        component.is_some_and(|c| c.imports.iter().any(|import| import.external && import.prefix == *prefix))
    };
    application.instances.values().filter(|i| wants(&i.component)).map(|i| i.path.clone()).collect()
}

fn candidates(offers: &Prefixes, prefix: &ComponentName, but: &ApplicationName) -> Vec<ApplicationName> {
    offers.get(prefix).into_iter().flatten().filter(|other| *other != but).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_may_notice_are_found() {
        let name = |text: &str| text.parse::<ApplicationName>().unwrap();
        let binding = |importer: &str, to: &[&str]| {
            let to = to.iter().map(|other| name(other)).collect();
            (name(importer), Prefixes::from([("Db".parse().unwrap(), to)]))
        };
        // `shop` and `blog` use `db`, which uses `disk`; `shop` uses `pay`, too; `report` reads from `shop`.
        let bindings = [
            binding("shop", &["db", "pay"]),
            binding("blog", &["db"]),
            binding("db", &["disk"]),
            binding("report", &["shop"]),
            binding("a", &["b"]),
            binding("b", &["a"]),
        ]
        .into();
        let check = |of: &str, expect: &[&str]| {
            let found: Vec<String> = related(&bindings, &name(of)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expect, "{of}");
        };
        check("blog", &["db", "disk"]);
        check("db", &["blog", "disk", "pay", "report", "shop"]);
        check("report", &["db", "disk", "pay", "shop"]);
        check("a", &["b"]);
        check("nobody", &[]);
    }
}
