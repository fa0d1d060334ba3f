//! What holds for every application: shown on random ones, with every instance looked at as a pair with every other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use robo_model::graph::ExportValue;
use robo_model::name::InstancePath;
use robo_model::resolve::{self, Provider};
use robo_model::spec::InstanceSpec;

use super::tests::{Store, app};
use super::{Desired, Planned};

/// Hosts, and kinds of components; few, so that they meet.
const HOSTS: usize = 3;
const KINDS: usize = 5;

/// Kinds differ in what they export and import; instances stand on hosts and some below one another.
fn desired() -> impl Strategy<Value = Desired> {
    let kinds = prop::collection::vec((0_u16..4, prop::collection::vec((0..KINDS, 0_u8..4), 0..3)), KINDS);
    let places = prop::collection::btree_set((0..HOSTS, 0..KINDS, 0..2_usize, any::<bool>()), 0..10);
    (kinds, places).prop_map(|(kinds, places)| {
        let mut lines: Vec<String> = (0..HOSTS).map(|host| format!("/h{host} Host target | Host.ip")).collect();
        for (host, kind, number, below) in places {
            let (port, imports) = &kinds[kind];
            let imports: BTreeMap<String, &str> = imports.iter().map(|(of, how)| imported(*of, *how)).collect();
            let imports: Vec<String> = imports.iter().map(|(name, mark)| format!("{name}{mark}")).collect();
            let port = if *port == 0 { "random".to_owned() } else { port.to_string() };
            let child =
                if below && lines.iter().any(|l| l.starts_with(&format!("/h{host}/i0-0 "))) { "/i0-0" } else { "" };
            lines.push(format!(
                "/h{host}{child}/i{kind}-{number} K{kind} process:x_$(K0.port) | K{kind}.ip, K{kind}.port={port} | {}",
                imports.join(", ")
            ));
        }
        app(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

fn imported(of: usize, how: u8) -> (String, &'static str) {
    match how {
        0 => (format!("K{of}.*"), ""),
        1 => (format!("K{of}.port"), ""),
        2 => (format!("K{of}.*"), "?"),
        _ => (format!("K{of}.ip"), "?"),
    }
}

fn store() -> Store {
    Store::new(&["h0", "h1", "h2"])
}

fn specs(planned: &Planned) -> BTreeMap<InstancePath, InstanceSpec> {
    planned.specs.values().flatten().map(|spec| (spec.key.path.clone(), spec.clone())).collect()
}

fn received(specs: &BTreeMap<InstancePath, InstanceSpec>, importer: &InstanceSpec) -> resolve::Imports {
    let text = |value: &ExportValue| match value {
        ExportValue::Text(text) => text.clone(),
        ExportValue::Address | ExportValue::Addresses(_) | ExportValue::RandomPort | ExportValue::Missing => {
            String::new()
        }
    };
    let providers: Vec<Provider> = specs
        .values()
        .map(|spec| Provider {
            key: spec.key.clone(),
            component: spec.component.clone(),
            exports: spec.exports.iter().map(|(variable, value)| (variable.clone(), text(value))).collect(),
            outside: BTreeMap::new(),
        })
        .collect();
    resolve::resolve(importer, &providers)
}

/// What each instance cannot start without: its parent, and all who serve its mandatory imports.
fn needs(specs: &BTreeMap<InstancePath, InstanceSpec>) -> BTreeMap<InstancePath, BTreeSet<InstancePath>> {
    let of = |spec: &InstanceSpec| {
        let mut mandatory = spec.clone();
        let prefixes: BTreeSet<_> = spec.imports.iter().filter(|i| !i.optional).map(|i| i.prefix.clone()).collect();
        mandatory.imports.retain(|import| prefixes.contains(&import.prefix));
        let providers = received(specs, &mandatory).into_values().flatten().map(|(key, _)| key.path);
        providers.chain(spec.key.path.parent()).collect()
    };
    specs.iter().map(|(path, spec)| (path.clone(), of(spec))).collect()
}

/// Who runs: those who find all they need. Where some only serve each other, the most who may and the fewest who must
/// differ: whether such a circle runs is a matter of what was before.
fn running(specs: &BTreeMap<InstancePath, InstanceSpec>, most: bool) -> BTreeSet<InstancePath> {
    let mut there = if most { specs.clone() } else { BTreeMap::new() };
    loop {
        let find = specs.iter().filter(|(_, spec)| finds_its_needs(&there, spec));
        let next: BTreeMap<_, _> = find.map(|(path, spec)| (path.clone(), spec.clone())).collect();
        if next.len() == there.len() {
            return next.into_keys().collect();
        }
        there = next;
    }
}

/// True when its parent is there and somebody serves each of its mandatory imports.
fn finds_its_needs(there: &BTreeMap<InstancePath, InstanceSpec>, spec: &InstanceSpec) -> bool {
    let received = received(there, spec);
    let served = |prefix| received.get(prefix).is_some_and(|by| !by.is_empty());
    spec.key.path.parent().is_none_or(|parent| there.contains_key(&parent))
        && spec.imports.iter().filter(|import| !import.optional).all(|import| served(&import.prefix))
}

fn reach(needs: &BTreeMap<InstancePath, BTreeSet<InstancePath>>, from: &InstancePath) -> BTreeSet<InstancePath> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(next) = open.pop() {
        open.extend(needs[&next].iter().filter(|path| seen.insert((*path).clone())).cloned());
    }
    seen
}

proptest! {
    #[test]
    fn after_an_apply_there_is_nothing_to_do(first in desired(), second in desired()) {
        let mut store = store();
        for desired in [&first, &second, &first] {
            store.apply(desired);
            let again = store.plan(desired).unwrap();
            prop_assert!(again.plan.is_empty(), "{:?}", again.plan);
            prop_assert!(again.new_ports.is_empty());
        }
    }

    #[test]
    fn ports_are_stable_and_unique(first in desired(), second in desired()) {
        let mut store = store();
        store.apply(&first);
        let before = store.ports.clone();
        store.apply(&second);
        prop_assert!(before.iter().all(|(key, port)| store.ports.get(key) == Some(port)));
        let unique: BTreeSet<_> = store.ports.iter().map(|((device, _, _), port)| (device, port)).collect();
        prop_assert_eq!(unique.len(), store.ports.len());
    }

    #[test]
    fn whoever_receives_something_else_is_told_of(first in desired(), second in desired()) {
        let mut store = store();
        let old = specs(&store.apply(&first));
        let planned = store.apply(&second);
        let new = specs(&planned);
        let changed = planned.plan.changes.iter().map(|change| &change.path);
        let told: BTreeSet<&InstancePath> = changed.chain(planned.plan.ripple.iter().map(|r| &r.path)).collect();
        let [old_most, old_least] = [true, false].map(|most| running(&old, most));
        let [new_most, new_least] = [true, false].map(|most| running(&new, most));
        let unsure: BTreeSet<_> = (&old_most - &old_least).into_iter().chain(&new_most - &new_least).collect();
        let runs = |specs: &BTreeMap<_, InstanceSpec>, running: &BTreeSet<_>| -> BTreeMap<_, _> {
            specs.clone().into_iter().filter(|(path, _)| running.contains(path) && !unsure.contains(path)).collect()
        };
        let (old_running, new_running) = (runs(&old, &old_least), runs(&new, &new_least));
        for (path, spec) in &new {
            let Some(was) = old.get(path) else { continue };
            let (before, after) = (received(&old_running, was), received(&new_running, spec));
            let moves = before.keys().chain(after.keys()).any(|prefix| {
                let variables = |imports: &resolve::Imports| -> BTreeMap<_, _> {
                    let by = imports.get(prefix).into_iter().flatten();
                    by.map(|(key, imported)| (key.clone(), imported.variables.clone())).collect()
                };
                variables(&before) != variables(&after)
            });
            prop_assert!(!moves || told.contains(path), "{path}: {:?}", planned.plan);
        }
    }

    #[test]
    fn waves_keep_the_order(desired in desired()) {
        let planned = store().plan(&desired).unwrap();
        let needs = needs(&specs(&planned));
        let waves = planned.plan.waves.iter().enumerate();
        let wave: BTreeMap<&InstancePath, usize> = waves.flat_map(|(n, wave)| wave.iter().map(move |p| (p, n))).collect();
        prop_assert_eq!(wave.len(), needs.len());
        for (path, providers) in &needs {
            for provider in providers {
                let in_a_cycle = reach(&needs, provider).contains(path);
                let order = wave[provider].cmp(&wave[path]);
                prop_assert_eq!(order, if in_a_cycle { 0.cmp(&0) } else { 0.cmp(&1) }, "{} → {}", path, provider);
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_plan(first in desired(), second in desired()) {
        let mut one = store();
        one.apply(&first);
        let planned = one.plan(&second).unwrap();
        prop_assert_eq!(&one.plan(&second).unwrap(), &planned);
        one.devices.reverse();
        prop_assert_eq!(one.plan(&second).unwrap(), planned);
    }
}
