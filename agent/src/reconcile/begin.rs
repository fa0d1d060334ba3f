//! Steps begin: the run is named, what it is told is put down, and the order is made from what was put down, so that
//! after a crash the same run gives the same order.

use std::collections::BTreeMap;

use robo_model::name::Variable;
use robo_model::quantity::Millis;
use robo_model::resolve::Imports;
use robo_model::spec::InstanceKey;
use robo_model::state::{InstanceState, Step};
use robo_wire::event::EventBody;

use super::{Core, Effect, expand, tree};
use crate::ledger::{Record, Run, Told};
use crate::order::{Ancestor, Context, ImportChange, Order, RunId};

impl Core {
    /// Begins `step`; `told` replaces what the instance was told.
    pub(super) fn begin(&mut self, key: &InstanceKey, step: Step, told: Option<Told>) {
        let id = self.ledger.state.next_run;
        let Some(record) = self.changing(key) else { return };
        let mut run = Run::new(id, step, record.process.as_ref().map(|process| process.run));
        if let Some(told) = told {
            let before = std::mem::replace(&mut record.told, told);
            if step == Step::Update {
                run.before = before.imports;
            }
        }
        record.run = Some(run);
        self.tally(key);
        self.ledger.state.next_run = RunId(id.0 + 1);
        match step {
            Step::Deploy => self.transition(key, InstanceState::Deploying, Vec::new()),
            Step::Start => self.transition(key, InstanceState::Starting, Vec::new()),
            Step::Stop => self.transition(key, InstanceState::Stopping, Vec::new()),
            Step::Undeploy => self.transition(key, InstanceState::Undeploying, Vec::new()),
            Step::Update => self.offer(key),
        }
        self.order_run(key);
    }

    /// Tells the runtime to end a run of `step`, where one is under way.
    pub(super) fn abort(&mut self, key: &InstanceKey, step: Step) {
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        let Some(run) = record.run.as_mut().filter(|run| run.step == step && !run.aborted) else { return };
        run.aborted = true;
        let run = run.id;
        self.effects.push(Effect::Abort { key: key.clone(), run });
        self.changed(key);
    }

    /// After a restart: what was under way is ordered again, what was started is watched.
    pub(super) fn resume(&mut self) {
        for key in self.nodes.keys().cloned().collect::<Vec<_>>() {
            if self.record(&key).is_some_and(|record| record.process.is_some()) {
                self.adopting.insert(key.clone());
            }
            self.watch(&key);
            self.order_run(&key);
            if let Some(record) = self.record(&key)
                && let Some(run) = record.run.as_ref().filter(|run| run.aborted)
            {
                let run = run.id;
                self.effects.push(Effect::Abort { key, run });
            }
        }
    }

    /// Has the runtime look after what was started, where there is something to look after.
    pub(super) fn watch(&mut self, key: &InstanceKey) {
        let Some(record) = self.record(key) else { return };
        if record.process.is_some() || record.spec.settings.check.is_some() {
            self.look_after(key);
        }
    }

    /// The same, where there may have been something that there is not any more.
    pub(super) fn look_after(&mut self, key: &InstanceKey) {
        let Some(record) = self.record(key) else { return };
        if record.state == InstanceState::DeployedStarted && !tree::is_host(record) {
            let run = record.process.as_ref().map_or(record.started_by, |process| process.run);
            let process = record.process.as_ref().map(|process| process.run);
            let run = Run::new(run, Step::Start, process);
            let order = order(record, &run);
            let healthy = record.healthy;
            self.effects.push(Effect::Watch(order));
            if !healthy && let Some(record) = self.changing(key) {
                // Whoever looks anew tells what changes from here on, beginning well.
                record.healthy = true;
                let reason = "looked at anew".to_owned();
                self.event(Some(key.clone()), EventBody::Health { healthy: true, reason });
            }
        }
    }

    /// As [`Self::watch`], where the check is another one than what it was told `before` made of it.
    pub(super) fn watch_anew(&mut self, key: &InstanceKey, before: &Told) {
        let Some(record) = self.record(key) else { return };
        let settings = |told| expand::known_texts(&record.spec, told).1;
        if settings(before) != settings(&record.told) {
            self.look_after(key);
        }
    }

