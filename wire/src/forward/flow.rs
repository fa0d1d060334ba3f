//! One end of a flow: what came out of its socket and has not arrived, what came for its socket and is not in it yet.
//!
//! Both ends are the same. The end of a direction counts as a byte of it: who has taken it has taken everything.

use super::{Broken, BrokenKind, ForwardFrame, WINDOW};
use crate::backlog::Backlog;
use crate::stream::MAX_CHUNK;

/// What is to be done with the socket next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSocket {
    /// Write these bytes, or the first of them.
    Bytes(Vec<u8>),
    /// Nothing more will come: close this direction.
    Close,
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// What came out of the socket, from the first byte that has not arrived.
    outward: Backlog,
    /// The socket gives no more.
    is_drained: bool,
    /// How much the other end has taken.
    arrived: u64,
    /// What came, from the first byte that is not in the socket.
    inward: Backlog,
    /// The other end's socket gives no more.
    has_ended: bool,
    /// That was passed on to the socket.
    is_closed: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            outward: Backlog::new(0, WINDOW),
            is_drained: false,
            arrived: 0,
            inward: Backlog::new(0, WINDOW),
            has_ended: false,
            is_closed: false,
        }
    }
}

impl Flow {
    /// How many bytes may be read from the socket now.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.is_drained { 0 } else { self.outward.room() }
    }

    /// These bytes were read from the socket: at most as many as there is room. After its end there are none.
    pub fn read(&mut self, bytes: &[u8]) {
        if !self.is_drained {
            self.outward.push(bytes);
        }
    }

    /// The socket gives no more.
    pub fn drained(&mut self) {
        self.is_drained = true;
    }

    /// What is to be done with the socket next: at most `most` bytes.
    #[must_use]
    pub fn to_socket(&self, most: usize) -> Option<ToSocket> {
        match self.inward.read(0, most) {
            Some((_, bytes)) => Some(ToSocket::Bytes(bytes)),
            None => (self.has_ended && !self.is_closed).then_some(ToSocket::Close),
        }
    }

    /// The socket has taken the next `count` bytes.
    pub fn wrote(&mut self, count: usize) {
        self.inward.forget_before(self.inward.start() + count as u64);
    }

    /// The socket was closed in this direction.
    pub fn closed(&mut self) {
        self.is_closed = true;
    }

    /// True when everything that will ever come is in the socket.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// How much the socket has taken, its end included.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.inward.start() + u64::from(self.is_closed)
    }

    /// Gives back memory that nothing needs any more.
    pub fn settle(&mut self) {
        self.outward.shrink();
        self.inward.shrink();
    }

    /// True when everything has arrived, both ways.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_closed && self.is_drained && self.arrived > self.outward.end()
    }

    /// The other end has taken so much.
    ///
    /// # Errors
    /// When that cannot be: it is more than there was.
    pub fn arrived(&mut self, taken: u64) -> Result<(), Broken> {
        if taken > self.outward.end() + u64::from(self.is_drained) {
            return Err(unruly("it says of bytes that they have arrived, and they cannot have"));
        }
        self.arrived = self.arrived.max(taken);
        self.outward.forget_before(taken);
        Ok(())
    }

    /// Takes what the other end says.
    ///
    /// # Errors
    /// When it breaks the flow, or does not keep the rules: a gap, or more than may be under way.
    pub fn hear(&mut self, frame: ForwardFrame) -> Result<(), Broken> {
        match frame {
            ForwardFrame::Data(place, bytes) => self.data(place, &bytes),
            ForwardFrame::End(place) if place == self.inward.end() => {
                self.has_ended = true;
                Ok(())
            }
            ForwardFrame::End(_) => Err(unruly("it ended where it was not")),
            ForwardFrame::Taken(taken) => self.arrived(taken),
            ForwardFrame::Broken(broken) => Err(broken),
            // Of a newer version, or heard by who began.
            ForwardFrame::Opened(_) | ForwardFrame::Accepted(_) | ForwardFrame::Unknown(_) => Ok(()),
        }
    }

    fn data(&mut self, place: u64, bytes: &[u8]) -> Result<(), Broken> {
        let known = self.inward.end().checked_sub(place).ok_or_else(|| unruly("bytes are missing"))?;
        // What came already, over an earlier stream, does not come twice.
        let fresh = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(());
        }
        if self.has_ended || fresh.len() > self.inward.room() {
            return Err(unruly("it sends more than it may"));
        }
        self.inward.push(fresh);
        Ok(())
    }
}

fn unruly(what: &str) -> Broken {
    Broken::new(BrokenKind::Lost, format!("the other end does not keep the rules: {what}"))
}

/// What was said over one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    place: u64,
    end: bool,
    taken: u64,
}

impl Said {
    /// Nothing yet, over a stream whose begin said what each end has taken: the flow knows what the other one has, and
    /// `taken` is what the other one knows.
    #[must_use]
    pub const fn new(flow: &Flow, taken: u64) -> Self {
        Self { place: flow.arrived, end: false, taken }
    }

