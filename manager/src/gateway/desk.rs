//! Carries out on the store what the links ask for, and what the bus says.
//!
//! Looks at what an application's instances offer, and at who is released, are shared: however many links ask, the store is
//! asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::quantity::Millis;
use robo_model::spec::InstanceKey;

use super::admission;
use super::core::{Answer, Ask, LOOK_ANYWAY, Newest};
use super::offers::Offers;
use super::registry::{AppKey, Registry};
use super::shared::Shared;
use super::{now, uptime};
use crate::bus::Bus;
use crate::store::{DeviceRecord, Store, StoreError};

/// The links' way to the store.
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) bus: Bus,
    pub(super) registry: Registry,
    released: Shared<(ProjectName, BTreeSet<ApplicationName>), ReleasedBy>,
}

/// The released instances of each device.
type ReleasedBy = BTreeMap<DeviceId, BTreeSet<InstanceKey>>;

impl Desk {
    pub(super) fn new(store: Store, bus: Bus) -> Self {
        Self { store, bus, registry: Registry::default(), released: Shared::default() }
    }

    /// Carries one ask out and rings. Run it as a task of its own: when the link breaks in between, what was stored is
    /// still rung, for nobody would look otherwise.
    pub(super) async fn carry_out(&self, device: &DeviceRecord, ask: Ask) -> Result<Answer, StoreError> {
        let answer = self.ask(device, ask).await?;
        for ring in Ask::rings(&device.project, &answer) {
            self.bus.ring(ring);
        }
        Ok(answer)
    }

    async fn ask(&self, device: &DeviceRecord, ask: Ask) -> Result<Answer, StoreError> {
        let (store, id) = (&self.store, &device.id);
        Ok(match ask {
            Ask::Online(facts) => Answer::Online(store.device_online(id, &facts, now()).await?),
            Ask::Facts(facts) => Answer::Facts(store.device_facts(id, &facts, now()).await?),
            Ask::Newest => {
                let newest = store.device(id).await?.filter(|d| admission::is_same(device, d));
                Answer::Newest(newest.map(|d| Newest { generation: d.generation, name: d.name, switches: d.switches }))
            }
            Ask::Assignment => Answer::Assignment(store.assignment(id).await?),
            Ask::Accepted(generation) => {
                store.accepted(id, generation, now()).await?;
                Answer::Done
            }
            Ask::Refused(generation, reason) => {
                store.refused(id, generation, &reason, now()).await?;
                Answer::Done
            }
            Ask::RaiseGeneration { from, to } => Answer::Raised(store.raise_generation(id, from, to).await?),
            Ask::Record(update) => Answer::Recorded(store.record_update(id, &update, now()).await?),
            Ask::Providers { applications, fresh } => {
                let mut found = BTreeMap::new();
                for application in applications {
                    let key = (device.project.clone(), application);
                    let offers = self.offers(&key, fresh.then_some(LOOK_ANYWAY)).await?;
                    found.insert(key.1, offers);
                }
                Answer::Providers(found)
            }
            Ask::Released(applications) => {
                let all = self.released(&device.project, applications).await?;
                let own = all.get(id).into_iter().flatten().map(|key| (id.clone(), key.clone()));
                Answer::Released(own.collect())
            }
        })
    }

    /// Who is released in these applications: one look for all the links that want to know at the same time.
    async fn released(
        &self,
        project: &ProjectName,
        applications: BTreeSet<ApplicationName>,
    ) -> Result<Arc<ReleasedBy>, StoreError> {
        let names: Vec<ApplicationName> = applications.iter().cloned().collect();
        let look = async || {
            let mut all = ReleasedBy::new();
            for (device, key) in self.store.released(project, &names).await? {
                all.entry(device).or_default().insert(key);
            }
            Ok(all)
        };
        self.released.get((project.clone(), applications), look).await
    }

    /// Exports in the application moved: looks, and marks the links that it concerns when it is so.
    pub(super) async fn exports_moved(&self, key: &AppKey) -> Result<(), StoreError> {
        self.offers(key, Some(Millis(0))).await.map(drop)
    }

    /// Somebody in the project may be released: looks, if anybody here waits, and marks the links that it concerns.
    pub(super) async fn needs_moved(
        &self,
        project: &ProjectName,
        applications: BTreeSet<ApplicationName>,
    ) -> Result<(), StoreError> {
        if self.registry.somebody_waits(project) {
            let applications: Vec<ApplicationName> = applications.into_iter().collect();
            self.registry.released(self.store.released(project, &applications).await?);
        }
        Ok(())
    }

    /// What an application's instances offer, by a look that is not older than `age`. One that finds something else
    /// than the one before marks the links that it concerns.
    async fn offers(&self, key: &AppKey, age: Option<Millis>) -> Result<Arc<Offers>, StoreError> {
        if let Some(kept) = self.registry.offers(key, age, uptime()) {
            return Ok(kept);
        }
        let looking = self.registry.looking(key);
        let _looking = match &looking {
            Some(looking) => Some(looking.lock().await),
            None => None,
        };
        if let Some(kept) = self.registry.offers(key, age, uptime()) {
            return Ok(kept);
        }
        let at = uptime();
        let found = self.store.providers(&key.0, std::slice::from_ref(&key.1)).await?;
        let before = self.registry.offers(key, None, at);
        let next = match &before {
            Some(before) => before.next(found),
            None => Some(Offers::new(found)),
        };
        match (before, next) {
            (Some(same), None) => {
                self.registry.keep_offers(key, &same, at);
                Ok(same)
            }
            (_, next) => {
                let offers = Arc::new(next.unwrap_or_else(|| Offers::new(Vec::new())));
                self.registry.keep_offers(key, &offers, at);
                self.registry.offers_moved(key);
                Ok(offers)
            }
        }
    }
}
