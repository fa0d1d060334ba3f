//! What people ask the manager for, and the verdicts they get: exactly one for each request and each target.
//!
//! The order of things is the service's: plan under a lock, commit in one transaction, answer, ring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use robo_manager::acts::{Acts, Begun, JobId};
use robo_manager::bus::Ring;
use robo_manager::plan::{self, Current, Desired, Overrides, Planned, PortRanges, Prefixes};
use robo_manager::store::rules;
use robo_model::graph::Binding;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath};
use robo_model::quantity::UnixMillis;
use robo_model::state::Wanted;
use robo_wire::api::{Scope, Verb};
use robo_wire::link::{Act, Acted};
use robo_wire::stream::Verdict;

use super::graph::{application_name, device_name, prefix};
use super::net::ConnId;
use super::store::{Application, Revision, Specs};
use super::story::What;
use super::watch::Failing;
use super::world::{Event, World};

/// Names a request.
type RequestId = u64;

/// Who asks for what, and what came of it.
#[derive(Debug, Default)]
pub(super) struct People {
    /// How many requests there were.
    pub(super) asked: u64,
    verdicts: BTreeMap<RequestId, String>,
    queue: VecDeque<(RequestId, What)>,
    /// The request that is being committed.
    busy: Option<RequestId>,
    /// Plans that were kept: the variant, and the plan's id.
    saved: BTreeMap<usize, (u32, String)>,
    acts: Acts,
    jobs: BTreeMap<JobId, Job>,
    pub(super) revisions: BTreeMap<ApplicationName, u64>,
}

/// An act under way.
#[derive(Debug)]
struct Job {
    request: RequestId,
    devices: Vec<DeviceId>,
    /// True when nothing stands in the way of an answer.
    in_good_weather: bool,
}

/// A change that is decided and has to be written.
#[derive(Debug)]
pub(super) struct Request {
    id: RequestId,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Apply { revision: Box<Revision>, planned: Box<Planned> },
    Overrides { application: ApplicationName, overrides: Overrides, specs: Specs },
    Bind { application: ApplicationName, bound_to: Prefixes, specs: Specs },
    Delete { application: ApplicationName, cleaned: Vec<(ApplicationName, Prefixes, Specs)> },
    Remove { device: DeviceId },
}

impl People {
    /// Requests that never got a verdict.
    pub(super) fn open(&self) -> Vec<RequestId> {
        (1..=self.asked).filter(|id| !self.verdicts.contains_key(id)).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.busy.is_none() && self.jobs.is_empty()
    }
}

impl World {
    pub(super) fn people_do(&mut self, what: What) {
        if let What::Enrol = what {
            return self.enrol();
        }
        if let What::Label { device } = what {
            let id = self.agents[self.pick(device)].id.clone();
            let labels = format!("{{\"at\": \"{}\"}}", self.now());
            if let Some(device) = self.store.devices.get_mut(&id) {
                device.labels = serde_json::from_str(&labels).unwrap();
            }
            return;
        }
        self.people.asked += 1;
        let id = self.people.asked;
        if !self.manager.up {
            return self.verdict(id, "refused: nobody answers");
        }
        if let What::Act { application, pick, verb } = what {
            return self.act(id, application, pick, verb);
        }
        self.people.queue.push_back((id, what));
        self.next_request();
    }

    fn next_request(&mut self) {
        if self.people.busy.is_none() && !self.people.queue.is_empty() {
            let life = self.manager.life;
            self.schedule.after(1, Event::Request { life });
        }
    }

    fn verdict(&mut self, id: RequestId, verdict: impl Into<String>) {
        let verdict = verdict.into();
        self.note(|| format!("request {id}: {verdict}"));
        if let Some(before) = self.people.verdicts.insert(id, verdict.clone()) {
            self.fail(Failing::Verdict, format!("request {id} got two verdicts: `{before}` and `{verdict}`"));
        }
    }

    /// One request after the other: whoever changes something holds the others off until it is written.
    pub(super) fn take_request(&mut self) {
        if self.people.busy.is_some() {
            return;
        }
        let Some((id, what)) = self.people.queue.pop_front() else { return };
        match self.decide(&what) {
            Ok(Some(change)) => {
                self.people.busy = Some(id);
                self.ask_store(super::manager::Op::Request(Box::new(Request { id, change })));
            }
            Ok(None) => {
                self.verdict(id, "ok: nothing to do");
                self.next_request();
            }
            Err(reason) => {
                self.verdict(id, format!("refused: {reason}"));
                self.next_request();
            }
        }
    }

