//! Which devices have a link here, what each is interested in, and what wakes it.
//!
//! The bus is heard by one task, which marks the links that a message concerns: ten thousand links must not all
//! wake for each. A mark says only that something moved; the link looks into the store itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::resolve::Provider;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::mux::{MAX_STREAMS, Opened};

/// Streams that we open to one device at a time. Below what the multiplexer allows, which counts those that are being
/// closed too, and ends the whole connection when one is too many.
const MAX_OPEN: usize = MAX_STREAMS * 3 / 4;

/// What an application's instances offer, each with the device it is on.
pub(super) type Providers = Arc<Vec<(DeviceId, Provider)>>;

/// An application in a project.
pub(super) type AppKey = (ProjectName, ApplicationName);

/// What others may do to a link.
#[derive(Debug)]
pub(super) struct Link {
    /// Its number, unique in this process: tells a link from its successor.
    pub(super) number: u64,
    /// Asks for a stream to the agent.
    pub(super) open: mpsc::Sender<Opened>,
    /// A permit for each stream that may be open at a time.
    pub(super) streams: Arc<Semaphore>,
    wake: Notify,
    assignment_moved: AtomicBool,
    imports_moved: AtomicBool,
    replaced: AtomicBool,
}

/// What woke a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Woken {
    /// The device may have a new assignment.
    pub(super) assignment: bool,
    /// What other devices offer may have moved.
    pub(super) imports: bool,
    /// The device dialled again; this link is the old one.
    pub(super) replaced: bool,
}

impl Link {
    pub(super) fn new(number: u64, open: mpsc::Sender<Opened>) -> Self {
        Self {
            number,
            open,
            streams: Arc::new(Semaphore::new(MAX_OPEN)),
            wake: Notify::new(),
            assignment_moved: AtomicBool::new(false),
            imports_moved: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    /// Waits until something is marked, and takes the marks.
    pub(super) async fn woken(&self) -> Woken {
        self.wake.notified().await;
        Woken {
            assignment: self.assignment_moved.swap(false, Ordering::AcqRel),
            imports: self.imports_moved.swap(false, Ordering::AcqRel),
            replaced: self.replaced.load(Ordering::Acquire),
        }
    }

    fn mark(&self, what: &AtomicBool) {
        what.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn mark_all(&self) {
        self.assignment_moved.store(true, Ordering::Release);
        self.mark(&self.imports_moved);
    }
}

/// All links of this process.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    links: HashMap<DeviceId, Arc<Link>>,
    interested: HashMap<AppKey, BTreeSet<DeviceId>>,
    providers: HashMap<AppKey, Providers>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; were it so, the maps would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a link. An older one of the same device is told that it is replaced.
    pub(super) fn add(&self, device: DeviceId, open: mpsc::Sender<Opened>) -> Arc<Link> {
        let mut inner = self.lock();
        inner.next += 1;
        let link = Arc::new(Link::new(inner.next, open));
        if let Some(old) = inner.links.insert(device, Arc::clone(&link)) {
            old.mark(&old.replaced);
        }
        link
    }

    /// Removes a link, unless a newer one took its place. True when the device has no link now.
    pub(super) fn remove(&self, device: &DeviceId, number: u64) -> bool {
        let mut inner = self.lock();
        if inner.links.get(device).is_none_or(|link| link.number != number) {
            return false;
        }
        inner.links.remove(device);
        inner.interested.retain(|_, devices| {
            devices.remove(device);
            !devices.is_empty()
        });
        let Inner { interested, providers, .. } = &mut *inner;
        providers.retain(|key, _| interested.contains_key(key));
        true
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<Arc<Link>> {
        self.lock().links.get(device).map(Arc::clone)
    }

    pub(super) fn count(&self) -> usize {
        self.lock().links.len()
    }

    /// Says which applications a device has instances of, in place of what was said before.
    pub(super) fn set_interest(
        &self,
        device: &DeviceId,
        project: &ProjectName,
        applications: &BTreeSet<ApplicationName>,
    ) {
        let mut inner = self.lock();
        inner.interested.retain(|(p, application), devices| {
            if p == project && !applications.contains(application) {
                devices.remove(device);
            }
            !devices.is_empty()
        });
        let Inner { interested, providers, .. } = &mut *inner;
        // What nobody is told of is not kept up to date, so it must not be kept at all.
        providers.retain(|key, _| interested.contains_key(key));
        for application in applications {
            let key = (project.clone(), application.clone());
            inner.interested.entry(key).or_default().insert(device.clone());
        }
    }

    /// Marks the link of a device whose assignment may have moved.
    pub(super) fn assignment_moved(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(&link.assignment_moved);
        }
    }

    /// True when a device here has instances of the application.
    pub(super) fn is_interesting(&self, key: &AppKey) -> bool {
        self.lock().interested.contains_key(key)
    }

    /// Keeps what an application's instances offer now, and marks every link that it concerns.
    pub(super) fn providers_moved(&self, key: AppKey, providers: Vec<(DeviceId, Provider)>) {
        let mut inner = self.lock();
        let Some(interested) = inner.interested.get(&key) else { return };
        for device in interested {
            if let Some(link) = inner.links.get(device) {
                link.mark(&link.imports_moved);
            }
        }
        inner.providers.insert(key, Arc::new(providers));
    }

    /// What an application's instances offer, as last kept.
    pub(super) fn providers(&self, key: &AppKey) -> Option<Providers> {
        self.lock().providers.get(key).map(Arc::clone)
    }

    /// Forgets everything kept and marks every link: messages of the bus were lost.
    pub(super) fn everything_moved(&self) {
        let mut inner = self.lock();
        inner.providers.clear();
        for link in inner.links.values() {
            link.mark_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    fn open() -> mpsc::Sender<Opened> {
        mpsc::channel(1).0
    }

    #[tokio::test]
    async fn the_newest_link_wins() {
        let registry = Registry::default();
        let old = registry.add(device("a"), open());
        let new = registry.add(device("a"), open());
        assert!(old.woken().await.replaced);
        assert!(!registry.remove(&device("a"), old.number), "the old link's end must not take the new one away");
        assert_eq!(registry.count(), 1);
        assert!(registry.remove(&device("a"), new.number));
        assert_eq!(registry.count(), 0);
    }

    #[tokio::test]
    async fn exports_wake_those_who_are_interested() {
        let registry = Registry::default();
        let (project, shop) = (ProjectName::default_project(), ApplicationName::new("shop").unwrap());
        let near = registry.add(device("near"), open());
        registry.add(device("far"), open());
        registry.set_interest(&device("near"), &project, &BTreeSet::from([shop.clone()]));
        registry.providers_moved((project.clone(), shop.clone()), Vec::new());
        assert_eq!(near.woken().await, Woken { assignment: false, imports: true, replaced: false });
        assert!(registry.is_interesting(&(project.clone(), shop.clone())));
        registry.set_interest(&device("near"), &project, &BTreeSet::new());
        assert!(!registry.is_interesting(&(project, shop)));
    }
}
