//! What an idle link does not send: the multiplexer's pings.
//!
//! Yamux measures the round trip every ten seconds in which something is said, to know how much it may have under way.
//! On a link that says five bytes every half minute that is most of what it sends, and nobody needs to know. So its
//! pings wait until there is a transfer whose speed depends on them. This looks at the frames that are written, by their
//! headers ([specification](https://github.com/hashicorp/yamux/blob/master/spec.md)); it knows nothing of sockets.

/// Bytes of a frame's header.
pub const HEADER: usize = 12;

/// Bytes, both ways, from which on a link is not idle: a quarter of the window that each stream has from the beginning.
pub const BUSY: u64 = 64 * 1024;

const DATA: u8 = 0;
const PING: u8 = 2;
/// On a ping: it is a question, and no answer.
const SYN: u16 = 1;

/// Follows the frames that one side writes.
#[derive(Debug, Default)]
pub struct Thrift {
    /// What is still to come of a frame's body.
    body_left: usize,
    /// Bytes both ways since the last ping.
    moved: u64,
    /// The ping that waits. There is one at most: the next is made when this one was answered.
    ping: Option<[u8; HEADER]>,
}

/// What to do with bytes that are to be written.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write them.
    Write,
    /// Write this ping, which waited, and then them.
    WriteBehind([u8; HEADER]),
    /// Say that they are written; they wait.
    Keep,
}

impl Thrift {
    /// True when the next byte that is written belongs to a header.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.body_left == 0
    }

    /// Looks at the next frame's header. What is no header of ours is none of our business, and is written.
    pub fn header(&mut self, bytes: &[u8]) -> Verdict {
        let Ok(header) = <[u8; HEADER]>::try_from(bytes) else { return Verdict::Write };
        let [_, kind, flags_high, flags_low, _, _, _, _, length @ ..] = header;
        let is_question = kind == PING && u16::from_be_bytes([flags_high, flags_low]) & SYN != 0;
        if kind == DATA {
            self.body_left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        }
        if is_question && self.moved < BUSY {
            self.ping = Some(header);
            return Verdict::Keep;
        }
        if is_question {
            self.moved = 0;
        }
        if self.moved >= BUSY
            && let Some(ping) = self.ping.take()
        {
            self.moved = 0;
            return Verdict::WriteBehind(ping);
        }
        Verdict::Write
    }

    /// So many bytes of a body were written.
    pub fn body(&mut self, bytes: usize) {
        self.body_left = self.body_left.saturating_sub(bytes);
        self.moved(bytes);
    }

    /// So many bytes came, or went.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, flags: u8, length: u32) -> [u8; HEADER] {
        let mut header = [0, kind, 0, flags, 0, 0, 0, 1, 0, 0, 0, 0];
        header[8..].copy_from_slice(&length.to_be_bytes());
        header
    }

    #[test]
    fn an_idle_link_keeps_its_pings_and_a_busy_one_sends_them() {
        let mut thrift = Thrift::default();
        let (ping, data) = (header(PING, 1, 7), header(DATA, 0, 5));
        assert_eq!(thrift.header(&ping), Verdict::Keep);
        for _ in 0..100 {
            assert_eq!(thrift.header(&data), Verdict::Write);
            assert!(!thrift.is_between_frames());
            thrift.body(2);
            thrift.body(3);
            assert!(thrift.is_between_frames());
            thrift.moved(17);
        }
        // Somebody asks, and is answered.
        assert_eq!(thrift.header(&header(PING, 2, 7)), Verdict::Write);
        thrift.moved(BUSY as usize);
        assert_eq!(thrift.header(&data), Verdict::WriteBehind(ping));
        thrift.body(5);
        assert_eq!(thrift.header(&data), Verdict::Write);
        thrift.body(BUSY as usize);
        assert_eq!(thrift.header(&header(PING, 1, 8)), Verdict::Write, "a busy link measures");
        assert_eq!(thrift.header(&header(PING, 1, 9)), Verdict::Keep);
    }

    #[test]
    fn what_looks_like_a_ping_in_a_body_is_none() {
        let mut thrift = Thrift::default();
        assert_eq!(thrift.header(&header(DATA, 0, 12)), Verdict::Write);
        assert!(!thrift.is_between_frames(), "the next twelve bytes are no header, whatever they are");
        thrift.body(12);
        assert_eq!(thrift.header(&header(1, 0, 99)), Verdict::Write);
        assert!(thrift.is_between_frames(), "an update of a window has no body");
        assert_eq!(thrift.header(b"short"), Verdict::Write);
    }
}