    fn decide(&mut self, what: &What) -> Result<Option<Change>, String> {
        match *what {
            What::Apply { application, variant } => {
                self.apply(self.without_removed(self.graphs.make(application, variant))).map(Some)
            }
            What::Save { application, variant } => {
                let planned = self.draft(&self.graphs.make(application, variant))?;
                self.people.saved.insert(application, (variant, planned.plan.id));
                Ok(None)
            }
            What::ApplySaved { application } => {
                let (variant, id) = self.people.saved.remove(&application).ok_or("there is no such plan")?;
                let desired = self.graphs.make(application, variant);
                let planned = self.draft(&desired)?;
                if planned.plan.id != id {
                    return Err("the plan has moved".to_owned());
                }
                self.apply(desired).map(Some)
            }
            What::Rollback { application } => {
                let name = application_name(application);
                let revisions = &self.store.applications.get(&name).ok_or("there is no such application")?.revisions;
                let before = revisions.iter().rev().nth(1).ok_or("there is no revision before it")?;
                self.apply(before.desired.clone()).map(Some)
            }
            What::Ask { application, pick, wanted } => self.override_one(application, pick, wanted),
            What::Bind { application, to_none } => self.bind(application, to_none).map(Some),
            What::Delete { application } => self.delete(application).map(Some),
            What::Remove { device } => {
                let device = self.agents[self.pick(device)].id.clone();
                let there = self.store.devices.contains_key(&device);
                if there { Ok(Some(Change::Remove { device })) } else { Err("there is no such device".to_owned()) }
            }
            What::Act { .. }
            | What::Enrol
            | What::Label { .. }
            | What::KillAgent { .. }
            | What::KillAtWrite { .. }
            | What::Reboot { .. }
            | What::Freeze { .. }
            | What::FillDisk { .. }
            | What::JumpClock { .. }
            | What::KillManager { .. }
            | What::Cut { .. }
            | What::Block { .. }
            | What::Partition { .. }
            | What::Slow { .. }
            | What::LoseBells { .. }
            | What::EndProcess { .. } => Ok(None),
        }
    }

    /// People know which devices were removed, and put other ones in their place.
    fn without_removed(&self, mut desired: Desired) -> Desired {
        let names: Vec<&DeviceName> = self.store.devices.values().map(|device| &device.name).collect();
        let enrolled = self.agents.len();
        for (at, instance) in desired.application.instances.values_mut().enumerate() {
            let Some(Binding::Device(name)) = &mut instance.binding else { continue };
            let was_enrolled = (0..enrolled).any(|device| device_name(device) == *name);
            if was_enrolled && !names.contains(&&*name) && !names.is_empty() {
                *name = names[at % names.len()].clone();
            }
        }
        desired
    }

    fn apply(&self, desired: Desired) -> Result<Change, String> {
        let planned = self.draft(&desired)?;
        let newest = self.store.applications.get(&desired.application.name).map_or(0, |a| a.newest().number);
        let revision = Revision { number: newest + 1, desired, hosts: planned.bindings.clone() };
        Ok(Change::Apply { revision: Box::new(revision), planned: Box::new(planned) })
    }

    fn draft(&self, desired: &Desired) -> Result<Planned, String> {
        let device = |(id, device): (&DeviceId, &super::store::Device)| plan::Device {
            id: id.clone(),
            name: device.name.clone(),
            labels: device.labels.clone(),
            ports_in_use: Vec::new(),
        };
        let devices: Vec<plan::Device> = self.store.devices.iter().map(device).collect();
        let applications = &self.store.applications;
        let own = &desired.application.name;
        let bound = applications
            .iter()
            .flat_map(|(name, application)| application.bound_to.values().flatten().map(move |other| (name, other)));
        let near = rules::connected([own], bound);
        let others: Vec<Current<'_>> = applications
            .iter()
            .filter(|(name, _)| *name != own && near.contains(*name))
            .map(|(_, application)| current(application))
            .collect();
        let mut offers = Prefixes::new();
        for (name, application) in applications {
            let prefix = application.newest().desired.application.exports_prefix.clone();
            offers.entry(prefix.unwrap()).or_default().insert(name.clone());
        }
        let world = plan::World {
            devices: &devices,
            current: applications.get(own).map(current),
            others: &others,
            offers: &offers,
            ports: &self.store.ports,
            forbidden: &PortRanges::default(),
        };
        plan::plan(desired, &world, false).map_err(|problems| problems.to_string())
    }

