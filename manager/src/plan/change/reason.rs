//! Two specifications of one instance, and how they differ, in words: `port 3306 → 3307`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use robo_model::graph::{
    AddressKind, Check, Container, ExportValue, Import, Installer, Probe, Process, RestartPolicy, Settings,
};
use robo_model::spec::{InstanceSpec, RecipeFiles};

/// Most files of one recipe that are named.
const MAX_FILES: usize = 5;

/// Most characters of a value that are shown.
const MAX_SHOWN: usize = 60;

/// How `new` differs from `old`, one line each.
pub(super) fn reasons(old: &InstanceSpec, new: &InstanceSpec) -> Vec<String> {
    let mut lines = Lines::default();
    lines.moved("component", &old.component, &new.component);
    match (&old.installer, &new.installer) {
        (Installer::Process(old), Installer::Process(new)) => process(&mut lines, old, new),
        (Installer::Container(old), Installer::Container(new)) => container(&mut lines, old, new),
        (old, new) => lines.moved("installer", old.name(), new.name()),
    }
    if old.component != new.component {
        // Everything else follows from that.
        return lines.0;
    }
    lines.optional("user", old.settings.user.as_deref(), new.settings.user.as_deref());
    files(&mut lines, &old.files, &new.files);
    exports(&mut lines, old, new);
    lines.map([&old.outside, &new.outside], |name| format!("to others: {name}"), ToString::to_string);
    imports(&mut lines, &old.imports, &new.imports);
    settings(&mut lines, &old.settings, &new.settings);
    lines.0
}

/// Lines so far; none stands twice, as when a component and its facet export the same variable.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, line: String) {
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }

    fn moved<T: Display + PartialEq + ?Sized>(&mut self, what: &str, old: &T, new: &T) {
        if old != new {
            self.add(format!("{what} {} → {}", shown(old), shown(new)));
        }
    }

    fn optional<T: Display + PartialEq>(&mut self, what: &str, old: Option<T>, new: Option<T>) {
        let text = |value: &Option<T>| value.as_ref().map_or_else(|| "(none)".to_owned(), |value| shown(value));
        if old != new {
            self.add(format!("{what} {} → {}", text(&old), text(&new)));
        }
    }

    /// Compares two maps by key.
    fn map<'a, K: Display + Ord, V: PartialEq>(
        &mut self,
        [old, new]: [&'a BTreeMap<K, V>; 2],
        name: impl Fn(&K) -> String,
        text: impl Fn(&V) -> String,
    ) {
        let keys: BTreeSet<&'a K> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let name = name(key);
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) if old != new => self.add(format!("{name} {} → {}", text(old), text(new))),
                (Some(old), None) => self.add(format!("- {name} {}", text(old))),
                (None, Some(new)) => self.add(format!("+ {name} {}", text(new))),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

/// A value in one line, cut where it is long.
fn shown<T: Display + ?Sized>(value: &T) -> String {
    let text = value.to_string();
    let mut line: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() {
        return "(empty)".to_owned();
    }
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

fn process(lines: &mut Lines, old: &Process, new: &Process) {
    lines.moved("run", &old.run, &new.run);
    lines.moved("restart", policy(old.restart), policy(new.restart));
    lines.map([&old.env, &new.env], |key| format!("env.{key}"), shown);
}

fn container(lines: &mut Lines, old: &Container, new: &Container) {
    lines.moved("image", &old.image, &new.image);
    lines.optional("run", old.run.as_ref(), new.run.as_ref());
    lines.map([&old.env, &new.env], |key| format!("env.{key}"), shown);
    lines.map([&old.volumes, &new.volumes], |name| format!("volume.{name}"), shown);
    lines.optional("network", old.network.as_ref(), new.network.as_ref());
}

const fn policy(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "never",
    }
}

fn files(lines: &mut Lines, old: &RecipeFiles, new: &RecipeFiles) {
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut differing = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
    for path in differing.by_ref().take(MAX_FILES) {
        let what = match (old.contains_key(path), new.contains_key(path)) {
            (false, _) => "added",
            (true, false) => "removed",
            (true, true) => "changed",
        };
        lines.add(format!("recipe: {path} {what}"));
    }
    let more = differing.count();
    if more > 0 {
        lines.add(format!("recipe: {more} more files differ"));
    }
}

fn exports(lines: &mut Lines, old: &InstanceSpec, new: &InstanceSpec) {
    let text = |value: &ExportValue| match value {
        ExportValue::Text(text) => shown(text),
        ExportValue::Address => "(the device's address)".to_owned(),
        ExportValue::Addresses(AddressKind::V4) => "(the device's IPv4 address)".to_owned(),
        ExportValue::Addresses(AddressKind::V6) => "(the device's IPv6 address)".to_owned(),
        ExportValue::Addresses(AddressKind::All) => "(all the device's addresses)".to_owned(),
        ExportValue::RandomPort => "(a random port)".to_owned(),
        ExportValue::Missing => "(no value)".to_owned(),
    };
    lines.map([&old.exports, &new.exports], |variable| variable.local.to_string(), text);
}

fn imports(lines: &mut Lines, old: &[Import], new: &[Import]) {
    let before = lines.0.len();
    let by_name = |imports: &[Import]| -> BTreeMap<String, String> {
        imports.iter().map(|import| (import.to_string(), flags(import))).collect()
    };
    let (by_old, by_new) = (by_name(old), by_name(new));
    for (name, flags) in &by_new {
        match by_old.get(name) {
            None => lines.add(format!("imports: + {name}{flags}")),
            Some(was) if was != flags => lines.add(format!("imports: {name}{was} → {name}{flags}")),
            Some(_) => {}
        }
    }
    for name in by_old.keys().filter(|name| !by_new.contains_key(*name)) {
        lines.add(format!("imports: - {name}"));
    }
    if old != new && lines.0.len() == before {
        lines.add("imports: in another order".to_owned());
    }
}

fn flags(import: &Import) -> String {
    match (import.optional, import.external) {
        (false, false) => String::new(),
        (true, false) => " (optional)".to_owned(),
        (false, true) => " (external)".to_owned(),
        (true, true) => " (external, optional)".to_owned(),
    }
}

fn settings(lines: &mut Lines, old: &Settings, new: &Settings) {
    lines.optional("deploy-timeout", old.deploy_timeout, new.deploy_timeout);
    lines.optional("start-timeout", old.start_timeout, new.start_timeout);
    lines.optional("stop-timeout", old.stop_timeout, new.stop_timeout);
    lines.optional("check", old.check.as_ref().map(check), new.check.as_ref().map(check));
    lines.moved("drift", &old.drift, &new.drift);
    lines.optional("lease", old.lease, new.lease);
    lines.optional("memory", old.memory, new.memory);
    lines.optional("cpu", old.cpu, new.cpu);
    lines.optional("rollout", old.rollout.as_ref(), new.rollout.as_ref());
}

fn check(check: &Check) -> String {
    let probe = match &check.probe {
        Probe::Http { port, path } => format!("http {port} {path}"),
        Probe::Tcp { port } => format!("tcp {port}"),
        Probe::Run { command } => format!("run {command}"),
    };
    format!("{probe} every {} timeout {}", check.every, check.timeout)
}
