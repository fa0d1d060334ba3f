//! `robo group`: users who have roles together.

use robo_model::name::UserName;
use robo_wire::api::{GroupRequest, GroupView};

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Says which users belong together: what a group may, each of its members may.
///
/// A group gets roles as a user does: `robo user grant GROUP ROLE`. Who goes out of it, or when it is deleted, has its
/// rights no more, at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo group create operators
  robo user grant operators operator --labels site=tokyo
  robo group add operators ann pipeline
  robo group remove operators ann")]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, clap::Subcommand)]
enum GroupCommand {
    /// Lists the groups, their members, and what these may by them.
    List,
    /// Makes a group, with nobody in it.
    Create {
        /// Its name; no user may have it.
        name: UserName,
    },
    /// Deletes a group with its roles; what its members are at by them ends at once.
    Delete {
        /// The group.
        name: UserName,
    },
    /// Takes users into a group.
    Add {
        /// The group.
        group: UserName,
        /// The users, people and machines.
        #[arg(required = true, value_name = "USER")]
        users: Vec<UserName>,
    },
    /// Takes users out of a group; what they are at by it ends at once.
    Remove {
        /// The group.
        group: UserName,
        /// The users.
        #[arg(required = true, value_name = "USER")]
        users: Vec<UserName>,
    },
}

pub(crate) async fn run(args: GroupArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    match args.command {
        GroupCommand::List => list(&client.groups().await?, env)?,
        GroupCommand::Create { name } => {
            let group = client.add_group(&GroupRequest { name }).await?;
            tell(&group, &format!("{} is a group.", group.name), env)?;
        }
        GroupCommand::Delete { name } => {
            let group = client.remove_group(&name).await?;
            tell(&group, &format!("{name} is no group any more."), env)?;
        }
        GroupCommand::Add { group, users } => {
            let mut last = None;
            for user in &users {
                last = Some(client.set_member(&group, user, true).await?);
            }
            members(last, env)?;
        }
        GroupCommand::Remove { group, users } => {
            let mut last = None;
            for user in &users {
                last = Some(client.set_member(&group, user, false).await?);
            }
            members(last, env)?;
        }
    }
    Ok(Exit::Done)
}

fn members(group: Option<GroupView>, env: &Env) -> Result<(), CliError> {
    let Some(group) = group else { return Ok(()) };
    let names: Vec<&str> = group.members.iter().map(UserName::as_str).collect();
    let who = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    tell(&group, &format!("In {} there is now: {who}", group.name), env)
}

fn tell(group: &GroupView, sentence: &str, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(group),
        Format::Name => ui.line(&group.name),
        Format::Table | Format::Wide => {
            ui.note(sentence);
            Ok(())
        }
    }
}

fn list(groups: &[GroupView], env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(groups),
        Format::Name => groups.iter().try_for_each(|group| ui.line(&group.name)),
        Format::Table | Format::Wide if groups.is_empty() => {
            ui.note("There is no group. Make one: `robo group create NAME`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&access::groups(groups, Look::of(ui))),
    }
}
