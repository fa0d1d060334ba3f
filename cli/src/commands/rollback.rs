//! `robo rollback`: brings an earlier revision back.

use robo_model::name::ApplicationName;
use robo_wire::api::RevisionView;

use super::apply::{Agreement, Proposal, carry_out};
use super::plan::OverrideArgs;
use super::target::RevisionTarget;
use crate::cli::Env;
use crate::error::{CliError, Exit};

/// Applies an earlier revision again: shows the plan, asks, does it, and waits until all is as wished.
///
/// Nothing is forgotten: what comes back is a new revision, and `robo history` says of which one. A second rollback
/// takes the first one back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo rollback                      what the only application was before its newest revision
  robo rollback shop 3               what it was in revision 3
  robo rollback shop --yes           do not ask: for pipelines")]
pub(crate) struct RollbackArgs {
    /// The application, where there are several, and the revision; the one before the newest where none is given.
    #[arg(value_names = ["APPLICATION", "REV"], num_args = 0..=2, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::revisions())]
    words: Vec<String>,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    agreement: Agreement,
}

pub(crate) async fn run(mut args: RollbackArgs, env: &Env) -> Result<Exit, CliError> {
    let target = RevisionTarget::parse(&args.words, 1)?;
    let client = env.client()?;
    let application = target.application(&client).await?;
    let number = match target.revisions.first() {
        Some(number) => *number,
        None => before(&application, &client.revisions(&application).await?)?,
    };
    let detail = client.revision(&application, number).await?;
    let keep_overrides = args.overrides.keep_overrides;
    let plan = client.plan(&detail.bundle, keep_overrides).await?;
    args.agreement.note.get_or_insert_with(|| format!("rollback to {number}"));
    let proposal = Proposal { bundle: detail.bundle, plan, keep_overrides, rollback_of: Some(number) };
    carry_out(proposal, args.agreement, &client, env).await
}

/// The revision before the newest.
fn before(application: &ApplicationName, revisions: &[RevisionView]) -> Result<u64, CliError> {
    match revisions {
        [_, before, ..] => Ok(before.number),
        [only] => Err(CliError::new(format!("revision {} of {application} is the only one", only.number))
            .note("there is nothing to go back to")
            .help(format!("remove it altogether: `robo delete {application}`"))),
        [] => Err(CliError::new(format!("{application} has no revision"))),
    }
}
