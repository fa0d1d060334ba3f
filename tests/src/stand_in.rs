//! Agents that run nothing: each does with a command what a test wants of it, over a real link. Many fit into a process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use robo_agent::identity::Identity;
use robo_model::name::JobId;
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::frame::{self, Frame, MAX_STREAM_FRAME};
use robo_wire::job::{Begun, Ended, Output, RunFrame, RunOpen};
use robo_wire::link::{AcceptedGeneration, FromAgent, FromManager};
use robo_wire::stream::{MAX_CHUNK, Open, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::peer::{Heard, Peer, Stream, hello};

/// What streams may ask of their link at a time: one thing each.
const ACTS: usize = 64;

/// What becomes of a command on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It runs, with a pause between the parts of its output.
    Runs(Millis),
    /// The link breaks when it is asked for; it runs when it is asked for again.
    Unheard,
    /// The link breaks in the middle of it, and it goes on.
    Cut,
    /// The link breaks with its last word.
    CutAtTheEnd,
    /// The agent is frozen in the middle: its link stays, and it reads and says nothing, until it comes to itself.
    Thaws(Millis),
    /// The agent is frozen in the middle, for good.
    Frozen,
    /// The agent lives, and says nothing of the command.
    Silent,
    /// The agent is killed in the middle, and a fresh one comes.
    Restarts,
    /// The agent is killed in the middle, for good.
    Killed,
    /// The agent says what is no frame.
    Babbles,
}

/// What a device has to say of any command.
#[derive(Debug, Clone)]
pub struct Part {
    /// What becomes of it.
    pub fate: Fate,
    /// How it ends, when it comes to its end.
    pub verdict: Verdict,
    /// What it prints.
    pub printed: Vec<u8>,
}

/// An agent of one device.
pub struct StandIn {
    shared: Arc<Shared>,
    process: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    identity: Identity,
    state: Mutex<State>,
}

struct State {
    part: Part,
    /// What this process was asked for.
    asked: BTreeSet<JobId>,
    /// When this process began.
    began: Instant,
}

/// What a stream wants of its link.
enum Act {
    Cut,
    Freeze(Option<Millis>),
    Restart,
    Die,
}

impl StandIn {
    /// One that is not there yet.
    #[must_use]
    pub fn new(address: SocketAddr, identity: Identity, part: Part) -> Self {
        let state = State { part, asked: BTreeSet::new(), began: Instant::now() };
        Self { shared: Arc::new(Shared { address, identity, state: Mutex::new(state) }), process: None }
    }

