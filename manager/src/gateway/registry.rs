//! Which devices have a link here, what each is interested in, and what wakes it.
//!
//! The bus is heard by one task, which marks the links that a message concerns: ten thousand links must not all
//! wake for each. A mark says only that something moved; the link looks into the store itself, or into what one of
//! them found there a moment ago.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use robo_wire::link::Act;
use robo_wire::stream::Open;
use robo_wire::switch::{Subsystem, Switches, reason};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::core::Woken;
use super::mux::{MAX_STREAMS, Opened};
use super::offers::Offers;

/// Streams that we open to one device at a time. Below what the multiplexer allows, which counts those that are being
/// closed too, and ends the whole connection when one is too many.
const MAX_OPEN: usize = MAX_STREAMS * 3 / 4;

/// Acts that may wait for one link. People ask for them one at a time, and each waits for its answer.
const MAX_ACTS: usize = 64;

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
    /// Held while something this link asked of the store is under way; the device's next link has the same.
    pub(super) order: Arc<tokio::sync::Mutex<()>>,
    wake: Notify,
    marks: Mutex<Marks>,
    /// What is switched off on the device, as its link knows.
    switches: Mutex<Switches>,
}

#[derive(Debug, Default)]
struct Marks {
    woken: Woken,
    acts: Vec<Act>,
    /// The device was told all that others offer, and has told of itself since.
    in_step: bool,
}

impl Link {
    fn new(number: u64, open: mpsc::Sender<Opened>, order: Arc<tokio::sync::Mutex<()>>) -> Self {
        Self {
            number,
            open,
            order,
            streams: Arc::new(Semaphore::new(MAX_OPEN)),
            wake: Notify::new(),
            marks: Mutex::default(),
            switches: Mutex::default(),
        }
    }

    /// This is switched off on the device from here on.
    pub(super) fn set_switches(&self, switches: Switches) {
        *lock(&self.switches) = switches;
    }

    /// Why a stream is not opened there. Whoever comes back to what began before hears of its end from the device.
    pub(super) fn refusal(&self, open: &Open) -> Option<String> {
        let comes_back = match open {
            Open::Run(open) | Open::RunWithin(open) => open.asked.is_some() || open.start.is_none(),
            Open::Shell(open) | Open::ShellWithin(open) => open.start.is_none(),
            Open::Forward(open) => open.wish.is_none(),
            Open::Exec(_)
            | Open::Logs(_)
            | Open::Copy(_)
            | Open::Tail(_)
            | Open::Collect(_)
            | Open::Health(_)
            | Open::SshKeys(_)
            | Open::Upgrade(_)
            | Open::LogFiles(_) => false,
        };
        let subsystem = Subsystem::of(open).filter(|_| !comes_back)?;
        lock(&self.switches).off(subsystem).map(|off| reason(subsystem, off))
    }

    /// Waits until something is marked, and takes the marks and what the device is to be asked for.
    pub(super) async fn woken(&self) -> (Woken, Vec<Act>) {
        self.wake.notified().await;
        let mut marks = lock(&self.marks);
        let Woken { replaced, removed, moved, .. } = marks.woken;
        // These stay: they are the end.
        let stays = Woken { replaced, removed, moved, ..Woken::default() };
        (std::mem::replace(&mut marks.woken, stays), std::mem::take(&mut marks.acts))
    }

    /// Says whether the device was told all that others offer, and has told of itself since. What is marked and not
    /// taken yet is more than it was told.
    pub(super) fn set_in_step(&self, in_step: bool) {
        let mut marks = lock(&self.marks);
        marks.in_step = in_step && !marks.woken.imports;
    }

    fn is_in_step(&self) -> bool {
        lock(&self.marks).in_step
    }

    /// Has the device asked for something. False when too much waits already.
    pub(super) fn act(&self, act: Act) -> bool {
        let mut marks = lock(&self.marks);
        if marks.acts.len() >= MAX_ACTS {
            return false;
        }
        marks.acts.push(act);
        drop(marks);
        self.wake.notify_one();
        true
    }

