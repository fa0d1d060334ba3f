//! `robo exec`: runs a command on devices.

mod call;
mod follow;
mod frames;
mod group;
mod input;
mod lines;
mod outcome;
mod progress;
mod view;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use robo_model::quantity::Millis;
use robo_model::spec::InstanceKey;
use robo_wire::job::JobRequest;
use robo_wire::stream::{Command, ExecRequest, Requirement, Targets};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::place::Place;
use super::target::Target;
use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::{CliError, Exit};

use call::Call;
use follow::Follower;
pub(crate) use follow::Whose;
pub(crate) use frames::{Frames, FramesError};
pub(crate) use group::fit;
use outcome::Outcomes;
use view::View;

/// Runs a command on devices.
///
/// With one device given by name, its output is ours, our input is its input, and its exit code is ours. With more,
/// each line begins with the device's name, and a table of verdicts follows on standard error; the exit code is then
/// 3 when any of them is not ok. No shell runs, unless you ask for one: `robo exec d1 --shell -- 'echo $HOME'`.
///
/// With --background, --queue, --concurrency or --fail-fast the command is a job of the manager's: it goes on without
/// this program, has no input, and of each device's output begin and end are kept (`robo job`).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo exec device-42 -- uptime
  robo exec -l site=tokyo --timeout 10s -- df -h /
  robo exec --all -o json -- cat /etc/os-release
  robo exec --all --group -- uname -r
  robo exec -l site=tokyo --background --queue=8h -- apt-get -y upgrade
  robo exec --in shop/database/db -- env
  tar c data | robo exec device-42 --cwd /tmp -- tar x")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    place: Place,
    /// Where this instance runs: on its device, in its folder, with what its own steps and process are told, as its user.
    #[arg(long = "in", value_name = "APPLICATION/PATH", add = crate::complete::targets())]
    #[arg(conflicts_with_all = ["names", "all", "selector"])]
    within: Option<String>,
    /// How long the command may run on each device; then it is killed there.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Millis>,
    /// A variable for the command; a NAME alone takes the value it has here. May be given again.
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The folder to run it in.
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// The user to run it as; without it, whom the device's agent was told, or its own. Another one takes an agent that runs
    /// as root, and the right to `root` where the agent was told one.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The command is one text for `/bin/sh`.
    #[arg(long)]
    shell: bool,
    /// Do not wait: print the job's id.
    #[arg(long, short = 'b')]
    background: bool,
    /// Wait for devices that are offline: so long, or for an hour.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1h")]
    queue: Option<Millis>,
    /// Run it on so many devices at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// After the first device where it is not ok, begin it nowhere any more.
    #[arg(long)]
    fail_fast: bool,
    /// Show at the end what was printed, devices that printed the same together.
    #[arg(long)]
    group: bool,
    /// Send no input, even when there is some: for use inside of loops that read.
    #[arg(long, short = 'n')]
    no_stdin: bool,
    /// Program and arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// What a device must have for it.
    #[arg(skip)]
    needs: Option<Requirement>,
}

/// Of so many devices at most it is told that output is missing.
const MAX_TOLD: usize = 20;

pub(crate) async fn run(args: ExecArgs, env: &Env) -> Result<Exit, CliError> {
    let is_json = is_json(env.ui.format)?;
    args.check_targets()?;
    let is_one = (args.place.is_one() || args.within.is_some()) && !args.group;
    let with_input = !args.no_stdin && !io::stdin().is_terminal();
    let (group, background) = (args.group, args.background);
    let client = env.client()?;
    let within = match &args.within {
        Some(word) => Some(Target::instance(word, &client).await?),
        None => None,
    };
    if args.is_job() {
        return Box::pin(begin_job(&client, &args.into_job(within)?, background, (is_json, is_one, group), env)).await;
    }
    let request = args.into_request(with_input, within)?;
    let mut call = Call::open(&client, request, with_input).await?;
    let Some(targets) = call.targets().await? else { return Ok(Exit::Interrupted) };
    if targets.all().is_empty() {
        return Err(no_device());
    }
    let view = view_of((is_json, is_one, group), env, &targets);
    let Some(outcomes) = Box::pin(call.follow(targets, view)).await? else { return Ok(Exit::Interrupted) };
    tell_end(&outcomes, (is_json, is_one, group), env)
}

