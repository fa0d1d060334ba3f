//! The double of the store against the store: the same random things done to both, the same answers from both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use robo_manager::plan::{Desired, Ports};
use robo_manager::store::{Apply, EnrollTokenRecord, Enrolment, EventFilter, NewDevice, Revision, Store, Told};
use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Topic;
use robo_model::spec::{Generation, InstanceKey, InstanceSpec};
use robo_model::state::InstanceReport;
use robo_tests::sim::store::{Revision as DoubleRevision, Store as Double};
use robo_wire::api::{Bundle, Facts};
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::link::Update;
use serde_json::json;

/// Things done to both in one story.
const OPERATIONS: usize = 120;

/// Stories: each opens a real database.
const SEEDS: u64 = 12;

const DEVICES: usize = 3;

/// More events than a story has.
const MAX_TOLD: u32 = 10_000;

const NOW: UnixMillis = UnixMillis(1_000);

struct Both {
    real: Store,
    double: Double,
    rng: fastrand::Rng,
    revisions: BTreeMap<ApplicationName, u64>,
    events: [u64; DEVICES],
}

fn application(index: usize) -> ApplicationName {
    format!("app{index}").parse().unwrap()
}

fn device(index: usize) -> DeviceId {
    format!("dev{index}").parse().unwrap()
}

fn applications() -> Vec<ApplicationName> {
    (0..2).map(application).collect()
}

impl Both {
    async fn new(seed: u64, data: &std::path::Path) -> Self {
        let real = Store::open(data).await.unwrap();
        let mut double = Double::default();
        for index in 0..DEVICES {
            let token = EnrollTokenRecord::new(ProjectName::default_project(), UnixMillis(5_000));
            let hash = format!("token{index}");
            real.add_enroll_token(&hash, &token, NOW).await.unwrap();
            let (id, name): (_, DeviceName) = (device(index), format!("d{index}").parse().unwrap());
            let (facts, key) = (Facts::default(), format!("key{index}"));
            let new = NewDevice {
                token: &hash,
                id: &id,
                name: &name,
                key_fingerprint: &key,
                certificate_ends: None,
                facts: &facts,
            };
            assert_eq!(real.enroll(&new, NOW).await.unwrap(), Enrolment::Done);
            double.enrol(id, name, 0);
        }
        let rng = fastrand::Rng::with_seed(seed);
        Self { real, double, rng, revisions: BTreeMap::new(), events: [0; DEVICES] }
    }

    async fn step(&mut self) {
        let id = device(self.rng.usize(..DEVICES));
        let generation = Generation(self.rng.u64(..6));
        match self.rng.usize(..12) {
            0 | 1 => self.apply().await,
            2..8 => self.update().await,
            8 => {
                self.real.accepted(&id, generation, NOW).await.unwrap();
                self.double.accepted(&id, generation);
            }
            9 => {
                self.real.refused(&id, generation, "full", NOW).await.unwrap();
                self.double.refused(&id, generation, "full");
            }
            10 => {
                self.real.device_online(&id, &Facts::default(), NOW).await.unwrap();
                self.double.online(&id).unwrap();
            }
            _ => {
                self.real.device_offline(&id, "cable", Instant::now(), NOW).await.unwrap();
                self.double.offline(&id, 0, "cable");
                if self.rng.bool() {
                    let known = self.double.devices[&id].generation;
                    let from = if self.rng.bool() { known } else { generation };
                    let to = known.next();
                    let real = self.real.raise_generation(&id, from, to).await.unwrap();
                    assert_eq!(Ok(real), self.double.raise_generation(&id, from, to));
                }
            }
        }
    }

    async fn apply(&mut self) {
        let name = application(self.rng.usize(..2));
        let mut specs: BTreeMap<DeviceId, Vec<InstanceSpec>> = BTreeMap::new();
        for index in 0..DEVICES {
            for n in 0..self.rng.usize(..4) {
                specs.entry(device(index)).or_default().push(spec(&name, index, n));
            }
        }
        let number = self.revisions.get(&name).copied().unwrap_or_default() + 1;
        let wished = json!({"name": name, "components": {}, "instances": {}});
        let desired = Desired { application: serde_json::from_value(wished).unwrap(), recipes: BTreeMap::new() };
        let bundle: Bundle =
            serde_json::from_value(json!({"entry": {"kind": "file", "path": "app.graph"}, "sources": {}})).unwrap();
        let revision = Revision { number, bundle, desired: desired.clone(), bindings: BTreeMap::new() };
        let (told, ports, overrides) = (Told::default(), Ports::new(), BTreeMap::new());
        let apply = Apply { revision: &revision, told: &told, new_ports: &ports, specs: &specs, overrides: &overrides };
        let real = self.real.apply(&ProjectName::default_project(), &apply, NOW).await.unwrap().devices;
        let revision = DoubleRevision { number, desired, hosts: BTreeMap::new() };
        let double = self.double.apply(revision, &ports, &specs).unwrap();
        assert_eq!(real, double, "whose assignment moved");
        self.revisions.insert(name, number);
    }

