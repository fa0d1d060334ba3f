//! The link to the manager: dial, carry bytes, and dial again.
//!
//! One task owns the connection. It gives the frames that come to the agent's loop, and sends what the loop gives it;
//! what they mean is the business of [`crate::pilot`]. Both ways go through small bounded queues. Streams that the
//! manager opens (exec, logs, shells, forwards) get tasks of their own.

mod mux;
mod network;
pub mod rotate;
mod talk;
mod thrifty;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use robo_model::spec::InstanceKey;
use robo_wire::backoff::Backoff;
use robo_wire::copy::CopyFrame;
use robo_wire::frame::{self, Frame, FrameError};
use robo_wire::health::HealthOpen;
use robo_wire::job::RunOpen;
use robo_wire::log_files::LogFilesOpen;
use robo_wire::shell::ShellOpen;
use robo_wire::stream::{Open, StreamFrame, Verdict};
use robo_wire::switch::Subsystem;
use robo_wire::tail::TailFrame;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use self::network::Network;
use self::rotate::{KEYS_LIVE, Rotating};
use self::talk::{LAST_WORDS, Talk};
use self::thrifty::Thrifty;
use crate::collect;
use crate::copy;
use crate::credentials::Credentials;
use crate::dial::{DialError, Route, dial};
use crate::folders::Folders;
use crate::forward::Forwards;
use crate::framing::{read_frame, write_frame};
use crate::health::{self, Whole};
use crate::parts::{LINK, Parts};
use crate::pilot::HangUp;
use crate::runs::Runs;
use crate::runtime::{Place, exec, logs};
use crate::shell::Shells;
use crate::ssh::keys;
use crate::switches::Switches;
use crate::tail::{self, listing};
use crate::upgrade::Upgrades;

/// Messages that may wait between link and loop. The loop is fast; the manager sends few.
pub const QUEUE: usize = 16;

/// Messages that may wait for a connection: an update, and an answer to each message that came meanwhile.
const SAY_QUEUE: usize = 64;

/// How long the first frame of a stream may take.
const OPENING: Duration = Duration::from_secs(20);

/// What the link tells the agent's loop. Between one `Open` and its `Closed` comes nothing of another connection.
#[derive(Debug)]
pub enum FromLink {
    /// There is a connection.
    Open {
        /// The address that it leaves from.
        address: Option<IpAddr>,
        /// Where what is to be said goes.
        say: mpsc::Sender<Say>,
    },
    /// The manager sent this on it.
    Frame(Frame),
    /// A part of a message came; a large one takes a while on a narrow line. Told now and then.
    Heard,
    /// The machine's addresses or routes changed; the way to the manager is the same.
    Network,
    /// Somebody wants to run something where this instance runs.
    Place {
        /// Which.
        key: InstanceKey,
        /// Where it is told, or why that cannot be.
        answer: oneshot::Sender<Result<Place, String>>,
    },
    /// It is over; the link dials again by itself.
    Closed,
}

/// What the agent's loop tells a connection. When its sender is dropped, the connection is closed.
#[derive(Debug)]
pub enum Say {
    /// Send these bytes on the control stream.
    Bytes(Vec<u8>),
    /// The manager welcomed us: the next dialling begins without delay.
    Welcomed,
    /// It is of no use any more: close it.
    HangUp(HangUp),
}

/// What a link needs.
pub struct Config {
    /// A program whose `main` asks [`crate::as_helper`].
    pub exe: Arc<Path>,
    /// The way to the manager.
    pub route: Route,
    /// TLS with our certificate.
    pub credentials: Arc<Credentials>,
    /// Where instances' logs lie.
    pub folders: Folders,
    /// Where what instances print is copied to, if it is.
    pub log_backup: Option<PathBuf>,
    /// The sessions of people: they outlive the link.
    pub shells: Shells,
    /// The commands of jobs: they do too.
    pub runs: Runs,
    /// The user that commands and shells run as where they name none.
    pub exec_user: Option<String>,
    /// Connections through the device: they outlive the link too.
    pub forwards: Forwards,
    /// What of all this is off.
    pub switches: Switches,
    /// How the agent's parts are.
    pub parts: Parts,
    /// Other programs for this agent.
    pub(crate) upgrades: Upgrades,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    HangUp(HangUp),
    #[error("the manager does not speak the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Mux(#[from] yamux::ConnectionError),
    #[error("the way to the manager leaves from {now} now, and no longer from {before}")]
    Moved { before: IpAddr, now: IpAddr },
    #[error("the manager hung up")]
    HungUp,
    #[error("nothing of a message could be sent for {0:?}")]
    Stuck(Duration),
    #[error("it takes too long to send what is to be said")]
    Slow,
    #[error("the agent stops")]
    Stopping,
}

