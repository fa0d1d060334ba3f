//! The manager's side of a session.

use robo_model::name::{DeviceName, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, Generation, MAX_GENERATION};

use super::parts::Joiner;
use super::{HANDSHAKE, SessionError};
use crate::api::Facts;
use crate::frame::{Frame, FrameError, MAX_CONTROL_FRAME, MAX_FRAME_BEFORE_WELCOME};
use crate::link::{
    Ack, Act, Acted, FromAgent, FromManager, Goodbye, Hello, ImportsChange, Named, PROTOCOL, RefusedGeneration,
    Released, Update, Welcome,
};
use crate::switch::Switches;

/// How often the agent is told that we are still here while the store is asked about its hello: often enough that it does
/// not give up (see [`HANDSHAKE`]), and dial again, and have us ask once more.
const STILL_HERE: Millis = Millis::from_secs(5);

/// The manager's side: welcomes, takes updates, tells assignments and imports.
#[derive(Debug)]
pub struct ManagerSession {
    state: State,
    heartbeat: Millis,
    last_heard: UnixMillis,
    /// Since when the agent is silent although it is its turn.
    awaited_since: UnixMillis,
    /// When a greeted agent was last told something.
    last_said: UnixMillis,
    updates: Joiner,
    /// The number of the last update.
    told: u64,
    /// What the welcome says of certificates for SSH.
    ssh_authority: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The agent has to say hello.
    AwaitHello,
    /// Hello is there; the caller looks into its store and answers with `welcome`.
    Greeted(u16),
    /// Welcomed.
    Up,
}

/// What the manager has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum ManagerEffect {
    /// The agent is there: look into the store, then call [`ManagerSession::welcome`].
    Hello(Box<Hello>),
    /// Store this, then send [`ManagerSession::ack`].
    Update(Update),
    /// The device has this assignment on its disk.
    Accepted(Generation),
    /// The device cannot take this assignment.
    Refused(RefusedGeneration),
    /// The agent's imports are not what we took them for: tell all of them.
    Resync,
    /// What came of an act.
    Acted(Acted),
    /// The device tells this of itself now.
    Facts(Box<Facts>),
    /// Send these bytes on the control stream.
    Send(Vec<u8>),
}

impl ManagerSession {
    /// Begins to wait for the hello.
    #[must_use]
    pub const fn new(now: UnixMillis, heartbeat: Millis) -> Self {
        let updates = Joiner::new();
        Self {
            state: State::AwaitHello,
            heartbeat,
            last_heard: now,
            awaited_since: now,
            last_said: now,
            updates,
            told: 0,
            ssh_authority: None,
        }
    }

    /// Has the welcome say by which public key the manager's certificates for SSH are known.
    pub fn tell_ssh_authority(&mut self, key: String) {
        self.ssh_authority = Some(key);
    }

    /// The bound for the next frame: small until the agent was welcomed.
    #[must_use]
    pub fn max_frame(&self) -> usize {
        if self.state == State::Up { MAX_CONTROL_FRAME } else { MAX_FRAME_BEFORE_WELCOME }
    }

    /// Takes a frame from the agent.
    ///
    /// # Errors
    /// Ends the session: close the link.
    pub fn frame(&mut self, now: UnixMillis, frame: &Frame) -> Result<Option<ManagerEffect>, SessionError> {
        (self.last_heard, self.awaited_since) = (now, now);
        let message = FromAgent::decode(frame)?;
        check_generation(&message)?;
        match (&self.state, message) {
            (State::AwaitHello, FromAgent::Hello(hello)) => {
                if hello.protocol == 0 {
                    return Err(SessionError::Version { theirs: hello.protocol, ours: PROTOCOL });
                }
                self.state = State::Greeted(hello.protocol.min(PROTOCOL));
                self.last_said = now;
                Ok(Some(ManagerEffect::Hello(Box::new(hello))))
            }
            (State::Greeted(_) | State::Up, FromAgent::Hello(_)) => {
                Err(SessionError::OutOfTurn { what: "a hello", when: "for the second time" })
            }
            (_, FromAgent::Unknown(_)) => Ok(None),
            (State::AwaitHello | State::Greeted(_), _) => {
                Err(SessionError::OutOfTurn { what: "a message", when: "before its welcome" })
            }
            (State::Up, FromAgent::Update(update)) => {
                let Some(update) = self.updates.take(update, frame.body.len())? else { return Ok(None) };
                if self.told.checked_add(1) != Some(update.seq) {
                    return Err(SessionError::OutOfTurn { what: "an update", when: "out of its order" });
                }
                self.told = update.seq;
                Ok(Some(ManagerEffect::Update(update)))
            }
            (State::Up, FromAgent::Accepted(m)) => Ok(Some(ManagerEffect::Accepted(m.generation))),
            (State::Up, FromAgent::Refused(m)) => Ok(Some(ManagerEffect::Refused(m))),
            (State::Up, FromAgent::Resync) => Ok(Some(ManagerEffect::Resync)),
            (State::Up, FromAgent::Acted(m)) => Ok(Some(ManagerEffect::Acted(m))),
            (State::Up, FromAgent::Facts(facts)) => {
                // It is kept, as a hello's is, and may be no larger.
                let length = frame.body.len();
                if length > MAX_FRAME_BEFORE_WELCOME {
                    return Err(FrameError::TooLong { length, max: MAX_FRAME_BEFORE_WELCOME }.into());
                }
                Ok(Some(ManagerEffect::Facts(Box::new(facts))))
            }
            (State::Up, FromAgent::Heartbeat) => Ok(Some(ManagerEffect::Send(FromManager::Heartbeat.encode()?))),
        }
    }

