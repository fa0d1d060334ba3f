//! How often somebody may ask: token buckets, with bounded memory and a clock that the caller brings.
//!
//! What counts is who asks. People and pipelines have a bucket each for all they ask, so that a greedy one slows
//! nobody else. Addresses have one for what was wrong, so that who only tries is answered ever less often; who shows
//! what is right is let through all the same, as many share an address behind a router. Devices' links are not
//! counted: who has a certificate is known, and thousands come back at once after a restart.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use robo_model::name::UserName;

/// How often: `burst` at once, and then so many a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many at once, at least one.
    pub burst: u32,
    /// How many a second after that, more than zero.
    pub per_second: f64,
}

/// Requests of one user: a pipeline that looks at everything for a large application stays far below it.
pub const REQUESTS: Rate = Rate { burst: 1000, per_second: REQUESTS_A_SECOND as f64 };

/// The same, as a number.
pub const REQUESTS_A_SECOND: u32 = 100;

/// Wrong tokens, certificates and enrolments from one address: a room full of people who mistype stays below it.
const FAILURES: Rate = Rate { burst: 30, per_second: 0.5 };

/// Logins that begin from one address: each asks the provider.
const LOGINS: Rate = Rate { burst: 20, per_second: 0.5 };

/// Questions whether a login was confirmed, from one address: each asks the provider, and a client asks every five
/// seconds.
const POLLS: Rate = Rate { burst: 100, per_second: 10.0 };

/// Reports of machines that come with one token: a fleet's image that boots everywhere at once stays below it.
const REPORTS: Rate = Rate { burst: 600, per_second: 20.0 };

/// Files that are fetched by links, from one address: somebody who goes on with many at once stays below it.
const SHARED: Rate = Rate { burst: 100, per_second: 5.0 };

/// Users or addresses that are told apart at a time: about a megabyte. What is more shares one bucket.
const MAX_KEPT: usize = 16_384;

/// How often it is looked who rested: each look goes through all, and a flood of addresses must not make it for each.
const SWEEP: Duration = Duration::from_secs(1);

/// One bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { left: f64::from(rate.burst), at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * rate.per_second).min(f64::from(rate.burst));
        self.at = self.at.max(now);
    }

    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / rate.per_second))
    }
}

/// A bucket for each key.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    of: HashMap<K, Bucket>,
    /// For those who found no place.
    others: Option<Bucket>,
    /// When it was looked last who rested.
    swept: Option<Instant>,
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    /// Full ones.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, of: HashMap::new(), others: None, swept: None }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        let rate = self.rate;
        if let Some(bucket) = self.of.get_mut(key) {
            return bucket.take(rate, now);
        }
        let is_due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if self.of.len() >= MAX_KEPT && is_due {
            self.swept = Some(now);
            // One that has filled up again is as good as none.
            self.of.retain(|_, bucket| {
                bucket.fill(rate, now);
                bucket.left < f64::from(rate.burst)
            });
        }
        if self.of.len() >= MAX_KEPT {
            return self.others.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now);
        }
        self.of.entry(key.clone()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }
}

/// What is counted.
#[derive(Debug)]
pub struct Limits {
    /// A `std` mutex, as all of these: nothing waits while it is held.
    requests: Mutex<Buckets<UserName>>,
    failures: Mutex<Buckets<IpAddr>>,
    logins: Mutex<Buckets<IpAddr>>,
    polls: Mutex<Buckets<IpAddr>>,
    shared: Mutex<Buckets<IpAddr>>,
    /// By the token's hash.
    reports: Mutex<Buckets<String>>,
}

impl Limits {
    /// Where each user may ask so often.
    #[must_use]
    pub fn new(requests: Rate) -> Self {
        Self {
            requests: Mutex::new(Buckets::new(requests)),
            failures: Mutex::new(Buckets::new(FAILURES)),
            logins: Mutex::new(Buckets::new(LOGINS)),
            polls: Mutex::new(Buckets::new(POLLS)),
            shared: Mutex::new(Buckets::new(SHARED)),
            reports: Mutex::new(Buckets::new(REPORTS)),
        }
    }

