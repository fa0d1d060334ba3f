//! The other way round: the device listens, and its connections come out here.

use std::collections::{HashSet, VecDeque};

use robo_agent::forward::shared::Socket;
use robo_wire::forward::{Accepted, Broken, BrokenKind, FlowId, ForwardFrame, Target, Wish};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::flow::{FlowError, Line, Way, new_id};
use super::spec::Spec;
use super::{MAX_CONNECTIONS, carry, gone, tell};
use crate::error::CliError;
use crate::output::Ui;

/// Connections that are remembered: the device tells the last ones again after a cut. More than it tells.
const MAX_REMEMBERED: usize = 256;

/// A place where a device listens for us.
pub(super) struct Reverse {
    way: Way,
    id: FlowId,
    line: Line,
    target: Target,
    ui: Ui,
    known: Known,
}

/// The connections that were told already.
#[derive(Default)]
struct Known {
    order: VecDeque<FlowId>,
    all: HashSet<FlowId>,
}

impl Known {
    /// True the first time.
    fn is_new(&mut self, id: FlowId) -> bool {
        if !self.all.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

/// What happened.
enum Event {
    Accepted(Accepted),
    Broken(Broken),
    Cut,
    Other,
    Stop,
}

impl Reverse {
    /// Has the device listen, and tells where.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) async fn begin(way: Way, spec: Spec, ui: Ui) -> Result<Self, CliError> {
        let id = new_id()?;
        let line = way.begin(id, Wish::Listen(spec.place.clone())).await?;
        let port = line.opened.port.unwrap_or(spec.place.port);
        let at = Target::Tcp { host: spec.place.host.clone(), port };
        tell(&ui, &at.to_string(), &spec, true)?;
        Ok(Self { way, id, line, target: spec.target, ui, known: Known::default() })
    }

    /// Serves until `stop` is called.
    ///
    /// # Errors
    /// When the device does not listen any more.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), CliError> {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            match self.next(&stop).await {
                Event::Accepted(accepted) if self.known.is_new(accepted.flow) && tasks.len() < MAX_CONNECTIONS => {
                    let connection =
                        Connection { way: self.way.clone(), target: self.target.clone(), ui: self.ui.clone() };
                    tasks.spawn(connection.run(accepted, stop.clone()));
                }
                Event::Accepted(_) | Event::Other => {}
                Event::Broken(broken) => return Err(FlowError::from(broken).into()),
                Event::Cut => {
                    tracing::info!("cut off from {}, which goes on listening; coming back", self.way.device);
                    let back = tokio::select! {
                        back = self.way.come_back(self.id, || 0) => back,
                        () = stop.cancelled() => break,
                    };
                    self.line = back?;
                }
                Event::Stop => {
                    self.line.give_up(gone()).await;
                    break;
                }
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn next(&mut self, stop: &CancellationToken) -> Event {
        tokio::select! {
            frame = self.line.next() => match frame {
                Ok(Some(ForwardFrame::Accepted(accepted))) => Event::Accepted(accepted),
                Ok(Some(ForwardFrame::Broken(broken))) => Event::Broken(broken),
                Ok(Some(_)) => Event::Other,
                Ok(None) | Err(_) => Event::Cut,
            },
            () = stop.cancelled() => Event::Stop,
        }
    }
}

/// A connection that came to the device.
struct Connection {
    way: Way,
    target: Target,
    ui: Ui,
}

impl Connection {
    async fn run(self, accepted: Accepted, stop: CancellationToken) {
        let Self { way, target, ui } = &self;
        tracing::info!("{} {}: to {target}", way.device, accepted.from);
        let line = match way.come_back(accepted.flow, || 0).await {
            Ok(line) => line,
            Err(error) => return tracing::info!("{} {}: gone again: {error}", way.device, accepted.from),
        };
        let connected: std::io::Result<Socket> = connect(target).await;
        match connected {
            Ok(socket) => carry(way, (accepted.flow, line), socket, &stop).await,
            Err(error) => {
                ui.note(format!("{target} cannot be reached from here: {error}"));
                let reason = format!("{target} cannot be reached from where it is forwarded to: {error}");
                line.give_up(Broken::new(BrokenKind::Refused, reason)).await;
            }
        }
        tracing::info!("{} {}: closed", way.device, accepted.from);
    }
}

async fn connect(target: &Target) -> std::io::Result<Socket> {
    Ok(match target {
        Target::Tcp { host, port } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            Socket::Tcp(socket)
        }
        Target::Unix { path } => Socket::Unix(UnixStream::connect(path).await?),
    })
}
