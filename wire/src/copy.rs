//! Copies of files and folders: one stream from who has them, the sender, to who shall have them, the receiver.
//!
//! Device and client speak the same frames in either role, so that a copy from one device to another is both streams
//! joined. The sender tells its entries in order, folders before what is in them. A small file's content is in its
//! entry; for a larger one the receiver says how much it has and the digest of that ([`Want`]), the sender compares and
//! goes on from there, or from the start where its own content is another. What each side says of names is checked by
//! the other as an enemy's.

use std::fmt;

use robo_model::quantity::UnixMillis;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::stream::{MAX_CHUNK, VERDICT, Verdict, expect};

/// Most bytes of a file that travel in its entry: one frame, and no waiting for an answer.
pub const MAX_INLINE: usize = MAX_CHUNK;

/// Most bytes of a path: what Linux takes.
pub const MAX_PATH: usize = 4096;

/// Most bytes of one name in a path: what file systems take.
pub const MAX_NAME: usize = 255;

/// Most failures that are told one by one; more are only counted. Few enough that they never fill a stream whose
/// other end writes and does not read yet.
pub const MAX_TOLD: u64 = 100;

/// Most bytes of the reason that is told with a failure.
pub const MAX_REASON: usize = 300;

/// A path or a name as the device has it: any bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawPath(pub Vec<u8>);

impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl From<&str> for RawPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesOf(MAX_PATH)).map(Self)
    }
}

/// A small file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesOf(MAX_INLINE)).map(Self)
    }
}

/// Reads at most so many bytes.
pub(crate) struct BytesOf(pub(crate) usize);

impl BytesOf {
    fn bounded<E: serde::de::Error>(&self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        if bytes.len() > self.0 { Err(E::custom(format!("more than {} bytes", self.0))) } else { Ok(bytes.to_vec()) }
    }
}

impl<'de> Visitor<'de> for BytesOf {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} bytes", self.0)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        self.bounded(bytes)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        self.bounded(text.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element::<u8>()? {
            if bytes.len() >= self.0 {
                return Err(A::Error::custom(format!("more than {} bytes", self.0)));
            }
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// Which way a copy goes; the first frame of a client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CopyOpen {
    /// To the device, which is the receiver.
    Push(Push),
    /// From the device, which is the sender.
    Pull(Pull),
    /// Away from the device: a file that is elsewhere by now. There are no entries, only a verdict. An older agent does
    /// not know it, and ends the stream without one.
    Purge(Purge),
}

/// A file that is removed, if it is still what was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Purge {
    /// Which; relative to the home of the agent's user.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub path: RawPath,
    /// Its size, in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// What is done with what arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Push {
    /// Where to; relative to the home of the receiver's user. A folder that is there, or a path that ends with `/`,
    /// takes the source under its own name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub path: RawPath,
    /// The source's own name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: RawPath,
    /// True when `path` is where the copy shall be, even if there is a folder: one that is tried again.
    #[serde(default)]
    pub exact: bool,
    /// The permissions of files, instead of those that they have.
    #[serde(default)]
    pub mode: Option<u32>,
    /// `user` or `user:group`, by name or number; the receiver's own where none is given.
    #[serde(default)]
    pub owner: Option<String>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pull {
    /// From where; relative to the home of the agent's user.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub path: RawPath,
    /// True when it may be a folder.
    #[serde(default)]
    pub recursive: bool,
    /// At most so many bytes of content in a second.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A small file, whole.
    Small(Content),
    /// A file whose content follows when it was asked for; its size where it is known.
    File(Option<u64>),
    /// A folder.
    Folder,
    /// A symbolic link with this text.
    Link(RawPath),
}

/// One entry of what is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the entries of one stream, from 0.
    pub number: u64,
    /// Relative to the source; empty for the source itself.
    pub name: RawPath,
    /// What it is.
    pub kind: Kind,
    /// Its permissions; of links they mean nothing.
    pub mode: u32,
    /// When its content was changed last.
    #[serde(default)]
    pub modified_at: Option<UnixMillis>,
}

