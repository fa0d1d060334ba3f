//! `robo relay`: runs a relay.

use std::net::SocketAddr;
use std::path::PathBuf;

use robo_agent::folders::write_atomic;
use robo_manager::relay::{Config, Relay};

use crate::cli::Env;
use crate::commands::manager::explain;
use crate::error::{CliError, Exit};
use crate::service::{self, LogArgs, StopSignals};

/// Runs a relay: a port in the open network for a manager that nobody can reach.
///
/// The manager dials it, and whoever dials it is passed on to that manager. It sees ciphertext alone: devices and people
/// verify the manager as ever. At the first start it makes an authority and a token, for one manager.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo relay --listen 0.0.0.0:443 --data /var/lib/robo-relay
  scp relay.example.org:/var/lib/robo-relay/relay.token .     then, beside the manager:
  robo manager --listen none --relay relay.example.org:443 --relay-token-file relay.token")]
pub(crate) struct RelayArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "0.0.0.0:7626", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The folder for authority and token; `relay` in robo's state folder where none is given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Writes the address to this file as soon as it listens.
    #[arg(long, hide = true, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) async fn run(args: RelayArgs, env: &Env) -> Result<Exit, CliError> {
    service::log(&args.log)?;
    let mut signals = StopSignals::catch()?;
    robo_agent::raise_open_files();
    let data = args.data.unwrap_or_else(|| env.paths.state.join("relay"));
    let relay = Relay::bind(Config { listen: args.listen, data }).await.map_err(|error| explain(&error, "relay"))?;
    let address = relay.local_addr();
    tracing::info!(file = %relay.token_file().display(), "token for the manager");
    tracing::info!(%address, "ready");
    if let Some(path) = &args.ready_file {
        write_atomic(path, address.to_string().as_bytes(), 0o600)
            .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))?;
    }
    relay.serve(async move { signals.next().await }).await;
    tracing::info!("stopped");
    Ok(Exit::Done)
}
