//! `robo auth`: who one is for the manager, and what one may.

use robo_model::access::Verb;
use robo_model::name::{DeviceName, UserName};
use robo_wire::api::CanI;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Says who you are for the manager, and what you may.
#[derive(Debug, clap::Args)]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuthCommand {
    /// Says who you are, and what you may.
    Whoami,
    /// Says whether you, or somebody else, may do something: exit code 0 when yes, 3 when no.
    #[command(after_help = "\
Verbs: see, logs, see-applications     (viewer)
       apply, exec, shell, copy, forward   (operator)
       root, enroll, manage-devices, grant, audit, manage-users   (admin)

Examples:
  robo auth can-i apply
  robo auth can-i shell robot-7 --why
  robo auth can-i exec robot-7 --as ann")]
    CanI {
        /// What.
        verb: Verb,
        /// On which device; in the project as a whole where none is named.
        #[arg(add = crate::complete::devices())]
        device: Option<DeviceName>,
        /// In all projects, and for the manager itself.
        #[arg(long, conflicts_with = "device")]
        all_projects: bool,
        /// Who, instead of you.
        #[arg(long = "as", value_name = "USER")]
        user: Option<UserName>,
        /// Say why.
        #[arg(long)]
        why: bool,
    },
}

pub(crate) async fn run(args: AuthArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        AuthCommand::Whoami => whoami(env).await,
        AuthCommand::CanI { verb, device, all_projects, user, why } => {
            let project = (!all_projects).then(|| env.client().map(|client| client.project().clone())).transpose()?;
            can_i(&CanI { verb, project, device, user }, why, env).await
        }
    }
}

async fn whoami(env: &Env) -> Result<Exit, CliError> {
    let ui = &env.ui;
    let me = env.client()?.me().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&me)?,
        Format::Name => ui.line(&me.user)?,
        Format::Table | Format::Wide => {
            ui.line(access::who(&me, Look::of(ui).now))?;
            if me.grants.is_empty() {
                ui.note("You may nothing yet: an administrator gives roles with `robo user grant`.");
            } else {
                ui.text(&access::grants(&me.grants, Look::of(ui)))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn can_i(asked: &CanI, why: bool, env: &Env) -> Result<Exit, CliError> {
    let ui = &env.ui;
    let decision = env.client()?.can_i(asked).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&decision)?,
        Format::Name | Format::Table | Format::Wide => {
            ui.line(if decision.allowed { "yes" } else { "no" })?;
            if why {
                decision.reasons.iter().try_for_each(|reason| ui.line(format!("  {reason}")))?;
            }
        }
    }
    Ok(if decision.allowed { Exit::Done } else { Exit::SomeFailed })
}
