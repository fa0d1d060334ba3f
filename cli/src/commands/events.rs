//! `robo events`: what happened, and what happens.

use std::time::Duration;

use futures_util::StreamExt as _;
use robo_model::name::ApplicationName;
use robo_wire::event::Event;

use crate::cli::{Env, Format};
use crate::client::{Client, ClientError, EventQuery};
use crate::error::{CliError, Exit};
use crate::output::event;

/// The pause before the manager is dialled again; that itself tries several times with growing pauses.
const REDIAL: Duration = Duration::from_secs(1);

/// Shows what happened: states, failures, updates, devices that come and go.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo events shop                   the last 50 of one application
  robo events -f                     and what follows, until Ctrl-C
  robo events --since 1042 -o json   all after the one with this id")]
pub(crate) struct EventsArgs {
    /// Only of this application.
    #[arg(add = crate::complete::applications())]
    application: Option<ApplicationName>,
    /// Go on with what comes.
    #[arg(short, long)]
    follow: bool,
    /// Those after the one with this id.
    #[arg(long, value_name = "ID")]
    since: Option<u64>,
    /// How many at most, the newest; with `--since` the oldest.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "COUNT")]
    lines: u32,
}

pub(crate) async fn run(args: EventsArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    let of = args.application.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let mut query =
        EventQuery { after: args.since, application: args.application, limit: Some(args.lines), follow: false };
    let last = show(&client, &query, env).await?;
    let nothing = last.is_none() && !env.ui.is_machine();
    query.after = last.or(query.after);
    if !args.follow {
        if nothing {
            env.ui.note(format!("No events{of}."));
        }
        return Ok(Exit::Done);
    }
    query.follow = true;
    query.limit = None;
    follow(&client, query, env).await
}

/// Goes on until Ctrl-C or an error that no waiting mends.
async fn follow(client: &Client, mut query: EventQuery, env: &Env) -> Result<Exit, CliError> {
    let mut away = false;
    loop {
        match stream(client, &mut query, &mut away, env).await {
            Ok(()) => {}
            Err(Broken::Link(error)) if error.is_passing() => {
                if !std::mem::replace(&mut away, true) {
                    env.ui.note(format!("{error}; waiting for it to come back"));
                }
            }
            Err(Broken::Link(error)) => return Err(error.into()),
            Err(Broken::Output(error)) => return Err(error),
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// Why a stream of events ended.
enum Broken {
    Link(ClientError),
    Output(CliError),
}

/// Shows events until the connection ends.
async fn stream(client: &Client, query: &mut EventQuery, away: &mut bool, env: &Env) -> Result<(), Broken> {
    let mut events = client.events(query).await.map_err(Broken::Link)?;
    if std::mem::take(away) {
        env.ui.note("the manager is back");
    }
    while let Some(event) = events.next().await {
        let event = event.map_err(Broken::Link)?;
        query.after = Some(event.id);
        print(&event, env).map_err(Broken::Output)?;
    }
    Ok(())
}

/// Shows what there is; gives the id of the last one.
async fn show(client: &Client, query: &EventQuery, env: &Env) -> Result<Option<u64>, CliError> {
    let mut events = client.events(query).await?;
    let mut last = None;
    while let Some(event) = events.next().await {
        let event = event?;
        print(&event, env)?;
        last = Some(event.id);
    }
    Ok(last)
}

fn print(event: &Event, env: &Env) -> Result<(), CliError> {
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.element(event),
        Format::Name => env.ui.line(event.id),
        Format::Wide => env.ui.line(format!("{:>6}  {}", event.id, event::line(event, env.ui.out))),
        Format::Table => env.ui.line(event::line(event, env.ui.out)),
    }
}
