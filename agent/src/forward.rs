//! Connections through this device: to what listens on it, and from what connects to it.
//!
//! A flow outlives the streams it goes over, so that a cut of the link costs a connection nothing but time. One that
//! nobody came back to in time is reset; all end with the agent.
//!
//! - [`shared`]: one end of a flow, and the task between it and its socket; clients use the same.
//! - `reach`: what may be reached from here, and how; `listen`: where is listened for the way back; `attach`: a stream to a flow.

mod attach;
mod listen;
mod reach;
pub mod shared;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use robo_wire::forward::{Accepted, Broken, BrokenKind, FlowId, ForwardFrame, ForwardOpen, KEEP, Place, Wish};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;

use self::listen::Listener;
pub use self::reach::Policy;
use self::shared::{Shared, Socket};
use crate::framing::write_frame;

/// Most flows at a time, places to listen at included. Leaves streams of the link for commands and shells; each may hold
/// a megabyte while it is cut.
pub const MAX_FLOWS: usize = 64;

/// Flows that have ended and are remembered: the last word of one may have been cut off.
const MAX_REMEMBERED: usize = 512;

/// Pause after a connection could not be accepted, so that a lasting cause does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All flows of this agent; a cheap handle. When the last one is dropped, they end.
#[derive(Clone)]
pub struct Forwards(Arc<Inner>);

struct Inner {
    policy: Policy,
    keep: Duration,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    flows: HashMap<FlowId, Entry>,
    live: usize,
    ended: VecDeque<FlowId>,
    tasks: JoinSet<()>,
    /// Why none begins any more.
    closed: Option<String>,
}

struct Entry {
    by: String,
    shared: Arc<Shared>,
}

impl Forwards {
    /// None yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::keeping(policy, KEEP.duration())
    }

    /// None yet; each is kept so long while no stream is there.
    #[must_use]
    pub fn keeping(policy: Policy, keep: Duration) -> Self {
        Self(Arc::new(Inner { policy, keep, table: Mutex::default() }))
    }

    /// Serves a stream that the manager opened, until it or the flow ends.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, open: ForwardOpen, mut stream: S) {
        let taken = open.taken;
        match self.0.find_or_begin(open) {
            Ok(shared) => attach::serve(&shared, taken, stream).await,
            Err(broken) => {
                if let Ok(frame) = ForwardFrame::Broken(broken).encode() {
                    // A peer that is gone needs none.
                    write_frame(&mut stream, &frame).await.ok();
                }
                stream.shutdown().await.ok();
            }
        }
    }

    /// Breaks off all there are, because of this, and begins none any more; without a reason, lets them begin again.
    pub fn close(&self, why: Option<String>) {
        let mut table = self.0.table();
        if let Some(reason) = &why {
            let live = table.flows.iter().filter(|(id, _)| !table.ended.contains(id));
            for (_, entry) in live {
                entry.shared.break_off(Broken::new(BrokenKind::Denied, reason.clone()));
            }
        }
        table.closed = why;
    }

    /// How many flows there are that have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.table().live
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_or_begin(self: &Arc<Self>, open: ForwardOpen) -> Result<Arc<Shared>, Broken> {
        let unknown = || {
            let reason = "the device does not have this connection any more: it was cut for too long, or the agent was restarted";
            Broken::new(BrokenKind::Unknown, reason)
        };
        if let Some(entry) = self.table().flows.get(&open.flow) {
            // Whoever has no right to it learns nothing of it.
            return if entry.by == open.by { Ok(Arc::clone(&entry.shared)) } else { Err(unknown()) };
        }
        let wish = open.wish.ok_or_else(unknown)?;
        wish.check().map_err(|reason| Broken::new(BrokenKind::Denied, reason))?;
        let me = Arc::downgrade(self);
        self.add(open.flow, &open.by, |shared| run(me, open.flow, open.by.clone(), wish, shared))
    }

    /// Adds a flow with the task that runs it.
    fn add<F>(&self, id: FlowId, by: &str, task: impl FnOnce(Arc<Shared>) -> F) -> Result<Arc<Shared>, Broken>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut table = self.table();
        if let Some(reason) = &table.closed {
            return Err(Broken::new(BrokenKind::Denied, reason.clone()));
        }
        if table.live >= MAX_FLOWS {
            let reason = format!("{MAX_FLOWS} connections go through this device already");
            return Err(Broken::new(BrokenKind::TooMany, reason));
        }
        while table.tasks.try_join_next().is_some() {}
        let shared = Arc::new(Shared::default());
        table.live += 1;
        table.flows.insert(id, Entry { by: by.to_owned(), shared: Arc::clone(&shared) });
        table.tasks.spawn(task(Arc::clone(&shared)));
        Ok(shared)
    }

    /// The flow has ended; it is remembered for a while.
    fn ended(&self, id: FlowId) {
        let mut table = self.table();
        table.live = table.live.saturating_sub(1);
        table.ended.push_back(id);
        if table.ended.len() > MAX_REMEMBERED
            && let Some(oldest) = table.ended.pop_front()
        {
            table.flows.remove(&oldest);
        }
    }

    fn forget(&self, id: FlowId) {
        let mut table = self.table();
        table.flows.remove(&id);
        table.ended.retain(|ended| *ended != id);
    }
}

