//! What should be, and what is.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, DeviceId, DeviceName, InstancePath, ProjectName};
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use robo_wire::api::{ApplicationView, Circle, InstanceView, Status};

use super::Service;
use super::circles::{Known, circles, waits};
use super::error::{ServiceError, near};
use crate::links::Links;
use crate::store::{ApplicationSummary, DeviceRecord, Homeless, ReportedInstance, rules};

/// The word after `installer:` of a machine.
const HOST: &str = "target";

type Overrides = BTreeMap<ApplicationName, BTreeMap<InstancePath, Wanted>>;

impl Service {
    /// The applications and their instances: of the project, or of one application.
    ///
    /// # Errors
    /// When there is no such application and nothing is left of it, or the store fails.
    pub async fn status(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Status, ServiceError> {
        let cursor = self.cursor(project).await?;
        // Devices before instances: an older report must never be taken for one made under a newer assignment.
        let devices: BTreeMap<DeviceId, DeviceRecord> =
            self.store().devices(project).await?.into_iter().map(|device| (device.id.clone(), device)).collect();
        let mut applications = self.store().applications(project).await?;
        let instances = self.store().instances(project, application).await?;
        if let Some(name) = application {
            applications.retain(|summary| summary.name == *name);
            if applications.is_empty() && instances.is_empty() {
                return Err(self.no_application(project, name).await?);
            }
        }
        let circles = self.circles(project, application, &instances).await?;
        let overrides = self.store().all_overrides(project).await?;
        let homeless = self.store().homeless(project, application).await?;
        let mut instances: Vec<InstanceView> = instances
            .into_iter()
            .filter_map(|instance| devices.get(&instance.device).map(|device| view(instance, device, &overrides)))
            .chain(homeless.into_iter().map(homeless_view))
            .collect();
        instances.sort_by(|a, b| (&a.application, &a.path).cmp(&(&b.application, &b.path)));
        let applications = applications.into_iter().map(application_view).collect();
        Ok(Status { cursor, applications, instances, circles })
    }

    /// The same, where an instance is settled only when its device, too, knows what all others offer, and has told of
    /// itself since: nothing more is to come then of what was done until now. It goes through these: what is stored,
    /// who is behind that, what is stored by then. Who moved in between has not settled.
    ///
    /// # Errors
    /// As [`Service::status`].
    pub async fn status_in_step(
        &self,
        links: &dyn Links,
        project: &ProjectName,
        application: Option<&ApplicationName>,
    ) -> Result<Status, ServiceError> {
        let before = self.status(project, application).await?;
        let concerned: BTreeSet<&DeviceName> = before.instances.iter().map(|view| &view.device).collect();
        let mut devices = self.store().devices(project).await?;
        devices.retain(|device| concerned.contains(&device.name));
        let behind = links.behind(devices.iter().map(|device| device.id.clone()).collect()).await?;
        let behind: BTreeSet<DeviceName> =
            devices.into_iter().filter(|device| behind.contains(&device.id)).map(|device| device.name).collect();
        let key = |view: &InstanceView| (view.application.clone(), view.path.clone(), view.device.clone());
        let before: BTreeMap<_, InstanceView> = before.instances.into_iter().map(|view| (key(&view), view)).collect();
        let mut status = self.status(project, application).await?;
        for view in &mut status.instances {
            let stays = before.get(&key(view)).is_some_and(|earlier| earlier == view);
            view.settled &= stays && !behind.contains(&view.device);
        }
        Ok(status)
    }

    /// Which of these instances, those of `application` or all, wait for one another; they may wait for such of other
    /// applications. Reads no specification while hardly anybody waits.
    async fn circles(
        &self,
        project: &ProjectName,
        application: Option<&ApplicationName>,
        instances: &[ReportedInstance],
    ) -> Result<Vec<Circle>, ServiceError> {
        let waiting = instances.iter().filter(|one| one.report.as_ref().is_some_and(|r| waits(r.state))).count();
        // A circle leads into other applications by their bindings only.
        let bound = match application {
            Some(name) if waiting > 0 => self.store().bindings(project).await?.contains_key(name),
            Some(_) | None => false,
        };
        if waiting < 2 && !bound {
            return Ok(Vec::new());
        }
        let all = if bound { self.store().instances(project, None).await? } else { Vec::new() };
        let instances = if bound { all.as_slice() } else { instances };
        let within = application.filter(|_| !bound);
        let specs = self.store().specs(project, within).await?;
        let states: BTreeMap<(&DeviceId, &InstanceKey), InstanceState> =
            instances.iter().filter_map(|one| Some(((&one.device, &one.key), one.report.as_ref()?.state))).collect();
        let state = |device, spec: &InstanceSpec| {
            states.get(&(device, &spec.key)).copied().unwrap_or(InstanceState::NotDeployed)
        };
        let known: Vec<Known<'_>> =
            specs.iter().map(|(device, spec)| Known { spec, state: state(device, spec) }).collect();
        let mut circles = circles(&known);
        circles.retain(|circle| application.is_none_or(|name| circle.members.iter().any(|m| m.application == *name)));
        Ok(circles)
    }

    /// The project's applications.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn applications(&self, project: &ProjectName) -> Result<Vec<ApplicationView>, ServiceError> {
        Ok(self.store().applications(project).await?.into_iter().map(application_view).collect())
    }