    fn override_one(&self, index: usize, pick: usize, wanted: Wanted) -> Result<Option<Change>, String> {
        let name = application_name(index);
        let application = self.store.applications.get(&name).ok_or("there is no such application")?;
        let paths: Vec<&InstancePath> = application.newest().desired.application.instances.keys().collect();
        let root = (*paths.get(pick % paths.len().max(1)).ok_or("it is empty")?).clone();
        let mut after = application.overrides.wanted.clone();
        after.retain(|path, _| !path.is_within(&root));
        let above = root.ancestors().find_map(|path| after.get(&path)).copied().unwrap_or_default();
        if wanted != above {
            after.insert(root, wanted);
        }
        let overrides = Overrides { count: application.overrides.count + 1, wanted: after };
        let specs = self.specs(&Current { overrides: &overrides, ..current(application) })?;
        Ok(Some(Change::Overrides { application: name, overrides, specs }))
    }

    fn specs(&self, current: &Current<'_>) -> Result<Specs, String> {
        let enrolled = self.store.devices.keys().cloned().collect();
        plan::specs(current, &self.store.ports, &enrolled).map_err(|problems| problems.to_string())
    }

    fn bind(&self, index: usize, to_none: bool) -> Result<Change, String> {
        let own = application_name(index);
        let application = self.store.applications.get(&own).ok_or("there is no such application")?;
        let mut bound_to = application.bound_to.clone();
        for other in 0..index {
            let there = self.store.applications.contains_key(&application_name(other));
            let to: BTreeSet<ApplicationName> =
                (there && !to_none).then(|| application_name(other)).into_iter().collect();
            bound_to.insert(prefix(other), to);
        }
        bound_to.retain(|_, to| !to.is_empty());
        let specs = self.specs(&Current { bound_to: &bound_to, ..current(application) })?;
        Ok(Change::Bind { application: own, bound_to, specs })
    }

    /// By force: whoever is bound to it is bound no more.
    fn delete(&self, index: usize) -> Result<Change, String> {
        let own = application_name(index);
        self.store.applications.get(&own).ok_or("there is no such application")?;
        let mut cleaned = Vec::new();
        for (other, application) in &self.store.applications {
            let mut bound_to = application.bound_to.clone();
            for to in bound_to.values_mut() {
                to.remove(&own);
            }
            bound_to.retain(|_, to| !to.is_empty());
            if *other != own && bound_to != application.bound_to {
                let specs = self.specs(&Current { bound_to: &bound_to, ..current(application) })?;
                cleaned.push((other.clone(), bound_to, specs));
            }
        }
        Ok(Change::Delete { application: own, cleaned })
    }

    /// The store writes it; then the answer, then the bell.
    pub(super) fn commit_request(&mut self, request: Request) {
        let Request { id, change } = request;
        let project = self.project.clone();
        let mut rings = Vec::new();
        let result = match change {
            Change::Apply { revision, planned } => {
                let (name, number) = (revision.desired.application.name.clone(), revision.number);
                let applied = self.store.apply(*revision, &planned.new_ports, &planned.specs);
                if applied.is_ok() {
                    self.people.revisions.insert(name.clone(), number);
                }
                rings.push(Ring::Exports(project, name));
                applied
            }
            Change::Overrides { application, overrides, specs } => {
                self.store.set_overrides(&application, overrides, &specs)
            }
            Change::Bind { application, bound_to, specs } => self.store.bind(&application, bound_to, &specs),
            Change::Delete { application, cleaned } => {
                self.people.revisions.remove(&application);
                rings.push(Ring::Exports(project, application.clone()));
                self.store.delete(&application).map(|mut devices| {
                    for (other, bound_to, specs) in cleaned {
                        devices.extend(self.store.bind(&other, bound_to, &specs).unwrap_or_default());
                    }
                    devices
                })
            }
            Change::Remove { device } => {
                let assigned = self.store.assignment(&device).unwrap_or_default();
                let applications: BTreeSet<ApplicationName> =
                    assigned.instances.into_iter().map(|spec| spec.key.application).collect();
                self.store.remove_device(&device);
                self.watch.removed(self.by_id[&device], self.schedule.now());
                rings.extend(applications.iter().map(|name| Ring::Exports(project.clone(), name.clone())));
                rings.extend(Ring::needs(&project, applications));
                rings.push(Ring::Removed(device));
                Ok(Vec::new())
            }
        };
        self.people.busy = None;
        match result {
            Ok(devices) => {
                self.verdict(id, "ok");
                for ring in devices.into_iter().map(Ring::Assignment).chain(rings) {
                    self.ring(ring);
                }
            }
            Err(reason) => self.verdict(id, format!("refused: {reason}")),
        }
        self.next_request();
    }

