//! `robo apply`: makes an application what its graph says.

use robo_model::name::ApplicationName;
use robo_model::quantity::Millis;
use robo_wire::api::{Applied, Status};
use robo_wire::plan::Plan;
use robo_wire::problem::ErrorCode;

use super::plan::GraphArgs;
use crate::bundle;
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::{self, Ui};
use crate::progress::{self, Element, FollowOptions, Goal};

/// Makes an application what its graph says: shows the plan, asks, does it, and waits until all is as wished.
///
/// The manager does only what the plan shows; when something else changed in between, it refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo apply app.graph               show the plan, ask, wait
  robo apply app.graph --yes         do not ask: for pipelines
  robo apply app.graph -o json       a line of JSON for the plan and each thing that happens")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    graph: GraphArgs,
    /// Agree to the plan in advance.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether and how long to wait.
#[derive(Debug, clap::Args)]
pub(crate) struct Waiting {
    /// Return as soon as the manager has it.
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    /// How long to wait until all is as wished.
    #[arg(long, value_name = "DURATION", default_value_t = Millis::from_secs(progress::DEFAULT_TIMEOUT.as_secs()))]
    pub(crate) timeout: Millis,
}

pub(crate) async fn run(args: ApplyArgs, env: &Env) -> Result<Exit, CliError> {
    let ui = &env.ui;
    let graph = bundle::compile_checked(&args.graph.path, &args.graph.properties.map(), ui)?;
    let packed = graph.pack()?;
    let client = env.client()?;
    packed.upload(&client, ui).await?;
    let plan = client.plan(&packed.bundle).await?;
    show(&plan, ui)?;
    if !plan.is_empty() && !agreed(args.yes, "Apply these changes?", ui)? {
        ui.note("Nothing was changed.");
        return Ok(Exit::Error);
    }
    let before = status_before(&client, &plan.application).await?;
    let applied = client.apply(&packed.bundle, &plan.id).await?;
    tell(&applied, ui)?;
    if args.waiting.no_wait {
        return Ok(Exit::Done);
    }
    let options = FollowOptions {
        timeout: Some(args.waiting.timeout.duration()),
        before: Some(before),
        ..FollowOptions::new(Goal::AsWished, applied.cursor)
    };
    let end = progress::follow(ui, &client, &applied.application, options.after_plan(&applied.plan)).await?;
    progress::conclude(ui, &applied.application, &end)
}

/// The plan, for people on standard error: standard output is for how it ends.
fn show(plan: &Plan, ui: &Ui) -> Result<(), CliError> {
    if ui.is_machine() {
        return ui.element(&Element::Plan(plan));
    }
    if !plan.is_empty() {
        ui.note(output::plan::render(plan, ui.err).trim_end());
    } else {
        plan.warnings.iter().for_each(|warning| ui.note(format!("{} {warning}", ui.err.busy("warning:"))));
    }
    Ok(())
}

/// Asks, unless it was agreed in advance.
///
/// # Errors
/// When there is nobody to ask.
pub(super) fn agreed(yes: bool, question: &str, ui: &Ui) -> Result<bool, CliError> {
    if yes {
        Ok(true)
    } else if ui.can_ask {
        ui.confirm(question)
    } else {
        Err(CliError::new("nobody can be asked whether this is wished: there is no terminal")
            .note("nothing was changed")
            .help("agree in advance: `--yes`"))
    }
}

fn tell(applied: &Applied, ui: &Ui) -> Result<(), CliError> {
    if ui.is_machine() {
        return ui.element(&Element::Applied(applied));
    }
    let Applied { application, revision, plan, .. } = applied;
    ui.note(if plan.ground.revision == Some(*revision) {
        format!("{} revision {revision} of {application} is what you have.", ui.err.bold("Nothing changes:"))
    } else {
        format!("Revision {revision} of {application} is applied.")
    });
    Ok(())
}

/// How it was before, to tell old failures from new ones; nothing of an application that is new.
pub(super) async fn status_before(client: &Client, application: &ApplicationName) -> Result<Status, CliError> {
    match client.status(Some(application)).await {
        Ok(status) => Ok(status),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => {
            Ok(Status { cursor: 0, applications: Vec::new(), instances: Vec::new() })
        }
        Err(error) => Err(error.into()),
    }
}
