//! The page about the life cycle, from the table and plain words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Of, TABLE, Transition};
use crate::state::InstanceState;

const HEAD: &str = "\
# The life cycle of an instance

The states and their names are Roboconf's. Every instance has one state at a time; each goes its way on its own, steps
of different instances run beside one another, and on one instance never two at once. This page is generated from
`model/src/lifecycle.rs`, the table that the agent itself is held against.

";

const DIAGRAM: &str = "\n## Software on a machine\n\n";

const MACHINE: &str = "\n## A machine\n
A host instance has no steps and does not stop: it is there, or it is not. `PROBLEM` is what the manager sees of one
that is silent, or whose device was removed; its agent knows nothing of it, and goes on.\n\n";

const TRANSITIONS: &str = "\n## Every transition\n\n";

const WORDS: &str = "
## Parents and children

A child is deployed when its parent's files are there, and starts when its parent runs; until then it is
`WAITING_FOR_ANCESTOR`. It stops before its parent stops, with its own stop step, and is undeployed before its parent
is, with its own undeploy step: always from the leaves up. When the parent is started again, its children follow by
themselves. Nothing is wanted of a child that is not wanted of its parent: below a stopped instance everything is
stopped. On a machine that should stop everything stops, and the machine stays.

## Imports

An instance has what it needs when for each prefix of its mandatory imports at least one other instance is started
that exports it; until then it is `UNRESOLVED`. The exports of an instance are published after its start step ended
well, and withdrawn before its stop step begins. When a mandatory import goes, the instance stops and waits, and starts
by itself when the import is back. When imports come, change or go and it can still run, its update step runs: once
for all that changed meanwhile, and never beside another step. What changes during an update is told by the next one,
as it is then. An instance whose command line or environment names the changed variable restarts instead.

## Consumers stop first

An instance that is to stop, for a wish, a change or a restart, first withdraws its exports, and goes on running. Those
that need them and have nobody else stop, and only then does its own stop step begin: start order backwards, on one
device and across devices. The device itself sees to those on it; the manager tells it when those elsewhere have
stopped. Nobody waits for a device that is offline, and without a link nobody waits for other devices at all. After 30
seconds it stops in any case, but for those on its own device whose stop step is under way; that also ends a circle of
instances that need one another. On one device a circle is opened at once: the first by path stops first. When the
instance is wanted again meanwhile, its exports are published again, and it never stops. An instance whose process
ended, or whose check failed for good, waits for nobody: it serves nobody any more.

## Failures

A failed step leaves its reason, exit code and last output on the instance until the step succeeds. A failed deploy,
start or undeploy is tried again after 1 s, 2 s, 4 s and so on up to 60 s, and at once when the instance is changed or
asked for anew. A failed stop counts as stopped; what is left of it is killed. A failed update waits for the next
change. A process that ended is started again as its restart policy says: at once when it ran for ten seconds or more,
with the same growing waits else. Each step has a deadline, after which it has failed.

## Cancel and retry

`robo cancel` ends the step that runs, or the wait for the next try. The step has then failed with \"cancelled by\" and
the name of who asked, and nothing further is tried until `robo retry`, another wish or another specification; but what
others wait for stops all the same. `robo retry` ends holds and waits at once, and tells an update that failed again.
Where there is nothing to cancel or to retry nothing happens, however often it is asked.

## Changes behind our back

A file of the recipe that is no longer what was deployed is told as drift, with `drift: heal;` it is put back: the
instance stops, is deployed again over what is there, and starts. Whatever changes the file again within ten minutes
is answered ever later, up to a minute. With `drift: heal;` an instance whose check fails three times in a row is
stopped and started again, with the growing waits of a process that ends. With `drift: report;`, which is what holds
where nothing is said, both are only told and shown.

## Silence

