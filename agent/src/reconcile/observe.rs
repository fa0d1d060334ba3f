//! Steps and processes end, checks change their minds.

use robo_model::graph::{Installer, RestartPolicy};
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Imports;
use robo_model::spec::InstanceKey;
use robo_model::state::{Failure, InstanceState, Step};
use robo_wire::event::EventBody;

use super::{Core, backoff, begin};
use crate::ledger::{Hold, ProcessRun, Record, Run, Told};
use crate::order::{ImportChange, Outcome, Report, RunId};

/// How a step or process ended that should not have, or not so.
pub(super) struct End {
    code: Option<i32>,
    reason: String,
    output: Vec<String>,
}

impl End {
    /// Nothing ran: there is only a reason.
    pub(super) const fn without_run(reason: String) -> Self {
        Self { code: None, reason, output: Vec::new() }
    }
}

impl Core {
    /// Takes in a report. One that is late, or comes twice, speaks of a run that is over, and is nothing.
    pub(super) fn observe(&mut self, report: Report) {
        match report {
            Report::StepEnded { key, run, outcome } => self.step_ended(&key, run, outcome),
            Report::ProcessRuns { key, run, pid, adopted } => self.process_runs(&key, run, pid, adopted),
            Report::ProcessEnded { key, run, code, reason, output } => {
                self.process_ended(&key, run, End { code, reason, output });
            }
            Report::Health { key, healthy, reason } => self.health(&key, healthy, reason),
            Report::Drift { key, changes } => self.drifted(&key, changes),
        }
    }

    fn step_ended(&mut self, key: &InstanceKey, id: RunId, outcome: Outcome) {
        let Some(run) = self.take_run(key, id) else { return };
        match outcome {
            Outcome::Done => self.done(key, &run),
            Outcome::Failed { exit_code, output, .. } if run.cancelled_by.is_some() => {
                self.cancelled(key, run, exit_code, output);
            }
            Outcome::Failed { .. } if run.aborted => self.aborted(key, run),
            Outcome::Failed { reason, exit_code, output } => {
                let retry = match run.step {
                    Step::Deploy | Step::Start | Step::Undeploy => Some(self.next_try(key, run.step)),
                    // An update waits for the next change; what did not stop well is stopped all the same.
                    Step::Update | Step::Stop => None,
                };
                self.fail(key, run.step, End { code: exit_code, reason, output }, retry);
                self.after_failure(key, run.step);
                if run.step == Step::Update
                    && let Some(record) = self.changing(key)
                {
                    record.untold = run.before;
                }
            }
        }
    }

    fn take_run(&mut self, key: &InstanceKey, id: RunId) -> Option<Run> {
        let record = self.ledger.state.records.get_mut(key)?;
        let run = record.run.take_if(|run| run.id == id)?;
        self.changed(key);
        // Parent and children may have waited for its end.
        self.tally(key);
        self.wake_family(key);
        Some(run)
    }

    fn done(&mut self, key: &InstanceKey, run: &Run) {
        let now = self.now;
        let Some(record) = self.changing(key) else { return };
        let settled = match run.step {
            Step::Deploy | Step::Start | Step::Undeploy => true,
            Step::Update | Step::Stop => {
                record.failure.as_ref().is_some_and(|f| matches!(f.step, Step::Update | Step::Stop))
            }
        };
        if settled {
            record.failure = None;
            record.tries = 0;
        }
        if matches!(run.step, Step::Start | Step::Update) {
            record.untold = Imports::new();
        }
        match run.step {
            Step::Deploy => {
                self.files_are_right(key);
                self.transition(key, InstanceState::DeployedStopped, Vec::new());
            }
            Step::Start => {
                record.healthy = true;
                record.started_by = run.id;
                if matches!(record.spec.installer, Installer::Process(_)) {
                    let pid = record.process.take().filter(|process| process.run == run.id).and_then(|p| p.pid);
                    record.process = Some(ProcessRun { run: run.id, pid, since: now });
                }
                self.transition(key, InstanceState::DeployedStarted, Vec::new());
            }
            Step::Update => {
                let changes = begin::changes(&run.before, &record.told.imports).iter().map(line).collect();
                let before = Told { imports: run.before.clone(), ..record.told.clone() };
                self.event(Some(key.clone()), EventBody::Updated { changes });
                self.watch_anew(key, &before);
            }
            Step::Stop => self.stopped(key),
            Step::Undeploy => {
                record.restarts = 0;
                record.crashes = 0;
                record.mends = 0;
                if !matches!(record.hold, Hold::Cancelled { .. }) {
                    record.hold = Hold::Free;
                }
                record.stripped = false;
                record.told = Told::default();
                self.transition(key, InstanceState::NotDeployed, Vec::new());
            }
        }
        self.end_cancelled(key);
    }

    /// What was cancelled is as it should be all the same: there is nothing left to hold.
    fn end_cancelled(&mut self, key: &InstanceKey) {
        let Some(wish) = self.nodes.get(key).map(|node| node.wish) else { return };
        if let Some(record) = self.ledger.state.records.get_mut(key)
            && matches!(record.hold, Hold::Cancelled { .. })
            && record.state == wish.state()
        {
            record.hold = Hold::Free;
            self.changed(key);
        }
    }

    /// Somebody asked for its end: it failed, and is not tried again by itself.
    fn cancelled(&mut self, key: &InstanceKey, run: Run, code: Option<i32>, output: Vec<String>) {
        let by = run.cancelled_by.as_deref().unwrap_or_default();
        let reason = format!("cancelled by {by}");
        self.fail(key, run.step, End { code, reason, output }, None);
        let step = run.step;
        self.aborted(key, run);
        if step == Step::Stop {
            self.end_cancelled(key);
        }
    }

