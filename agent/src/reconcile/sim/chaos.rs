//! Seeded chaos in the bottle: whatever happens, in the end everything is as wished.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{Drift, Installer};
use robo_model::name::InstancePath;
use robo_model::quantity::Millis;
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use robo_wire::api::{Scope, Verb};
use robo_wire::digest;
use robo_wire::event::EventBody;

use super::super::Input;
use super::{World, failed, key, provider, spec};
use crate::ledger::Hold;
use crate::order::Outcome;

/// A small random tree. Imports point to earlier components or to `R0`, `R1` elsewhere, so that there is one end.
fn random_specs(rng: &mut fastrand::Rng) -> Vec<InstanceSpec> {
    let mut specs = vec![spec("/h", "H", "target", &[])];
    for n in 0..rng.usize(1..8) {
        let parent = specs[rng.usize(..specs.len())].key.path.clone();
        let mut imports = Vec::new();
        for earlier in 0..n {
            if rng.usize(..4) == 0 {
                imports.push(format!("C{earlier}{}", if rng.bool() { "?" } else { "" }));
            }
        }
        let remote = rng.usize(..4);
        if remote < 2 {
            imports.push(format!("R{remote}"));
        }
        let installer = match (rng.usize(..3), remote) {
            (0, _) => "script".to_owned(),
            (1, 0 | 1) => format!("run --to $(R{remote}.ip)"),
            _ => "run --port $(port)".to_owned(),
        };
        let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
        specs.push(spec(&format!("{parent}/c{n}"), &format!("C{n}"), &installer, &imports));
    }
    specs.sort_by(|a, b| a.key.cmp(&b.key));
    specs
}

/// What must be started in the end: least fixed point of parents and imports.
fn expected(world: &World) -> BTreeMap<InstanceKey, InstanceState> {
    let specs: BTreeMap<InstanceKey, &InstanceSpec> = world.specs.iter().map(|s| (s.key.clone(), s)).collect();
    let wish = |spec: &InstanceSpec| {
        let above = spec.key.path.ancestors().filter_map(|path| specs.get(&key(path.as_str())));
        let most = above.map(|s| s.wanted).chain([spec.wanted]).min().unwrap();
        // A machine does not stop.
        if spec.installer == Installer::Target { most_of_host(most) } else { most }
    };
    let remote: BTreeSet<String> =
        world.core.ledger().imports.values().map(|provider| provider.component.to_string()).collect();
    let mut started: BTreeSet<InstanceKey> = BTreeSet::new();
    loop {
        let offered: BTreeSet<String> =
            started.iter().map(|key| specs[key].component.to_string()).chain(remote.iter().cloned()).collect();
        let more: BTreeSet<InstanceKey> = specs
            .values()
            .filter(|spec| wish(spec) == Wanted::Started)
            .filter(|spec| spec.key.path.parent().is_none_or(|path| started.contains(&key(path.as_str()))))
            .filter(|spec| spec.imports.iter().all(|i| i.optional || offered.contains(i.prefix.as_str())))
            .map(|spec| spec.key.clone())
            .collect();
        if more == started {
            break;
        }
        started = more;
    }
    let state = |spec: &InstanceSpec| match wish(spec) {
        Wanted::NotDeployed => InstanceState::NotDeployed,
        Wanted::Stopped => InstanceState::DeployedStopped,
        Wanted::Started if started.contains(&spec.key) => InstanceState::DeployedStarted,
        Wanted::Started if spec.key.path.parent().is_some_and(|path| !started.contains(&key(path.as_str()))) => {
            InstanceState::WaitingForAncestor
        }
        Wanted::Started => InstanceState::Unresolved,
    };
    specs.values().map(|spec| (spec.key.clone(), state(spec))).collect()
}

fn most_of_host(most: Wanted) -> Wanted {
    match most {
        Wanted::NotDeployed => Wanted::NotDeployed,
        Wanted::Stopped | Wanted::Started => Wanted::Started,
    }
}

fn mutate(world: &mut World, rng: &mut fastrand::Rng) {
    let at = rng.usize(..world.specs.len());
    match rng.usize(..9) {
        0..3 => {
            let wanted = [Wanted::Started, Wanted::Started, Wanted::Stopped, Wanted::NotDeployed];
            world.specs[at].wanted = wanted[rng.usize(..4)];
        }
        3 => {
            let value = robo_model::graph::ExportValue::Text(rng.u8(..).to_string());
            let name = format!("{}.x", world.specs[at].component).parse().unwrap();
            world.specs[at].exports.insert(name, value);
        }
        4 => world.specs[at].settings.user = Some(rng.u8(..).to_string()),
        5 if at > 0 => world.specs[at].installer = robo_model::graph::Installer::Script,
        6 => world.specs[at].settings.start_timeout = Some(Millis(rng.u64(1..1000))),
        7 => world.specs[at].settings.drift = if rng.bool() { Drift::Heal } else { Drift::Report },
        8 if rng.bool() => world.specs = random_specs(rng),
        _ => {
            let gone = world.specs[at].key.path.clone();
            if at > 0 {
                world.specs.retain(|spec| !spec.key.path.is_within(&gone));
            }
        }
    }
    world.assign();
}

