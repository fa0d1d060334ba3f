//! Jobs: commands that outlive the connections over which they were ordered.
//!
//! A run is a job's command on one device. It lives in the agent; the manager opens a stream to it with a [`RunOpen`],
//! again after each cut. Input and output carry the place of their first byte, counted from the run's begin, so that
//! nothing is lost and nothing comes twice; and a run begins at most once, however often it is asked for.

use robo_model::name::JobId;
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::stream::{Command, Targets, Verdict};

/// Output that has not arrived yet holds up a command in the foreground from this many bytes on.
pub const WINDOW: u64 = 256 * 1024;

/// The receiver says how far it is at least each time it has so many bytes more.
pub const RECEIVED_EVERY: u64 = WINDOW / 4;

/// Most bytes of input that are under way and not taken yet.
pub const MAX_INPUT: usize = 128 * 1024;

/// So much of the begin of a background command's output is kept.
pub const MAX_HEAD: u64 = 256 * 1024;

/// So much of the end of a background command's output is kept.
pub const MAX_TAIL: u64 = 256 * 1024;

/// How long a command in the foreground goes on while nobody takes its output: as long as a device may take to dial
/// again.
pub const ABSENT: Millis = Millis::from_secs(2 * 60);

/// How long an agent keeps the outcome of a run that nobody came for.
pub const KEEP: Millis = Millis::from_secs(24 * 60 * 60);

/// The longest time that a job may wait for a device.
pub const MAX_QUEUE: Millis = Millis::from_secs(30 * 24 * 60 * 60);

/// Most bytes of a command's words, variables and folder together: it fits into a frame with room.
pub const MAX_COMMAND: usize = 48 * 1024;

/// Asks for a run: begins it, or comes back to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOpen {
    /// Which.
    pub job: JobId,
    /// What to run; nothing when it was begun for certain, or must not be begun any more.
    #[serde(default)]
    pub start: Option<RunStart>,
    /// How long ago the manager asked for the first time; nothing when this is the first time. An agent that began
    /// later than that cannot know whether the command ran, and begins nothing.
    #[serde(default)]
    pub asked: Option<Millis>,
    /// The manager has the output up to here.
    pub from: u64,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// The command.
    pub command: Command,
    /// True when nobody waits for its output: then it is not held up, and of much output the middle is dropped.
    #[serde(default)]
    pub background: bool,
}

/// The agent has the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When it began, by the device's clock.
    pub at: UnixMillis,
    /// So much of the input was taken.
    #[serde(deserialize_with = "frame::read_place")]
    pub taken: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its one verdict.
    pub verdict: Verdict,
    /// When it began, by the device's clock; nothing when it did not.
    #[serde(default)]
    pub began_at: Option<UnixMillis>,
    /// When it ended, by the clock of who says so.
    pub ended_at: UnixMillis,
}

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One frame of a run's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFrame {
    /// Input, and the place of its first byte.
    Input(u64, Vec<u8>),
    /// The input ends.
    InputEnd,
    /// Send this signal to the command's process group.
    Signal(i32),
    /// The output has arrived up to here.
    Received(u64),
    /// End the run.
    Cancel,
    /// How it ended is kept elsewhere: forget it.
    Done,
    /// The run is there.
    Begun(Begun),
    /// Output, and the place of its first byte; both outputs are counted together.
    Output(Output, u64, Vec<u8>),
    /// So much of the input was taken.
    Taken(u64),
    /// How it ended; no output follows.
    Ended(Ended),
    /// A frame of a newer version.
    Unknown(u8),
}

const INPUT: u8 = 96;
const INPUT_END: u8 = 97;
const SIGNAL: u8 = 98;
const RECEIVED: u8 = 99;
const CANCEL: u8 = 100;
const DONE: u8 = 101;
const BEGUN: u8 = 102;
const STDOUT: u8 = 103;
const STDERR: u8 = 104;
const TAKEN: u8 = 105;
const ENDED: u8 = 106;

