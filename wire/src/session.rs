//! The link's session, as two state machines without I/O: they take frames and the time, and return what to send
//! and what happened. Sockets, TLS and the multiplexer are their callers' business.

mod agent;
mod manager;
mod parts;

pub use agent::{AgentEffect, AgentSession};
pub use manager::{ManagerEffect, ManagerSession};

use robo_model::quantity::Millis;
use robo_model::spec::{Generation, MAX_GENERATION};

/// How long either side waits for hello or welcome.
pub const HANDSHAKE: Millis = Millis::from_secs(20);

/// How often an agent says something, unless the manager was told otherwise. Silence is noticed after twice this
/// time; with frames of about 80 bytes on the wire this is below 12 MB a month.
pub const HEARTBEAT: Millis = Millis::from_secs(30);

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The other side sent bytes that are no frame or no message.
    #[error("the other side does not speak the protocol: {0}")]
    Frame(#[from] crate::frame::FrameError),
    /// The other side sent something that has no place here.
    #[error("the other side sent {what} {when}")]
    OutOfTurn {
        /// Which message.
        what: &'static str,
        /// In which situation.
        when: &'static str,
    },
    /// The other side speaks no version that we speak.
    #[error("the other side speaks protocol {theirs}, this one speaks {ours}")]
    Version {
        /// Theirs.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// The other side names an assignment with a number that is none.
    #[error("the other side sent {what} with assignment number {generation}: the highest there is is {MAX_GENERATION}")]
    Generation {
        /// Which message.
        what: &'static str,
        /// The number.
        generation: Generation,
    },
    /// Nothing was heard for too long.
    #[error("nothing was heard for {0}")]
    Silent(Millis),
    /// The manager ended the link.
    #[error("the manager ended the link: {reason}")]
    Goodbye {
        /// Why.
        reason: String,
        /// True when dialling again is useless.
        final_: bool,
        /// True when a new certificate is needed first.
        renew: bool,
    },
}
