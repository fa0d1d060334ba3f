//! `robo status`: what runs where.

use robo_model::name::InstancePath;
use robo_model::state::InstanceState;
use robo_wire::api::Status;

use super::target::Target;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::table::{self, Look};
use crate::output::{circle, detail};

/// Shows what runs where, and what keeps the rest from running.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo status                        every application
  robo status shop -o wide           one, with process ids, restarts and exports
  robo status /database/db           one instance, with the last lines of what failed
  robo status --check || alert       for scripts: exit code 3 when something is not as wished")]
pub(crate) struct StatusArgs {
    /// An application, and an instance's path for all that is known of it.
    #[arg(value_names = ["APPLICATION", "/PATH"], num_args = 0..=2, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::targets())]
    target: Vec<String>,
    /// End with 3 when not everything is as wished.
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
    let mut status = client.status(application.as_ref()).await?;
    if !env.ui.is_machine() && status.instances.iter().any(|view| view.state == InstanceState::Problem) {
        table::since_silent(&mut status, &client.devices().await?);
    }
    match &target.path {
        Some(path) => one(&mut status, path, env)?,
        None => all(&status, env)?,
    }
    let good = status.instances.iter().all(|view| view.is_as_wished());
    Ok(if args.check && !good { Exit::SomeFailed } else { Exit::Done })
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
            let circle = circle::told(status, ui.err);
            if !circle.is_empty() {
                ui.note(circle.trim_end());
            }
            Ok(())
        }
    }
}

/// One instance with all that is known of it; a whole subtree for what has no report of its own to show.
fn one(status: &mut Status, path: &InstancePath, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    status.instances.retain(|view| view.path.is_within(path));
    let Some(view) = status.instances.iter().find(|view| view.path == *path) else {
        let names: Vec<_> = status.applications.iter().map(|a| a.name.as_str()).collect();
        return Err(CliError::new(format!("there is no instance {path} in {}", names.join(", ")))
            .help(format!("see what there is: `robo status {}`", names.join(" "))));
    };
    match ui.format {
        Format::Json | Format::Yaml => ui.value(view),
        Format::Name => ui.line(format!("{}{}", view.application, view.path)),
        Format::Table | Format::Wide => {
            ui.text(&detail::instance(view, &Look::of(ui)))?;
            let below: Vec<_> = status.instances.iter().filter(|v| v.path != *path).collect();
            if below.is_empty() { Ok(()) } else { ui.text(&format!("\n{}", table::instances(&below, Look::of(ui)))) }
        }
    }
}
