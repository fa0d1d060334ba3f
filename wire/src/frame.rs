//! Frames: `length (u32, big endian) | kind (u8) | body`; the length counts kind and body.
//!
//! Kind and body have a meaning only to the layer above. A reader gives its bound, so that a peer's
//! length field never decides how much memory we take.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::nesting;
pub use crate::nesting::MAX_NESTING;

/// Bytes before a frame's body.
pub const HEADER_BYTES: usize = 5;

/// Bound for frames from a peer that has not been welcomed yet: a hello fits many times over.
pub const MAX_FRAME_BEFORE_WELCOME: usize = 64 * 1024;

/// Bound for control frames. The largest is an assignment; the planner refuses to make a larger one.
pub const MAX_CONTROL_FRAME: usize = 16 * 1024 * 1024;

/// Bound for frames on exec and log streams: a slice of output.
pub const MAX_STREAM_FRAME: usize = 64 * 1024;

/// The highest place of a byte in a stream: no stream will ever be that long, and what is counted on from here, many
/// times over, is still a number.
pub const MAX_PLACE: u64 = 1 << 60;

/// Why bytes are no frame, or a body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field says more than the bound.
    #[error("a frame of {length} bytes was announced, at most {max} are allowed here")]
    TooLong {
        /// What was announced.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// The length field says zero: not even a kind.
    #[error("an empty frame was announced")]
    Empty,
    /// The body is not the message that its kind says.
    #[error("the body of a frame of kind {kind} cannot be read: {reason}")]
    Body {
        /// The frame's kind.
        kind: u8,
        /// What the decoder found.
        reason: String,
    },
    /// A message of ours would not fit.
    #[error("a message of {length} bytes is too long to send, at most {max} are allowed")]
    Unsendable {
        /// Its length.
        length: usize,
        /// The bound.
        max: usize,
    },
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: u8,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Reads a header: the frame's kind and the length of its body.
///
/// # Errors
/// When the length is zero or above `max`.
pub fn read_header(header: [u8; HEADER_BYTES], max: usize) -> Result<(u8, usize), FrameError> {
    let [a, b, c, d, kind] = header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if length > max {
        return Err(FrameError::TooLong { length, max });
    }
    Ok((kind, length - 1))
}

/// A frame's bytes, ready to be sent.
///
/// # Errors
/// When the body is longer than `max` allows.
pub fn encode(kind: u8, body: &[u8], max: usize) -> Result<Vec<u8>, FrameError> {
    let length = body.len() + 1;
    let field = u32::try_from(length).ok().filter(|_| length <= max);
    let Some(field) = field else {
        return Err(FrameError::Unsendable { length, max });
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&field.to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Takes the first whole frame off `buffer`, if one is there.
///
/// # Errors
/// When the next frame's header is wrong; the stream cannot be read on from there.
pub fn take(buffer: &mut Vec<u8>, max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let (kind, length) = read_header(*header, max)?;
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    let rest = buffer.split_off(HEADER_BYTES + length);
    let mut whole = std::mem::replace(buffer, rest);
    Ok(Some(Frame { kind, body: whole.split_off(HEADER_BYTES) }))
}

/// A message's body in CBOR (RFC 8949), as a map of field names.
///
/// # Errors
/// When the message has a value that CBOR cannot hold; ours have none.
pub fn to_body<T: Serialize>(kind: u8, message: &T) -> Result<Vec<u8>, FrameError> {
    minicbor_serde::to_vec(message).map_err(|e| FrameError::Body { kind, reason: e.to_string() })
}

/// The message that a body holds.
///
/// # Errors
/// When the bytes are not this message, or nest deeper than [`MAX_NESTING`].
pub fn from_body<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, FrameError> {
    nesting::check(kind, body)?;
    minicbor_serde::from_slice(body).map_err(|e| FrameError::Body { kind, reason: e.to_string() })
}

/// Takes the place of a byte off the begin of a body.
///
/// # Errors
/// When it is missing, or higher than [`MAX_PLACE`].
pub(crate) fn take_place(kind: u8, body: &mut Vec<u8>) -> Result<u64, FrameError> {
    let Some(bytes) = body.first_chunk::<8>().copied() else {
        return Err(FrameError::Body { kind, reason: "the place is missing".into() });
    };
    body.drain(..8);
    let place = u64::from_be_bytes(bytes);
    if place <= MAX_PLACE { Ok(place) } else { Err(FrameError::Body { kind, reason: no_place(place) }) }
}

/// The same, for a field of a message.
///
/// # Errors
/// As [`take_place`].
pub(crate) fn read_place<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let place = serde::Deserialize::deserialize(from)?;
    if place <= MAX_PLACE { Ok(place) } else { Err(serde::de::Error::custom(no_place(place))) }
}

fn no_place(place: u64) -> String {
    format!("no stream has a byte number {place}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_bounded_before_anything_is_read() {
        assert_eq!(read_header([0, 0, 0, 0, 1], 10), Err(FrameError::Empty));
        assert_eq!(read_header([255, 255, 255, 255, 1], 10), Err(FrameError::TooLong { length: 0xffff_ffff, max: 10 }));
        assert_eq!(read_header([0, 0, 0, 10, 7], 10), Ok((7, 9)));
        assert!(encode(1, &[0; 10], 10).is_err());
    }

    #[test]
    fn a_place_is_one_that_can_be_counted_on_from() {
        let place = |place: u64| take_place(7, &mut place.to_be_bytes().to_vec());
        assert_eq!(place(MAX_PLACE), Ok(MAX_PLACE));
        for wrong in [MAX_PLACE + 1, u64::MAX] {
            assert!(place(wrong).unwrap_err().to_string().contains("no stream has a byte number"));
        }
        assert!(take_place(7, &mut vec![0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..50)), 0..10), cut in 1_usize..40) {
            let bytes: Vec<u8> = bodies.iter().flat_map(|(k, b)| encode(*k, b, 100).unwrap()).collect();
            let mut buffer = Vec::new();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer, 100).unwrap() {
                    got.push((frame.kind, frame.body));
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(got, bodies);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = bytes;
            while let Ok(Some(frame)) = take(&mut buffer, 64) {
                prop_assert!(frame.body.len() < 64);
            }
        }
    }
}
