//! The link to the manager: dial, greet, stay, and dial again.
//!
//! One task owns the connection. It gives what the manager says to the agent's loop and takes what the loop wants
//! told; both ways through small bounded queues. Streams that the manager opens (exec, logs) get tasks of their own.

mod backoff;
mod mux;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use robo_model::spec::{Assignment, Generation};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{Ack, Hello, ImportsChange, PROTOCOL, Update, Welcome};
use robo_wire::session::{AgentEffect, AgentSession, SessionError};
use robo_wire::stream::Open;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use self::backoff::Backoff;
use crate::dial::{DialError, dial};
use crate::facts::{addresses, facts};
use crate::folders::Folders;
use crate::framing::read_frame;
use crate::order::Addresses;
use crate::runtime::{exec, logs};
use crate::uptime;

/// Messages that may wait between link and loop. The loop is fast; the manager sends few.
pub const QUEUE: usize = 16;

/// Messages that may wait for the link: an update, and an answer to each assignment that came meanwhile.
pub const TELL_QUEUE: usize = 64;

/// A message that does not leave within this time means a dead connection.
const STUCK: Duration = Duration::from_secs(60);

/// How long the first frame of a stream may take.
const OPENING: Duration = Duration::from_secs(20);

/// What the link tells the agent's loop.
#[derive(Debug)]
pub enum FromLink {
    /// Connected and welcomed. `session` tells this connection from earlier ones.
    Up {
        /// Counts connections.
        session: u64,
        /// The machine's addresses; the main one is what the connection leaves from, unless others are configured.
        addresses: Addresses,
        /// What the manager said.
        welcome: Welcome,
    },
    /// A new assignment.
    Assign(Assignment),
    /// What other devices offer moved.
    Imports(ImportsChange),
    /// The update under way is on the manager's disk.
    Stored(Ack),
    /// Disconnected; the link dials again by itself.
    Down,
}

/// What the agent's loop wants told, in this session only.
#[derive(Debug)]
pub struct ToLink {
    /// The session it is for; in a later one it is dropped.
    pub session: u64,
    /// What.
    pub message: Message,
}

/// What can be told.
#[derive(Debug)]
pub enum Message {
    /// States and events; only after `Up`, and after the `Stored` of the one before.
    Update(Update),
    /// An assignment is on disk.
    Accepted(Generation),
    /// An assignment cannot be taken.
    Refused(Generation, String),
}

/// What a link needs.
pub struct Config {
    /// `host:port`.
    pub manager: String,
    /// TLS with our certificate, for the link's protocol.
    pub tls: Arc<ClientConfig>,
    /// The addresses that exports get; where they are fixed.
    pub addresses: Vec<IpAddr>,
    /// Where instances' logs lie.
    pub folders: Folders,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Mux(#[from] yamux::ConnectionError),
    #[error("the manager hung up")]
    HungUp,
    #[error("a message could not be sent for {0:?}")]
    Stuck(Duration),
    #[error("the agent stops")]
    Stopping,
}

/// Keeps a link to the manager until the agent's loop is gone. `generation` is asked at each greeting.
pub async fn run(
    config: Config,
    generation: impl Fn() -> Generation,
    to_loop: mpsc::Sender<FromLink>,
    mut from_loop: mpsc::Receiver<ToLink>,
) {
    let mut backoff = Backoff::default();
    let mut session = 0;
    loop {
        session += 1;
        let connection = Connection { config: &config, session, to_loop: &to_loop };
        let mut was_up = false;
        let error = Box::pin(connection.serve(generation(), &mut from_loop, &mut was_up)).await;
        if matches!(error, LinkError::Stopping) || to_loop.is_closed() {
            return;
        }
        if was_up {
            backoff = Backoff::default();
            if to_loop.send(FromLink::Down).await.is_err() {
                return;
            }
        }
        let wait = backoff.next(fastrand::f64());
        let is_other = matches!(&error, LinkError::Dial(e) if e.is_wrong_authority());
        let hint = if is_other {
            "; the address leads to another manager than the one this device is enrolled at"
        } else {
            ""
        };
        tracing::warn!("link down: {error}{hint}; dialling again in {:.1} s", wait.as_secs_f64());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = to_loop.closed() => return,
        }
    }
}

struct Connection<'a> {
    config: &'a Config,
    session: u64,
    to_loop: &'a mpsc::Sender<FromLink>,
}

type Io = Compat<yamux::Stream>;

