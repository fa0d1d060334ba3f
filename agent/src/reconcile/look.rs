//! What one instance needs next, from the whole state.

use robo_model::effect::Effect as Change;
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_model::state::{Failure, InstanceState, Step, Wanted};

use super::observe::End;
use super::{Core, Effect, backoff, begin, drift, expand, tree};
use crate::ledger::{Hold, Record, Told};

/// What a look sees.
struct View {
    state: InstanceState,
    host: bool,
    assigned: bool,
    wish: Wanted,
    level: Wanted,
    change: Change,
    /// The parent's path, where it is on this device.
    parent: Option<String>,
    /// True when the parent runs and goes on running.
    parent_runs: bool,
    /// True when the parent's files are there and no step changes that.
    parent_deployed: bool,
    missing: Vec<String>,
    turn: Turn,
    /// What of what it would be told now cannot be made. It goes on with what it has.
    no_value: Option<expand::NoValue>,
    /// When changed files are put back, where that is not yet.
    mend_at: Option<UnixMillis>,
    below: tree::Below,
}

/// What becomes of a started instance because of what it should be told now.
enum Turn {
    Same,
    /// What it offers, or what is told of its surroundings, changed.
    Republish(Told),
    /// Its imports changed.
    Update(Told),
    /// Its command line or environment changed.
    Restart,
}

impl Core {
    /// Looks at one instance, and does the next thing that it needs.
    pub(super) fn look(&mut self, key: &InstanceKey) {
        self.alarms.remove(key);
        self.receive(key);
        self.note_wants(key);
        let Some(view) = self.view(key) else { return };
        if let Some(at) = view.mend_at {
            self.alarm(key, at);
        }
        if let Some(node) = self.nodes.get_mut(key)
            && node.level != view.level
        {
            node.level = view.level;
            self.wake_family(key);
        }
        if self.record(key).is_some_and(|record| record.run.is_some()) {
            return self.abort_unwanted(key, &view);
        }
        if view.host {
            return self.look_host(key, view);
        }
        match view.state {
            InstanceState::NotDeployed => self.look_absent(key, &view),
            InstanceState::DeployedStarted => self.look_started(key, view),
            InstanceState::DeployedStopped | InstanceState::WaitingForAncestor | InstanceState::Unresolved => {
                self.look_stopped(key, &view);
            }
            // Without a run, only a ledger that was edited by hand says so; its files may be there.
            InstanceState::Deploying
            | InstanceState::Starting
            | InstanceState::Stopping
            | InstanceState::Undeploying
            | InstanceState::Problem => self.rest(key, InstanceState::DeployedStopped),
        }
    }

    fn view(&self, key: &InstanceKey) -> Option<View> {
        let (record, node) = self.record(key).zip(self.nodes.get(key))?;
        let parent = node.parent.as_ref().and_then(|key| self.record(key).zip(self.nodes.get(key)));
        let host = tree::is_host(record);
        let mut view = View {
            state: record.state,
            host,
            assigned: node.assigned.is_some(),
            wish: node.wish,
            // A machine is there as long as its agent is, whatever stands above it.
            level: parent.filter(|_| !host).map_or(node.wish, |(_, above)| node.wish.min(above.level)),
            change: node.effect,
            parent: node.parent.as_ref().map(|key| key.path.to_string()),
            parent_runs: parent.is_none_or(|(record, above)| {
                record.state == InstanceState::DeployedStarted && above.level == Wanted::Started
            }),
            parent_deployed: parent.is_none_or(|(record, _)| record.state.is_at_rest_deployed()),
            missing: node.missing.clone(),
            turn: Turn::Same,
            no_value: None,
            mend_at: None,
            below: node.below,
        };
        if record.state == InstanceState::DeployedStarted && record.run.is_none() {
            (view.turn, view.no_value) = self.turn(key, record);
        }
        if record.stripped {
            view.change = view.change.max(Change::Redeploy);
        }
        match drift::mend_at(record) {
            Some(at) if backoff::is_due(at, self.now) => view.change = view.change.max(Change::Redeploy),
            later => view.mend_at = later,
        }
        let up = matches!(record.state, InstanceState::Starting | InstanceState::DeployedStarted);
        let restart = record.ailing
            || record.restarting
            || matches!(view.turn, Turn::Restart)
            || matches!(view.change, Change::Restart | Change::Redeploy);
        if up && !host && (restart || !view.parent_runs || !view.missing.is_empty()) {
            view.level = view.level.min(Wanted::Stopped);
        }
        if node.effect == Change::Replace && record.state != InstanceState::NotDeployed {
            view.level = Wanted::NotDeployed;
        }
        Some(view)
    }

