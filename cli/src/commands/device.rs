//! `robo device`: the machines of a project.

mod collect;
mod label;
mod list;
mod standing;
mod switch;
mod system_update;
mod token;
mod upgrade;

use robo_model::label::check_label;
use robo_model::name::{ApplicationName, DeviceName, ProjectName};
use robo_wire::api::{DeviceView, InstallView, MoveRequest};
use robo_wire::health::HealthView;
use robo_wire::problem::ErrorCode;

use self::collect::CollectArgs;
use self::label::{LabelArgs, RenameArgs};
use self::list::ListArgs;
use self::standing::{AcceptArgs, RevokeArgs, RotateKeyArgs};
use self::switch::SwitchArgs;
use self::system_update::SystemUpdateArgs;
pub(crate) use self::token::manager_address;
use self::token::{EnrollArgs, TokenArgs};
use self::upgrade::UpgradeArgs;
use super::apply::agreed;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::table::Look;
use crate::output::{detail, health, installs};

/// Lists devices, shows one, labels one, lets new ones in, shuts one out, removes one, upgrades its agent, or collects
/// what helps to find a fault.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DeviceCommand {
    List(ListArgs),
    /// Shows all that is known of one device, and asks it how it is; or of a machine that is on its way to become one.
    Inspect {
        /// The device.
        #[arg(add = crate::complete::devices())]
        name: DeviceName,
    },
    Enroll(EnrollArgs),
    Token(TokenArgs),
    Accept(AcceptArgs),
    Revoke(RevokeArgs),
    RotateKey(RotateKeyArgs),
    Label(LabelArgs),
    Rename(RenameArgs),
    Switch(SwitchArgs),
    Collect(CollectArgs),
    SystemUpdate(SystemUpdateArgs),
    Upgrade(UpgradeArgs),
    Move(MoveArgs),
    Remove(RemoveArgs),
}

/// Forgets a device: it may not come back without enrolling anew.
///
/// What runs there goes on running, but nobody looks after it any more. A device on which applications have something
/// is removed with `--force` alone: then their instances there vanish, and whoever imports from them is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device remove robot-7
  robo device remove robot-7 --force --yes      it is broken, and its applications are to know")]
struct RemoveArgs {
    /// The device.
    #[arg(add = crate::complete::devices())]
    name: DeviceName,
    /// Also while applications have something on it.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Takes a device to another project; it stays the same device, connected or not.
///
/// It keeps its key, its labels and what is known of it. It needs the right to manage devices in both projects, a name that
/// is free there, and no application's instances on it. What people are at on it from this project ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device move robot-7 lab
  robo --project lab device list")]
struct MoveArgs {
    /// The device.
    #[arg(add = crate::complete::devices())]
    name: DeviceName,
    /// The project that it goes to.
    #[arg(value_name = "PROJECT")]
    to: ProjectName,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    check_label(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: DeviceArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        DeviceCommand::List(args) => list::list(args, env).await?,
        DeviceCommand::Inspect { name } => inspect(&name, env).await?,
        DeviceCommand::Enroll(args) => token::enroll(args, env).await?,
        DeviceCommand::Token(args) => token::run(args, env).await?,
        DeviceCommand::Accept(args) => standing::accept(&args, env).await?,
        DeviceCommand::Revoke(args) => return standing::revoke(&args, env).await,
        DeviceCommand::RotateKey(args) => standing::rotate_key(&args, env).await?,
        DeviceCommand::Label(args) => return label::label(&args, env).await,
        DeviceCommand::Rename(args) => label::rename(&args, env).await?,
        DeviceCommand::Switch(args) => return switch::switch(&args, env).await,
        DeviceCommand::Collect(args) => return collect::run(&args, env).await,
        DeviceCommand::SystemUpdate(args) => return system_update::run(args, env).await,
        DeviceCommand::Upgrade(args) => return upgrade::run(args, env).await,
        DeviceCommand::Move(args) => move_to(&args, env).await?,
        DeviceCommand::Remove(args) => return remove(&args, env).await,
    }
    Ok(Exit::Done)
}

async fn move_to(MoveArgs { name, to }: &MoveArgs, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let device = env.client()?.move_device(name, &MoveRequest { project: to.clone() }).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&device),
        Format::Name => ui.line(&device.name),
        Format::Table | Format::Wide => {
            ui.note(format!("{name} is a device of project {to} now: `robo --project {to} device inspect {name}`"));
            Ok(())
        }
    }
}

async fn inspect(name: &DeviceName, env: &Env) -> Result<(), CliError> {
    let (ui, client) = (&env.ui, env.client()?);
    let device = match client.device(name).await {
        Err(error) if error.code() == Some(ErrorCode::NotFound) => {
            // It may be on its way.
            let installs = client.installs().await?;
            let install = installs
                .into_iter()
                .find(|install| [&install.name, &install.host].into_iter().any(|known| known == name.as_str()));
            return show_install(&install.ok_or(error)?, env);
        }
        answer => answer?,
    };
    if ui.format == Format::Name {
        return ui.line(&device.name);
    }
    let health = client.health(name).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&Inspected { device, health }),
        Format::Name | Format::Table | Format::Wide => {
            let look = Look::of(ui);
            let health = health.map(|health| health::text(&health, look)).unwrap_or_default();
            ui.text(&(detail::device(&device, &look) + &health))
        }
    }
}

/// A device, and how it is.
#[derive(serde::Serialize)]
struct Inspected {
    #[serde(flatten)]
    device: DeviceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthView>,
}

fn show_install(install: &InstallView, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(install),
        Format::Name => ui.line(&install.name),
        Format::Table | Format::Wide => ui.text(&installs::detail(install, Look::of(ui))),
    }
}

async fn remove(args: &RemoveArgs, env: &Env) -> Result<Exit, CliError> {
    let (ui, name, client) = (&env.ui, &args.name, env.client()?);
    let device = client.device(name).await?;
    let used: Vec<&str> = device.applications.iter().map(ApplicationName::as_str).collect();
    // Without --force the manager refuses a device that is in use, and says who uses it: no need to ask first.
    if used.is_empty() || args.force {
        let what = if used.is_empty() { String::new() } else { format!(", and what {} have on it", used.join(", ")) };
        if !agreed(args.yes, &format!("Remove {name}{what}?"), ui)? {
            ui.note("Nothing was changed.");
            return Ok(Exit::Error);
        }
    }
    client.remove_device(name, args.force).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&device)?,
        Format::Name => ui.line(name)?,
        Format::Table | Format::Wide => ui.note(format!("{name} is removed.")),
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked_where_they_are_typed() {
        assert_eq!(parse_label("site=tokyo"), Ok(("site".into(), "tokyo".into())));
        assert_eq!(parse_label("gpu"), Ok(("gpu".into(), String::new())));
        for bad in ["", "=x", "a=b c", "a=b=c"] {
            assert!(parse_label(bad).is_err(), "{bad}");
        }
    }
}
