//! What goes to the manager during a command: our standard input, signals, and how far the output has arrived here.
//!
//! Input is kept until every target has taken it, so that it can be sent again to a manager that was started anew.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use robo_wire::backlog::Backlog;
use robo_wire::job::MAX_INPUT;
use robo_wire::stream::{MAX_CHUNK, StreamFrame};
use tokio::sync::watch;

/// Most signals that wait; more at a time are as one.
const MAX_SIGNALS: usize = 16;

/// All that is to be said, whatever connection says it.
pub(super) struct Input {
    state: Mutex<State>,
    /// There is room for more input.
    room: Condvar,
    moved: watch::Sender<()>,
}

struct State {
    typed: Backlog,
    ended: bool,
    signals: Vec<i32>,
    /// By the numbers that targets have on this connection.
    received: BTreeMap<u32, u64>,
    seen: Vec<u32>,
    /// The manager tells what was taken; from another one nothing is kept.
    is_told: bool,
    /// Only the newest speaks.
    connection: u64,
}

impl Input {
    /// Nothing to say yet.
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            typed: Backlog::new(0, MAX_INPUT),
            ended: false,
            signals: Vec::new(),
            received: BTreeMap::new(),
            seen: Vec::new(),
            is_told: true,
            connection: 0,
        };
        Arc::new(Self { state: Mutex::new(state), room: Condvar::new(), moved: watch::Sender::new(()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, with: impl FnOnce(&mut State)) {
        with(&mut self.state());
        self.room.notify_all();
        self.moved.send_replace(());
    }

    /// The manager is of an older version: it tells nothing of what was taken.
    pub(super) fn forget_what_is_sent(&self) {
        self.change(|state| state.is_told = false);
    }

    /// Every target has taken the input up to there.
    pub(super) fn taken(&self, place: u64) {
        self.change(|state| state.typed.forget_before(place));
    }

    /// Sends a signal.
    pub(super) fn signal(&self, number: i32) {
        self.change(|state| {
            if state.signals.len() < MAX_SIGNALS {
                state.signals.push(number);
            }
        });
    }

    /// The output of a target has arrived up to there.
    pub(super) fn received(&self, target: u32, place: u64) {
        self.change(|state| {
            state.received.insert(target, place);
        });
    }

    /// The verdict of a target has arrived.
    pub(super) fn seen(&self, target: u32) {
        self.change(|state| {
            state.received.remove(&target);
            state.seen.push(target);
        });
    }

    /// A new connection takes over; the place of the first byte of input that it sends.
    pub(super) fn connect(&self) -> (u64, u64) {
        let mut connected = (0, 0);
        self.change(|state| {
            state.connection += 1;
            state.received.clear();
            state.seen.clear();
            connected = (state.connection, state.typed.start());
        });
        connected
    }

    /// What is said on a connection, after `first`.
    pub(super) fn body(
        self: &Arc<Self>,
        (connection, place): (u64, u64),
        first: Vec<u8>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let voice = Voice { input: Arc::clone(self), connection, sent: place, has_ended: false, first: Some(first) };
        let moved = self.moved.subscribe();
        stream::unfold((voice, moved), |(mut voice, mut moved)| async move {
            loop {
                moved.borrow_and_update();
                match voice.next() {
                    Some(Some(bytes)) => return Some((Ok(bytes.into()), (voice, moved))),
                    // The sender is in the input.
                    Some(None) => drop(moved.changed().await),
                    None => return None,
                }
            }
        })
    }

    /// Reads standard input to its end, on a thread of its own: such a read cannot be broken off, so it must hold up
    /// neither the runtime nor the end of the program. The thread ends with the input or with the program.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn read_stdin(self: &Arc<Self>) -> io::Result<()> {
        let input = Arc::clone(self);
        std::thread::Builder::new().name("stdin".into()).spawn(move || input.read(io::stdin())).map(drop)
    }

    fn read(&self, mut from: impl io::Read) {
        let mut buffer = vec![0; MAX_CHUNK];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!("standard input cannot be read any further: {error}");
                    0
                }
            };
            let mut state = self.state();
            while state.typed.room() < count {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.typed.push(buffer.get(..count).unwrap_or_default());
            state.ended = count == 0;
            drop(state);
            self.moved.send_replace(());
            if count == 0 {
                return;
            }
        }
    }
}

/// One connection's part.
struct Voice {
    input: Arc<Input>,
    connection: u64,
    sent: u64,
    has_ended: bool,
    first: Option<Vec<u8>>,
}

