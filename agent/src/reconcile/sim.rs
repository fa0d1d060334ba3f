//! A device in a bottle: a runtime, a disk and a manager around [`Core`], and seeded chaos in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use robo_model::quantity::{Millis, UnixMillis};
use robo_model::resolve::{self, Provider};
use robo_model::spec::{Assignment, Generation, InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Step, Wanted};
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::link::ImportsChange;

use super::{Core, Effect, Input};
use crate::ledger::{Ledger, What};
use crate::order::{Addresses, Order, Outcome, Report, RunId};

/// What is on disk: the parts that were persisted.
#[derive(Default)]
struct Disk(Ledger);

impl Disk {
    fn write(&mut self, ledger: &Ledger, what: What) {
        if what.assignment {
            self.0.assignment = ledger.assignment.clone();
        }
        if what.imports {
            self.0.imports = ledger.imports.clone();
        }
        if what.state {
            self.0.state = ledger.state.clone();
        }
    }

    /// As it comes back: through the text that the state is on a real disk.
    fn read(&self) -> Ledger {
        let state = serde_json::to_string(&self.0.state).unwrap();
        Ledger { state: serde_json::from_str(&state).unwrap(), ..self.0.clone() }
    }
}

/// What the manager knows.
#[derive(Default)]
pub(super) struct Manager {
    connected: bool,
    pub(super) reports: BTreeMap<InstanceKey, InstanceReport>,
    pub(super) events: Vec<AgentEvent>,
}

impl Manager {
    fn stored(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }
}

pub(super) struct World {
    pub(super) core: Core,
    disk: Disk,
    pub(super) now: UnixMillis,
    /// Every order ever begun.
    begun: BTreeMap<RunId, Order>,
    pub(super) running: BTreeMap<InstanceKey, Order>,
    finished: BTreeMap<RunId, Outcome>,
    pub(super) processes: BTreeMap<InstanceKey, RunId>,
    inbox: VecDeque<Report>,
    pub(super) manager: Manager,
    /// What was ordered, one line each: `start /vm/web`.
    pub(super) log: Vec<String>,
    pub(super) answers: Vec<Effect>,
    generation: u64,
    pub(super) specs: Vec<InstanceSpec>,
}

pub(super) fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

pub(super) fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), exit_code: Some(1), output: vec!["last line".to_owned()] }
}

