//! The watchman: ends the leases of devices that are out of contact, says which are silent, and clears away what nobody
//! needs any more.
//!
//! He sleeps until the earliest deadline, or until the store tells that contact with a device moved. When something is
//! due is decided by [`Watch`], which is pure; what follows is one transaction of the store. A device that is in
//! contact is never in his list, so no clock can end its leases.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use robo_model::name::DeviceId;
use robo_model::quantity::Millis;
use tokio::time::MissedTickBehavior;

use crate::bus::{Bus, Ring};
use crate::files::Files;
use crate::links::Links;
use crate::service::now;
use crate::store::{Contact, ContactMoved, Silence, Store, StoreError};

/// How long a device may be out of contact before its hosts are PROBLEM, where nothing else is set: three heartbeats.
pub const SILENT_AFTER: Millis = Millis::from_secs(90);

/// Wait after the store failed, so that a lasting cause does not spin.
const RETRY: Duration = Duration::from_secs(5);

/// Time from one comparison of who counts as connected with who has a link to the next. It makes up for a failure of the
/// store that hardly ever happens, and costs one read.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// Time from one clearing to the next; what lies about longer costs only disk.
const CLEAR_EVERY: Duration = Duration::from_secs(3600);

/// An uploaded file that nothing in the store names is kept this long after somebody last asked for it: between upload
/// and apply, and for a plan that was saved, somebody may take days to agree.
pub const UNUSED_FILES_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most files removed in one clearing: the disk has other work, and the next one comes soon.
const MAX_CLEARED: usize = 10_000;

/// When what has to be looked at.
#[derive(Debug)]
pub struct Watch {
    silent_after: Millis,
    /// The devices that are out of contact; those for which nothing can become due any more have no time.
    lost: BTreeMap<DeviceId, Option<Instant>>,
    queue: BTreeSet<(Instant, DeviceId)>,
}