impl RunFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Input(place, data) => (INPUT, placed(*place, data)),
            Self::InputEnd => (INPUT_END, Vec::new()),
            Self::Signal(number) => (SIGNAL, number.to_be_bytes().to_vec()),
            Self::Received(place) => (RECEIVED, place.to_be_bytes().to_vec()),
            Self::Cancel => (CANCEL, Vec::new()),
            Self::Done => (DONE, Vec::new()),
            Self::Begun(begun) => (BEGUN, frame::to_body(BEGUN, begun)?),
            Self::Output(Output::Stdout, place, data) => (STDOUT, placed(*place, data)),
            Self::Output(Output::Stderr, place, data) => (STDERR, placed(*place, data)),
            Self::Taken(place) => (TAKEN, place.to_be_bytes().to_vec()),
            Self::Ended(ended) => (ENDED, frame::to_body(ENDED, ended)?),
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
            INPUT_END => Self::InputEnd,
            SIGNAL => {
                let number = body.as_slice().try_into().map_err(|_| wrong(kind, "a signal has four bytes"))?;
                Self::Signal(i32::from_be_bytes(number))
            }
            RECEIVED => Self::Received(frame::take_place(kind, &mut body)?),
            CANCEL => Self::Cancel,
            DONE => Self::Done,
            BEGUN => Self::Begun(frame::from_body(kind, &body)?),
            STDOUT => Self::Output(Output::Stdout, frame::take_place(kind, &mut body)?, body),
            STDERR => Self::Output(Output::Stderr, frame::take_place(kind, &mut body)?, body),
            TAKEN => Self::Taken(frame::take_place(kind, &mut body)?),
            ENDED => Self::Ended(frame::from_body(kind, &body)?),
            other => Self::Unknown(other),
        })
    }
}

fn placed(place: u64, data: &[u8]) -> Vec<u8> {
    [&place.to_be_bytes(), data].concat()
}

fn wrong(kind: u8, reason: &str) -> FrameError {
    FrameError::Body { kind, reason: reason.to_owned() }
}

impl Command {
    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        if self.argv.is_empty() {
            return Err("the command has no words".into());
        }
        if self.argv.first().is_some_and(String::is_empty) {
            return Err("the command's first word is empty".into());
        }
        let words = self.argv.iter().chain(self.env.iter().flat_map(|(name, value)| [name, value]));
        let mut bytes = 0;
        for word in words.chain(&self.cwd).chain(&self.user) {
            bytes += word.len() + 1;
            if word.contains('\0') {
                return Err("a word of the command has a zero byte in it, which no program can be given".into());
            }
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(format!("`{name}` is no name of a variable"));
        }
        if bytes > MAX_COMMAND {
            return Err(format!(
                "the command and its variables have {bytes} bytes, at most {MAX_COMMAND} are allowed; give the rest as input"
            ));
        }
        if self.user.as_deref() == Some("") {
            return Err("the user's name is empty".into());
        }
        Ok(())
    }
}

/// A request for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobRequest {
    /// Where.
    pub targets: Targets,
    /// What.
    pub command: Command,
    /// How long it waits for devices that are offline; where none is given they have their verdict at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Millis>,
    /// On how many devices it runs at a time, at most; on all where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// After the first verdict that is not ok it begins nowhere any more.
    #[serde(default)]
    pub fail_fast: bool,
}

