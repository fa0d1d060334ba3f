//! `robo agent`: runs the agent of this machine.

use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use robo_model::name::DeviceName;

use crate::cli::Env;
use crate::context::read_bounded;
use crate::error::{CliError, Exit};
use crate::service::{self, LogArgs, StopSignals};

/// Runs the agent of this machine.
///
/// At the first start it enrols with a token from `robo device enroll`, given in a file, on standard input or in
/// ROBO_TOKEN; later it needs none. ROBO_LOG chooses what is logged. SIGTERM and Ctrl-C end it; what it looks after
/// goes on running, and it looks after it again when it is started again.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The manager to dial.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = manager_address)]
    manager: String,
    /// The file with the enrolment token; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The manager's CA certificate, in PEM; without it the one that the token names is trusted.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The agent's folder: identity, ledger, instances; `agent` in robo's state folder where none is given.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The name to propose for this device, where the token does not give one.
    #[arg(long)]
    name: Option<DeviceName>,
    /// The address under which other devices reach this one; found out where none is given.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    #[command(flatten)]
    log: LogArgs,
}

/// The enrolment token, for services that get their secrets by environment.
pub(crate) const TOKEN_VARIABLE: &str = "ROBO_TOKEN";

/// Most bytes of a token that are read from standard input; a token has about 120.
const MAX_TOKEN_BYTES: u64 = 4096;

pub(crate) async fn run(args: AgentArgs, env: &Env) -> Result<Exit, CliError> {
    service::log(&args.log)?;
    let mut signals = StopSignals::catch()?;
    let config = robo_agent::Config {
        state: args.state.clone().unwrap_or_else(|| env.paths.state.join("agent")),
        manager: args.manager.clone(),
        token: token(&args)?,
        ca_pem: args.ca.as_ref().map(|path| read(path, "the CA certificate")).transpose()?,
        name: args.name,
        address: args.address.map(|address| address.to_string()),
    };
    let stop = async move { signals.next().await };
    Box::pin(robo_agent::run(config, stop))
        .await
        .map_err(|error| CliError::new(format!("the agent ends: {}", service::with_causes(&error))))?;
    Ok(Exit::Done)
}

fn token(args: &AgentArgs) -> Result<Option<String>, CliError> {
    let text = match &args.token_file {
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .take(MAX_TOKEN_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| CliError::new(format!("the token cannot be read from standard input: {error}")))?;
            text
        }
        Some(path) => read(path, "the token")?,
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => text,
            Err(_) => return Ok(None),
        },
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(CliError::new("the enrolment token is empty")
            .help("make one with `robo device enroll`, or leave it out when this device is enrolled already"));
    }
    Ok(Some(text.to_owned()))
}

fn read(path: &std::path::Path, what: &str) -> Result<String, CliError> {
    read_bounded(path).map_err(|error| CliError::new(format!("{what} cannot be read from {}: {error}", path.display())))
}

/// `HOST:PORT`; the port is added where it is missing, and a URL's scheme is taken off.
fn manager_address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]:{}", robo_wire::DEFAULT_PORT));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| format!("`{port}` is not a port"))?,
        None => robo_wire::DEFAULT_PORT,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let good = match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    if good { Ok(format!("{name}:{port}")) } else { Err(format!("`{text}` is not HOST or HOST:PORT")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_by_host_and_port() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(manager_address(text).ok().as_deref(), expect, "{text}");
        };
        check("example.org", Some("example.org:7626"));
        check("example.org:80", Some("example.org:80"));
        check("https://10.0.0.1:7626/", Some("10.0.0.1:7626"));
        check("::1", Some("[::1]:7626"));
        check("[::1]", Some("[::1]:7626"));
        check("[::1]:9", Some("[::1]:9"));
        for bad in ["", ":7626", "a:b", "a:0", "a:70000", "http://a", "a b", "[::1", "[a]:1", "a/b"] {
            check(bad, None);
        }
    }
}