/// Begins a job that is a command of its own, and follows it to its end; or tells its id.
///
/// # Errors
/// When no device is meant, or the manager refuses it or is away.
pub(crate) async fn run_job(request: &JobRequest, background: bool, env: &Env) -> Result<Exit, CliError> {
    let is_one = matches!(&request.targets, Targets::Names(names) if names.len() == 1);
    begin_job(&env.client()?, request, background, (is_json(env.ui.format)?, is_one, false), env).await
}

async fn begin_job(
    client: &Client,
    request: &JobRequest,
    background: bool,
    look: Look,
    env: &Env,
) -> Result<Exit, CliError> {
    let view = client.begin_job(request).await?;
    if view.targets == 0 {
        return Err(no_device());
    }
    if background {
        return begun(&view, env);
    }
    let interrupts = Some(catch()?);
    let whose = Whose { id: view.id, device: None, follow: true };
    follow_job(client, whose, interrupts, look, env).await
}

fn no_device() -> CliError {
    CliError::new("no device matches").help("see which there are: `robo device list`")
}

fn catch() -> Result<Signal, CliError> {
    signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))
}

/// How it is to look: as JSON, as one target's own, or in groups.
type Look = (bool, bool, bool);

fn view_of<'a>(look: Look, env: &'a Env, targets: &Outcomes) -> View<'a> {
    match look {
        (true, _, _) => View::json(&env.ui, targets),
        (false, _, true) => View::grouped(&env.ui, targets),
        (false, true, false) => View::plain(&env.ui),
        (false, false, false) => View::named(&env.ui, targets),
    }
}

/// The job's id, and how to come back to it.
fn begun(view: &robo_wire::job::JobView, env: &Env) -> Result<Exit, CliError> {
    match env.ui.format {
        Format::Json => env.ui.value(view)?,
        Format::Table | Format::Wide | Format::Yaml | Format::Name => {
            env.ui.line(&view.id)?;
            env.ui.note(format!("It goes on in the background: `robo job show {0}`, `robo job logs -f {0}`", view.id));
        }
    }
    Ok(Exit::Done)
}

async fn follow_job(
    client: &Client,
    whose: Whose,
    interrupts: Option<Signal>,
    look: Look,
    env: &Env,
) -> Result<Exit, CliError> {
    let id = whose.id.clone();
    let mut follower = Follower { client, ui: &env.ui, whose, interrupts, interrupted: false };
    let Some(outcomes) = Box::pin(follower.follow(|targets| view_of(look, env, targets))).await? else {
        env.ui.note(format!("Who has ended is in `robo job show {id}`."));
        return Ok(Exit::Interrupted);
    };
    let missing = client.job(&id).await?.runs.into_iter().filter(|run| run.missing > 0);
    for run in missing.take(MAX_TOLD) {
        env.ui.note(format!("{} printed {} bytes more than are kept; begin and end are here", run.device, run.missing));
    }
    if outcomes.are_complete() { tell_end(&outcomes, look, env) } else { Ok(Exit::Done) }
}

/// The output of a job that is there already.
///
/// # Errors
/// When there is no such job, or the manager is away.
pub(crate) async fn logs(client: &Client, whose: Whose, env: &Env) -> Result<Exit, CliError> {
    let is_json = is_json(env.ui.format)?;
    let look = (is_json, whose.device.is_some(), false);
    follow_job(client, whose, None, look, env).await
}

fn tell_end(outcomes: &Outcomes, (is_json, is_one, _): Look, env: &Env) -> Result<Exit, CliError> {
    match (outcomes.all(), is_one) {
        ([outcome], true) => view::exit_of_one(outcome),
        (all, _) => {
            // A program finds each verdict in its object.
            if !is_json {
                env.ui.error_bytes(crate::output::harmless::harmless(&view::table(all)).as_bytes())?;
            }
            Ok(view::exit_of_many(all))
        }
    }
}

fn is_json(format: Format) -> Result<bool, CliError> {
    match format {
        Format::Table | Format::Wide => Ok(false),
        Format::Json => Ok(true),
        Format::Yaml | Format::Name => {
            Err(CliError::new("exec prints what the command prints, or JSON").help("take `-o json`, or no `-o` at all"))
        }
    }
}

impl ExecArgs {
    /// A command that another command of ours runs, as this user and for so long at most, without input.
    pub(crate) fn plain(
        place: Place,
        (user, timeout): (Option<String>, Option<Millis>),
        command: Vec<String>,
        needs: Requirement,
    ) -> Self {
        Self {
            place,
            within: None,
            timeout,
            variables: Vec::new(),
            cwd: None,
            user,
            shell: false,
            background: false,
            queue: None,
            concurrency: None,
            fail_fast: false,
            group: false,
            no_stdin: true,
            command,
            needs: Some(needs),
        }
    }