    /// What is to be said next, if anything is.
    pub fn next(&mut self, flow: &Flow) -> Option<ForwardFrame> {
        let taken = flow.taken();
        if taken > self.taken {
            self.taken = taken;
            return Some(ForwardFrame::Taken(taken));
        }
        if let Some((place, bytes)) = flow.outward.read(self.place, MAX_CHUNK) {
            self.place = place + bytes.len() as u64;
            return Some(ForwardFrame::Data(place, bytes));
        }
        // Who has taken the end needs not hear of it again.
        let end = flow.is_drained && !self.end && flow.arrived <= flow.outward.end();
        end.then(|| {
            self.end = true;
            ForwardFrame::End(flow.outward.end())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(flow: &mut Flow, most: usize) -> Vec<u8> {
        match flow.to_socket(most) {
            Some(ToSocket::Bytes(bytes)) => {
                flow.wrote(bytes.len());
                bytes
            }
            Some(ToSocket::Close) => {
                flow.closed();
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    #[test]
    fn each_direction_ends_alone() {
        let (mut here, mut there) = (Flow::default(), Flow::default());
        here.read(b"question");
        here.drained();
        assert_eq!(here.room(), 0);
        let mut said = Said::new(&here, 0);
        assert_eq!(said.next(&here), Some(ForwardFrame::Data(0, b"question".to_vec())));
        assert_eq!(said.next(&here), Some(ForwardFrame::End(8)));
        assert_eq!(said.next(&here), None);
        there.hear(ForwardFrame::Data(0, b"question".to_vec())).unwrap();
        there.hear(ForwardFrame::End(8)).unwrap();
        assert_eq!(take(&mut there, 4), b"ques");
        assert_eq!(take(&mut there, 9), b"tion");
        assert_eq!(there.to_socket(9), Some(ToSocket::Close));
        there.closed();
        assert_eq!((there.taken(), there.to_socket(9)), (9, None));
        there.read(b"answer");
        assert!(!there.is_done() && !here.is_done());
        let mut back = Said::new(&there, 0);
        assert_eq!(back.next(&there), Some(ForwardFrame::Taken(9)));
        assert_eq!(back.next(&there), Some(ForwardFrame::Data(0, b"answer".to_vec())));
        there.drained();
        assert_eq!(back.next(&there), Some(ForwardFrame::End(6)));
        here.hear(ForwardFrame::Taken(9)).unwrap();
        // Over a new stream nothing is said of what arrived.
        assert_eq!(Said::new(&here, 0).next(&here), None);
        here.hear(ForwardFrame::Data(0, b"answer".to_vec())).unwrap();
        here.hear(ForwardFrame::End(6)).unwrap();
        assert_eq!(take(&mut here, 99), b"answer");
        take(&mut here, 99);
        assert!(here.is_done());
        there.arrived(here.taken()).unwrap();
        assert!(there.is_done());
    }

    #[test]
    fn who_does_not_keep_the_rules_breaks_the_flow() {
        let check = |frames: Vec<ForwardFrame>, says: &str| {
            let mut flow = Flow::default();
            flow.read(b"abc");
            let broken = frames.into_iter().find_map(|frame| flow.hear(frame).err()).unwrap();
            assert!(broken.reason.contains(says), "{broken}");
        };
        let data = |place, size| ForwardFrame::Data(place, vec![0; size]);
        check(vec![data(1, 1)], "missing");
        check(vec![data(0, 5), data(7, 1)], "missing");
        check(vec![data(0, WINDOW), data(WINDOW as u64, 1)], "more than it may");
        check(vec![ForwardFrame::End(1)], "ended where it was not");
        check(vec![ForwardFrame::End(0), data(0, 1)], "more than it may");
        check(vec![ForwardFrame::Taken(4)], "cannot have");
        check(vec![ForwardFrame::Broken(Broken::new(BrokenKind::Reset, "reset"))], "reset");
        let mut flow = Flow::default();
        flow.hear(data(0, 5)).unwrap();
        flow.hear(data(0, 5)).unwrap();
        flow.hear(data(3, 4)).unwrap();
        flow.hear(ForwardFrame::Unknown(200)).unwrap();
        assert_eq!(take(&mut flow, 99).len(), 7);
    }

    proptest! {
        /// Whatever is cut whenever, what comes out is what went in.
        #[test]
        fn nothing_is_lost_or_doubled(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..30), 0..20),
            steps in prop::collection::vec(0_u8..8, 0..200),
        ) {
            let (mut here, mut there) = (Flow::default(), Flow::default());
            let all: Vec<u8> = pieces.concat();
            let mut pieces = pieces.into_iter();
            let (mut said, mut back) = (Said::new(&here, 0), Said::new(&there, 0));
            let (mut lane, mut lane_back) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
            let mut got = Vec::new();
            // At the end everything happens a few times without a cut.
            let calm = [0, 1, 2, 3, 4, 5].repeat(60);
            for step in steps.into_iter().chain(calm) {
                match step {
                    0 => match pieces.next() {
                        Some(piece) => here.read(&piece),
                        None => here.drained(),
                    },
                    1 => lane.extend(said.next(&here)),
                    2 => if let Some(frame) = lane.pop_front() { there.hear(frame).unwrap() },
                    3 => got.extend(take(&mut there, 7)),
                    4 => lane_back.extend(back.next(&there)),
                    5 => if let Some(frame) = lane_back.pop_front() { here.hear(frame).unwrap() },
                    _ => {
                        lane.clear();
                        lane_back.clear();
                        here.arrived(there.taken()).unwrap();
                        there.arrived(here.taken()).unwrap();
                        (said, back) = (Said::new(&here, here.taken()), Said::new(&there, there.taken()));
                    }
                }
            }
            prop_assert_eq!(got, all);
            prop_assert!(here.taken() == 0 && there.is_closed && here.arrived == there.taken());
        }
    }
}
