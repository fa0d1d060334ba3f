//! `robo job`: commands in the background, those that go on and those that were.

use std::time::Duration;

use robo_model::label::Selector;
use robo_model::name::{DeviceName, JobId, UserName};
use robo_model::quantity::UnixMillis;
use robo_wire::job::{JobState, JobView, RunView};
use robo_wire::stream::Verdict;

use super::exec::{self, Whose};
use super::logs::point;
use crate::cli::{Env, Format};
use crate::client::{Client, JobQuery};
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
    /// Lists the jobs, newest first: those that are all of what is given.
    List(ListArgs),
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

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<JobState>,
    /// Only those that this user ordered.
    #[arg(long, value_name = "USER")]
    user: Option<UserName>,
    /// Only those on this device.
    #[arg(long, value_name = "DEVICE", conflicts_with = "selector", add = crate::complete::devices())]
    on: Option<DeviceName>,
    /// Only those on a device whose labels match, as in `site=tokyo,gpu`.
    #[arg(short = 'l', long)]
    selector: Option<Selector>,
    /// Only those that were ordered since then: so long ago, as in `10m`, or a time, as in `2026-01-31T13:45:00Z`.
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<UnixMillis>,
    /// The newest so many.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    lines: Option<u32>,
}

impl ListArgs {
    fn into_query(self) -> JobQuery {
        JobQuery {
            state: self.state,
            user: self.user,
            device: self.on,
            selector: self.selector.map(|selector| selector.to_string()),
            since: self.since,
            limit: self.lines,
        }
    }
}

/// A state by its name.
fn state(text: &str) -> Result<JobState, String> {
    let all = [JobState::Going, JobState::Cancelling, JobState::Cancelled, JobState::Ok, JobState::Failed];
    let names: Vec<&str> = all.iter().map(|state| state.name()).collect();
    let found = all.iter().find(|state| state.name() == text).copied();
    found.ok_or_else(|| format!("no job is in the state `{text}`; there are {}", names.join(", ")))
}

/// How often it is looked whether a job has ended.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn run(args: JobArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    match args.command {
        JobCommand::List(args) => list(&client, &args.into_query(), env).await?,
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

async fn list(client: &Client, query: &JobQuery, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let all = client.jobs(query).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|view| ui.line(&view.id)),
        Format::Table | Format::Wide if all.is_empty() && *query != JobQuery::default() => {
            ui.note("No job is all of that; without options all are listed.");
            Ok(())
        }
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
