//! The client's end of a flow: carried over one connection to the manager after the other, until it ends.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use robo_agent::forward::shared::Shared;
use robo_model::name::DeviceName;
use robo_wire::forward::flow::Said;
use robo_wire::forward::{Broken, BrokenKind, FlowId, ForwardFrame, ForwardRequest, KEEP, Opened, Wish};
use robo_wire::problem::ErrorCode;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, ClientError};
use crate::commands::exec::{Frames, FramesError};
use crate::error::CliError;

/// Frames that wait for the connection: few, so that what is under way waits where it can be sent again.
const QUEUE: usize = 4;

/// Time between two tries to come back.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a beginning is tried when the manager is just restarting, or the link is cut at that moment.
const TRIES: u32 = 4;

/// How long the last word may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// Through which device, over which manager.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) client: Client,
    pub(crate) device: DeviceName,
}

/// Why a flow cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Frames(#[from] FramesError),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the device's agent hangs up without a word; is it too old for forwarded connections? Then update it")]
    Silent,
    #[error("{0}")]
    Other(String),
}

impl FlowError {
    /// True when it may work in a moment.
    fn is_passing(&self) -> bool {
        match self {
            Self::Client(error) | Self::Frames(FramesError::Client(error)) => error.is_passing(),
            Self::Frames(FramesError::Cut) | Self::Silent => true,
            Self::Frames(FramesError::Frame(_)) | Self::Broken(_) | Self::Other(_) => false,
        }
    }

    /// True when the device has no link just now.
    fn is_offline(&self) -> bool {
        matches!(self, Self::Client(error) if error.code() == Some(ErrorCode::DeviceOffline))
    }
}

impl From<FlowError> for CliError {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Client(error) | FlowError::Frames(FramesError::Client(error)) => error.into(),
            FlowError::Broken(broken) => {
                let error = Self::new(broken.reason);
                match broken.kind {
                    BrokenKind::InUse => error.help("choose another port; 0 takes any that is free"),
                    BrokenKind::Refused => error.help("see what listens there: `robo exec DEVICE -- ss -ltn`"),
                    BrokenKind::Denied
                    | BrokenKind::TooMany
                    | BrokenKind::Unreachable
                    | BrokenKind::TimedOut
                    | BrokenKind::NotFound
                    | BrokenKind::Unknown
                    | BrokenKind::Reset
                    | BrokenKind::Ended
                    | BrokenKind::Lost
                    | BrokenKind::Other => error,
                }
            }
            error @ (FlowError::Frames(_) | FlowError::Silent | FlowError::Other(_)) => Self::new(error.to_string()),
        }
    }
}

/// A connection to the manager that a flow goes over.
pub(crate) struct Line {
    frames: Frames,
    to_manager: Sender<io::Result<Bytes>>,
    /// What the device says of its begin.
    pub(crate) opened: Opened,
    /// How much we have taken, as the device knows it.
    taken: u64,
}

impl Line {
    /// The next frame; nothing at the end. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Option<ForwardFrame>, FramesError> {
        Ok(self.frames.next_frame().await?.map(ForwardFrame::decode).transpose()?)
    }

    /// Ends the flow there, for `reason`.
    pub(crate) async fn give_up(self, reason: Broken) {
        if let Ok(bytes) = ForwardFrame::Broken(reason).encode() {
            // A manager that is gone tells it by its end.
            self.to_manager.send(Ok(bytes.into())).await.ok();
        }
        self.farewell().await;
    }

    /// Waits until the last word has left: the request would be broken off with it.
    async fn farewell(self) {
        let Self { mut frames, to_manager, .. } = self;
        drop(to_manager);
        drop(timeout(FAREWELL, async { while let Ok(Some(_)) = frames.next_frame().await {} }).await);
    }
}

/// A new identity that nobody guesses.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn new_id() -> Result<FlowId, FlowError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| FlowError::Other(format!("there are no random numbers: {error}")))?;
    Ok(FlowId(id))
}

