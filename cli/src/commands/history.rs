//! `robo history`: what was applied, when, by whom and why.

use super::target::Target;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::history;
use crate::output::table::Look;

/// Shows an application's revisions: when each was applied, by whom, what it changed and why.
///
/// The last 100 are kept. `robo diff` shows how two of them differ, `robo rollback` brings one back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo history                       of the only application there is
  robo history shop -o wide          with times in full and all notes
  robo history shop -o name          only the numbers, newest first")]
pub(crate) struct HistoryArgs {
    /// The application, where there are several.
    #[arg(value_name = "APPLICATION", add = crate::complete::applications())]
    application: Option<String>,
}

pub(crate) async fn run(args: HistoryArgs, env: &Env) -> Result<Exit, CliError> {
    let target = Target::parse_application(args.application.as_slice())?;
    let client = env.client()?;
    let application = target.application(&client).await?;
    let revisions = client.revisions(&application).await?;
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&revisions)?,
        Format::Name => revisions.iter().try_for_each(|revision| ui.line(revision.number))?,
        Format::Table | Format::Wide => ui.text(&history::revisions(&revisions, Look::of(ui)))?,
    }
    Ok(Exit::Done)
}
