//! What people ask for beside the application: start, stop, undeploy, delete.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, InstancePath, ProjectName};
use robo_model::state::Wanted;
use robo_wire::api::{Accepted, WantedRequest};
use robo_wire::event::EventBody;

use super::error::{ServiceError, near};
use super::{Service, now, scope, to_the_end};
use crate::bus::Ring;
use crate::plan::{self, Current, Overrides};
use crate::store::{ApplicationRecord, NewEvent, StoreError};

impl Service {
    /// Records that an instance, with all below it, a part of the application or all of it should be something else.
    /// Asked for again, it changes nothing and answers the same.
    ///
    /// # Errors
    /// When there is no such application, instance or component, when a machine is to be stopped, or the store fails.
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
            let WantedRequest { scope, wanted } = request;
            let roots = scope::roots(application, &scope)?;
            scope::check_hosts(application, &roots, &scope, wanted)?;
            let instances = scope::within(application, &roots, wanted);
            let after = asked(&record.overrides.wanted, &roots, wanted);
            if after == record.overrides.wanted {
                return Ok(Accepted { instances, cursor: service.cursor(&project).await? });
            }
            let overrides = Overrides { count: record.overrides.count + 1, wanted: after };
            let ports = service.store().ports(&project).await?;
            let enrolled = service.store().device_ids(&project).await?;
            let specs = plan::specs(&Current { overrides: &overrides, ..record.current() }, &ports, &enrolled)?;
            let event = NewEvent {
                at: now(),
                device: None,
                application: Some(name.clone()),
                path: None,
                body: EventBody::Asked { subtree: scope.path, component: scope.component, wanted },
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

/// The overrides after `roots`, with all below them, were asked to be `wanted`. What stands below is dropped: the
/// last word counts. What says no more than what stands above, or the application, is left out.
fn asked(
    before: &BTreeMap<InstancePath, Wanted>,
    roots: &BTreeSet<InstancePath>,
    wanted: Wanted,
) -> BTreeMap<InstancePath, Wanted> {
    let mut after = before.clone();
    after.retain(|path, _| !roots.contains(path) && !path.ancestors().any(|above| roots.contains(&above)));
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
        assert_eq!(asked(&map(before), &[path.parse().unwrap()].into(), wanted), map(expect), "{path} {wanted:?}");
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
