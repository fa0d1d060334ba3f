//! A new program for an agent, over the link that is there.
//!
//! The manager opens a stream with [`UpgradeOpen`]. The agent says from which byte on it [wants](UpgradeFrame::Want) the
//! program, or how it [ended](UpgradeEnd); the program follows in pieces, as fast as the agent writes them down, and the
//! agent tells how far it is. When it is about to try the program the stream is over, and so is the link: what came of it
//! stands in the facts of the next hello ([`crate::api::LastUpgrade`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};

/// Largest program, in bytes: a build with everything to look for faults has a third of it.
pub const MAX_PROGRAM: u64 = 512 * 1024 * 1024;

/// Longest name of an upgrade, in bytes: one that nobody guesses has 32.
pub const MAX_UPGRADE_ID: usize = 64;

/// Longest name of a version, in bytes.
pub const MAX_VERSION: usize = 64;

/// Longest word about what went wrong, in bytes: the last lines of a log fit.
pub const MAX_UPGRADE_REASON: usize = 2000;

/// Digits of a SHA-256.
const DIGITS: usize = 64;

/// Asks an agent to become another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeOpen {
    /// Names this upgrade, when its outcome is told; 1 to [`MAX_UPGRADE_ID`] letters, digits and `-`.
    pub id: String,
    /// SHA-256 of the program, in hexadecimal.
    pub sha256: String,
    /// Its bytes, 1 to [`MAX_PROGRAM`].
    pub size: u64,
    /// The version of the manager that gives it away, for people; at most [`MAX_VERSION`] bytes.
    #[serde(default)]
    pub version: String,
    /// Also while somebody has a shell, a command or a forward there, which then ends.
    #[serde(default)]
    pub force: bool,
}

/// Which part of an upgrade an agent is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpgradeStage {
    /// The program is coming.
    Downloading,
    /// Its SHA-256 is compared, and it is asked for its version.
    Verifying,
    /// It runs in the place of the one that was there, until the manager has welcomed it.
    Trying,
}

impl UpgradeStage {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::Trying => "trying",
        }
    }
}

impl fmt::Display for UpgradeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeProgress {
    /// What it is at.
    pub stage: UpgradeStage,
    /// How much of that is done, 0 to 100.
    #[serde(default)]
    pub percent: u8,
}

/// How an upgrade ended before the program was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum UpgradeEnd {
    /// That program runs already.
    Same,
    /// It was not begun.
    Refused {
        /// The [code](crate::code::Code).
        code: String,
        /// What happened, and where.
        reason: String,
    },
    /// It was begun, and the program is of no use here.
    Failed {
        /// The [code](crate::code::Code).
        code: String,
        /// What happened, and where.
        reason: String,
    },
}

/// One frame of an upgrade's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeFrame {
    /// From the agent, once: the program from this byte on; what is before it is there.
    Want(u64),
    /// From the manager: bytes of the program, and the place of the first of them.
    Data(u64, Vec<u8>),
    /// From the agent: how far it is. After the last stage the link ends.
    Progress(UpgradeProgress),
    /// From the agent: it is over; nothing follows.
    End(UpgradeEnd),
    /// A frame of a newer version.
    Unknown(u8),
}

const WANT: u8 = 136;
const DATA: u8 = 137;
const PROGRESS: u8 = 138;
const END: u8 = 139;

impl UpgradeOpen {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.id.is_empty() || self.id.len() > MAX_UPGRADE_ID || !self.id.bytes().all(is_of_id) {
            return Err(format!("an upgrade is named by 1 to {MAX_UPGRADE_ID} letters, digits and `-`"));
        }
        if !is_sha256(&self.sha256) {
            return Err(format!("a SHA-256 has {DIGITS} hexadecimal digits"));
        }
        if !(1..=MAX_PROGRAM).contains(&self.size) {
            return Err(format!("a program has 1 to {MAX_PROGRAM} bytes, not {}", self.size));
        }
        if self.version.len() > MAX_VERSION {
            return Err(format!("a version has at most {MAX_VERSION} bytes"));
        }
        Ok(())
    }
}

/// True for what a SHA-256 is as robo writes it: hexadecimal, in small letters.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl UpgradeFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Want(place) => (WANT, place.to_be_bytes().to_vec()),
            Self::Data(place, data) => (DATA, [&place.to_be_bytes(), data.as_slice()].concat()),
            Self::Progress(progress) => (PROGRESS, frame::to_body(PROGRESS, progress)?),
            Self::End(end) => (END, frame::to_body(END, end)?),
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
            WANT => Self::Want(frame::take_place(kind, &mut body)?),
            DATA => Self::Data(frame::take_place(kind, &mut body)?, body),
            PROGRESS => Self::Progress(frame::from_body(kind, &body)?),
            END => Self::End(frame::from_body(kind, &body)?),
            other => Self::Unknown(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open() -> UpgradeOpen {
        UpgradeOpen { id: "u-1".into(), sha256: "ab".repeat(32), size: 7, version: "0.1.0".into(), force: false }
    }

    #[test]
    fn what_is_no_upgrade_is_told() {
        let check = |change: fn(&mut UpgradeOpen), expect: &str| {
            let mut open = open();
            assert_eq!(open.check(), Ok(()));
            change(&mut open);
            let told = open.check().unwrap_err();
            assert!(told.contains(expect), "{told}");
        };
        check(|o| o.id.clear(), "letters");
        check(|o| o.id = "../x".into(), "letters");
        check(|o| o.id = "x".repeat(MAX_UPGRADE_ID + 1), "letters");
        check(|o| o.sha256 = "AB".repeat(32), "64 hexadecimal");
        check(|o| o.sha256 = "ab".repeat(31), "64 hexadecimal");
        check(|o| o.size = 0, "not 0");
        check(|o| o.size = MAX_PROGRAM + 1, "bytes");
        check(|o| o.version = "v".repeat(MAX_VERSION + 1), "version");
    }

    #[test]
    fn wrong_bodies_are_refused() {
        for (kind, body) in [(WANT, &[0; 7][..]), (DATA, &[0; 7]), (PROGRESS, b"x"), (END, &[])] {
            assert!(UpgradeFrame::decode(Frame { kind, body: body.to_vec() }).is_err(), "{kind} {body:?}");
        }
        assert_eq!(UpgradeFrame::decode(Frame { kind: 200, body: vec![1] }), Ok(UpgradeFrame::Unknown(200)));
        assert!(UpgradeFrame::Data(0, vec![0; MAX_STREAM_FRAME]).encode().is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(kind in 130_u8..145, body in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(UpgradeFrame::decode(Frame { kind, body }));
        }
    }
}
