//! Control messages of the link, on the first stream, opened by the agent.
//!
//! Levels, not edges: after every connect the agent tells the state of all its instances and the manager tells
//! the assignment and the imports, unless the other side has them already; so a lost message costs nothing but time.

use robo_model::name::{DeviceName, ProjectName};
use robo_model::quantity::Millis;
use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, Generation, InstanceKey};
use robo_model::state::InstanceReport;
use serde::{Deserialize, Serialize};

use crate::api::{Facts, Scope, Verb};
use crate::digest::Digest;
use crate::event::AgentEvent;
use crate::frame::{self, Frame, FrameError};
use crate::switch::Switches;

/// The protocol's version. A side that speaks a newer one speaks all older ones too.
pub const PROTOCOL: u16 = 1;

/// Most events in one [`Update`]: keeps a frame far below its bound after weeks offline.
pub const MAX_EVENTS_PER_UPDATE: usize = 500;

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// First, once.
    Hello(Hello),
    /// The states of instances, and what happened.
    Update(Update),
    /// An assignment is on the device's disk.
    Accepted(AcceptedGeneration),
    /// An assignment cannot be taken.
    Refused(RefusedGeneration),
    /// Nothing new; still here.
    Heartbeat,
    /// What the agent has of other devices' offers is not what the last change began with: all of it, please.
    Resync,
    /// What came of an [`Act`].
    Acted(Acted),
    /// What the device tells of itself is another thing than in its hello: all of it, anew.
    Facts(Facts),
    /// A message of a newer version.
    Unknown(u8),
}

/// What a manager says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromManager {
    /// The answer to a hello.
    Welcome(Welcome),
    /// Everything the device should run.
    Assign(Assignment),
    /// What other devices offer.
    Imports(ImportsChange),
    /// An update is on the manager's disk.
    Ack(Ack),
    /// Nothing new; still here.
    Heartbeat,
    /// The link ends; the agent dials again, unless it is told that it need not.
    Goodbye(Goodbye),
    /// Who may stop now, as far as other devices are concerned.
    Released(Released),
    /// Something to do once, for somebody who waits for the answer.
    Act(Act),
    /// The device's certificate is at half its life, or an operator wants a new key: make one and have it certified.
    Renew,
    /// The device has another name than it was welcomed by.
    Named(Named),
    /// What is switched off on the device, all of it: at the welcome, where anything is or the device holds something off,
    /// and at each change.
    Switches(Switches),
    /// A message of a newer version.
    Unknown(u8),
}

/// Who is there, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The highest protocol version the agent speaks.
    pub protocol: u16,
    /// What it tells of itself.
    pub facts: Facts,
    /// The newest assignment on its disk.
    #[serde(default)]
    pub generation: Generation,
    /// What that assignment asks for; an older agent does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Digest>,
    /// What it has of other devices' offers; an older agent does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<Digest>,
}

/// The manager's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken from here on: the lower of both sides' highest.
    pub protocol: u16,
    /// The manager's version.
    #[serde(default)]
    pub manager_version: String,
    /// The device's name now.
    pub name: DeviceName,
    /// The device's project.
    pub project: ProjectName,
    /// The agent says something at least this often; after twice this time of silence a side hangs up.
    pub heartbeat: Millis,
    /// The highest event number on the manager's disk; the agent tells those after it.
    #[serde(default)]
    pub events_stored: u64,
    /// The public key, `TYPE BASE64`, by which the manager's certificates for SSH are known; an older one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_authority: Option<String>,
}

/// States and events. At most one is under way; the next goes when the [`Ack`] is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Counts the updates of one link, from 1.
    pub seq: u64,
    /// True when `reports` are all instances of the device: what is not among them is gone.
    #[serde(default)]
    pub full: bool,
    /// The assignment that the reports were made under: a change that a newer one asks for is not in them yet.
    #[serde(default)]
    pub generation: Generation,
    /// Instances whose report changed.
    #[serde(default)]
    pub reports: Vec<InstanceReport>,
    /// Instances that are gone.
    #[serde(default)]
    pub removed: Vec<InstanceKey>,
    /// What happened, in order, at most [`MAX_EVENTS_PER_UPDATE`].
    #[serde(default)]
    pub events: Vec<AgentEvent>,
    /// What it has of other devices' offers, where it had something else at the update before on this link: the reports
    /// were made knowing these. An older agent does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<Digest>,
    /// True when this is a part, and the rest comes in the next frame: the whole is larger than a frame may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The update is on the manager's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The update's number.
    pub seq: u64,
    /// The highest event number on the manager's disk.
    #[serde(default)]
    pub events_stored: u64,
}

/// The assignment is on the device's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedGeneration {
    /// Which.
    pub generation: Generation,
}

/// The assignment cannot be taken; the device goes on with the one it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedGeneration {
    /// Which.
    pub generation: Generation,
    /// Why.
    pub reason: String,
}

/// What instances on other devices offer to those of this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportsChange {
    /// True when `providers` are all there are: what is not among them is gone.
    #[serde(default)]
    pub full: bool,
    /// Providers that came or changed.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Providers that went.
    #[serde(default)]
    pub removed: Vec<InstanceKey>,
    /// What the agent must have for this change to fit, unless it is `full`; else it asks with
    /// [`FromAgent::Resync`]. An older manager does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// What it has afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

