//! What is said when the waiting is over, and the exit code.

use std::collections::BTreeSet;

use robo_model::name::ApplicationName;
use robo_wire::api::{InstanceView, Status};

use super::{Element, FollowEnd};
use crate::error::{CliError, Exit};
use crate::output::paint::Palette;
use crate::output::table::{self, Look};
use crate::output::{Ui, circle};

/// Most instances that are named when the time is over.
const NAMED: usize = 10;

/// Shows how it ended: the table, then what is not as wished and why.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn conclude(ui: &Ui, application: &ApplicationName, end: &FollowEnd) -> Result<Exit, CliError> {
    let status = end.status();
    if ui.is_machine() {
        ui.element(&Element::Status(status))?;
    } else if !matches!(end, FollowEnd::Interrupted(_)) && !status.instances.is_empty() {
        ui.text(&table::status(status, Look::of(ui)))?;
    }
    explain(ui, application, end);
    Ok(end.exit())
}

/// Says on standard error what is not as wished, and why.
fn explain(ui: &Ui, application: &ApplicationName, end: &FollowEnd) {
    let failures = failures(end.status(), ui.err);
    match end {
        FollowEnd::Reached(_) => {}
        FollowEnd::Failed(_) => ui.note(failures),
        FollowEnd::Deleted(_) => ui.error(
            &CliError::new(format!("{application} was deleted meanwhile"))
                .note("nobody waits any longer for what was asked for")
                .help(format!("see what happened: `robo events {application}`")),
        ),
        FollowEnd::TimedOut(status) => {
            ui.error(&too_late(application, status));
            let circle = circle::told(&status.circles, ui.err);
            if !circle.is_empty() {
                ui.note(circle.trim_end());
            }
            if !failures.is_empty() {
                ui.note(failures);
            }
        }
        FollowEnd::Interrupted(_) => {
            ui.note(format!("Stopped waiting; the manager goes on with it. Look with `robo status {application}`."));
        }
    }
}

fn too_late(application: &ApplicationName, status: &Status) -> CliError {
    let open: Vec<_> = status.instances.iter().filter(|i| !i.is_as_wished()).collect();
    let count = open.len();
    let what = if count == 1 { "one instance is".to_owned() } else { format!("{count} instances are") };
    let mut error = CliError::new(format!("the time is over, and of {application} {what} not as wished"));
    for view in open.iter().take(NAMED) {
        let note = table::note(view, crate::output::when::now());
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        error = error.note(format!("{} is {}{note}", view.path, view.state));
    }
    if count > NAMED {
        error = error.note(format!("and {} more", count - NAMED));
    }
    let silent = open.iter().filter(|view| !view.online && !view.is_homeless());
    let silent: BTreeSet<&str> = silent.map(|view| view.device.as_str()).collect();
    for device in silent.iter().take(NAMED) {
        error =
            error.help(format!("{device} is offline, and takes it up when it is back: `robo device inspect {device}`"));
    }
    error.help(format!("the manager goes on with it: `robo status {application}`")).help("wait longer: `--timeout 30m`")
}

/// The last lines of every step that failed.
fn failures(status: &Status, palette: Palette) -> String {
    let failed = status.instances.iter().filter_map(|view| failure(view, palette));
    failed.collect::<Vec<_>>().join("\n")
}

/// What failed, and the last lines of its output.
pub(crate) fn failure(view: &InstanceView, palette: Palette) -> Option<String> {
    let failure = view.report.as_ref()?.failure.as_ref()?;
    let times = if failure.attempts > 1 { format!(" ({} times)", failure.attempts) } else { String::new() };
    let mut text = format!(
        "{} {} on {}: {} failed: {}{times}",
        palette.error("error:"),
        view.path,
        view.device,
        failure.step,
        failure.reason
    );
    for line in &failure.output {
        text.push_str(&format!("\n  {} {}", palette.dim("│"), line.replace(char::is_control, " ")));
    }
    // A step that printed nothing, or never came to run, has no output to look at.
    if !failure.output.is_empty() {
        let instance = crate::output::shell_word(&format!("{}{}", view.application, view.path));
        text.push_str(&format!("\n  {} more of it: `robo logs {instance}`", palette.hint("→")));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::shop;

    #[test]
    fn a_failed_step_shows_its_last_lines() {
        insta::assert_snapshot!(failures(&shop(), Palette::new(false)), @r"
        error: /worker/worker on worker: start failed: exit code 7 (3 times)
          │ cannot bind
          │ bye
          → more of it: `robo logs shop/worker/worker`
        ");
    }

    #[test]
    fn what_is_open_is_named_when_the_time_is_over() {
        let error = too_late(&ApplicationName::new("shop").unwrap(), &shop());
        insta::assert_snapshot!(crate::output::render_error(&error, Palette::new(false)), @r"
        error: the time is over, and of shop 2 instances are not as wished
          /web-1/web is UNRESOLVED: waits for Database.ip, Database.port
          /worker/worker is STARTING: device offline; start failed: exit code 7, 3 times, again now
          → worker is offline, and takes it up when it is back: `robo device inspect worker`
          → the manager goes on with it: `robo status shop`
          → wait longer: `--timeout 30m`
        ");
    }
}
