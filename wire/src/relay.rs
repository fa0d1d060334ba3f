//! Between a manager and the relay that it dials, so that nobody has to reach the manager's machine.
//!
//! The manager dials by TLS with [`ALPN_RELAY`], says who it is with [`ToRelay::Present`], and waits for the answer. Then
//! the connection is multiplexed: the manager opens the first stream, on which both sides say that they are there; for
//! each connection that comes to it, the relay opens one more. It begins with an [`Arrival`], and then has the bytes of that
//! connection as they are: TLS between whoever came and the manager, which the relay cannot read.

use std::fmt;

use robo_model::quantity::Millis;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError};

/// ALPN protocol of a manager at its relay. All else that comes to a relay is passed on.
pub const ALPN_RELAY: &[u8] = b"robo-relay/1";

/// The protocol's version.
pub const PROTOCOL: u16 = 1;

/// Bound for each frame, in bytes; a token and an address fit many times over.
pub const MAX_RELAY_FRAME: usize = 4 * 1024;

/// The longest time between two signs of life that a manager may ask for.
pub const LONGEST_HEARTBEAT: Millis = Millis::from_secs(3600);

const PRESENT: u8 = 1;
const HEARTBEAT: u8 = 5;
const WELCOME: u8 = 65;
const REFUSED: u8 = 66;
const OCCUPIED: u8 = 67;
const ARRIVAL: u8 = 70;

/// What a manager says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRelay {
    /// First, once.
    Present(Present),
    /// Still here.
    Heartbeat,
    /// A message of a newer version.
    Unknown(u8),
}

/// What a relay says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRelay {
    /// From now on who comes is passed on.
    Welcome,
    /// The token is not this relay's.
    Refused,
    /// Another manager with the same token is here, and was heard of just now.
    Occupied,
    /// Still here.
    Heartbeat,
    /// A message of a newer version.
    Unknown(u8),
}

/// Who dials, and why it may.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The highest version of this protocol that the manager speaks.
    pub protocol: u16,
    /// The relay's token, whole.
    pub token: String,
    /// Random, and the same as long as the manager's process lives: when it dials again, its earlier connection ends.
    pub process: String,
    /// How often both sides say that they are there; who was not heard for twice this time is gone.
    pub heartbeat: Millis,
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token.
        write!(f, "Present({}, {})", self.process, self.heartbeat)
    }
}

/// The first frame of a stream: who came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Address and port, as the relay sees them; it may say anything.
    pub from: String,
}

impl ToRelay {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the message is larger than a frame may be here.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Present(message) => frame::encode(PRESENT, &frame::to_body(PRESENT, message)?, MAX_RELAY_FRAME),
            Self::Heartbeat => frame::encode(HEARTBEAT, &[], MAX_RELAY_FRAME),
            Self::Unknown(kind) => frame::encode(*kind, &[], MAX_RELAY_FRAME),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        Ok(match frame.kind {
            PRESENT => Self::Present(frame::from_body(PRESENT, &frame.body)?),
            HEARTBEAT => Self::Heartbeat,
            other => Self::Unknown(other),
        })
    }
}

impl FromRelay {
    /// The frame's bytes.
    ///
    /// # Errors
    /// Never in practice.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let kind = match self {
            Self::Welcome => WELCOME,
            Self::Refused => REFUSED,
            Self::Occupied => OCCUPIED,
            Self::Heartbeat => HEARTBEAT,
            Self::Unknown(kind) => *kind,
        };
        frame::encode(kind, &[], MAX_RELAY_FRAME)
    }

    /// Reads a frame. None of them has a body yet.
    #[must_use]
    pub fn decode(frame: &Frame) -> Self {
        match frame.kind {
            WELCOME => Self::Welcome,
            REFUSED => Self::Refused,
            OCCUPIED => Self::Occupied,
            HEARTBEAT => Self::Heartbeat,
            other => Self::Unknown(other),
        }
    }
}

impl Arrival {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When the message is larger than a frame may be here.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(ARRIVAL, &frame::to_body(ARRIVAL, self)?, MAX_RELAY_FRAME)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        if frame.kind != ARRIVAL {
            return Err(FrameError::Body { kind: frame.kind, reason: "it does not say who came".to_owned() });
        }
        frame::from_body(ARRIVAL, &frame.body)
    }
}

/// By what a manager trusts its relay, and the relay its manager: `rbr1.<SHA-256 of the relay's CA>.<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayToken {
    text: String,
    fingerprint: String,
}

impl RelayToken {
    /// How each begins.
    const PREFIX: &'static str = "rbr1";

    /// Hexadecimal digits of a SHA-256.
    const DIGITS: usize = 64;

    /// That of the relay whose CA certificate has this SHA-256, in hexadecimal.
    #[must_use]
    pub fn new(fingerprint: &str, secret: &str) -> Option<Self> {
        Self::read(&format!("{}.{fingerprint}.{secret}", Self::PREFIX))
    }

    /// Reads one, with white space around it; nothing when it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (prefix, fingerprint, secret, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let is_hexadecimal = |text: &str| text.len() == Self::DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_good = prefix == Self::PREFIX && is_hexadecimal(fingerprint) && is_hexadecimal(secret);
        is_good.then(|| Self { text: text.to_owned(), fingerprint: fingerprint.to_ascii_lowercase() })
    }

    /// SHA-256 of the relay's CA certificate, in lower-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The whole token, which is a secret.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayToken({})", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_pins_its_relay_and_shows_nobody_its_secret() {
        let (pin, secret) = ("AB".repeat(32), "cd".repeat(32));
        let token = RelayToken::read(&format!(" rbr1.{pin}.{secret}\r\n")).unwrap();
        assert_eq!(token.fingerprint(), "ab".repeat(32));
        assert_eq!(token.text(), format!("rbr1.{pin}.{secret}"));
        assert_eq!(RelayToken::new(&pin, &secret), Some(token.clone()));
        let present = Present { protocol: 1, token: token.text().into(), process: "p".into(), heartbeat: Millis(1) };
        let shown = format!("{token:?} {present:?} {:?}", ToRelay::Present(present.clone()));
        assert!(!shown.contains(&secret), "{shown}");
        let short = "ab".repeat(31);
        for bad in [
            String::new(),
            "rbr1".into(),
            format!("rbe1.{pin}.{secret}"),
            format!("rbr1.{short}.{secret}"),
            format!("rbr1.{pin}.{short}"),
            format!("rbr1.{pin}."),
            format!("rbr1.{pin}.{secret}.x"),
            format!("rbr1.{pin}.{}", "zz".repeat(32)),
        ] {
            assert_eq!(RelayToken::read(&bad), None, "{bad}");
        }
    }
}