    /// A step that is no longer wanted is ended; what ends an instance is not.
    fn abort_unwanted(&mut self, key: &InstanceKey, view: &View) {
        if view.level == Wanted::NotDeployed || view.change >= Change::Redeploy {
            self.abort(key, Step::Deploy);
        }
        if view.level < Wanted::Started {
            self.abort(key, Step::Start);
            self.abort(key, Step::Update);
        }
    }

    /// A machine has no steps: it is started as soon as it is wished, and down when all on it is gone. It never stops:
    /// the agent is there.
    fn look_host(&mut self, key: &InstanceKey, view: View) {
        if view.change != Change::None && (view.change != Change::Replace || view.state == InstanceState::NotDeployed) {
            self.take_over(key);
            self.pending.insert(key.clone());
            return;
        }
        if view.level == Wanted::NotDeployed {
            if view.below.there == 0 {
                self.transition(key, InstanceState::NotDeployed, Vec::new());
                self.forget_unassigned(key, view.assigned);
            }
            return;
        }
        if view.state != InstanceState::DeployedStarted {
            return self.start_host(key);
        }
        self.note_value(key, view.no_value.as_ref());
        match view.turn {
            Turn::Republish(told) | Turn::Update(told) => self.republish(key, told),
            Turn::Same | Turn::Restart => {}
        }
    }

    fn start_host(&mut self, key: &InstanceKey) {
        match self.fresh(key, true) {
            Ok(told) => {
                let Some(record) = self.changing(key) else { return };
                record.told = told;
                record.failure = None;
                self.transition(key, InstanceState::DeployedStarted, Vec::new());
            }
            Err(error) => self.fail_value(key, &error),
        }
    }

    /// Of what is started: a value cannot be made any more, which is told and stops nothing; or all of them can.
    fn note_value(&mut self, key: &InstanceKey, error: Option<&expand::NoValue>) {
        if let Some(error) = error {
            return self.fail_value(key, error);
        }
        // Nothing else leaves what is started with a start that failed and is not tried again.
        let noted = |failure: &Failure| failure.step == Step::Start && failure.retry_at.is_none();
        let held = |record: &Record| matches!(record.hold, Hold::Free | Hold::Value) && !record.ailing;
        if self.record(key).is_some_and(|record| held(record) && record.failure.as_ref().is_some_and(noted))
            && let Some(record) = self.changing(key)
        {
            record.failure = None;
            record.hold = Hold::Free;
        }
    }

    fn look_absent(&mut self, key: &InstanceKey, view: &View) {
        if view.change != Change::None {
            self.take_over(key);
            self.pending.insert(key.clone());
            return;
        }
        if view.level == Wanted::NotDeployed {
            self.forget_unassigned(key, view.assigned);
        } else if view.parent_deployed && self.may_try(key, Step::Deploy) {
            self.begin_deploy(key);
        }
    }

    fn look_stopped(&mut self, key: &InstanceKey, view: &View) {
        if view.level == Wanted::NotDeployed {
            if view.below.there == 0 && self.may_try(key, Step::Undeploy) {
                self.begin(key, Step::Undeploy, None);
            } else {
                self.rest(key, InstanceState::DeployedStopped);
            }
            return;
        }
        if view.change == Change::Redeploy {
            if view.below.busy == 0 && view.parent_deployed && self.may_try(key, Step::Deploy) {
                self.take_over(key);
                self.begin_deploy(key);
                return;
            }
        } else if view.change != Change::None {
            self.take_over(key);
            self.pending.insert(key.clone());
            return;
        }
        if view.wish < Wanted::Started {
            self.rest(key, InstanceState::DeployedStopped);
        } else if !view.parent_runs {
            self.wait_for_parent(key, view.parent.clone());
        } else if !view.missing.is_empty() {
            self.transition(key, InstanceState::Unresolved, view.missing.clone());
        } else if view.change == Change::None && view.below.up == 0 && self.may_try(key, Step::Start) {
            self.begin_start(key);
        } else {
            self.rest(key, InstanceState::DeployedStopped);
        }
    }

    fn look_started(&mut self, key: &InstanceKey, view: View) {
        if matches!(view.change, Change::Note | Change::Republish) {
            let check = self.record(key).and_then(|record| record.spec.settings.check.clone());
            self.take_over(key);
            if self.record(key).is_some_and(|record| record.spec.settings.check != check) {
                self.look_after(key);
            }
            self.pending.insert(key.clone());
            return;
        }
        if view.level < Wanted::Started {
            if matches!(view.turn, Turn::Restart)
                && let Some(record) = self.ledger.state.records.get_mut(key).filter(|record| !record.restarting)
            {
                record.restarting = true;
                self.changed(key);
            }
            return self.wind_down(key);
        }
        self.end_drain(key);
        self.note_value(key, view.no_value.as_ref());
        match view.turn {
            Turn::Same | Turn::Restart => {}
            Turn::Republish(told) => self.republish(key, told),
            Turn::Update(told) if self.may_try(key, Step::Update) => self.begin(key, Step::Update, Some(told)),
            Turn::Update(_) => {}
        }
    }

