//! `robo session`: terminals on devices, those that go on and those that were.

mod play;

use std::path::PathBuf;

use robo_model::name::SessionId;

use super::shell::{Way, need_terminal, visit};
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::sessions;
use crate::output::table::Look;

/// Lists shell sessions, comes back to one, watches it, ends it, or plays what was on its screen.
#[derive(Debug, clap::Args)]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SessionCommand {
    /// Lists the sessions, newest first: those that go on, and the last ones that have ended.
    List {
        /// Only those that go on.
        #[arg(long)]
        open: bool,
    },
    /// Comes back to a session, or joins somebody else's.
    Attach {
        /// The session.
        #[arg(value_name = "SESSION", add = crate::complete::sessions(false))]
        id: SessionId,
    },
    /// Watches a session; nothing that is typed goes there.
    Watch {
        /// The session.
        #[arg(value_name = "SESSION", add = crate::complete::sessions(false))]
        id: SessionId,
    },
    /// Ends a session, whoever is at it.
    End {
        /// The session.
        #[arg(value_name = "SESSION", add = crate::complete::sessions(false))]
        id: SessionId,
    },
    Play(play::PlayArgs),
    /// Saves the recording of a session (asciicast, version 2).
    Save {
        /// The session.
        #[arg(value_name = "SESSION", add = crate::complete::sessions(true))]
        id: SessionId,
        /// The file; `-` is standard output.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(crate) async fn run(args: SessionArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        SessionCommand::List { open } => list(open, env).await?,
        SessionCommand::Attach { id } => {
            need_terminal(env, "a session", "`robo session watch SESSION` needs none")?;
            return Box::pin(visit(Way::Come { id, from: None }, env)).await;
        }
        SessionCommand::Watch { id } => return Box::pin(visit(Way::Watch { id, from: None }, env)).await,
        SessionCommand::End { id } => end(&id, env).await?,
        SessionCommand::Play(args) => return Box::pin(play::run(args, env)).await,
        SessionCommand::Save { id, file } => save(&id, file, env).await?,
    }
    Ok(Exit::Done)
}

async fn list(open: bool, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let mut all = env.client()?.sessions().await?;
    all.retain(|view| !open || view.ended_at.is_none());
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|view| ui.line(&view.id)),
        Format::Table | Format::Wide if all.is_empty() => {
            ui.note("There is no session. Begin one: `robo shell DEVICE`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&sessions::table(&all, Look::of(ui))),
    }
}

async fn end(id: &SessionId, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let view = env.client()?.end_session(id).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&view),
        Format::Name => ui.line(id),
        Format::Table | Format::Wide => {
            let when = if view.reachable { "is ended" } else { "ends when its device is back, or its time is over" };
            ui.note(format!("The session {id} on {} {when}.", view.device));
            Ok(())
        }
    }
}

async fn save(id: &SessionId, file: PathBuf, env: &Env) -> Result<(), CliError> {
    let bytes = env.client()?.recording(id).await?;
    if file.as_os_str() == "-" {
        return env.ui.bytes(&bytes);
    }
    std::fs::write(&file, bytes).map_err(|error| CliError::new(format!("cannot write {}: {error}", file.display())))?;
    env.ui.note(format!("The session {id} is in {}.", file.display()));
    Ok(())
}
