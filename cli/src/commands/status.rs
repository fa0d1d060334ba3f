//! `robo status`: what runs where.

use robo_model::name::InstancePath;
use robo_model::state::InstanceState;
use robo_wire::api::{Circle, InstanceView, Status};

use super::target::Target;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::table::{self, Look};
use crate::output::{Ui, circle, detail};

/// Shows what runs where, and what keeps the rest from running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo status                        every application
  robo status shop -o wide           one, with process ids, restarts and exports
  robo status /database/db           one instance, with the last lines of what failed
  robo status --check || alert       for scripts: exit code 3 when something is not as wished or drifted")]
pub(crate) struct StatusArgs {
    /// An application, and an instance's path for all that is known of it.
    #[arg(value_names = ["APPLICATION", "/PATH"], num_args = 0..=2, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::targets())]
    target: Vec<String>,
    /// End with 3 when not everything is as wished, or files were changed behind our back.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(args: StatusArgs, env: &Env) -> Result<Exit, CliError> {
    let target = Target::parse(&args.target)?;
    let client = env.client()?;
    let application = match (&target.application, &target.path) {
        (None, Some(_)) => Some(target.application(&client).await?),
        (application, _) => application.clone(),
    };
    let mut status = match args.check {
        true => client.status_in_step(application.as_ref()).await?,
        false => client.status(application.as_ref()).await?,
    };
    if !env.ui.is_machine() && status.instances.iter().any(|view| view.state == InstanceState::Problem) {
        table::since_silent(&mut status, &client.devices().await?);
    }
    match &target.path {
        Some(path) => one(&mut status, path, env)?,
        None => all(&status, env)?,
    }
    if !args.check {
        return Ok(Exit::Done);
    }
    let verdict = Check::of(&status);
    if let Some(reason) = verdict.drift() {
        env.ui.note(reason);
    }
    Ok(verdict.exit())
}

/// What `--check` finds.
struct Check<'a> {
    as_wished: bool,
    drifted: Vec<&'a InstanceView>,
}

impl<'a> Check<'a> {
    /// Most drifted instances that are named.
    const NAMED: usize = 10;

    fn of(status: &'a Status) -> Self {
        Self {
            as_wished: status.instances.iter().all(InstanceView::is_as_wished),
            drifted: status.instances.iter().filter(|view| view.has_drifted()).collect(),
        }
    }

    /// Why it is not well although all may be as wished.
    fn drift(&self) -> Option<String> {
        let mut names: Vec<String> =
            self.drifted.iter().take(Self::NAMED).map(|view| format!("{}{}", view.application, view.path)).collect();
        if let Some(more) = self.drifted.len().checked_sub(Self::NAMED).filter(|more| *more > 0) {
            names.push(format!("{more} more"));
        }
        (!names.is_empty()).then(|| format!("Files were changed behind our back: {}.", names.join(", ")))
    }

    fn exit(&self) -> Exit {
        if self.as_wished && self.drifted.is_empty() { Exit::Done } else { Exit::SomeFailed }
    }
}

fn all(status: &Status, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(status),
        Format::Name => status.instances.iter().try_for_each(|i| ui.line(format!("{}{}", i.application, i.path))),
        Format::Table | Format::Wide if status.applications.is_empty() && status.instances.is_empty() => {
            ui.note("There is no application yet. Apply one: `robo apply app.graph`");
            Ok(())
        }
        Format::Table | Format::Wide => {
            ui.text(&table::status(status, Look::of(ui)))?;
            tell_circles(status, ui);
            Ok(())
        }
    }
}

/// One instance with all that is known of it; a whole subtree for what has no report of its own to show.
fn one(status: &mut Status, path: &InstancePath, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    status.instances.retain(|view| view.path.is_within(path));
    status.circles.retain(|circle| circle.members.iter().any(|member| member.path.is_within(path)));
    let Some(view) = status.instances.iter().find(|view| view.path == *path) else {
        let names: Vec<_> = status.applications.iter().map(|a| a.name.as_str()).collect();
        return Err(CliError::new(format!("there is no instance {path} in {}", names.join(", ")))
            .help(format!("see what there is: `robo status {}`", names.join(" "))));
    };
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&One { view, circles: &status.circles }),
        Format::Name => ui.line(format!("{}{}", view.application, view.path)),
        Format::Table | Format::Wide => {
            ui.text(&detail::instance(view, &Look::of(ui)))?;
            let below: Vec<_> = status.instances.iter().filter(|v| v.path != *path).collect();
            if !below.is_empty() {
                ui.text(&format!("\n{}", table::instances(&below, Look::of(ui))))?;
            }
            tell_circles(status, ui);
            Ok(())
        }
    }
}

/// An instance for programs, with what it waits for in a circle.
#[derive(Debug, serde::Serialize)]
struct One<'a> {
    #[serde(flatten)]
    view: &'a InstanceView,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    circles: &'a [Circle],
}

fn tell_circles(status: &Status, ui: &Ui) {
    let circles = circle::told(&status.circles, ui.err);
    if !circles.is_empty() {
        ui.note(circles.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::view;

    #[test]
    fn drift_is_a_reason_of_its_own() {
        let check = |change: fn(&mut InstanceView), exit: Exit, reason: Option<&str>| {
            let mut web = view("/web-1/web", "Web", "web-1", InstanceState::DeployedStarted);
            change(&mut web);
            let status = Status { cursor: 0, applications: vec![], instances: vec![web], circles: vec![] };
            let found = Check::of(&status);
            assert_eq!((found.exit(), found.drift().as_deref()), (exit, reason));
        };
        check(|_| {}, Exit::Done, None);
        check(|view| view.settled = false, Exit::SomeFailed, None);
        let drift = |view: &mut InstanceView| view.report.as_mut().unwrap().drift = vec!["run.sh changed".into()];
        check(drift, Exit::SomeFailed, Some("Files were changed behind our back: shop/web-1/web."));
    }
}
