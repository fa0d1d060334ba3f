//! `robo ssh-config`: what `ssh` has to know.

use std::path::Path;

use super::ssh_cert::Places;
use crate::cli::Env;
use crate::error::{CliError, Exit};
use crate::output::shell_word;

/// Keys that `ssh` tries where its settings name none; ours would take their place.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Prints lines for `~/.ssh/config`: with them `ssh DEVICE.robo` needs no key on the device.
///
/// `ssh` then gets a certificate of the manager's just before it connects, knows the device by the keys that its agent tells
/// of, and goes by way of the manager. With --context or --project they are about those, else about the current ones
/// whenever `ssh` runs. Your own keys are still tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo ssh-config >> ~/.ssh/config
  robo ssh-config > ~/.ssh/robo        with a line `Include robo` in ~/.ssh/config
and then: ssh robot@robot-7.robo")]
pub(crate) struct SshConfigArgs {}

pub(crate) fn run(_: &SshConfigArgs, env: &Env) -> Result<Exit, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::new(format!("nobody knows where this program lies: {error}")))?;
    let mut robo = escaped(&shell_word(&program.to_string_lossy()));
    for (option, value) in [
        ("--context", env.options.context.clone()),
        ("--project", env.options.project.as_ref().map(ToString::to_string)),
    ] {
        if let Some(value) = value {
            robo.push_str(&format!(" {option} {}", escaped(&shell_word(&value))));
        }
    }
    let places = Places::of(&env.paths);
    let home = etcetera::home_dir().unwrap_or_default();
    let own: Vec<_> = USUAL_KEYS.iter().map(|name| home.join(".ssh").join(name)).filter(|path| path.exists()).collect();
    // By the names that `ssh` gives to `ssh-cert` below.
    let folder = escaped(&places.folder().to_string_lossy());
    let mut text = format!(
        "# Written by `robo ssh-config`.\n\
         Match host *.robo exec \"{robo} ssh-cert --user %r -- %h\"\n    \
         CertificateFile \"{folder}/%h/%r-cert.pub\"\n{}",
        identity(&places.private())
    );
    own.iter().for_each(|path| text.push_str(&identity(path)));
    text.push_str(&format!(
        "Match host *.robo\n    \
         ProxyCommand {robo} ssh-proxy -- %h %p\n    \
         KnownHostsCommand {robo} ssh-proxy --known-hosts -- %H\n    \
         UserKnownHostsFile /dev/null\n    \
         StrictHostKeyChecking yes\n"
    ));
    env.ui.text(&text)?;
    Ok(Exit::Done)
}

fn identity(path: &Path) -> String {
    format!("    IdentityFile \"{}\"\n", escaped(&path.to_string_lossy()))
}

/// `ssh` puts other things in the place of what follows a percent sign.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}