    /// A fresh process, unless one is there.
    pub fn start(&mut self) {
        if self.process.as_ref().is_some_and(|process| !process.is_finished()) {
            return;
        }
        self.shared.forget();
        let shared = Arc::clone(&self.shared);
        self.process = Some(tokio::spawn(async move { shared.live().await }));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.abort();
        }
    }

    /// From now on it has this part.
    pub fn play(&self, part: Part) {
        self.shared.state().part = part;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        let mut state = self.state();
        state.asked.clear();
        state.began = Instant::now();
    }

    /// One process: a link after the other.
    async fn live(self: Arc<Self>) {
        loop {
            if let Ok(peer) = Peer::dial(self.address, &self.identity).await {
                match self.serve(peer).await {
                    Some(Act::Die) => return,
                    Some(Act::Restart) => self.forget(),
                    Some(Act::Cut | Act::Freeze(_)) | None => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..200))).await;
        }
    }

    /// One link. Why it ended, when that was our own doing.
    async fn serve(self: &Arc<Self>, mut peer: Peer) -> Option<Act> {
        let (give, mut acts) = mpsc::channel(ACTS);
        let mut streams = JoinSet::new();
        peer.say(&hello()).await;
        let mut every = Duration::from_secs(3600);
        loop {
            let heard = tokio::select! {
                heard = peer.next() => heard?,
                act = acts.recv() => match act? {
                    Act::Freeze(time) => {
                        peer.freeze();
                        match time {
                            Some(time) => tokio::time::sleep(time.duration()).await,
                            None => std::future::pending().await,
                        }
                        return Some(Act::Cut);
                    }
                    act @ (Act::Cut | Act::Restart | Act::Die) => return Some(act),
                },
                () = tokio::time::sleep(every) => {
                    peer.say(&FromAgent::Heartbeat).await;
                    continue;
                }
            };
            match heard {
                Heard::Message(FromManager::Welcome(welcome)) => every = welcome.heartbeat.duration() / 2,
                Heard::Message(FromManager::Assign(assignment)) => {
                    let generation = assignment.generation;
                    peer.say(&FromAgent::Accepted(AcceptedGeneration { generation })).await;
                }
                Heard::Message(_) => {}
                Heard::Stream(stream) => {
                    let (shared, give) = (Arc::clone(self), give.clone());
                    streams.spawn(async move {
                        if let Some(act) = shared.run(stream).await {
                            drop(give.send(act).await);
                        }
                    });
                }
            }
        }
    }

    /// What to do with a run, and whether it is asked for the first time. Nothing for one that an earlier process may have
    /// begun.
    fn asked_for(&self, open: &RunOpen) -> Option<(Part, bool)> {
        let mut state = self.state();
        let age = state.began.elapsed();
        let first = !state.asked.contains(&open.job);
        let unknown = open.start.is_none() || open.asked.is_some_and(|asked| asked.duration() >= age);
        if first && unknown {
            return None;
        }
        state.asked.insert(open.job.clone());
        Some((state.part.clone(), first))
    }

    /// Answers to one stream. What it does to its link, if anything.
    async fn run(&self, mut stream: Stream) -> Option<Act> {
        let mut buffer = Vec::new();
        let first = read(&mut stream, &mut buffer).await?;
        let Ok(Open::Run(open)) = Open::decode(&first) else { return None };
        let Some((part, first)) = self.asked_for(&open) else {
            let verdict = Verdict::Lost { reason: "the agent was restarted".to_owned() };
            say(&mut stream, &ended(verdict)).await;
            return listen(stream, buffer).await;
        };
        match part.fate {
            Fate::Runs(pause) => tell(&mut stream, &part, &open, 4, pause).await,
            Fate::Unheard if first => return Some(Act::Cut),
            Fate::CutAtTheEnd if first => {
                tell(&mut stream, &part, &open, 1, Millis(0)).await;
                return Some(Act::Cut);
            }
            Fate::Unheard | Fate::CutAtTheEnd => tell(&mut stream, &part, &open, 1, Millis(0)).await,
            Fate::Cut | Fate::Thaws(_) if !first => tell(&mut stream, &part, &open, 1, Millis(0)).await,
            Fate::Babbles => {
                drop(stream.write_all(&[0xff; 9]).await);
                drop(stream.flush().await);
            }
            Fate::Silent => {}
            Fate::Cut => return half(&mut stream, &part, &open, Act::Cut).await,
            Fate::Thaws(time) => return half(&mut stream, &part, &open, Act::Freeze(Some(time))).await,
            Fate::Frozen => return half(&mut stream, &part, &open, Act::Freeze(None)).await,
            Fate::Restarts => return half(&mut stream, &part, &open, Act::Restart).await,
            Fate::Killed => return half(&mut stream, &part, &open, Act::Die).await,
        }
        listen(stream, buffer).await
    }
}

/// Begins, and prints the first half of what there is.
async fn half(stream: &mut Stream, part: &Part, open: &RunOpen, act: Act) -> Option<Act> {
    say(stream, &begun()).await;
    let middle = part.printed.len() / 2;
    print(stream, part, usize::try_from(open.from).unwrap_or(usize::MAX)..middle).await;
    Some(act)
}

/// Tells all from where the manager stands, in so many parts.
async fn tell(stream: &mut Stream, part: &Part, open: &RunOpen, parts: usize, pause: Millis) {
    say(stream, &begun()).await;
    let (mut from, all) = (usize::try_from(open.from).unwrap_or(usize::MAX), part.printed.len());
    for number in 1..=parts {
        let to = all * number / parts;
        print(stream, part, from..to).await;
        from = from.max(to);
        tokio::time::sleep(pause.duration()).await;
    }
    say(stream, &ended(part.verdict.clone())).await;
}

async fn print(stream: &mut Stream, part: &Part, range: std::ops::Range<usize>) {
    let (mut place, bytes) = (range.start, part.printed.get(range).unwrap_or_default());
    for piece in bytes.chunks(MAX_CHUNK) {
        say(stream, &RunFrame::Output(Output::Stdout, place as u64, piece.to_vec())).await;
        place += piece.len();
    }
}

/// Reads until the manager has heard enough.
async fn listen(mut stream: Stream, mut buffer: Vec<u8>) -> Option<Act> {
    while let Some(frame) = read(&mut stream, &mut buffer).await {
        if RunFrame::decode(frame) == Ok(RunFrame::Done) {
            break;
        }
    }
    drop(stream.shutdown().await);
    None
}

async fn read(stream: &mut Stream, buffer: &mut Vec<u8>) -> Option<Frame> {
    loop {
        if let Some(frame) = frame::take(buffer, MAX_STREAM_FRAME).ok()? {
            return Some(frame);
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// A manager that is gone hears nothing.
async fn say(stream: &mut Stream, frame: &RunFrame) {
    if let Ok(bytes) = frame.encode() {
        drop(stream.write_all(&bytes).await);
        drop(stream.flush().await);
    }
}

const fn begun() -> RunFrame {
    RunFrame::Begun(Begun { at: UnixMillis(1), taken: 0 })
}

const fn ended(verdict: Verdict) -> RunFrame {
    RunFrame::Ended(Ended { verdict, began_at: Some(UnixMillis(1)), ended_at: UnixMillis(2) })
}