impl Connection<'_> {
    async fn serve(
        &self,
        generation: Generation,
        from_loop: &mut mpsc::Receiver<ToLink>,
        was_up: &mut bool,
    ) -> LinkError {
        let socket = match dial(&self.config.manager, Arc::clone(&self.config.tls)).await {
            Ok(socket) => socket,
            Err(error) => return error.into(),
        };
        let local = socket.get_ref().0.local_addr().map(|a| a.ip()).ok();
        let addresses = addresses(&self.config.addresses, local);
        let folders = self.config.folders.clone();
        let (control, drive) =
            mux::multiplex(socket.compat(), move |stream| serve_stream(stream.compat(), folders.clone()));
        let mut drive = std::pin::pin!(drive);
        let talk = async {
            let stream = control.await.map_err(|_| LinkError::HungUp)?.compat();
            let hello =
                Hello { protocol: PROTOCOL, facts: facts(&addresses), generation, assignment: None, imports: None };
            let (machine, first) = AgentSession::start(uptime(), &hello)?;
            let mut talk = Talk { connection: self, machine, stream, addresses: &addresses, was_up };
            talk.carry_out(first).await?;
            talk.run(from_loop).await
        };
        let ended = tokio::select! {
            ended = &mut drive => ended.map_err(LinkError::from).and(Err(LinkError::HungUp)),
            ended = talk => ended,
        };
        match ended {
            Ok(()) => LinkError::HungUp,
            Err(error) => error,
        }
    }
}

/// The control stream of one connection.
struct Talk<'a> {
    connection: &'a Connection<'a>,
    machine: AgentSession,
    stream: Io,
    addresses: &'a Addresses,
    was_up: &'a mut bool,
}

impl Talk<'_> {
    async fn run(&mut self, from_loop: &mut mpsc::Receiver<ToLink>) -> Result<(), LinkError> {
        let mut buffer = Vec::new();
        loop {
            while let Some(frame) = frame::take(&mut buffer, MAX_CONTROL_FRAME).map_err(SessionError::from)? {
                if let Some(effect) = self.machine.frame(uptime(), &frame)? {
                    self.carry_out(effect).await?;
                }
            }
            let wait = Duration::from_millis(self.machine.wake_at().since(uptime()).0);
            tokio::select! {
                // What was said while the loop kept us waiting counts before the clock does.
                biased;
                read = self.stream.read_buf(&mut buffer) => if read? == 0 {
                    return Err(LinkError::HungUp);
                },
                told = from_loop.recv() => self.tell(told.ok_or(LinkError::Stopping)?).await?,
                () = tokio::time::sleep(wait) => if let Some(effect) = self.machine.tick(uptime())? {
                    self.carry_out(effect).await?;
                },
            }
        }
    }

    async fn tell(&mut self, told: ToLink) -> Result<(), LinkError> {
        if told.session != self.connection.session {
            return Ok(());
        }
        let effect = match told.message {
            Message::Update(update) => self.machine.update(uptime(), update)?,
            Message::Accepted(generation) => self.machine.accepted(uptime(), generation).map_err(SessionError::from)?,
            Message::Refused(generation, reason) => {
                self.machine.refused(uptime(), generation, reason).map_err(SessionError::from)?
            }
        };
        self.carry_out(effect).await
    }

    async fn carry_out(&mut self, effect: AgentEffect) -> Result<(), LinkError> {
        let message = match effect {
            AgentEffect::Send(bytes) => return self.send(&bytes).await,
            AgentEffect::Up(welcome) => {
                *self.was_up = true;
                tracing::info!(name = %welcome.name, manager = %self.connection.config.manager, "link up");
                FromLink::Up { session: self.connection.session, addresses: self.addresses.clone(), welcome }
            }
            AgentEffect::Assign(assignment) => FromLink::Assign(assignment),
            AgentEffect::Imports(change) => FromLink::Imports(change),
            AgentEffect::Stored(ack) => FromLink::Stored(ack),
            AgentEffect::Released(_) | AgentEffect::Act(_) => return Ok(()),
        };
        self.connection.to_loop.send(message).await.map_err(|_| LinkError::Stopping)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(STUCK, write).await.map_err(|_| LinkError::Stuck(STUCK))??;
        Ok(())
    }
}

/// Serves a stream that the manager opened.
async fn serve_stream(mut stream: Io, folders: Folders) {
    let opened = tokio::time::timeout(OPENING, read_frame(&mut stream, frame::MAX_STREAM_FRAME)).await;
    let Ok(Ok(Some(first))) = opened else { return };
    match Open::decode(&first) {
        Ok(Open::Exec(command)) => exec::exec(command, stream).await,
        Ok(Open::Logs(open)) => logs::logs(folders, open, stream).await,
        Err(error) => tracing::warn!(%error, "the manager opened a stream that this agent does not know"),
    }
}