impl Watch {
    /// Nobody is out of contact yet.
    #[must_use]
    pub const fn new(silent_after: Millis) -> Self {
        Self { silent_after, lost: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// This is how it stands with a device now, in place of all that was said of it before.
    pub fn seen(&mut self, contact: &Contact) {
        self.forget(&contact.device);
        if contact.lost.is_some() {
            let due = deadline(contact, self.silent_after);
            self.lost.insert(contact.device.clone(), due);
            self.queue.extend(due.map(|due| (due, contact.device.clone())));
        }
    }

    /// There is no such device.
    pub fn forget(&mut self, device: &DeviceId) {
        if let Some(Some(due)) = self.lost.remove(device) {
            self.queue.remove(&(due, device.clone()));
        }
    }

    /// True when the device is out of contact.
    #[must_use]
    pub fn is_lost(&self, device: &DeviceId) -> bool {
        self.lost.contains_key(device)
    }

    /// When something becomes due next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Takes out a device for which something is due. It comes back when it is [seen](Self::seen) again.
    pub fn take_due(&mut self, now: Instant) -> Option<DeviceId> {
        if self.next()? > now {
            return None;
        }
        let (_, device) = self.queue.pop_first()?;
        self.lost.insert(device.clone(), None);
        Some(device)
    }
}

/// When the next lease of the device ends, or when it counts as silent; nothing when neither can happen any more.
#[must_use]
pub fn deadline(contact: &Contact, silent_after: Millis) -> Option<Instant> {
    let silence = (!contact.silent).then_some(&silent_after);
    let next = silence.into_iter().chain(&contact.leases).min()?;
    contact.lost?.checked_add(next.duration())
}

/// What the watchman works with.
#[derive(Clone)]
pub struct Watchman {
    /// Knows who is out of contact, and draws the consequences.
    pub store: Store,
    /// Told when something changed.
    pub bus: Bus,
    /// Cleared of what nobody needs.
    pub files: Files,
    /// Who really is connected.
    pub links: Arc<dyn Links>,
    /// How long a device may be out of contact before its hosts are PROBLEM.
    pub silent_after: Millis,
}

impl Watchman {
    /// Keeps watch, and clears away, until it is dropped.
    pub async fn run(self) {
        tokio::join!(self.keep_watch(), self.keep_clear());
    }

    async fn keep_watch(&self) {
        loop {
            match self.watch().await {
                Ok(never) => match never {},
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot watch over contact with devices");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn watch(&self) -> Result<Infallible, StoreError> {
        let mut watch = Watch::new(self.silent_after);
        for contact in self.store.lost_contacts().await? {
            watch.seen(&contact);
        }
        let mut compare = tokio::time::interval(COMPARE_EVERY);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = compare.tick() => self.compare().await?,
                moved = self.store.contacts_moved() => self.look(&mut watch, moved).await?,
                () = until(watch.next()) => {
                    while let Some(device) = watch.take_due(Instant::now()) {
                        self.draw_consequences(&mut watch, &device).await?;
                    }
                }
            }
        }
    }

    /// Finds the devices that count as connected and have no link, because the store failed when that was to be noted:
    /// they would be connected for ever, and their leases never end.
    async fn compare(&self) -> Result<(), StoreError> {
        for (device, last_seen) in self.store.online_devices().await? {
            if self.links.is_linked(&device) {
                continue;
            }
            match self.store.found_offline(&device, last_seen, now()).await {
                Ok(None) | Err(StoreError::NoDevice { .. }) => {}
                Ok(Some(project)) => {
                    tracing::warn!(%device, "counted as connected and had no link; it is offline now");
                    self.bus.ring(Ring::Devices(project.clone()));
                    self.bus.ring(Ring::Events(project));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn look(&self, watch: &mut Watch, moved: BTreeMap<DeviceId, ContactMoved>) -> Result<(), StoreError> {
        for (device, moved) in &moved {
            if *moved == ContactMoved::Consequences && !watch.is_lost(device) {
                continue;
            }
            match self.store.contact(device).await? {
                Some(contact) => watch.seen(&contact),
                None => watch.forget(device),
            }
        }
        Ok(())
    }

    async fn draw_consequences(&self, watch: &mut Watch, device: &DeviceId) -> Result<(), StoreError> {
        match self.store.contact_lost(device, Instant::now(), self.silent_after, now()).await {
            Ok(silence) => {
                if silence.project.is_some() {
                    tracing::info!(%device, applications = ?silence.exports_changed, "out of contact for long");
                }
                self.ring(&silence);
            }
            Err(StoreError::NoDevice { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.store.contact(device).await? {
            Some(contact) => watch.seen(&contact),
            None => watch.forget(device),
        }
        Ok(())
    }

    fn ring(&self, silence: &Silence) {
        let Some(project) = &silence.project else { return };
        for application in &silence.exports_changed {
            self.bus.ring(Ring::Exports(project.clone(), application.clone()));
        }
        self.bus.ring(Ring::Devices(project.clone()));
        self.bus.ring(Ring::Events(project.clone()));
    }

    async fn keep_clear(&self) {
        loop {
            tokio::time::sleep(CLEAR_EVERY).await;
            if let Err(error) = self.clear(UNUSED_FILES_FOR).await {
                tracing::warn!(error = &*error, "cannot clear away files that nobody needs");
            }
        }
    }

    /// Removes files that no revision and no assignment names, and that nobody asked for within `unused_for`.
    async fn clear(&self, unused_for: Duration) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let needed = self.store.needed_files().await?;
        let removed = self.files.clear(needed, unused_for, MAX_CLEARED).await?;
        if removed > 0 {
            tracing::info!(removed, "files that nobody needs were removed");
        }
        Ok(())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILENT: Millis = Millis(90);

    fn contact(name: &str, lost: Option<Instant>, silent: bool, leases: &[u64]) -> Contact {
        let leases = leases.iter().copied().map(Millis).collect();
        Contact { device: name.parse().unwrap(), lost, silent, leases }
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let start = Instant::now();
        let check = |lost: bool, silent: bool, leases: &[u64], expect: Option<u64>| {
            let contact = contact("a", lost.then_some(start), silent, leases);
            let got = deadline(&contact, SILENT).map(|due| (due - start).as_millis());
            assert_eq!(got, expect.map(u128::from), "{contact:?}");
        };
        check(false, false, &[10], None);
        check(true, false, &[], Some(90));
        check(true, false, &[60, 100], Some(60));
        check(true, true, &[600], Some(600));
        check(true, true, &[], None);
    }

    #[test]
    fn who_comes_back_is_never_due() {
        let start = Instant::now();
        let mut watch = Watch::new(SILENT);
        watch.seen(&contact("a", Some(start), false, &[60]));
        watch.seen(&contact("b", Some(start), false, &[]));
        watch.seen(&contact("a", None, false, &[60]));
        let late = start + Duration::from_secs(9);
        assert_eq!(watch.take_due(late), Some("b".parse().unwrap()));
        assert_eq!((watch.take_due(late), watch.next()), (None, None));
        assert!(watch.is_lost(&"b".parse().unwrap()) && !watch.is_lost(&"a".parse().unwrap()));
    }

    /// A device as the store sees it: what is not lapsed yet, and since when it is out of contact.
    #[derive(Debug, Clone, Default)]
    struct Device {
        lost: Option<u64>,
        silent: bool,
        left: Vec<u64>,
    }

    proptest! {
        /// Over any coming and going: no lease ends before its time without contact is over, each one whose time is
        /// over has ended, and coming back brings all of it back.
        #[test]
        fn a_lease_ends_when_it_is_over_and_never_before(
            leases in proptest::collection::vec(1_u64..200, 1..4),
            moves in proptest::collection::vec((0_usize..3, 0_u64..150, any::<bool>()), 1..60),
        ) {
            let start = Instant::now();
            let at = |time: u64| start + Duration::from_millis(time);
            let mut devices = vec![Device { left: leases.clone(), ..Device::default() }; 3];
            let mut watch = Watch::new(SILENT);
            let seen = |n: usize, device: &Device| contact(&format!("d{n}"), device.lost.map(at), device.silent, &device.left);
            let mut time = 0;
            for (n, wait, goes) in moves {
                let end = time + wait;
                // The watchman wakes at each of his deadlines until then.
                while let Some(due) = watch.next().filter(|due| *due <= at(end)) {
                    let device = watch.take_due(due).unwrap();
                    let n: usize = device.as_str().trim_start_matches('d').parse().unwrap();
                    let device = &mut devices[n];
                    let lost_for = (due - at(device.lost.unwrap())).as_millis();
                    let before = (device.left.len(), device.silent);
                    device.left.retain(|lease| u128::from(*lease) > lost_for);
                    device.silent |= lost_for >= u128::from(SILENT.0);
                    prop_assert_ne!(before, (device.left.len(), device.silent), "woken for nothing");
                    watch.seen(&seen(n, device));
                }
                time = end;
                for device in devices.iter().filter(|device| device.lost.is_some()) {
                    let lost_for = time - device.lost.unwrap();
                    let over = leases.iter().filter(|lease| **lease <= lost_for).count();
                    prop_assert_eq!(leases.len() - device.left.len(), over);
                    prop_assert_eq!(device.silent, lost_for >= SILENT.0);
                }
                devices[n] = if goes {
                    Device { lost: devices[n].lost.or(Some(time)), ..devices[n].clone() }
                } else {
                    Device { left: leases.clone(), ..Device::default() }
                };
                watch.seen(&seen(n, &devices[n]));
            }
        }
    }
}
