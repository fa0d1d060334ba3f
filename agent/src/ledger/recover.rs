//! A ledger of which parts are damaged, made whole from the other parts and from what the machine itself knows.
//!
//! The aim is that what runs goes on running. Each part has somebody who knows most of it:
//! - the **assignment**: the records' specifications are what runs; the part of before is taken only where the records
//!   are gone too, because it might name fewer instances, and what it does not name would be removed. Its generation
//!   is then zero, so that the manager tells it again;
//! - the **imports**: the part of before, else what the instances were told of other devices;
//! - the **state**: the part of before, set right by the runs' folders; else those alone. What runs is adopted. What it
//!   was told is not known any more, so it is taken to have been told what it would be told now.
//!
//! Numbers of runs go on behind the newest folder, numbers of events when the manager says which it has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use robo_model::graph::Installer;
use robo_model::name::Variable;
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, Generation, InstanceKey, InstanceSpec};
use robo_model::state::{InstanceState, Step, Wanted};

use super::evidence::{self, Evidence, Fate, Seen, SeenRun};
use super::{Damage, Found, Ledger, Origin, Part, ProcessRun, Record, Run, What};
use crate::folders::Folders;
use crate::order::RunId;
use crate::pilot::Loaded;

/// What was done about one part, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which part.
    pub part: Part,
    /// What was wrong with it, where its file was there.
    pub damage: Option<Damage>,
    /// What was taken instead.
    pub source: &'static str,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger's part `{}` ", self.part.file_name())?;
        match &self.damage {
            Some(damage) => write!(f, "is damaged ({damage}) and was put aside")?,
            None => f.write_str("is missing")?,
        }
        write!(f, "; taken instead: {}", self.source)
    }
}

/// Makes `found` whole, with the help of what lies in `folders`.
///
/// # Errors
/// When those cannot be read.
pub fn recover(found: Found, folders: &Folders, now: UnixMillis) -> io::Result<(Loaded, Vec<Note>)> {
    let Found { ledger, origins } = found;
    let mut recovery = Recovery { ledger, origins, notes: Vec::new(), rewrite: What::default() };
    recovery.assignment();
    recovery.imports();
    if recovery.origin(Part::State) != Origin::Whole && !recovery.ledger.assignment.instances.is_empty() {
        let specs = recovery.ledger.assignment.instances.iter().map(|spec| &spec.key);
        let evidence = evidence::look(folders, specs.chain(recovery.ledger.state.records.keys()))?;
        recovery.state(&evidence, now);
    }
    Ok((Loaded { ledger: recovery.ledger, rewrite: recovery.rewrite }, recovery.notes))
}

struct Recovery {
    ledger: Ledger,
    origins: BTreeMap<Part, Origin>,
    notes: Vec<Note>,
    rewrite: What,
}

impl Recovery {
    fn origin(&self, part: Part) -> Origin {
        self.origins.get(&part).cloned().unwrap_or(Origin::Missing)
    }

    fn note(&mut self, part: Part, source: &'static str) {
        let damage = match self.origin(part) {
            Origin::Whole | Origin::Missing | Origin::Before(None) => None,
            Origin::Before(Some(damage)) | Origin::Lost(damage) => Some(damage),
        };
        self.notes.push(Note { part, damage, source });
        self.rewrite = match part {
            Part::Assignment => What { assignment: true, ..self.rewrite },
            Part::Imports => What { imports: true, ..self.rewrite },
            Part::State => What { state: true, ..self.rewrite },
        };
    }

    fn assignment(&mut self) {
        let origin = self.origin(Part::Assignment);
        let records = &self.ledger.state.records;
        if origin == Origin::Whole || (origin == Origin::Missing && records.is_empty()) {
            return;
        }
        if records.is_empty() {
            let before = matches!(origin, Origin::Before(_));
            return self
                .note(Part::Assignment, if before { "the one before" } else { "nothing; the manager knows it" });
        }
        // What is gone, or is going, is not called back; the manager says what is really wished.
        let going = |record: &Record| matches!(record.state, InstanceState::NotDeployed | InstanceState::Undeploying);
        let spec = |record: &Record| {
            let wanted = if going(record) { Wanted::NotDeployed } else { record.spec.wanted };
            InstanceSpec { wanted, ..record.spec.clone() }
        };
        let instances = records.values().map(spec).collect();
        self.ledger.assignment = Assignment { generation: Generation(0), instances };
        self.note(Part::Assignment, "what is on the machine");
    }