fn chaos(world: &mut World, rng: &mut fastrand::Rng) {
    let running: Vec<InstanceKey> = world.running.keys().cloned().collect();
    match rng.usize(..26) {
        0..9 if !running.is_empty() => {
            let key = &running[rng.usize(..running.len())];
            world.finish(key, if rng.usize(..4) == 0 { failed("chaos") } else { Outcome::Done });
        }
        9 => {
            let alive: Vec<InstanceKey> = world.processes.keys().cloned().collect();
            if !alive.is_empty() {
                world.kill(&alive[rng.usize(..alive.len())], Some(3));
            }
        }
        10 => mutate(world, rng),
        11 | 12 => {
            let name = format!("R{}", rng.usize(..2));
            world.provide(provider(&format!("/{name}"), &name, &rng.usize(..3).to_string()));
        }
        13 => world.withdraw(&format!("/R{}", rng.usize(..2))),
        14 => world.crash(),
        15 => world.tell(),
        16 => drop(world.tell_one(false)),
        17 => world.pass(Millis(rng.u64(..30_000))),
        18 => world.disconnect(),
        19 => world.release(),
        20 => {
            let all = world.core.ledger().state.records.keys();
            let keys: BTreeSet<InstanceKey> = all.filter(|_| rng.bool()).cloned().collect();
            world.input(Input::Released(keys));
        }
        21 => {
            let verb = if rng.bool() { Verb::Cancel } else { Verb::Retry };
            let paths: Vec<InstancePath> = world.specs.iter().map(|spec| spec.key.path.clone()).collect();
            let path = rng.bool().then(|| paths[rng.usize(..paths.len())].clone());
            world.act(verb, Scope { path, below: rng.bool(), ..Scope::default() });
        }
        22 => {
            let path = world.specs[rng.usize(..world.specs.len())].key.path.to_string();
            world.drift(&path, if rng.usize(..4) == 0 { &[] } else { &["a.conf changed"] });
        }
        23 => {
            let path = world.specs[rng.usize(..world.specs.len())].key.path.to_string();
            world.health(&path, rng.bool());
        }
        _ => {
            if let Some(report) = world.inbox.pop_front() {
                let cut = if rng.usize(..4) == 0 { rng.usize(..4) } else { usize::MAX };
                world.input_cut(Input::Report(report), cut);
            }
        }
    }
}

/// Enough to meet each pair of troubles, few enough for a few seconds.
const SEEDS: u64 = 60;

fn simulate(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    world.specs = random_specs(&mut rng);
    world.assign();
    for _ in 0..250 {
        chaos(&mut world, &mut rng);
    }
    // The weather clears: nothing fails from here on, and nobody holds anything.
    world.act(Verb::Retry, Scope::default());
    world.run_long();
    for spec in world.specs.clone() {
        world.health(spec.key.path.as_str(), true);
    }
    world.run_long();
    for record in world.core.ledger().state.records.values() {
        assert!(record.drain.is_none() && record.hold == Hold::Free, "{record:?}");
        assert!(record.drift.is_empty() || record.spec.settings.drift == Drift::Report, "{record:?}");
    }
    let ledger = world.core.ledger();
    assert_eq!(world.core.imports_digest(), digest::of_providers(ledger.imports.values()));
    assert_eq!(world.core.assignment_digest(), digest::of_assignment(&ledger.assignment));
    let got: BTreeMap<_, _> =
        world.core.ledger().state.records.iter().map(|(key, record)| (key.clone(), record.state)).collect();
    assert_eq!(got, expected(&world));
    world.tell();
    let told: Vec<InstanceReport> = world.manager.reports.values().cloned().collect();
    assert_eq!(told, world.core.reports().collect::<Vec<_>>());
    let seqs: Vec<u64> = world.manager.events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..).take(seqs.len()).collect::<Vec<_>>(), "events lost or doubled");
    assert!(world.core.ledger().state.spool.is_empty());
    // At rest a restart changes nothing and runs nothing (but that it may learn a process id that a crash hid).
    let before: Vec<_> = world.core.reports().map(|report| InstanceReport { pid: None, ..report }).collect();
    world.ordered();
    world.crash();
    world.run_long();
    let idle = |line: &String| line.starts_with("watch ") || line.starts_with("forget ");
    assert!(world.ordered().iter().all(idle));
    assert_eq!(before, world.core.reports().map(|report| InstanceReport { pid: None, ..report }).collect::<Vec<_>>());
}

#[test]
fn whatever_happens_it_converges() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}

#[test]
fn states_follow_one_another_in_the_history() {
    let mut world = World::new();
    world.specs = random_specs(&mut fastrand::Rng::with_seed(3));
    world.assign();
    world.run_long();
    world.tell();
    let mut last: BTreeMap<InstanceKey, InstanceState> = BTreeMap::new();
    for event in &world.manager.events {
        if let EventBody::State { from, to, .. } = &event.body {
            let before = last.insert(event.key.clone().unwrap(), *to).unwrap_or(InstanceState::NotDeployed);
            assert_eq!(before, *from, "{event:?}");
        }
    }
    assert!(!last.is_empty());
}