/// Runs a flow to its end, and forgets it when the other end must know of that.
async fn run(forwards: Weak<Inner>, id: FlowId, by: String, wish: Wish, shared: Arc<Shared>) {
    let Some((policy, keep)) = forwards.upgrade().map(|inner| (inner.policy, inner.keep)) else { return };
    let begin = async {
        match wish {
            Wish::Connect(target) => reach::connect(&target, policy).await,
            Wish::Listen(place) => match listen(&forwards, &shared, &by, (&place, policy)).await {
                Ok(never) => match never {},
                Err(broken) => Err(broken),
            },
        }
    };
    let work = async {
        let begun = tokio::select! {
            begun = begin => begun,
            // Nobody wants it any more.
            () = shared.until_broken() => return,
        };
        match begun {
            Ok(socket) => {
                shared.change(|state| state.open(None));
                shared.carry(socket).await;
            }
            Err(broken) => shared.break_off(broken),
        }
    };
    work_to_end(&shared, keep, work).await;
    forget_later(forwards, id, (&shared, keep)).await;
}

/// Runs one whose socket is there already.
async fn run_accepted(forwards: Weak<Inner>, id: FlowId, socket: Socket, shared: Arc<Shared>) {
    let Some(keep) = forwards.upgrade().map(|inner| inner.keep) else { return };
    shared.change(|state| state.open(None));
    work_to_end(&shared, keep, shared.carry(socket)).await;
    forget_later(forwards, id, (&shared, keep)).await;
}

/// Works until the flow is done or broken; nobody is waited for longer than a flow is kept.
async fn work_to_end(shared: &Shared, keep: Duration, work: impl Future<Output = ()>) {
    let abandoned = async {
        shared.until_abandoned(keep).await;
        let reason = format!("the connection was cut for longer than {keep:?}");
        shared.break_off(Broken::new(BrokenKind::Lost, reason));
        // The work sees it, and resets its socket.
        std::future::pending::<()>().await;
    };
    let work = async {
        work.await;
        shared.until_over().await;
    };
    tokio::select! {
        () = work => {}
        () = abandoned => {}
    }
}

async fn forget_later(forwards: Weak<Inner>, id: FlowId, (shared, keep): (&Shared, Duration)) {
    shared.change(|state| state.flow.settle());
    if let Some(inner) = forwards.upgrade() {
        inner.ended(id);
    }
    drop(tokio::time::timeout(keep, shared.until_told()).await);
    if let Some(inner) = forwards.upgrade() {
        inner.forget(id);
    }
}

/// Listens; each connection that comes becomes a flow of its own.
async fn listen(
    forwards: &Weak<Inner>,
    shared: &Shared,
    by: &str,
    (place, policy): (&Place, Policy),
) -> Result<std::convert::Infallible, Broken> {
    let listener = Listener::bind(place, policy).await?;
    let port = listener.port().map_err(|error| Broken::new(BrokenKind::Other, error.to_string()))?;
    shared.change(|state| state.open(Some(port)));
    loop {
        if let Err(error) = accept(forwards, &listener, shared, by).await {
            tracing::warn!(%error, "a connection cannot be accepted for a reverse forward");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn accept(forwards: &Weak<Inner>, listener: &Listener, shared: &Shared, by: &str) -> std::io::Result<()> {
    let (socket, from) = listener.accept().await?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    let id = FlowId(id);
    let Some(inner) = forwards.upgrade() else { return Ok(()) };
    let me = forwards.clone();
    let added = inner.add(id, by, |flow| run_accepted(me, id, socket, flow));
    match added {
        Ok(_) => shared.change(|state| state.accepted(Accepted { flow: id, from: from.to_string() })),
        // The socket is closed with its task, which was never begun.
        Err(broken) => tracing::warn!(%from, %broken, "a connection to a reverse forward was refused"),
    }
    Ok(())
}