    fn imports(&mut self) {
        match self.origin(Part::Imports) {
            Origin::Whole => return,
            Origin::Before(_) => return self.note(Part::Imports, "the one before"),
            Origin::Missing | Origin::Lost(_) => {}
        }
        self.ledger.imports = told_of(&self.ledger);
        if self.origin(Part::Imports) != Origin::Missing || !self.ledger.imports.is_empty() {
            self.note(Part::Imports, "what the instances were told");
        }
    }

    fn state(&mut self, evidence: &Evidence, now: UnixMillis) {
        let state = &mut self.ledger.state;
        let known = state.next_run;
        state.next_run = known.max(RunId(evidence.last_run.0.saturating_add(1)));
        for spec in &self.ledger.assignment.instances {
            let record = state.records.entry(spec.key.clone()).or_insert_with(|| Record::new(spec.clone(), now));
            let seen = evidence.instances.get(&spec.key);
            let newest = seen.and_then(|seen| seen.runs.first());
            let fresh = record.state == InstanceState::NotDeployed && record.run.is_none();
            // A record that knows the newest run goes on from there, as after any restart.
            if fresh || newest.is_some_and(|run| run.id >= known) {
                as_seen(record, seen.unwrap_or(&Seen::default()));
            }
        }
        let before = matches!(self.origin(Part::State), Origin::Before(_));
        let source = if before { "the one before, and the runs' folders" } else { "the runs' folders" };
        if self.origin(Part::State) != Origin::Missing || evidence.last_run != RunId(0) {
            self.note(Part::State, source);
        } else {
            self.rewrite.state = true;
        }
    }
}

/// Other devices' instances, as far as those of this one were told of them.
fn told_of(ledger: &Ledger) -> BTreeMap<InstanceKey, Provider> {
    let records = &ledger.state.records;
    let mut providers: BTreeMap<InstanceKey, Provider> = BTreeMap::new();
    for record in records.values() {
        for (prefix, told) in &record.told.imports {
            let inner: BTreeSet<bool> =
                record.spec.imports.iter().filter(|import| import.prefix == *prefix).map(|i| i.external).collect();
            for (key, imported) in told.iter().filter(|(key, _)| !records.contains_key(*key)) {
                let provider = providers.entry(key.clone()).or_insert_with(|| Provider {
                    key: key.clone(),
                    component: imported.component.clone(),
                    exports: BTreeMap::new(),
                    outside: BTreeMap::new(),
                });
                let external = inner.contains(&true) && key.application != record.spec.key.application;
                let place = if external { &mut provider.outside } else { &mut provider.exports };
                place.extend(
                    imported.variables.iter().map(|(local, value)| {
                        (Variable { prefix: prefix.clone(), local: local.clone() }, value.clone())
                    }),
                );
            }
        }
    }
    providers
}

/// Sets a record to what is there of its instance.
fn as_seen(record: &mut Record, seen: &Seen) {
    record.run = None;
    record.process = None;
    record.drain = None;
    record.state = InstanceState::NotDeployed;
    if record.spec.installer == Installer::Target || (!seen.deployed && seen.runs.is_empty()) {
        return;
    }
    let process = matches!(record.spec.installer, Installer::Process(_));
    let runs = |run: &&SeenRun| matches!(run.fate, Fate::Runs(_));
    // A step that runs: it is waited for, as after any restart of the agent.
    let step = seen.runs.iter().filter(runs).find(|run| !(process && run.step == Some(Step::Start)));
    let supervised = seen.runs.iter().filter(runs).find(|run| process && run.step == Some(Step::Start));
    if let Some(run) = supervised
        && let Fate::Runs(pid) = run.fate
    {
        record.process = Some(ProcessRun { run: run.id, pid: Some(pid), since: run.begun_at });
        record.started_by = run.id;
    }
    let up = supervised.is_some() || (!process && started_by_script(record, seen));
    record.state = match step.and_then(|run| Some((run, run.step?))) {
        Some((run, step)) => {
            record.run = Some(Run::new(run.id, step, supervised.map(|run| run.id)));
            match step {
                Step::Deploy => InstanceState::Deploying,
                Step::Start => InstanceState::Starting,
                Step::Update => InstanceState::DeployedStarted,
                Step::Stop => InstanceState::Stopping,
                Step::Undeploy => InstanceState::Undeploying,
            }
        }
        None if up => InstanceState::DeployedStarted,
        None if is_deployed(seen) => InstanceState::DeployedStopped,
        None => InstanceState::NotDeployed,
    };
}

