//! Who has how many connections: nobody can take all places by opening many, or by opening them slowly.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// From one source. Behind one address there may be a whole site's NAT, but never the whole fleet.
    pub(super) of_one: usize,
    /// In all, of those that have not come through yet.
    pub(super) waiting: usize,
    /// The same, from one source.
    pub(super) waiting_of_one: usize,
}

/// The connections there are.
#[derive(Debug)]
pub(super) struct Sources {
    bounds: Bounds,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: Count,
    /// As many entries as connections at most.
    of_source: HashMap<IpAddr, Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    all: usize,
    waiting: usize,
}

/// A connection's place, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
    is_waiting: bool,
}

impl Sources {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, counts: Mutex::default() })
    }

    /// A place for a connection from there, which waits until it has come through; nothing when there is none.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let (source, bounds) = (source_of(from), self.bounds);
        let mut counts = self.counts();
        let of_one = counts.of_source.get(&source).copied().unwrap_or_default();
        let has_room = counts.total.all < bounds.all
            && counts.total.waiting < bounds.waiting
            && of_one.all < bounds.of_one
            && of_one.waiting < bounds.waiting_of_one;
        if !has_room {
            return None;
        }
        let of_one = counts.of_source.entry(source).or_default();
        (of_one.all, of_one.waiting) = (of_one.all + 1, of_one.waiting + 1);
        (counts.total.all, counts.total.waiting) = (counts.total.all + 1, counts.total.waiting + 1);
        drop(counts);
        Some(Place { sources: Arc::clone(self), source, is_waiting: true })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has come through.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            let mut counts = self.sources.counts();
            counts.total.waiting -= 1;
            if let Some(count) = counts.of_source.get_mut(&self.source) {
                count.waiting -= 1;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        let mut counts = self.sources.counts();
        counts.total.all -= 1;
        if let Some(count) = counts.of_source.get_mut(&self.source) {
            count.all -= 1;
            if count.all == 0 {
                counts.of_source.remove(&self.source);
            }
        }
    }
}

/// Whom an address stands for: with IPv6 everybody has 2^64 of them, in one network.
fn source_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_leaves_room_for_others() {
        let sources = Sources::new(Bounds { all: 6, of_one: 4, waiting: 3, waiting_of_one: 2 });
        let enter = |text: &str| sources.enter(ip(text));
        let mut a = [enter("10.0.0.1").unwrap(), enter("10.0.0.1").unwrap()];
        assert!(enter("10.0.0.1").is_none(), "two wait");
        assert!(enter("::ffff:10.0.0.1").is_none(), "the same in other words");
        let b = enter("2001:db8::1").unwrap();
        assert!(enter("10.0.0.3").is_none(), "three wait");
        a.iter_mut().for_each(Place::settle);
        a.iter_mut().for_each(Place::settle);
        let mut more = [enter("10.0.0.1").unwrap(), enter("10.0.0.1").unwrap()];
        more.iter_mut().for_each(Place::settle);
        assert!(enter("10.0.0.1").is_none(), "it has four");
        let c = enter("2001:db8::ffff:1").unwrap();
        assert!(enter("2001:db8:0:1::1").is_none(), "six in all");
        drop((a, b, c, more));
        let counts = sources.counts();
        assert!(counts.of_source.is_empty() && counts.total.all == 0 && counts.total.waiting == 0, "{counts:?}");
    }
}
