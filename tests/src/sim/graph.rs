//! The applications of a story: graphs with imports of every kind, drawn from the seed.
//!
//! A *variant* of an application is its graph with a few changes; variant 0 is the graph itself. Variants do not
//! build on one another, so that each can be made by itself.

use std::collections::{BTreeMap, BTreeSet};

use robo_manager::plan::Desired;
use robo_model::graph::{
    Application, Binding, Component, ExportValue, Import, Installer, Instance, Process, RestartPolicy, Settings,
};
use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath, Variable, VariableName};
use robo_model::quantity::Millis;

use super::chance::{self, hits, one_of};
use super::story::Scale;

/// Makes the graphs of one seed.
#[derive(Debug, Clone)]
pub(super) struct Graphs {
    pub(super) seed: u64,
    pub(super) scale: Scale,
}

/// A component before it is one.
struct Draft {
    name: ComponentName,
    installer: Installer,
    exports: BTreeMap<Variable, ExportValue>,
    imports: Vec<Import>,
    settings: Settings,
}

pub(super) fn application_name(index: usize) -> ApplicationName {
    name(&format!("app{index}"))
}

/// The prefix under which application `index` offers to others.
pub(super) fn prefix(index: usize) -> ComponentName {
    name(&format!("P{index}"))
}

pub(super) fn device_name(index: usize) -> DeviceName {
    name(&format!("d{index}"))
}

/// A name of the simulation's own making.
pub(super) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

impl Graphs {
    /// The application of this index, in this variant.
    pub(super) fn make(&self, index: usize, variant: u32) -> Desired {
        let mut rng = chance::of(self.seed, ("graph", index));
        let hosts = self.hosts(index);
        let mut drafts = self.components(&mut rng, index);
        let per = (self.scale.instances / self.scale.applications).saturating_sub(hosts.len());
        let mut places = places(&mut rng, &drafts, &hosts, per);
        let mut changes = chance::of(self.seed, ("variant", index, variant));
        let mut hosts: BTreeMap<InstancePath, DeviceName> = hosts.into_iter().collect();
        if variant > 0 {
            for _ in 0..changes.usize(1..=3) {
                self.change(&mut changes, variant, &mut drafts, &mut places, &mut hosts);
            }
        }
        let application = assemble(index, drafts, places, hosts);
        Desired { application, recipes: BTreeMap::new() }
    }

    /// Which device each host of an application is on, at first. Applications share devices.
    fn hosts(&self, index: usize) -> Vec<(InstancePath, DeviceName)> {
        let mut rng = chance::of(self.seed, ("hosts", index));
        let mut devices: Vec<usize> = (0..self.scale.agents).collect();
        rng.shuffle(&mut devices);
        // Together the applications cover all devices.
        let share = self.scale.agents.div_ceil(self.scale.applications);
        let own = (index * share..(index + 1) * share).filter(|device| *device < self.scale.agents);
        let mut picked: BTreeSet<usize> = own.collect();
        picked.extend(devices.into_iter().take(1 + share / 2));
        picked.into_iter().map(|device| (name(&format!("/h{device}")), device_name(device))).collect()
    }

    fn components(&self, rng: &mut fastrand::Rng, index: usize) -> Vec<Draft> {
        let count = if self.scale.instances < 40 { rng.usize(2..=5) } else { rng.usize(5..=9) };
        let mut drafts: Vec<Draft> = Vec::new();
        for at in 0..count {
            let imports = imports(rng, at, index);
            drafts.push(draft(rng, at, imports));
        }
        if hits(rng, 0.25) && count > 2 {
            // Two that cannot be without each other: neither ever starts, and nothing else suffers from it.
            let (a, b) = (drafts.len(), drafts.len() + 1);
            drafts.push(draft(rng, a, vec![import(&format!("C{b}"), None, false, false)]));
            drafts.push(draft(rng, b, vec![import(&format!("C{a}"), None, false, false)]));
        }
        drafts
    }