    /// What was told to end did; that is no failure.
    fn aborted(&mut self, key: &InstanceKey, run: Run) {
        if run.step == Step::Update {
            // It was not told of these changes after all.
            if let Some(record) = self.changing(key) {
                record.told.imports = run.before;
            }
        } else {
            self.after_failure(key, run.step);
        }
    }

    fn after_failure(&mut self, key: &InstanceKey, step: Step) {
        match step {
            Step::Deploy => self.transition(key, InstanceState::NotDeployed, Vec::new()),
            Step::Start | Step::Stop => self.stopped(key),
            Step::Undeploy => {
                if let Some(record) = self.changing(key) {
                    record.stripped = true;
                }
                self.transition(key, InstanceState::DeployedStopped, Vec::new());
            }
            Step::Update => {}
        }
    }

    fn stopped(&mut self, key: &InstanceKey) {
        let Some(record) = self.changing(key) else { return };
        record.process = None;
        record.healthy = true;
        record.ailing = false;
        record.restarting = false;
        self.transition(key, InstanceState::DeployedStopped, Vec::new());
    }

    fn process_runs(&mut self, key: &InstanceKey, run: RunId, pid: u32, adopted: bool) {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key) else { return };
        let starting = record.run.as_ref().is_some_and(|it| it.step == Step::Start && it.id == run);
        match &mut record.process {
            Some(process) if process.run == run => process.pid = Some(pid),
            Some(_) | None if starting => record.process = Some(ProcessRun { run, pid: Some(pid), since: now }),
            Some(_) | None => return,
        }
        self.changed(key);
        if self.adopting.remove(key) && adopted {
            self.event(Some(key.clone()), EventBody::Adopted { pid });
        }
    }

    fn process_ended(&mut self, key: &InstanceKey, run: RunId, end: End) {
        let Some(record) = self.record(key) else { return };
        let starting = record.run.as_ref().is_some_and(|it| it.step == Step::Start && it.id == run);
        let runs = record.process.as_ref().is_some_and(|process| process.run == run);
        if starting {
            if let Some(run) = self.take_run(key, run) {
                self.ended_early(key, &run, end);
            }
        } else if runs && record.state == InstanceState::DeployedStarted {
            self.abort(key, Step::Update);
            self.ended(key, end);
        } else if runs && let Some(record) = self.changing(key) {
            // It is being stopped, and was faster.
            record.process = None;
        }
    }

    /// It ended before its check passed.
    fn ended_early(&mut self, key: &InstanceKey, run: &Run, end: End) {
        if !run.aborted {
            let again = self.record(key).is_some_and(|record| starts_again(record, end.code));
            let retry = again.then(|| self.next_try(key, Step::Start));
            self.fail(key, Step::Start, end, retry);
            if let Some(record) = self.changing(key).filter(|_| !again) {
                record.hold = Hold::Ended;
            }
        }
        self.after_failure(key, Step::Start);
    }

    fn ended(&mut self, key: &InstanceKey, end: End) {
        let now = self.now;
        let Some(record) = self.changing(key) else { return };
        let ran = record.process.as_ref().map_or(backoff::RAN_WELL, |process| now.since(process.since));
        record.crashes = if ran >= backoff::RAN_WELL { 0 } else { record.crashes.saturating_add(1) };
        let again = starts_again(record, end.code);
        let well = policy(record) == RestartPolicy::OnFailure && end.code == Some(0);
        if again {
            record.restarts = record.restarts.saturating_add(1);
        } else {
            record.hold = Hold::Ended;
        }
        // Failures of the start step itself are counted on their own; here those of what it started count.
        record.tries = record.crashes.saturating_sub(1);
        let crashes = record.crashes;
        if !well {
            let retry = again.then(|| now.plus(backoff::wait(crashes)));
            self.fail(key, Step::Start, end, retry);
        }
        self.stopped(key);
    }

    /// When `step`, which just failed, is tried again.
    fn next_try(&self, key: &InstanceKey, step: Step) -> UnixMillis {
        self.now.plus(backoff::wait(self.failures(key, step)))
    }

    /// How often in a row `step` has failed, this time included.
    fn failures(&self, key: &InstanceKey, step: Step) -> u32 {
        let same = |record: &&Record| record.failure.as_ref().is_none_or(|failure| failure.step == step);
        self.record(key).filter(same).map_or(0, |record| record.tries).saturating_add(1)
    }

    /// Notes that `step` failed, and when it is tried again.
    pub(super) fn fail(&mut self, key: &InstanceKey, step: Step, end: End, retry_at: Option<UnixMillis>) {
        let attempts = self.failures(key, step);
        let End { code, reason, output } = end;
        let failure = Failure { step, reason, exit_code: code, output, at: self.now, attempts, retry_at };
        let Some(record) = self.changing(key) else { return };
        record.tries = attempts;
        record.failure = Some(failure.clone());
        self.event(Some(key.clone()), EventBody::Failed { failure });
    }
}

fn policy(record: &Record) -> RestartPolicy {
    match &record.spec.installer {
        Installer::Process(process) => process.restart,
        Installer::Target
        | Installer::Script
        | Installer::Container(_)
        | Installer::Logger
        | Installer::Other { .. } => RestartPolicy::Never,
    }
}

fn starts_again(record: &Record, code: Option<i32>) -> bool {
    match policy(record) {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => code != Some(0),
        RestartPolicy::Never => false,
    }
}

fn line(change: &ImportChange) -> String {
    let verb = if change.present { "from" } else { "gone from" };
    format!("{} {verb} {}", change.prefix, change.provider)
}