    /// The device that an instance lives on, or lived on last.
    ///
    /// # Errors
    /// When there is no such application or instance, or the store fails.
    pub async fn device_of(
        &self,
        project: &ProjectName,
        application: &ApplicationName,
        path: &InstancePath,
    ) -> Result<DeviceRecord, ServiceError> {
        let instances = self.store().instances(project, Some(application)).await?;
        let there = instances.iter().filter(|instance| instance.key.path == *path);
        // After a move it may stand on two devices: the one where it should be goes first.
        let device = match there.max_by_key(|instance| instance.wanted.is_some()) {
            Some(instance) => self.store().device(&instance.device).await?,
            None => None,
        };
        match device {
            Some(device) => Ok(device),
            None if instances.is_empty() => Err(self.no_application(project, application).await?),
            None => Err(ServiceError::NoInstance {
                application: application.clone(),
                path: path.clone(),
                near: near(path.as_str(), instances.iter().map(|instance| instance.key.path.as_str())),
            }),
        }
    }
}

fn application_view(summary: ApplicationSummary) -> ApplicationView {
    ApplicationView {
        name: summary.name,
        revision: summary.revision,
        version: summary.version,
        applied_at: summary.applied_at,
    }
}

fn view(instance: ReportedInstance, device: &DeviceRecord, overrides: &Overrides) -> InstanceView {
    let is_host = instance.installer == HOST;
    let named = || overrides.get(&instance.key.application).is_some_and(|of_it| of_it.contains_key(&instance.key.path));
    // A machine goes on whatever was asked of all that stands on it.
    let overridden = instance.wanted.is_some_and(|wanted| wanted != Wanted::default() || (!is_host && named()));
    let settled = device.reported >= device.generation && instance.report.as_ref().is_some_and(|r| r.settled);
    let reported = instance.report.as_ref().map_or(InstanceState::NotDeployed, |report| report.state);
    InstanceView {
        lapsed: instance.lapsed,
        settled,
        application: instance.key.application,
        path: instance.key.path,
        component: instance.component,
        installer: instance.installer,
        device: device.name.clone(),
        online: device.online,
        overridden,
        wanted: instance.wanted,
        state: rules::shown(reported, is_host, device.silent),
        report: instance.report,
    }
}

/// A host whose device was removed: nobody looks after it until the application is applied with another one.
fn homeless_view(host: Homeless) -> InstanceView {
    let report = InstanceReport {
        application: host.key.application.clone(),
        path: host.key.path.clone(),
        component: host.component.clone(),
        state: InstanceState::Problem,
        since: host.since,
        waits_for: Vec::new(),
        failure: None,
        exports: BTreeMap::new(),
        pid: None,
        restarts: 0,
        healthy: false,
        settled: true,
        outside: BTreeMap::new(),
        needs: Vec::new(),
        held_for: BTreeSet::new(),
        drift: Vec::new(),
        hold: Some(format!(
            "device `{}` was removed: enrol it again or name another one, and apply `{}` anew",
            host.device, host.key.application
        )),
    };
    InstanceView {
        application: host.key.application,
        path: host.key.path,
        component: host.component,
        installer: HOST.to_owned(),
        device: host.device,
        online: false,
        wanted: Some(Wanted::Started),
        overridden: false,
        state: InstanceState::Problem,
        report: Some(report),
        lapsed: false,
        settled: true,
    }
}

#[cfg(test)]
mod tests {
    use robo_model::lifecycle::{Of, TABLE};
    use robo_model::quantity::UnixMillis;

    use super::*;

    #[test]
    fn a_removed_device_leaves_its_hosts_as_the_table_says() {
        let homeless = || Homeless {
            key: InstanceKey { application: "shop".parse().unwrap(), path: "/vm".parse().unwrap() },
            component: "Vm".parse().unwrap(),
            device: "one".parse().unwrap(),
            since: UnixMillis(1),
        };
        let view = homeless_view(homeless());
        assert!(view.is_homeless() && !view.is_as_wished() && !view.is_freed_by_retry());
        // Whatever a machine was before; and it has no report when it has a device again.
        let states: BTreeSet<_> = TABLE.iter().filter(|row| row.of == Of::Machine).map(|row| row.from).collect();
        let ways = states.into_iter().map(|from| (from, view.state));
        let ways: BTreeSet<_> = ways.chain([(view.state, InstanceState::NotDeployed)]).collect();
        let rows = TABLE.iter().filter(|row| row.of == Of::Homeless).map(|row| (row.from, row.to));
        assert_eq!(rows.collect::<BTreeSet<_>>(), ways);
    }
}
