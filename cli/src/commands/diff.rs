//! `robo diff`: how two revisions of an application differ.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use robo_model::name::ApplicationName;
use robo_model::spec::FileRef;
use robo_wire::api::{FileDiff, RevisionDiff};

use super::target::RevisionTarget;
use crate::cli::{Env, Format};
use crate::client::{Client, ClientError};
use crate::error::{CliError, Exit};
use crate::output::history::{self, FileText};

/// Largest file whose lines are compared, in bytes; a larger one is only named.
const MAX_SHOWN_BYTES: u64 = 1024 * 1024;

/// Files fetched at the same time: hides the round trips, and keeps few in memory.
const FETCHES_AT_ONCE: usize = 8;

/// Shows how two revisions of an application differ: its instances, its sources and the files of its recipes.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "robo diff [OPTIONS] [APPLICATION] <REV> [REV]",
    after_help = "\
Examples:
  robo diff 3                        what changed since revision 3
  robo diff shop 3 5                 what changed from revision 3 to revision 5
  robo diff shop 5 3                 what a rollback to revision 3 would change
  robo diff shop 3 5 -o name         only which instances and files"
)]
pub(crate) struct DiffArgs {
    /// The application, where there are several, and one or two revisions; the second is the newest where only one is given.
    #[arg(value_names = ["APPLICATION", "REV", "REV"], num_args = 1..=3, required = true, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::revisions())]
    words: Vec<String>,
}

pub(crate) async fn run(args: DiffArgs, env: &Env) -> Result<Exit, CliError> {
    let target = RevisionTarget::parse(&args.words, 2)?;
    let missing = || {
        CliError::new("no revision is given")
            .help("see which there are: `robo history`")
            .help("what changed since revision 3: `robo diff 3`")
    };
    let from = *target.revisions.first().ok_or_else(missing)?;
    let client = env.client()?;
    let application = target.application(&client).await?;
    let to = match target.revisions.get(1) {
        Some(to) => *to,
        None => newest(&client, &application).await?,
    };
    let diff = client.revision_diff(&application, (from, to)).await?;
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&diff)?,
        Format::Name => {
            diff.changes.iter().try_for_each(|change| ui.line(format!("{application}{}", change.path)))?;
            diff.files.iter().try_for_each(|file| ui.line(&file.path))?;
        }
        Format::Table | Format::Wide => {
            let texts = texts(&client, &application, &diff).await?;
            ui.text(&history::diff(&application, &diff, &texts, ui))?;
        }
    }
    Ok(Exit::Done)
}

async fn newest(client: &Client, application: &ApplicationName) -> Result<u64, CliError> {
    let revisions = client.revisions(application).await?;
    let newest = revisions.first().map(|revision| revision.number);
    newest.ok_or_else(|| CliError::new(format!("{application} has no revision")))
}

/// Both sides of every file that differs, in the order of the files.
async fn texts(
    client: &Client,
    application: &ApplicationName,
    diff: &RevisionDiff,
) -> Result<Vec<[FileText; 2]>, ClientError> {
    let both = |file: &FileDiff| {
        let (before, after) = (file.before.clone(), file.after.clone());
        async move {
            let old = text(client, application, (diff.from, before.as_ref())).await?;
            Ok::<_, ClientError>([old, text(client, application, (diff.to, after.as_ref())).await?])
        }
    };
    let all: Vec<_> = diff.files.iter().map(both).collect();
    stream::iter(all).buffered(FETCHES_AT_ONCE).try_collect().await
}

async fn text(
    client: &Client,
    application: &ApplicationName,
    (revision, file): (u64, Option<&FileRef>),
) -> Result<FileText, ClientError> {
    let Some(file) = file else { return Ok(FileText::Absent) };
    if file.size > MAX_SHOWN_BYTES {
        return Ok(FileText::Large);
    }
    let bytes = client.revision_file(application, revision, file).await?;
    Ok(FileText::of(&bytes))
}
