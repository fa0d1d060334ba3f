//! `robo unit`: units of systemd on devices, by `systemctl` there.

use robo_model::quantity::Millis;
use robo_wire::stream::Requirement;
use robo_wire::tail::check_unit;

use super::exec::{self, ExecArgs};
use super::place::Place;
use crate::cli::Env;
use crate::error::{CliError, Exit};

/// Starts, stops and looks at units of systemd on devices.
///
/// `systemctl` does it there, without a shell, and what it prints and its exit status are shown as `robo exec` shows those
/// of a command. A device without systemd is refused, and says so. Most units are root's: `--user root` takes the right
/// to `root` where the device has a user for commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo unit status ssh.service robot-7
  robo unit restart chrony.service -l site=tokyo --user root
  robo unit list --all -o json
  robo logs --unit ssh.service --on robot-7           what it prints")]
pub(crate) struct UnitArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Starts a unit.
    Start(OfUnit),
    /// Stops a unit.
    Stop(OfUnit),
    /// Stops a unit, where it runs, and starts it.
    Restart(OfUnit),
    /// Has a unit read its configuration anew.
    Reload(OfUnit),
    /// Shows how a unit is; 3 is systemctl's exit status of one that does not run.
    Status(OfUnit),
    /// Has a unit started at boot from now on.
    Enable(OfUnit),
    /// Has a unit not started at boot any more.
    Disable(OfUnit),
    /// Lists the services and how each is.
    List(On),
}

#[derive(Debug, clap::Args)]
struct OfUnit {
    /// The unit, as in `ssh.service`.
    #[arg(value_name = "UNIT", value_parser = unit)]
    unit: String,
    #[command(flatten)]
    on: On,
}

/// Where, and as whom.
#[derive(Debug, clap::Args)]
struct On {
    #[command(flatten)]
    place: Place,
    /// The user to run systemctl as; without it, whom the device's agent was told, or its own.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// How long systemctl may take on each device; then it is killed there.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Millis>,
}

fn unit(name: &str) -> Result<String, String> {
    check_unit(name).map(|()| name.to_owned())
}

/// # Errors
/// When it cannot be asked for, as `robo exec` has it.
pub(crate) async fn run(args: UnitArgs, env: &Env) -> Result<Exit, CliError> {
    Box::pin(exec::run(args.verb.into_exec(), env)).await
}

impl Verb {
    fn into_exec(self) -> ExecArgs {
        let (verb, of) = match self {
            Self::Start(of) => ("start", of),
            Self::Stop(of) => ("stop", of),
            Self::Restart(of) => ("restart", of),
            Self::Reload(of) => ("reload", of),
            Self::Status(of) => ("status", of),
            Self::Enable(of) => ("enable", of),
            Self::Disable(of) => ("disable", of),
            Self::List(on) => return on.into_exec(&["list-units", "--all", "--type=service"]),
        };
        // Nothing of it is an option, whatever it is called.
        of.on.into_exec(&[verb, "--", &of.unit])
    }
}

impl On {
    /// Nobody is there to press a key or to type a password.
    fn into_exec(self, words: &[&str]) -> ExecArgs {
        let command = ["systemctl", "--no-pager", "--no-ask-password"].iter().chain(words);
        let command = command.map(|word| (*word).to_owned()).collect();
        ExecArgs::plain(self.place, (self.user, self.timeout), command, Requirement::Systemd)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use robo_wire::stream::{ExecRequest, Targets};

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: UnitArgs,
    }

    fn parse(words: &str) -> Result<ExecRequest, clap::error::ErrorKind> {
        let words = std::iter::once("unit").chain(words.split_ascii_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.kind())?;
        Ok(line.args.verb.into_exec().into_request(false, None).unwrap())
    }

    #[test]
    fn the_unit_stands_before_the_devices() {
        let request = parse("restart ssh.service a b --user root --timeout 5s").unwrap();
        assert_eq!(request.targets, Targets::Names(vec!["a".into(), "b".into()]));
        assert_eq!(
            request.command.argv,
            ["systemctl", "--no-pager", "--no-ask-password", "restart", "--", "ssh.service"]
        );
        assert_eq!(
            (request.command.user.as_deref(), request.command.timeout),
            (Some("root"), Some(Millis::from_secs(5)))
        );
        assert_eq!((request.needs, request.command.stdin), (Some(Requirement::Systemd), false));
        let request = parse("list --all").unwrap();
        assert_eq!((&request.targets, request.command.argv[3].as_str()), (&Targets::All, "list-units"));
        for verb in ["start", "stop", "reload", "status", "enable", "disable"] {
            assert_eq!(parse(&format!("{verb} a@b.timer -l x")).unwrap().command.argv[3], verb);
        }
    }

    #[test]
    fn what_is_no_unit_or_no_verb_is_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, InvalidSubcommand, UnknownArgument, ValueValidation};
        for (words, expect) in [
            ("start a;b robot-7", ValueValidation),
            ("start $(id) robot-7", ValueValidation),
            ("start a*.service robot-7", ValueValidation),
            ("start a/b robot-7", ValueValidation),
            ("start --force a robot-7", UnknownArgument),
            ("start -- -a robot-7", ValueValidation),
            ("start a b --all", ArgumentConflict),
            ("kill a b", InvalidSubcommand),
        ] {
            assert_eq!(parse(words).unwrap_err(), expect, "{words}");
        }
    }
}
