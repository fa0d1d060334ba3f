//! Shell sessions: a terminal on a device that outlives the connections over which people use it.
//!
//! A session lives in the agent. The manager holds one stream to it, opened with a [`ShellOpen`], and serves everybody
//! who uses or watches it; a client's request begins with a [`ShellRequest`] or an [`AttachRequest`] and goes on with
//! the same frames. Input and output carry the place of their first byte, counted from the session's begin, so that
//! after a cut nothing is lost and nothing comes twice.

use std::collections::BTreeMap;

use robo_model::name::{DeviceName, SessionId};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::stream::{VERDICT, Verdict, expect};

/// Most bytes of output that are kept for who comes back: many screens, and little enough for a small device.
pub const MAX_BACKLOG: usize = 1024 * 1024;

/// Most bytes of input that are under way and not taken yet: a large paste, and nobody types blindly for longer.
pub const MAX_INPUT: usize = 64 * 1024;

/// Output of this many bytes that was not taken yet holds up the program that prints it.
pub const WINDOW: u64 = 256 * 1024;

/// What a client sees of the output when it attaches anew: the last screens.
pub const MAX_REPLAY: u64 = 32 * 1024;

/// Most columns, and most lines, of a terminal: more than any screen has, and a screen of this size fits in memory.
pub const MAX_SIDE: u16 = 1000;

/// Most bytes of a session's words and variables together; also what a history event may hold of them.
pub const MAX_START: usize = 32 * 1024;

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Size {
    /// Columns, from 1 to [`MAX_SIDE`].
    pub cols: u16,
    /// Lines, from 1 to [`MAX_SIDE`].
    pub rows: u16,
}

impl Size {
    /// What is taken where nobody says it.
    pub const USUAL: Self = Self { cols: 80, rows: 24 };

    /// The nearest size that a terminal can have.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { cols: self.cols.clamp(1, MAX_SIDE), rows: self.rows.clamp(1, MAX_SIDE) }
    }
}

/// What a session runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShellStart {
    /// Program and arguments; the login shell of the agent's user where there are none.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Variables on top of a clean environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The working directory; the user's home where none is given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The user to run it as; whom the device chooses where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The kind of terminal, for `TERM`.
    pub term: String,
    /// Its size at first.
    pub size: Size,
    /// How long the session is kept while nobody uses it.
    pub keep: Millis,
    /// How long it may be that nothing is typed and nothing printed.
    pub idle: Millis,
    /// Run it where this instance runs: in its folder, with its environment, as its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<InstanceKey>,
}

impl ShellStart {
    /// How long a session that nobody uses is kept where nothing is said: far more than the two minutes of a cut.
    pub const KEEP: Millis = Millis::from_secs(10 * 60);

    /// How long a session may be idle where nothing is said.
    pub const IDLE: Millis = Millis::from_secs(60 * 60);

    /// The shortest time for either: shorter ones would end sessions while their client dials.
    pub const LEAST: Millis = Millis::from_secs(5);

    /// The longest time for either: a forgotten root shell is a risk.
    pub const LONGEST: Millis = Millis::from_secs(7 * 24 * 60 * 60);

    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        for (name, time) in [("keep", self.keep), ("idle", self.idle)] {
            if !(Self::LEAST..=Self::LONGEST).contains(&time) {
                return Err(format!("`{name}` is {time}; it is from {} to {}", Self::LEAST, Self::LONGEST));
            }
        }
        let size = self.size;
        if size != size.bounded() {
            return Err(format!(
                "a terminal of {} columns and {} lines cannot be; both are from 1 to {MAX_SIDE}",
                size.cols, size.rows
            ));
        }
        let words = self.argv.iter().chain(self.env.iter().flat_map(|(name, value)| [name, value]));
        let words = words.chain(&self.cwd).chain(&self.user).chain([&self.term]);
        let mut bytes = 0;
        for word in words {
            bytes += word.len() + 1;
            if word.contains('\0') {
                return Err("a word of the command has a zero byte in it, which no program can be given".into());
            }
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(format!("`{name}` is no name of a variable"));
        }
        if bytes > MAX_START {
            return Err(format!("the command and its variables have {bytes} bytes, at most {MAX_START} are allowed"));
        }
        if self.argv.first().is_some_and(String::is_empty) {
            return Err("the command's first word is empty".into());
        }
        if self.user.as_deref() == Some("") {
            return Err("the user's name is empty".into());
        }
        Ok(())
    }
}

/// The manager begins a session, or comes back to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOpen {
    /// Which.
    pub session: SessionId,
    /// What to run when there is no such session yet. Without it, one that is not there is refused.
    #[serde(default)]
    pub start: Option<ShellStart>,
    /// The place in the output from which on the manager lacks it.
    #[serde(default)]
    pub from: u64,
}

/// The agent's first frame: the session is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The place of the first byte of output that can still be had.
    #[serde(deserialize_with = "frame::read_place")]
    pub from: u64,
    /// How much input it has taken.
    #[serde(deserialize_with = "frame::read_place")]
    pub taken: u64,
}