impl Voice {
    /// What is to be said next, if anything is; nothing at all when another connection speaks.
    fn next(&mut self) -> Option<Option<Vec<u8>>> {
        if let Some(first) = self.first.take() {
            return Some(Some(first));
        }
        let frame = self.frame()?;
        // None of ours is too long.
        Some(frame.and_then(|frame| frame.encode().ok()))
    }

    fn frame(&mut self) -> Option<Option<StreamFrame>> {
        let mut state = self.input.state();
        if state.connection != self.connection {
            return None;
        }
        if let Some((target, place)) = state.received.pop_first() {
            return Some(Some(StreamFrame::Received(target, place)));
        }
        if let Some(target) = state.seen.pop() {
            return Some(Some(StreamFrame::Seen(target)));
        }
        if !state.signals.is_empty() {
            return Some(Some(StreamFrame::Signal(state.signals.remove(0))));
        }
        if let Some((place, bytes)) = state.typed.read(self.sent, MAX_CHUNK) {
            self.sent = place + bytes.len() as u64;
            if !state.is_told {
                state.typed.forget_before(self.sent);
                self.input.room.notify_all();
            }
            return Some(Some(StreamFrame::Stdin(bytes)));
        }
        if state.ended && !self.has_ended {
            self.has_ended = true;
            return Some(Some(StreamFrame::StdinEnd));
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use robo_wire::frame::{self, MAX_STREAM_FRAME};

    use super::*;

    async fn said(input: &Arc<Input>, connected: (u64, u64), count: usize) -> Vec<StreamFrame> {
        let body = input.body(connected, b"first".to_vec());
        let pieces: Vec<_> = body.take(count + 1).collect().await;
        assert_eq!(pieces[0].as_deref().unwrap(), b"first");
        let frame = |piece: &io::Result<Bytes>| {
            let mut bytes = piece.as_ref().unwrap().to_vec();
            StreamFrame::decode(frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap()).unwrap()
        };
        pieces[1..].iter().map(frame).collect()
    }

    fn sizes(frames: &[StreamFrame]) -> Vec<usize> {
        frames.iter().map(|f| if let StreamFrame::Stdin(data) = f { data.len() } else { 0 }).collect()
    }

    #[tokio::test]
    async fn input_is_sent_in_pieces_ends_once_and_is_sent_again_as_far_as_it_was_not_taken() {
        let input = Input::new();
        input.read(vec![b'x'; MAX_CHUNK + 10].as_slice());
        let frames = said(&input, input.connect(), 3).await;
        assert_eq!((sizes(&frames), &frames[2]), (vec![MAX_CHUNK, 10, 0], &StreamFrame::StdinEnd));
        input.taken(MAX_CHUNK as u64 + 3);
        let again = input.connect();
        assert_eq!(again.1, MAX_CHUNK as u64 + 3);
        let frames = said(&input, again, 2).await;
        assert_eq!((sizes(&frames), &frames[1]), (vec![7, 0], &StreamFrame::StdinEnd));
    }

    #[tokio::test]
    async fn what_arrived_passes_by_the_input_and_counts_for_its_connection_only() {
        let input = Input::new();
        input.read(b"abc".as_slice());
        input.received(1, 7);
        let first = input.connect();
        input.received(0, 5);
        input.received(1, 6);
        input.received(1, 9);
        input.received(2, 9);
        input.seen(2);
        input.signal(2);
        let frames = said(&input, first, 6).await;
        let expect = [
            StreamFrame::Received(0, 5),
            StreamFrame::Received(1, 9),
            StreamFrame::Seen(2),
            StreamFrame::Signal(2),
            StreamFrame::Stdin(b"abc".to_vec()),
            StreamFrame::StdinEnd,
        ];
        assert_eq!(frames, expect);
        let old = input.body(first, Vec::new());
        input.connect();
        assert_eq!(old.collect::<Vec<_>>().await.len(), 1, "the connection before says nothing any more");
    }

    #[tokio::test]
    async fn a_manager_that_does_not_tell_what_was_taken_gets_all() {
        let input = Input::new();
        input.forget_what_is_sent();
        let reading = Arc::clone(&input);
        let reader = std::thread::spawn(move || reading.read(vec![b'x'; 3 * MAX_INPUT].as_slice()));
        let frames = said(&input, input.connect(), 3 * MAX_INPUT / MAX_CHUNK + 1).await;
        assert_eq!(sizes(&frames).iter().sum::<usize>(), 3 * MAX_INPUT);
        reader.join().unwrap();
    }
}
