//! `robo cancel`, `robo retry`: things done once, to instances that are in the middle of something.

use robo_model::name::ComponentName;
use robo_wire::api::{ActAnswer, ActRequest, Scope, Verb};
use robo_wire::stream::Verdict;

use super::target::Target;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::acts;

/// Ends the step that runs on an instance and all below it, now. It counts as failed.
///
/// Nothing further is tried by itself until `robo retry`, another wish (`robo start`, `robo stop`), or an apply that
/// changes the instance. Where no step runs nothing is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 3 when a device could not be reached or did not answer.

Examples:
  robo cancel /web-1/web             its start hangs: end it
  robo cancel shop --component Web   all steps that run on instances of Web
  robo retry /web-1/web              and try again")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    args: ActArgs,
}

/// Tries what failed, waits for its next try, or was cancelled, again at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 3 when a device could not be reached or did not answer.

Examples:
  robo retry /web-1/web              do not wait for the next try
  robo retry shop                    whatever failed in the application")]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    args: ActArgs,
}

/// To which instances.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScopeArgs {
    /// The application, where there are several, and an instance's path for it and all below it.
    #[arg(value_names = ["APPLICATION", "/PATH"], num_args = 0..=2, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::targets())]
    target: Vec<String>,
    /// Only instances of this component or facet.
    #[arg(long, short = 'c', value_name = "NAME")]
    component: Option<ComponentName>,
    /// Only what stands below the instance, not itself.
    #[arg(long)]
    below: bool,
}

#[derive(Debug, clap::Args)]
struct ActArgs {
    #[command(flatten)]
    scope: ScopeArgs,
}

impl ScopeArgs {
    /// The target and what is asked for in it.
    ///
    /// # Errors
    /// When the words name nothing, or `--below` has nothing to stand below.
    pub(super) fn parse(self) -> Result<(Target, Scope), CliError> {
        let target = Target::parse(&self.target)?;
        if self.below && target.path.is_none() {
            return Err(CliError::new("`--below` needs an instance to stand below")
                .help("give its path, as in `robo stop /vm --below`"));
        }
        let path = target.path.clone();
        Ok((target, Scope { path, below: self.below, component: self.component, application: None }))
    }
}

pub(crate) async fn cancel(args: CancelArgs, env: &Env) -> Result<Exit, CliError> {
    run(args.args, Verb::Cancel, env).await
}

pub(crate) async fn retry(args: RetryArgs, env: &Env) -> Result<Exit, CliError> {
    run(args.args, Verb::Retry, env).await
}

async fn run(args: ActArgs, verb: Verb, env: &Env) -> Result<Exit, CliError> {
    let (target, scope) = args.scope.parse()?;
    let client = env.client()?;
    let application = target.application(&client).await?;
    let answer = client.act(&application, &ActRequest { verb, scope }).await?;
    let ui = &env.ui;
    let done = answer.devices.iter().flat_map(|device| &device.instances);
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&answer)?,
        Format::Name => done.map(|path| format!("{application}{path}")).try_for_each(|line| ui.line(line))?,
        Format::Table | Format::Wide => {
            ui.text(&acts::table(&answer, ui.out_is_terminal.then_some(ui.width), ui.out))?;
            ui.note(acts::summary(verb, &answer));
        }
    }
    Ok(exit(&answer))
}

fn exit(answer: &ActAnswer) -> Exit {
    let all = answer.devices.iter().all(|device| device.verdict == Verdict::Ok);
    if all { Exit::Done } else { Exit::SomeFailed }
}
