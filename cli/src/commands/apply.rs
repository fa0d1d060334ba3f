//! `robo apply`: makes an application what its graph says.

use robo_model::name::ApplicationName;
use robo_model::quantity::Millis;
use robo_wire::api::{Applied, ApplyRequest, Bundle, Status};
use robo_wire::plan::{Plan, SavedPlan};
use robo_wire::problem::ErrorCode;

use super::plan::{GraphArgs, OverrideArgs};
use super::saved;
use crate::bundle;
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::{self, Ui};
use crate::progress::{self, Element, FollowOptions, Goal};

/// Makes an application what its graph says: shows the plan, asks, does it, and waits until all is as wished.
///
/// The manager does only what the plan shows; when something else changed in between, it refuses. In place of a graph
/// a plan may be given that `robo plan --out` has written: then exactly that plan is carried out, or none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo apply app.graph               show the plan, ask, wait
  robo apply app.graph --yes         do not ask: for pipelines
  robo apply plan.json               what `robo plan --out plan.json` showed, or nothing
  robo apply app.graph --note \"port 3307, as agreed\"
  robo apply app.graph -o json       a line of JSON for the plan and each thing that happens")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    graph: GraphArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    agreement: Agreement,
}

/// Who agrees, why, and what comes after.
#[derive(Debug, clap::Args)]
pub(crate) struct Agreement {
    /// Agree to the plan in advance.
    #[arg(short, long)]
    yes: bool,
    /// Why, for `robo history`.
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
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

/// What is applied, when it is agreed to.
pub(super) struct Proposal {
    pub(super) bundle: Bundle,
    pub(super) plan: Plan,
    pub(super) keep_overrides: bool,
    /// The revision that it brings back.
    pub(super) rollback_of: Option<u64>,
}

pub(crate) async fn run(args: ApplyArgs, env: &Env) -> Result<Exit, CliError> {
    let path = &args.graph.path;
    let (proposal, client) = match saved::read(path)? {
        Some(plan) => of_plan(plan, &args, env).await?,
        None => of_graph(&args, env).await?,
    };
    carry_out(proposal, args.agreement, &client, env).await
}

/// What a plan in a file says, while it holds.
async fn of_plan(saved: SavedPlan, args: &ApplyArgs, env: &Env) -> Result<(Proposal, Client), CliError> {
    let path = &args.graph.path;
    if args.overrides.keep_overrides || !args.graph.properties.map().is_empty() {
        return Err(CliError::new(format!("{} is a plan, and what it does is settled", path.display()))
            .help("leave `--keep-overrides` and `--set` to `robo plan`"));
    }
    let client = env.client()?;
    let plan = saved::still_holds(&saved, &client, path).await?;
    let SavedPlan { bundle, keep_overrides, .. } = saved;
    Ok((Proposal { bundle, plan, keep_overrides, rollback_of: None }, client))
}

/// What a graph says now.
async fn of_graph(args: &ApplyArgs, env: &Env) -> Result<(Proposal, Client), CliError> {
    let graph = bundle::compile_checked(&args.graph.path, &args.graph.properties.map(), &env.ui)?;
    let packed = graph.pack()?;
    let client = env.client()?;
    packed.upload(&client, &env.ui).await?;
    let keep_overrides = args.overrides.keep_overrides;
    let plan = client.plan(&packed.bundle, keep_overrides).await?;
    Ok((Proposal { bundle: packed.bundle, plan, keep_overrides, rollback_of: None }, client))
}

/// Shows the plan, asks, applies, waits.
pub(super) async fn carry_out(
    proposal: Proposal,
    agreement: Agreement,
    client: &Client,
    env: &Env,
) -> Result<Exit, CliError> {
    let (ui, plan) = (&env.ui, &proposal.plan);
    show(plan, ui)?;
    if !plan.is_empty() && !agreed(agreement.yes, "Apply these changes?", ui)? {
        ui.note("Nothing was changed.");
        return Ok(Exit::Error);
    }
    let before = status_before(client, &plan.application).await?;
    let request = ApplyRequest {
        plan_id: plan.id.clone(),
        bundle: proposal.bundle,
        keep_overrides: proposal.keep_overrides,
        note: agreement.note,
        rollback_of: proposal.rollback_of,
    };
    let applied = client.apply(&request).await?;
    tell(&applied, ui)?;
    if agreement.waiting.no_wait {
        return Ok(Exit::Done);
    }
    let options = FollowOptions {
        timeout: Some(agreement.waiting.timeout.duration()),
        before: Some(before),
        ..FollowOptions::new(Goal::AsWished, applied.cursor)
    };
    let end = progress::follow(ui, client, &applied.application, options.after_plan(&applied.plan)).await?;
    progress::conclude(ui, &applied.application, &end)
}

/// The plan, for people on standard error: standard output is for how it ends.
fn show(plan: &Plan, ui: &Ui) -> Result<(), CliError> {
    if ui.is_machine() {
        return ui.element(&Element::Plan(plan));
    }
    if !plan.is_empty() {
        let wide = ui.format == crate::cli::Format::Wide;
        ui.note(output::plan::render(plan, wide, ui.err).trim_end());
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
            Ok(Status { cursor: 0, applications: Vec::new(), instances: Vec::new(), circles: Vec::new() })
        }
        Err(error) => Err(error.into()),
    }
}
