//! `robo start`, `robo stop`, `robo undeploy`: asks for another state than the application says.

use robo_model::state::Wanted;
use robo_wire::api::WantedRequest;

use super::act::ScopeArgs;
use super::apply::{Waiting, status_before};
use crate::cli::Env;
use crate::error::{CliError, Exit};
use crate::progress::{self, Element, FollowOptions, Goal};

/// Starts an application, or an instance and all below it, and waits until it is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo start                         all of the only application there is
  robo start /database/db            one instance, and what stands below it
  robo start shop --component Web    every instance of Web")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    args: WantedArgs,
}

/// Stops an application, or an instance and all below it, until it is started or applied again.
///
/// What imports from it is told, and what cannot do without stops first. Machines themselves are never stopped: `--below`
/// stops everything that stands on one. What was asked for shows in `robo status` and ends with the next apply.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo stop shop                     the whole application
  robo stop /database/db             one instance of the only application there is
  robo start /database/db            and again
  robo stop /web-1 --below           everything on one machine
  robo stop shop --component Web     every instance of Web")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    args: WantedArgs,
}

/// Stops an application, or an instance and all below it, and removes its files from the machines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo undeploy /web-1/web           one instance, and what stands below it
  robo undeploy /web-1 --below       everything on one machine
  robo start /web-1                  and again")]
pub(crate) struct UndeployArgs {
    #[command(flatten)]
    args: WantedArgs,
}

#[derive(Debug, clap::Args)]
struct WantedArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn start(args: StartArgs, env: &Env) -> Result<Exit, CliError> {
    run(args.args, Wanted::Started, env).await
}

pub(crate) async fn stop(args: StopArgs, env: &Env) -> Result<Exit, CliError> {
    run(args.args, Wanted::Stopped, env).await
}

pub(crate) async fn undeploy(args: UndeployArgs, env: &Env) -> Result<Exit, CliError> {
    run(args.args, Wanted::NotDeployed, env).await
}

async fn run(args: WantedArgs, wanted: Wanted, env: &Env) -> Result<Exit, CliError> {
    let (target, scope) = args.scope.parse()?;
    let client = env.client()?;
    let application = target.application(&client).await?;
    let before = status_before(&client, &application).await?;
    let request = WantedRequest { scope, wanted };
    let accepted = client.want(&application, &request).await?;
    if env.ui.is_machine() {
        env.ui.element(&Element::Accepted(&accepted))?;
    }
    if args.waiting.no_wait {
        return Ok(Exit::Done);
    }
    let options = FollowOptions {
        timeout: Some(args.waiting.timeout.duration()),
        only: Some(accepted.instances.into_iter().collect()),
        before: Some(before),
        ..FollowOptions::new(Goal::AsWished, accepted.cursor)
    };
    let end = progress::follow(&env.ui, &client, &application, options).await?;
    progress::conclude(&env.ui, &application, &end)
}
