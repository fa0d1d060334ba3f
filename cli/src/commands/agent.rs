//! `robo agent`: runs the agent of this machine.

use robo_agent::args::Args;

use crate::cli::Env;
use crate::error::{CliError, Exit};
use crate::service::{self, LogArgs, StopSignals};

/// Runs the agent of this machine.
///
/// At the first start it enrols with a token from `robo device enroll`, given in a file, on standard input or in
/// ROBO_TOKEN; later it needs none. ROBO_LOG chooses what is logged. SIGTERM and Ctrl-C end it; what it looks after
/// goes on running, and it looks after it again when it is started again. Its folder is `agent` in robo's state
/// folder where no other is given.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    agent: Args,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(args: AgentArgs, env: &Env) -> Result<Exit, CliError> {
    let state = args.agent.state.clone().unwrap_or_else(|| env.paths.state.join("agent"));
    service::log_agent(&args.log, &state)?;
    let mut signals = StopSignals::catch()?;
    let config = args.agent.into_config(state).map_err(|error| CliError::new(error.to_string()))?;
    let stop = async move { signals.next().await };
    Box::pin(robo_agent::run(config, stop))
        .await
        .map_err(|error| CliError::new(format!("the agent ends: {}", service::with_causes(&error))))?;
    Ok(Exit::Done)
}
