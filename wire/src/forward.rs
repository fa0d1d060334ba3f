//! Connections through a device, each on a stream of its own: what its frames say.
//!
//! A connection, here a *flow*, has two ends with a socket each: one at the agent, one at the client. Both keep what the
//! other has not taken yet ([`flow::Flow`]), so that a flow outlives the streams it goes over; the manager only passes
//! frames on. Places count the bytes of one direction from its begin, and its end counts as one more.
//!
//! Between manager and agent the stream begins with [`crate::stream::Open::Forward`], between client and manager with a
//! [`ForwardRequest`]; after that both carry the same [`ForwardFrame`]s. The other end's first one is `Opened` or
//! `Broken`.

pub mod flow;

use std::fmt;

use robo_model::quantity::Millis;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::stream::expect;

/// Bytes of one direction that may be under way and not taken: what each end keeps at most. Enough for 5 MB/s at a
/// tenth of a second.
pub const WINDOW: usize = 512 * 1024;

/// How long a flow is kept while no stream is there: as long as a device may need to come back from another network.
pub const KEEP: Millis = Millis::from_secs(2 * 60);

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST: usize = 255;

/// Longest path of a socket, in bytes (`unix(7)`).
const MAX_PATH: usize = 107;

/// Longest reason that is told, in bytes.
const MAX_REASON: usize = 1024;

/// A flow's identity: random, and the only thing that who comes back to it must know. So it is shown nowhere whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlowId(pub [u8; 16]);

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "FlowId({a:02x}{b:02x}…)")
    }
}

/// Where a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Target {
    /// A port of a host.
    Tcp {
        /// Its name or address, as the one that dials knows it.
        host: String,
        /// From 1 on.
        port: u16,
    },
    /// A socket in the file system.
    Unix {
        /// Its absolute path.
        path: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => f.write_str(path),
        }
    }
}

/// Where the device listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// An address of the device.
    pub host: String,
    /// 0 for any that is free.
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Target::Tcp { host: self.host.clone(), port: self.port }.fmt(f)
    }
}

/// What a new flow is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Wish {
    /// The device connects to this.
    Connect(Target),
    /// The device listens here, and each connection that comes is a flow that the client is told of.
    Listen(Place),
}

impl Wish {
    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Connect(Target::Tcp { port: 0, .. }) => Err("nothing can be reached at port 0".into()),
            Self::Connect(Target::Tcp { host, .. }) | Self::Listen(Place { host, .. }) => check_host(host),
            Self::Connect(Target::Unix { path }) => {
                let is_right = path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0');
                let wrong =
                    || format!("`{path}` is no path of a socket: it starts with / and has at most {MAX_PATH} bytes");
                if is_right { Ok(()) } else { Err(wrong()) }
            }
        }
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%');
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(letters) {
        return Err(format!("`{}` is no name or address of a host", host.escape_debug()));
    }
    Ok(())
}

/// The manager begins a flow on a device, or comes back to it for who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardOpen {
    /// Which.
    pub flow: FlowId,
    /// Who asks; nobody else comes to the flow.
    pub by: String,
    /// What it is, where it may have to begin. Without it, one that is not there is refused.
    #[serde(default)]
    pub wish: Option<Wish>,
    /// How much the client has taken.
    #[serde(default)]
    pub taken: u64,
}

/// A client begins a flow, or comes back to it; the first frame of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// Which; drawn by the client, at random.
    pub flow: FlowId,
    /// What it is, where it may have to begin.
    #[serde(default)]
    pub wish: Option<Wish>,
    /// How much the client has taken.
    #[serde(default)]
    pub taken: u64,
}

/// The agent has the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Opened {
    /// How much it has taken.
    #[serde(default)]
    pub taken: u64,
    /// Where it listens: the port that it found, where any would do.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A connection came to where the device listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The flow it is; it waits to be come for.
    pub flow: FlowId,
    /// From where.
    pub from: String,
}

/// Why a flow is no more, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenKind {
    /// The device does not allow it, or cannot understand it.
    Denied,
    /// There are as many as there may be.
    TooMany,
    /// Nothing listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// No answer came in time.
    TimedOut,
    /// No such name, or no such path.
    NotFound,
    /// The place to listen at is taken.
    InUse,
    /// The device does not have it, or not any more.
    Unknown,
    /// The socket of the other end broke.
    Reset,
    /// The other end does not want it any more.
    Ended,
    /// It was cut for longer than it is kept, or an end did not keep the rules.
    Lost,
    /// A kind of a newer version.
    #[serde(other)]
    Other,
}

/// Why a flow is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Broken {
    /// For programs.
    pub kind: BrokenKind,
    /// For people.
    pub reason: String,
}

