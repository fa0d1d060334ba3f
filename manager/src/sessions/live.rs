//! A session that goes on, as the manager knows it: what was printed, what was typed, who is there.
//!
//! One task ([`super::line`]) speaks with the agent; each of those who use or watch the session has one of its own. They
//! meet here: whoever changes the state says so, and all others look.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use robo_wire::backlog::Backlog;
use robo_wire::shell::{MAX_BACKLOG, MAX_INPUT, MAX_REPLAY, Size, WINDOW};
use robo_wire::stream::Verdict;
use tokio::sync::watch;

use crate::store::SessionRecord;

/// Most people at one session, those included who watch: each has a connection and a task.
const MAX_VIEWERS: usize = 32;

/// Most clients whose input is remembered, so that it does not come twice after a cut.
const MAX_CLIENTS: usize = 32;

/// A session that goes on, or has just ended.
pub(crate) struct Live {
    /// What is on disk of it.
    pub(crate) record: SessionRecord,
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

/// Where it stands.
pub(crate) struct State {
    /// What was printed.
    pub(crate) output: Backlog,
    /// What was typed and is not in the terminal yet.
    pub(crate) input: Backlog,
    /// The terminal's size, as it is wished.
    pub(crate) size: Size,
    /// How often a screen was to be drawn anew.
    pub(crate) redraws: u64,
    /// True while the agent's stream is there.
    pub(crate) reachable: bool,
    /// True once the agent had it.
    pub(crate) began: bool,
    /// The last notice, and how many there were.
    pub(crate) notice: (u64, String),
    /// Who wants it to end.
    pub(crate) end_by: Option<String>,
    /// How it ended; on disk already.
    pub(crate) verdict: Option<Verdict>,
    /// Bytes of its recording.
    pub(crate) recorded: u64,
    viewers: BTreeMap<u64, Viewer>,
    next_viewer: u64,
    /// The clients that were here last, and how much of their input was taken: nothing where that is not known yet.
    clients: Vec<(u64, Option<u64>)>,
}

struct Viewer {
    drives: bool,
    /// How far its client has come with the output.
    cursor: u64,
}

/// Somebody's place at a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the viewer.
    pub(crate) viewer: u64,
    /// The place of the first byte of output that it gets.
    pub(crate) from: u64,
    /// How much of its input was taken; nothing when the client is not known.
    pub(crate) taken: Option<u64>,
}

/// There are too many already.
#[derive(Debug)]
pub(crate) struct Crowded;

impl Live {
    /// A session of which nothing was printed before `place` that is not recorded.
    pub(super) fn new(record: SessionRecord, place: u64) -> Self {
        let state = State {
            output: Backlog::new(place, MAX_BACKLOG),
            input: Backlog::new(0, MAX_INPUT),
            size: record.size,
            redraws: 0,
            reachable: false,
            began: false,
            notice: (0, String::new()),
            end_by: None,
            verdict: None,
            recorded: 0,
            viewers: BTreeMap::new(),
            next_viewer: 1,
            clients: Vec::new(),
        };
        Self { record, state: Mutex::new(state), moved: watch::Sender::new(()) }
    }

    /// The state, to look at.
    pub(crate) fn look(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes who waits for that.
    pub(crate) fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let done = with(&mut self.look());
        self.moved.send_replace(());
        done
    }

    /// Tries a change; wakes who waits only when it was made.
    pub(crate) fn change_if(&self, with: impl FnOnce(&mut State) -> Option<bool>) -> Option<bool> {
        let done = with(&mut self.look());
        if done == Some(true) {
            self.moved.send_replace(());
        }
        done
    }

    /// Wakes at each change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

impl State {
    /// Somebody comes to use it. `from` is how far their client is, if it has been here.
    pub(crate) fn join(&mut self, client: u64, from: Option<u64>, size: Size) -> Result<Place, Crowded> {
        let known = self.clients.iter().find(|(id, _)| *id == client).map(|(_, taken)| *taken);
        let place = self.enter(from, true)?;
        // Of a client that was somewhere before, it is not known what became of what it sent last.
        let taken = known.unwrap_or(from.is_none().then_some(0));
        if known.is_none() {
            self.clients.push((client, taken));
            let surplus = self.clients.len().saturating_sub(MAX_CLIENTS);
            self.clients.drain(..surplus);
        }
        if from.is_none() {
            self.redraws += 1;
        }
        self.size = size;
        Ok(Place { taken, ..place })
    }

    /// Somebody comes to watch. `from` is how far their client is, if it has been here.
    pub(crate) fn join_to_watch(&mut self, from: Option<u64>) -> Result<Place, Crowded> {
        let place = self.enter(from, false)?;
        if from.is_none() {
            self.redraws += 1;
        }
        Ok(place)
    }

    fn enter(&mut self, from: Option<u64>, drives: bool) -> Result<Place, Crowded> {
        if self.viewers.len() >= MAX_VIEWERS {
            return Err(Crowded);
        }
        let (start, end) = (self.output.start(), self.output.end());
        // A client may be ahead of a manager that has just started: what is between comes from the device.
        let from = from.unwrap_or(end.saturating_sub(MAX_REPLAY)).max(start);
        let viewer = self.next_viewer;
        self.next_viewer += 1;
        self.viewers.insert(viewer, Viewer { drives, cursor: from });
        Ok(Place { viewer, from, taken: None })
    }

    /// Somebody goes.
    pub(crate) fn leave(&mut self, viewer: u64) {
        self.viewers.remove(&viewer);
    }

    /// A viewer's client has the output up to `place`.
    pub(crate) fn delivered(&mut self, viewer: u64, place: u64) {
        if let Some(viewer) = self.viewers.get_mut(&viewer) {
            viewer.cursor = place;
        }
    }

    /// What a client typed, whose first byte has the place `place` in all that it typed. Nothing when a part before it
    /// is missing, false when there is no room at the moment.
    pub(crate) fn typed(&mut self, client: u64, place: u64, bytes: &[u8]) -> Option<bool> {
        let Some((_, taken)) = self.clients.iter_mut().find(|(id, _)| *id == client) else { return Some(true) };
        let taken = taken.get_or_insert(place);
        let known = taken.checked_sub(place)?;
        // What came already, over an earlier connection, does not come twice.
        let fresh = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if fresh.len() > self.input.room() {
            return Some(false);
        }
        *taken += fresh.len() as u64;
        self.input.push(fresh);
        Some(true)
    }

    /// How much of a client's input was taken.
    pub(crate) fn taken(&self, client: u64) -> u64 {
        self.clients.iter().find(|(id, _)| *id == client).and_then(|(_, taken)| *taken).unwrap_or(0)
    }

    /// True while everybody who uses it keeps up with what is printed.
    pub(super) fn has_room(&self) -> bool {
        let slowest = self.viewers.values().filter(|viewer| viewer.drives).map(|viewer| viewer.cursor).min();
        slowest.is_none_or(|cursor| self.output.end().saturating_sub(cursor) < WINDOW)
    }

    /// How many use it, and how many watch.
    pub(crate) fn crowd(&self) -> (u32, u32) {
        let users = self.viewers.values().filter(|viewer| viewer.drives).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (count(users), count(self.viewers.len() - users))
    }

    /// Tells everybody something.
    pub(super) fn say(&mut self, text: String) {
        self.notice = (self.notice.0 + 1, text);
    }
}
