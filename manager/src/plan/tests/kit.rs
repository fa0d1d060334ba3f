//! Small applications, written one line an instance, and a world that remembers what was applied.

use robo_model::graph::{Binding, Component, ExportValue, Import, Installer, Instance, Process};
use robo_wire::plan::Action;

use crate::plan::*;

/// Reads `PATH COMPONENT INSTALLER [@DEVICE] | EXPORT, … | IMPORT, …`: `Db.ip` is the address, `Db.port=1` a text,
/// `Db.port=random` a random port; `?` after an import makes it optional, `!` external; `process:RUN` has `_` for blanks.
pub(in crate::plan) fn app(lines: &[&str]) -> Desired {
    let mut application = Application {
        name: "shop".parse().unwrap(),
        version: None,
        description: None,
        tags: Vec::new(),
        exports_prefix: None,
        exports: BTreeMap::new(),
        rollout: None,
        components: BTreeMap::new(),
        instances: BTreeMap::new(),
    };
    for line in lines {
        let mut parts = line.split('|').map(str::trim);
        let mut head = parts.next().unwrap().split_whitespace();
        let path: InstancePath = head.next().unwrap().parse().unwrap();
        let name: ComponentName = head.next().unwrap().parse().unwrap();
        let installer = installer(head.next().unwrap());
        let binding = head.next().map(|device| Binding::Device(device.trim_start_matches('@').parse().unwrap()));
        let mut list = || parts.next().unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty());
        let exports: BTreeMap<Variable, ExportValue> = list().map(export).collect();
        let imports = list().map(import).collect();
        let component = Component {
            name: name.clone(),
            annotation: None,
            lineage: vec![name.clone(), "Base".parse().unwrap()],
            facets: Default::default(),
            installer,
            children: Default::default(),
            exports: exports.clone(),
            imports,
            settings: Default::default(),
        };
        application.components.insert(name.clone(), component);
        let instance =
            Instance { path: path.clone(), component: name, exports, data: [].into(), channels: vec![], binding };
        application.instances.insert(path, instance);
    }
    Desired { application, recipes: BTreeMap::new() }
}

fn installer(text: &str) -> Installer {
    match text {
        "target" => Installer::Target,
        "script" => Installer::Script,
        other => Installer::Process(Process {
            run: other.strip_prefix("process:").unwrap().replace('_', " "),
            restart: Default::default(),
            env: [].into(),
        }),
    }
}

fn export(text: &str) -> (Variable, ExportValue) {
    match text.split_once('=') {
        None => (text.parse().unwrap(), ExportValue::Address),
        Some((name, "random")) => (name.parse().unwrap(), ExportValue::RandomPort),
        Some((name, value)) => (name.parse().unwrap(), ExportValue::Text(value.to_owned())),
    }
}

fn import(text: &str) -> Import {
    let name = text.trim_end_matches(['?', '!']);
    let (prefix, variable) = name.split_once('.').unwrap();
    Import {
        prefix: prefix.parse().unwrap(),
        variable: (variable != "*").then(|| variable.parse().unwrap()),
        optional: text.contains('?'),
        external: text.contains('!'),
    }
}

pub(in crate::plan) fn devices(names: &[&str]) -> Vec<Device> {
    let device = |name: &&str| Device {
        id: format!("id-{}", name.to_lowercase()).parse().unwrap(),
        name: name.parse().unwrap(),
        labels: Labels::new(),
        ports_in_use: Vec::new(),
    };
    names.iter().map(device).collect()
}

/// An application as it stands.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Applied {
    pub(in crate::plan) desired: Desired,
    pub(in crate::plan) bindings: BTreeMap<InstancePath, Bound>,
    pub(in crate::plan) overrides: Overrides,
    pub(in crate::plan) bound_to: Prefixes,
}

impl Applied {
    pub(in crate::plan) fn current(&self) -> Current<'_> {
        let Self { desired, bindings, overrides, bound_to } = self;
        Current { revision: 1, desired, bindings, overrides, bound_to }
    }
}

/// Calls an application `name`, and offers variables of it (`Db.port=port`) to others under `prefix`.
pub(in crate::plan) fn offering(mut desired: Desired, name: &str, prefix: &str, exports: &[&str]) -> Desired {
    desired.application.name = name.parse().unwrap();
    desired.application.exports_prefix = Some(prefix.parse().unwrap());
    let pair = |text: &&str| {
        let (inside, outside) = text.split_once('=').unwrap();
        (inside.parse().unwrap(), outside.parse().unwrap())
    };
    desired.application.exports = exports.iter().map(pair).collect();
    desired
}

/// `Wh=stock,other`: bindings of a prefix.
pub(in crate::plan) fn bound(texts: &[&str]) -> Prefixes {
    let one = |text: &&str| {
        let (prefix, to) = text.split_once('=').unwrap();
        (prefix.parse().unwrap(), to.split(',').map(|name| name.parse().unwrap()).collect())
    };
    texts.iter().map(one).collect()
}