    /// Compares what a started instance was told with what it would be told now. Nothing that runs stops because a
    /// value cannot be made: it keeps the exports that it has, and where its command line lacks one, all that it has.
    fn turn(&self, key: &InstanceKey, record: &Record) -> (Turn, Option<expand::NoValue>) {
        let (mut told, mut no_value) = (self.told_now(key), None);
        match self.exports_now(record) {
            Ok(exports) => told.exports = exports,
            Err(error) => {
                told.exports.clone_from(&record.told.exports);
                no_value = Some(error);
            }
        }
        if told == record.told {
            return (Turn::Same, no_value);
        }
        let installer = match expand::texts(&record.spec, &told) {
            Ok((installer, _)) => installer,
            Err(error) => return (Turn::Same, Some(error)),
        };
        let turn = if installer != expand::known_texts(&record.spec, &record.told).0 {
            // Of one that was cancelled, somebody wants it to be left as it is.
            if matches!(record.hold, Hold::Cancelled { .. }) { Turn::Same } else { Turn::Restart }
        } else if told.imports != record.told.imports {
            Turn::Update(told)
        } else {
            Turn::Republish(told)
        };
        (turn, no_value)
    }

    fn republish(&mut self, key: &InstanceKey, told: Told) {
        let Some(record) = self.changing(key) else { return };
        let before = std::mem::replace(&mut record.told, told);
        if !tree::is_host(record) {
            let context = begin::context(record, Vec::new());
            self.effects.push(Effect::Context(context));
            self.watch_anew(key, &before);
        }
        self.offer(key);
        self.wake_below(key);
    }

    /// What is told of an ancestor changed.
    fn wake_below(&mut self, key: &InstanceKey) {
        let below: Vec<_> = self
            .nodes
            .range(key.clone()..)
            .map(|(other, _)| other)
            .take_while(|other| other.application == key.application && other.path.is_within(&key.path))
            .cloned()
            .collect();
        self.pending.extend(below);
    }

    fn begin_deploy(&mut self, key: &InstanceKey) {
        self.receive(key);
        let told = self.fresh(key, false).ok();
        self.note_mend(key);
        if let Some(record) = self.ledger.state.records.get_mut(key) {
            record.stripped = false;
        }
        self.begin(key, Step::Deploy, told);
    }

    fn begin_start(&mut self, key: &InstanceKey) {
        let told = self.fresh(key, true).and_then(|told| {
            if let Some(record) = self.record(key) {
                expand::texts(&record.spec, &told)?;
            }
            Ok(told)
        });
        match told {
            Ok(told) => self.begin(key, Step::Start, Some(told)),
            Err(error) => {
                self.rest(key, InstanceState::DeployedStopped);
                self.fail_value(key, &error);
            }
        }
    }

    fn fail_value(&mut self, key: &InstanceKey, error: &expand::NoValue) {
        if self.record(key).is_some_and(|record| record.hold == Hold::Free) {
            let reason = error.to_string();
            let known = |failure: &Failure| failure.step == Step::Start && failure.reason == reason;
            if !self.record(key).and_then(|record| record.failure.as_ref()).is_some_and(known) {
                self.fail(key, Step::Start, End::without_run(reason), None);
            }
            if let Some(record) = self.changing(key) {
                record.hold = Hold::Value;
            }
        }
    }

    fn forget_unassigned(&mut self, key: &InstanceKey, assigned: bool) {
        if !assigned && self.nodes.get(key).is_some_and(|node| node.children.is_empty()) {
            self.forget(key);
        }
    }

    fn rest(&mut self, key: &InstanceKey, state: InstanceState) {
        self.transition(key, state, Vec::new());
    }

    fn wait_for_parent(&mut self, key: &InstanceKey, parent: Option<String>) {
        self.transition(key, InstanceState::WaitingForAncestor, parent.into_iter().collect());
    }

    /// True when `step` may begin as far as earlier failures go; else an alarm is set for when it may.
    fn may_try(&mut self, key: &InstanceKey, step: Step) -> bool {
        let Some(record) = self.record(key) else { return false };
        let held = match record.hold {
            Hold::Free => false,
            Hold::Ended | Hold::Value => step == Step::Start,
            Hold::Cancelled { .. } => step != Step::Stop,
        };
        if held {
            return false;
        }
        let retry_at: Option<UnixMillis> =
            record.failure.as_ref().filter(|failure| failure.step == step).and_then(|failure| failure.retry_at);
        match retry_at {
            Some(at) if !backoff::is_due(at, self.now) => {
                self.alarm(key, at);
                false
            }
            Some(_) | None => true,
        }
    }
}
