//! `robo job`: commands in the background, those that go on and those that were.

use std::time::Duration;

use robo_model::name::JobId;
use robo_wire::job::{JobView, RunView};
use robo_wire::stream::Verdict;

use super::exec::{self, Whose};
use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::jobs;
use crate::output::table::Look;

/// Lists jobs, shows one and its output, waits for one, or cancels it.
///
/// `robo exec --background` begins one.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, clap::Subcommand)]
enum JobCommand {
    /// Lists the jobs, newest first.
    List {
        /// Only those in this state.
        #[arg(long, value_name = "STATE", value_parser = ["going", "cancelling", "cancelled", "ok", "failed"])]
        state: Option<String>,
    },
    /// Shows a job: what it runs, and what became of each device.
    Show {
        /// The job.
        #[arg(value_name = "JOB", add = crate::complete::jobs(true))]
        id: JobId,
    },
    /// Prints what a job printed.
    Logs {
        /// The job.
        #[arg(value_name = "JOB", add = crate::complete::jobs(true))]
        id: JobId,
        /// Only of this device.
        #[arg(long, short = 'd', value_name = "DEVICE", add = crate::complete::devices())]
        device: Option<String>,
        /// Go on until every device has its verdict.
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Waits until every device has its verdict; the exit code is 3 when any of these is not ok.
    Wait {
        /// The job.
        #[arg(value_name = "JOB", add = crate::complete::jobs(false))]
        id: JobId,
    },
    /// Cancels a job: it begins nowhere any more, and what runs is ended.
    Cancel {
        /// The job.
        #[arg(value_name = "JOB", add = crate::complete::jobs(false))]
        id: JobId,
    },
}

/// How often it is looked whether a job has ended.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn run(args: JobArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    match args.command {
        JobCommand::List { state } => list(&client, state.as_deref(), env).await?,
        JobCommand::Show { id } => show(&client.job(&id).await?, env)?,
        JobCommand::Logs { id, device, follow } => {
            let whose = Whose { id, device, follow };
            return Box::pin(exec::logs(&client, whose, env)).await;
        }
        JobCommand::Wait { id } => return wait(&client, &id, env).await,
        JobCommand::Cancel { id } => cancel(&client, &id, env).await?,
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, state: Option<&str>, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let mut all = client.jobs().await?;
    all.retain(|view| state.is_none_or(|state| state == jobs::state_word(view)));
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|view| ui.line(&view.id)),
        Format::Table | Format::Wide if all.is_empty() => {
            ui.note("There is no job. Begin one: `robo exec --background DEVICE -- COMMAND`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&jobs::table(&all, Look::of(ui))),
    }
}

fn show(view: &JobView, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(view),
        Format::Name => ui.line(&view.id),
        Format::Table | Format::Wide => {
            let look = Look::of(ui);
            let mut text = jobs::table(std::slice::from_ref(view), look);
            text.push('\n');
            text.push_str(&jobs::runs(&view.runs, look));
            ui.text(&text)
        }
    }
}

async fn wait(client: &Client, id: &JobId, env: &Env) -> Result<Exit, CliError> {
    let mut view = client.job(id).await?;
    while view.ended_at.is_none() {
        tokio::time::sleep(LOOK).await;
        view = match client.job(id).await {
            Err(error) if error.is_passing() => continue,
            other => other?,
        };
    }
    show(&view, env)?;
    let is_ok = |run: &RunView| run.outcome == Some(Verdict::Ok);
    Ok(if view.runs.iter().all(is_ok) { Exit::Done } else { Exit::SomeFailed })
}

async fn cancel(client: &Client, id: &JobId, env: &Env) -> Result<(), CliError> {
    let view = client.cancel_job(id).await?;
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.value(&view),
        Format::Name => env.ui.line(id),
        Format::Table | Format::Wide => {
            env.ui
                .note(format!("The job {id} is cancelled; `robo job wait {id}` waits until it has ended everywhere."));
            Ok(())
        }
    }
}
