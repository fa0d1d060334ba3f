//! `robo forward`: ports of devices on this machine, and the other way round.

mod flow;
mod reverse;
mod spec;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use robo_agent::forward::shared::{Shared, Socket};
use robo_model::name::DeviceName;
use robo_wire::forward::{Broken, BrokenKind, FlowId, Target, Wish};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::Ui;
use crate::service::StopSignals;

pub(crate) use flow::{FlowError, Line, Way, new_id};
use spec::Spec;

/// Most connections at a time of one command; more would only be refused by the device.
const MAX_CONNECTIONS: usize = 256;

/// Pause after a connection could not be accepted, so that a lasting cause does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the ends of connections may take when the command ends.
const GRACE: Duration = Duration::from_secs(3);

/// Makes ports of devices reachable here, or ports here reachable on devices.
///
/// Listens on this machine, and each connection comes out at the device, as if it were made there: to the device itself
/// where no HOST is given. A cut of the network costs an open connection nothing but time, up to two minutes. With
/// `--reverse` the device listens, and connections come out here. It goes on until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo forward 8080:device-42:80                      http://localhost:8080 is the device's web server
  robo forward 0:device-42:5432                       any free port; which one is printed
  robo forward 8080:a:80 8081:b:80                    several at once
  robo forward 9090:device-42:camera.local:80         what the device reaches, if its agent allows it
  robo forward 2375:device-42:/run/docker.sock        a socket in its file system
  robo forward --reverse 3000:device-42:3000          the device reaches your port 3000 as its own")]
pub(crate) struct ForwardArgs {
    /// What to forward; HOST is 127.0.0.1 where it is left out, and PORT at the end may be the path of a socket.
    #[arg(value_name = "[BIND:]PORT:DEVICE:[HOST:]PORT", required = true, num_args = 1.., value_parser = Spec::parse)]
    forwards: Vec<Spec>,
    /// The device listens, and connections come out here.
    #[arg(long, short = 'R')]
    reverse: bool,
}

/// One forward, as it is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    listen: String,
    device: &'a DeviceName,
    target: String,
    reverse: bool,
}

pub(crate) async fn run(args: ForwardArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    let mut signals = StopSignals::catch()?;
    let stop = CancellationToken::new();
    let work = work(args, &client, &env.ui, &stop);
    let mut work = std::pin::pin!(work);
    tokio::select! {
        ended = &mut work => ended.map(|()| Exit::Done),
        () = signals.next() => {
            env.ui.after_interrupt();
            stop.cancel();
            // What was open is told to end; whoever does not hear it in time finds out by itself.
            match timeout(GRACE, work).await {
                Ok(ended) => ended.map(|()| Exit::Interrupted),
                Err(_) => Ok(Exit::Interrupted),
            }
        }
    }
}

