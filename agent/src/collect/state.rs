//! Where instances stand, as the ledger and the keepers' records say, and what they and the agent printed.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::bundle::{Bundle, Taken};
use super::redact::Redactor;
use crate::folders::Folders;
use crate::keeper::output::{LOG_FILES, Shelf};
use crate::keeper::record::{RunFolder, Spec};
use crate::ledger::{Found, LedgerError, Origin};

/// Most bytes of a file of states: thousands of instances.
const MAX_STATES: usize = 2 * 1024 * 1024;

/// Most bytes of the agent's own log: as much as one of its files has.
const MAX_AGENT_LOG: u64 = 1024 * 1024;

/// Most bytes of one instance's log.
const MAX_INSTANCE_LOG: u64 = 256 * 1024;

/// Most runs that are told: the newest of each instance come first.
const MAX_RUNS: usize = 2000;

/// What is known before anything is written.
pub(super) struct Known {
    pub(super) ledger: Result<Found, LedgerError>,
    pub(super) runs: io::Result<Vec<RunFolder>>,
}

impl Known {
    /// Notes every secret that stands in it.
    pub(super) fn teach(&self, redactor: &mut Redactor) {
        if let Ok(found) = &self.ledger {
            let ledger = &found.ledger;
            for value in [data(&ledger.assignment), data(&ledger.state)] {
                redactor.learn(&value);
            }
            for provider in ledger.imports.values() {
                redactor.learn(&data(provider));
            }
        }
        for spec in self.runs.iter().flatten().take(MAX_RUNS).filter_map(|run| run.spec().ok().flatten()) {
            for (name, value) in &spec.env {
                redactor.know_variable(name, value);
            }
        }
    }

    /// Adds what the ledger and the keepers say.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn add<W: Write>(&self, bundle: &mut Bundle<W>, folders: &Folders) -> io::Result<()> {
        match &self.ledger {
            Ok(found) => {
                bundle.json("ledger.json", &summary(found))?;
                bundle.json_lines("instances.jsonl", found.ledger.state.records.values().map(data), MAX_STATES)?;
                bundle.json_lines(
                    "assignment.jsonl",
                    found.ledger.assignment.instances.iter().map(data),
                    MAX_STATES,
                )?;
            }
            Err(error) => bundle.add("ledger.json", Err(with_cause(error)))?,
        }
        match &self.runs {
            Ok(runs) => {
                let keepers = runs.iter().take(MAX_RUNS).map(|run| keeper(run, folders.root()));
                bundle.json_lines("keepers.jsonl", keepers, MAX_STATES)
            }
            Err(error) => bundle.add("keepers.jsonl", Err(error)),
        }
    }
}

/// Adds the logs of the agent and, where they are wanted, of instances.
///
/// # Errors
/// When nothing can be written.
pub(super) fn logs<W: Write>(bundle: &mut Bundle<W>, folders: &Folders, of_instances: bool) -> io::Result<()> {
    let agent = Shelf::of_agent(&folders.log());
    bundle.add("log/agent.log", log(&agent, MAX_AGENT_LOG))?;
    if !of_instances {
        return Ok(());
    }
    let instances = match folders.all_logs() {
        Ok(instances) => instances,
        Err(error) => return bundle.add("log/instances", Err(error)),
    };
    for (name, folder) in instances {
        bundle.add(&format!("log/instances/{name}/output.log"), log(&Shelf::of_instance(&folder), MAX_INSTANCE_LOG))?;
    }
    Ok(())
}

fn log(shelf: &Shelf, max: u64) -> io::Result<Taken> {
    // An empty log tells nothing of a folder that is not there.
    std::fs::read_dir(shelf.file(0).parent().unwrap_or(Path::new("/")))?;
    Taken::tail((0..LOG_FILES).map(|index| shelf.file(index)), max)
}

/// `value` as data; types of ours always have one.
fn data(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn with_cause(error: &LedgerError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn summary(found: &Found) -> Value {
    let ledger = &found.ledger;
    let files = found.origins.iter().map(|(part, origin)| {
        let told = match origin {
            Origin::Whole => "whole".to_owned(),
            Origin::Missing => "missing".to_owned(),
            Origin::Before(None) => "the one before it".to_owned(),
            Origin::Before(Some(damage)) => format!("the one before it: {damage}"),
            Origin::Lost(damage) => format!("lost: {damage}"),
        };
        (part.file_name().to_owned(), Value::from(told))
    });
    json!({
        "files": files.collect::<serde_json::Map<_, _>>(),
        "generation": ledger.assignment.generation,
        "assigned": ledger.assignment.instances.len(),
        "known": ledger.state.records.len(),
        "imports": ledger.imports.len(),
        "forgetting": ledger.state.forgetting.len(),
        "untold_events": ledger.state.spool.len(),
        "next_run": ledger.state.next_run,
        "next_event": ledger.state.next_event,
        "boot": ledger.state.boot,
        "addresses": ledger.state.addresses,
    })
}

/// What a keeper was told and what became of it. Of its environment the names alone.
fn keeper(run: &RunFolder, root: &Path) -> Value {
    let place = run.path().strip_prefix(root).unwrap_or(run.path()).display().to_string();
    let told = |spec: Spec| {
        json!({
            "argv": spec.argv,
            "variables": spec.env.keys().collect::<Vec<_>>(),
            "folder": spec.cwd,
            "user": spec.user,
            "begun_at": spec.begun_at,
        })
    };
    let mut keeper = json!({ "run": place });
    let parts = [
        ("told", run.spec().map(|spec| spec.map(told))),
        ("runs", run.running().map(|running| running.as_ref().map(data))),
        ("ended", run.exit().map(|exit| exit.as_ref().map(data))),
    ];
    for (name, part) in parts {
        let part = part.unwrap_or_else(|error| Some(json!({ "unreadable": error.to_string() })));
        if let (Some(part), Some(fields)) = (part, keeper.as_object_mut()) {
            fields.insert(name.to_owned(), part);
        }
    }
    keeper
}
