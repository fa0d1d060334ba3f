//! `robo shell`: a terminal on a device.

mod keys;
mod line;
mod picture;
mod visit;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use robo_model::name::DeviceName;
use robo_model::quantity::Millis;
use robo_model::spec::InstanceKey;
use robo_wire::shell::ShellStart;

use super::exec::variable;
use super::target::Target;
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::terminal;

pub(crate) use line::Way;
pub(crate) use visit::visit;

/// The kind of terminal where the environment does not say: what most are today.
const USUAL_TERM: &str = "xterm-256color";

/// A terminal on a device.
///
/// Your terminal becomes the device's: full-screen programs, sizes, Ctrl-C. The shell is the login shell of the user
/// that commands run as there, or what stands after `--`; its exit code is ours. When the network is cut, the session goes
/// on and the command line comes back to it by itself. Ctrl-] d leaves it and lets it go on; `robo session attach`
/// comes back. What is on the screen is recorded; what is typed is not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo shell device-42
  robo shell device-42 -- htop
  robo shell --in shop/database/db              where an instance runs, as its user
  robo shell device-42 --keep 2h --idle 8h      for a long job

Keys: Ctrl-] d detaches, Ctrl-] x ends the session, Ctrl-] ? helps")]
pub(crate) struct ShellArgs {
    /// The device.
    #[arg(value_name = "DEVICE", required_unless_present = "within", conflicts_with = "within")]
    #[arg(add = crate::complete::devices())]
    device: Option<DeviceName>,
    /// Where this instance runs: on its device, in its folder, with what its own steps and process are told, as its user.
    #[arg(long = "in", value_name = "APPLICATION/PATH", add = crate::complete::targets())]
    within: Option<String>,
    /// How long the session is kept while nobody is there.
    #[arg(long, value_name = "DURATION", default_value_t = ShellStart::KEEP)]
    keep: Millis,
    /// How long it may be that nothing is typed and nothing printed; then it ends.
    #[arg(long, value_name = "DURATION", default_value_t = ShellStart::IDLE)]
    idle: Millis,
    /// A variable for the program; a NAME alone takes the value it has here. May be given again.
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The folder to begin in.
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// The user to run it as; without it, whom the device's agent was told, or its own. Another one takes an agent that
    /// runs as root, and the right to `root` where the agent was told one.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Program and arguments, after `--`, instead of the login shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(args: ShellArgs, env: &Env) -> Result<Exit, CliError> {
    need_terminal(env, "a shell", "`robo exec DEVICE -- COMMAND` needs none")?;
    let within = match &args.within {
        Some(word) => Some(instance(word, &env.client()?).await?),
        None => None,
    };
    let (device, key) = match (&args.device, within) {
        (_, Some((device, key))) => (device, Some(key)),
        (Some(device), None) => (device.clone(), None),
        (None, None) => return Err(CliError::new("no device is given").help("name it, as in `robo shell robot-7`")),
    };
    let start = ShellStart { within: key, ..args.into_start() };
    start.check().map_err(CliError::new)?;
    Box::pin(visit(Way::Begin { device, start }, env)).await
}

/// The instance that a word names, and the device on which it is.
async fn instance(word: &str, client: &Client) -> Result<(DeviceName, InstanceKey), CliError> {
    let key = Target::instance(word, client).await?;
    let status = client.status(Some(&key.application)).await?;
    let found = status.instances.into_iter().find(|instance| instance.path == key.path);
    let found = found.ok_or_else(|| {
        CliError::new(format!("there is no instance {}", key.path)).help("see which there are: `robo status`")
    })?;
    Ok((found.device, key))
}

/// Refuses what makes no sense without a terminal.
///
/// # Errors
/// When standard input or output is none, or data for programs is wished.
pub(crate) fn need_terminal(env: &Env, what: &str, instead: &str) -> Result<(), CliError> {
    if env.ui.is_machine() {
        return Err(CliError::new(format!("{what} is for people: it has no output in this format")).help(instead));
    }
    if io::stdin().is_terminal() && env.ui.out_is_terminal {
        return Ok(());
    }
    Err(CliError::new(format!("{what} needs a terminal on standard input and output")).help(instead))
}

impl ShellArgs {
    fn into_start(self) -> ShellStart {
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        if let Ok(colours) = std::env::var("COLORTERM") {
            env.insert("COLORTERM".to_owned(), colours);
        }
        env.extend(self.variables);
        ShellStart {
            argv: self.command,
            env,
            cwd: self.cwd,
            user: self.user,
            term: std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| USUAL_TERM.to_owned()),
            size: terminal::size(),
            keep: self.keep,
            idle: self.idle,
            within: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ShellArgs,
    }

    #[test]
    fn the_device_stands_before_the_dashes_and_the_command_after() {
        let parse = |words: &str| {
            let words = std::iter::once("shell").chain(words.split_ascii_whitespace());
            Line::try_parse_from(words).map(|line| line.args)
        };
        let args = parse("robot-7 --keep 2h -e K=V --cwd /srv --user root -- vim -d a b").unwrap();
        assert_eq!(args.device.as_ref().unwrap().as_str(), "robot-7");
        let start = args.into_start();
        assert_eq!(start.argv, ["vim", "-d", "a", "b"]);
        assert_eq!((start.env["K"].as_str(), start.cwd.as_deref()), ("V", Some("/srv")));
        assert_eq!(start.user.as_deref(), Some("root"));
        assert_eq!((start.keep, start.idle), (Millis::from_secs(7200), ShellStart::IDLE));
        assert_eq!(start.check(), Ok(()));
        assert!(parse("robot-7 --keep 1ms").unwrap().into_start().check().is_err());
        for bad in ["", "no/device", "a b", "a --keep 5", "a -e =x", "a --in shop/a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
