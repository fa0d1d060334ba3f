//! How long a plan takes, and how much memory: 1,000, 10,000 and 100,000 instances, five imports each.
//!
//! A fifth of the instances are hosts; each host has four parts. A part imports six or seven prefixes, so that there
//! are five imports for each instance; one in a few hundred instances offers each of them. Each case runs in a process
//! of its own, so that its memory is its own.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up must not print figures")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use robo_manager::plan::{Current, Desired, Device, Overrides, Planned, PortRanges, Ports, Prefixes, World, plan};
use robo_model::graph::{Application, Component, ExportValue, Import, Installer, Instance};
use robo_model::label::Labels;
use robo_model::name::{ComponentName, InstancePath, Variable};

/// Parts on each host.
const PARTS: usize = 4;

/// Prefixes that a part imports at least; each fourth kind imports one more, which makes 6.25 on the average.
const IMPORTS: usize = 6;

/// Instances of one component.
const ALIKE: usize = 200;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

const CASES: [&str; 3] = ["first apply", "nothing changes", "one port changes"];

/// How often a case runs; an odd number, so that there is a median.
const RUNS: usize = 7;

/// Says which case a process is to run.
const CASE: &str = "ROBO_BENCH_CASE";

fn main() {
    let case = std::env::var(CASE).ok();
    match case.as_deref().and_then(|case| case.split_once('/')) {
        Some((name, instances)) => run(name, instances.parse().expect("a number")),
        None => all(),
    }
}

/// Runs each case in a process of its own.
fn all() {
    println!("{:<18} {:>9} {:>8} {:>12} {:>10} {:>12}", "case", "instances", "imports", "median", "before", "peak");
    let program = std::env::current_exe().expect("this program");
    for case in CASES {
        for instances in SIZES {
            let status = std::process::Command::new(&program).env(CASE, format!("{case}/{instances}")).status();
            assert!(status.expect("it starts").success(), "{case} of {instances} failed");
        }
    }
}

fn run(name: &str, instances: usize) {
    let case = Case::new(instances);
    let applied = (name != "first apply").then(|| case.plan(&case.desired, None));
    let mut desired = case.desired.clone();
    if name == "one port changes" {
        change_a_port(&mut desired);
    }
    let before = memory("VmRSS:");
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(case.plan(&desired, applied.as_ref()));
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times.get(RUNS / 2).copied().unwrap_or_default();
    let imports =
        desired.application.instances.values().filter_map(|i| desired.application.components.get(&i.component));
    let imports: usize = imports.map(|component| component.imports.len()).sum();
    let (before, peak) = (format!("{before} MiB"), format!("{} MiB", memory("VmHWM:")));
    println!("{name:<18} {instances:>9} {imports:>8} {median:>12.1?} {before:>10} {peak:>12}");
}

/// A figure of this process, in mebibytes; 0 where the system does not tell.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found =
        status.lines().find_map(|l| l.strip_prefix(line)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    found.unwrap_or_default() / 1024
}

fn change_a_port(desired: &mut Desired) {
    let first = desired.application.instances.values_mut().find(|i| i.component.as_str().starts_with("Part"));
    let exports = first.map(|instance| &mut instance.exports).expect("there is a part");
    let port = exports.iter_mut().find(|(name, _)| name.local.as_str() == "port").expect("a part has a port").1;
    *port = ExportValue::Text("80".to_owned());
}

struct Case {
    desired: Desired,
    devices: Vec<Device>,
}

impl Case {
    fn new(instances: usize) -> Self {
        let hosts = instances / (PARTS + 1);
        let kinds = (instances / ALIKE).max(IMPORTS + 2);
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
        (1..=IMPORTS + usize::from(kind.is_multiple_of(4))).map(import).collect(),
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
