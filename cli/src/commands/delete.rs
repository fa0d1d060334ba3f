//! `robo delete`: undeploys and forgets an application.

use robo_model::name::ApplicationName;

use super::apply::{Waiting, agreed, status_before};
use crate::cli::Env;
use crate::error::{CliError, Exit};
use crate::progress::{self, Element, FollowEnd, FollowOptions, Goal};

/// Stops an application, removes it from the machines, and forgets it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo delete shop
  robo delete shop --force           also when others are bound to it: their bindings end")]
pub(crate) struct DeleteArgs {
    /// The application.
    #[arg(add = crate::complete::applications())]
    application: ApplicationName,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Also while other applications are bound to it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: DeleteArgs, env: &Env) -> Result<Exit, CliError> {
    let (ui, name) = (&env.ui, &args.application);
    let client = env.client()?;
    let before = status_before(&client, name).await?;
    if before.applications.iter().any(|a| a.name == *name) {
        let count = before.instances.len();
        let question = format!("Delete {name} with its {count} instances, and what they keep on the machines?");
        if !agreed(args.yes, &question, ui)? {
            ui.note("Nothing was changed.");
            return Ok(Exit::Error);
        }
    }
    let accepted = client.delete_application(name, args.force).await?;
    if ui.is_machine() {
        ui.element(&Element::Accepted(&accepted))?;
    }
    if args.waiting.no_wait {
        return Ok(Exit::Done);
    }
    let options = FollowOptions {
        timeout: Some(args.waiting.timeout.duration()),
        before: Some(before),
        ..FollowOptions::new(Goal::Gone, accepted.cursor)
    };
    let end = progress::follow(ui, &client, name, options).await?;
    if matches!(end, FollowEnd::Reached(_)) && !ui.is_machine() {
        ui.note(format!("{name} is deleted."));
    }
    progress::conclude(ui, name, &end)
}
