//! `robo device`: the machines of a project.

use robo_model::label::{self, Labels};
use robo_model::limits::MAX_LABELS;
use robo_model::name::DeviceName;
use robo_model::quantity::Millis;
use robo_wire::api::TokenRequest;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::detail;
use crate::output::table::{self, Look};

/// Lists devices, shows one, or lets a new one in.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DeviceCommand {
    /// Lists the devices of the project.
    List,
    /// Shows all that is known of one device.
    Inspect {
        /// The device.
        name: DeviceName,
    },
    Enroll(EnrollArgs),
}

/// Makes a token with which one new device may enrol, and says how.
///
/// The token goes to standard output and is told only this once. It is good for one device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device enroll robot-7 --label site=tokyo > token
  robo device enroll robot-7 --replace          its disk was changed: it keeps its name and its identity")]
struct EnrollArgs {
    /// The device's name; without one the machine proposes its host name.
    name: Option<DeviceName>,
    /// A label for it; may be given again.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// How long the token is good for.
    #[arg(long, value_name = "DURATION", default_value_t = TokenRequest::LIFETIME)]
    ttl: Millis,
    /// When a device of this name exists, its key is replaced.
    #[arg(long, requires = "name")]
    replace: bool,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    label::check_label(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: DeviceArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        DeviceCommand::List => list(env).await?,
        DeviceCommand::Inspect { name } => inspect(&name, env).await?,
        DeviceCommand::Enroll(args) => enroll(args, env).await?,
    }
    Ok(Exit::Done)
}

async fn list(env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let devices = env.client()?.devices().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&devices),
        Format::Name => devices.iter().try_for_each(|device| ui.line(&device.name)),
        Format::Table | Format::Wide if devices.is_empty() => {
            ui.note("There is no device yet. Let one in: `robo device enroll NAME`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&table::devices(&devices, Look::of(ui))),
    }
}

async fn inspect(name: &DeviceName, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let device = env.client()?.device(name).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&device),
        Format::Name => ui.line(&device.name),
        Format::Table | Format::Wide => ui.text(&detail::device(&device, &Look::of(ui))),
    }
}

async fn enroll(args: EnrollArgs, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    if args.ttl > TokenRequest::MAX_LIFETIME {
        return Err(CliError::new(format!("a token is good for at most {}", TokenRequest::MAX_LIFETIME))
            .help("make it when the machine is at hand"));
    }
    let labels: Labels = args.labels.into_iter().collect();
    if labels.len() > MAX_LABELS {
        return Err(CliError::new(format!("a device has at most {MAX_LABELS} labels")));
    }
    let client = env.client()?;
    let ttl = args.ttl;
    let request = TokenRequest { name: args.name, labels, lifetime: Some(args.ttl), replace: args.replace };
    let token = client.make_token(&request).await?;
    if ui.is_machine() {
        return ui.value(&token);
    }
    ui.line(&token.token)?;
    let manager = client.url().trim_start_matches("https://").to_owned();
    ui.note(format!(
        "This token lets one device in, within {ttl}. On that machine, with the token in the file `token`:"
    ));
    ui.note(format!("  {}", ui.err.bold(&format!("robo agent --manager {manager} --token-file token"))));
    Ok(())
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