    fn change(
        &self,
        rng: &mut fastrand::Rng,
        variant: u32,
        drafts: &mut [Draft],
        places: &mut BTreeMap<InstancePath, usize>,
        hosts: &mut BTreeMap<InstancePath, DeviceName>,
    ) {
        let at = rng.usize(..drafts.len());
        let draft = &mut drafts[at];
        match rng.usize(..8) {
            0 => {
                let value = ExportValue::Text(format!("v{variant}"));
                draft.exports.insert(name(&format!("C{at}.v")), value);
            }
            1 => draft.settings.user = Some(format!("user{variant}")),
            2 => draft.settings.start_timeout = Some(Millis(1_000 * u64::from(variant % 100 + 30))),
            3 => {
                let is_process = matches!(draft.installer, Installer::Process(_));
                let other = process(format!("run --variant {variant}"));
                draft.installer = if is_process { Installer::Script } else { other };
            }
            4 => {
                let gone: Vec<InstancePath> = places.keys().cloned().collect();
                if let Some(gone) = one_of(rng, &gone) {
                    places.retain(|path, _| !path.is_within(gone));
                }
            }
            5 | 6 => {
                let above: Vec<InstancePath> = hosts.keys().cloned().collect();
                if let Some(above) = one_of(rng, &above) {
                    places.insert(name(&format!("{above}/new{variant}")), at);
                }
            }
            _ => {
                let all: Vec<InstancePath> = hosts.keys().cloned().collect();
                if let Some(host) = one_of(rng, &all) {
                    // Perhaps one that is not enrolled yet.
                    let device = rng.usize(..self.scale.agents + 2);
                    hosts.insert(host.clone(), device_name(device));
                }
            }
        }
    }
}

/// What the component at `at` imports: from earlier ones, from others of its own kind, from other applications.
fn imports(rng: &mut fastrand::Rng, at: usize, index: usize) -> Vec<Import> {
    let mut imports = Vec::new();
    for earlier in at.saturating_sub(4)..at {
        if hits(rng, 0.3) {
            let variable = ["port", "ip", "v"].get(rng.usize(..5)).copied();
            imports.push(import(&format!("C{earlier}"), variable, hits(rng, 0.3), false));
        }
    }
    if at > 1 && hits(rng, 0.15) {
        // A facet: whoever has it will do, itself aside.
        imports.push(import("F", Some("v"), hits(rng, 0.5), false));
    }
    if hits(rng, 0.1) {
        imports.push(import(&format!("C{at}"), Some("ip"), true, false));
    }
    if index > 0 && at > 0 && hits(rng, 0.25) {
        let other = rng.usize(..index);
        imports.push(import(prefix(other).as_str(), Some("port"), hits(rng, 0.4), true));
    }
    imports
}

fn draft(rng: &mut fastrand::Rng, at: usize, imports: Vec<Import>) -> Draft {
    let own = name::<ComponentName>(&format!("C{at}"));
    let mut exports = BTreeMap::from([
        (name(&format!("C{at}.ip")), ExportValue::Address),
        (name(&format!("C{at}.port")), ExportValue::RandomPort),
        (name(&format!("C{at}.v")), ExportValue::Text("v0".to_owned())),
    ]);
    if at < 2 {
        exports.insert(name("F.v"), ExportValue::Text(format!("f{at}")));
    }
    let named = imports.iter().find(|import| !import.optional && import.variable.is_some());
    let installer = match (rng.usize(..3), named) {
        (0, _) => Installer::Script,
        // A value of another in the command line: when it moves, the process starts anew.
        (1, Some(import)) => process(format!("run --to $({import})")),
        _ => process(format!("run --port $(C{at}.port)")),
    };
    // Longer than a device waits before it dials again: a shorter one ends whenever the manager is started anew.
    let lease = hits(rng, 0.2).then(|| Millis::from_secs(rng.u64(30..=120)));
    Draft { name: own, installer, exports, imports, settings: Settings { lease, ..Settings::default() } }
}