impl World {
    pub(super) fn new() -> Self {
        let (core, effects) = Core::new(Ledger::default(), Addresses::only("10.0.0.1"), UnixMillis(1_000_000));
        assert_eq!(effects, []);
        Self {
            core,
            disk: Disk::default(),
            now: UnixMillis(1_000_000),
            begun: BTreeMap::new(),
            running: BTreeMap::new(),
            finished: BTreeMap::new(),
            processes: BTreeMap::new(),
            inbox: VecDeque::new(),
            manager: Manager::default(),
            log: Vec::new(),
            answers: Vec::new(),
            generation: 0,
            specs: Vec::new(),
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.input_cut(input, usize::MAX);
    }

    /// Only the first `cut` effects are executed; then the agent dies and comes back.
    fn input_cut(&mut self, input: Input, cut: usize) {
        let effects = self.core.handle(self.now, input);
        let all = effects.len();
        for effect in effects.into_iter().take(cut) {
            self.execute(effect);
        }
        if cut < all {
            self.crash();
        } else {
            let (there, here) = (&self.disk.0, self.core.ledger());
            let persisted = there.assignment == here.assignment
                && there.imports == here.imports
                && there.state.records == here.state.records
                && there.state.spool == here.state.spool
                && there.state.next_run == here.state.next_run;
            assert!(persisted, "something was not persisted");
        }
    }

    pub(super) fn crash(&mut self) {
        self.inbox.clear();
        self.manager.connected = false;
        let (core, effects) = Core::new(self.disk.read(), Addresses::only("10.0.0.1"), self.now);
        self.core = core;
        for effect in effects {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(what) => self.disk.write(self.core.ledger(), what),
            Effect::Begin(order) => self.begin(order),
            Effect::Abort { key, run } => {
                self.log.push(format!("abort {}", key.path));
                if self.running.get(&key).is_some_and(|order| order.run == run) {
                    self.finish(&key, failed("aborted"));
                }
            }
            Effect::Watch(order) => {
                assert_eq!(order.step, Step::Start);
                let (key, run) = (order.key, order.run);
                self.log.push(format!("watch {}", key.path));
                self.inbox.push_back(if self.processes.get(&key) == Some(&run) {
                    Report::ProcessRuns { key, run, pid: 7, adopted: true }
                } else {
                    Report::ProcessEnded { key, run, code: None, reason: "gone".into(), output: Vec::new() }
                });
            }
            Effect::Context(context) => self.log.push(format!("context {}", context.key.path)),
            Effect::Forget(key) => {
                assert!(!self.running.contains_key(&key) && !self.processes.contains_key(&key), "forgot {key}");
                self.log.push(format!("forget {}", key.path));
            }
            Effect::Tell => {}
            answer @ (Effect::Accepted(_) | Effect::Refused { .. } | Effect::Acted(_) | Effect::Resync) => {
                self.answers.push(answer);
            }
        }
    }

    fn begin(&mut self, order: Order) {
        let key = order.key.clone();
        let before = self.begun.insert(order.run, order.clone());
        if let Some(before) = &before {
            assert_eq!(*before, order, "one run, two orders");
            if let Some(outcome) = self.finished.get(&order.run) {
                let outcome = outcome.clone();
                self.inbox.push_back(Report::StepEnded { key, run: order.run, outcome });
                return;
            }
        } else {
            self.log.push(format!("{} {}", order.step, key.path));
            self.check_ground(&order);
        }
        if let Some(other) = self.running.insert(key, order.clone()) {
            assert_eq!(other.run, order.run, "two steps at once");
        }
    }

    /// No step begins before it may.
    fn check_ground(&self, order: &Order) {
        let records = &self.core.ledger().state.records;
        let record = &records[&order.key];
        let parent = order
            .key
            .path
            .parent()
            .and_then(|path| records.get(&InstanceKey { application: order.key.application.clone(), path }));
        let mut children = records.values().filter(|r| r.spec.key.path.parent().as_ref() == Some(&order.key.path));
        let state_of_parent = parent.map(|record| record.state);
        match order.step {
            Step::Deploy => assert!(state_of_parent.is_none_or(InstanceState::is_at_rest_deployed)),
            Step::Start => {
                assert!(state_of_parent.is_none_or(|state| state == InstanceState::DeployedStarted));
                let missing = resolve::missing(&record.spec.imports, &order.context.imports);
                assert!(missing.is_empty(), "{} began without {missing:?}", order.key);
            }
            Step::Update => assert!(!order.context.changes.is_empty()),
            Step::Stop => assert!(children.all(|child| !super::tree::is_up(child)), "stopped before its children"),
            Step::Undeploy => assert!(children.all(|child| child.state == InstanceState::NotDeployed)),
        }
    }

    /// The runtime: the step of `key` ends.
    pub(super) fn finish(&mut self, key: &InstanceKey, outcome: Outcome) {
        let order = self.running.remove(key).unwrap();
        let process = matches!(order.installer, robo_model::graph::Installer::Process(_));
        match (order.step, &outcome) {
            (Step::Start, Outcome::Done) if process => {
                self.processes.insert(key.clone(), order.run);
                let (key, run) = (key.clone(), order.run);
                self.inbox.push_back(Report::ProcessRuns { key, run, pid: 7, adopted: false });
            }
            (Step::Stop, _) => drop(self.processes.remove(key)),
            (Step::Deploy | Step::Start | Step::Update | Step::Undeploy, _) => {}
        }
        self.finished.insert(order.run, outcome.clone());
        self.inbox.push_back(Report::StepEnded { key: key.clone(), run: order.run, outcome });
    }

    pub(super) fn kill(&mut self, key: &InstanceKey, code: Option<i32>) {
        let Some(run) = self.processes.remove(key) else { return };
        let (key, reason) = (key.clone(), "killed".to_owned());
        self.inbox.push_back(Report::ProcessEnded { key, run, code, reason, output: Vec::new() });
        self.deliver();
    }

    pub(super) fn deliver(&mut self) {
        while let Some(report) = self.inbox.pop_front() {
            self.input(Input::Report(report));
        }
    }

    /// All steps succeed until nothing runs.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            self.deliver();
            let Some(key) = self.running.keys().next().cloned() else { return };
            self.finish(&key, Outcome::Done);
        }
        panic!("no end: {:?}", self.log.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// The same, and time passes until nothing waits.
    pub(super) fn run_long(&mut self) {
        for _ in 0..1_000 {
            self.run();
            let Some(at) = self.core.wake_at() else { return };
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        panic!("waits for ever");
    }

    pub(super) fn pass(&mut self, time: Millis) {
        self.now = self.now.plus(time);
        self.input(Input::Tick);
    }

    /// Assigns [`World::specs`].
    pub(super) fn assign(&mut self) {
        self.generation += 1;
        let instances = self.specs.clone();
        let generation = Generation(self.generation);
        self.input(Input::Assigned(Assignment { generation, instances }));
        self.answers.clear();
    }

    pub(super) fn wish(&mut self, path: &str, wanted: Wanted) {
        self.specs.iter_mut().find(|spec| spec.key == key(path)).unwrap().wanted = wanted;
        self.assign();
    }

    pub(super) fn provide(&mut self, provider: Provider) {
        self.input(Input::Imports(ImportsChange { providers: vec![provider], ..ImportsChange::default() }));
    }

    pub(super) fn withdraw(&mut self, path: &str) {
        self.input(Input::Imports(ImportsChange { removed: vec![key(path)], ..ImportsChange::default() }));
    }

    pub(super) fn report(&self, path: &str) -> InstanceReport {
        self.core.reports().find(|report| report.path.as_str() == path).unwrap()
    }

    pub(super) fn state(&self, path: &str) -> InstanceState {
        self.report(path).state
    }

    /// What was ordered since the last time.
    pub(super) fn ordered(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The link is up where it was not, and everything is told.
    pub(super) fn tell(&mut self) {
        if !self.manager.connected {
            self.manager.connected = true;
            self.input(Input::Connected { events_stored: self.manager.stored() });
        }
        while self.tell_one(true) {}
    }

    fn tell_one(&mut self, acknowledged: bool) -> bool {
        let Some(update) = self.core.next_update() else { return false };
        if update.full {
            self.manager.reports.clear();
        }
        for key in update.removed {
            self.manager.reports.remove(&key);
        }
        for report in update.reports {
            let key = InstanceKey { application: report.application.clone(), path: report.path.clone() };
            self.manager.reports.insert(key, report);
        }
        let stored = self.manager.stored();
        self.manager.events.extend(update.events.into_iter().filter(|event| event.seq > stored));
        if acknowledged {
            self.input(Input::Stored { events_stored: self.manager.stored() });
        } else {
            self.manager.connected = false;
        }
        true
    }
}

/// `installer` is `target`, `script` or a command line.
pub(super) fn spec(path: &str, component: &str, installer: &str, imports: &[&str]) -> InstanceSpec {
    let installer = match installer {
        "target" | "script" => format!(r#"{{"kind": "{installer}"}}"#),
        run => format!(r#"{{"kind": "process", "run": "{run}"}}"#),
    };
    let imports: Vec<String> = imports
        .iter()
        .map(|text| {
            let (name, optional) = text.strip_suffix('?').map_or((*text, false), |name| (name, true));
            format!(r#"{{"prefix": "{name}", "variable": null, "optional": {optional}}}"#)
        })
        .collect();
    let imports = imports.join(",");
    serde_json::from_str(&format!(
        r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "{component}", "installer": {installer},
            "imports": [{imports}],
            "exports": {{"{component}.ip": {{"kind": "address"}}, "{component}.port": {{"kind": "text", "value": "1"}}}}}}"#
    ))
    .unwrap()
}

pub(super) fn provider(path: &str, component: &str, value: &str) -> Provider {
    Provider {
        key: key(path),
        component: component.parse().unwrap(),
        exports: [(format!("{component}.ip").parse().unwrap(), value.to_owned())].into(),
        outside: BTreeMap::new(),
    }
}

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
        above.map(|s| s.wanted).chain([spec.wanted]).min().unwrap()
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

fn mutate(world: &mut World, rng: &mut fastrand::Rng) {
    let at = rng.usize(..world.specs.len());
    match rng.usize(..8) {
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
        7 if rng.bool() => world.specs = random_specs(rng),
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
    match rng.usize(..20) {
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
    // The weather clears: nothing fails from here on.
    world.run_long();
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
