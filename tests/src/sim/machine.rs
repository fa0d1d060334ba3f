//! The double of a device's runtime: keepers, steps and processes, which outlive the agent and end with the machine.
//!
//! It promises what the real runtime promises: a run is begun once, however often it is ordered; its outcome is kept
//! until it is asked for; what was running when the machine ended has failed.

use std::collections::BTreeMap;

use robo_agent::order::{Order, Outcome, Report, RunId};
use robo_model::graph::Installer;
use robo_model::spec::InstanceKey;
use robo_model::state::Step;

use super::schedule::Time;

/// One run of a step, on disk and in its keeper.
#[derive(Debug, Clone)]
struct Run {
    order: Order,
    ends: Time,
    planned: Outcome,
    outcome: Option<Outcome>,
}

/// A device without its agent.
#[derive(Debug, Default)]
pub(super) struct Machine {
    runs: BTreeMap<RunId, Run>,
    processes: BTreeMap<InstanceKey, RunId>,
    /// What an order was last begun for, for as long as it runs.
    busy: BTreeMap<InstanceKey, RunId>,
    /// Counts the boots.
    pub(super) boot: u64,
    next_pid: u32,
}

/// What came of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It runs, and ends then.
    Now(Time),
    /// It was begun before.
    Before,
    /// It ended before.
    Ended(Vec<Report>),
}

impl Machine {
    /// Begins a run, which will take so long and end so.
    ///
    /// # Errors
    /// What must never happen: another step of the instance runs.
    pub(super) fn begin(&mut self, now: Time, order: &Order, takes: Time, outcome: Outcome) -> Result<Begun, String> {
        if let Some(run) = self.runs.get(&order.run) {
            if run.order.key != order.key || run.order.step != order.step {
                return Err(format!(
                    "run {} was {} of {} and is now ordered as {} of {}",
                    order.run.0, run.order.step, run.order.key, order.step, order.key
                ));
            }
            let outcome = run.outcome.clone();
            return Ok(outcome.map_or(Begun::Before, |outcome| Begun::Ended(self.found(order, outcome))));
        }
        if let Some(other) = self.busy.insert(order.key.clone(), order.run) {
            return Err(format!("{} of {} begins while run {} of it runs", order.step, order.key, other.0));
        }
        let limit = order.deadline.0;
        let (takes, planned) = if takes > limit {
            (limit, failed(format!("it took longer than {}", order.deadline)))
        } else {
            (takes, outcome)
        };
        let ends = now + takes;
        self.runs.insert(order.run, Run { order: order.clone(), ends, planned, outcome: None });
        Ok(Begun::Now(ends))
    }

    /// A run ends, unless it did already. Reports, as an agent that listens hears them.
    pub(super) fn end(&mut self, run: RunId) -> Vec<Report> {
        let Some(planned) = self.runs.get(&run).map(|it| it.planned.clone()) else { return Vec::new() };
        self.end_as(run, planned)
    }

    /// A run is ended on request.
    pub(super) fn abort(&mut self, run: RunId) -> Vec<Report> {
        self.end_as(run, failed("ended on request".to_owned()))
    }

    fn end_as(&mut self, id: RunId, outcome: Outcome) -> Vec<Report> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.outcome.is_none()) else { return Vec::new() };
        run.outcome = Some(outcome.clone());
        let order = run.order.clone();
        self.busy.remove(&order.key);
        let mut reports = Vec::new();
        let is_process = matches!(order.installer, Installer::Process(_));
        match (order.step, &outcome) {
            (Step::Start, Outcome::Done) if is_process => {
                self.processes.insert(order.key.clone(), id);
                reports.push(self.runs_now(&order.key, id, false));
            }
            (Step::Stop, _) => drop(self.processes.remove(&order.key)),
            (Step::Deploy | Step::Start | Step::Update | Step::Undeploy, _) => {}
        }
        reports.push(ended(&order, outcome));
        reports
    }

    /// What an order comes to whose run ended earlier. A start is worth what became of its process since.
    fn found(&mut self, order: &Order, outcome: Outcome) -> Vec<Report> {
        let is_process = matches!(order.installer, Installer::Process(_));
        if order.step != Step::Start || outcome != Outcome::Done || !is_process {
            return vec![ended(order, outcome)];
        }
        if self.processes.get(&order.key) != Some(&order.run) {
            return vec![ended(order, failed("its process ended".to_owned()))];
        }
        vec![self.runs_now(&order.key, order.run, true), ended(order, outcome)]
    }

    fn runs_now(&mut self, key: &InstanceKey, run: RunId, adopted: bool) -> Report {
        self.next_pid += u32::from(!adopted);
        Report::ProcessRuns { key: key.clone(), run, pid: 1_000 + u32::try_from(run.0).unwrap_or_default(), adopted }
    }

    /// What an agent that looks after a started instance hears first; nothing where no process is supervised.
    pub(super) fn watch(&mut self, order: &Order) -> Option<Report> {
        let process = order.process?;
        if self.processes.get(&order.key) == Some(&process) {
            return Some(self.runs_now(&order.key, process, true));
        }
        Some(gone(&order.key, process, None, "nobody saw it end"))
    }

    /// The process of an instance ends by itself.
    pub(super) fn end_process(&mut self, pick: usize, code: Option<i32>) -> Option<(InstanceKey, Report)> {
        let (key, run) = self.processes.iter().nth(pick % self.processes.len().max(1))?;
        let (key, run) = (key.clone(), *run);
        self.processes.remove(&key);
        let report = gone(&key, run, code, "it ended");
        Some((key, report))
    }

    /// Everything of an instance is removed.
    ///
    /// # Errors
    /// What must never happen: something of it runs.
    pub(super) fn forget(&mut self, key: &InstanceKey) -> Result<(), String> {
        if let Some(run) = self.busy.get(key) {
            return Err(format!("{key} is removed while run {} of it runs", run.0));
        }
        if self.processes.contains_key(key) {
            return Err(format!("{key} is removed while its process runs"));
        }
        Ok(())
    }

    /// The machine ends, and what runs with it.
    pub(super) fn reboot(&mut self) {
        self.boot += 1;
        self.processes.clear();
        self.busy.clear();
        for run in self.runs.values_mut().filter(|run| run.outcome.is_none()) {
            run.outcome = Some(failed("ended with the machine, which was started again since".to_owned()));
        }
    }

    /// The weather clears: what would hang or fail ends well and soon.
    pub(super) fn calm(&mut self, now: Time) -> Vec<(RunId, Time)> {
        let mut sooner = Vec::new();
        for (id, run) in self.runs.iter_mut().filter(|(_, run)| run.outcome.is_none()) {
            run.planned = Outcome::Done;
            if run.ends > now + 100 {
                run.ends = now + 100;
                sooner.push((*id, run.ends));
            }
        }
        sooner
    }
}

fn ended(order: &Order, outcome: Outcome) -> Report {
    Report::StepEnded { key: order.key.clone(), run: order.run, outcome }
}

fn gone(key: &InstanceKey, run: RunId, code: Option<i32>, reason: &str) -> Report {
    Report::ProcessEnded { key: key.clone(), run, code, reason: reason.to_owned(), output: Vec::new() }
}

pub(super) fn failed(reason: String) -> Outcome {
    Outcome::Failed { reason, exit_code: Some(1), output: vec!["last words".to_owned()] }
}
