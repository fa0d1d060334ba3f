//! A visit to a session, from its begin to its end, over as many connections as it takes.

use std::io::{self, IsTerminal as _, Read as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use robo_model::quantity::Millis;
use robo_wire::backlog::Backlog;
use robo_wire::frame::Frame;
use robo_wire::shell::{Joined, MAX_INPUT, ShellFrame};
use robo_wire::stream::{MAX_CHUNK, Verdict};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Permit, Sender};

use super::keys::{HELP, Key, Keys};
use super::line::{self, Line, LineError, Way};
use super::picture::Picture;
use crate::cli::Env;
use crate::client::Client;
use crate::commands::exec::FramesError;
use crate::error::{CliError, Exit};
use crate::terminal::{self, Raw};

/// Bytes read from the keyboard at a time.
const PIECE: usize = 4096;

/// Pieces of input that wait to be looked at.
const INPUT_QUEUE: usize = 4;

/// Time between two tries to come back: short, because somebody waits, and there are few of them.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the request to end a session may take.
const ENDING: Duration = Duration::from_secs(5);

/// The codes of programs that these signals ended, as shells have them.
const SIGNALS: [(i32, u8); 3] = [(1, 129), (2, 130), (15, 143)];

/// Goes to a session and stays until one of both ends.
///
/// # Errors
/// When it cannot be had, or is lost.
pub(crate) async fn visit(way: Way, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    let mut visit = Visit::new(env, client, matches!(way, Way::Watch { .. }))?;
    let opening = line::open(visit.client.clone(), way, visit.number, terminal::size());
    let (line, joined) = tokio::select! {
        opened = opening => opened?,
        code = visit.signals.next() => return Ok(Exit::Remote(code)),
    };
    // Who watches may do that from a program too.
    let raw = if io::stdin().is_terminal() { Some(enter()?) } else { None };
    visit.input = raw.is_some().then(keyboard).transpose().map_err(|error| unreadable(&error))?;
    visit.greet(&joined);
    visit.size_due = !visit.watches;
    let leave = visit.stay(line, joined).await;
    if !matches!(leave, Leave::Over(_)) && visit.env.ui.out_is_terminal {
        visit.env.ui.text(&visit.picture.undo())?;
    }
    drop(raw);
    visit.farewell(leave)
}

fn enter() -> Result<Raw, CliError> {
    Raw::enter().map_err(|error| CliError::new(format!("the terminal cannot be used: {error}")))
}

fn unreadable(error: &io::Error) -> CliError {
    CliError::new(format!("the keyboard cannot be read: {error}"))
}

/// Reads the keyboard on a thread of its own: such a read cannot be broken off. The thread ends with the program.
fn keyboard() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (give, take) = mpsc::channel(INPUT_QUEUE);
    std::thread::Builder::new().name("keyboard".into()).spawn(move || {
        let mut buffer = [0; PIECE];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(count) if count > 0 => {
                    if give.blocking_send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    })?;
    Ok(take)
}

/// How a visit ends.
enum Leave {
    /// The session is over.
    Over(Verdict),
    /// The visitor leaves; the session goes on.
    Detached,
    /// A signal ends this program.
    Signal(u8),
    /// It cannot go on.
    Failed(CliError),
}

/// How a connection ends.
enum Left {
    Leave(Leave),
    Broken(String),
}

/// The signals that end this program.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let [a, b, c] = SIGNALS;
        let one = |(number, code)| Ok::<_, io::Error>((signal(SignalKind::from_raw(number))?, code));
        Ok(Self([one(a)?, one(b)?, one(c)?]))
    }

    async fn next(&mut self) -> u8 {
        let [(a, first), (b, second), (c, third)] = &mut self.0;
        tokio::select! {
            _ = a.recv() => *first,
            _ = b.recv() => *second,
            _ = c.recv() => *third,
        }
    }
}

/// A visit under way.
struct Visit<'a> {
    env: &'a Env,
    client: Client,
    /// By which the manager knows us again.
    number: u64,
    watches: bool,
    joined: Option<Joined>,
    /// The place of the next byte of output.
    place: u64,
    /// What was typed and not taken yet.
    typed: Backlog,
    /// The place in it up to which it was sent on this connection.
    sent: u64,
    size_due: bool,
    reachable: bool,
    keys: Keys,
    picture: Picture,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    resized: Signal,
    signals: Signals,
}

impl<'a> Visit<'a> {
    fn new(env: &'a Env, client: Client, watches: bool) -> Result<Self, CliError> {
        let uncaught = |error: io::Error| CliError::new(format!("signals cannot be caught: {error}"));
        Ok(Self {
            env,
            client,
            number: fastrand::u64(..),
            watches,
            joined: None,
            place: 0,
            typed: Backlog::new(0, MAX_INPUT),
            sent: 0,
            size_due: false,
            reachable: true,
            keys: Keys::default(),
            picture: Picture::default(),
            input: None,
            resized: signal(SignalKind::window_change()).map_err(uncaught)?,
            signals: Signals::new().map_err(uncaught)?,
        })
    }