/// The receiver asks for a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The entry.
    pub number: u64,
    /// So many bytes of it are there.
    pub from: u64,
    /// Their SHA-256, in hexadecimal digits; the sender starts anew where its own are others.
    pub sha256: String,
}

/// The file's content is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Bytes in all.
    pub size: u64,
    /// The SHA-256 of the whole, in hexadecimal digits.
    pub sha256: String,
}

/// One entry that is not copied, or something to know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The entry; none where there was no frame for it.
    #[serde(default)]
    pub number: Option<u64>,
    /// Relative to the source; empty for the source itself.
    pub name: RawPath,
    /// What is the matter.
    pub reason: String,
}

/// One frame of a copy's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrame {
    /// The receiver's first: where the copy will be.
    Place(RawPath),
    /// From the sender.
    Entry(Entry),
    /// From the receiver.
    Want(Want),
    /// Content, and the place of its first byte. 0 in the middle of a file means that it starts anew.
    Data(u64, Vec<u8>),
    /// The whole file was sent.
    End(End),
    /// The sender leaves something out and that is no fault: a device node, a socket. Or it was copied, with a remark.
    Skipped(Told),
    /// Either side failed at an entry; the others go on.
    Failed(Told),
    /// There are no more entries.
    Finish,
    /// How it ended; nothing follows.
    Verdict(Verdict),
    /// A frame of a newer version.
    Unknown(u8),
}

const COPY_OPEN: u8 = 32;
const PLACE: u8 = 33;
const ENTRY: u8 = 34;
const WANT: u8 = 35;
const DATA: u8 = 36;
const END: u8 = 37;
const SKIPPED: u8 = 38;
const FAILED: u8 = 39;
const FINISH: u8 = 40;

impl CopyOpen {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When its paths are too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(COPY_OPEN, &frame::to_body(COPY_OPEN, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, COPY_OPEN)
    }
}

impl CopyFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Place(path) => (PLACE, frame::to_body(PLACE, path)?),
            Self::Entry(entry) => (ENTRY, frame::to_body(ENTRY, entry)?),
            Self::Want(want) => (WANT, frame::to_body(WANT, want)?),
            Self::Data(place, data) => (DATA, [&place.to_be_bytes(), data.as_slice()].concat()),
            Self::End(end) => (END, frame::to_body(END, end)?),
            Self::Skipped(told) => (SKIPPED, frame::to_body(SKIPPED, told)?),
            Self::Failed(told) => (FAILED, frame::to_body(FAILED, told)?),
            Self::Finish => (FINISH, Vec::new()),
            Self::Verdict(verdict) => (VERDICT, frame::to_body(VERDICT, verdict)?),
            Self::Unknown(kind) => (*kind, Vec::new()),
        };
        frame::encode(kind, &body, MAX_STREAM_FRAME)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let Frame { kind, body } = frame;
        let kind = *kind;
        Ok(match kind {
            PLACE => Self::Place(frame::from_body(kind, body)?),
            ENTRY => Self::Entry(frame::from_body(kind, body)?),
            WANT => Self::Want(frame::from_body(kind, body)?),
            DATA => {
                let mut data = body.clone();
                Self::Data(frame::take_place(kind, &mut data)?, data)
            }
            END => Self::End(frame::from_body(kind, body)?),
            SKIPPED => Self::Skipped(frame::from_body(kind, body)?),
            FAILED => Self::Failed(frame::from_body(kind, body)?),
            FINISH => Self::Finish,
            VERDICT => Self::Verdict(frame::from_body(kind, body)?),
            other => Self::Unknown(other),
        })
    }
}