    fn check_targets(&self) -> Result<(), CliError> {
        if self.within.is_some() { Ok(()) } else { self.place.check(self.how()) }
    }

    /// How a device would be named.
    const fn how(&self) -> &'static str {
        match self.needs {
            None => "name one or more before the `--`, as in `robo exec robot-7 -- uptime`",
            Some(_) => "name one or more, as in `robo unit status ssh.service robot-7`",
        }
    }

    /// What only a job of the manager's can do.
    const fn is_job(&self) -> bool {
        self.background || self.queue.is_some() || self.concurrency.is_some() || self.fail_fast
    }

    fn into_job(self, within: Option<InstanceKey>) -> Result<JobRequest, CliError> {
        let (queue, concurrency, fail_fast) = (self.queue, self.concurrency, self.fail_fast);
        let ExecRequest { targets, command, .. } = self.into_request(false, within)?;
        Ok(JobRequest { targets, command, queue, concurrency, fail_fast })
    }

    pub(crate) fn into_request(self, stdin: bool, within: Option<InstanceKey>) -> Result<ExecRequest, CliError> {
        let how = self.how();
        let argv = match self.command.as_slice() {
            [text] if self.shell => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            _ if self.shell => {
                return Err(CliError::new("with --shell the command is one text")
                    .help("quote it: `robo exec d1 --shell -- 'echo $HOME'`"));
            }
            _ => self.command,
        };
        let targets = match &within {
            Some(key) => Targets::Names(vec![key.to_string()]),
            None => self.place.targets(how)?,
        };
        let env: BTreeMap<String, String> = self.variables.into_iter().collect();
        let command = Command { argv, env, cwd: self.cwd, user: self.user, timeout: self.timeout, stdin, within };
        Ok(ExecRequest { targets, command, resumable: true, needs: self.needs })
    }
}

/// `NAME=VALUE`, or a NAME that is set here.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, std::env::var(text).map_err(|_| format!("`{text}` is not set here; write `{text}=VALUE`"))?),
    };
    if name.is_empty() {
        return Err("a variable needs a name, as in `NAME=VALUE`".into());
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ExecArgs,
    }

    fn parse(words: &str) -> Result<ExecRequest, clap::error::ErrorKind> {
        let words = std::iter::once("exec").chain(words.split_ascii_whitespace());
        Line::try_parse_from(words).map(|line| line.args.into_request(true, None).unwrap()).map_err(|e| e.kind())
    }

    #[test]
    fn targets_stand_before_the_dashes_and_the_command_after() {
        let request = parse("a b a --timeout 5s -e K=V=W --cwd /tmp -- sh -c -l --all").unwrap();
        assert_eq!(request.targets, Targets::Names(vec!["a".into(), "b".into()]));
        let command = Command {
            argv: ["sh", "-c", "-l", "--all"].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("K".into(), "V=W".into())]),
            cwd: Some("/tmp".into()),
            user: None,
            timeout: Some(Millis::from_secs(5)),
            stdin: true,
            within: None,
        };
        assert_eq!(request.command, command);
        assert_eq!(parse("--all -- true").unwrap().targets, Targets::All);
        assert_eq!(parse("-l a=b,c -- true").unwrap().targets, Targets::Selector("a=b,c".into()));
    }

    #[test]
    fn what_is_missing_or_contradicts_is_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        let check = |words, expect| assert_eq!(parse(words).unwrap_err(), expect, "{words}");
        let line = Line::try_parse_from(["exec", "--", "true"]).unwrap();
        assert_eq!(line.args.check_targets().unwrap_err().what(), "no device is given");
        check("a", MissingRequiredArgument);
        check("a --all -- true", ArgumentConflict);
        check("a -l b -- true", ArgumentConflict);
        check("a --in shop/a -- true", ArgumentConflict);
        check("--all --in shop/a -- true", ArgumentConflict);
        check("-l a --in shop/a -- true", ArgumentConflict);
        check("--all -l b -- true", ArgumentConflict);
        check("-l ,, -- true", ValueValidation);
        check("a --timeout 5 -- true", ValueValidation);
        check("a -e =x -- true", ValueValidation);
        check("a -e ROBO_TEST_UNSET_VARIABLE -- true", ValueValidation);
    }
}
