//! `robo down`: ends what `robo up` left running.

use std::collections::BTreeSet;

use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::service::StopSignals;
use crate::up::{self, Children, Environment, Folder};

/// Ends everything that `robo up` runs on this machine: instances first, by their own stop steps.
///
/// What they wrote is kept, and `robo up` goes on from there. Ctrl-C ends everything at once.
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    /// Remove what was kept too: data of the applications, identities, history.
    #[arg(long)]
    purge: bool,
}

pub(crate) async fn run(args: DownArgs, env: &Env) -> Result<Exit, CliError> {
    let folder = Folder::new(&env.paths);
    let mut signals = StopSignals::catch()?;
    let mut environment = Environment::lock(&folder, &env.ui).await?;
    environment.end_strays().await;
    if environment.is_down() {
        env.ui.note("Nothing is running here.");
    } else {
        let mut children = Children::new();
        let client = tokio::select! {
            client = revive(&mut environment, &mut children, env) => {
                client.inspect_err(|error| env.ui.error(error)).ok()
            }
            () = signals.next() => None,
        };
        environment.stop(client.as_ref(), signals.next(), &env.ui).await?;
        env.ui.note("Everything is stopped.");
    }
    if args.purge {
        environment.purge()?;
        up::forget_context(&env.paths)?;
        env.ui.note("What was kept is removed.");
    } else if folder.ca().exists() {
        env.ui.note("Data is kept; `robo up` goes on with it, `robo down --purge` removes it.");
    }
    Ok(Exit::Done)
}

/// Starts again what died, so that everything can be stopped by its own steps.
async fn revive(environment: &mut Environment, children: &mut Children, env: &Env) -> Result<Client, CliError> {
    let context = environment.start_manager(children).await?;
    let client = Environment::client(&context, env.options.project.as_ref())?;
    let dead: BTreeSet<_> = environment.ended(children).into_iter().filter_map(|(who, _)| who.device()).collect();
    if !dead.is_empty() {
        environment.start_agents(&dead, &client, children).await?;
    }
    Ok(client)
}
