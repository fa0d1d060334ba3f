//! How long a plan takes: 1,000, 10,000 and 100,000 instances, five imports each.
//!
//! A fifth of the instances are hosts; each host has four parts. Each part imports five prefixes, each of which one
//! in a few hundred instances offers.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up must not print figures")]

use std::collections::BTreeMap;

use robo_manager::plan::{Current, Desired, Device, Overrides, Planned, PortRanges, Ports, Prefixes, World, plan};
use robo_model::graph::{Application, Component, ExportValue, Import, Installer, Instance};
use robo_model::label::Labels;
use robo_model::name::{ComponentName, InstancePath, Variable};

/// Parts on each host.
const PARTS: usize = 4;

/// Prefixes that each part imports.
const IMPORTS: usize = 5;

/// Instances of one component.
const ALIKE: usize = 200;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn first_apply(bencher: divan::Bencher<'_, '_>, instances: usize) {
    let case = Case::new(instances);
    bencher.bench_local(|| case.plan(&case.desired, None));
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn nothing_changes(bencher: divan::Bencher<'_, '_>, instances: usize) {
    let case = Case::new(instances);
    let applied = case.plan(&case.desired, None);
    bencher.bench_local(|| case.plan(&case.desired, Some(&applied)));
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn one_port_changes(bencher: divan::Bencher<'_, '_>, instances: usize) {
    let case = Case::new(instances);
    let applied = case.plan(&case.desired, None);
    let mut desired = case.desired.clone();
    let first = desired.application.instances.values_mut().find(|i| i.component.as_str().starts_with("Part"));
    let exports = first.map(|instance| &mut instance.exports).expect("there is a part");
    let port = exports.iter_mut().find(|(name, _)| name.local.as_str() == "port").expect("a part has a port").1;
    *port = ExportValue::Text("80".to_owned());
    bencher.bench_local(|| case.plan(&desired, Some(&applied)));
}

struct Case {
    desired: Desired,
    devices: Vec<Device>,
}

impl Case {
    fn new(instances: usize) -> Self {
        let hosts = instances / (PARTS + 1);
        let kinds = (instances / ALIKE).max(IMPORTS + 1);
        let mut components: BTreeMap<_, _> = (0..kinds).map(|kind| part(kind, kinds)).collect();
        let host = component("Host", Installer::Target, &["ip"], Vec::new());
        components.insert(host.name.clone(), host);
        let mut all = BTreeMap::new();
        for number in 0..hosts {
            let host: InstancePath = format!("/h{number}").parse().expect("a path");
            let mut add = |path: InstancePath, component: &str| {
                let component = components.get(component).expect("a component");
                let (name, exports) = (component.name.clone(), component.exports.clone());
                let instance = Instance {
                    path: path.clone(),
                    component: name,
                    exports,
                    data: BTreeMap::new(),
                    channels: Vec::new(),
                    binding: None,
                };
                all.insert(path, instance);
            };
            for place in 0..PARTS {
                // Neighbours are of different kinds, the same for every run.
                let kind = (number * PARTS + place) * 7 % kinds;
                add(format!("{host}/p{place}").parse().expect("a path"), &format!("Part{kind}"));
            }
            add(host, "Host");
        }
        let application = Application {
            name: "bench".parse().expect("a name"),
            version: None,
            description: None,
            tags: Vec::new(),
            exports_prefix: None,
            exports: BTreeMap::new(),
            rollout: None,
            components,
            instances: all,
        };
        let device = |number: usize| Device {
            id: format!("d{number}").parse().expect("an id"),
            name: format!("h{number}").parse().expect("a name"),
            labels: Labels::new(),
            ports_in_use: Vec::new(),
        };
        Self { desired: Desired { application, recipes: BTreeMap::new() }, devices: (0..hosts).map(device).collect() }
    }

    fn plan(&self, desired: &Desired, applied: Option<&Planned>) -> Planned {
        let none = Ports::new();
        let (overrides, prefixes) = (Overrides::default(), Prefixes::new());
        let current = applied.map(|applied| Current {
            revision: 1,
            desired: &self.desired,
            bindings: &applied.bindings,
            overrides: &overrides,
            bound_to: &prefixes,
        });
        let world = World {
            devices: &self.devices,
            current,
            others: &[],
            offers: &prefixes,
            ports: applied.map_or(&none, |applied| &applied.new_ports),
            forbidden: &PortRanges::default(),
        };
        plan(desired, &world, false).expect("the bench's applications are right")
    }
}

/// A part imports the kinds before it, so that there are no cycles.
fn part(kind: usize, kinds: usize) -> (ComponentName, Component) {
    let import = |back: usize| Import {
        prefix: format!("Part{}", (kind + kinds - back) % kinds).parse().expect("a name"),
        variable: None,
        optional: kind < back,
        external: false,
    };
    let part = component(
        &format!("Part{kind}"),
        Installer::Script,
        &["ip", "port", "url"],
        (1..=IMPORTS).map(import).collect(),
    );
    (part.name.clone(), part)
}

fn component(name: &str, installer: Installer, exports: &[&str], imports: Vec<Import>) -> Component {
    let value = |local: &str| match local {
        "ip" => ExportValue::Address,
        "port" => ExportValue::RandomPort,
        _ => ExportValue::Text("http://$(ip):$(port)/".to_owned()),
    };
    let export = |local: &&str| (format!("{name}.{local}").parse::<Variable>().expect("a variable"), value(local));
    let name: ComponentName = name.parse().expect("a name");
    Component {
        annotation: None,
        lineage: vec![name.clone()],
        facets: [].into(),
        installer,
        children: [].into(),
        exports: exports.iter().map(export).collect(),
        imports,
        settings: Default::default(),
        name,
    }
}
