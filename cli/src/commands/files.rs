//! `robo files`: files of devices that lie in the manager.

mod get;
mod put;
mod share;

use robo_agent::args::meta;
use robo_model::name::{DeviceName, FileName};
use robo_wire::upload::{UploadSort, UploadState, UploadView};

use crate::cli::{Env, Format};
use crate::client::{Client, UploadQuery};
use crate::error::{CliError, Exit};
use crate::output::table::Look;
use crate::output::uploads;

/// Keeps files of devices in the manager: logs, core dumps, recordings; and gives them to others.
///
/// A file is fetched from its device when that is there, and stays when the device goes. `robo-agent upload` on the device
/// sends one from there. What is needed here and now is copied by `robo cp`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo files put robot-7:/var/log/app.log --meta run=42   when the device is there
  robo files put robot-7:/core --name core --purge --wait and then remove it there
  robo files list --device robot-7 --sort size
  robo files get core                                     into this folder
  robo files share core --ttl 1d                          a link for who has no login")]
pub(crate) struct FilesArgs {
    #[command(subcommand)]
    command: FilesCommand,
}

#[derive(Debug, clap::Subcommand)]
enum FilesCommand {
    Put(put::PutArgs),
    /// Lists files: those that are all of what is given.
    List(ListArgs),
    /// Shows a file: how far it is, where it is from, and what is wrong with it.
    Show(One),
    Get(get::GetArgs),
    /// Cancels a file that is to come.
    Cancel(One),
    /// Deletes a file with its links; not while it is in progress.
    Delete(One),
    Share(share::ShareArgs),
    /// Lists the links to a file; their secrets are nowhere any more.
    Shares(One),
    Unshare(share::UnshareArgs),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The file.
    #[arg(add = crate::complete::files())]
    name: FileName,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<UploadState>,
    /// Only those of this device, also of one that was removed.
    #[arg(long, value_name = "DEVICE", add = crate::complete::devices())]
    device: Option<DeviceName>,
    /// Only those that have this in their metadata; may be given again, and then all of it.
    #[arg(long, value_name = "KEY=VALUE", value_parser = meta)]
    meta: Vec<(String, String)>,
    /// By name, by size (the largest first) or by time (the newest first).
    #[arg(long, value_name = "BY", default_value = "name", value_parser = sort)]
    sort: UploadSort,
}

/// A state by its name.
fn state(text: &str) -> Result<UploadState, String> {
    let names: Vec<&str> = UploadState::ALL.iter().map(|state| state.name()).collect();
    UploadState::named(text).ok_or_else(|| format!("no file is in the state `{text}`; there are {}", names.join(", ")))
}

fn sort(text: &str) -> Result<UploadSort, String> {
    let found = UploadSort::ALL.into_iter().find(|sort| sort.name() == text);
    found.ok_or_else(|| format!("files are not sorted by `{text}`: by name, size or time"))
}

pub(crate) async fn run(args: FilesArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    match args.command {
        FilesCommand::Put(args) => return put::run(args, &client, env).await,
        FilesCommand::List(args) => list(&client, args, env).await?,
        FilesCommand::Show(One { name }) => show(&client.upload(&name).await?, env)?,
        FilesCommand::Get(args) => return get::run(args, &client, env).await,
        FilesCommand::Cancel(One { name }) => {
            let view = client.cancel_upload(&name).await?;
            told(&view, format!("The file {name} need not come any more."), env)?;
        }
        FilesCommand::Delete(One { name }) => {
            client.remove_upload(&name).await?;
            if env.ui.format == Format::Name {
                env.ui.line(&name)?;
            } else {
                env.ui.note(format!("The file {name} is deleted."));
            }
        }
        FilesCommand::Share(args) => share::share(args, &client, env).await?,
        FilesCommand::Shares(One { name }) => share::list(&client, &name, env).await?,
        FilesCommand::Unshare(args) => share::unshare(&args, &client, env).await?,
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, args: ListArgs, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let ListArgs { state, device, meta, sort } = args;
    let query = UploadQuery { state, device, meta: meta.into_iter().collect(), sort };
    let all = client.uploads(&query).await?;
    let is_filtered = query != UploadQuery { sort, ..UploadQuery::default() };
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|view| ui.line(&view.name)),
        Format::Table | Format::Wide if all.is_empty() && is_filtered => {
            ui.note("No file is all of that; without options all are listed.");
            Ok(())
        }
        Format::Table | Format::Wide if all.is_empty() => {
            ui.note("There is no file. Ask for one: `robo files put DEVICE:PATH`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&uploads::table(&all, Look::of(ui))),
    }
}

fn show(view: &UploadView, env: &Env) -> Result<(), CliError> {
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.value(view),
        Format::Name => env.ui.line(&view.name),
        Format::Table | Format::Wide => env.ui.text(&uploads::detail(view)),
    }
}

/// The file for programs, and a sentence for people.
fn told(view: &UploadView, sentence: String, env: &Env) -> Result<(), CliError> {
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.value(view),
        Format::Name => env.ui.line(&view.name),
        Format::Table | Format::Wide => {
            env.ui.note(sentence);
            Ok(())
        }
    }
}