/// A client begins a session; the first frame of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShellRequest {
    /// What to run.
    pub start: ShellStart,
    /// A random number by which the manager knows the client again.
    pub client: u64,
}

/// A client comes back to a session; the first frame of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachRequest {
    /// A random number by which the manager knows the client again.
    pub client: u64,
    /// The place in the output from which on the client lacks it; nothing when it has seen none of it.
    #[serde(default)]
    pub from: Option<u64>,
    /// The size of its terminal.
    pub size: Size,
}

/// The manager's first frame to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Joined {
    /// The session.
    pub session: SessionId,
    /// On which device.
    pub device: DeviceName,
    /// The place of the first byte of output that follows.
    pub from: u64,
    /// How much of this client's input has been taken; nothing when the manager does not know the client.
    #[serde(default)]
    pub taken: Option<u64>,
    /// How long the session is kept while nobody uses it.
    pub keep: Millis,
    /// The terminal's size.
    pub size: Size,
}

/// One session, as the manager tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// Its identity.
    pub id: SessionId,
    /// On which device.
    pub device: DeviceName,
    /// Who began it.
    pub by: String,
    /// What it runs; empty for the login shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// The user that it was asked to run as; nothing where the device chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it began.
    pub started_at: UnixMillis,
    /// When it ended; nothing while it goes on.
    #[serde(default)]
    pub ended_at: Option<UnixMillis>,
    /// How it ended.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Who ended it, when it was not its own doing.
    #[serde(default)]
    pub ended_by: Option<String>,
    /// How many use it now.
    #[serde(default)]
    pub users: u32,
    /// How many watch it now.
    #[serde(default)]
    pub watchers: u32,
    /// True while the manager reaches it.
    #[serde(default)]
    pub reachable: bool,
    /// Bytes of its recording.
    #[serde(default)]
    pub recorded: u64,
}

/// One frame of a session's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellFrame {
    /// What is typed, and the place of its first byte.
    Input(u64, Vec<u8>),
    /// The terminal has this size now.
    Resize(Size),
    /// End the session.
    End,
    /// Whether somebody uses the session at this moment.
    Present(bool),
    /// Draw the screen anew, for somebody who has not seen it.
    Redraw,
    /// The session is there.
    Attached(Attached),
    /// What is printed, and the place of its first byte.
    Output(u64, Vec<u8>),
    /// So much of the input was taken.
    Taken(u64),
    /// Something that people are to be told.
    Notice(String),
    /// Whether the manager reaches the session.
    Reachable(bool),
    /// The first frame to a client.
    Joined(Joined),
    /// How the session ended; nothing follows.
    Verdict(Verdict),
    /// A frame of a newer version.
    Unknown(u8),
}

const INPUT: u8 = 16;
const RESIZE: u8 = 17;
const END: u8 = 18;
const PRESENT: u8 = 19;
const REDRAW: u8 = 20;
const ATTACHED: u8 = 21;
const OUTPUT: u8 = 22;
const TAKEN: u8 = 23;
const NOTICE: u8 = 24;
const REACHABLE: u8 = 25;
const JOINED: u8 = 26;
const SHELL_REQUEST: u8 = 27;
const ATTACH_REQUEST: u8 = 28;
/// A manager that knows of no sessions within instances refuses it, and begins none elsewhere.
const SHELL_WITHIN_REQUEST: u8 = 29;

impl ShellRequest {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the command is too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let kind = if self.start.within.is_some() { SHELL_WITHIN_REQUEST } else { SHELL_REQUEST };
        frame::encode(kind, &frame::to_body(kind, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let request: Self =
            expect(frame, if frame.kind == SHELL_WITHIN_REQUEST { SHELL_WITHIN_REQUEST } else { SHELL_REQUEST })?;
        if request.start.within.is_some() == (frame.kind == SHELL_WITHIN_REQUEST) {
            return Ok(request);
        }
        Err(wrong(frame.kind, "it does not say in which instance"))
    }
}

impl AttachRequest {
    /// The frame's bytes.
    ///
    /// # Errors
    /// Never: it is small.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(ATTACH_REQUEST, &frame::to_body(ATTACH_REQUEST, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, ATTACH_REQUEST)
    }
}