    /// Says something between what is shown.
    fn say(&self, text: &str) {
        let line = self.env.ui.err.dim(&format!("[robo: {text}]"));
        self.env.ui.note(if self.input.is_some() { format!("\r\n{line}\r") } else { line });
    }

    fn greet(&self, joined: &Joined) {
        let Joined { session, device, size, .. } = joined;
        let text = if self.watches {
            let leave = if self.input.is_some() { "Ctrl-] d or Ctrl-C leaves" } else { "Ctrl-C leaves" };
            format!("watching session {session} on {device}, {} columns, {} lines; {leave}", size.cols, size.rows)
        } else {
            format!("session {session} on {device}, recorded; Ctrl-] d detaches, Ctrl-] ? helps")
        };
        let line = self.env.ui.err.dim(&format!("[robo: {text}]"));
        self.env.ui.note(if self.input.is_some() { format!("{line}\r") } else { line });
    }

    fn keep(&self) -> Millis {
        self.joined.as_ref().map_or(Millis(0), |joined| joined.keep)
    }

    /// Stays, over one connection after the other.
    async fn stay(&mut self, line: Line, joined: Joined) -> Leave {
        self.place = joined.from;
        self.joined = Some(joined);
        let mut line = line;
        loop {
            let reason = match self.talk(&mut line).await {
                Left::Leave(leave) => return leave,
                Left::Broken(reason) => reason,
            };
            drop(line);
            line = match self.come_back(&reason).await {
                Ok(line) => line,
                Err(leave) => return leave,
            };
        }
    }

    /// Carries everything both ways until the connection or the visit ends.
    async fn talk(&mut self, line: &mut Line) -> Left {
        let Line { frames, to_manager } = line;
        loop {
            let waits = to_manager.is_some() && (self.size_due || self.typed.end() > self.sent);
            // What is typed blindly is dropped at last; what is pasted waits.
            let reads = !self.reachable || self.typed.room() >= PIECE;
            let leave = tokio::select! {
                frame = frames.next_frame() => match self.take(frame) {
                    Ok(leave) => leave,
                    Err(reason) => return Left::Broken(reason),
                },
                permit = reserve(to_manager.as_ref()), if waits => match permit {
                    Some(permit) => {
                        self.send(permit);
                        None
                    }
                    None => return Left::Broken("the manager takes no more".to_owned()),
                },
                bytes = next_keys(&mut self.input), if reads => self.read(bytes).await,
                _ = self.resized.recv() => {
                    self.size_due = !self.watches;
                    None
                }
                code = self.signals.next() => Some(Leave::Signal(code)),
            };
            if let Some(leave) = leave {
                return Left::Leave(leave);
            }
        }
    }

    /// Takes what came; an error is why the connection broke.
    fn take(&mut self, frame: Result<Option<Frame>, FramesError>) -> Result<Option<Leave>, String> {
        let Some(frame) = frame.map_err(|error| error.to_string())? else {
            return Err("the manager ended the connection".to_owned());
        };
        let shown = ShellFrame::decode(frame)
            .map_err(|error| CliError::new(format!("the manager's answer cannot be read: {error}")))
            .and_then(|frame| self.show(frame));
        Ok(shown.unwrap_or_else(|error| Some(Leave::Failed(error))))
    }

    /// Shows what came.
    fn show(&mut self, frame: ShellFrame) -> Result<Option<Leave>, CliError> {
        match frame {
            ShellFrame::Output(place, bytes) => {
                if place > self.place {
                    self.say(&format!("{} bytes of what was printed are gone", place - self.place));
                }
                let known = usize::try_from(self.place.saturating_sub(place)).unwrap_or(usize::MAX);
                let fresh = bytes.get(known..).unwrap_or_default();
                self.place = self.place.max(place + bytes.len() as u64);
                self.picture.see(fresh);
                self.env.ui.bytes(fresh)?;
            }
            ShellFrame::Taken(place) => self.typed.forget_before(place),
            ShellFrame::Notice(text) => self.say(&text),
            ShellFrame::Reachable(reachable) if reachable != self.reachable => {
                self.reachable = reachable;
                self.say(&if reachable {
                    "the device is back".to_owned()
                } else {
                    format!(
                        "the device is out of reach; the session is kept there for {}; Ctrl-] d detaches",
                        self.keep()
                    )
                });
            }
            ShellFrame::Verdict(verdict) => return Ok(Some(Leave::Over(verdict))),
            // Of a newer version, or not a manager's to say.
            ShellFrame::Reachable(_)
            | ShellFrame::Input(..)
            | ShellFrame::Resize(_)
            | ShellFrame::End
            | ShellFrame::Present(_)
            | ShellFrame::Redraw
            | ShellFrame::Attached(_)
            | ShellFrame::Joined(_)
            | ShellFrame::Unknown(_) => {}
        }
        Ok(None)
    }

    /// Sends what is to be sent next.
    fn send(&mut self, permit: Permit<'_, io::Result<Bytes>>) {
        let frame = if std::mem::take(&mut self.size_due) {
            ShellFrame::Resize(terminal::size())
        } else if let Some((place, bytes)) = self.typed.read(self.sent, MAX_CHUNK) {
            self.sent = place + bytes.len() as u64;
            ShellFrame::Input(place, bytes)
        } else {
            return;
        };
        if let Ok(bytes) = frame.encode() {
            permit.send(Ok(bytes.into()));
        }
    }

