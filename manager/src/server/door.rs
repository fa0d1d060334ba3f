//! Who is let in when many come at once: all that is decided before it is known who somebody is, without I/O.
//!
//! Whoever came is a *guest* until it has shown who it is. Guests are counted for each *source*, an address or the network
//! that one customer of a provider has. There is a bound on all of them and one for each source; where it is reached, the
//! oldest of those that take most places goes, whoever has said nothing yet before the others. So a flood from one source
//! costs that source places, and nobody else. What computes is done in turn, one source after the other, and only as
//! many at a time as there are processors: who only waits for a peer holds up nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a peer may take for its first words, all of them.
const FIRST_WORDS: Duration = Duration::from_secs(20);

/// How long it may take until it is a guest's turn. An agent waits no longer for an answer.
const IN_LINE: Duration = Duration::from_secs(20);

/// How long a peer may take to answer ours.
const ANSWER: Duration = Duration::from_secs(20);

/// Bounds on guests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// All of them.
    pub(super) all: usize,
    /// Those of one source.
    pub(super) source: usize,
    /// How many compute at a time, at least one.
    pub(super) computing: usize,
}

/// Where guests come from: what one customer of a provider has, an address or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// An address.
    V4([u8; 4]),
    /// The upper half of an address.
    V6([u16; 4]),
}

impl Source {
    /// The source that has this address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// A guest. Later ones have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GuestId(u64);

/// How far a guest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not said all of its first words.
    Silent,
    /// Its first words wait to be computed with.
    Waiting,
    /// They are computed with.
    Computing,
    /// It is to answer.
    Answering,
    /// The connection is secured. Who it is, is said in a request.
    Secured,
}

#[derive(Debug)]
struct Guest {
    source: Source,
    phase: Phase,
    until: Option<Instant>,
}

/// All guests.
#[derive(Debug)]
pub(super) struct Door {
    places: Places,
    last: u64,
    guests: HashMap<GuestId, Guest>,
    /// Those of each source: who has said something last, and older ones first.
    sources: HashMap<Source, BTreeSet<(bool, GuestId)>>,
    /// Sources by how many guests they have.
    crowds: BTreeSet<(usize, Source)>,
    /// Who waits for its turn, for each source. Whoever has gone since is passed over.
    waiting: BTreeMap<Source, VecDeque<GuestId>>,
    /// Which source was served last.
    served: Option<Source>,
    computing: HashSet<GuestId>,
}

impl Door {
    /// A door where nobody is.
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            last: 0,
            guests: HashMap::new(),
            sources: HashMap::new(),
            crowds: BTreeSet::new(),
            waiting: BTreeMap::new(),
            served: None,
            computing: HashSet::new(),
        }
    }

    /// Somebody came. Whoever else is named has to go; its owner calls [`Self::leave`] when it has.
    pub(super) fn arrive(&mut self, source: Source, now: Instant) -> (GuestId, Option<GuestId>) {
        let crowd = self.sources.get(&source).map_or(0, BTreeSet::len);
        let crowded = if crowd >= self.places.source {
            Some(source)
        } else if self.guests.len() >= self.places.all {
            self.crowds.last().map(|(_, source)| *source)
        } else {
            None
        };
        let victim = crowded.and_then(|source| self.sources.get(&source)?.first().map(|(_, id)| *id));
        if let Some(victim) = victim {
            self.forget(victim);
        }
        self.last += 1;
        let id = GuestId(self.last);
        self.guests.insert(id, Guest { source, phase: Phase::Silent, until: Some(now + FIRST_WORDS) });
        self.count(source, |crowd| crowd.insert((false, id)));
        (id, victim)
    }

    /// The guest has said its first words, and is to be computed with. Whose turn it is now.
    pub(super) fn wait(&mut self, id: GuestId, now: Instant) -> Option<GuestId> {
        let guest = self.guests.get_mut(&id)?;
        let source = guest.source;
        (guest.phase, guest.until) = (Phase::Waiting, Some(now + IN_LINE));
        self.count(source, |crowd| {
            crowd.remove(&(false, id));
            crowd.insert((true, id))
        });
        self.waiting.entry(source).or_default().push_back(id);
        self.next(now)
    }

    /// The guest was computed with, and is to answer. Whose turn it is now.
    pub(super) fn computed(&mut self, id: GuestId, now: Instant) -> Option<GuestId> {
        self.enter(id, Phase::Answering, Some(now + ANSWER));
        self.computing.remove(&id);
        self.next(now)
    }

    /// The guest's connection is secured. It may stay while nobody needs its place.
    pub(super) fn secured(&mut self, id: GuestId) {
        self.enter(id, Phase::Secured, None);
    }

    /// The guest is known, or gone. Whose turn it is now.
    pub(super) fn leave(&mut self, id: GuestId, now: Instant) -> Option<GuestId> {
        self.forget(id);
        self.computing.remove(&id);
        self.next(now)
    }

    /// Until when the guest may be as it is; nothing when that has no end, or it is no guest any more.
    pub(super) fn until(&self, id: GuestId) -> Option<Instant> {
        self.guests.get(&id)?.until
    }

    fn enter(&mut self, id: GuestId, phase: Phase, until: Option<Instant>) {
        if let Some(guest) = self.guests.get_mut(&id) {
            (guest.phase, guest.until) = (phase, until);
        }
    }

    /// Whose turn it is, when somebody may compute: one of the source after the one that was served last.
    fn next(&mut self, now: Instant) -> Option<GuestId> {
        while self.computing.len() < self.places.computing {
            let after = self.served.and_then(|served| {
                let beyond = (std::ops::Bound::Excluded(served), std::ops::Bound::Unbounded);
                self.waiting.range(beyond).next().map(|(source, _)| *source)
            });
            let source = after.or_else(|| self.waiting.keys().next().copied())?;
            self.served = Some(source);
            let line = self.waiting.get_mut(&source)?;
            let id = line.pop_front();
            if line.is_empty() {
                self.waiting.remove(&source);
            }
            if let Some(guest) = id.and_then(|id| self.guests.get_mut(&id)) {
                (guest.phase, guest.until) = (Phase::Computing, Some(now + ANSWER));
                self.computing.extend(id);
                return id;
            }
        }
        None
    }

    /// It has no place any more. One that is computed with goes on until that is done.
    fn forget(&mut self, id: GuestId) {
        let Some(guest) = self.guests.remove(&id) else { return };
        self.count(guest.source, |crowd| crowd.remove(&(guest.phase != Phase::Silent, id)));
        if guest.phase == Phase::Waiting
            && let Some(line) = self.waiting.get_mut(&guest.source)
        {
            line.retain(|waiting| *waiting != id);
            if line.is_empty() {
                self.waiting.remove(&guest.source);
            }
        }
    }

    /// Changes who is there of a source, and keeps count.
    fn count(&mut self, source: Source, change: impl FnOnce(&mut BTreeSet<(bool, GuestId)>) -> bool) {
        let crowd = self.sources.entry(source).or_default();
        let before = crowd.len();
        change(crowd);
        let after = crowd.len();
        if after == 0 {
            self.sources.remove(&source);
        }
        if before != after {
            self.crowds.remove(&(before, source));
            if after > 0 {
                self.crowds.insert((after, source));
            }
        }
    }
}

#[cfg(test)]
mod tests;