impl Broken {
    /// One with its reason, shortened where it is too long to be sent.
    #[must_use]
    pub fn new(kind: BrokenKind, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        Self { kind, reason }
    }
}

/// One frame of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardFrame {
    /// The agent has it; its first frame.
    Opened(Opened),
    /// Bytes, and the place of the first of them.
    Data(u64, Vec<u8>),
    /// This direction has ended at this place; the other goes on.
    End(u64),
    /// So much was taken; one more than there are bytes when the end was too.
    Taken(u64),
    /// The flow is no more.
    Broken(Broken),
    /// A connection came to where the device listens.
    Accepted(Accepted),
    /// A frame of a newer version.
    Unknown(u8),
}

const FORWARD_REQUEST: u8 = 112;
const OPENED: u8 = 113;
const DATA: u8 = 114;
const END: u8 = 115;
const TAKEN: u8 = 116;
const BROKEN: u8 = 117;
const ACCEPTED: u8 = 118;

impl ForwardRequest {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(FORWARD_REQUEST, &frame::to_body(FORWARD_REQUEST, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, FORWARD_REQUEST)
    }
}

impl ForwardFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Opened(opened) => (OPENED, frame::to_body(OPENED, opened)?),
            Self::Data(place, data) => (DATA, [&place.to_be_bytes(), data.as_slice()].concat()),
            Self::End(place) => (END, place.to_be_bytes().to_vec()),
            Self::Taken(place) => (TAKEN, place.to_be_bytes().to_vec()),
            Self::Broken(broken) => (BROKEN, frame::to_body(BROKEN, broken)?),
            Self::Accepted(accepted) => (ACCEPTED, frame::to_body(ACCEPTED, accepted)?),
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
            OPENED => Self::Opened(frame::from_body(kind, &body)?),
            DATA => Self::Data(frame::take_place(kind, &mut body)?, body),
            END => Self::End(only_place(kind, body)?),
            TAKEN => Self::Taken(only_place(kind, body)?),
            BROKEN => Self::Broken(frame::from_body(kind, &body)?),
            ACCEPTED => Self::Accepted(frame::from_body(kind, &body)?),
            other => Self::Unknown(other),
        })
    }
}

fn only_place(kind: u8, mut body: Vec<u8>) -> Result<u64, FrameError> {
    let place = frame::take_place(kind, &mut body)?;
    if body.is_empty() { Ok(place) } else { Err(FrameError::Body { kind, reason: "a place has eight bytes".into() }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_reached_is_told() {
        let tcp = |host: &str, port| Wish::Connect(Target::Tcp { host: host.into(), port });
        let unix = |path: &str| Wish::Connect(Target::Unix { path: path.into() });
        let listen = |host: &str| Wish::Listen(Place { host: host.into(), port: 0 });
        for good in [tcp("localhost", 1), tcp("::1", 80), tcp("fe80::1%eth0", 80), unix("/run/x"), listen("127.0.0.1")]
        {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let check = |wish: &Wish, says: &str| assert!(wish.check().unwrap_err().contains(says), "{wish:?}");
        check(&tcp("localhost", 0), "port 0");
        check(&tcp("", 80), "`` is no name");
        check(&tcp("a b", 80), "no name");
        check(&tcp("a\0", 80), "`a\\0` is no name");
        check(&tcp(&"x".repeat(MAX_HOST + 1), 80), "no name");
        check(&unix("run/x"), "starts with /");
        check(&unix(&format!("/{}", "x".repeat(MAX_PATH))), "at most 107");
        check(&unix("/a\0"), "no path");
        check(&listen("*"), "no name");
    }

    #[test]
    fn wrong_bodies_are_refused() {
        let check = |kind, body: &[u8]| {
            assert!(ForwardFrame::decode(Frame { kind, body: body.to_vec() }).is_err(), "{kind} {body:?}");
        };
        for kind in [DATA, END, TAKEN] {
            check(kind, &[0; 7]);
        }
        check(END, &[0; 9]);
        for kind in [OPENED, BROKEN, ACCEPTED] {
            check(kind, b"x");
        }
        assert_eq!(ForwardFrame::decode(Frame { kind: 200, body: vec![1] }), Ok(ForwardFrame::Unknown(200)));
        assert!(ForwardFrame::Data(0, vec![0; MAX_STREAM_FRAME]).encode().is_err());
        let told = Broken::new(BrokenKind::Lost, "ü".repeat(MAX_REASON));
        assert_eq!(told.reason.len(), MAX_REASON);
        assert_eq!(format!("{:?}", FlowId([255; 16])), "FlowId(ffff…)");
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(kind in 38_u8..50, body in prop::collection::vec(any::<u8>(), 0..60)) {
            let frame = Frame { kind, body };
            drop(ForwardFrame::decode(frame.clone()));
            drop(ForwardRequest::decode(&frame));
        }
    }
}
