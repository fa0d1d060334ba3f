//! What people ask for beside the application: start, stop, undeploy, delete.

use std::collections::BTreeMap;

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, InstancePath, ProjectName};
use robo_model::state::Wanted;
use robo_wire::api::{Accepted, WantedRequest};
use robo_wire::event::EventBody;

use super::error::{ServiceError, near};
use super::{Service, now, to_the_end};
use crate::bus::Ring;
use crate::plan::{self, Current, Overrides};
use crate::store::{ApplicationRecord, NewEvent, StoreError};

impl Service {
    /// Records that an instance, with all below it, or the whole application, should be something else.
    ///
    /// # Errors
    /// When there is no such application or instance, or the store fails.
    pub async fn wanted(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        request: WantedRequest,
    ) -> Result<Accepted, ServiceError> {
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let record = service.application(&project, &name).await?;
            let application = &record.revision.desired.application;
            let roots = roots(application, &name, request.scope.path.as_ref())?;
            let instances = within(application, &roots);
            let wanted = asked(&record.overrides.wanted, &roots, request.wanted);
            let overrides = Overrides { count: record.overrides.count + 1, wanted };
            let ports = service.store().ports(&project).await?;
            let specs = plan::specs(&Current { overrides: &overrides, ..record.current() }, &ports)?;
            let event = NewEvent {
                at: now(),
                device: None,
                application: Some(name.clone()),
                path: None,
                body: EventBody::Asked { subtree: request.scope.path, component: None, wanted: request.wanted },
            };
            let committed = service.store().set_overrides(&project, &name, &overrides.wanted, &specs, event).await?;
            service.ring(&project, &committed);
            Ok(Accepted { instances, cursor: committed.cursor })
        })
        .await
    }

    /// Deletes an application: all its instances go. When others are bound to it, only if it is forced: they then are
    /// bound to it no longer.
    ///
    /// # Errors
    /// When there is no such application, others are bound to it, or the store fails.
    pub async fn delete(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        force: bool,
    ) -> Result<Accepted, ServiceError> {
        let (service, project, name) = (self.clone(), project.clone(), name.clone());
        to_the_end(async move {
            let _changing = service.0.change.lock().await;
            let record = service.application(&project, &name).await?;
            let importers = service.let_go(&project, &name, force).await?;
            let committed = service.store().delete_application(&project, &name, &importers, now()).await?;
            tracing::info!(%project, application = %name, "deleted");
            service.ring(&project, &committed);
            service.bus().ring(Ring::Exports(project.clone(), name.clone()));
            for importer in importers {
                service.bus().ring(Ring::Exports(project.clone(), importer.application));
            }
            let instances = record.revision.desired.application.instances.into_keys().collect();
            Ok(Accepted { instances, cursor: committed.cursor })
        })
        .await
    }

    /// The application, or who was probably meant.
    pub(super) async fn application(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<ApplicationRecord, ServiceError> {
        match self.store().application(project, name).await? {
            Some(record) => Ok(record),
            None => Err(self.no_application(project, name).await?),
        }
    }

    /// The refusal of an unknown application, with the name that was probably meant.
    pub(super) async fn no_application(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<ServiceError, StoreError> {
        let names = self.store().applications(project).await?;
        let near = near(name.as_str(), names.iter().map(|application| application.name.as_str()));
        Ok(ServiceError::NoApplication { name: name.clone(), near })
    }
}

/// The instances that were named, each with all below it.
fn roots(
    application: &Application,
    name: &ApplicationName,
    path: Option<&InstancePath>,
) -> Result<Vec<InstancePath>, ServiceError> {
    let Some(path) = path else {
        return Ok(application.instances.keys().filter(|path| path.parent().is_none()).cloned().collect());
    };
    if application.instances.contains_key(path) {
        return Ok(vec![path.clone()]);
    }
    let near = near(path.as_str(), application.instances.keys().map(InstancePath::as_str));
    Err(ServiceError::NoInstance { application: name.clone(), path: path.clone(), near })
}

fn within(application: &Application, roots: &[InstancePath]) -> Vec<InstancePath> {
    let is_in = |path: &&InstancePath| roots.iter().any(|root| path.is_within(root));
    application.instances.keys().filter(is_in).cloned().collect()
}

/// The overrides after `roots`, with all below them, were asked to be `wanted`. What stands below is dropped: the
/// last word counts. What says no more than what stands above, or the application, is left out.
fn asked(
    before: &BTreeMap<InstancePath, Wanted>,
    roots: &[InstancePath],
    wanted: Wanted,
) -> BTreeMap<InstancePath, Wanted> {
    let mut after = before.clone();
    after.retain(|path, _| !roots.iter().any(|root| path.is_within(root)));
    for root in roots {
        let above = root.ancestors().find_map(|path| after.get(&path)).copied().unwrap_or_default();
        if wanted != above {
            after.insert(root.clone(), wanted);
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    type Written<'a> = &'a [(&'a str, Wanted)];

    fn check(before: Written<'_>, path: &str, wanted: Wanted, expect: Written<'_>) {
        let map = |list: Written<'_>| -> BTreeMap<InstancePath, Wanted> {
            list.iter().map(|(path, wanted)| (path.parse().unwrap(), *wanted)).collect()
        };
        assert_eq!(asked(&map(before), &[path.parse().unwrap()], wanted), map(expect), "{path} {wanted:?}");
    }

    #[test]
    fn the_last_word_counts_and_the_nearest_too() {
        use Wanted::{NotDeployed, Started, Stopped};
        check(&[], "/vm", Stopped, &[("/vm", Stopped)]);
        check(&[], "/vm", Started, &[]);
        check(&[("/vm", Stopped)], "/vm", Started, &[]);
        check(&[("/vm", Stopped)], "/vm/db", Started, &[("/vm", Stopped), ("/vm/db", Started)]);
        check(&[("/vm", Stopped), ("/vm/db", Started)], "/vm/db", Stopped, &[("/vm", Stopped)]);
        check(&[("/vm/db", NotDeployed)], "/vm", Stopped, &[("/vm", Stopped)]);
        check(&[("/vm 2", Stopped)], "/vm", Stopped, &[("/vm", Stopped), ("/vm 2", Stopped)]);
    }
}