    /// Counts a request of this user.
    ///
    /// # Errors
    /// How long until the next one is answered.
    pub fn request(&self, user: &UserName, now: Instant) -> Result<(), Duration> {
        taken(&self.requests, user, now)
    }

    /// Counts something wrong from this address.
    ///
    /// # Errors
    /// How long until the next one is looked at.
    pub fn failure(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        taken(&self.failures, &network(from), now)
    }

    /// Counts a login that begins at this address.
    ///
    /// # Errors
    /// How long until the next one may.
    pub fn login(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        taken(&self.logins, &network(from), now)
    }

    /// Counts a question about a login from this address.
    ///
    /// # Errors
    /// How long until the next one may be asked.
    pub fn poll(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        taken(&self.polls, &network(from), now)
    }

    /// Counts a file that is fetched by a link from this address.
    ///
    /// # Errors
    /// How long until the next one may be.
    pub fn shared(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        taken(&self.shared, &network(from), now)
    }

    /// Counts a machine's report with the token of this hash.
    ///
    /// # Errors
    /// How long until the next one is taken.
    pub fn report(&self, token_hash: &str, now: Instant) -> Result<(), Duration> {
        taken(&self.reports, &token_hash.to_owned(), now)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(REQUESTS)
    }
}

fn taken<K: Eq + Hash + Clone>(of: &Mutex<Buckets<K>>, key: &K, now: Instant) -> Result<(), Duration> {
    of.lock().unwrap_or_else(PoisonError::into_inner).take(key, now)
}

/// Whom an address counts as: of IPv6 everybody has at least a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_second: 0.5 };

    #[test]
    fn a_burst_passes_and_then_what_the_clock_gives() {
        let (mut buckets, start) = (Buckets::new(RATE), Instant::now());
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(buckets.take(&"ann", start), Ok(()));
        }
        assert_eq!(buckets.take(&"ann", start), Err(second * 2));
        assert_eq!(buckets.take(&"bob", start), Ok(()), "a greedy one slows nobody else");
        assert_eq!(buckets.take(&"ann", start + second), Err(second));
        assert_eq!(buckets.take(&"ann", start + second * 2), Ok(()));
        assert_eq!(buckets.take(&"ann", start + second * 2), Err(second * 2));
        // A long rest fills it, and no more than that.
        let later = start + second * 3600;
        assert_eq!((0..10).filter(|_| buckets.take(&"ann", later).is_ok()).count(), 3);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let (mut buckets, start) = (Buckets::new(RATE), Instant::now());
        let later = start + Duration::from_secs(100);
        assert_eq!((0..10).filter(|_| buckets.take(&"ann", later).is_ok()).count(), 3);
        assert!(buckets.take(&"ann", start).is_err());
        assert!(buckets.take(&"ann", later).is_err());
    }

    #[test]
    fn memory_is_bounded_and_given_free() {
        let (mut buckets, start) = (Buckets::new(RATE), Instant::now());
        let passed = (0..100_000).filter(|key| buckets.take(key, start).is_ok()).count();
        assert_eq!((passed, buckets.of.len()), (MAX_KEPT + 3, MAX_KEPT));
        let later = start + Duration::from_secs(10);
        assert_eq!(buckets.take(&1_000_000, later), Ok(()));
        assert_eq!(buckets.of.len(), 1, "who rested needs no place");
    }

    #[test]
    fn an_address_is_its_network() {
        let check = |a: &str, b: &str, same: bool| {
            assert_eq!(network(a.parse().unwrap()) == network(b.parse().unwrap()), same, "{a} {b}");
        };
        check("10.0.0.1", "10.0.0.2", false);
        check("::ffff:10.0.0.1", "10.0.0.1", true);
        check("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", true);
        check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
    }
}