fn process(run: String) -> Installer {
    Installer::Process(Process { run, restart: RestartPolicy::Always, env: BTreeMap::new() })
}

fn import(prefix: &str, variable: Option<&str>, optional: bool, external: bool) -> Import {
    Import { prefix: name(prefix), variable: variable.map(name::<VariableName>), optional, external }
}

/// Where instances stand: on hosts, or below one another; the number is that of the component.
fn places(
    rng: &mut fastrand::Rng,
    drafts: &[Draft],
    hosts: &[(InstancePath, DeviceName)],
    count: usize,
) -> BTreeMap<InstancePath, usize> {
    let mut places: BTreeMap<InstancePath, usize> = BTreeMap::new();
    let hosts: Vec<&InstancePath> = hosts.iter().map(|(path, _)| path).collect();
    for n in 0..count.max(drafts.len()) {
        // The first of each component for sure; few providers that all import, many that import.
        let component = if n < drafts.len() { n } else { rng.usize(..drafts.len()).max(rng.usize(..drafts.len())) };
        // What stands below another never is what that one needs: it would start it anew with each of its own starts.
        let may_be_above = |(path, at): (&InstancePath, &usize)| (*at <= component).then(|| path.clone());
        let below: Vec<InstancePath> = places.iter().filter_map(may_be_above).collect();
        let parent = match one_of(rng, &below) {
            Some(parent) if hits(rng, 0.3) && parent.depth() < 4 => parent.clone(),
            _ => (*one_of(rng, &hosts).unwrap()).clone(),
        };
        places.insert(name(&format!("{parent}/i{n}")), component);
    }
    places
}

fn assemble(
    index: usize,
    drafts: Vec<Draft>,
    places: BTreeMap<InstancePath, usize>,
    hosts: BTreeMap<InstancePath, DeviceName>,
) -> Application {
    let vm: ComponentName = name("Vm");
    let all: BTreeSet<ComponentName> = drafts.iter().map(|draft| draft.name.clone()).collect();
    let address = BTreeMap::from([(name("Vm.ip"), ExportValue::Address)]);
    let mut components = BTreeMap::new();
    let mut instances = BTreeMap::new();
    for (path, device) in hosts {
        let binding = Some(Binding::Device(device));
        instances.insert(path.clone(), instance(path, &vm, address.clone(), binding));
    }
    for (path, at) in places {
        let draft = &drafts[at];
        instances.insert(path.clone(), instance(path, &draft.name, draft.exports.clone(), None));
    }
    let host = Draft {
        name: vm,
        installer: Installer::Target,
        exports: address,
        imports: Vec::new(),
        settings: Settings::default(),
    };
    for draft in drafts.into_iter().chain([host]) {
        components.insert(draft.name.clone(), component(draft, all.clone()));
    }
    Application {
        name: application_name(index),
        version: None,
        description: None,
        tags: Vec::new(),
        exports_prefix: Some(prefix(index)),
        exports: BTreeMap::from([(name("C0.port"), name("port"))]),
        rollout: None,
        components,
        instances,
    }
}

fn component(draft: Draft, children: BTreeSet<ComponentName>) -> Component {
    let facets = draft.exports.keys().filter(|variable| variable.prefix.as_str() == "F");
    Component {
        lineage: vec![draft.name.clone()],
        annotation: None,
        facets: facets.map(|variable| variable.prefix.clone()).collect(),
        installer: draft.installer,
        children,
        exports: draft.exports,
        imports: draft.imports,
        settings: draft.settings,
        name: draft.name,
    }
}

fn instance(
    path: InstancePath,
    component: &ComponentName,
    exports: BTreeMap<Variable, ExportValue>,
    binding: Option<Binding>,
) -> Instance {
    Instance { path, component: component.clone(), exports, data: BTreeMap::new(), channels: Vec::new(), binding }
}