    fn mark(&self, with: impl FnOnce(&mut Woken)) {
        let mut marks = lock(&self.marks);
        with(&mut marks.woken);
        marks.in_step &= !marks.woken.imports;
        drop(marks);
        self.wake.notify_one();
    }
}

/// All links of this process.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    links: HashMap<DeviceId, Entry>,
    applications: HashMap<AppKey, Application>,
    /// How many links of a project have instances that wait for others.
    waiting: HashMap<ProjectName, usize>,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    project: ProjectName,
    interest: BTreeSet<ApplicationName>,
    waits: BTreeSet<InstanceKey>,
}

/// An application that some link here is interested in.
#[derive(Debug, Default)]
struct Application {
    devices: HashSet<DeviceId>,
    offers: Option<(Arc<Offers>, UnixMillis)>,
    /// Held from the look into the store until what was found is kept, so that an older look never replaces a newer.
    looking: Arc<tokio::sync::Mutex<()>>,
}

/// Nothing panics while it holds one of these locks; were it so, what they guard would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Adds a link. An older one of the same device is told that it is replaced.
    pub(super) fn add(&self, device: DeviceId, project: ProjectName, open: mpsc::Sender<Opened>) -> Arc<Link> {
        let mut inner = lock(&self.0);
        let order = inner.links.get(&device).map(|old| Arc::clone(&old.link.order)).unwrap_or_default();
        inner.forget(&device);
        inner.next += 1;
        let link = Arc::new(Link::new(inner.next, open, order));
        let (interest, waits) = (BTreeSet::new(), BTreeSet::new());
        inner.links.insert(device, Entry { link: Arc::clone(&link), project, interest, waits });
        link
    }

    /// Removes a link, unless a newer one took its place. True when the device has no link now.
    pub(super) fn remove(&self, device: &DeviceId, number: u64) -> bool {
        let mut inner = lock(&self.0);
        let is_this = inner.of(device, number).is_some();
        if is_this {
            inner.forget(device);
        }
        is_this
    }

    /// True unless the link was removed, or a newer one took its place.
    pub(super) fn is_current(&self, device: &DeviceId, number: u64) -> bool {
        lock(&self.0).of(device, number).is_some()
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<Arc<Link>> {
        lock(&self.0).links.get(device).map(|entry| Arc::clone(&entry.link))
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.0).links.len()
    }

    /// Says from which applications a link wants to hear, in place of what was said before.
    pub(super) fn set_interest(&self, device: &DeviceId, number: u64, applications: BTreeSet<ApplicationName>) {
        let mut inner = lock(&self.0);
        let Some(entry) = inner.of(device, number) else { return };
        let (project, before) = (entry.project.clone(), std::mem::replace(&mut entry.interest, applications.clone()));
        for application in before.difference(&applications) {
            inner.leave(device, (project.clone(), application.clone()));
        }
        for application in applications {
            inner.applications.entry((project.clone(), application)).or_default().devices.insert(device.clone());
        }
    }

    /// The applications from which these devices import.
    pub(super) fn interest_of<'a>(&self, devices: impl Iterator<Item = &'a DeviceId>) -> BTreeSet<AppKey> {
        let inner = lock(&self.0);
        let of = |entry: &Entry| entry.interest.iter().map(|a| (entry.project.clone(), a.clone())).collect::<Vec<_>>();
        devices.filter_map(|device| inner.links.get(device)).flat_map(of).collect()
    }

    /// Those of these devices that have a link, but were not told all that others offer, or have not told of
    /// themselves since.
    pub(super) fn behind(&self, devices: BTreeSet<DeviceId>) -> BTreeSet<DeviceId> {
        let inner = lock(&self.0);
        let is_behind = |device: &DeviceId| inner.links.get(device).is_some_and(|entry| !entry.link.is_in_step());
        devices.into_iter().filter(is_behind).collect()
    }

    /// Says which instances of a device wait for others, in place of what was said before.
    pub(super) fn set_waits(&self, device: &DeviceId, number: u64, waits: BTreeSet<InstanceKey>) {
        let mut inner = lock(&self.0);
        let Some(entry) = inner.of(device, number) else { return };
        let (project, is) = (entry.project.clone(), !waits.is_empty());
        let was = !std::mem::replace(&mut entry.waits, waits).is_empty();
        inner.count_waiting(&project, was, is);
    }

    /// True when a device of the project, with a link here, has instances that wait for others.
    pub(super) fn somebody_waits(&self, project: &ProjectName) -> bool {
        lock(&self.0).waiting.contains_key(project)
    }

    /// Marks the links of devices with waiting instances that are released now.
    pub(super) fn released(&self, released: BTreeSet<(DeviceId, InstanceKey)>) {
        let mut of_device: BTreeMap<DeviceId, BTreeSet<InstanceKey>> = BTreeMap::new();
        for (device, key) in released {
            of_device.entry(device).or_default().insert(key);
        }
        let mut inner = lock(&self.0);
        for (device, mut keys) in of_device {
            let Some(entry) = inner.links.get_mut(&device) else { continue };
            keys.retain(|key| entry.waits.remove(key));
            if keys.is_empty() {
                continue;
            }
            let (project, is) = (entry.project.clone(), !entry.waits.is_empty());
            entry.link.mark(|woken| woken.released.append(&mut keys));
            inner.count_waiting(&project, true, is);
        }
    }

    /// Marks the link of a device whose assignment may have moved.
    pub(super) fn assignment_moved(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(|woken| woken.assignment = true);
        }
    }

    /// Has the link of a device look whether it is still the device's.
    pub(super) fn identity_moved(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(|woken| woken.newest = true);
        }
    }

    /// Has a device make itself a new key.
    pub(super) fn rotate(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(|woken| woken.renew = true);
        }
    }

    /// Ends the link of a device that was removed.
    pub(super) fn removed(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(|woken| woken.removed = true);
        }
    }

    /// Ends the link of a device that went to another project; the next one is of that.
    pub(super) fn moved(&self, device: &DeviceId) {
        if let Some(link) = self.get(device) {
            link.mark(|woken| woken.moved = true);
        }
    }

    /// True when a device here imports from the application.
    pub(super) fn is_interesting(&self, key: &AppKey) -> bool {
        lock(&self.0).applications.contains_key(key)
    }

    /// What to hold while looking at an application in the store; nothing when nobody here is interested in it.
    pub(super) fn looking(&self, key: &AppKey) -> Option<Arc<tokio::sync::Mutex<()>>> {
        lock(&self.0).applications.get(key).map(|application| Arc::clone(&application.looking))
    }

    /// What an application's instances offer, as last kept, if that is no longer ago than `age`.
    pub(super) fn offers(&self, key: &AppKey, age: Option<Millis>, now: UnixMillis) -> Option<Arc<Offers>> {
        let inner = lock(&self.0);
        let (offers, at) = inner.applications.get(key)?.offers.as_ref()?;
        age.is_none_or(|age| now.since(*at) < age).then(|| Arc::clone(offers))
    }

    /// Keeps what an application's instances offer now.
    pub(super) fn keep_offers(&self, key: &AppKey, offers: &Arc<Offers>, now: UnixMillis) {
        if let Some(application) = lock(&self.0).applications.get_mut(key) {
            application.offers = Some((Arc::clone(offers), now));
        }
    }

    /// Marks every link that imports from the application.
    pub(super) fn offers_moved(&self, key: &AppKey) {
        let inner = lock(&self.0);
        let devices = inner.applications.get(key).into_iter().flat_map(|application| &application.devices);
        for entry in devices.filter_map(|device| inner.links.get(device)) {
            entry.link.mark(|woken| woken.imports = true);
        }
    }

    /// Forgets everything kept and marks every link: messages of the bus were lost.
    pub(super) fn everything_moved(&self) {
        let mut inner = lock(&self.0);
        for application in inner.applications.values_mut() {
            application.offers = None;
        }
        for entry in inner.links.values() {
            entry.link.mark(|woken| {
                (woken.newest, woken.assignment, woken.imports, woken.releases) = (true, true, true, true);
            });
        }
    }
}

