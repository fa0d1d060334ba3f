//! One end of a flow between its socket and its streams: whoever changes it says so, and the others look.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use robo_wire::forward::flow::{Flow, ToSocket};
use robo_wire::forward::{Accepted, Broken, BrokenKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Bytes read from a socket, or written to one, at a time.
const PIECE: usize = 32 * 1024;

/// The last connections that came to a place to listen at: who comes back after a cut may not have heard of them. As many
/// as there may be flows.
const MAX_ACCEPTED: usize = super::MAX_FLOWS;

/// A socket of any kind.
pub enum Socket {
    /// Of a port.
    Tcp(TcpStream),
    /// In the file system.
    Unix(UnixStream),
}

/// One end of a flow.
pub struct Shared {
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

/// Where it stands.
pub struct State {
    /// What is under way.
    pub flow: Flow,
    /// Its socket is there; the port where it listens.
    pub(super) opened: Option<Option<u16>>,
    /// Why it is no more.
    pub broken: Option<Broken>,
    /// The other end knows of that.
    pub(super) is_told: bool,
    /// The number of the stream that it goes over, 0 for none. A newer one takes the place of an older one.
    pub(super) stream: u64,
    streams: u64,
    absent_since: Option<Instant>,
    /// How many connections came before the first of `accepted`.
    accepted_before: u64,
    accepted: VecDeque<Accepted>,
}

impl Default for Shared {
    fn default() -> Self {
        let state = State {
            flow: Flow::default(),
            opened: None,
            broken: None,
            is_told: false,
            stream: 0,
            streams: 0,
            absent_since: Some(Instant::now()),
            accepted_before: 0,
            accepted: VecDeque::new(),
        };
        Self { state: Mutex::new(state), moved: watch::Sender::new(()) }
    }
}

impl State {
    /// Its socket is there.
    pub(super) const fn open(&mut self, port: Option<u16>) {
        self.opened = Some(port);
    }

    /// A stream takes over; its number.
    pub(super) const fn attach(&mut self) -> u64 {
        self.streams += 1;
        self.stream = self.streams;
        self.absent_since = None;
        self.stream
    }

    /// A stream has ended.
    pub(super) fn detach(&mut self, stream: u64) {
        if self.stream == stream {
            self.stream = 0;
            self.absent_since = Some(Instant::now());
        }
    }

    /// A connection came.
    pub(super) fn accepted(&mut self, accepted: Accepted) {
        self.accepted.push_back(accepted);
        if self.accepted.len() > MAX_ACCEPTED {
            self.accepted.pop_front();
            self.accepted_before += 1;
        }
    }

    /// The next connection after so many, and how many that makes.
    pub(super) fn next_accepted(&self, after: u64) -> Option<(u64, Accepted)> {
        let skip = after.saturating_sub(self.accepted_before);
        let next = self.accepted.get(usize::try_from(skip).ok()?)?;
        Some((self.accepted_before + skip + 1, next.clone()))
    }
}

impl Shared {
    /// The state, to look at.
    pub fn look(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes who waits for that.
    pub fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let done = with(&mut self.look());
        self.moved.send_replace(());
        done
    }

    /// Wakes at each change from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// It is no more. The first reason is the one that counts.
    pub fn break_off(&self, broken: Broken) {
        self.change(|state| {
            state.broken.get_or_insert(broken);
        });
    }

    /// Waits until `is_so`.
    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let mut moved = self.watch();
        while !is_so(&self.look()) {
            // The sender is in `self`.
            moved.changed().await.ok();
        }
    }

    /// Waits until everything has arrived, or it is broken.
    pub async fn until_over(&self) {
        self.until(|state| state.broken.is_some() || state.flow.is_done()).await;
    }

    /// Waits until everything that will ever come is in the socket.
    pub async fn until_closed(&self) {
        self.until(|state| state.flow.is_closed()).await;
    }

    /// Waits until it is broken.
    pub async fn until_broken(&self) {
        self.until(|state| state.broken.is_some()).await;
    }

    /// Waits until the other end knows that it is broken.
    pub(super) async fn until_told(&self) {
        self.until(|state| state.is_told).await;
    }

    /// Waits until no stream was there for so long.
    pub(super) async fn until_abandoned(&self, keep: Duration) {
        let mut moved = self.watch();
        loop {
            moved.borrow_and_update();
            let since = self.look().absent_since;
            let over = async {
                match since {
                    Some(since) => sleep_until(since + keep).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // The sender is in `self`.
                _ = moved.changed() => {}
            }
        }
    }

    /// Carries everything between the flow and its socket, until both directions have ended there or the flow is broken;
    /// then the socket is reset.
    pub async fn carry(&self, socket: Socket) {
        match socket {
            Socket::Tcp(mut socket) => {
                let (reader, writer) = socket.split();
                self.pump(reader, writer).await;
                if self.look().broken.is_some() {
                    // Whoever is there must not take what came for the whole. A socket that is gone needs no reset.
                    socket.set_zero_linger().ok();
                }
            }
            Socket::Unix(mut socket) => {
                let (reader, writer) = socket.split();
                self.pump(reader, writer).await;
            }
        }
    }

    /// The same, between any two ends.
    pub async fn pump(&self, reader: impl AsyncRead + Unpin, writer: impl AsyncWrite + Unpin) {
        let both = async {
            tokio::join!(self.take_in(reader), self.give_out(writer));
        };
        tokio::select! {
            () = both => {}
            () = self.until_broken() => {}
        }
    }

    /// Takes what comes out of the socket.
    async fn take_in(&self, mut reader: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; PIECE];
        loop {
            self.until(|state| state.flow.room() > 0).await;
            let room = self.look().flow.room().min(PIECE);
            let read = reader.read(buffer.get_mut(..room).unwrap_or_default()).await;
            match read {
                Ok(0) => {
                    return self.change(|state| state.flow.drained());
                }
                Ok(count) => self.change(|state| state.flow.read(buffer.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.break_off(reset(&error)),
            }
        }
    }

    /// Gives the socket what came for it.
    async fn give_out(&self, mut writer: impl AsyncWrite + Unpin) {
        let mut moved = self.watch();
        loop {
            moved.borrow_and_update();
            let next = self.look().flow.to_socket(PIECE);
            let done = match next {
                None => {
                    // The sender is in `self`.
                    moved.changed().await.ok();
                    continue;
                }
                Some(ToSocket::Bytes(bytes)) => write(&mut writer, &bytes).await.map(Some),
                Some(ToSocket::Close) => writer.shutdown().await.map(|()| None),
            };
            match done {
                Ok(Some(count)) => self.change(|state| state.flow.wrote(count)),
                Ok(None) => return self.change(|state| state.flow.closed()),
                Err(error) => return self.break_off(reset(&error)),
            }
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    let count = writer.write(bytes).await?;
    writer.flush().await?;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

fn reset(error: &io::Error) -> Broken {
    let broke_off = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    let reason = if broke_off.contains(&error.kind()) {
        "the program at the other end broke the connection off".to_owned()
    } else {
        format!("the connection at the other end broke: {error}")
    };
    Broken::new(BrokenKind::Reset, reason)
}