/// Takes a relative path apart, and refuses what leads elsewhere: the names of entries come from the other side.
///
/// # Errors
/// One sentence for people.
pub fn parts(name: &RawPath) -> Result<Vec<&[u8]>, String> {
    let bytes = name.0.as_slice();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if bytes.len() > MAX_PATH {
        return Err(format!("a name of {} bytes is too long, at most {MAX_PATH} are allowed", bytes.len()));
    }
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
    match parts.iter().find(|part| check_part(part).is_err()) {
        Some(part) => Err(format!("`{name}` is no name to be copied: {}", check_part(part).err().unwrap_or_default())),
        None => Ok(parts),
    }
}

/// Says why this is no name in a folder.
///
/// # Errors
/// A few words for people.
pub fn check_part(part: &[u8]) -> Result<(), &'static str> {
    match part {
        b"" => Err("a part of it is empty"),
        b"." | b".." => Err("it has `.` or `..` in it"),
        _ if part.len() > MAX_NAME => Err("a part of it is too long"),
        _ if part.contains(&0) => Err("it has a zero byte in it"),
        _ if part.contains(&b'/') => Err("it has a `/` in it"),
        _ => Ok(()),
    }
}

/// `reason`, cut to what is told of it.
#[must_use]
pub fn short(reason: &str) -> String {
    reason.chars().take(MAX_REASON / 4).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(frame: &CopyFrame) -> CopyFrame {
        let mut bytes = frame.encode().unwrap();
        CopyFrame::decode(&frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let entry = |kind| {
            let modified_at = Some(UnixMillis(1_700_000_000_000));
            CopyFrame::Entry(Entry {
                number: 7,
                name: RawPath(vec![b'a', 0xff, b'/', 9]),
                kind,
                mode: 0o640,
                modified_at,
            })
        };
        let told = Told { number: None, name: RawPath::default(), reason: "it is a socket".into() };
        for frame in [
            CopyFrame::Place("/tmp/x".into()),
            entry(Kind::Small(Content(vec![0xfe; MAX_INLINE]))),
            entry(Kind::File(Some(u64::MAX))),
            entry(Kind::File(None)),
            entry(Kind::Folder),
            entry(Kind::Link("../x".into())),
            CopyFrame::Want(Want { number: 7, from: 9, sha256: "ab".into() }),
            CopyFrame::Data(1 << 40, vec![3; MAX_CHUNK]),
            CopyFrame::End(End { size: 1, sha256: "cd".into() }),
            CopyFrame::Skipped(told.clone()),
            CopyFrame::Failed(told),
            CopyFrame::Finish,
            CopyFrame::Verdict(Verdict::Ok),
            CopyFrame::Unknown(200),
        ] {
            assert_eq!(through(&frame), frame);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let ok = |name: &str| assert!(parts(&name.into()).is_ok(), "{name}");
        ok("");
        ok("a");
        ok("a/b c/...");
        ok("..a/b..");
        let long = "x".repeat(MAX_NAME + 1);
        let longer = "x/".repeat(MAX_PATH);
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b", &long, &longer] {
            assert!(parts(&bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_much_content_is_refused() {
        let big = Entry {
            number: 0,
            name: RawPath::default(),
            kind: Kind::Small(Content(vec![0; MAX_INLINE + 1])),
            mode: 0,
            modified_at: None,
        };
        let body = frame::to_body(ENTRY, &big).unwrap();
        assert!(CopyFrame::decode(&Frame { kind: ENTRY, body }).is_err());
        assert!(CopyFrame::decode(&Frame { kind: DATA, body: vec![0; 7] }).is_err());
        assert!(CopyOpen::decode(&Frame { kind: DATA, body: vec![0; 7] }).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(kind in 30_u8..42, body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(CopyFrame::decode(&Frame { kind, body: body.clone() }));
            if let Ok(parts) = parts(&RawPath(body)) {
                prop_assert!(parts.iter().all(|part| *part != b".." && !part.is_empty()));
            }
        }
    }
}
