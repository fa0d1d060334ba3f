//! `robo completions`: completion scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, Env};
use crate::error::{CliError, Exit};

/// Prints a completion script for a shell.
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
    clap_complete::generate(args.shell, &mut Cli::command(), "robo", &mut script);
    env.ui.bytes(&script)?;
    Ok(Exit::Done)
}