impl Way {
    /// Begins a flow.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn begin(&self, id: FlowId, wish: Wish) -> Result<Line, FlowError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.open(id, Some(wish.clone()), 0).await {
                Err(error) if error.is_passing() && tries < TRIES => {
                    tracing::debug!("try {tries} of {TRIES}: {error}");
                    sleep(PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    /// Comes to a flow that the device has, from which `taken` was taken.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn come(&self, id: FlowId, taken: u64) -> Result<Line, FlowError> {
        self.open(id, None, taken).await
    }

    async fn open(&self, flow: FlowId, wish: Option<Wish>, taken: u64) -> Result<Line, FlowError> {
        let (to_manager, queue) = mpsc::channel(QUEUE);
        let body = stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|item| (item, queue)) });
        let first = ForwardRequest { flow, wish, taken }.encode().map_err(|e| FlowError::Other(e.to_string()))?;
        drop(to_manager.try_send(Ok(first.into())));
        let client = self.client.clone().impatient();
        let bytes = client.framed_post(&format!("devices/{}/forward", self.device), body).await?;
        let opened = Opened { taken: 0, port: None };
        let mut line = Line { frames: Frames::new(bytes), to_manager, opened, taken };
        loop {
            match line.next().await? {
                Some(ForwardFrame::Opened(opened)) => return Ok(Line { opened, ..line }),
                Some(ForwardFrame::Broken(broken)) => return Err(broken.into()),
                Some(_) => {}
                None => return Err(FlowError::Silent),
            }
        }
    }

    /// Comes back to a flow that was cut, for as long as it is kept.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) async fn come_back(&self, id: FlowId, taken: impl Fn() -> u64) -> Result<Line, FlowError> {
        let since = Instant::now();
        loop {
            match self.come(id, taken()).await {
                Err(error) if (error.is_passing() || error.is_offline()) && since.elapsed() < KEEP.duration() => {
                    tracing::debug!("not back yet: {error}");
                    sleep(PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    /// Carries a flow to its end over as many connections as it takes. Whoever has its socket is told by `shared`.
    pub(crate) async fn carry(&self, id: FlowId, line: Line, shared: &Shared) {
        let mut line = line;
        loop {
            if talk(&mut line, shared).await {
                return line.farewell().await;
            }
            drop(line);
            tracing::debug!("a connection through {} was cut; coming back", self.device);
            let back = self.come_back(id, || shared.look().flow.taken());
            line = match back.await {
                Ok(line) => line,
                Err(FlowError::Broken(broken)) => return shared.break_off(broken),
                Err(error) => return shared.break_off(Broken::new(BrokenKind::Lost, error.to_string())),
            };
        }
    }
}

/// Talks over one connection. True when the flow has ended, false when it was cut.
async fn talk(line: &mut Line, shared: &Shared) -> bool {
    let Line { frames, to_manager, opened, taken } = line;
    let arrived = shared.change(|state| state.flow.arrived(opened.taken));
    if let Err(broken) = arrived {
        shared.break_off(broken);
    }
    let said = Said::new(&shared.look().flow, *taken);
    tokio::select! {
        ended = speak(shared, said, to_manager) => ended,
        () = hear(shared, frames) => false,
    }
}

/// Says what is to be said. True at the flow's end, false when nobody takes it.
async fn speak(shared: &Shared, mut said: Said, to_manager: &Sender<io::Result<Bytes>>) -> bool {
    let mut moved = shared.watch();
    loop {
        moved.borrow_and_update();
        let (next, is_over) = {
            let state = shared.look();
            match &state.broken {
                Some(broken) => (Some(ForwardFrame::Broken(broken.clone())), true),
                None => (said.next(&state.flow), state.flow.is_done()),
            }
        };
        let is_last = matches!(next, Some(ForwardFrame::Broken(_)) | None) && is_over;
        if let Some(frame) = next {
            let Ok(bytes) = frame.encode() else { return true };
            if to_manager.send(Ok(bytes.into())).await.is_err() {
                return is_last;
            }
        } else if !is_over {
            // The sender is in the flow.
            moved.changed().await.ok();
        }
        if is_last {
            return true;
        }
    }
}

/// Hears until the connection ends.
async fn hear(shared: &Shared, frames: &mut Frames) {
    loop {
        let frame = match frames.next_frame().await {
            Ok(Some(frame)) => ForwardFrame::decode(frame),
            Ok(None) => return,
            Err(error) => return tracing::debug!("a connection was cut: {error}"),
        };
        let heard = match frame {
            Ok(frame) => shared.change(|state| state.flow.hear(frame)),
            Err(error) => Err(Broken::new(BrokenKind::Lost, error.to_string())),
        };
        if let Err(broken) = heard {
            shared.break_off(broken);
        }
    }
}