impl JobRequest {
    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        self.command.check()?;
        if self.command.stdin {
            return Err("a job in the background has no input".into());
        }
        if self.concurrency == Some(0) {
            return Err("`concurrency` is at least 1".into());
        }
        match self.queue {
            Some(Millis(0)) => Err("`queue` is longer than no time at all".into()),
            Some(time) if time > MAX_QUEUE => Err(format!("`queue` is {time}; it is at most {MAX_QUEUE}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Where a target of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunState {
    /// Not asked for yet.
    Queued,
    /// The device is asked, or was asked, and has not answered.
    Sent,
    /// It runs.
    Running,
    /// It has its verdict.
    Ended,
}

/// One target of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunView {
    /// The device, or what was asked for where there is no such device.
    pub device: String,
    /// Where it stands.
    pub state: RunState,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Verdict>,
    /// When it began, by the device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<UnixMillis>,
    /// When it ended, by the clock of who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// So many bytes of its output are not kept.
    #[serde(default)]
    pub missing: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobView {
    /// Which.
    pub id: JobId,
    /// Who ordered it.
    pub by: String,
    /// Its words, as far as they are kept.
    pub command: Vec<String>,
    /// The user that it runs as, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder that it runs in, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The instance that it runs in, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<InstanceKey>,
    /// The names of its variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// When it was ordered.
    pub created_at: UnixMillis,
    /// Until when it waits for devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMillis>,
    /// When its last target had its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// How many targets it has.
    pub targets: u32,
    /// How many of them have the verdict ok.
    pub ok: u32,
    /// How many have another verdict.
    pub not_ok: u32,
    /// Each target; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunView>,
}

/// Where a job as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobState {
    /// Targets have no verdict yet.
    Going,
    /// The same, and somebody cancelled it.
    Cancelling,
    /// It has ended because somebody cancelled it.
    Cancelled,
    /// It has ended, and every verdict is ok.
    Ok,
    /// It has ended, and some verdict is not.
    Failed,
}

impl JobState {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Going => "going",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

impl JobView {
    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> JobState {
        match (self.ended_at.is_some(), self.cancelled_by.is_some()) {
            (false, false) => JobState::Going,
            (false, true) => JobState::Cancelling,
            (true, true) => JobState::Cancelled,
            (true, false) if self.not_ok == 0 => JobState::Ok,
            (true, false) => JobState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn command(argv: &[&str]) -> Command {
        Command {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            timeout: None,
            stdin: false,
            within: None,
        }
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let check = |with: fn(&mut JobRequest), expect: &str| {
            let targets = Targets::All;
            let mut request =
                JobRequest { targets, command: command(&["true"]), queue: None, concurrency: None, fail_fast: false };
            assert_eq!(request.check(), Ok(()));
            with(&mut request);
            let told = request.check().unwrap_err();
            assert!(told.contains(expect), "{told}");
        };
        check(|r| r.command.argv.clear(), "no words");
        check(|r| r.command.argv = vec![String::new()], "first word is empty");
        check(|r| r.command.argv.push("a\0".into()), "zero byte");
        check(|r| r.command.cwd = Some("\0".into()), "zero byte");
        check(|r| r.command.user = Some(String::new()), "user's name is empty");
        check(|r| drop(r.command.env.insert("A=B".into(), String::new())), "`A=B` is no name");
        check(|r| drop(r.command.env.insert(String::new(), String::new())), "`` is no name");
        check(|r| r.command.argv.push("x".repeat(MAX_COMMAND)), "at most 49152");
        check(|r| r.command.stdin = true, "no input");
        check(|r| r.concurrency = Some(0), "at least 1");
        check(|r| r.queue = Some(Millis(0)), "no time at all");
        check(|r| r.queue = Some(Millis(u64::MAX)), "at most 30days");
    }

    #[test]
    fn wrong_bodies_are_refused() {
        let check = |kind, body: &[u8]| {
            let frame = Frame { kind, body: body.to_vec() };
            assert!(RunFrame::decode(frame).is_err(), "{kind} {body:?}");
        };
        for kind in [INPUT, RECEIVED, STDOUT, STDERR, TAKEN] {
            check(kind, &[0; 7]);
        }
        check(SIGNAL, &[0; 3]);
        check(BEGUN, b"x");
        check(ENDED, &[]);
        assert_eq!(RunFrame::decode(Frame { kind: 200, body: vec![1] }), Ok(RunFrame::Unknown(200)));
        assert!(RunFrame::Output(Output::Stdout, 0, vec![0; MAX_STREAM_FRAME]).encode().is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(kind in 30_u8..50, body in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(RunFrame::decode(Frame { kind, body }));
        }
    }
}
