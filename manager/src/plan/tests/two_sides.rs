//! What a plan promises is what comes of it: the same changes, looked at with [`robo_model::resolve`] and
//! [`robo_model::effect`] alone, instance by instance and in rounds until nothing moves any more.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use robo_model::effect::{self, Effect};
use robo_model::graph::{ExportValue, Installer};
use robo_model::name::Variable;
use robo_model::resolve::{self, Imports, Provider};
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::{Step, Wanted};
use robo_wire::plan::{Consequence, Plan};

use super::{Applied, Store, app, bound, offering};
use crate::plan::{Desired, Planned, specs};

const KINDS: usize = 4;

/// An application with a host on each of two devices, that imports from itself and from the one that offers `from`.
fn desired(name: &'static str, prefix: &'static str, from: &'static str) -> impl Strategy<Value = Desired> {
    let import = (0..KINDS, 0_u8..7);
    let kind = (0_u8..3, any::<bool>(), prop::collection::vec(import, 0..3));
    let kinds = prop::collection::vec(kind, KINDS);
    let places = prop::collection::btree_set((0..2_usize, 0..KINDS, any::<bool>()), 0..7);
    (kinds, places, 0_u8..4).prop_map(move |(kinds, places, swapped)| {
        // Now and then the first host is the other device.
        let at = if swapped == 0 { ["b", "a"] } else { ["a", "b"] };
        let mut lines: Vec<String> = (0..2).map(|host| format!("/h{host} H{host} target @{}", at[host])).collect();
        for (host, kind, below) in places {
            let (port, process, imports) = &kinds[kind];
            let imports: BTreeSet<String> = imports.iter().map(|(of, how)| imported(*of, *how, from)).collect();
            let parent = format!("/h{host}/p{}", (kind + 1) % KINDS);
            let path = if below && lines.iter().any(|line| line.starts_with(&format!("{parent} "))) {
                format!("{parent}/p{kind}")
            } else {
                format!("/h{host}/p{kind}")
            };
            if lines.iter().any(|line| line.starts_with(&format!("{path} "))) {
                continue;
            }
            let installer = if *process { format!("process:x_$(K0.port)_$({from}.k1)") } else { "script".to_owned() };
            let imports = imports.into_iter().collect::<Vec<_>>().join(", ");
            lines.push(format!("{path} K{kind} {installer} | K{kind}.ip, K{kind}.port={port} | {imports}"));
        }
        let exports: Vec<String> = (0..KINDS).map(|kind| format!("K{kind}.port=k{kind}")).collect();
        let lines = app(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        offering(lines, name, prefix, &exports.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

fn imported(of: usize, how: u8, from: &str) -> String {
    match how {
        0 => format!("K{of}.*"),
        1 => format!("K{of}.port"),
        2 => format!("K{of}.port?"),
        3 => format!("K{of}.ip?"),
        4 => format!("{from}.*!"),
        5 => format!("{from}.k{of}!"),
        _ => format!("{from}.k{of}?!"),
    }
}

/// Everything of all applications: where it stands, and what it is.
type All = BTreeMap<InstanceKey, (String, InstanceSpec)>;

type Keys = BTreeSet<InstanceKey>;

fn all<'a>(of: impl IntoIterator<Item = (&'a robo_model::name::DeviceId, &'a Vec<InstanceSpec>)>) -> All {
    let each = of.into_iter().flat_map(|(device, specs)| specs.iter().map(move |spec| (device, spec)));
    each.map(|(device, spec)| (spec.key.clone(), (device.to_string(), spec.clone()))).collect()
}

fn provider((device, spec): &(String, InstanceSpec)) -> Provider {
    let text = |value: &ExportValue| match value {
        ExportValue::Text(text) => text.clone(),
        ExportValue::Address | ExportValue::Addresses(_) | ExportValue::RandomPort | ExportValue::Missing => {
            format!("{value:?} of {device}")
        }
    };
    let exports: BTreeMap<Variable, String> = spec.exports.iter().map(|(name, v)| (name.clone(), text(v))).collect();
    let outside = spec.outside.iter().map(|(name, inner)| (name.clone(), exports[inner].clone())).collect();
    Provider { key: spec.key.clone(), component: spec.component.clone(), exports, outside }
}

fn received(all: &All, running: &Keys, spec: &InstanceSpec) -> Imports {
    let providers: Vec<Provider> = running.iter().filter_map(|key| all.get(key)).map(provider).collect();
    resolve::resolve(spec, &providers)
}

fn is_served(all: &All, running: &Keys, key: &InstanceKey) -> bool {
    let spec = &all[key].1;
    resolve::missing(&spec.imports, &received(all, running, spec)).is_empty()
        && parent(all, key).is_none_or(|parent| running.contains(&parent))
}

fn parent(all: &All, key: &InstanceKey) -> Option<InstanceKey> {
    let above = key.path.ancestors().map(|path| InstanceKey { path, application: key.application.clone() });
    above.into_iter().find(|above| all.contains_key(above))
}

fn wanted(all: &All) -> Keys {
    let is = |key: &InstanceKey| {
        let mut above = Some(key.clone());
        while let Some(at) = above {
            if all[&at].1.wanted != Wanted::Started {
                return false;
            }
            above = parent(all, &at);
        }
        true
    };
    all.keys().filter(|key| is(key)).cloned().collect()
}

/// Who starts from nothing.
fn up(all: &All) -> Keys {
    let wanted = wanted(all);
    let mut up = Keys::new();
    while let Some(next) = wanted.iter().find(|key| !up.contains(*key) && is_served(all, &up, key)) {
        up.insert(next.clone());
    }
    up
}

/// Who of `running` goes on.
fn lasting(all: &All, mut running: Keys) -> Keys {
    while let Some(next) = running.iter().find(|key| !is_served(all, &running, key)).cloned() {
        running.remove(&next);
    }
    running
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    update: Keys,
    start: Keys,
    restart: Keys,
    wait: Keys,
}

/// What instances do that no change is about, machines aside: they have no steps. Those of `forced` restart.
fn outcome(before: &All, after: &All, forced: &Keys) -> Outcome {
    let change = |key: &InstanceKey| match (before.get(key), after.get(key)) {
        (Some(old), Some(new)) if old.0 != new.0 => Effect::Replace,
        (Some(old), Some(new)) => effect::of_change(&old.1, &new.1),
        _ => Effect::None,
    };
    let (was_up, is_up) = (up(before), up(after));
    let mut was: Keys = lasting(before, wanted(before)).difference(&is_up).cloned().collect();
    was.extend(was_up);
    let can: Keys = wanted(after).into_iter().filter(|key| was.contains(key) || is_up.contains(key)).collect();
    let is = lasting(after, can);
    let both: Keys = was.intersection(&is).cloned().collect();
    let restarts = |key: &&InstanceKey| change(key) >= Effect::Restart || forced.contains(*key);
    let mut again: Keys = both.iter().filter(restarts).cloned().collect();
    let update = loop {
        let steady: Keys = both.difference(&again).cloned().collect();
        let mut next = again.clone();
        let mut update = Keys::new();
        for key in &steady {
            let (old, new) = (&before[key].1, &after[key].1);
            let moved = moved(&received(before, &was, old), &received(after, &is, new));
            let restarts = moved.iter().any(|v| effect::of_import_change(new, &v.prefix, &v.local) >= Effect::Restart);
            if restarts || !is_served(after, &steady, key) {
                next.insert(key.clone());
            } else if !moved.is_empty() || sees(after, &again, key) {
                update.insert(key.clone());
            }
        }
        if next == again {
            break update;
        }
        again = next;
    };
    let mine = |keys: &mut dyn Iterator<Item = &InstanceKey>| -> Keys {
        let unchanged = |key: &&InstanceKey| {
            before.contains_key(*key) && change(key) < Effect::Restart && after[*key].1.installer != Installer::Target
        };
        keys.filter(|key| after.contains_key(*key)).filter(unchanged).cloned().collect()
    };
    Outcome {
        update: mine(&mut update.iter()),
        start: mine(&mut is.difference(&was)),
        restart: mine(&mut again.iter()),
        wait: mine(&mut was.difference(&is)),
    }
}

/// True when it imports from somebody who is away for a while.
fn sees(all: &All, again: &Keys, key: &InstanceKey) -> bool {
    !received(all, again, &all[key].1).is_empty()
}

/// The variables that differ.
fn moved(before: &Imports, after: &Imports) -> BTreeSet<Variable> {
    let flat = |imports: &Imports| -> BTreeSet<(InstanceKey, Variable, String)> {
        let by = imports.iter().flat_map(|(prefix, by)| by.iter().map(move |(key, imported)| (prefix, key, imported)));
        by.flat_map(|(prefix, key, imported)| {
            let variable =
                |local: &robo_model::name::VariableName| Variable { prefix: prefix.clone(), local: local.clone() };
            imported.variables.iter().map(move |(local, value)| (key.clone(), variable(local), value.clone()))
        })
        .collect()
    };
    flat(before).symmetric_difference(&flat(after)).map(|(_, variable, _)| variable.clone()).collect()
}

/// What the plan says of them.
fn promised(plan: &Plan, before: &All, after: &All) -> Outcome {
    let mut steps: BTreeMap<InstanceKey, Vec<Step>> = BTreeMap::new();
    for step in plan.steps.iter().flatten() {
        let application = step.application.clone().unwrap_or_else(|| plan.application.clone());
        steps.entry(InstanceKey { application, path: step.path.clone() }).or_default().push(step.step);
    }
    let mut outcome = Outcome::default();
    for (key, steps) in steps {
        let (Some(old), Some(new)) = (before.get(&key), after.get(&key)) else { continue };
        if old.0 != new.0 || effect::of_change(&old.1, &new.1) >= Effect::Restart {
            continue;
        }
        match (steps.contains(&Step::Stop), steps.contains(&Step::Start), steps.contains(&Step::Update)) {
            (true, true, false) => outcome.restart.insert(key),
            (true, false, false) => outcome.wait.insert(key),
            (false, true, false) => outcome.start.insert(key),
            (false, false, true) => outcome.update.insert(key),
            // One that is stopped is only put down anew, with what it stands on.
            (false, false, false) if steps.contains(&Step::Deploy) => continue,
            other => panic!("{key}: {other:?} {steps:?}"),
        };
    }
    outcome
}

/// For each importer that runs on one side at least the strongest line that the ripple has.
fn rippled(plan: &Plan) -> BTreeMap<InstanceKey, Consequence> {
    let mut most: BTreeMap<InstanceKey, Consequence> = BTreeMap::new();
    for line in &plan.ripple {
        let application = line.application.clone().unwrap_or_else(|| plan.application.clone());
        let all = most.entry(InstanceKey { application, path: line.path.clone() }).or_insert(line.consequence);
        *all = line.consequence.max(*all);
    }
    most
}

fn check_order(plan: &Plan, after: &All, before: &All) {
    let mut wave: BTreeMap<(InstanceKey, Step), usize> = BTreeMap::new();
    for (number, steps) in plan.steps.iter().enumerate() {
        for step in steps {
            let application = step.application.clone().unwrap_or_else(|| plan.application.clone());
            let key = InstanceKey { application, path: step.path.clone() };
            assert!(wave.insert((key, step.step), number).is_none(), "{step:?} twice");
        }
    }
    let at = |key: &InstanceKey, step| wave.get(&(key.clone(), step)).copied();
    let first = |a: Option<usize>, b: Option<usize>, what: &str| {
        assert!(a.zip(b).is_none_or(|(a, b)| a < b), "{what}: {a:?} {b:?} {plan:#?}");
    };
    for key in before.keys().chain(after.keys()) {
        let steps = [Step::Stop, Step::Undeploy, Step::Deploy, Step::Start].map(|step| at(key, step));
        let there: Vec<usize> = steps.into_iter().flatten().collect();
        assert!(there.is_sorted_by(|a, b| a < b), "{key} {there:?}");
        if let Some(parent) = parent(before, key).filter(|_| before.contains_key(key)) {
            first(at(key, Step::Stop), at(&parent, Step::Stop), "a child stops first");
            first(at(key, Step::Undeploy), at(&parent, Step::Undeploy), "a child goes first");
        }
        if let Some(parent) = parent(after, key).filter(|_| after.contains_key(key)) {
            first(at(&parent, Step::Deploy), at(key, Step::Deploy), "a parent comes first");
            first(at(&parent, Step::Start), at(key, Step::Start), "a parent starts first");
        }
    }
}

/// Two applications that import from each other, and one of them as it is wished next.
fn world() -> impl Strategy<Value = (Store, Desired)> {
    let one = || desired("one", "One", "Two");
    let overrides = prop_oneof![Just(None), (0..2_usize, any::<bool>()).prop_map(Some)];
    (one(), desired("two", "Two", "One"), one(), overrides).prop_map(|(first, other, second, overrides)| {
        let mut store = Store::new(&["a", "b"]);
        store.apply(&other);
        store.bound_to = bound(&["One=one"]);
        store.turn_to("one");
        store.apply(&first);
        store.bound_to = bound(&["Two=two"]);
        if let Some((host, kept)) = overrides {
            store.overrides.wanted.insert(format!("/h{host}").parse().unwrap(), Wanted::Stopped);
            store.keep_overrides = kept;
        }
        (store, second)
    })
}

fn sides(store: &Store, planned: &Planned) -> (All, All) {
    let (desired, bindings) = store.current.clone().unwrap();
    let (overrides, bound_to) = (store.overrides.clone(), store.bound_to.clone());
    let enrolled = store.enrolled();
    let now = specs(&Applied { desired, bindings, overrides, bound_to }.current(), &store.ports, &enrolled).unwrap();
    let of_other = |other: &Applied| all(&specs(&other.current(), &store.ports, &enrolled).unwrap());
    let others: All = store.others.iter().flat_map(of_other).collect();
    let (mut before, mut after) = (all(&now), all(&planned.specs));
    before.extend(others.clone());
    after.extend(others);
    (before, after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_promised_comes_true((store, second) in world()) {
        let planned = store.plan(&second).unwrap();
        let (before, after) = sides(&store, &planned);
        let plan = &planned.plan;
        let promises = promised(plan, &before, &after);
        // The only provider goes while another one comes: whoever hears of the going first has to stop. So a plan may
        // promise a restart where an update is enough, with all that follows from it, and never the other way round.
        let mut forced = Keys::new();
        let comes = loop {
            let comes = if plan.changes.is_empty() { Outcome::default() } else { outcome(&before, &after, &forced) };
            let stronger: Keys = comes.update.intersection(&promises.restart).cloned().collect();
            if stronger.is_empty() {
                break comes;
            }
            forced.extend(stronger);
        };
        prop_assert_eq!(&promises, &comes, "{:#?}", plan);
        let told = rippled(plan);
        for key in &comes.update {
            prop_assert_eq!(told.get(key), Some(&Consequence::Update), "{}", key);
        }
        let own = |set: &Keys, key| set.contains(key);
        for (key, consequence) in &told {
            let holds = match consequence {
                Consequence::Update => own(&comes.update, key),
                Consequence::Start => own(&comes.start, key),
                Consequence::Restart => own(&comes.restart, key),
                // One that waited already goes on waiting.
                Consequence::Wait => !comes.update.contains(key) && !comes.start.contains(key) && !comes.restart.contains(key),
            };
            prop_assert!(holds || after[key].1.installer == Installer::Target, "{key} {consequence:?} {comes:#?} {plan:#?}");
        }
        check_order(plan, &after, &before);
    }
}
