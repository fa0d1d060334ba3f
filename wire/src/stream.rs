//! Exec and logs: each on a stream of its own. Shells and jobs open theirs here too; what follows is in [`crate::shell`]
//! and [`crate::job`].
//!
//! Between manager and agent the stream begins with an [`Open`] frame from the manager. Between client and manager
//! it is the body of a request and of its answer; there each frame of the answer begins with the target's number
//! (u32, big endian), and the first frame names the targets.

use std::collections::BTreeMap;
use std::fmt;

use robo_model::name::DeviceName;
use robo_model::quantity::Millis;
use robo_model::spec::InstanceKey;
use serde::{Deserialize, Serialize};

use crate::call::CallTicket;
use crate::collect::CollectOpen;
use crate::copy::CopyOpen;
use crate::forward::ForwardOpen;
use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::health::HealthOpen;
use crate::job::RunOpen;
use crate::log_files::LogFilesOpen;
use crate::shell::ShellOpen;
use crate::ssh::SshKeysOpen;
use crate::tail::TailOpen;
use crate::upgrade::UpgradeOpen;

/// The media type of framed bodies.
pub const MEDIA_TYPE: &str = "application/vnd.robo.frames";

/// Most bytes of data in one frame; leaves room for a header.
pub const MAX_CHUNK: usize = 32 * 1024;

/// Most targets of one exec: keeps the answer's table small.
pub const MAX_TARGETS: usize = 20_000;

/// What a stream is for; its first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// Runs a command.
    Exec(Command),
    /// Reads an instance's output.
    Logs(LogsOpen),
    /// Begins a shell session, or comes back to one.
    Shell(ShellOpen),
    /// Copies files to the device, or from it.
    Copy(CopyOpen),
    /// Begins a run of a job, or comes back to one.
    Run(RunOpen),
    /// Begins a connection through the device, or comes back to one.
    Forward(ForwardOpen),
    /// Reads logs: of instances, the agent, units.
    Tail(TailOpen),
    /// Collects what helps to find a fault.
    Collect(CollectOpen),
    /// Says how the device is.
    Health(HealthOpen),
    /// Looks at the keys that may log in by SSH, or changes them.
    SshKeys(SshKeysOpen),
    /// Replaces the agent's program.
    Upgrade(UpgradeOpen),
    /// As `run`, of a command within an instance: an agent that knows no such commands refuses the stream, and never runs
    /// one elsewhere.
    RunWithin(RunOpen),
    /// As `shell`, within an instance, for the same reason.
    ShellWithin(ShellOpen),
    /// Says which files of logs there are.
    LogFiles(LogFilesOpen),
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// Program and arguments; no shell runs.
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
    /// How long it may run; no limit where none is given.
    #[serde(default)]
    pub timeout: Option<Millis>,
    /// True when input follows.
    #[serde(default)]
    pub stdin: bool,
    /// Run it where this instance runs: in its folder, with its environment, as its user. Its one target is then named as
    /// the instance is, `shop/robot-7/navigation`, which is no name of a device for who does not know of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<InstanceKey>,
}

/// An instance's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsOpen {
    /// Which instance.
    pub key: InstanceKey,
    /// How many of the last lines, at first.
    pub lines: u32,
    /// True to go on with what comes.
    #[serde(default)]
    pub follow: bool,
}

/// A client's request to run a command; the first frame of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecRequest {
    /// Where.
    pub targets: Targets,
    /// What.
    pub command: Command,
    /// True when the caller can come back: it wants a ticket, and tells how far the output has arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumable: bool,
    /// What a device must have for it; one that lacks that is refused, and not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Requirement>,
}

/// What a device must have, so that a command makes sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Requirement {
    /// Its services are systemd's.
    Systemd,
}

