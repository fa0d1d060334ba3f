//! The network: connections that carry bytes in order, like TCP under TLS, and everything that becomes of those.
//!
//! A connection never loses, doubles or swaps bytes: it is late, it stalls, or it ends with bytes in flight. What is
//! lost, doubled or swapped between two nodes is so because connections end and others take their place, while the
//! old ones may linger and deliver.

use std::collections::VecDeque;

use super::schedule::Time;

/// Names a connection.
pub(super) type ConnId = usize;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Agent,
    Manager,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Agent => Self::Manager,
            Self::Manager => Self::Agent,
        }
    }
}

/// What an end hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Bytes(Vec<u8>),
    /// The other end hung up, or the connection broke.
    End,
}

/// How the way to a device is.
#[derive(Debug, Clone, Default)]
struct Way {
    /// Nothing gets through before.
    blocked_until: Time,
    /// Every message takes so much longer, until then.
    slow: (Time, Time),
}

#[derive(Debug)]
struct Conn {
    device: usize,
    to_agent: VecDeque<(Time, Heard)>,
    to_manager: VecDeque<(Time, Heard)>,
    /// When the last thing on its way arrives: nothing overtakes.
    last: [Time; 2],
    agent_open: bool,
    manager_open: bool,
}

/// All connections there ever were, and the ways to the devices.
#[derive(Debug)]
pub(super) struct Net {
    conns: Vec<Conn>,
    ways: Vec<Way>,
    rng: fastrand::Rng,
    /// The usual latency, one way: at least, and at most so much more.
    latency: (Time, Time),
}

/// When who hears something on which connection: to be put on the schedule.
pub(super) type Arrival = (Time, ConnId, Side);

impl Net {
    pub(super) fn new(rng: fastrand::Rng, latency: (Time, Time)) -> Self {
        Self { conns: Vec::new(), ways: Vec::new(), rng, latency }
    }

    /// A connection from a device; nothing while no bytes get through.
    pub(super) fn connect(&mut self, now: Time, device: usize) -> Option<ConnId> {
        if self.way(device).blocked_until > now {
            return None;
        }
        let (to_agent, to_manager) = (VecDeque::new(), VecDeque::new());
        let last = [now; 2];
        self.conns.push(Conn { device, to_agent, to_manager, last, agent_open: true, manager_open: true });
        Some(self.conns.len() - 1)
    }

    /// The device of a connection.
    pub(super) fn device(&self, conn: ConnId) -> usize {
        self.conns[conn].device
    }

    /// Sends. What is sent into a connection that is closed is lost.
    pub(super) fn send(&mut self, now: Time, conn: ConnId, from: Side, bytes: Vec<u8>) -> Option<Arrival> {
        if !self.is_open(conn, from) || !self.is_open(conn, from.other()) {
            return None;
        }
        Some(self.push(now, conn, from.other(), Heard::Bytes(bytes)))
    }

    /// This end hangs up: it hears nothing any more; what it sent arrives, then the end.
    pub(super) fn close(&mut self, now: Time, conn: ConnId, from: Side) -> Option<Arrival> {
        if !self.is_open(conn, from) {
            return None;
        }
        self.shut(conn, from);
        self.is_open(conn, from.other()).then(|| self.push(now, conn, from.other(), Heard::End))
    }

    /// This end is gone without a word: a machine without power. The other finds out by itself.
    pub(super) fn vanish(&mut self, conn: ConnId, from: Side) {
        self.shut(conn, from);
    }

