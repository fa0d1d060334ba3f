//! What a run printed, as far as it is kept: both outputs in one row, each piece with its place.

use std::collections::VecDeque;

use robo_wire::backlog::Backlog;
use robo_wire::job::{MAX_HEAD, MAX_TAIL, Output, WINDOW};

/// Bytes with a mark where the other output begins.
#[derive(Debug)]
struct Marked {
    bytes: Backlog,
    /// Where pieces begin, and of which output they are; the first is of the first byte that is kept.
    marks: VecDeque<(u64, Output)>,
}

/// The output of one run.
#[derive(Debug)]
pub(super) struct Printed {
    /// The begin, of a run in the background.
    head: Option<Marked>,
    tail: Marked,
    ended: bool,
}

impl Marked {
    fn new(most: u64) -> Self {
        Self { bytes: Backlog::new(0, usize::try_from(most).unwrap_or(usize::MAX)), marks: VecDeque::new() }
    }

    fn push(&mut self, kind: Output, bytes: &[u8]) {
        if self.marks.back().is_none_or(|(_, last)| *last != kind) {
            self.marks.push_back((self.bytes.end(), kind));
        }
        self.bytes.push(bytes);
        self.forget_marks();
    }

    fn forget_before(&mut self, place: u64) {
        self.bytes.forget_before(place);
        self.forget_marks();
    }

    fn forget_marks(&mut self) {
        while self.marks.get(1).is_some_and(|(place, _)| *place <= self.bytes.start()) {
            self.marks.pop_front();
        }
    }

    /// Bytes of one output from `place` on, or from the first one after it that is kept.
    fn read(&self, place: u64, most: usize) -> Option<(Output, u64, Vec<u8>)> {
        let (from, mut bytes) = self.bytes.read(place, most)?;
        let number = self.marks.partition_point(|(begin, _)| *begin <= from).checked_sub(1)?;
        let (_, kind) = *self.marks.get(number)?;
        if let Some((next, _)) = self.marks.get(number + 1) {
            bytes.truncate(usize::try_from(next - from).unwrap_or(usize::MAX));
        }
        Some((kind, from, bytes))
    }
}

impl Printed {
    /// Nothing yet. Of a run in the background begin and end are kept; of another one what has not arrived.
    pub(super) fn new(background: bool) -> Self {
        let head = background.then(|| Marked::new(MAX_HEAD));
        // A window may be overrun by a piece of each output.
        Self { head, tail: Marked::new(if background { MAX_TAIL } else { WINDOW * 2 }), ended: false }
    }

    /// Adds what came.
    pub(super) fn push(&mut self, kind: Output, bytes: &[u8]) {
        if let Some(head) = &mut self.head {
            let room = usize::try_from(MAX_HEAD.saturating_sub(head.bytes.end())).unwrap_or(0);
            head.push(kind, bytes.get(..room).unwrap_or(bytes));
        }
        self.tail.push(kind, bytes);
    }

    /// Nothing more will come.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    /// How many bytes came.
    pub(super) fn len(&self) -> u64 {
        self.tail.bytes.end()
    }

    /// What stands before `place` has arrived.
    pub(super) fn forget_before(&mut self, place: u64) {
        if let Some(head) = &mut self.head {
            head.forget_before(place);
        }
        self.tail.forget_before(place);
    }

    /// What is to be sent from `place` on. Of a run in the background that goes on, only the begin: its end is not
    /// there yet, and what is between is not sent.
    pub(super) fn read(&self, place: u64, most: usize) -> Option<(Output, u64, Vec<u8>)> {
        match &self.head {
            None => self.tail.read(place, most),
            Some(head) => match head.read(place, most) {
                Some(piece) if piece.1 < self.tail.bytes.start() || !self.ended => Some(piece),
                Some(_) | None if self.ended => self.tail.read(place, most),
                Some(_) | None => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(printed: &Printed, mut place: u64) -> Vec<(Output, u64, Vec<u8>)> {
        let mut pieces = Vec::new();
        while let Some(piece) = printed.read(place, 40_000) {
            place = piece.1 + piece.2.len() as u64;
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn both_outputs_stand_in_one_row() {
        let mut printed = Printed::new(false);
        printed.push(Output::Stdout, b"ab");
        printed.push(Output::Stdout, b"c");
        printed.push(Output::Stderr, b"de");
        printed.push(Output::Stdout, b"f");
        let expect =
            [(Output::Stdout, 0, b"abc".to_vec()), (Output::Stderr, 3, b"de".into()), (Output::Stdout, 5, b"f".into())];
        assert_eq!(all(&printed, 0), expect);
        assert_eq!(printed.read(4, 9), Some((Output::Stderr, 4, b"e".to_vec())));
        printed.forget_before(4);
        assert_eq!(all(&printed, 0), [(Output::Stderr, 4, b"e".to_vec()), (Output::Stdout, 5, b"f".into())]);
        printed.forget_before(99);
        assert_eq!((all(&printed, 0), printed.len()), (Vec::new(), 6));
    }

    #[test]
    fn of_much_output_in_the_background_begin_and_end_are_kept() {
        let mut printed = Printed::new(true);
        let piece: Vec<u8> = (0..=255).collect();
        let count = 5 * MAX_HEAD / 256;
        for number in 0..count {
            printed.push(if number % 2 == 0 { Output::Stdout } else { Output::Stderr }, &piece);
        }
        let sent = |pieces: &[(Output, u64, Vec<u8>)]| pieces.iter().map(|p| p.2.len() as u64).sum::<u64>();
        let begin = all(&printed, 0);
        assert_eq!(sent(&begin), MAX_HEAD, "the rest is not sent while it goes on");
        printed.end();
        let pieces = all(&printed, 0);
        assert_eq!(sent(&pieces), MAX_HEAD + MAX_TAIL);
        let gaps: Vec<u64> =
            pieces.windows(2).map(|w| w[1].1 - w[0].1 - w[0].2.len() as u64).filter(|g| *g > 0).collect();
        assert_eq!(gaps, [5 * MAX_HEAD - MAX_HEAD - MAX_TAIL]);
        let rest = all(&printed, MAX_HEAD + 7);
        assert_eq!((rest[0].1, sent(&rest)), (printed.len() - MAX_TAIL, MAX_TAIL));
        // Who takes it as it comes gets all of little output once.
        let mut little = Printed::new(true);
        little.push(Output::Stdout, b"abc");
        little.forget_before(2);
        little.end();
        assert_eq!(all(&little, 2), [(Output::Stdout, 2, b"c".to_vec())]);
    }
}