impl Requirement {
    /// The capability by which a device tells that it has it.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
        }
    }

    /// What is said of a device that does not have it.
    #[must_use]
    pub const fn lacking(self) -> &'static str {
        match self {
            Self::Systemd => "there is no systemd there: its agent does not tell the capability `systemd`",
        }
    }
}

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Targets {
    /// These; a name that no device has gets a verdict too.
    Names(Vec<String>),
    /// Those whose labels match.
    Selector(String),
    /// Every device of the project.
    All,
}

/// The one terminal outcome of a job for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// It exited with 0.
    Ok,
    /// It exited with another code, or by a signal (then 128 + its number, as shells have it).
    Failed {
        /// The code.
        code: i32,
    },
    /// Its time was over; what was left of it was killed.
    Timeout,
    /// The device is not connected.
    Offline,
    /// It was not run: no such device, no such program, no such directory.
    Refused {
        /// Why.
        reason: String,
    },
    /// The link or the manager went away in the middle.
    Lost {
        /// What is known.
        reason: String,
    },
    /// It was ended, or not begun, because somebody or something said so.
    Cancelled {
        /// Who or what.
        reason: String,
    },
    /// The device did not come before the time to wait for it was over.
    Expired,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Failed { code } => write!(f, "exit {code}"),
            Self::Timeout => f.write_str("timed out"),
            Self::Offline => f.write_str("offline"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            Self::Expired => f.write_str("expired: the device did not come in time"),
        }
    }
}

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFrame {
    /// Input.
    Stdin(Vec<u8>),
    /// No more input.
    StdinEnd,
    /// Send this signal to the command's process group.
    Signal(i32),
    /// Output.
    Stdout(Vec<u8>),
    /// Error output.
    Stderr(Vec<u8>),
    /// The end; nothing follows.
    Verdict(Verdict),
    /// From a caller that can come back: the output of this target has arrived at it up to this place.
    Received(u32, u64),
    /// From a caller that can come back: the verdict of this target has arrived at it.
    Seen(u32),
    /// To a caller that can come back: its input was taken up to this place.
    Taken(u64),
    /// A frame of a newer version.
    Unknown(u8),
}

const OPEN: u8 = 1;
const STDIN: u8 = 2;
const STDIN_END: u8 = 3;
const SIGNAL: u8 = 4;
const STDOUT: u8 = 5;
const STDERR: u8 = 6;
pub(crate) const VERDICT: u8 = 7;
const REQUEST: u8 = 8;
const TARGETS: u8 = 9;
const RECEIVED: u8 = 10;
const SEEN: u8 = 11;
const TAKEN: u8 = 12;
const TICKET: u8 = 13;
// 14: `crate::call`. From 16 on: `crate::shell`; from 32 on: `crate::copy`; from 96 on: `crate::job`; from 112 on: `crate::forward`;
// from 120 on: `crate::tail`; from 136 on: `crate::upgrade`.

impl From<RunOpen> for Open {
    fn from(open: RunOpen) -> Self {
        let is_within = open.start.as_ref().is_some_and(|start| start.command.within.is_some());
        if is_within { Self::RunWithin(open) } else { Self::Run(open) }
    }
}

impl From<ShellOpen> for Open {
    fn from(open: ShellOpen) -> Self {
        let is_within = open.start.as_ref().is_some_and(|start| start.within.is_some());
        if is_within { Self::ShellWithin(open) } else { Self::Shell(open) }
    }
}

impl Open {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the command is too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(OPEN, &frame::to_body(OPEN, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a stream.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, OPEN)
    }
}

impl ExecRequest {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When command and targets are too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(REQUEST, &frame::to_body(REQUEST, self)?, frame::MAX_CONTROL_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, REQUEST)
    }
}

pub(crate) fn expect<T: serde::de::DeserializeOwned>(frame: &Frame, kind: u8) -> Result<T, FrameError> {
    if frame.kind != kind {
        return Err(FrameError::Body { kind: frame.kind, reason: format!("a frame of kind {kind} was expected") });
    }
    frame::from_body(frame.kind, &frame.body)
}

