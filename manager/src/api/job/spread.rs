//! What the client sends on its way to the targets.
//!
//! The slowest target decides how fast input goes: it is never dropped. A client that can come back also tells what has
//! arrived at it; that passes by the input, however long that waits.

use std::sync::{Arc, Mutex, PoisonError};

use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::job::MAX_INPUT;
use robo_wire::stream::{MAX_CHUNK, StreamFrame};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::super::frames::BodyFrames;

/// Most signals that wait; more at a time are as one.
const MAX_SIGNALS: usize = 16;

/// Where a target hears the client's input.
pub(super) type Ear = mpsc::Sender<Arc<StreamFrame>>;

/// What has arrived at the client of one target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// So much of its output.
    pub(super) place: u64,
    /// Its verdict.
    pub(super) seen: bool,
}

/// The tasks that spread the client's input; they end with this.
pub(super) struct Spreading {
    tasks: Vec<AbortHandle>,
    pub(super) broken: mpsc::Receiver<String>,
}

impl Drop for Spreading {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Gives every target the client's input.
pub(super) fn spread(input: Option<BodyFrames>, inputs: Vec<Ear>) -> Spreading {
    let (say, broken) = mpsc::channel(1);
    let Some(mut input) = input else { return Spreading { tasks: Vec::new(), broken } };
    let task = tokio::spawn(async move {
        loop {
            let frame = match input.next(MAX_STREAM_FRAME).await.map(|frame| frame.map(StreamFrame::decode)) {
                Ok(Some(Ok(frame @ (StreamFrame::Stdin(_) | StreamFrame::StdinEnd | StreamFrame::Signal(_))))) => frame,
                Ok(Some(Ok(_))) => continue,
                Ok(None) => return,
                Ok(Some(Err(error))) => return drop(say.send(error.to_string()).await),
                Err(error) => return drop(say.send(error.to_string()).await),
            };
            give(&inputs, frame).await;
        }
    });
    Spreading { tasks: vec![task.abort_handle()], broken }
}

async fn give(inputs: &[Ear], frame: StreamFrame) {
    let frame = Arc::new(frame);
    for target in inputs {
        // A target that has its verdict takes no more.
        drop(target.send(Arc::clone(&frame)).await);
    }
}

/// Input that waits for the targets: at most as much as may be under way.
#[derive(Default)]
struct Waiting {
    state: Mutex<Typed>,
    moved: Notify,
}

#[derive(Default)]
struct Typed {
    bytes: Vec<u8>,
    ended: bool,
    signals: Vec<i32>,
}

impl Waiting {
    /// The reason when the client does not keep the rules.
    fn take(&self, frame: StreamFrame) -> Result<(), String> {
        // Nothing panics while it holds the lock.
        let mut typed = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match frame {
            StreamFrame::Stdin(bytes) if typed.bytes.len() + bytes.len() > MAX_INPUT => {
                return Err(format!("more than {MAX_INPUT} bytes are under way"));
            }
            StreamFrame::Stdin(bytes) => typed.bytes.extend_from_slice(&bytes),
            StreamFrame::StdinEnd => typed.ended = true,
            StreamFrame::Signal(number) if typed.signals.len() < MAX_SIGNALS => typed.signals.push(number),
            // Too many signals, what is heard elsewhere, of a newer version, or not a client's to say.
            StreamFrame::Signal(_)
            | StreamFrame::Received(..)
            | StreamFrame::Seen(_)
            | StreamFrame::Stdout(_)
            | StreamFrame::Stderr(_)
            | StreamFrame::Verdict(_)
            | StreamFrame::Taken(_)
            | StreamFrame::Unknown(_) => return Ok(()),
        }
        self.moved.notify_one();
        Ok(())
    }

    async fn next(&self) -> Typed {
        loop {
            let typed = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
            if !typed.bytes.is_empty() || typed.ended || !typed.signals.is_empty() {
                return typed;
            }
            self.moved.notified().await;
        }
    }
}

/// The same for a client that can come back. Its input does not end with its connection.
pub(super) fn spread_call(mut input: BodyFrames, inputs: Vec<Ear>, heard: Vec<watch::Sender<Heard>>) -> Spreading {
    let (say, broken) = mpsc::channel(1);
    let waiting = Arc::new(Waiting::default());
    let typed = Arc::clone(&waiting);
    let reading: JoinHandle<()> = tokio::spawn(async move {
        let reason = loop {
            let frame = match input.next(MAX_STREAM_FRAME).await.map(|frame| frame.map(StreamFrame::decode)) {
                Ok(Some(Ok(frame))) => frame,
                // The answer tells when the client has gone.
                Ok(None) => return std::future::pending::<()>().await,
                Ok(Some(Err(error))) => break error.to_string(),
                Err(error) => break error.to_string(),
            };
            let number = |target: u32| usize::try_from(target).ok().and_then(|number| heard.get(number));
            match frame {
                StreamFrame::Received(target, place) => {
                    if let Some(heard) = number(target) {
                        heard.send_modify(|heard| heard.place = heard.place.max(place));
                    }
                }
                StreamFrame::Seen(target) => {
                    if let Some(heard) = number(target) {
                        heard.send_modify(|heard| heard.seen = true);
                    }
                }
                StreamFrame::Stdin(_)
                | StreamFrame::StdinEnd
                | StreamFrame::Signal(_)
                | StreamFrame::Stdout(_)
                | StreamFrame::Stderr(_)
                | StreamFrame::Verdict(_)
                | StreamFrame::Taken(_)
                | StreamFrame::Unknown(_) => match typed.take(frame) {
                    Ok(()) => {}
                    Err(reason) => break reason,
                },
            }
        };
        drop(say.send(reason).await);
        std::future::pending::<()>().await;
    });
    let giving = tokio::spawn(async move {
        loop {
            let Typed { bytes, ended, signals } = waiting.next().await;
            for piece in bytes.chunks(MAX_CHUNK) {
                give(&inputs, StreamFrame::Stdin(piece.to_vec())).await;
            }
            for number in signals {
                give(&inputs, StreamFrame::Signal(number)).await;
            }
            if ended {
                give(&inputs, StreamFrame::StdinEnd).await;
            }
        }
    });
    Spreading { tasks: vec![reading.abort_handle(), giving.abort_handle()], broken }
}
