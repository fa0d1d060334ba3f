//! `robo user`: who may ask the manager, and for what.

mod apply;
mod token;

use robo_model::access::{Grant, Role};
use robo_model::label::Selector;
use robo_model::name::UserName;
use robo_wire::api::{GrantRequest, UserKind, UserRequest};

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Says who may ask the manager, and for what.
///
/// A user may nothing at first. Roles are given in a project, or in all, on all devices or on those with some labels:
/// a viewer sees, an operator applies and works on devices, an admin says which devices and users there are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo user add ann
  robo user grant ann operator --labels site=tokyo    in this project, on these devices
  robo user add pipeline --machine
  robo user grant pipeline operator
  robo user token add pipeline --ttl 30d > token      for the pipeline's secrets")]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, clap::Subcommand)]
enum UserCommand {
    /// Lists the users, and what they may.
    List,
    /// Adds a user, who may nothing yet.
    Add {
        /// The user's name; an e-mail address is one.
        name: UserName,
        /// It is a pipeline or another program.
        #[arg(long)]
        machine: bool,
    },
    /// Removes a user with all tokens; what it is at ends at once.
    Remove {
        /// The user.
        name: UserName,
    },
    /// Gives a user, or a group, a role in this project.
    Grant {
        /// The user or the group.
        name: UserName,
        /// What the user may: `viewer`, `operator` or `admin`.
        role: Role,
        /// Only on devices with these labels.
        #[arg(long, short = 'l', value_name = "SELECTOR")]
        labels: Option<Selector>,
        /// In all projects, and for the manager itself.
        #[arg(long)]
        all_projects: bool,
    },
    /// Lists the roles that users have.
    Grants,
    /// Takes a role away; what its user is at with it ends at once.
    Revoke {
        /// The number of the role, as `robo user grants` lists it.
        grant: u64,
    },
    Token(token::TokenArgs),
    Apply(apply::ApplyArgs),
}

pub(crate) async fn run(args: UserArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        UserCommand::List => list(env).await?,
        UserCommand::Add { name, machine } => {
            add(UserRequest { name, kind: if machine { UserKind::Machine } else { UserKind::Person } }, env).await?;
        }
        UserCommand::Remove { name } => remove(&name, env).await?,
        UserCommand::Grant { name, role, labels, all_projects } => {
            let client = env.client()?;
            let project = (!all_projects).then(|| client.project().clone());
            let grant = Grant { role, project, selector: labels };
            let view = client.grant(&GrantRequest { user: name, grant }).await?;
            tell(env, &view, view.id, || format!("{} is {}. (role {})", view.user, view.grant, view.id))?;
        }
        UserCommand::Grants => grants(env).await?,
        UserCommand::Revoke { grant } => {
            let view = env.client()?.take_away(grant).await?;
            tell(env, &view, view.id, || format!("{} is no more {}.", view.user, view.grant))?;
        }
        UserCommand::Token(args) => token::run(args, env).await?,
        UserCommand::Apply(args) => return apply::apply(&args, env).await,
    }
    Ok(Exit::Done)
}

/// Prints what was done: as data, as a name, or in a sentence.
fn tell<T: serde::Serialize>(
    env: &Env,
    value: &T,
    name: impl std::fmt::Display,
    sentence: impl FnOnce() -> String,
) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(value),
        Format::Name => ui.line(name),
        Format::Table | Format::Wide => {
            ui.note(sentence());
            Ok(())
        }
    }
}

async fn list(env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let users = env.client()?.users().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&users),
        Format::Name => users.iter().try_for_each(|user| ui.line(&user.name)),
        Format::Table | Format::Wide => ui.text(&access::users(&users, Look::of(ui))),
    }
}

async fn add(request: UserRequest, env: &Env) -> Result<(), CliError> {
    let user = env.client()?.add_user(&request).await?;
    let name = &user.name;
    tell(env, &user, name, || {
        if user.grants.is_empty() {
            format!("{name} is a user, and may nothing yet: `robo user grant {name} ROLE`")
        } else {
            format!("{name} is a user.")
        }
    })
}

async fn remove(name: &UserName, env: &Env) -> Result<(), CliError> {
    env.client()?.remove_user(name).await?;
    tell(env, name, name, || format!("{name} is no user any more."))
}

async fn grants(env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let grants = env.client()?.grants().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&grants),
        Format::Name => grants.iter().try_for_each(|grant| ui.line(grant.id)),
        Format::Table | Format::Wide if grants.is_empty() => {
            ui.note("There are no roles that are yours to see.");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&access::grants(&grants, Look::of(ui))),
    }
}