impl StreamFrame {
    fn parts(&self) -> Result<(u8, Vec<u8>), FrameError> {
        Ok(match self {
            Self::Stdin(data) => (STDIN, data.clone()),
            Self::StdinEnd => (STDIN_END, Vec::new()),
            Self::Signal(number) => (SIGNAL, number.to_be_bytes().to_vec()),
            Self::Stdout(data) => (STDOUT, data.clone()),
            Self::Stderr(data) => (STDERR, data.clone()),
            Self::Verdict(verdict) => (VERDICT, frame::to_body(VERDICT, verdict)?),
            Self::Received(target, place) => (RECEIVED, [&target.to_be_bytes()[..], &place.to_be_bytes()].concat()),
            Self::Seen(target) => (SEEN, target.to_be_bytes().to_vec()),
            Self::Taken(place) => (TAKEN, place.to_be_bytes().to_vec()),
            Self::Unknown(kind) => (*kind, Vec::new()),
        })
    }

    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = self.parts()?;
        frame::encode(kind, &body, MAX_STREAM_FRAME)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: Frame) -> Result<Self, FrameError> {
        let Frame { kind, mut body } = frame;
        Ok(match kind {
            STDIN => Self::Stdin(body),
            STDIN_END => Self::StdinEnd,
            SIGNAL => Self::Signal(i32::from_be_bytes(
                body.as_slice()
                    .try_into()
                    .map_err(|_| FrameError::Body { kind, reason: "a signal has four bytes".into() })?,
            )),
            STDOUT => Self::Stdout(body),
            STDERR => Self::Stderr(body),
            VERDICT => Self::Verdict(frame::from_body(kind, &body)?),
            RECEIVED => {
                let target = take_number(kind, &mut body)?;
                Self::Received(target, frame::take_place(kind, &mut body)?)
            }
            SEEN => Self::Seen(take_number(kind, &mut body)?),
            TAKEN => Self::Taken(frame::take_place(kind, &mut body)?),
            other => Self::Unknown(other),
        })
    }
}

/// One frame of the answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// First, once: the targets; the frames after it name them by their place here.
    Targets(Vec<DeviceTarget>),
    /// Something from a target.
    From(u32, StreamFrame),
    /// Before all else, to a caller that can come back: what it takes.
    Ticket(CallTicket),
}

/// A target's name: a device's, or what was asked for where there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTarget {
    /// As asked for.
    pub name: String,
    /// The device; nothing where there is none.
    #[serde(default)]
    pub device: Option<DeviceName>,
}

impl Answer {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than its bound.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Targets(targets) => {
                frame::encode(TARGETS, &frame::to_body(TARGETS, targets)?, frame::MAX_CONTROL_FRAME)
            }
            Self::Ticket(ticket) => frame::encode(TICKET, &frame::to_body(TICKET, ticket)?, MAX_STREAM_FRAME),
            Self::From(target, inner) => {
                let (kind, mut body) = inner.parts()?;
                body.splice(0..0, target.to_be_bytes());
                frame::encode(kind, &body, MAX_STREAM_FRAME)
            }
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(mut frame: Frame) -> Result<Self, FrameError> {
        if frame.kind == TARGETS {
            return Ok(Self::Targets(frame::from_body(frame.kind, &frame.body)?));
        }
        if frame.kind == TICKET {
            return Ok(Self::Ticket(frame::from_body(frame.kind, &frame.body)?));
        }
        let number = take_number(frame.kind, &mut frame.body)?;
        Ok(Self::From(number, StreamFrame::decode(frame)?))
    }
}

/// Takes the number of a target from the front of a body.
fn take_number(kind: u8, body: &mut Vec<u8>) -> Result<u32, FrameError> {
    let Some(number) = body.first_chunk::<4>().copied() else {
        return Err(FrameError::Body { kind, reason: "the target's number is missing".into() });
    };
    body.drain(..4);
    Ok(u32::from_be_bytes(number))
}
