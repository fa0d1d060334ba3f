//! One session: what was printed and typed, who is there, and the task that moves it all.
//!
//! The task alone touches the terminal. Streams put into the state what they want of it, and take from there what it
//! printed; whoever changes the state says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::backlog::Backlog;
use robo_wire::shell::{MAX_BACKLOG, MAX_INPUT, ShellStart, Size, WINDOW};
use robo_wire::stream::Verdict;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::terminal::{Program, Terminal};

/// Bytes read from a terminal at a time.
const PIECE: usize = 16 * 1024;

/// Bytes typed at a time: what a terminal takes of a line.
const TYPED: usize = 4096;

/// Time that a program has between the hang-up and KILL.
const GRACE: Duration = Duration::from_secs(5);

/// How long after a program's end what it left in the terminal is waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// How long before a session ends because nothing happens people are told; of a short limit, half.
const NOTICE: Duration = Duration::from_secs(60);

/// How long a session is remembered after its end was sent: a cut may have swallowed it.
const TOLD: Duration = Duration::from_secs(2 * 60);

/// How long it is remembered when nobody came to hear of it.
const UNTOLD: Duration = Duration::from_secs(30 * 60);

/// A session.
pub(super) struct Session {
    state: Mutex<State>,
    moved: watch::Sender<()>,
    keep: Millis,
    idle: Millis,
}

/// Where it stands.
pub(super) struct State {
    /// What was printed.
    pub(super) output: Backlog,
    /// What was typed and is not in the terminal yet.
    pub(super) input: Backlog,
    /// The terminal's size, as it is wished.
    pub(super) size: Size,
    /// The number of the stream that it is attached to; 0 for none. A newer stream takes the place of an older one.
    pub(super) stream: u64,
    /// How far that stream has come with the output.
    pub(super) delivered: u64,
    /// The last notice, and how many there were.
    pub(super) notice: (u64, String),
    /// How it ended.
    pub(super) verdict: Option<Verdict>,
    /// That was sent.
    pub(super) told: bool,
    /// A screen is to be drawn anew.
    pub(super) redraw: bool,
    /// Somebody wants it to end.
    pub(super) end: bool,
    /// Why, where nobody asked for it over its stream.
    why: Option<String>,
    streams: u64,
    present: bool,
    absent_since: Option<Instant>,
    active_at: Instant,
}

impl Session {
    pub(super) fn new(start: &ShellStart) -> Self {
        let now = Instant::now();
        let state = State {
            output: Backlog::new(0, MAX_BACKLOG),
            input: Backlog::new(0, MAX_INPUT),
            size: start.size,
            stream: 0,
            delivered: 0,
            notice: (0, String::new()),
            verdict: None,
            told: false,
            redraw: false,
            end: false,
            why: None,
            streams: 0,
            present: false,
            absent_since: Some(now),
            active_at: now,
        };
        Self { state: Mutex::new(state), moved: watch::Sender::new(()), keep: start.keep, idle: start.idle }
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

    /// Ends it, and says why.
    pub(super) fn end_because(&self, reason: &str) {
        self.say(format!("the session ends: {reason}"));
        self.change(|state| {
            state.end = true;
            state.why.get_or_insert_with(|| reason.to_owned());
        });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.look().verdict.is_some()
    }

    /// Waits until it may be forgotten.
    pub(super) async fn until_told(&self) {
        let mut moved = self.watch();
        let told = async {
            while !self.look().told {
                // The sender is in `self`.
                moved.changed().await.ok();
            }
        };
        if timeout(UNTOLD, told).await.is_ok() {
            tokio::time::sleep(TOLD).await;
        }
    }
}

impl State {
    /// A stream takes over; its number. The manager has the output up to `from`.
    pub(super) fn attach(&mut self, from: u64) -> u64 {
        self.streams += 1;
        self.stream = self.streams;
        self.delivered = from.clamp(self.output.start(), self.output.end());
        self.set_present(false);
        self.stream
    }

    /// A stream has ended.
    pub(super) fn detach(&mut self, stream: u64) {
        if self.stream == stream {
            self.stream = 0;
            self.set_present(false);
        }
    }

    /// Somebody uses it, or nobody.
    pub(super) fn set_present(&mut self, present: bool) {
        self.present = present;
        self.absent_since = if present { None } else { self.absent_since.or_else(|| Some(Instant::now())) };
    }

    /// What was typed, whose first byte has the place `place`. False when something before it is missing, or it is more
    /// than may be under way.
    pub(super) fn typed(&mut self, place: u64, bytes: &[u8]) -> bool {
        let Some(known) = self.input.end().checked_sub(place) else { return false };
        // What came already, over an earlier stream, does not come twice.
        let fresh = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if fresh.len() > self.input.room() {
            return false;
        }
        self.input.push(fresh);
        self.active_at = Instant::now();
        true
    }

    /// True while what was printed and not delivered is little enough.
    fn has_room(&self) -> bool {
        self.stream == 0 || self.output.end().saturating_sub(self.delivered) < WINDOW
    }
}

/// Why a session ends that would go on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Idle,
    Absent,
}

/// What happened.
enum Event {
    Printed(usize),
    Taken(usize),
    Ended(Verdict),
    Moved,
    Time,
}