/// True when the last thing that a script did was to start it, in this boot of the machine.
fn started_by_script(record: &mut Record, seen: &Seen) -> bool {
    let last = seen.runs.iter().find(|run| matches!(run.step, Some(Step::Start | Step::Stop | Step::Deploy)));
    match last {
        Some(run) if run.step == Some(Step::Start) && run.fate == (Fate::Done { this_boot: true }) => {
            record.started_by = run.id;
            true
        }
        Some(_) | None => false,
    }
}

/// True when its files are there, and a script that deploys did so.
fn is_deployed(seen: &Seen) -> bool {
    let deploy = seen.runs.iter().find(|run| run.step == Some(Step::Deploy));
    seen.deployed && deploy.is_none_or(|run| matches!(run.fate, Fate::Done { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::examples;

    const WEB: &str = "/vm/web";

    fn key(path: &str) -> InstanceKey {
        InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
    }

    fn recovery(ledger: Ledger, part: Part, origin: Origin) -> Recovery {
        let mut origins: BTreeMap<Part, Origin> = Part::ALL.map(|part| (part, Origin::Whole)).into();
        origins.insert(part, origin);
        Recovery { ledger, origins, notes: Vec::new(), rewrite: What::default() }
    }

    fn run(id: u64, step: Step, fate: Fate) -> SeenRun {
        SeenRun { id: RunId(id), step: Some(step), begun_at: UnixMillis(9), fate }
    }

    fn evidence(runs: Vec<SeenRun>) -> Evidence {
        let last_run = runs.iter().map(|run| run.id).max().unwrap_or_default();
        Evidence { instances: [(key(WEB), Seen { deployed: true, runs })].into(), last_run }
    }

    #[test]
    fn a_lost_assignment_is_what_is_on_the_machine() {
        let mut ledger = Ledger { assignment: Assignment::default(), ..examples::ledger() };
        let going = InstanceSpec { key: key("/vm/old"), ..ledger.state.records[&key(WEB)].spec.clone() };
        ledger.state.records.insert(going.key.clone(), Record::new(going, UnixMillis(1)));
        ledger.state.records.get_mut(&key(WEB)).unwrap().state = InstanceState::DeployedStarted;
        for origin in [Origin::Lost(Damage::Foreign), Origin::Before(Some(Damage::Torn(3))), Origin::Missing] {
            let mut recovery = recovery(ledger.clone(), Part::Assignment, origin);
            recovery.assignment();
            let found = &recovery.ledger.assignment;
            assert_eq!(found.generation, Generation(0), "the manager tells it again");
            let wanted: Vec<_> = found.instances.iter().map(|spec| (spec.key.path.as_str(), spec.wanted)).collect();
            assert_eq!(wanted, [("/vm/old", Wanted::NotDeployed), (WEB, Wanted::Started)]);
            assert!(recovery.rewrite.assignment && recovery.notes.len() == 1);
        }
        let mut fresh = recovery(Ledger::default(), Part::Assignment, Origin::Missing);
        fresh.assignment();
        assert!(fresh.notes.is_empty() && fresh.rewrite.is_empty(), "a device that was never told anything");
        let mut both = recovery(
            Ledger { state: super::super::State::default(), ..examples::ledger() },
            Part::Assignment,
            Origin::Before(Some(Damage::Checksum)),
        );
        both.assignment();
        assert_eq!(both.ledger.assignment, examples::ledger().assignment, "the one before is all there is");
    }

    #[test]
    fn lost_imports_are_what_was_told() {
        let ledger = examples::ledger();
        let expect = ledger.imports.clone();
        let mut lost =
            recovery(Ledger { imports: BTreeMap::new(), ..ledger }, Part::Imports, Origin::Lost(Damage::Checksum));
        lost.imports();
        assert_eq!(lost.ledger.imports, expect);
        assert_eq!(
            lost.notes[0].to_string(),
            "the ledger's part `imports` is damaged (its content does not match its checksum) and was put aside; \
             taken instead: what the instances were told"
        );
    }

    #[test]
    fn a_lost_state_is_made_from_the_runs_folders() {
        let check = |installer: &str, runs: Vec<SeenRun>, expect: (InstanceState, Option<Step>, Option<u32>)| {
            let mut ledger = examples::ledger();
            ledger.state = super::super::State::default();
            ledger.assignment.instances[0].installer = serde_json::from_str(installer).unwrap();
            let mut recovery = recovery(ledger, Part::State, Origin::Lost(Damage::Foreign));
            recovery.state(&evidence(runs.clone()), UnixMillis(1));
            let state = &recovery.ledger.state;
            let record = &state.records[&key(WEB)];
            let got =
                (record.state, record.run.as_ref().map(|run| run.step), record.process.as_ref().and_then(|p| p.pid));
            assert_eq!(got, expect, "{runs:?}");
            assert!(runs.iter().all(|run| run.id < state.next_run), "a run's number is never used again");
        };
        let (script, process) = (r#"{"kind": "script"}"#, r#"{"kind": "process", "run": "x"}"#);
        let done = Fate::Done { this_boot: true };
        let before = Fate::Done { this_boot: false };
        use InstanceState as S;
        check(process, vec![run(4, Step::Start, Fate::Runs(77))], (S::DeployedStarted, None, Some(77)));
        check(process, vec![run(4, Step::Start, Fate::Other)], (S::DeployedStopped, None, None));
        check(
            process,
            vec![run(5, Step::Stop, Fate::Runs(78)), run(4, Step::Start, Fate::Runs(77))],
            (S::Stopping, Some(Step::Stop), Some(77)),
        );
        check(script, vec![run(4, Step::Start, done), run(3, Step::Deploy, done)], (S::DeployedStarted, None, None));
        check(script, vec![run(4, Step::Start, before)], (S::DeployedStopped, None, None));
        check(script, vec![run(5, Step::Stop, done), run(4, Step::Start, done)], (S::DeployedStopped, None, None));
        check(script, vec![run(4, Step::Start, Fate::Runs(77))], (S::Starting, Some(Step::Start), None));
        check(script, vec![run(4, Step::Deploy, Fate::Other)], (S::NotDeployed, None, None));
        check(script, vec![], (S::DeployedStopped, None, None));
    }

    #[test]
    fn a_state_of_before_is_set_right_where_it_does_not_know_the_newest_run() {
        let check = |newest: u64, expect: InstanceState| {
            let mut ledger = examples::ledger();
            ledger.assignment.instances[0].installer =
                serde_json::from_str(r#"{"kind": "process", "run": "x"}"#).unwrap();
            let record = ledger.state.records.get_mut(&key(WEB)).unwrap();
            record.spec = ledger.assignment.instances[0].clone();
            record.state = InstanceState::DeployedStopped;
            record.run = None;
            ledger.state.next_run = RunId(4);
            let mut recovery = recovery(ledger, Part::State, Origin::Before(Some(Damage::Torn(1))));
            recovery.state(&evidence(vec![run(newest, Step::Start, Fate::Runs(77))]), UnixMillis(1));
            assert_eq!(recovery.ledger.state.records[&key(WEB)].state, expect);
        };
        check(3, InstanceState::DeployedStopped);
        check(4, InstanceState::DeployedStarted);
    }
}
