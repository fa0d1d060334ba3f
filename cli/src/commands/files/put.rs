//! `robo files put`: asks for a file, and waits for it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use robo_agent::args::meta;
use robo_model::name::{DeviceName, FileName};
use robo_wire::upload::{UploadRequest, UploadState, UploadView, check_path};
use tokio::signal::unix::{SignalKind, signal};

use super::told;
use crate::cli::Env;
use crate::client::Client;
use crate::commands::cp::bar::Bars;
use crate::commands::cp::side::{Side, rate};
use crate::error::{CliError, Exit};
use crate::output::harmless::harmless;

/// How often it is looked how far a file is.
const LOOK: Duration = Duration::from_millis(250);

/// Has the manager fetch a file of a device, and keep it: at once, or when the device is there.
///
/// One file, no folder: for these there is `robo cp -r`, or `tar` on the device. A cut of the network costs nothing but
/// time. It ends with 1 when the file is refused, and with `--wait` with 3 when it does not come.
#[derive(Debug, clap::Args)]
pub(super) struct PutArgs {
    /// The file, as in `robot-7:/var/log/app.log`. A relative path begins at the home of the agent's user.
    #[arg(value_name = "DEVICE:PATH")]
    file: OsString,
    /// What it is called in the manager; DEVICE-FILE where nothing is said.
    #[arg(long)]
    name: Option<FileName>,
    /// What it is, as in run=42; may be given again. Files are found by it.
    #[arg(long, value_name = "KEY=VALUE", value_parser = meta)]
    meta: Vec<(String, String)>,
    /// Take the place of a file of that name, which is gone at once.
    #[arg(long)]
    replace: bool,
    /// Remove the file on the device once it is in the manager, if nobody changed it since.
    #[arg(long)]
    purge: bool,
    /// At most so many bytes a second, as in `256K` or `1M`.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<u64>,
    /// Wait until it is there, or will not come.
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(args: PutArgs, client: &Client, env: &Env) -> Result<Exit, CliError> {
    let wait = args.wait;
    let view = client.put_upload(&request(args)?).await?;
    if wait {
        return self::wait(view, client, env).await;
    }
    let sentence = format!("The file {0} is to come; `robo files show {0}` says how far it is.", view.name);
    told(&view, sentence, env)?;
    Ok(Exit::Done)
}

fn request(args: PutArgs) -> Result<UploadRequest, CliError> {
    let (device, path) = source(&args.file)?;
    let PutArgs { name, meta, replace, purge, limit, .. } = args;
    Ok(UploadRequest { device, path, name, meta: meta.into_iter().collect(), replace, purge, limit })
}

/// One device and one file on it.
fn source(word: &OsStr) -> Result<(DeviceName, String), CliError> {
    let wrong = |what: &str| {
        CliError::new(format!("`{}` {what}", word.display()))
            .help("write DEVICE:PATH, as in `robot-7:/var/log/app.log`")
    };
    let Side::Remote { names, path } = Side::parse(word)? else { return Err(wrong("names no device")) };
    let [device] = <[DeviceName; 1]>::try_from(names).map_err(|_| wrong("does not name one device"))?;
    let path = String::from_utf8(path.0).map_err(|_| {
        wrong("has a path that is not UTF-8, and the manager keeps none of these").help("`robo cp` copies it")
    })?;
    if path == "." || path.ends_with('/') {
        return Err(wrong("is a folder, and one file is kept").help("`robo cp -r` copies folders"));
    }
    check_path(&path).map_err(CliError::new)?;
    Ok((device, path))
}

/// Waits until the file is there, or will not come.
async fn wait(view: UploadView, client: &Client, env: &Env) -> Result<Exit, CliError> {
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    let name = view.name.clone();
    let waiting = async {
        let bars = Bars::new(&env.ui);
        let bar = bars.begin(name.as_str());
        let mut view = view;
        while !view.state.is_over() {
            bar.at(view.sent, view.total);
            tokio::time::sleep(LOOK).await;
            view = match client.upload(&name).await {
                Err(error) if error.is_passing() => continue,
                other => other?,
            };
        }
        Ok::<_, CliError>(view)
    };
    let view = tokio::select! {
        view = waiting => view?,
        _ = interrupts.recv() => {
            env.ui.note(format!("It goes on; `robo files show {name}` says how far it is."));
            return Ok(Exit::Interrupted);
        }
    };
    if view.state == UploadState::Completed {
        told(&view, format!("The file {name} is in the manager: {} bytes.", view.sent), env)?;
        return Ok(Exit::Done);
    }
    if env.ui.is_machine() {
        env.ui.value(&view)?;
    }
    let why = view.error.as_deref().unwrap_or("nobody knows why");
    Err(CliError::new(format!("the file {name} does not come: it is {}", view.state))
        .note(harmless(why))
        .help(format!("ask for it again: `robo files put … --name {name} --replace`"))
        .exit_with(Exit::SomeFailed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_of_one_device_is_named() {
        let check = |word: &str| source(OsStr::new(word)).map(|(device, path)| format!("{device} {path}"));
        assert_eq!(check("robot-7:/var/log/a b").unwrap(), "robot-7 /var/log/a b");
        assert_eq!(check("d:core").unwrap(), "d core");
        for bad in ["/var/log/x", "-", "x", ":/x", "a,b:/x", "a:", "a:/x/", "a:.", "!:x", "a:\0"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("a:/x/").unwrap_err().helps().iter().any(|help| help.contains("robo cp -r")));
    }
}