/// Runs the session until its program has ended.
pub(super) async fn run(session: &Session, terminal: Terminal, mut program: Program) {
    let mut moved = session.watch();
    let mut buffer = vec![0; PIECE];
    let (mut size, mut open, mut noticed) = (session.look().size, true, None);
    let verdict = loop {
        moved.borrow_and_update();
        // Each time, not when something moved: what is asked for while output is taken is covered by our own change.
        let wished = session.obey(&terminal, size);
        size = wished.0;
        noticed = noticed.filter(|_| session.look().active_at.elapsed() >= session.notice_after());
        if wished.1 {
            let ended = end(&terminal, &mut program).await;
            let why = session.look().why.clone();
            break why.map_or(ended, |reason| Verdict::Cancelled { reason });
        }
        let (has_room, typed) = {
            let state = session.look();
            (state.has_room(), state.input.read(0, TYPED).map(|(_, bytes)| bytes))
        };
        let wake = session.next_limit(noticed);
        let event = tokio::select! {
            count = terminal.read(&mut buffer), if open && has_room => Event::Printed(count),
            count = terminal.write(typed.as_deref().unwrap_or_default()), if typed.is_some() => Event::Taken(count),
            _ = moved.changed() => Event::Moved,
            () = sleep_until(wake) => Event::Time,
            verdict = program.wait() => Event::Ended(verdict),
        };
        match event {
            Event::Printed(0) => open = false,
            Event::Printed(count) => {
                session.print(buffer.get(..count).unwrap_or_default());
                noticed = None;
            }
            Event::Taken(count) => session.change(|state| {
                let place = state.input.start() + count as u64;
                state.input.forget_before(place);
            }),
            Event::Ended(verdict) => break verdict,
            Event::Moved => {}
            Event::Time => match session.over(noticed) {
                Some(limit) => {
                    session.say_over(limit);
                    end(&terminal, &mut program).await;
                    break Verdict::Timeout;
                }
                None => noticed = session.notice(noticed),
            },
        }
    };
    if open {
        session.drain(&terminal, &mut buffer).await;
    }
    session.change(|state| state.verdict = Some(verdict));
}

/// Hangs up, and kills what does not heed that.
async fn end(terminal: &Terminal, program: &mut Program) -> Verdict {
    terminal.hang_up();
    let waited = timeout(GRACE, program.wait()).await;
    if let Ok(verdict) = waited {
        return verdict;
    }
    terminal.kill();
    program.wait().await
}

impl Session {
    fn print(&self, bytes: &[u8]) {
        self.change(|state| {
            state.output.push(bytes);
            state.active_at = Instant::now();
        });
    }

    /// Does what streams asked for: the terminal's size now, and whether it is to end.
    fn obey(&self, terminal: &Terminal, size: Size) -> (Size, bool) {
        let mut state = self.look();
        let (wished, redraw) = (state.size, std::mem::take(&mut state.redraw));
        if wished != size {
            terminal.resize(wished);
        } else if redraw {
            terminal.redraw();
        }
        (wished, state.end)
    }

    /// Takes what the program left behind in the terminal.
    async fn drain(&self, terminal: &Terminal, buffer: &mut [u8]) {
        let mut left = MAX_BACKLOG;
        while left > 0 {
            match timeout(DRAIN, terminal.read(buffer)).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.print(buffer.get(..count).unwrap_or_default());
                }
            }
        }
    }

    fn notice_after(&self) -> Duration {
        self.idle.duration() - self.warning()
    }

    /// How long before its end people are told, however late this process gets to it.
    fn warning(&self) -> Duration {
        NOTICE.min(self.idle.duration() / 2)
    }

    /// When the clock is to be looked at again.
    fn next_limit(&self, noticed: Option<Instant>) -> Instant {
        let state = self.look();
        let idle = match noticed {
            None => state.active_at + self.notice_after(),
            Some(at) => (state.active_at + self.idle.duration()).max(at + self.warning()),
        };
        state.absent_since.map_or(idle, |since| idle.min(since + self.keep.duration()))
    }

    /// The limit that is reached.
    fn over(&self, noticed: Option<Instant>) -> Option<Limit> {
        let state = self.look();
        if state.absent_since.is_some_and(|since| since.elapsed() >= self.keep.duration()) {
            return Some(Limit::Absent);
        }
        let is_warned = noticed.is_some_and(|at| at.elapsed() >= self.warning());
        (is_warned && state.active_at.elapsed() >= self.idle.duration()).then_some(Limit::Idle)
    }

    /// Tells people that it ends soon, once; when they were told.
    fn notice(&self, noticed: Option<Instant>) -> Option<Instant> {
        let silent = self.look().active_at.elapsed();
        if noticed.is_some() || silent < self.notice_after() {
            return noticed;
        }
        let left = self.idle.duration().saturating_sub(silent).max(self.warning());
        let left = Millis::from_secs(left.as_secs().max(1));
        self.say(format!("this session ends in {left}, because nothing is typed or printed; any key keeps it"));
        Some(Instant::now())
    }

    fn say_over(&self, limit: Limit) {
        self.say(match limit {
            Limit::Idle => format!("the session ends: nothing was typed or printed for {}", self.idle),
            Limit::Absent => format!("the session ends: nobody used it for {}", self.keep),
        });
    }

    fn say(&self, text: String) {
        self.change(|state| state.notice = (state.notice.0 + 1, text));
    }
}
