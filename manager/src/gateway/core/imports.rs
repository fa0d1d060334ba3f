//! What a device was told of other devices' offers, and what it has to be told next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use robo_model::name::{ApplicationName, DeviceId};
use robo_model::resolve::topics_of;
use robo_model::spec::{Assignment, InstanceKey};
use robo_wire::digest::{Digest, of_provider};
use robo_wire::link::ImportsChange;

use crate::gateway::offers::{Cut, Offers};

/// How often a device may ask for everything on one link before it is told without digests there. Nothing gets lost
/// within a link, so one that asks again and again reads the digests otherwise than we do: a newer or older version,
/// and no accident.
const MAX_RESYNCS: u32 = 2;

/// What the instances of a device import, by the application that it comes from.
pub(super) type Interest = BTreeMap<ApplicationName, Cut>;

/// What the instances of an assignment import.
pub(super) fn interest_of(assignment: &Assignment) -> Interest {
    let mut interest = Interest::new();
    for spec in &assignment.instances {
        for topic in spec.imports.iter().flat_map(|import| topics_of(spec, import)) {
            interest.entry(topic.application.clone()).or_default().add(&topic);
        }
    }
    interest
}

/// What one look showed of an application, and through which cut.
#[derive(Debug, Clone)]
struct Shown {
    cut: Cut,
    offers: Arc<Offers>,
}

/// What the device has, as far as it was told on this link.
#[derive(Debug)]
struct Told {
    shown: BTreeMap<ApplicationName, Shown>,
    digest: Digest,
}

/// What the device was told of other devices' offers.
#[derive(Debug)]
pub(super) struct Imports {
    own: DeviceId,
    /// What it says it has, until it was told something.
    claimed: Option<Digest>,
    /// Nothing until it was told something on this link, or is known to have it.
    told: Option<Told>,
    /// How often it asked for everything.
    resyncs: u32,
}

/// What has to be said, and what the device has afterwards.
#[derive(Debug)]
pub(super) struct Next {
    told: Told,
    /// Nothing when the device has it already.
    pub(super) change: Option<ImportsChange>,
}

impl Imports {
    pub(super) const fn new(own: DeviceId, claimed: Option<Digest>) -> Self {
        Self { own, claimed, told: None, resyncs: 0 }
    }

    /// True when it was told what there is, and what it says it has is that.
    pub(super) fn is_told(&self, stated: Option<Digest>) -> bool {
        self.told.as_ref().is_some_and(|told| stated.is_none_or(|stated| stated == told.digest))
    }

    /// The device has something else than it was told: it is told everything at the next look.
    pub(super) fn resync(&mut self) {
        self.told = None;
        self.claimed = None;
        self.resyncs = self.resyncs.saturating_add(1);
    }

    /// What to say, now that others offer this. An application that is not in `offers` offers nothing.
    pub(super) fn next(&self, interest: &Interest, offers: &BTreeMap<ApplicationName, Arc<Offers>>) -> Next {
        let shown = |(application, cut): (&ApplicationName, &Cut)| {
            let offers = offers.get(application)?;
            Some((application.clone(), Shown { cut: cut.clone(), offers: Arc::clone(offers) }))
        };
        let shown: BTreeMap<ApplicationName, Shown> = interest.iter().filter_map(shown).collect();
        match &self.told {
            None => self.everything(shown),
            Some(told) => self.what_moved(told, shown),
        }
    }

    /// The change is on its way.
    pub(super) fn said(&mut self, next: Next) {
        self.told = Some(next.told);
        self.claimed = None;
    }

    fn everything(&self, shown: BTreeMap<ApplicationName, Shown>) -> Next {
        let digests = shown.values().map(|one| one.offers.digest(&one.cut, &self.own));
        let digest = digests.fold(Digest::default(), Digest::with);
        let change = (self.claimed != Some(digest)).then(|| ImportsChange {
            full: true,
            providers: shown.values().flat_map(|one| one.offers.all_seen(&one.cut, &self.own)).collect(),
            removed: Vec::new(),
            before: None,
            after: self.digests_are_read().then_some(digest),
        });
        Next { told: Told { shown, digest }, change }
    }

    fn what_moved(&self, told: &Told, shown: BTreeMap<ApplicationName, Shown>) -> Next {
        let mut change = ImportsChange::default();
        let mut digest = told.digest;
        let applications: BTreeSet<&ApplicationName> = told.shown.keys().chain(shown.keys()).collect();
        for application in applications {
            let (old, new) = (told.shown.get(application), shown.get(application));
            for key in keys_apart(old, new) {
                let seen = |shown: Option<&Shown>| shown.and_then(|s| s.offers.seen(key, &s.cut, &self.own));
                let (before, after) = (seen(old), seen(new));
                if before == after {
                    continue;
                }
                if let Some(before) = &before {
                    digest = digest.without(of_provider(before));
                }
                match after {
                    Some(after) => {
                        digest = digest.with(of_provider(&after));
                        change.providers.push(after);
                    }
                    None => change.removed.push(key.clone()),
                }
            }
        }
        if self.digests_are_read() {
            (change.before, change.after) = (Some(told.digest), Some(digest));
        }
        let is_empty = change.providers.is_empty() && change.removed.is_empty();
        Next { told: Told { shown, digest }, change: (!is_empty).then_some(change) }
    }