/// Keeps a link to the manager until the agent's loop is gone, and ends what is switched off.
pub async fn run(config: Config, to_loop: mpsc::Sender<FromLink>) {
    tokio::select! {
        () = keep(&config, to_loop) => {}
        never = enforce(&config) => match never {},
    }
}

/// Closes what is off to everybody, and opens what is on again.
async fn enforce(config: &Config) -> Infallible {
    let mut before = BTreeSet::new();
    loop {
        let off = config.switches.next_off(&before).await;
        let why = |subsystem| off.iter().find(|(one, _)| *one == subsystem).map(|(_, reason)| reason.clone());
        config.runs.close(why(Subsystem::Exec));
        config.shells.close(why(Subsystem::Shell));
        config.forwards.close(why(Subsystem::Forward));
        before = off.iter().map(|(one, _)| *one).collect();
    }
}

async fn keep(config: &Config, to_loop: mpsc::Sender<FromLink>) {
    let mut backoff = Backoff::default();
    let mut network = Network::watch();
    loop {
        let ways = network::ways();
        let mut connection =
            Connection { config, to_loop: &to_loop, network: &mut network, opened: false, welcomed: false };
        let error = Box::pin(connection.serve()).await;
        let (opened, welcomed) = (connection.opened, connection.welcomed);
        if matches!(error, LinkError::Stopping) || to_loop.is_closed() {
            return;
        }
        if opened && to_loop.send(FromLink::Closed).await.is_err() {
            return;
        }
        if welcomed {
            backoff = Backoff::default();
        }
        config.parts.fails(LINK, &error);
        let wait = backoff.next(fastrand::f64());
        let is_other = matches!(&error, LinkError::Dial(e) if e.is_wrong_authority());
        let hint = if is_other {
            "; the address leads to another manager than the one this device is enrolled at"
        } else {
            ""
        };
        let code = if let LinkError::Dial(error) = &error { format!(" ({})", error.code()) } else { String::new() };
        tracing::warn!("link down{code}: {error}{hint}; dialling again in {:.1} s", wait.as_secs_f64());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // There may be a network again.
            () = network.other_ways(&ways) => {}
            () = to_loop.closed() => return,
        }
    }
}

struct Connection<'a> {
    config: &'a Config,
    to_loop: &'a mpsc::Sender<FromLink>,
    network: &'a mut Network,
    /// True once the loop knows of it.
    opened: bool,
    /// True once the manager welcomed us.
    welcomed: bool,
}

type Io = Compat<yamux::Stream>;

impl Connection<'_> {
    async fn serve(&mut self) -> LinkError {
        let socket = match dial(&self.config.route, self.config.credentials.link()).await {
            Ok(socket) => socket,
            Err(error) => return error.into(),
        };
        let tcp = socket.get_ref().0.tcp();
        let address = tcp.local_addr().ok().map(|local| local.ip());
        let peer = tcp.peer_addr().ok();
        let served = Served {
            exe: Arc::clone(&self.config.exe),
            route: self.config.route.clone(),
            folders: self.config.folders.clone(),
            log_backup: self.config.log_backup.clone(),
            shells: self.config.shells.clone(),
            exec_user: self.config.exec_user.clone(),
            runs: self.config.runs.clone(),
            forwards: self.config.forwards.clone(),
            parts: self.config.parts.clone(),
            upgrades: self.config.upgrades.clone(),
            switches: self.config.switches.clone(),
            to_loop: self.to_loop.clone(),
        };
        let socket = Thrifty::new(Rotating::new(socket, KEYS_LIVE));
        let (control, drive) =
            mux::multiplex(socket.compat(), move |stream| serve_stream(stream.compat(), served.clone()));
        let mut drive = std::pin::pin!(drive);
        let Self { config: _, to_loop, network, opened, welcomed } = self;
        let talk = async {
            let stream = control.await.map_err(|_| LinkError::HungUp)?.compat();
            *opened = true;
            talk(to_loop, welcomed, stream, address).await
        };
        let moved = async {
            loop {
                network.changed().await;
                if let Some((before, peer)) = address.zip(peer)
                    && let Some(now) = network::leaves_elsewhere(before, peer)
                {
                    return LinkError::Moved { before, now };
                }
                // A loop that is gone ends the link by other ways.
                drop(to_loop.send(FromLink::Network).await);
            }
        };
        let mut talk = std::pin::pin!(talk);
        let ended = tokio::select! {
            ended = &mut drive => match timeout(LAST_WORDS * 2, &mut talk).await {
                Ok(Err(LinkError::HangUp(why))) => Err(LinkError::HangUp(why)),
                Ok(_) | Err(_) => ended.map_err(LinkError::from).and(Err(LinkError::HungUp)),
            },
            ended = &mut talk => ended,
            moved = moved => Err(moved),
        };
        match ended {
            Ok(()) => LinkError::HungUp,
            Err(error) => error,
        }
    }
}

