//! What an application's instances offer, as one look into the store found it, shared by all links that it concerns.
//!
//! A look knows what it found other than the looks before it, so that a link that saw one of those goes through what
//! moved and not through everything; and it keeps the digests of what devices with the same interest see, so that
//! a thousand devices that come back do not hash the same things a thousand times.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use robo_model::name::{ComponentName, DeviceId, Variable};
use robo_model::resolve::{Provider, Topic};
use robo_model::spec::InstanceKey;
use robo_wire::digest::{self, Digest};

/// Looks whose differences are remembered. A link that is further behind than that compares everything, once.
const LOOKS_KEPT: usize = 64;

/// Kinds of interest whose digests are remembered for one look: as many as applications have kinds of consumers.
const CUTS_KEPT: usize = 64;

/// Which of an application's exports somebody imports, by their prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    inside: BTreeSet<ComponentName>,
    outside: BTreeSet<ComponentName>,
}

impl Cut {
    /// Adds one place to look at; its application is known from the context.
    pub(crate) fn add(&mut self, topic: &Topic) {
        let prefixes = if topic.outside { &mut self.outside } else { &mut self.inside };
        prefixes.insert(topic.prefix.clone());
    }

    /// What is left of a provider; nothing when it offers nothing of interest.
    pub(crate) fn of(&self, provider: &Provider) -> Option<Provider> {
        let exports = kept(&provider.exports, &self.inside);
        let outside = kept(&provider.outside, &self.outside);
        let (key, component) = (provider.key.clone(), provider.component.clone());
        (!exports.is_empty() || !outside.is_empty()).then_some(Provider { key, component, exports, outside })
    }
}

fn kept(all: &BTreeMap<Variable, String>, prefixes: &BTreeSet<ComponentName>) -> BTreeMap<Variable, String> {
    if prefixes.is_empty() {
        return BTreeMap::new();
    }
    let named = all.iter().filter(|(variable, _)| prefixes.contains(&variable.prefix));
    named.map(|(variable, value)| (variable.clone(), value.clone())).collect()
}

/// An instance that offers something, and where it is.
#[derive(Debug, PartialEq, Eq)]
struct Offered {
    device: DeviceId,
    provider: Provider,
}

/// What the instances of one application offer, as one look into the store found it.
#[derive(Debug)]
pub struct Offers {
    all: BTreeMap<InstanceKey, Arc<Offered>>,
    /// Counts the looks of one line, from 0.
    look: u64,
    /// Looks can be compared by number only when they come from the same line.
    line: Arc<()>,
    /// What the newest looks found other than the one before each, oldest first.
    moved: VecDeque<Arc<Vec<InstanceKey>>>,
    /// Only a memory: what is in it follows from `all`.
    sums: Mutex<BTreeMap<Cut, Arc<Sums>>>,
}

/// Digests of what is left after one cut.
#[derive(Debug, Default)]
struct Sums {
    all: Digest,
    by_device: HashMap<DeviceId, Digest>,
}

impl Offers {
    /// The first look.
    #[must_use]
    pub fn new(providers: Vec<(DeviceId, Provider)>) -> Self {
        let offered =
            |(device, provider): (DeviceId, Provider)| (provider.key.clone(), Arc::new(Offered { device, provider }));
        Self {
            all: providers.into_iter().map(offered).collect(),
            look: 0,
            line: Arc::default(),
            moved: VecDeque::new(),
            sums: Mutex::default(),
        }
    }

    /// The look after this one; nothing when it found the same.
    #[must_use]
    pub fn next(&self, providers: Vec<(DeviceId, Provider)>) -> Option<Self> {
        let mut next = Self::new(providers);
        let mut moved = Vec::new();
        for (key, offered) in &mut next.all {
            match self.all.get(key) {
                Some(same) if same == offered => *offered = Arc::clone(same),
                Some(_) | None => moved.push(key.clone()),
            }
        }
        moved.extend(self.all.keys().filter(|key| !next.all.contains_key(*key)).cloned());
        if moved.is_empty() {
            return None;
        }
        next.look = self.look + 1;
        next.line = Arc::clone(&self.line);
        next.moved = self.moved.iter().skip((self.moved.len() + 1).saturating_sub(LOOKS_KEPT)).cloned().collect();
        next.moved.push_back(Arc::new(moved));
        Some(next)
    }

    /// What a device other than that of the instance sees of it through `cut`.
    pub(crate) fn seen(&self, key: &InstanceKey, cut: &Cut, own: &DeviceId) -> Option<Provider> {
        let offered = self.all.get(key)?;
        // A device knows its own instances better than anybody.
        if offered.device == *own { None } else { cut.of(&offered.provider) }
    }