    /// The manager's process is gone, and with it what it was doing for people.
    pub(super) fn people_lose_the_manager(&mut self) {
        let mut lost: Vec<RequestId> = self.people.busy.take().into_iter().collect();
        lost.extend(std::mem::take(&mut self.people.queue).into_iter().map(|(id, _)| id));
        lost.extend(std::mem::take(&mut self.people.jobs).into_values().map(|job| job.request));
        self.people.acts = Acts::default();
        for id in lost {
            self.verdict(id, "lost: the manager is gone");
        }
    }

    fn act(&mut self, request: RequestId, application: usize, pick: usize, verb: Verb) {
        let name = application_name(application);
        let devices: Vec<DeviceId> = self.store.devices_with(&name).into_iter().collect();
        let there = self.store.applications.get(&name);
        // What is left of a deleted one may hang, and is asked as well.
        if there.is_none() && devices.is_empty() {
            return self.verdict(request, "refused: there is no such application");
        }
        let wished = there.map(|there| there.newest().desired.application.instances.keys());
        let paths: Vec<&InstancePath> = wished.into_iter().flatten().collect();
        // Every third act is for the whole application.
        let path = (!pick.is_multiple_of(3)).then(|| paths.get(pick % paths.len().max(1))).flatten();
        let scope = Scope {
            path: path.map(|path| (*path).clone()),
            application: Some(name.clone()),
            below: false,
            component: None::<ComponentName>,
        };
        let links: Vec<Option<u64>> = devices.iter().map(|id| Some(*self.manager.newest.get(id)? as u64)).collect();
        let now = UnixMillis(self.now());
        let Begun { job, ids } = self.people.acts.begin(now, &links);
        self.people.jobs.insert(job, Job { request, devices: devices.clone(), in_good_weather: self.calm });
        for (device, id) in devices.iter().zip(ids) {
            if let Some(id) = id {
                self.link_acts(device, Act { id, verb, scope: scope.clone(), by: "somebody".to_owned() });
            }
        }
        self.acts_moved();
    }

    pub(super) fn acted(&mut self, conn: ConnId, acted: Acted) {
        self.note(|| format!("act {} is answered on connection {conn}", acted.id));
        self.people.acts.acted(conn as u64, acted);
        self.acts_moved();
    }

    /// The link over which devices were asked is gone.
    pub(super) fn acts_lose(&mut self, conn: ConnId) {
        self.people.acts.lost(conn as u64, "the link ended");
        self.acts_moved();
    }

    pub(super) fn act_deadlines(&mut self) {
        let now = UnixMillis(self.now());
        self.people.acts.tick(now);
        self.acts_moved();
    }

    /// Takes the verdicts that are complete, and comes back for those that are not.
    fn acts_moved(&mut self) {
        for job in self.people.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(judged) = self.people.acts.take(job) else { continue };
            let Some(Job { request, devices, in_good_weather }) = self.people.jobs.remove(&job) else { continue };
            if judged.len() != devices.len() {
                let what = format!("{} devices were asked, and there are {} verdicts", devices.len(), judged.len());
                return self.fail(Failing::Verdict, what);
            }
            if in_good_weather && judged.iter().any(|one| matches!(one.verdict, Verdict::Timeout)) {
                return self.fail(Failing::Verdict, "an act in good weather has no answer in time".to_owned());
            }
            let words: Vec<String> =
                devices.iter().zip(&judged).map(|(id, one)| format!("{id} {}", one.verdict)).collect();
            self.verdict(request, words.join(", "));
        }
        if let Some(at) = self.people.acts.wake_at() {
            let life = self.manager.life;
            self.schedule.at(at.0, Event::Verdicts { life });
        }
    }

    /// Everything that was held or given up is tried again.
    pub(super) fn retry_everything(&mut self) {
        for application in 0..self.story.scale.applications {
            self.people_do(What::Act { application, pick: 0, verb: Verb::Retry });
        }
    }
}

fn current(application: &Application) -> Current<'_> {
    let newest = application.newest();
    Current {
        revision: newest.number,
        desired: &newest.desired,
        bindings: &newest.hosts,
        overrides: &application.overrides,
        bound_to: &application.bound_to,
    }
}