    /// The connection breaks: of what is on its way a part arrives, perhaps half a message, then both hear the end.
    pub(super) fn cut(&mut self, now: Time, conn: ConnId) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for side in [Side::Agent, Side::Manager] {
            if !self.is_open(conn, side) {
                continue;
            }
            let in_flight = self.queue(conn, side).len();
            let keep = self.rng.usize(..=in_flight);
            let (whole, part) = (self.rng.bool(), self.rng.usize(1..20));
            let queue = self.queue(conn, side);
            queue.truncate(keep);
            if let Some((_, Heard::Bytes(bytes))) = queue.back_mut().filter(|_| !whole) {
                bytes.truncate(bytes.len() / part);
            }
            arrivals.push(self.push(now, conn, side, Heard::End));
        }
        arrivals
    }

    /// Nothing gets to or from the device for a while. Connections stay, and deliver late.
    pub(super) fn block(&mut self, device: usize, until: Time) {
        let way = self.way(device);
        way.blocked_until = way.blocked_until.max(until);
        for conn in self.conns.iter_mut().filter(|conn| conn.device == device) {
            conn.last = conn.last.map(|last| last.max(until));
            for (time, _) in conn.to_agent.iter_mut().chain(&mut conn.to_manager) {
                *time = (*time).max(until);
            }
        }
    }

    /// Everything to and from the device takes so much longer for a while.
    pub(super) fn slow(&mut self, device: usize, by: Time, until: Time) {
        self.way(device).slow = (by, until);
    }

    /// The weather clears.
    pub(super) fn calm(&mut self) {
        for way in &mut self.ways {
            *way = Way::default();
        }
        self.latency = (1, 4);
    }

    /// Until when the way to the device is not as it should be.
    pub(super) fn trouble_until(&self, device: usize) -> Time {
        self.ways.get(device).map_or(0, |way| way.blocked_until.max(way.slow.1))
    }

    /// What has arrived at an end by now; or when there will be something.
    pub(super) fn hear(&mut self, now: Time, conn: ConnId, side: Side) -> (Vec<Heard>, Option<Arrival>) {
        let open = self.is_open(conn, side);
        let queue = self.queue(conn, side);
        let mut heard = Vec::new();
        while queue.front().is_some_and(|(time, _)| *time <= now) {
            heard.extend(queue.pop_front().map(|(_, heard)| heard));
        }
        let next = queue.front().map(|(time, _)| (*time, conn, side));
        if !open {
            return (Vec::new(), None);
        }
        if heard.contains(&Heard::End) {
            self.shut(conn, side);
        }
        (heard, next)
    }

    pub(super) fn is_open(&self, conn: ConnId, side: Side) -> bool {
        match side {
            Side::Agent => self.conns[conn].agent_open,
            Side::Manager => self.conns[conn].manager_open,
        }
    }

    fn shut(&mut self, conn: ConnId, side: Side) {
        match side {
            Side::Agent => self.conns[conn].agent_open = false,
            Side::Manager => self.conns[conn].manager_open = false,
        }
        self.queue(conn, side).clear();
    }

    fn push(&mut self, now: Time, conn: ConnId, to: Side, heard: Heard) -> Arrival {
        let (least, more) = self.latency;
        let device = self.conns[conn].device;
        let way = self.way(device).clone();
        let slower = if way.slow.1 > now { way.slow.0 } else { 0 };
        let travel = least + self.rng.u64(..=more + slower);
        let at = usize::from(to == Side::Manager);
        let time = (now + travel).max(way.blocked_until).max(self.conns[conn].last[at]);
        self.conns[conn].last[at] = time;
        self.queue(conn, to).push_back((time, heard));
        (time, conn, to)
    }

    fn queue(&mut self, conn: ConnId, side: Side) -> &mut VecDeque<(Time, Heard)> {
        match side {
            Side::Agent => &mut self.conns[conn].to_agent,
            Side::Manager => &mut self.conns[conn].to_manager,
        }
    }

    fn way(&mut self, device: usize) -> &mut Way {
        if self.ways.len() <= device {
            self.ways.resize(device + 1, Way::default());
        }
        &mut self.ways[device]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> Net {
        Net::new(fastrand::Rng::with_seed(1), (1, 50))
    }

    #[test]
    fn bytes_come_in_order_and_late() {
        let mut net = net();
        let conn = net.connect(0, 0).unwrap();
        for n in 0..10 {
            net.send(n, conn, Side::Agent, vec![u8::try_from(n).unwrap()]);
        }
        net.block(0, 5_000);
        assert_eq!(net.hear(4_999, conn, Side::Manager).0, []);
        let heard = net.hear(5_000, conn, Side::Manager).0;
        assert_eq!(heard, (0..10).map(|n| Heard::Bytes(vec![n])).collect::<Vec<_>>());
        assert!(net.connect(4_999, 0).is_none() && net.connect(5_000, 0).is_some());
    }

    #[test]
    fn a_cut_is_heard_after_a_part_of_what_was_on_its_way() {
        let mut net = net();
        let conn = net.connect(0, 0).unwrap();
        for _ in 0..10 {
            net.send(0, conn, Side::Agent, vec![0; 10]);
        }
        assert_eq!(net.cut(0, conn).len(), 2);
        let heard = net.hear(1_000, conn, Side::Manager).0;
        assert!(heard.len() <= 11 && heard.last() == Some(&Heard::End));
        assert!(!net.is_open(conn, Side::Manager) && net.send(1_000, conn, Side::Agent, vec![1]).is_none());
    }

    #[test]
    fn who_vanishes_says_nothing() {
        let mut net = net();
        let conn = net.connect(0, 0).unwrap();
        net.vanish(conn, Side::Agent);
        assert_eq!(net.hear(1_000_000, conn, Side::Manager), (vec![], None));
        assert!(net.is_open(conn, Side::Manager));
    }
}