    /// Everything that the device `own` sees through `cut`.
    pub(crate) fn all_seen<'a>(&'a self, cut: &'a Cut, own: &'a DeviceId) -> impl Iterator<Item = Provider> + 'a {
        self.all.values().filter(|one| one.device != *own).filter_map(|one| cut.of(&one.provider))
    }

    /// All instances that offer something.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.all.keys()
    }

    /// The instances that this look may know other than an older one does; nothing when that is not remembered.
    pub(crate) fn moved_since(&self, older: &Self) -> Option<impl Iterator<Item = &InstanceKey>> {
        let apart = usize::try_from(self.look.checked_sub(older.look)?).ok()?;
        let known = Arc::ptr_eq(&self.line, &older.line) && apart <= self.moved.len();
        known.then(|| self.moved.iter().skip(self.moved.len() - apart).flat_map(|keys| keys.iter()))
    }

    /// The digest of [`Offers::all_seen`].
    pub(crate) fn digest(&self, cut: &Cut, own: &DeviceId) -> Digest {
        let sums = self.sums(cut);
        sums.by_device.get(own).map_or(sums.all, |own| sums.all.without(*own))
    }

    fn sums(&self, cut: &Cut) -> Arc<Sums> {
        // Nothing in here panics while it holds the lock; were it so, the map would still be whole.
        let mut kept = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sums) = kept.get(cut) {
            return Arc::clone(sums);
        }
        let mut sums = Sums::default();
        for one in self.all.values() {
            let Some(provider) = cut.of(&one.provider) else { continue };
            let digest = digest::of_provider(&provider);
            sums.all = sums.all.with(digest);
            let own = sums.by_device.entry(one.device.clone()).or_default();
            *own = own.with(digest);
        }
        let sums = Arc::new(sums);
        if kept.len() >= CUTS_KEPT {
            kept.clear();
        }
        kept.insert(cut.clone(), Arc::clone(&sums));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(device: &str, path: &str, value: &str) -> (DeviceId, Provider) {
        let text = format!(
            r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "Db",
                "exports": {{"Db.ip": "{value}", "Other.x": "1"}}, "outside": {{"Wh.ip": "{value}"}}}}"#
        );
        (device.parse().unwrap(), serde_json::from_str(&text).unwrap())
    }

    fn cut(inside: &[&str], outside: &[&str]) -> Cut {
        let set = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        Cut { inside: set(inside), outside: set(outside) }
    }

    fn moved(new: &Offers, old: &Offers) -> Option<Vec<String>> {
        new.moved_since(old).map(|keys| keys.map(|key| key.path.to_string()).collect())
    }

    #[test]
    fn a_look_knows_what_moved_since_the_ones_before() {
        let first = Offers::new(vec![offer("a", "/a", "1"), offer("b", "/b", "1")]);
        assert!(first.next(vec![offer("b", "/b", "1"), offer("a", "/a", "1")]).is_none());
        let second = first.next(vec![offer("a", "/a", "2"), offer("b", "/b", "1")]).unwrap();
        let third = second.next(vec![offer("a", "/a", "2"), offer("c", "/c", "1")]).unwrap();
        assert_eq!(moved(&second, &first).unwrap(), ["/a"]);
        assert_eq!(moved(&third, &first).unwrap(), ["/a", "/c", "/b"]);
        assert_eq!(moved(&third, &third).unwrap(), <[&str; 0]>::default());
        assert_eq!(moved(&first, &third), None, "time does not go back");
        assert_eq!(moved(&third, &Offers::new(Vec::new())), None, "another line");
    }

    #[test]
    fn what_is_too_long_ago_is_not_remembered() {
        let first = Offers::new(vec![offer("a", "/a", "0")]);
        let mut newest = first.next(vec![offer("a", "/a", "1")]).unwrap();
        let second = newest.next(vec![offer("a", "/a", "2")]).unwrap();
        newest = second.next(vec![offer("a", "/a", "3")]).unwrap();
        for value in 4..=LOOKS_KEPT + 2 {
            newest = newest.next(vec![offer("a", "/a", &value.to_string())]).unwrap();
        }
        assert_eq!(moved(&newest, &second).map(|keys| keys.len()), Some(LOOKS_KEPT));
        assert_eq!(moved(&newest, &first), None);
    }

    #[test]
    fn a_cut_leaves_what_is_imported_and_its_digest_is_that_of_what_is_left() {
        let offers = Offers::new(vec![offer("a", "/a", "1"), offer("b", "/b", "2"), offer("b", "/c", "3")]);
        for (cut, exports, outside) in
            [(cut(&["Db"], &[]), 1, 0), (cut(&[], &["Wh"]), 0, 1), (cut(&["Db", "Other"], &["Wh"]), 2, 1)]
        {
            for own in ["a", "b", "z"] {
                let own: DeviceId = own.parse().unwrap();
                let left: Vec<Provider> = offers.all_seen(&cut, &own).collect();
                assert!(left.iter().all(|one| (one.exports.len(), one.outside.len()) == (exports, outside)));
                assert_eq!(offers.digest(&cut, &own), digest::of_providers(&left), "{cut:?} {own}");
            }
        }
        assert_eq!(offers.all_seen(&cut(&["Wh"], &["Db"]), &"z".parse().unwrap()).count(), 0);
    }
}