    /// Does what was typed. Nothing more comes of a keyboard that is gone.
    async fn read(&mut self, bytes: Option<Vec<u8>>) -> Option<Leave> {
        let Some(bytes) = bytes else { return Some(Leave::Detached) };
        for key in self.keys.read(&bytes) {
            match key {
                Key::Typed(bytes) if self.watches => {
                    // Ctrl-C: nothing else has a meaning for who only watches.
                    if bytes.contains(&0x03) {
                        return Some(Leave::Detached);
                    }
                }
                Key::Typed(bytes) => {
                    let fits = bytes.get(..self.typed.room().min(bytes.len())).unwrap_or_default();
                    self.typed.push(fits);
                }
                Key::Detach => return Some(Leave::Detached),
                Key::Help => self.say(HELP),
                Key::End => self.end().await,
            }
        }
        None
    }

    async fn end(&self) {
        let Some(joined) = &self.joined else { return };
        match tokio::time::timeout(ENDING, self.client.end_session(&joined.session)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.say(&format!("the session cannot be ended: {error}")),
            Err(_) => self.say("the session cannot be ended: the manager does not answer"),
        }
    }

    /// Comes back after the connection broke, for as long as the session is kept.
    async fn come_back(&mut self, reason: &str) -> Result<Line, Leave> {
        let Some(id) = self.joined.as_ref().map(|joined| joined.session.clone()) else {
            return Err(Leave::Failed(CliError::new(reason.to_owned())));
        };
        let since = Instant::now();
        tracing::debug!("the connection broke: {reason}");
        let leave = if self.input.is_some() { "Ctrl-] d" } else { "Ctrl-C" };
        self.say(&format!("the connection is lost; coming back, for up to {}; {leave} leaves", self.keep()));
        loop {
            let (id, from) = (id.clone(), Some(self.place));
            let way = if self.watches { Way::Watch { id, from } } else { Way::Come { id, from } };
            let opening = line::open(self.client.clone().impatient(), way, self.number, terminal::size());
            let opened: Result<(Line, Joined), LineError> = self.unless_left(opening).await?;
            match opened {
                Ok((line, joined)) => {
                    self.adopt(joined);
                    return Ok(line);
                }
                Err(error) if error.is_passing() && since.elapsed() < self.keep().duration() => {
                    tracing::debug!("not back yet: {error}");
                }
                Err(error) => return Err(Leave::Failed(error.into())),
            }
            self.unless_left(tokio::time::sleep(PAUSE)).await?;
        }
    }

    /// Waits for `future`, unless the visitor leaves before.
    async fn unless_left<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Leave> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Ok(done),
                bytes = next_keys(&mut self.input) => {
                    if let Some(leave) = self.read(bytes).await {
                        return Err(leave);
                    }
                }
                code = self.signals.next() => return Err(Leave::Signal(code)),
            }
        }
    }

    /// Goes on with a new connection.
    fn adopt(&mut self, joined: Joined) {
        self.say("back");
        match joined.taken {
            Some(taken) => self.typed.forget_before(taken),
            None if self.sent > self.typed.start() => {
                let bytes = self.sent - self.typed.start();
                self.typed.forget_before(self.sent);
                self.say(&format!("the last {bytes} bytes that were typed have perhaps not arrived"));
            }
            None => {}
        }
        self.sent = self.typed.start();
        self.reachable = true;
        self.joined = Some(joined);
    }

    fn farewell(self, leave: Leave) -> Result<Exit, CliError> {
        let id = self.joined.as_ref().map(|joined| joined.session.clone());
        let id = id.as_ref().map_or("", |id| id.as_str());
        match leave {
            Leave::Over(Verdict::Ok) => Ok(Exit::Done),
            Leave::Over(Verdict::Failed { code }) => Ok(Exit::Remote(u8::try_from(code).unwrap_or(u8::MAX))),
            Leave::Over(Verdict::Timeout) => Ok(Exit::TimedOut),
            Leave::Over(
                verdict @ (Verdict::Offline
                | Verdict::Refused { .. }
                | Verdict::Lost { .. }
                | Verdict::Cancelled { .. }
                | Verdict::Expired),
            ) => Err(CliError::new(format!("the session {id} is over: {verdict}"))),
            Leave::Detached => {
                if !self.watches {
                    self.env
                        .ui
                        .note(format!("\r\nDetached. `robo session attach {id}` comes back, within {}.", self.keep()));
                }
                Ok(Exit::Done)
            }
            Leave::Signal(code) => Ok(Exit::Remote(code)),
            Leave::Failed(error) => Err(error),
        }
    }
}

/// Room for a frame; nothing when the connection takes no more.
async fn reserve(to_manager: Option<&Sender<io::Result<Bytes>>>) -> Option<Permit<'_, io::Result<Bytes>>> {
    match to_manager {
        Some(to_manager) => to_manager.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

/// What is typed next; without a keyboard, never anything.
async fn next_keys(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}
