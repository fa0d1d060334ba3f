//! `robo device system-update`: brings the packages of devices' systems up to date, as a job with stages.
//!
//! What runs there is a shell script of ours that any agent can run, with the package manager that the machine has.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::ValueEnum;
use robo_model::quantity::Millis;
use robo_wire::job::JobRequest;
use robo_wire::stream::{Command, Targets};

use crate::cli::Env;
use crate::commands::apply::agreed;
use crate::commands::exec;
use crate::commands::place::Place;
use crate::error::{CliError, Exit};

/// What runs on the device; its words are `DRY REBOOT WINDOW`.
const SCRIPT: &str = include_str!("system_update.sh");

/// Its name in lists, in place of its text.
const NAME: &str = "robo-system-update";

/// Brings the packages of devices' systems up to date, with the package manager that each has: apt, dnf, zypper, pacman or
/// apk.
///
/// It is a job: it goes on when this program ends (`robo job`), its log has a line for each stage (refresh, download,
/// install, clean, reboot), and each device has its verdict. What the agent looks after goes on meanwhile, until a reboot,
/// and is brought up again after it. It runs as root, which takes the right to `root` where the agent was told a user.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device system-update robot-7 --dry-run             what would come
  robo device system-update -l site=tokyo --yes --reboot if-needed --window 02:00-04:00
  robo device system-update --all --yes --concurrency 5 --fail-fast --background --queue=12h")]
pub(super) struct SystemUpdateArgs {
    #[command(flatten)]
    place: Place,
    /// Only tell what would be installed.
    #[arg(long, conflicts_with_all = ["reboot", "window"])]
    dry_run: bool,
    /// Whether to reboot at the end.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    reboot: Reboot,
    /// Reboot only at this time of day, by the device's clock, as in `02:00-04:00`.
    #[arg(long, value_name = "FROM-TO", requires = "reboot")]
    window: Option<Window>,
    /// How long it may take on each device; then it is ended there.
    #[arg(long, value_name = "DURATION", default_value_t = Millis::from_secs(2 * 60 * 60))]
    timeout: Millis,
    /// The user to run it as.
    #[arg(long, value_name = "USER", default_value = "root")]
    user: String,
    /// Wait for devices that are offline: so long, or for an hour.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1h")]
    queue: Option<Millis>,
    /// On so many devices at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// After the first device where it is not ok, begin it nowhere any more.
    #[arg(long)]
    fail_fast: bool,
    /// Do not wait: print the job's id.
    #[arg(long, short = 'b')]
    background: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Whether to reboot at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Reboot {
    /// Whatever was installed
    #[default]
    Never,
    /// Where the system says that what was installed asks for it
    IfNeeded,
    /// In any case
    Always,
}

impl Reboot {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::IfNeeded => "if-needed",
            Self::Always => "always",
        }
    }
}

/// A time of day, from a minute to another; past midnight where the second is the earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window(String);

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_time = |time: &str| match time.split_once(':') {
            Some((hours, minutes)) => {
                let is_below = |text: &str, bound: u8| {
                    text.len() == 2
                        && text.bytes().all(|byte| byte.is_ascii_digit())
                        && text.parse::<u8>().is_ok_and(|number| number < bound)
                };
                is_below(hours, 24) && is_below(minutes, 60)
            }
            None => false,
        };
        match text.split_once('-') {
            Some((from, to)) if is_time(from) && is_time(to) && from != to => Ok(Self(text.to_owned())),
            Some(_) | None => Err("write two times of day, as in `02:00-04:00`".to_owned()),
        }
    }
}

pub(super) async fn run(args: SystemUpdateArgs, env: &Env) -> Result<Exit, CliError> {
    let (background, yes) = (args.background, args.yes || args.dry_run);
    let request = args.into_request()?;
    let whom = match &request.targets {
        Targets::Names(names) => names.join(", "),
        Targets::Selector(selector) => format!("all devices with {selector}"),
        Targets::All => "every device of the project".to_owned(),
    };
    if !agreed(yes, &format!("Bring the packages of {whom} up to date?"), &env.ui)? {
        return Ok(Exit::Error);
    }
    Box::pin(exec::run_job(&request, background, env)).await
}

impl SystemUpdateArgs {
    fn into_request(self) -> Result<JobRequest, CliError> {
        let targets = self.place.targets("name one or more, as in `robo device system-update robot-7 --dry-run`")?;
        let window = self.window.map(|window| window.0).unwrap_or_default();
        let dry = if self.dry_run { "yes" } else { "no" };
        let words = ["/bin/sh", "-c", SCRIPT, NAME, dry, self.reboot.as_str(), &window];
        let command = Command {
            argv: words.map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            cwd: None,
            user: Some(self.user),
            timeout: Some(self.timeout),
            stdin: false,
            within: None,
        };
        let (queue, concurrency, fail_fast) = (self.queue, self.concurrency, self.fail_fast);
        Ok(JobRequest { targets, command, queue, concurrency, fail_fast })
    }
}

#[cfg(test)]
mod tests;
