//! A device in a bottle: a runtime, a disk and a manager around [`Core`]; seeded chaos in it is in `chaos`.

mod chaos;

use std::collections::{BTreeMap, VecDeque};

use robo_model::quantity::{Millis, UnixMillis};
use robo_model::release::{Known, released};
use robo_model::resolve::{self, Provider};
use robo_model::spec::{Assignment, Generation, InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Step, Wanted};
use robo_wire::api::{Scope, Verb};
use robo_wire::event::AgentEvent;
use robo_wire::link::{Act, Acted, ImportsChange};

use super::{Core, Effect, Input};
use crate::ledger::{Ledger, Record, What};
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
    /// The addresses that the machine has when the agent starts.
    pub(super) found: Addresses,
    /// Since when those that wait for others did so before the last input.
    waiting: BTreeMap<InstanceKey, UnixMillis>,
    /// True where instances need one another in circles.
    pub(super) circles: bool,
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
            found: Addresses::only("10.0.0.1"),
            waiting: BTreeMap::new(),
            circles: false,
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.input_cut(input, usize::MAX);
    }

    /// Only the first `cut` effects are executed; then the agent dies and comes back.
    fn input_cut(&mut self, input: Input, cut: usize) {
        let since = |(key, record): (&InstanceKey, &Record)| Some((key.clone(), record.drain.as_ref()?.since));
        self.waiting = self.core.ledger().state.records.iter().filter_map(since).collect();
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

    /// The assignment got to the disk, what goes with it did not.
    pub(super) fn lose_state(&mut self, specs: Vec<InstanceSpec>) {
        self.generation += 1;
        self.specs.clone_from(&specs);
        self.disk.0.assignment = Assignment { generation: Generation(self.generation), instances: specs };
        self.crash();
    }

    pub(super) fn crash(&mut self) {
        self.inbox.clear();
        self.manager.connected = false;
        let (core, effects) = Core::new(self.disk.read(), self.found.clone(), self.now);
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
            Step::Deploy => {
                // Its files are there; that it is started or stopped at the same moment is no matter.
                let there = |state: InstanceState| {
                    state.is_at_rest_deployed() || matches!(state, InstanceState::Starting | InstanceState::Stopping)
                };
                assert!(state_of_parent.is_none_or(there));
            }
            Step::Start => {
                assert!(state_of_parent.is_none_or(|state| state == InstanceState::DeployedStarted));
                let missing = resolve::missing(&record.spec.imports, &order.context.imports);
                assert!(missing.is_empty(), "{} began without {missing:?}", order.key);
            }
            Step::Update => assert!(!order.context.changes.is_empty()),
            Step::Stop => {
                assert!(children.all(|child| !super::tree::is_up(child)), "stopped before its children");
                self.check_consumers(record);
            }
            Step::Undeploy => assert!(children.all(|child| child.state == InstanceState::NotDeployed)),
        }
    }

    /// Nobody here who needs what stops runs any more, unless it was waited for long enough, or is not to be. Valid
    /// where no two instances offer the same, and none need one another.
    fn check_consumers(&self, record: &Record) {
        let key = &record.spec.key;
        let limit = super::DRAIN_LIMIT;
        let waited = self.waiting.get(key).is_some_and(|since| self.now.since(*since) >= limit);
        if waited || record.ailing || self.circles {
            return;
        }
        let topics = resolve::topics_offered(&key.application, &record.told.exports, &BTreeMap::new());
        for other in topics.iter().flat_map(|topic| self.core.supply.wanting(topic)) {
            assert!(key.path.is_within(&other.path), "{key} stops before {other}, which needs it");
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
            if self.running.is_empty() && self.manager.connected {
                self.tell();
                self.release();
            }
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

    /// The manager says who may stop, from what it was told; all of it runs on this device.
    pub(super) fn release(&mut self) {
        let device: robo_model::name::DeviceId = "here".parse().unwrap();
        let known = |report| Known { device: &device, online: true, report };
        let keys = released(self.manager.reports.values().map(known)).into_iter().map(|(_, key)| key).collect();
        self.input(Input::Released(keys));
    }

    pub(super) fn disconnect(&mut self) {
        self.manager.connected = false;
        self.input(Input::Disconnected);
    }

    pub(super) fn act(&mut self, verb: Verb, scope: Scope) -> Vec<InstanceKey> {
        self.input(Input::Act(Act { id: 7, verb, scope, by: "ann".to_owned() }));
        match self.answers.pop() {
            Some(Effect::Acted(Acted { id: 7, instances })) => instances,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn drift(&mut self, path: &str, changes: &[&str]) {
        let changes = changes.iter().map(|&change| change.to_owned()).collect();
        self.input(Input::Report(Report::Drift { key: key(path), changes }));
    }

    pub(super) fn health(&mut self, path: &str, healthy: bool) {
        self.input(Input::Report(Report::Health { key: key(path), healthy, reason: "503".to_owned() }));
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
            self.disconnect();
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