    /// Answers the hello. From here on it is the agent's turn again.
    ///
    /// # Errors
    /// When there was none, or the message cannot be encoded.
    pub fn welcome(
        &mut self,
        now: UnixMillis,
        name: DeviceName,
        project: ProjectName,
        manager_version: String,
        events_stored: u64,
    ) -> Result<ManagerEffect, SessionError> {
        let State::Greeted(protocol) = self.state else {
            return Err(SessionError::OutOfTurn { what: "(we) a welcome", when: "without a hello" });
        };
        self.state = State::Up;
        self.awaited_since = self.awaited_since.max(now);
        let (heartbeat, ssh_authority) = (self.heartbeat, self.ssh_authority.take());
        let welcome = Welcome { protocol, manager_version, name, project, heartbeat, events_stored, ssh_authority };
        Ok(ManagerEffect::Send(FromManager::Welcome(welcome).encode()?))
    }

    /// Tells that an update is on disk.
    ///
    /// # Errors
    /// Never in practice: the message is tiny.
    pub fn ack(&self, seq: u64, events_stored: u64) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Ack(Ack { seq, events_stored }).encode()?))
    }

    /// Tells an assignment.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub fn assign(&self, assignment: Assignment) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Assign(assignment).encode()?))
    }

    /// Tells what other devices offer.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub fn imports(&self, change: ImportsChange) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Imports(change).encode()?))
    }

    /// Tells who may stop now.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub fn released(&self, released: Released) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Released(released).encode()?))
    }

    /// Asks for something to be done once.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub fn act(&self, act: Act) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Act(act).encode()?))
    }

    /// Has the agent make a new key.
    ///
    /// # Errors
    /// Never in practice: the message is empty.
    pub fn renew(&self) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Renew.encode()?))
    }

    /// Tells the device that it has another name.
    ///
    /// # Errors
    /// Never in practice: the message is tiny.
    pub fn named(&self, name: DeviceName) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Named(Named { name }).encode()?))
    }

    /// Tells what is switched off on the device.
    ///
    /// # Errors
    /// When the message is larger than a frame may be.
    pub fn switches(&self, switches: Switches) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Switches(switches).encode()?))
    }

    /// Ends the link.
    ///
    /// # Errors
    /// When the reason is absurdly long.
    pub fn goodbye(&self, reason: String, final_: bool) -> Result<ManagerEffect, SessionError> {
        Ok(ManagerEffect::Send(FromManager::Goodbye(Goodbye { reason, final_, renew: false }).encode()?))
    }

    /// When the agent was last heard; before its hello, when the link began.
    #[must_use]
    pub const fn last_heard(&self) -> UnixMillis {
        self.last_heard
    }

    /// Looks at the time: may tell a greeted agent that we are still here. Call it at [`ManagerSession::wake_at`] at the
    /// latest.
    ///
    /// # Errors
    /// When the agent was silent for too long. While it waits for its welcome it never is: we are the slow side.
    pub fn tick(&mut self, now: UnixMillis) -> Result<Option<ManagerEffect>, SessionError> {
        if now < self.wake_at() {
            return Ok(None);
        }
        match self.state {
            State::AwaitHello | State::Up => Err(SessionError::Silent(now.since(self.last_heard))),
            State::Greeted(_) => {
                self.last_said = now;
                Ok(Some(ManagerEffect::Send(FromManager::Heartbeat.encode()?)))
            }
        }
    }

    /// When [`ManagerSession::tick`] has something to do next.
    #[must_use]
    pub fn wake_at(&self) -> UnixMillis {
        match self.state {
            State::AwaitHello => self.awaited_since.plus(HANDSHAKE),
            State::Greeted(_) => self.last_said.plus(STILL_HERE),
            State::Up => self.awaited_since.plus(Millis(self.heartbeat.0.saturating_mul(2))),
        }
    }
}

/// Refuses a number that cannot be counted on from: what is made of it would be no number any more.
fn check_generation(message: &FromAgent) -> Result<(), SessionError> {
    let (what, generation) = match message {
        FromAgent::Hello(m) => ("a hello", m.generation),
        FromAgent::Update(m) => ("an update", m.generation),
        FromAgent::Accepted(m) => ("an acceptance", m.generation),
        FromAgent::Refused(m) => ("a refusal", m.generation),
        FromAgent::Heartbeat
        | FromAgent::Resync
        | FromAgent::Acted(_)
        | FromAgent::Facts(_)
        | FromAgent::Unknown(_) => return Ok(()),
    };
    if generation > MAX_GENERATION { Err(SessionError::Generation { what, generation }) } else { Ok(()) }
}
