//! One run: what it printed, what it is to read, and the task that moves it all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::backlog::Backlog;
use robo_wire::job::{Ended, MAX_INPUT, Output, RunStart, WINDOW};
use robo_wire::stream::{MAX_CHUNK, Verdict};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::output::Printed;
use crate::runtime::ending::GRACE;
use crate::runtime::exec::{Group, IDLE, MAX_LEFT, verdict};

/// Most signals that wait to be sent.
const MAX_SIGNALS: usize = 16;

/// A run.
pub(super) struct Run {
    state: Mutex<State>,
    moved: watch::Sender<()>,
    began_at: UnixMillis,
    background: bool,
    limit: Option<Millis>,
    /// How long it goes on while nobody takes its output.
    absent: Millis,
}

/// Where it stands.
pub(super) struct State {
    /// What was printed and has not arrived.
    pub(super) printed: Printed,
    /// What it is to read and has not read.
    pub(super) input: Backlog,
    /// No more input will come.
    pub(super) input_ends: bool,
    /// Signals to send.
    pub(super) signals: Vec<i32>,
    /// It is to end.
    pub(super) cancel: bool,
    /// Why, where nobody asked for it over its stream.
    why: Option<String>,
    /// The number of the stream that it is attached to; 0 for none. A newer one takes the place of an older one.
    pub(super) stream: u64,
    /// How it ended.
    pub(super) ended: Option<Ended>,
    /// That is known where it should be.
    pub(super) done: bool,
    received: u64,
    streams: u64,
    absent_since: Option<Instant>,
}

impl State {
    /// A stream takes over; its number. The manager has the output up to `from`.
    pub(super) fn attach(&mut self, from: u64) -> u64 {
        self.streams += 1;
        self.stream = self.streams;
        self.absent_since = None;
        self.arrived(from);
        self.stream
    }

    /// A stream has ended.
    pub(super) fn detach(&mut self, stream: u64) {
        if self.stream == stream {
            self.stream = 0;
            self.absent_since = Some(Instant::now());
        }
    }

    /// The output has arrived up to `place`. One that was not printed yet is nobody's to say.
    pub(super) fn arrived(&mut self, place: u64) {
        self.received = self.received.max(place.min(self.printed.len()));
        self.printed.forget_before(self.received);
    }

    /// Input, whose first byte has the place `place`. False when something before it is missing, or it is more than may
    /// be under way.
    pub(super) fn typed(&mut self, place: u64, bytes: &[u8]) -> bool {
        let Some(known) = self.input.end().checked_sub(place) else { return false };
        // What came already, over an earlier stream, does not come twice.
        let fresh = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if fresh.len() > self.input.room() {
            return false;
        }
        self.input.push(fresh);
        true
    }

    /// It is to end, for this reason; the first one counts.
    pub(super) fn cancel_because(&mut self, reason: &str) {
        self.cancel = true;
        self.why.get_or_insert_with(|| reason.to_owned());
    }

    /// A signal to send; too many at a time are as one.
    pub(super) fn signal(&mut self, number: i32) {
        if self.signals.len() < MAX_SIGNALS {
            self.signals.push(number);
        }
    }

    fn has_room(&self) -> bool {
        self.printed.len() - self.received < WINDOW
    }
}

/// What happened.
enum Event {
    Printed(Output, usize),
    Took(usize),
    Exit(Verdict),
    Moved,
    Time,
}

/// The process of a run, as its task has it.
struct Process {
    child: Child,
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// How it ended; what still comes is of what it left behind.
    verdict: Option<Verdict>,
    /// Why we end it.
    ending: Option<Verdict>,
    /// That it is to end was heeded.
    is_cancelled: bool,
    /// When it is killed, or when nothing more is waited for.
    until: Option<Instant>,
    /// Bytes that are still taken after its end.
    left: usize,
}

impl Run {
    pub(super) fn new(start: &RunStart, absent: Millis) -> Self {
        let state = State {
            printed: Printed::new(start.background),
            input: Backlog::new(0, MAX_INPUT),
            input_ends: !start.command.stdin,
            signals: Vec::new(),
            cancel: false,
            why: None,
            stream: 0,
            ended: None,
            done: false,
            received: 0,
            streams: 0,
            absent_since: Some(Instant::now()),
        };
        Self {
            state: Mutex::new(state),
            moved: watch::Sender::new(()),
            began_at: crate::now(),
            background: start.background,
            limit: start.command.timeout,
            absent,
        }
    }

    /// When it began.
    pub(super) const fn began_at(&self) -> UnixMillis {
        self.began_at
    }