async fn talk(
    to_loop: &mpsc::Sender<FromLink>,
    welcomed: &mut bool,
    stream: Io,
    address: Option<IpAddr>,
) -> Result<(), LinkError> {
    let (say, to_say) = mpsc::channel(SAY_QUEUE);
    let opened = FromLink::Open { address, say };
    to_loop.send(opened).await.map_err(|_| LinkError::Stopping)?;
    Talk::new(stream, to_loop, welcomed).run(to_say).await
}

/// What streams are about.
#[derive(Clone)]
struct Served {
    exe: Arc<Path>,
    route: Route,
    folders: Folders,
    log_backup: Option<PathBuf>,
    shells: Shells,
    runs: Runs,
    exec_user: Option<String>,
    forwards: Forwards,
    parts: Parts,
    upgrades: Upgrades,
    switches: Switches,
    to_loop: mpsc::Sender<FromLink>,
}

impl Served {
    /// What of people goes on here, and ends with the agent.
    fn counts(&self) -> [(&'static str, usize); 3] {
        [("shells", self.shells.count()), ("commands", self.runs.count()), ("forwards", self.forwards.count())]
    }

    /// The same in words; nothing where nobody is there.
    fn busy(&self) -> Option<String> {
        let all = self.counts().into_iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = all.map(|(name, count)| format!("{count} of {name}")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Where an instance runs.
    async fn place(&self, key: Option<&InstanceKey>) -> Result<Option<Place>, String> {
        // What goes on needs no place any more.
        let Some(key) = key.cloned() else { return Ok(None) };
        let stops = || "the agent stops".to_owned();
        let (answer, told) = oneshot::channel();
        self.to_loop.send(FromLink::Place { key, answer }).await.map_err(|_| stops())?;
        told.await.map_err(|_| stops())?.map(Some)
    }

    /// All that is told of how this device is.
    fn whole(self) -> Whole {
        let parts = self.switches.mark(self.parts.all(&self.counts()), self.parts.began());
        Whole { parts, route: self.route, folders: self.folders }
    }
}

/// What runs as `user`, unless it says as whom.
fn as_user(open: Open, user: Option<&String>) -> Open {
    // What is within an instance is so whatever it came as.
    let mut open = match open {
        Open::Run(open) | Open::RunWithin(open) => Open::from(open),
        Open::Shell(open) | Open::ShellWithin(open) => Open::from(open),
        other @ (Open::Exec(_)
        | Open::Logs(_)
        | Open::Copy(_)
        | Open::Forward(_)
        | Open::Tail(_)
        | Open::Collect(_)
        | Open::Health(_)
        | Open::SshKeys(_)
        | Open::Upgrade(_)
        | Open::LogFiles(_)) => other,
    };
    let own = match &mut open {
        Open::Exec(command) => Some(&mut command.user),
        Open::Run(run) => run.start.as_mut().map(|start| &mut start.command.user),
        Open::Shell(shell) => shell.start.as_mut().map(|start| &mut start.user),
        Open::SshKeys(keys) => Some(&mut keys.user),
        // Copies and sockets are the agent's own doing: the manager asks for more before it opens one.
        Open::Logs(_)
        | Open::Copy(_)
        | Open::Forward(_)
        | Open::Tail(_)
        | Open::Collect(_)
        | Open::Health(_)
        | Open::Upgrade(_)
        | Open::LogFiles(_) => None,
        // Within an instance it is that one's user.
        Open::RunWithin(_) | Open::ShellWithin(_) => None,
    };
    if let Some(own @ None) = own {
        *own = user.cloned();
    }
    open
}

/// Serves a stream that the manager opened.
async fn serve_stream(mut stream: Io, served: Served) {
    let opened = timeout(OPENING, read_frame(&mut stream, frame::MAX_STREAM_FRAME)).await;
    let Ok(Ok(Some(first))) = opened else { return };
    let open = match Open::decode(&first) {
        Ok(open) => as_user(open, served.exec_user.as_ref()),
        Err(error) => return tracing::warn!(%error, "the manager opened a stream that this agent does not know"),
    };
    let Some(subsystem) = Subsystem::of(&open) else { return serve_open(open, stream, served).await };
    let switches = served.switches.clone();
    if let Some(reason) = switches.refusal(subsystem) {
        return refuse(open, reason, stream, &served).await;
    }
    let outlives = matches!(subsystem, Subsystem::Exec | Subsystem::Shell | Subsystem::Forward);
    tokio::select! {
        () = Box::pin(serve_open(open, stream, served)) => {}
        // What outlives its stream says over it why it ends.
        reason = switches.until_off(subsystem), if !outlives => tracing::info!(reason, "a stream is ended"),
    }
}

async fn serve_open(open: Open, stream: Io, served: Served) {
    match open {
        // Of older managers: it ends with its stream.
        Open::Exec(command) => tokio::select! {
            () = exec::exec(command, stream) => {}
            reason = served.switches.until_off(Subsystem::Exec) => tracing::info!(reason, "a command is ended"),
        },
        Open::Logs(open) => logs::logs(served.folders, open, stream).await,
        Open::Shell(open) => served.shells.serve(open, None, stream).await,
        Open::Copy(open) => Box::pin(copy::serve(open, stream)).await,
        Open::Run(open) => served.runs.serve(open, None, stream).await,
        Open::RunWithin(open) => run_within(open, &served, stream).await,
        Open::ShellWithin(open) => shell_within(open, &served, stream).await,
        Open::Forward(open) => served.forwards.serve(open, stream).await,
        Open::Tail(open) => Box::pin(tail::serve(served.folders, open, stream)).await,
        Open::Collect(open) => Box::pin(collect::serve(served.folders, served.route, open, stream)).await,
        Open::Health(HealthOpen {}) => Box::pin(health::serve(served.whole(), stream)).await,
        Open::SshKeys(open) => Box::pin(keys::serve(&served.exe, open, stream)).await,
        Open::LogFiles(LogFilesOpen {}) => listing::serve(served.folders, served.log_backup, stream).await,
        Open::Upgrade(open) => {
            let (upgrades, busy) = (served.upgrades.clone(), served.busy());
            Box::pin(upgrades.serve(open, busy, stream)).await;
        }
    }
}

/// Answers a stream for what is off. Whoever comes back to what has ended for that reason still hears of its end.
async fn refuse(open: Open, reason: String, mut stream: Io, served: &Served) {
    tracing::info!(reason, "a stream is refused");
    let verdict = Verdict::Refused { reason: reason.clone() };
    let frame = match open {
        Open::Run(open) | Open::RunWithin(open) => return served.runs.refuse(open, reason, stream).await,
        Open::Shell(open) | Open::ShellWithin(open) => return served.shells.refuse(open, reason, stream).await,
        Open::Forward(open) => {
            // It may not have heard yet that it is to refuse.
            served.forwards.close(Some(reason));
            return served.forwards.serve(open, stream).await;
        }
        Open::Copy(_) => CopyFrame::Verdict(verdict).encode(),
        Open::Tail(_) => TailFrame::Verdict(verdict).encode(),
        Open::Exec(_)
        | Open::Logs(_)
        | Open::Collect(_)
        | Open::Health(_)
        | Open::SshKeys(_)
        | Open::Upgrade(_)
        | Open::LogFiles(_) => StreamFrame::Verdict(verdict).encode(),
    };
    if let Ok(frame) = frame {
        // A peer that is gone needs none.
        write_frame(&mut stream, &frame).await.ok();
    }
    stream.shutdown().await.ok();
}

/// As a run, where an instance runs.
async fn run_within(open: RunOpen, served: &Served, stream: Io) {
    let key = open.start.as_ref().and_then(|start| start.command.within.as_ref());
    match served.place(key).await {
        Ok(place) => served.runs.serve(open, place, stream).await,
        Err(reason) => served.runs.refuse(open, reason, stream).await,
    }
}

/// As a shell, where an instance runs.
async fn shell_within(open: ShellOpen, served: &Served, stream: Io) {
    let key = open.start.as_ref().and_then(|start| start.within.as_ref());
    match served.place(key).await {
        Ok(place) => served.shells.serve(open, place, stream).await,
        Err(reason) => served.shells.refuse(open, reason, stream).await,
    }
}
