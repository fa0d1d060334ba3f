//! Commands whose caller comes back: what the command line keeps of one in the foreground, so that it can go on at a
//! manager that was started anew.
//!
//! The caller tells how far each target's output has arrived at itself; only that may be forgotten on the device. A
//! manager keeps nothing of such a call but its key: the ticket says whose the call is.

use robo_model::name::JobId;
use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError};
use crate::stream::{Command, MAX_TARGETS};

const RESUME: u8 = 14;

/// What opens a call again: nobody else's, and for no other command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallTicket {
    /// By which the devices know the command.
    pub id: JobId,
    /// When it was asked for, by the manager's clock.
    pub asked_at: UnixMillis,
    /// The manager's own seal: 64 hexadecimal digits.
    pub seal: String,
}

/// A target that has no verdict yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenTarget {
    /// Its name, as the manager told it.
    pub name: String,
    /// So much of its output has arrived.
    #[serde(deserialize_with = "frame::read_place")]
    pub place: u64,
}

/// A client's request to go on with a command; the first frame of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResumeRequest {
    /// Which call.
    pub ticket: CallTicket,
    /// The command, as it was ordered.
    pub command: Command,
    /// The targets that have no verdict yet; the answer numbers them by their place here.
    pub targets: Vec<OpenTarget>,
    /// The place of the first byte of input that follows.
    #[serde(default, deserialize_with = "frame::read_place")]
    pub input: u64,
}

impl ResumeRequest {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When command and targets are too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(RESUME, &frame::to_body(RESUME, self)?, frame::MAX_CONTROL_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        crate::stream::expect(frame, RESUME)
    }

    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        self.command.check()?;
        if self.targets.is_empty() {
            return Err("a call goes on for one target at least".into());
        }
        if self.targets.len() > MAX_TARGETS {
            return Err(format!("{} targets are named, at most {MAX_TARGETS} are allowed", self.targets.len()));
        }
        let mut names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(format!("the target `{}` is named twice", pair.first().unwrap_or(&""))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_cannot_go_on_is_told() {
        let check = |with: fn(&mut ResumeRequest), expect: &str| {
            let command = Command {
                argv: vec!["true".into()],
                env: BTreeMap::new(),
                cwd: None,
                user: None,
                timeout: None,
                stdin: false,
                within: None,
            };
            let ticket = CallTicket { id: "c1".parse().unwrap(), asked_at: UnixMillis(1), seal: "x".into() };
            let target = |name: &str| OpenTarget { name: name.into(), place: 0 };
            let mut request = ResumeRequest { ticket, command, targets: vec![target("a"), target("b")], input: 0 };
            assert_eq!(request.check(), Ok(()));
            with(&mut request);
            let told = request.check().unwrap_err();
            assert!(told.contains(expect), "{told}");
        };
        check(|r| r.command.argv.clear(), "no words");
        check(|r| r.targets.clear(), "one target at least");
        check(|r| r.targets.push(OpenTarget { name: "a".into(), place: 7 }), "`a` is named twice");
        check(|r| r.targets = vec![r.targets[0].clone(); MAX_TARGETS + 1], "at most 20000");
    }
}