    /// The state, to look at.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes who waits for that.
    pub(super) fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let done = with(&mut self.look());
        self.moved.send_replace(());
        done
    }

    /// Wakes at each change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.look().ended.is_some()
    }

    pub(super) fn ended_at(&self) -> Option<UnixMillis> {
        self.look().ended.as_ref().map(|ended| ended.ended_at)
    }

    /// Waits until it may be forgotten.
    pub(super) async fn until_done(&self) {
        let mut moved = self.watch();
        while !self.look().done {
            // The sender is in `self`.
            moved.changed().await.ok();
        }
    }

    /// Runs the command to its end.
    pub(super) async fn drive(&self, mut child: Child) {
        let mut process = Process {
            group: Group::of(&child),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            verdict: None,
            ending: None,
            is_cancelled: false,
            until: None,
            left: MAX_LEFT,
        };
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit.duration()));
        let mut moved = self.watch();
        let (mut out, mut err) = (vec![0; MAX_CHUNK], vec![0; MAX_CHUNK]);
        while !process.is_over() {
            moved.borrow_and_update();
            // Each time, not when something moved: what is asked for while output is taken is covered by our own change.
            self.obey(&mut process);
            let (has_room, input) = {
                let state = self.look();
                (self.background || state.has_room(), state.input.read(0, MAX_CHUNK).map(|(_, bytes)| bytes))
            };
            if input.is_none() && self.look().input_ends {
                process.stdin = None;
            }
            let wake = self.wake(&process, deadline);
            let event = tokio::select! {
                count = read(&mut process.stdout, &mut out), if has_room => Event::Printed(Output::Stdout, count),
                count = read(&mut process.stderr, &mut err), if has_room => Event::Printed(Output::Stderr, count),
                count = write(&mut process.stdin, input.as_deref().unwrap_or_default()), if input.is_some() => Event::Took(count),
                status = process.child.wait(), if process.verdict.is_none() => {
                    Event::Exit(status.map_or_else(|error| Verdict::Lost { reason: error.to_string() }, verdict))
                }
                _ = moved.changed() => Event::Moved,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Event::Time,
            };
            match event {
                Event::Printed(kind, 0) => process.close(kind),
                Event::Printed(kind, count) => {
                    let bytes = if kind == Output::Stdout { out.get(..count) } else { err.get(..count) };
                    self.change(|state| state.printed.push(kind, bytes.unwrap_or_default()));
                    process.printed(count);
                }
                Event::Took(count) => self.change(|state| {
                    let place = state.input.start() + count as u64;
                    state.input.forget_before(place);
                }),
                Event::Exit(verdict) => process.ended(verdict),
                Event::Moved => {}
                Event::Time => self.time(&mut process, deadline),
            }
        }
        let verdict = process.ending.or(process.verdict).unwrap_or(Verdict::Ok);
        self.change(|state| {
            state.printed.end();
            state.ended = Some(Ended { verdict, began_at: Some(self.began_at), ended_at: crate::now() });
        });
    }

    /// When the clock is to be looked at again.
    fn wake(&self, process: &Process, deadline: Option<Instant>) -> Option<Instant> {
        let deadline = deadline.filter(|_| process.ending.is_none() && process.verdict.is_none());
        let absent = self.look().absent_since.filter(|_| !self.background && process.ending.is_none());
        let absent = absent.map(|since| since + self.absent.duration());
        [process.until, deadline, absent].into_iter().flatten().min()
    }

    /// Does what streams asked for.
    fn obey(&self, process: &mut Process) {
        let (signals, cancel, why) = {
            let mut state = self.look();
            (std::mem::take(&mut state.signals), state.cancel, state.why.clone())
        };
        for signal in signals.into_iter().filter_map(Signal::from_named_raw) {
            process.group.signal(signal);
        }
        if cancel && !process.is_cancelled {
            process.is_cancelled = true;
            let reason = why.unwrap_or_else(|| "on request".to_owned());
            process.end(Verdict::Cancelled { reason }, GRACE);
        }
    }

    fn time(&self, process: &mut Process, deadline: Option<Instant>) {
        let now = Instant::now();
        let absent = self.look().absent_since.is_some_and(|since| now.duration_since(since) >= self.absent.duration());
        if process.until.is_some_and(|until| until <= now) {
            process.overdue();
        } else if deadline.is_some_and(|deadline| deadline <= now) && process.verdict.is_none() {
            process.end(Verdict::Timeout, Duration::ZERO);
        } else if absent && !self.background {
            let reason = format!("nobody came back for its output within {}", self.absent);
            process.end(Verdict::Cancelled { reason }, GRACE);
        }
    }
}

impl Process {
    fn is_over(&self) -> bool {
        self.verdict.is_some() && self.stdout.is_none() && self.stderr.is_none()
    }

    fn close(&mut self, kind: Output) {
        match kind {
            Output::Stdout => self.stdout = None,
            Output::Stderr => self.stderr = None,
        }
    }

    fn printed(&mut self, count: usize) {
        if self.verdict.is_some() {
            self.until = Some(Instant::now() + IDLE);
            self.left = self.left.saturating_sub(count);
            if self.left == 0 {
                self.overdue();
            }
        }
    }

    fn ended(&mut self, verdict: Verdict) {
        self.group.disarm();
        self.verdict = Some(verdict);
        self.stdin = None;
        self.until = Some(Instant::now() + IDLE);
    }

    /// Asks it to end, and kills it when the grace is over. The first reason counts, and one that came too late does
    /// not: it has ended by itself.
    fn end(&mut self, why: Verdict, grace: Duration) {
        if self.verdict.is_some() {
            // Its output is all that is waited for; nobody takes it.
            self.until = Some(Instant::now());
        } else if self.ending.is_none() {
            self.group.signal(Signal::TERM);
            self.ending = Some(why);
            self.until = Some(Instant::now() + grace);
        }
    }

    /// The time is over: it is killed, or its output is not waited for any more.
    fn overdue(&mut self) {
        self.until = None;
        if self.verdict.is_some() {
            (self.stdout, self.stderr) = (None, None);
        } else {
            self.group.signal(Signal::KILL);
        }
    }
}

/// Reads a piece; 0 at the end. Waits for ever where there is nothing to read from.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Writes a piece. What a command does not read any more is taken all the same: that is its affair.
async fn write(pipe: &mut Option<ChildStdin>, bytes: &[u8]) -> usize {
    match pipe {
        Some(open) => match open.write(bytes).await {
            Ok(count) if count > 0 => count,
            Ok(_) | Err(_) => {
                *pipe = None;
                bytes.len()
            }
        },
        None => bytes.len(),
    }
}