impl Inner {
    fn of(&mut self, device: &DeviceId, number: u64) -> Option<&mut Entry> {
        self.links.get_mut(device).filter(|entry| entry.link.number == number)
    }

    fn forget(&mut self, device: &DeviceId) {
        let Some(old) = self.links.remove(device) else { return };
        old.link.mark(|woken| woken.replaced = true);
        for application in old.interest {
            self.leave(device, (old.project.clone(), application));
        }
        self.count_waiting(&old.project, !old.waits.is_empty(), false);
    }

    fn leave(&mut self, device: &DeviceId, key: AppKey) {
        let std::collections::hash_map::Entry::Occupied(mut application) = self.applications.entry(key) else { return };
        application.get_mut().devices.remove(device);
        if application.get().devices.is_empty() {
            // What nobody is told of is not kept up to date, so it must not be kept at all.
            application.remove();
        }
    }

    fn count_waiting(&mut self, project: &ProjectName, was: bool, is: bool) {
        match (was, is) {
            (false, true) => *self.waiting.entry(project.clone()).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.waiting.get_mut(project) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.waiting.remove(project);
                    }
                }
            }
            (true, true) | (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    fn project() -> ProjectName {
        ProjectName::default_project()
    }

    fn add(registry: &Registry, name: &str) -> Arc<Link> {
        registry.add(device(name), project(), mpsc::channel(1).0)
    }

    fn shop() -> ApplicationName {
        ApplicationName::new("shop").unwrap()
    }

    fn key(path: &str) -> InstanceKey {
        InstanceKey { application: shop(), path: path.parse().unwrap() }
    }

    #[tokio::test]
    async fn the_newest_link_wins() {
        let registry = Registry::default();
        let old = add(&registry, "a");
        let new = add(&registry, "a");
        assert!(old.woken().await.0.replaced);
        assert!(!registry.remove(&device("a"), old.number), "the old link's end must not take the new one away");
        registry.set_interest(&device("a"), old.number, BTreeSet::from([shop()]));
        assert!(!registry.is_interesting(&(project(), shop())), "nor speaks it for the new one");
        assert_eq!(registry.count(), 1);
        assert!(registry.remove(&device("a"), new.number));
        assert_eq!(registry.count(), 0);
    }

    #[tokio::test]
    async fn exports_wake_those_who_are_interested() {
        let registry = Registry::default();
        let shop_key = (project(), shop());
        let near = add(&registry, "near");
        add(&registry, "far");
        registry.set_interest(&device("near"), near.number, BTreeSet::from([shop()]));
        let offers = Arc::new(Offers::new(Vec::new()));
        registry.keep_offers(&shop_key, &offers, UnixMillis(5));
        registry.offers_moved(&shop_key);
        assert_eq!(near.woken().await.0, Woken { imports: true, ..Woken::default() });
        let kept = |age: Option<u64>| registry.offers(&shop_key, age.map(Millis), UnixMillis(10)).is_some();
        assert_eq!([kept(None), kept(Some(6)), kept(Some(5))], [true, true, false]);
        registry.set_interest(&device("near"), near.number, BTreeSet::new());
        assert!(!registry.is_interesting(&shop_key));
        registry.keep_offers(&shop_key, &offers, UnixMillis(5));
        assert!(registry.offers(&shop_key, None, UnixMillis(5)).is_none(), "nobody keeps it up to date");
    }

    #[tokio::test]
    async fn the_released_are_woken_once() {
        let registry = Registry::default();
        let link = add(&registry, "a");
        registry.set_waits(&device("a"), link.number, [key("/db"), key("/web")].into());
        let released = || BTreeSet::from([(device("a"), key("/db")), (device("b"), key("/db"))]);
        registry.released(released());
        assert_eq!(link.woken().await.0.released, [key("/db")].into());
        assert!(registry.somebody_waits(&project()));
        registry.released(BTreeSet::from([(device("a"), key("/web"))]));
        assert!(!registry.somebody_waits(&project()), "who is released waits no more");
        assert_eq!(link.woken().await.0.released, [key("/web")].into());
        registry.released(released());
        registry.set_waits(&device("a"), link.number, [key("/db")].into());
        registry.remove(&device("a"), link.number);
        assert!(!registry.somebody_waits(&project()));
        assert_eq!(
            link.woken().await.0,
            Woken { replaced: true, ..Woken::default() },
            "nothing came of the second time"
        );
    }
}