    async fn update(&mut self) {
        let index = self.rng.usize(..DEVICES);
        let reports: Vec<InstanceReport> = (0..self.rng.usize(..5)).map(|_| self.report(index)).collect();
        let keys: BTreeSet<InstanceKey> = reports.iter().map(robo_manager::store::rules::key_of).collect();
        let gone = InstanceKey { application: application(0), path: format!("/h{index}/i0").parse().unwrap() };
        let full = self.rng.usize(..4) == 0;
        let removed = (!full && self.rng.bool() && !keys.contains(&gone)).then_some(gone).into_iter().collect();
        // Some are told again.
        let first = self.events[index].saturating_sub(self.rng.u64(..2)) + 1;
        let events = first..first + self.rng.u64(..3);
        let rng = &mut self.rng;
        let mut key = || {
            let path = format!("/h{index}/i{}", rng.usize(..4)).parse().unwrap();
            rng.bool().then(|| InstanceKey { application: application(rng.usize(..2)), path })
        };
        let events: Vec<AgentEvent> =
            events.map(|seq| AgentEvent { seq, at: NOW, key: key(), body: EventBody::Forgotten }).collect();
        self.events[index] = events.last().map_or(self.events[index], |event| event.seq.max(self.events[index]));
        let generation = Generation(self.rng.u64(..4));
        let update = Update { full, generation, reports, removed, events, ..Update::default() };
        let real = self.real.record_update(&device(index), &update, NOW).await.unwrap();
        let double = self.double.record(&device(index), &update).unwrap();
        assert_eq!(real, double, "{update:?}");
    }

    /// A report of an instance that may be assigned, or not.
    fn report(&mut self, index: usize) -> InstanceReport {
        let own = application(self.rng.usize(..2));
        let n = self.rng.usize(..4);
        let offers = self.rng.bool();
        let value = self.rng.u8(..3).to_string();
        let mut topics = |chance: usize| -> BTreeSet<Topic> {
            let all = (0..4).filter(|_| self.rng.usize(..chance) == 0).collect::<Vec<usize>>();
            all.into_iter().map(|n| topic(n % 2, n)).collect()
        };
        let (needs, held_for) = (topics(2), topics(6));
        let exports = if offers { json!({(format!("C{n}.ip")): value}) } else { json!({}) };
        let outside = if offers { json!({"P.ip": value, "P.other": "1"}) } else { json!({}) };
        serde_json::from_value(json!({
            "application": own, "path": format!("/h{index}/i{n}"), "component": format!("C{n}"),
            "state": if offers { "DEPLOYED_STARTED" } else { "DEPLOYED_STOPPED" }, "since": 1,
            "exports": exports, "outside": outside, "held_for": held_for,
            "needs": if needs.is_empty() { vec![] } else { vec![needs] },
        }))
        .unwrap()
    }

    async fn compare(&self) {
        let project = ProjectName::default_project();
        for names in [applications(), vec![application(0)], vec![application(1)]] {
            let mut real = self.real.providers(&project, &names).await.unwrap();
            let mut double = self.double.providers(&names);
            real.sort_by(|a, b| (&a.0, &a.1.key).cmp(&(&b.0, &b.1.key)));
            double.sort_by(|a, b| (&a.0, &a.1.key).cmp(&(&b.0, &b.1.key)));
            assert_eq!(real, double, "who offers what in {names:?}");
            let real = self.real.released(&project, &names).await.unwrap();
            assert_eq!(real, self.double.released(&names), "who is released in {names:?}");
        }
        let filter = EventFilter { application: None, limit: MAX_TOLD };
        let real = self.real.last_events(&project, &filter).await.unwrap();
        for (index, id) in (0..DEVICES).map(device).enumerate() {
            let name: DeviceName = format!("d{index}").parse().unwrap();
            let of_it =
                real.events.iter().filter(|e| e.device.as_ref() == Some(&name) && e.body == EventBody::Forgotten);
            let keys: Vec<Option<InstanceKey>> = of_it
                .map(|event| {
                    let (application, path) = (event.application.clone()?, event.path.clone()?);
                    Some(InstanceKey { application, path })
                })
                .collect();
            let told = self.double.told.get(&id).into_iter().flatten().map(|event| event.key.clone());
            assert_eq!(keys, told.collect::<Vec<_>>(), "of what {id} told");
            let stored = self.real.instances(&project, None).await.unwrap();
            let stored = stored.into_iter().filter(|one| one.device == id && one.report.is_some()).map(|one| one.key);
            let double = self.double.instances.get(&id).into_iter().flatten().map(|(key, _)| key.clone());
            assert_eq!(stored.collect::<Vec<_>>(), double.collect::<Vec<_>>(), "what is known of {id}");
            assert_eq!(self.real.assignment(&id).await.unwrap(), self.double.assignment(&id));
            let real = self.real.device(&id).await.unwrap().unwrap();
            let double = &self.double.devices[&id];
            assert_eq!((real.generation, real.accepted), (double.generation, double.accepted), "{id}");
            assert_eq!((&real.refused, real.events_stored), (&double.refused, double.events_stored), "{id}");
            assert_eq!(real.online, double.online, "{id}");
        }
    }
}

fn topic(application_index: usize, n: usize) -> Topic {
    let prefix = if n < 2 { format!("C{n}") } else { "P".to_owned() };
    Topic { application: application(application_index), prefix: prefix.parse().unwrap(), outside: n >= 2 }
}

fn spec(application: &ApplicationName, index: usize, n: usize) -> InstanceSpec {
    serde_json::from_value(json!({
        "key": {"application": application, "path": format!("/h{index}/i{n}")}, "component": format!("C{n}"),
        "installer": {"kind": "script"}, "exports": {(format!("C{n}.ip")): {"kind": "address"}},
        "outside": {"P.ip": format!("C{n}.ip")},
    }))
    .unwrap()
}

#[tokio::test]
async fn the_double_answers_as_the_store_does() {
    for seed in 0..SEEDS {
        let data = tempfile::tempdir().unwrap();
        let mut both = Both::new(seed, data.path()).await;
        for _ in 0..OPERATIONS {
            both.step().await;
            both.compare().await;
        }
        both.real.close().await;
    }
}