impl ShellFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Input(place, data) => (INPUT, placed(*place, data)),
            Self::Resize(size) => (RESIZE, [size.cols.to_be_bytes(), size.rows.to_be_bytes()].concat()),
            Self::End => (END, Vec::new()),
            Self::Present(present) => (PRESENT, vec![u8::from(*present)]),
            Self::Redraw => (REDRAW, Vec::new()),
            Self::Attached(attached) => (ATTACHED, frame::to_body(ATTACHED, attached)?),
            Self::Output(place, data) => (OUTPUT, placed(*place, data)),
            Self::Taken(place) => (TAKEN, place.to_be_bytes().to_vec()),
            Self::Notice(text) => (NOTICE, text.clone().into_bytes()),
            Self::Reachable(reachable) => (REACHABLE, vec![u8::from(*reachable)]),
            Self::Joined(joined) => (JOINED, frame::to_body(JOINED, joined)?),
            Self::Verdict(verdict) => (VERDICT, frame::to_body(VERDICT, verdict)?),
            Self::Unknown(kind) => (*kind, Vec::new()),
        };
        frame::encode(kind, &body, MAX_STREAM_FRAME)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: Frame) -> Result<Self, FrameError> {
        let Frame { kind, mut body } = frame;
        Ok(match kind {
            INPUT => Self::Input(frame::take_place(kind, &mut body)?, body),
            RESIZE => Self::Resize(size(kind, &body)?),
            END => Self::End,
            PRESENT => Self::Present(flag(kind, &body)?),
            REDRAW => Self::Redraw,
            ATTACHED => Self::Attached(frame::from_body(kind, &body)?),
            OUTPUT => Self::Output(frame::take_place(kind, &mut body)?, body),
            TAKEN => Self::Taken(frame::take_place(kind, &mut body)?),
            NOTICE => Self::Notice(String::from_utf8(body).map_err(|_| wrong(kind, "a notice is text"))?),
            REACHABLE => Self::Reachable(flag(kind, &body)?),
            JOINED => Self::Joined(frame::from_body(kind, &body)?),
            VERDICT => Self::Verdict(frame::from_body(kind, &body)?),
            other => Self::Unknown(other),
        })
    }
}

fn placed(place: u64, data: &[u8]) -> Vec<u8> {
    [&place.to_be_bytes(), data].concat()
}

fn size(kind: u8, body: &[u8]) -> Result<Size, FrameError> {
    let &[a, b, c, d] = body else { return Err(wrong(kind, "a size has four bytes")) };
    let size = Size { cols: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) };
    if size == size.bounded() { Ok(size) } else { Err(wrong(kind, "no terminal has this size")) }
}

fn flag(kind: u8, body: &[u8]) -> Result<bool, FrameError> {
    match body {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(wrong(kind, "it is one byte, 0 or 1")),
    }
}

fn wrong(kind: u8, reason: &str) -> FrameError {
    FrameError::Body { kind, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> ShellStart {
        ShellStart {
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            term: "xterm".into(),
            size: Size::USUAL,
            keep: ShellStart::KEEP,
            idle: ShellStart::IDLE,
            within: None,
        }
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let check = |with: fn(&mut ShellStart), expect: &str| {
            let mut start = start();
            with(&mut start);
            let told = start.check().unwrap_err();
            assert!(told.contains(expect), "{told}");
        };
        assert_eq!(start().check(), Ok(()));
        check(|s| s.keep = Millis(1), "`keep` is 1ms; it is from 5s to 7days");
        check(|s| s.idle = Millis(u64::MAX), "`idle`");
        check(|s| s.size.cols = 0, "0 columns");
        check(|s| s.size.rows = MAX_SIDE + 1, "1001 lines");
        check(|s| s.argv = vec!["a\0b".into()], "zero byte");
        check(|s| s.term = "\0".into(), "zero byte");
        check(|s| s.argv = vec![String::new()], "first word is empty");
        check(|s| s.argv = vec!["x".repeat(MAX_START)], "at most 32768");
        check(|s| drop(s.env.insert("A=B".into(), String::new())), "`A=B` is no name");
        check(|s| drop(s.env.insert(String::new(), String::new())), "`` is no name");
    }

    #[test]
    fn wrong_bodies_are_refused() {
        let check = |kind, body: &[u8]| {
            let frame = Frame { kind, body: body.to_vec() };
            assert!(ShellFrame::decode(frame).is_err(), "{kind} {body:?}");
        };
        for kind in [INPUT, OUTPUT, TAKEN] {
            check(kind, &[0; 7]);
        }
        check(RESIZE, &[0, 80, 0]);
        check(RESIZE, &[0, 80, 0, 0]);
        check(RESIZE, &[0xff, 80, 0, 24]);
        check(PRESENT, &[]);
        check(REACHABLE, &[2]);
        check(NOTICE, &[0xff]);
        for kind in [ATTACHED, JOINED, VERDICT] {
            check(kind, b"x");
        }
        assert_eq!(ShellFrame::decode(Frame { kind: 200, body: vec![1] }), Ok(ShellFrame::Unknown(200)));
        assert!(ShellFrame::Output(0, vec![0; MAX_STREAM_FRAME]).encode().is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(kind in 0_u8..40, body in prop::collection::vec(any::<u8>(), 0..60)) {
            let frame = Frame { kind, body };
            drop(ShellFrame::decode(frame.clone()));
            drop(ShellRequest::decode(&frame));
            drop(AttachRequest::decode(&frame));
        }
    }
}
