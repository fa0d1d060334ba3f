//! `robo ssh-proxy`: the way of `ssh`, `scp`, `rsync` and Ansible to a device, as their `ProxyCommand`.

use std::io::{self, Read as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use robo_agent::forward::shared::Shared;
use robo_model::name::DeviceName;
use robo_wire::api::is_host_key;
use robo_wire::forward::{BrokenKind, Target};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::forward::{FlowError, Way, begin, gone};
use crate::cli::Env;
use crate::error::{CliError, Exit};
use crate::service::StopSignals;

/// What `ssh` itself ends with when it cannot connect.
const FAILED: Exit = Exit::Remote(255);

/// The end of host names that are devices, so that `Host *.robo` tells them from others.
const SUFFIX: &str = ".robo";

/// Bytes read from standard input at a time.
const PIECE: usize = 32 * 1024;

/// Pieces of standard input that wait.
const QUEUE: usize = 4;

/// How long the last word may take to leave when a signal ends this.
const GRACE: Duration = Duration::from_secs(2);

/// Connects standard input and output to a device's SSH server.
///
/// For `ssh`, and all that uses it, as its ProxyCommand. The device needs an SSH server on its loopback and no port that
/// is open to the world; whoever logs in is known there by their SSH keys, as ever. A cut of the network costs nothing
/// but time, up to two minutes. It ends with 255 when it cannot connect, as ssh does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ssh -o ProxyCommand='robo ssh-proxy %h %p' root@device-42

Lines for ~/.ssh/config, with certificates and with the keys that agents tell of:
  robo ssh-config
and then: ssh device-42.robo, scp file device-42.robo:, rsync -a folder device-42.robo:")]
pub(crate) struct SshProxyArgs {
    /// The device; an ending `.robo` is taken off.
    #[arg(value_name = "DEVICE", add = crate::complete::devices())]
    device: String,
    /// The port of its SSH server.
    #[arg(value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Print the keys of the device's SSH server, as its agent tells of them, as lines of known hosts; for ssh's
    /// KnownHostsCommand.
    #[arg(long, conflicts_with = "port")]
    known_hosts: bool,
}

pub(crate) async fn run(args: SshProxyArgs, env: &Env) -> Result<Exit, CliError> {
    if args.known_hosts {
        return known_hosts(&args.device, env).await.map_err(|error| error.exit_with(FAILED));
    }
    connect(args, env).await.map_err(|error| error.exit_with(FAILED))
}

/// Prints the device's keys under the name that ssh asks by: `NAME.robo`, or `[NAME.robo]:PORT`.
async fn known_hosts(asked: &str, env: &Env) -> Result<Exit, CliError> {
    let bare = asked.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(asked, |(name, _)| name);
    let device = env.client()?.device(&device_name(bare)?).await?;
    let keys: Vec<_> = device.facts.ssh_host_keys.iter().filter(|key| is_host_key(key)).collect();
    if keys.is_empty() {
        env.ui.note(format!("{} tells of no keys of an SSH server: does its agent find them?", device.name));
    }
    keys.iter().try_for_each(|key| env.ui.line(format!("{asked} {key}")))?;
    Ok(Exit::Done)
}

pub(super) fn device_name(text: &str) -> Result<DeviceName, CliError> {
    let name = text.strip_suffix(SUFFIX).unwrap_or(text);
    DeviceName::new(name).map_err(|error| CliError::new(format!("`{name}` is no device: {error}")))
}

async fn connect(args: SshProxyArgs, env: &Env) -> Result<Exit, CliError> {
    let device = device_name(&args.device)?;
    let way = Way { client: env.client()?, device };
    let mut signals = StopSignals::catch()?;
    let target = Target::Tcp { host: "127.0.0.1".to_owned(), port: args.port };
    let begun = tokio::select! {
        begun = begin(&way, &target) => begun,
        () = signals.next() => return Ok(FAILED),
    };
    let (id, line) = begun.map_err(|error| explain(error, &way.device, args.port))?;
    let input = input().map_err(|error| CliError::new(format!("standard input cannot be read: {error}")))?;
    let shared = Shared::default();
    let output =
        env.ui.stream().map_err(|error| CliError::new(format!("standard output cannot be written: {error}")))?;
    // It ends with the flow, and not with what is read: ssh waits for our end before it ends.
    let carried = way.carry(id, line, &shared);
    let mut carried = std::pin::pin!(carried);
    let rest = async {
        tokio::join!(shared.pump(input, output), async {
            // When the server has closed, nobody needs what ssh may still say.
            shared.until_closed().await;
            shared.change(|state| state.flow.drained());
        });
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = &mut carried => {}
        () = rest => {}
        () = signals.next() => {
            shared.break_off(gone());
            drop(timeout(GRACE, carried).await);
            return Ok(FAILED);
        }
    }
    let broken = shared.look().broken.clone();
    match broken {
        None => Ok(Exit::Done),
        Some(broken) => Err(FlowError::from(broken).into()),
    }
}

fn explain(error: FlowError, device: &DeviceName, port: u16) -> CliError {
    let is_refused = matches!(&error, FlowError::Broken(broken) if broken.kind == BrokenKind::Refused);
    if is_refused {
        return CliError::new(format!("no SSH server listens at port {port} of {device}'s loopback"))
            .help("start one there, or name its port: `robo ssh-proxy DEVICE PORT`")
            .help(format!("without one: `robo shell {device}`"));
    }
    error.into()
}

/// Reads standard input on a thread of its own: such a read cannot be broken off. The thread ends with the program.
fn input() -> io::Result<impl tokio::io::AsyncRead + Unpin> {
    let (give, take) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if give.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    })?;
    let pieces = stream::unfold(take, |mut take| async move { take.recv().await.map(|piece| (piece, take)) });
    Ok(StreamReader::new(Box::pin(pieces)))
}
