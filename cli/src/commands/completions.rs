//! `robo completions`: completion scripts for shells.

use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::cli::Env;
use crate::error::{CliError, Exit};

/// Prints a completion script for a shell.
///
/// The script asks `robo` itself each time, so that it knows the instances, devices, applications and revisions that exist
/// right now. Without a manager it knows commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo completions bash > ~/.local/share/bash-completion/completions/robo
  robo completions zsh > ~/.zfunc/_robo
  robo completions fish > ~/.config/fish/completions/robo.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, env: &Env) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| CliError::new(format!("there are no completions for {name}")))?;
    shell
        .write_registration("COMPLETE", "robo", "robo", "robo", &mut script)
        .map_err(|error| CliError::new(format!("the script cannot be made: {error}")))?;
    env.ui.bytes(&script)?;
    Ok(Exit::Done)
}
