//! `robo device accept`, `revoke` and `rotate-key`: who may connect, and with which key.

use robo_model::name::DeviceName;
use robo_wire::api::{DeviceView, Standing, StandingRequest};

use super::super::apply::agreed;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};

/// Lets in devices that wait for it, or lets back in ones that were shut out and still have their key.
#[derive(Debug, clap::Args)]
pub(super) struct AcceptArgs {
    /// The devices.
    #[arg(required = true, value_name = "NAME", add = crate::complete::devices())]
    names: Vec<DeviceName>,
}

/// Shuts a device out: its link is cut at once, and its key is worth nothing any more.
///
/// What runs there goes on. Its name, labels and history stay; `robo device enroll NAME --replace` lets it back in with
/// a new key, `robo device accept NAME` with the old one.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "reject",
    after_help = "\
Examples:
  robo device revoke robot-7 --reason 'stolen in Osaka'
  robo device reject robot-8                    it enrolled with --approve, and is none of ours"
)]
pub(super) struct RevokeArgs {
    /// The device.
    #[arg(add = crate::complete::devices())]
    name: DeviceName,
    /// Why, for the history and for whoever looks at the device.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Has devices make themselves new keys: at once, or when they come next.
///
/// They do so by themselves at half the life of their certificates. Their links stay up meanwhile.
#[derive(Debug, clap::Args)]
pub(super) struct RotateKeyArgs {
    /// The devices.
    #[arg(required = true, value_name = "NAME", add = crate::complete::devices())]
    names: Vec<DeviceName>,
}

pub(super) async fn accept(args: &AcceptArgs, env: &Env) -> Result<(), CliError> {
    let client = env.client()?;
    let request = StandingRequest { standing: Standing::Accepted, reason: String::new() };
    let mut accepted = Vec::new();
    for name in &args.names {
        accepted.push(client.set_standing(name, &request).await?);
        env.ui.note(format!("{name} is let in."));
    }
    machine(&accepted, env)
}

pub(super) async fn revoke(args: &RevokeArgs, env: &Env) -> Result<Exit, CliError> {
    let (ui, name) = (&env.ui, &args.name);
    let client = env.client()?;
    client.device(name).await?;
    if !agreed(args.yes, &format!("Shut {name} out? Its link is cut, and it cannot be reached any more."), ui)? {
        ui.note("Nothing was changed.");
        return Ok(Exit::Error);
    }
    let request = StandingRequest { standing: Standing::Revoked, reason: args.reason.clone() };
    let device = client.set_standing(name, &request).await?;
    ui.note(format!("{name} is shut out."));
    machine(&[device], env)?;
    Ok(Exit::Done)
}

pub(super) async fn rotate_key(args: &RotateKeyArgs, env: &Env) -> Result<(), CliError> {
    let client = env.client()?;
    let mut asked = Vec::new();
    for name in &args.names {
        let device = client.rotate_key(name).await?;
        let when = if device.online { "now" } else { "when it comes next" };
        env.ui.note(format!("{name} makes itself a new key {when}."));
        asked.push(device);
    }
    machine(&asked, env)
}

/// What programs read of it; people were told already.
fn machine(devices: &[DeviceView], env: &Env) -> Result<(), CliError> {
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.value(&devices),
        Format::Name => devices.iter().try_for_each(|device| env.ui.line(&device.name)),
        Format::Table | Format::Wide => Ok(()),
    }
}
