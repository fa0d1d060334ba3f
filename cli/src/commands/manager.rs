//! `robo manager`: runs the manager.

mod relay;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use robo_agent::folders::write_atomic;
use robo_manager::ca::DEVICE_LIFETIME;
use robo_manager::limits::{REQUESTS_A_SECOND, Rate};
use robo_manager::login::LoginConfig;
use robo_manager::plan::PortRanges;
use robo_manager::server::{Config, ManagerError, Server};
use robo_manager::uploads::FILES_MAX;
use robo_manager::watchman::SILENT_AFTER;
use robo_model::quantity::{Bytes, Millis};
use robo_wire::session::HEARTBEAT;

use crate::cli::Env;
use crate::context::read_bounded;
use crate::error::{CliError, Exit};
use crate::service::{self, LogArgs, StopSignals};

/// How many seconds' requests may come at once: a command that looks at many things asks all at once.
const BURST: u32 = 10;

/// Runs the manager: the API, the planner, the store and the agents' links, on one port.
///
/// It makes its own certificate authority and an administrator's token at the first start. ROBO_LOG chooses what is
/// logged, as in ROBO_LOG=debug. SIGTERM and Ctrl-C end it; what it manages goes on running.
#[derive(Debug, clap::Args)]
pub(crate) struct ManagerArgs {
    /// Where to listen; port 0 takes a free one. `none` listens nowhere: all come by way of the relay.
    #[arg(long, default_value = "127.0.0.1:7626", value_name = "IP:PORT")]
    listen: Listen,
    #[command(flatten)]
    relay: relay::RelayOptions,
    /// The folder for store, files and authority; `manager` in robo's state folder where none is given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How often each agent says something; a silent one counts as offline after twice this time.
    #[arg(long, default_value_t = HEARTBEAT, value_name = "DURATION")]
    heartbeat: Millis,
    /// Ports that are never handed out for `random[port]`, as in 5432,6000-6100.
    #[arg(long, default_value_t, hide_default_value = true, value_name = "PORTS")]
    forbidden_ports: PortRanges,
    /// How long a device may be out of contact before its machine counts as being in trouble.
    #[arg(long, default_value_t = SILENT_AFTER, value_name = "DURATION")]
    silent_after: Millis,
    /// How long the certificates of devices are good for; each is renewed at half its life.
    #[arg(long, default_value_t = DEVICE_LIFETIME, value_name = "DURATION")]
    device_certificates: Millis,
    /// The folder with the agents' programs for new devices, `robo-agent-ARCHITECTURE`, as in robo-agent-aarch64; the one
    /// of this program where none is given.
    #[arg(long, value_name = "DIR")]
    agent_binaries: Option<PathBuf>,
    /// How often each user may ask, a second; ten times as many at once. Who asks more is told to wait.
    #[arg(long, default_value_t = REQUESTS_A_SECOND, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    #[arg(value_name = "NUMBER")]
    requests_per_second: u32,
    /// The file that says with which OpenID provider's identities people log in, and what each may; see docs/access.md.
    #[arg(long, value_name = "FILE")]
    oidc: Option<PathBuf>,
    /// How long lines of the audit log are kept, at least a day, as in 365d: older ones go, a thousand at a time, after
    /// they were verified. For ever where nothing is said.
    #[arg(long, value_name = "DURATION", value_parser = audit_keep)]
    audit_keep: Option<Millis>,
    /// Bytes that the files which devices sent may have, in each project, as in 500MiB or 1GiB.
    #[arg(long, default_value_t = Bytes(FILES_MAX), value_name = "SIZE")]
    files_max: Bytes,
    /// Writes the address to this file as soon as it listens.
    #[arg(long, hide = true, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Shortest time that lines of the audit log are kept.
const MIN_AUDIT_KEEP: Millis = Millis::from_secs(24 * 3600);

fn audit_keep(text: &str) -> Result<Millis, String> {
    let keep: Millis = text.parse().map_err(|error: robo_model::quantity::QuantityError| error.to_string())?;
    if keep < MIN_AUDIT_KEEP {
        Err("lines are kept for at least a day: write 24h or more".to_owned())
    } else {
        Ok(keep)
    }
}

/// Where a manager listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address = text.parse();
        address.map(|address| Self(Some(address))).map_err(|_| "write IP:PORT, as in 0.0.0.0:7626, or none".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}

pub(crate) async fn run(args: ManagerArgs, env: &Env) -> Result<Exit, CliError> {
    service::log(&args.log)?;
    let mut signals = StopSignals::catch()?;
    let relay = args.relay.way()?;
    if args.listen.0.is_none() && relay.is_none() {
        return Err(CliError::new("a manager that listens nowhere and dials no relay is reached by nobody")
            .help("name a relay with --relay, or an address with --listen"));
    }
    let data = args.data.unwrap_or_else(|| env.paths.state.join("manager"));
    let config = Config {
        listen: args.listen.0,
        relay,
        data: data.clone(),
        heartbeat: args.heartbeat,
        silent_after: args.silent_after,
        device_lifetime: args.device_certificates,
        agent_binaries: args.agent_binaries.or_else(own_folder),
        forbidden_ports: args.forbidden_ports,
        requests: Rate {
            burst: args.requests_per_second.saturating_mul(BURST),
            per_second: f64::from(args.requests_per_second),
        },
        files_max: args.files_max.0,
        audit_keep: args.audit_keep,
        login: args.oidc.as_deref().map(read_login).transpose()?,
    };
    let server = Server::bind(config).await.map_err(|error| explain(&error, "manager"))?;
    let address = Listen(server.local_addr());
    tracing::info!(data = %data.display(), "data folder");
    tracing::info!(fingerprint = server.ca_fingerprint(), certificate = %data.join(CA_FILE).display(), "authority");
    tracing::info!(file = %data.join(TOKEN_FILE).display(), "administrator's token");
    tracing::info!(%address, "ready");
    if let Some(path) = &args.ready_file {
        write_atomic(path, address.to_string().as_bytes(), 0o600)
            .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))?;
    }
    server.serve(async move { signals.next().await }).await;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Where this program lies, and with it the agent of the same version.