/// A world that remembers what was applied.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Store {
    pub(in crate::plan) devices: Vec<Device>,
    pub(in crate::plan) ports: Ports,
    pub(in crate::plan) overrides: Overrides,
    pub(in crate::plan) bound_to: Prefixes,
    pub(in crate::plan) current: Option<(Desired, BTreeMap<InstancePath, Bound>)>,
    pub(in crate::plan) others: Vec<Applied>,
    /// Applications that have nothing to do with the planned one, but that they offer something.
    pub(in crate::plan) only_offering: Vec<Application>,
    pub(in crate::plan) forbidden: PortRanges,
    pub(in crate::plan) keep_overrides: bool,
}

impl Store {
    pub(in crate::plan) fn new(names: &[&str]) -> Self {
        Self { devices: devices(names), ..Self::default() }
    }

    pub(in crate::plan) fn enrolled(&self) -> BTreeSet<DeviceId> {
        self.devices.iter().map(|device| device.id.clone()).collect()
    }

    pub(in crate::plan) fn plan(&self, desired: &Desired) -> Result<Planned, PlanError> {
        let current = self.current.as_ref().map(|(desired, bindings)| Current {
            revision: 1,
            desired,
            bindings,
            overrides: &self.overrides,
            bound_to: &self.bound_to,
        });
        let others: Vec<Current<'_>> = self.others.iter().map(Applied::current).collect();
        let mut offers = Prefixes::new();
        let others_there = self.others.iter().map(|other| &other.desired.application);
        for other in others_there.chain(&self.only_offering) {
            let Application { name, exports_prefix, .. } = other;
            if let Some(prefix) = exports_prefix {
                offers.entry(prefix.clone()).or_default().insert(name.clone());
            }
        }
        let world = World {
            devices: &self.devices,
            current,
            others: &others,
            offers: &offers,
            ports: &self.ports,
            forbidden: &self.forbidden,
        };
        plan(desired, &world, self.keep_overrides)
    }

    /// Looks at what was applied last as another application, and at that one as the planned one.
    pub(in crate::plan) fn turn_to(&mut self, name: &str) {
        let (overrides, bound_to) = (std::mem::take(&mut self.overrides), std::mem::take(&mut self.bound_to));
        let last = self.current.take().map(|(desired, bindings)| Applied { desired, bindings, overrides, bound_to });
        let found = self.others.iter().position(|other| other.desired.application.name.as_str() == name);
        if let Some(next) = found.map(|at| self.others.remove(at)) {
            self.current = Some((next.desired, next.bindings));
            (self.overrides, self.bound_to) = (next.overrides, next.bound_to);
        }
        self.others.extend(last);
        self.others.sort_by(|a, b| a.desired.application.name.cmp(&b.desired.application.name));
    }

    pub(in crate::plan) fn apply(&mut self, desired: &Desired) -> Planned {
        let planned = self.plan(desired).unwrap();
        self.ports.extend(planned.new_ports.clone());
        self.overrides.wanted.clone_from(&planned.overrides);
        self.current = Some((desired.clone(), planned.bindings.clone()));
        planned
    }
}

/// What the devices run of it as it stands.
pub(super) fn standing(
    store: &Store,
    desired: &Desired,
    bindings: &BTreeMap<InstancePath, Bound>,
) -> BTreeMap<DeviceId, Vec<InstanceSpec>> {
    let current = Current { revision: 1, desired, bindings, overrides: &store.overrides, bound_to: &store.bound_to };
    specs(&current, &store.ports, &store.enrolled()).unwrap()
}

/// What a plan says, a line each: changes, ripple, warnings.
pub(in crate::plan) fn told(plan: &Plan) -> Vec<String> {
    let changes = plan.changes.iter().map(|c| {
        let action = match c.action {
            Action::Create => "create".to_owned(),
            Action::Delete => "delete".to_owned(),
            Action::Start => "start".to_owned(),
            Action::Change(effect) => format!("{effect:?}").to_lowercase(),
        };
        format!("{action} {}@{}: {}", c.path, c.device, c.reasons.join("; ")).trim_end_matches([':', ' ']).to_owned()
    });
    let ripple = plan.ripple.iter().map(|r| {
        let text = |value: &Option<String>| value.as_deref().unwrap_or("?").to_owned();
        let values = format!("{} → {}", text(&r.before), text(&r.after));
        let of =
            |application: &Option<ApplicationName>| application.as_ref().map_or("", |name| name.as_str()).to_owned();
        let (who, by) = (of(&r.application), of(&r.provider_application));
        let Ripple { path, device, variable, provider, .. } = r;
        format!("{:?} {who}{path}@{device}: {variable} of {by}{provider} {:?} {values}", r.consequence, r.kind)
    });
    let warnings = plan.warnings.iter().map(|warning| format!("warning {warning}"));
    changes.chain(ripple).chain(warnings).collect()
}
