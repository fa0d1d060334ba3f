//! The last bytes of something endless, each with its place in the whole: who comes back says how far it was, and gets
//! what followed, or learns how much of it is gone.

use std::collections::VecDeque;

/// The last bytes, at most so many as it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    start: u64,
    bytes: VecDeque<u8>,
    most: usize,
}

impl Backlog {
    /// An empty one that keeps `most` bytes; the first that comes has the place `start`.
    #[must_use]
    pub const fn new(start: u64, most: usize) -> Self {
        Self { start, bytes: VecDeque::new(), most }
    }

    /// The place of the first byte that is kept.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The place of the byte that comes next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// How many bytes can be added without dropping one.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes.len())
    }

    /// Adds bytes; the oldest go when there is no room.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.most);
        let dropped = (self.bytes.len() + bytes.len() - skipped).saturating_sub(self.most);
        self.bytes.drain(..dropped);
        self.start += (dropped + skipped) as u64;
        self.bytes.extend(bytes.get(skipped..).unwrap_or_default());
    }

    /// At most `most` bytes from `place` on, with the place of the first of them: a later one where `place` is gone
    /// already. Nothing when there is none yet.
    #[must_use]
    pub fn read(&self, place: u64, most: usize) -> Option<(u64, Vec<u8>)> {
        let from = place.max(self.start);
        let skip = usize::try_from(from - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        let end = self.bytes.len().min(skip.saturating_add(most));
        // Piece by piece: byte by byte it would be the dearest part of a large transfer.
        let (first, second) = self.bytes.as_slices();
        let cut =
            |slice: &[u8], at: usize| skip.saturating_sub(at).min(slice.len())..end.saturating_sub(at).min(slice.len());
        let mut bytes = Vec::with_capacity(end - skip);
        for (slice, at) in [(first, 0), (second, first.len())] {
            bytes.extend_from_slice(slice.get(cut(slice, at)).unwrap_or_default());
        }
        (!bytes.is_empty()).then_some((from, bytes))
    }

    /// Gives back the memory of what is not kept any more.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Forgets what stands before `place`: it has arrived.
    pub fn forget_before(&mut self, place: u64) {
        let count = usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..count);
        self.start += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_go_and_places_stay() {
        let mut backlog = Backlog::new(10, 4);
        assert_eq!((backlog.start(), backlog.end(), backlog.room(), backlog.read(0, 9)), (10, 10, 4, None));
        backlog.push(b"abc");
        assert_eq!(backlog.read(0, 9), Some((10, b"abc".to_vec())));
        assert_eq!(backlog.read(11, 1), Some((11, b"b".to_vec())));
        backlog.push(b"def");
        assert_eq!((backlog.start(), backlog.end(), backlog.room()), (12, 16, 0));
        assert_eq!(backlog.read(11, 9), Some((12, b"cdef".to_vec())));
        assert_eq!(backlog.read(16, 9), None);
        assert_eq!(backlog.read(99, 9), None);
        backlog.push(b"0123456789");
        assert_eq!(backlog.read(0, 9), Some((22, b"6789".to_vec())));
        backlog.forget_before(24);
        assert_eq!((backlog.start(), backlog.end()), (24, 26));
        backlog.forget_before(3);
        backlog.forget_before(99);
        assert_eq!((backlog.start(), backlog.end()), (26, 26));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_pushed(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20), most in 1_usize..40, place in 0_u64..200) {
            let mut backlog = Backlog::new(0, most);
            let mut all = Vec::new();
            for piece in pieces {
                backlog.push(&piece);
                all.extend(piece);
                prop_assert_eq!(backlog.end(), all.len() as u64);
                prop_assert_eq!(backlog.end() - backlog.start(), all.len().min(most) as u64);
            }
            let from = usize::try_from(place.max(backlog.start())).unwrap();
            let expect = all.get(from..).filter(|rest| !rest.is_empty()).map(|rest| (from as u64, rest.to_vec()));
            prop_assert_eq!(backlog.read(place, 1000), expect);
        }
    }
}