async fn work(args: ForwardArgs, client: &Client, ui: &Ui, stop: &CancellationToken) -> Result<(), CliError> {
    tokio::select! {
        looked = look(&args, client, ui) => looked?,
        () = stop.cancelled() => return Ok(()),
    }
    let mut tasks = JoinSet::new();
    for spec in args.forwards {
        let way = Way { client: client.clone(), device: spec.device.clone() };
        if args.reverse {
            let begun = tokio::select! {
                begun = reverse::Reverse::begin(way, spec, ui.clone()) => begun?,
                () = stop.cancelled() => break,
            };
            tasks.spawn(begun.run(stop.clone()));
        } else {
            let listener = listen(&spec).await?;
            let at =
                listener.local_addr().map_err(|error| CliError::new(format!("a port without address: {error}")))?;
            tell(ui, &at.to_string(), &spec, false)?;
            let forward = Forward { way, target: spec.target, ui: ui.clone() };
            tasks.spawn(forward.serve(listener, stop.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| CliError::new(format!("a forward ended: {error}")))??;
    }
    Ok(())
}

/// Devices that there are not, and devices that are not there, are told at once and not at the first connection.
async fn look(args: &ForwardArgs, client: &Client, ui: &Ui) -> Result<(), CliError> {
    let devices: BTreeSet<&DeviceName> = args.forwards.iter().map(|spec| &spec.device).collect();
    for name in devices {
        if !client.device(name).await?.online && !args.reverse {
            ui.note(format!("{name} is offline; connections work when it is back"));
        }
    }
    Ok(())
}

fn tell(ui: &Ui, listen: &str, spec: &Spec, reverse: bool) -> Result<(), CliError> {
    let (device, target) = (&spec.device, spec.target.to_string());
    if ui.is_machine() {
        return ui.element(&Told { listen: listen.to_owned(), device, target, reverse });
    }
    match (ui.format, reverse) {
        (Format::Name, _) => ui.line(listen),
        (_, false) => ui.line(format!("{listen} -> {device} {target}")),
        (_, true) => ui.line(format!("{device} {listen} -> {target}")),
    }
}

async fn listen(spec: &Spec) -> Result<TcpListener, CliError> {
    let place = &spec.place;
    TcpListener::bind((place.host.as_str(), place.port)).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return CliError::new(format!("{place} is in use already"))
                .help(format!("see who has it: `ss -ltnp 'sport = :{}'`", place.port))
                .help("or write another port; 0 takes any that is free");
        }
        let error = CliError::new(format!("cannot listen at {place}: {error}"));
        if place.port > 0 && place.port < 1024 { error.help("take a port from 1024 on") } else { error }
    })
}

/// A port here whose connections come out at a device.
struct Forward {
    way: Way,
    target: Target,
    ui: Ui,
}

impl Forward {
    async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<(), CliError> {
        let forward = Arc::new(self);
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept(), if tasks.len() < MAX_CONNECTIONS => accepted,
                Some(_) = tasks.join_next() => continue,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((socket, from)) => {
                    let (forward, stop) = (Arc::clone(&forward), stop.clone());
                    tasks.spawn(async move {
                        tracing::info!("{from}: to {} {}", forward.way.device, forward.target);
                        if let Err(error) = forward.connection(socket, &stop).await {
                            forward.say(&error);
                        }
                        tracing::info!("{from}: closed");
                    });
                }
                Err(error) => {
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    fn say(&self, error: &FlowError) {
        self.ui.note(format!("{} {}: {error}", self.way.device, self.target));
    }

    async fn connection(&self, socket: TcpStream, stop: &CancellationToken) -> Result<(), FlowError> {
        // What is typed must not wait.
        socket.set_nodelay(true).map_err(|error| FlowError::Other(error.to_string()))?;
        let begun = tokio::select! {
            begun = begin(&self.way, &self.target) => begun,
            () = stop.cancelled() => return Ok(()),
        };
        match begun {
            Ok((id, line)) => {
                carry(&self.way, (id, line), Socket::Tcp(socket), stop).await;
                Ok(())
            }
            Err(error) => {
                // Whoever connected sees that nothing is there, and not that something said nothing.
                socket.set_zero_linger().ok();
                Err(error)
            }
        }
    }
}

/// Has the device connect.
///
/// # Errors
/// Why it cannot.
pub(crate) async fn begin(way: &Way, target: &Target) -> Result<(FlowId, Line), FlowError> {
    let id = new_id()?;
    Ok((id, way.begin(id, Wish::Connect(target.clone())).await?))
}

/// Carries a flow between its socket here and its device, until it ends or `stop` is called.
async fn carry(way: &Way, (id, line): (FlowId, Line), socket: Socket, stop: &CancellationToken) {
    let shared = Shared::default();
    let ending = async {
        stop.cancelled().await;
        shared.break_off(gone());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = async { tokio::join!(shared.carry(socket), way.carry(id, line, &shared)) } => {}
        () = ending => {}
    }
    let broken = shared.look().broken.clone();
    if let Some(broken) = broken.filter(|broken| broken.kind != BrokenKind::Ended) {
        tracing::info!("a connection through {} broke: {broken}", way.device);
    }
}

/// What the other end is told when this one is not wanted any more.
pub(crate) fn gone() -> Broken {
    Broken::new(BrokenKind::Ended, "whoever forwarded it has ended that")
}