    const fn digests_are_read(&self) -> bool {
        self.resyncs <= MAX_RESYNCS
    }
}

/// The instances that may look different in two looks at an application.
fn keys_apart<'a>(old: Option<&'a Shown>, new: Option<&'a Shown>) -> BTreeSet<&'a InstanceKey> {
    if let (Some(old), Some(new)) = (old, new)
        && old.cut == new.cut
        && let Some(moved) = new.offers.moved_since(&old.offers)
    {
        return moved.collect();
    }
    old.into_iter().chain(new).flat_map(|shown| shown.offers.keys()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use robo_model::resolve::{Provider, Topic};
    use robo_wire::digest::of_providers;

    use super::*;

    /// What one look finds: for each of some instances the value it offers, or nothing.
    type Found = Vec<Option<u8>>;

    #[derive(Debug, Clone)]
    enum Happens {
        /// Exports move.
        Offers(Found),
        /// Looks are forgotten: the next one is the first of a new line.
        Forget,
        /// The assignment imports these.
        Interest(u8),
        /// The device asks for everything.
        Resync,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            6 => prop::collection::vec(prop::option::of(0..3u8), 5).prop_map(Happens::Offers),
            1 => Just(Happens::Forget),
            2 => (0..8u8).prop_map(Happens::Interest),
            1 => Just(Happens::Resync),
        ]
    }

    fn found(values: &Found) -> Vec<(DeviceId, Provider)> {
        let one = |(number, value): (usize, &Option<u8>)| {
            let text = format!(
                r#"{{"key": {{"application": "shop", "path": "/p{number}"}}, "component": "Db",
                    "exports": {{"A.x": "{}", "B.x": "0"}}, "outside": {{"C.x": "{}"}}}}"#,
                (*value)?,
                (*value)? / 2
            );
            Some((format!("d{}", number % 3).parse().unwrap(), serde_json::from_str(&text).unwrap()))
        };
        values.iter().enumerate().filter_map(one).collect()
    }

    fn interest(bits: u8) -> Interest {
        let mut interest = Interest::new();
        for (bit, (prefix, outside)) in [("A", false), ("B", false), ("C", true)].into_iter().enumerate() {
            if bits & (1 << bit) != 0 {
                let application: ApplicationName = "shop".parse().unwrap();
                let topic = Topic { application: application.clone(), prefix: prefix.parse().unwrap(), outside };
                interest.entry(application).or_default().add(&topic);
            }
        }
        interest
    }

    proptest! {
        /// However it came about: the device has what is offered to it, each change fits to the one before, and what
        /// is said of digests is true.
        #[test]
        fn the_device_has_what_others_offer(story in prop::collection::vec(happens(), 1..40)) {
            let own: DeviceId = "d0".parse().unwrap();
            let mut imports = Imports::new(own.clone(), None);
            let (mut offers, mut wanted) = (Arc::new(Offers::new(Vec::new())), interest(1));
            let (mut values, mut has) = (Found::new(), BTreeMap::<InstanceKey, Provider>::new());
            for what in story {
                match what {
                    Happens::Offers(now) => {
                        values = now;
                        offers = offers.next(found(&values)).map_or(offers, Arc::new);
                    }
                    Happens::Forget => offers = Arc::new(Offers::new(found(&values))),
                    Happens::Interest(bits) => wanted = interest(bits),
                    Happens::Resync => imports.resync(),
                }
                let next = imports.next(&wanted, &[("shop".parse().unwrap(), Arc::clone(&offers))].into());
                if let Some(change) = &next.change {
                    prop_assert!(change.before.is_none_or(|before| before == of_providers(has.values())));
                    if change.full {
                        has.clear();
                    }
                    change.removed.iter().for_each(|key| drop(has.remove(key)));
                    has.extend(change.providers.iter().map(|p| (p.key.clone(), p.clone())));
                    prop_assert!(change.after.is_none_or(|after| after == of_providers(has.values())));
                }
                imports.said(next);
                let cut = wanted.get("shop").cloned().unwrap_or_default();
                let expect: BTreeMap<InstanceKey, Provider> =
                    offers.all_seen(&cut, &own).map(|provider| (provider.key.clone(), provider)).collect();
                prop_assert_eq!(&has, &expect);
            }
        }
    }
}