fn own_folder() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_owned)
}

/// What stands in the file about an OpenID provider. Files that it names are beside it, where they are not absolute.
fn read_login(path: &Path) -> Result<LoginConfig, CliError> {
    let wrong = |reason: &dyn std::fmt::Display| CliError::new(format!("cannot use {}: {reason}", path.display()));
    let text = read_bounded(path).map_err(|error| wrong(&error))?;
    let mut config: LoginConfig = serde_yaml::from_str(&text).map_err(|error| wrong(&error))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    for file in [&mut config.client_secret_file, &mut config.ca_file].into_iter().flatten() {
        *file = folder.join(&*file);
    }
    config.check().map_err(|error| wrong(&error).help("docs/access.md shows a whole one"))?;
    Ok(config)
}

/// The authority's certificate in the data folder.
pub(crate) const CA_FILE: &str = "ca.pem";

/// The administrator's token in the data folder.
pub(crate) const TOKEN_FILE: &str = robo_manager::service::ADMIN_TOKEN;

/// Says what to do when `command`, a manager or a relay, does not start.
pub(crate) fn explain(error: &ManagerError, command: &str) -> CliError {
    let ManagerError::Listen { address, source } = error else {
        return CliError::new(format!("the {command} does not start: {}", service::with_causes(error)));
    };
    let (ip, port) = (address.ip(), address.port());
    if source.kind() == io::ErrorKind::AddrInUse {
        return CliError::new(format!("port {port} on {ip} is in use already"))
            .help(format!("see who has it: `ss -ltnp 'sport = :{port}'`"))
            .help(format!(
                "or listen on another one: `robo {command} --listen {}`",
                SocketAddr::new(ip, port.wrapping_add(1))
            ));
    }
    let error = CliError::new(format!("cannot listen on {address}: {source}"));
    if source.kind() == io::ErrorKind::AddrNotAvailable {
        error.help(format!("{ip} is no address of this machine; see `ip address`"))
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        error.help("choose a port from 1024 on, or allow it to the service")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_listens_somewhere_or_nowhere() {
        let check = |text: &str, expect: Option<Listen>| assert_eq!(text.parse().ok(), expect, "{text}");
        let address = "0.0.0.0:443".parse().unwrap();
        check("0.0.0.0:443", Some(Listen(Some(address))));
        check("none", Some(Listen(None)));
        for bad in ["", "None", "0.0.0.0", "localhost:1", "0.0.0.0:70000", "none:1"] {
            check(bad, None);
        }
        assert_eq!(format!("{} {}", Listen(Some(address)), Listen(None)), "0.0.0.0:443 none");
    }

    #[test]
    fn a_taken_port_is_named_with_the_way_to_see_who_has_it() {
        let address = "127.0.0.1:7626".parse().unwrap();
        let check = |kind: io::ErrorKind, what: &str, help: &str| {
            let error = explain(&ManagerError::Listen { address, source: kind.into() }, "manager");
            assert!(error.what().contains(what), "{error:?}");
            assert!(error.helps().iter().any(|h| h.contains(help)), "{error:?}");
        };
        check(io::ErrorKind::AddrInUse, "port 7626 on 127.0.0.1 is in use", "sport = :7626");
        check(io::ErrorKind::AddrInUse, "port 7626", "127.0.0.1:7627");
        check(io::ErrorKind::AddrNotAvailable, "cannot listen on 127.0.0.1:7626", "no address of this machine");
        check(io::ErrorKind::PermissionDenied, "cannot listen", "1024");
    }
}