/// Instances of the device that said they wait for those who need them, and need not wait for other devices any more.
/// All of them, each time: one that is not named waits on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Which.
    pub keys: Vec<InstanceKey>,
}

/// Something to do once, now. It is not repeated after a broken link: who asked is told, and asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Names it on this link; the answer has the same.
    pub id: u64,
    /// What.
    pub verb: Verb,
    /// To which instances.
    pub scope: Scope,
    /// Who asked, for the record.
    #[serde(default)]
    pub by: String,
}

/// What came of an [`Act`]; it is on the device's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Which act.
    pub id: u64,
    /// The instances to which something was done; at most [`MAX_ACTED`], then a part of them.
    #[serde(default)]
    pub instances: Vec<InstanceKey>,
}

/// Most instances that an answer names: it fits into a frame many times over.
pub const MAX_ACTED: usize = 1_000;

/// What the device is called from here on; nothing else about it is another thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: DeviceName,
}

/// Why the manager ends the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// For people.
    pub reason: String,
    /// True when dialling again is useless: the device was removed.
    #[serde(default)]
    pub final_: bool,
    /// True when the device's certificate has ended: it gets a new one, and dials again with that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}

const HELLO: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
const ACCEPTED: u8 = 3;
const REFUSED: u8 = 4;
const HEARTBEAT: u8 = 5;
const RESYNC: u8 = 6;
const ACTED: u8 = 7;
const FACTS: u8 = 8;
const WELCOME: u8 = 65;
const ASSIGN: u8 = 66;
const IMPORTS: u8 = 67;
const ACK: u8 = 68;
const GOODBYE: u8 = 69;
const RELEASED: u8 = 70;
const ACT: u8 = 71;
const RENEW: u8 = 72;
const NAMED: u8 = 73;
const SWITCHES: u8 = 74;

impl FromAgent {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the message is larger than a control frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Hello(m) => control(HELLO, m),
            Self::Update(m) => control(UPDATE, m),
            Self::Accepted(m) => control(ACCEPTED, m),
            Self::Refused(m) => control(REFUSED, m),
            Self::Heartbeat => frame::encode(HEARTBEAT, &[], frame::MAX_CONTROL_FRAME),
            Self::Resync => frame::encode(RESYNC, &[], frame::MAX_CONTROL_FRAME),
            Self::Acted(m) => control(ACTED, m),
            Self::Facts(m) => control(FACTS, m),
            Self::Unknown(kind) => frame::encode(*kind, &[], frame::MAX_CONTROL_FRAME),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let Frame { kind, body } = frame;
        Ok(match *kind {
            HELLO => Self::Hello(frame::from_body(*kind, body)?),
            UPDATE => Self::Update(frame::from_body(*kind, body)?),
            ACCEPTED => Self::Accepted(frame::from_body(*kind, body)?),
            REFUSED => Self::Refused(frame::from_body(*kind, body)?),
            HEARTBEAT => Self::Heartbeat,
            RESYNC => Self::Resync,
            ACTED => Self::Acted(frame::from_body(*kind, body)?),
            FACTS => Self::Facts(frame::from_body(*kind, body)?),
            other => Self::Unknown(other),
        })
    }
}

impl FromManager {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the message is larger than a control frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Welcome(m) => control(WELCOME, m),
            Self::Assign(m) => control(ASSIGN, m),
            Self::Imports(m) => control(IMPORTS, m),
            Self::Ack(m) => control(ACK, m),
            Self::Heartbeat => frame::encode(HEARTBEAT, &[], frame::MAX_CONTROL_FRAME),
            Self::Goodbye(m) => control(GOODBYE, m),
            Self::Released(m) => control(RELEASED, m),
            Self::Act(m) => control(ACT, m),
            Self::Renew => frame::encode(RENEW, &[], frame::MAX_CONTROL_FRAME),
            Self::Named(m) => control(NAMED, m),
            Self::Switches(m) => control(SWITCHES, m),
            Self::Unknown(kind) => frame::encode(*kind, &[], frame::MAX_CONTROL_FRAME),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let Frame { kind, body } = frame;
        Ok(match *kind {
            WELCOME => Self::Welcome(frame::from_body(*kind, body)?),
            ASSIGN => Self::Assign(frame::from_body(*kind, body)?),
            IMPORTS => Self::Imports(frame::from_body(*kind, body)?),
            ACK => Self::Ack(frame::from_body(*kind, body)?),
            HEARTBEAT => Self::Heartbeat,
            GOODBYE => Self::Goodbye(frame::from_body(*kind, body)?),
            RELEASED => Self::Released(frame::from_body(*kind, body)?),
            ACT => Self::Act(frame::from_body(*kind, body)?),
            RENEW => Self::Renew,
            NAMED => Self::Named(frame::from_body(*kind, body)?),
            SWITCHES => Self::Switches(frame::from_body(*kind, body)?),
            other => Self::Unknown(other),
        })
    }
}

fn control<T: Serialize>(kind: u8, message: &T) -> Result<Vec<u8>, FrameError> {
    frame::encode(kind, &frame::to_body(kind, message)?, frame::MAX_CONTROL_FRAME)
}
