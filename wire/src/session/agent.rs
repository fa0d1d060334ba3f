//! The agent's side of a session.

use robo_model::name::DeviceName;
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, Generation};

use super::{HANDSHAKE, SessionError, parts};
use crate::api::Facts;
use crate::frame::{Frame, FrameError};
use crate::link::{
    AcceptedGeneration, Ack, Act, Acted, FromAgent, FromManager, Hello, ImportsChange, MAX_ACTED, PROTOCOL,
    RefusedGeneration, Released, Update, Welcome,
};
use crate::switch::Switches;

/// The agent's side: says hello, tells updates one at a time, keeps the link alive.
#[derive(Debug)]
pub struct AgentSession {
    state: State,
    last_heard: UnixMillis,
    last_said: UnixMillis,
}

#[derive(Debug)]
enum State {
    /// Hello is sent.
    Greeting,
    /// Welcomed.
    Up { heartbeat: Millis, updates: u64, under_way: Option<u64> },
}

/// What the agent has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum AgentEffect {
    /// Send these bytes on the control stream.
    Send(Vec<u8>),
    /// The link is up: tell all states, and all events after `events_stored`.
    Up(Welcome),
    /// A new assignment; answer with [`AgentSession::accepted`] or [`AgentSession::refused`].
    Assign(Assignment),
    /// The imports moved.
    Imports(ImportsChange),
    /// The update under way is on the manager's disk; the next may go.
    Stored(Ack),
    /// Who may stop now, as far as other devices are concerned.
    Released(Released),
    /// Something to do once; answer with [`AgentSession::acted`].
    Act(Act),
    /// Make a new key, and have it certified.
    Renew,
    /// The device has this name now.
    Named(DeviceName),
    /// This is switched off, and all else is on.
    Switches(Switches),
}

impl AgentSession {
    /// Begins: the effect sends the hello.
    ///
    /// # Errors
    /// When the hello cannot be encoded.
    pub fn start(now: UnixMillis, hello: &Hello) -> Result<(Self, AgentEffect), SessionError> {
        let session = Self { state: State::Greeting, last_heard: now, last_said: now };
        Ok((session, AgentEffect::Send(FromAgent::Hello(hello.clone()).encode()?)))
    }

    /// A part of a frame came. On a narrow line a large one takes longer than silence may, and it is none.
    pub fn heard(&mut self, now: UnixMillis) {
        if let State::Up { .. } = self.state {
            self.last_heard = now;
        }
    }

    /// Takes a frame from the manager.
    ///
    /// # Errors
    /// Ends the session: say why and dial again.
    pub fn frame(&mut self, now: UnixMillis, frame: &Frame) -> Result<Option<AgentEffect>, SessionError> {
        self.last_heard = now;
        let message = FromManager::decode(frame)?;
        match (&mut self.state, message) {
            (_, FromManager::Goodbye(g)) => {
                Err(SessionError::Goodbye { reason: g.reason, final_: g.final_, renew: g.renew })
            }
            (_, FromManager::Unknown(_) | FromManager::Heartbeat) => Ok(None),
            (State::Greeting, FromManager::Welcome(welcome)) => {
                if welcome.protocol == 0 || welcome.protocol > PROTOCOL {
                    return Err(SessionError::Version { theirs: welcome.protocol, ours: PROTOCOL });
                }
                self.state = State::Up { heartbeat: welcome.heartbeat, updates: 0, under_way: None };
                Ok(Some(AgentEffect::Up(welcome)))
            }
            (
                State::Greeting,
                FromManager::Assign(_)
                | FromManager::Imports(_)
                | FromManager::Ack(_)
                | FromManager::Released(_)
                | FromManager::Act(_)
                | FromManager::Renew
                | FromManager::Named(_)
                | FromManager::Switches(_),
            ) => Err(SessionError::OutOfTurn { what: "a message", when: "before its welcome" }),
            (State::Up { .. }, FromManager::Welcome(_)) => {
                Err(SessionError::OutOfTurn { what: "a welcome", when: "for the second time" })
            }
            (State::Up { .. }, FromManager::Assign(assignment)) => Ok(Some(AgentEffect::Assign(assignment))),
            (State::Up { .. }, FromManager::Imports(change)) => Ok(Some(AgentEffect::Imports(change))),
            (State::Up { .. }, FromManager::Released(released)) => Ok(Some(AgentEffect::Released(released))),
            (State::Up { .. }, FromManager::Act(act)) => Ok(Some(AgentEffect::Act(act))),
            (State::Up { .. }, FromManager::Renew) => Ok(Some(AgentEffect::Renew)),
            (State::Up { .. }, FromManager::Named(named)) => Ok(Some(AgentEffect::Named(named.name))),
            (State::Up { .. }, FromManager::Switches(told)) => Ok(Some(AgentEffect::Switches(told))),
            (State::Up { under_way, .. }, FromManager::Ack(ack)) => {
                if *under_way != Some(ack.seq) {
                    return Err(SessionError::OutOfTurn {
                        what: "an acknowledgement",
                        when: "for an update not under way",
                    });
                }
                *under_way = None;
                Ok(Some(AgentEffect::Stored(ack)))
            }
        }
    }