A device is heard of with everything that it says, be it only a heartbeat, and its silence counts from the last thing
that was heard. After 60 seconds, or what `lease:` says, its exports are withdrawn, and importers elsewhere react. After
90 seconds, or what `robo manager --silent-after` says, its machine is `PROBLEM`. When it is back, both end; what it did
meanwhile is told then. An importer whose own device has no contact goes on with the last imports it knows.

## Restarts of the agent and of the machine

An agent that starts anew goes on where it was: a step that ran is waited for, or begun again where it had not begun,
and processes that run are looked after again. Nothing healthy restarts. When the machine itself started anew, what
scripts started is started again, and so are processes, in the order of parents and imports.
";

/// The whole page, in Markdown.
#[must_use]
pub fn page() -> String {
    let machine = |row: &Transition| row.of != Of::Software;
    let diagram = [
        HEAD.to_owned(),
        states(),
        DIAGRAM.to_owned(),
        draw(TABLE.iter().filter(|row| !machine(row)), true),
        MACHINE.to_owned(),
        draw(TABLE.iter().filter(|row| machine(row)), false),
        TRANSITIONS.to_owned(),
        rows(),
        WORDS.to_owned(),
    ];
    diagram.concat()
}

fn states() -> String {
    let mut out = "| state | meaning |\n|---|---|\n".to_owned();
    for state in InstanceState::ALL {
        line(&mut out, &[&format!("`{state}`"), meaning(state)]);
    }
    out
}

const fn meaning(state: InstanceState) -> &'static str {
    match state {
        InstanceState::NotDeployed => "nothing of it is on the machine; first and last state",
        InstanceState::Deploying => "the deploy step runs",
        InstanceState::DeployedStopped => "its files are there; it does not run",
        InstanceState::WaitingForAncestor => "it should run; its parent does not run yet",
        InstanceState::Unresolved => "it should run; mandatory imports are missing",
        InstanceState::Starting => "the start step runs, or its check has not passed yet",
        InstanceState::DeployedStarted => "it runs, and its exports are published",
        InstanceState::Stopping => "the stop step runs",
        InstanceState::Undeploying => "the undeploy step runs",
        InstanceState::Problem => "its device is silent or was removed; machines only",
    }
}

/// A state diagram for Mermaid.
fn draw<'a>(rows: impl Iterator<Item = &'a Transition>, steps: bool) -> String {
    let mut out = "```mermaid\nstateDiagram-v2\n    [*] --> NOT_DEPLOYED\n".to_owned();
    let mut drawn = BTreeSet::new();
    for row in rows.filter(|row| drawn.insert((row.from, row.to))) {
        let text = match row.step {
            Some(step) if steps && row.to.is_transient() => format!(" : {step}"),
            Some(_) | None => String::new(),
        };
        add(&mut out, &format!("    {} --> {}{text}", row.from, row.to));
    }
    out.push_str("```\n");
    out
}

fn rows() -> String {
    let mut out = "| from | to | why | step | of |\n|---|---|---|---|---|\n".to_owned();
    for row in TABLE {
        let why = if row.note.is_empty() { row.cause.to_owned() } else { format!("{}. {}", row.cause, row.note) };
        let step = row.step.map_or("", crate::state::Step::as_str);
        line(&mut out, &[&format!("`{}`", row.from), &format!("`{}`", row.to), &why, step, row.of.as_str()]);
    }
    out
}

fn line(out: &mut String, cells: &[&str]) {
    add(out, &format!("| {} |", cells.join(" | ")));
}

fn add(out: &mut String, text: &str) {
    // Writing to a text cannot fail.
    writeln!(out, "{text}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ROBO_BLESS=1 cargo test -p robo-model life_cycle_md` writes it anew.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads and writes the page that it is about")]
    fn life_cycle_md_is_what_the_table_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/life-cycle.md");
        if std::env::var_os("ROBO_BLESS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == page());
        assert!(same, "docs/life-cycle.md is not what the table says; write it anew with ROBO_BLESS=1");
    }
}