    /// What the start step of an instance would be ordered with now: for whom wants to know where it runs. Nothing where
    /// this device has no such instance, or where it is a machine.
    #[must_use]
    pub fn as_started(&self, key: &InstanceKey) -> Option<Order> {
        let record = self.record(key).filter(|record| !tree::is_host(record))?;
        let process = record.process.as_ref().map(|process| process.run);
        Some(order(record, &Run::new(process.unwrap_or(record.started_by), Step::Start, process)))
    }

    fn order_run(&mut self, key: &InstanceKey) {
        let Some(record) = self.record(key) else { return };
        let Some(run) = &record.run else { return };
        let order = order(record, run);
        if run.step == Step::Update {
            self.effects.push(Effect::Context(order.context.clone()));
        }
        self.effects.push(Effect::Begin(order));
    }

    /// What an instance would be told now; `strict` when every export must have its value.
    pub(super) fn fresh(&self, key: &InstanceKey, strict: bool) -> Result<Told, expand::NoValue> {
        let Some(record) = self.record(key) else { return Ok(Told::default()) };
        let exports = match self.exports_now(record) {
            Err(error) if strict => return Err(error),
            exports => exports.unwrap_or_default(),
        };
        Ok(Told { exports, ..self.told_now(key) })
    }

    /// Its exports, as they would be now.
    pub(super) fn exports_now(&self, record: &Record) -> Result<BTreeMap<Variable, String>, expand::NoValue> {
        expand::exports(&record.spec, &self.ledger.state.addresses)
    }

    /// What it would be told now, without its exports.
    pub(super) fn told_now(&self, key: &InstanceKey) -> Told {
        let Some(node) = self.nodes.get(key) else { return Told::default() };
        let above = std::iter::successors(node.parent.as_ref(), |key| self.nodes.get(*key)?.parent.as_ref());
        let ancestors = above.filter_map(|key| self.record(key)).map(|record| Ancestor {
            path: record.spec.key.path.clone(),
            component: record.spec.component.clone(),
            exports: super::tell::exports(record),
        });
        Told {
            address: self.ledger.state.addresses.main.clone(),
            exports: BTreeMap::new(),
            ancestors: ancestors.collect(),
            imports: node.received.clone().unwrap_or_default(),
        }
    }
}

/// Made from the record alone.
fn order(record: &Record, run: &Run) -> Order {
    let (installer, settings) = expand::known_texts(&record.spec, &record.told);
    let deadline = deadline(record, run.step);
    let changes = if run.step == Step::Update { changes(&run.before, &record.told.imports) } else { Vec::new() };
    Order {
        key: record.spec.key.clone(),
        run: run.id,
        step: run.step,
        installer,
        files: record.spec.files.clone(),
        settings,
        context: context(record, changes),
        process: run.process,
        deadline,
    }
}

/// What scripts and programs of `record` are told.
pub(super) fn context(record: &Record, changes: Vec<ImportChange>) -> Context {
    let Told { address, exports, ancestors, imports } = record.told.clone();
    let component = record.spec.component.clone();
    Context { key: record.spec.key.clone(), component, address, exports, ancestors, imports, changes }
}

fn deadline(record: &Record, step: Step) -> Millis {
    use robo_model::graph::Settings;
    let settings = &record.spec.settings;
    match step {
        Step::Deploy => settings.deploy_timeout.unwrap_or(Settings::DEPLOY_TIMEOUT),
        Step::Start | Step::Update => settings.start_timeout.unwrap_or(Settings::START_TIMEOUT),
        Step::Stop | Step::Undeploy => settings.stop_timeout.unwrap_or(Settings::STOP_TIMEOUT),
    }
}

/// One entry per prefix and provider that came, changed or went; what went first.
pub(super) fn changes(before: &Imports, now: &Imports) -> Vec<ImportChange> {
    let missing_in = |from: &Imports, to: &Imports, present: bool| {
        let entries =
            from.iter().flat_map(|(prefix, providers)| providers.iter().map(move |(key, i)| (prefix, key, i)));
        entries
            .filter(|(prefix, key, imported)| match to.get(*prefix).and_then(|providers| providers.get(*key)) {
                Some(other) => present && other != *imported,
                None => true,
            })
            .map(|(prefix, key, imported)| ImportChange {
                prefix: prefix.clone(),
                provider: key.clone(),
                component: imported.component.clone(),
                present,
                variables: imported.variables.clone(),
            })
            .collect::<Vec<_>>()
    };
    let mut changes = missing_in(before, now, false);
    changes.extend(missing_in(now, before, true));
    changes
}