    /// True when an update may be sent now.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Up { under_way: None, .. })
    }

    /// Sends an update, in parts where it is large; only when [`AgentSession::is_ready`]. Its `seq` is set here.
    ///
    /// # Errors
    /// When a report in it is too large, or none may be sent now.
    pub fn update(&mut self, now: UnixMillis, mut update: Update) -> Result<AgentEffect, SessionError> {
        let State::Up { updates, under_way: under_way @ None, .. } = &mut self.state else {
            return Err(SessionError::OutOfTurn { what: "(we) an update", when: "while none may be sent" });
        };
        update.seq = *updates + 1;
        let bytes = parts::frames(update)?;
        *updates += 1;
        *under_way = Some(*updates);
        self.last_said = now;
        Ok(AgentEffect::Send(bytes))
    }

    /// Tells that an assignment is on disk.
    ///
    /// # Errors
    /// Never in practice: the message is tiny.
    pub fn accepted(&mut self, now: UnixMillis, generation: Generation) -> Result<AgentEffect, FrameError> {
        self.last_said = now;
        FromAgent::Accepted(AcceptedGeneration { generation }).encode().map(AgentEffect::Send)
    }

    /// Tells that an assignment cannot be taken.
    ///
    /// # Errors
    /// When the reason is absurdly long.
    pub fn refused(
        &mut self,
        now: UnixMillis,
        generation: Generation,
        reason: String,
    ) -> Result<AgentEffect, FrameError> {
        self.last_said = now;
        FromAgent::Refused(RefusedGeneration { generation, reason }).encode().map(AgentEffect::Send)
    }

    /// Asks for all that other devices offer.
    ///
    /// # Errors
    /// Never in practice: the message is empty.
    pub fn resync(&mut self, now: UnixMillis) -> Result<AgentEffect, FrameError> {
        self.last_said = now;
        FromAgent::Resync.encode().map(AgentEffect::Send)
    }

    /// Tells what the device is now, where it told something else before; only when [`AgentSession::is_up`].
    ///
    /// # Errors
    /// When the message is larger than a frame may be, or before the welcome.
    pub fn facts(&mut self, now: UnixMillis, facts: Facts) -> Result<AgentEffect, SessionError> {
        if !self.is_up() {
            return Err(SessionError::OutOfTurn { what: "(we) facts", when: "before the welcome" });
        }
        self.last_said = now;
        Ok(AgentEffect::Send(FromAgent::Facts(facts).encode()?))
    }

    /// True from the welcome on.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Tells what came of an act. Names at most [`MAX_ACTED`] instances.
    ///
    /// # Errors
    /// When the message is larger than a frame may be.
    pub fn acted(&mut self, now: UnixMillis, mut acted: Acted) -> Result<AgentEffect, FrameError> {
        acted.instances.truncate(MAX_ACTED);
        self.last_said = now;
        FromAgent::Acted(acted).encode().map(AgentEffect::Send)
    }

    /// Looks at the time: may send a heartbeat. Call it at [`AgentSession::wake_at`] at the latest.
    ///
    /// # Errors
    /// When the manager was silent for too long.
    pub fn tick(&mut self, now: UnixMillis) -> Result<Option<AgentEffect>, SessionError> {
        let (limit, heartbeat) = match &self.state {
            State::Greeting => (HANDSHAKE, None),
            State::Up { heartbeat, .. } => (Millis(heartbeat.0.saturating_mul(2)), Some(*heartbeat)),
        };
        let silent = now.since(self.last_heard);
        if silent >= limit {
            return Err(SessionError::Silent(silent));
        }
        match heartbeat {
            Some(every) if now.since(self.last_said) >= every => {
                self.last_said = now;
                Ok(Some(AgentEffect::Send(FromAgent::Heartbeat.encode()?)))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// When [`AgentSession::tick`] has something to do next.
    #[must_use]
    pub fn wake_at(&self) -> UnixMillis {
        match &self.state {
            State::Greeting => self.last_heard.plus(HANDSHAKE),
            State::Up { heartbeat, .. } => {
                let silence = self.last_heard.plus(Millis(heartbeat.0.saturating_mul(2)));
                self.last_said.plus(*heartbeat).min(silence)
            }
        }
    }
}
