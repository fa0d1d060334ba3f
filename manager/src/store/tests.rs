//! Tests of the store on a real disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use robo_model::graph::ExportValue;
use robo_model::label::Labels;
use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::{Generation, InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use robo_wire::api::{Bundle, Facts};
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::link::Update;
use robo_wire::plan::Bound;

use super::*;
use crate::plan::{Desired, Ports};

mod contact;
mod release;

const NOW: UnixMillis = UnixMillis(1_000);

fn project() -> ProjectName {
    ProjectName::default_project()
}

fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

async fn enrol(store: &Store, name: &str, token: &str) -> Enrolment {
    let (id, name) = (id(&format!("id-{name}")), name.parse::<DeviceName>().unwrap());
    let facts = Facts::default();
    let device =
        NewDevice { token, id: &id, name: &name, key_fingerprint: "k1", certificate_ends: None, facts: &facts };
    store.enroll(&device, NOW).await.unwrap()
}

async fn add_token(store: &Store, hash: &str, replace: bool) {
    let token = EnrollTokenRecord {
        labels: [("site".to_owned(), "tokyo".to_owned())].into(),
        replace,
        ..EnrollTokenRecord::new(project(), UnixMillis(5_000))
    };
    store.add_enroll_token(hash, &token, NOW).await.unwrap();
}

async fn with_device(store: &Store) -> DeviceId {
    add_token(store, "t-first", false).await;
    assert_eq!(enrol(store, "one", "t-first").await, Enrolment::Done);
    id("id-one")
}

fn spec(application: &str, path: &str) -> InstanceSpec {
    serde_json::from_value(serde_json::json!({
        "key": {"application": application, "path": path}, "component": "Db", "installer": {"kind": "script"},
        "exports": {"Db.ip": {"kind": "address"}}
    }))
    .unwrap()
}

fn report(path: &str, ip: Option<&str>) -> InstanceReport {
    InstanceReport {
        application: "shop".parse().unwrap(),
        path: path.parse().unwrap(),
        component: "Db".parse().unwrap(),
        state: InstanceState::DeployedStarted,
        since: NOW,
        waits_for: Vec::new(),
        failure: None,
        exports: ip.map(|ip| ("Db.ip".parse().unwrap(), ip.to_owned())).into_iter().collect(),
        pid: None,
        restarts: 0,
        healthy: true,
        settled: true,
        outside: BTreeMap::new(),
        needs: Vec::new(),
        held_for: BTreeSet::new(),
        drift: Vec::new(),
        hold: None,
    }
}

fn event(seq: u64, body: EventBody) -> AgentEvent {
    AgentEvent { seq, at: NOW, key: None, body }
}

fn revision(number: u64, application: &str) -> Revision {
    let graph = serde_json::json!({"name": application, "components": {}, "instances": {}});
    let bundle = serde_json::json!({"entry": {"kind": "project"}, "sources": {}});
    Revision {
        number,
        bundle: serde_json::from_value::<Bundle>(bundle).unwrap(),
        desired: Desired { application: serde_json::from_value(graph).unwrap(), recipes: BTreeMap::new() },
        bindings: [("/vm".parse().unwrap(), Bound { id: id("id-one"), name: "one".parse().unwrap() })].into(),
    }
}

async fn apply(store: &Store, number: u64, application: &str, paths: &[&str]) -> Committed {
    let revision = revision(number, application);
    let specs = paths.iter().map(|path| spec(application, path)).collect();
    let specs: Specs = [(id("id-one"), specs)].into();
    let told = Told::default();
    let apply = Apply {
        revision: &revision,
        told: &told,
        new_ports: &Ports::new(),
        specs: &specs,
        overrides: &BTreeMap::new(),
    };
    store.apply(&project(), &apply, NOW).await.unwrap()
}

/// Lists the report's instance as assigned to the device, beside what is.
async fn assign(store: &Store, device: &DeviceId, report: &InstanceReport) {
    sqlx::query(
        "INSERT INTO assigned (device, project, application, path, component, installer, wanted, lease) \
         VALUES ($1, 'default', $2, $3, 'Db', 'script', '\"started\"', 60000) ON CONFLICT DO NOTHING",
    )
    .bind(device.as_str())
    .bind(report.application.as_str())
    .bind(report.path.as_str())
    .execute(&store.writer)
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_device_tells_of_instances_that_are_not_its_own_is_dropped() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm", "/vm/db"]).await;
    let key = |path: &str| InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() };
    let told = |seq, path| AgentEvent { key: Some(key(path)), ..event(seq, EventBody::Forgotten) };
    let reports = || ["/vm", "/vm/db", "/made-up"].map(|path| report(path, None)).to_vec();
    let events = vec![told(1, "/vm/db"), told(2, "/made-up")];
    let update = Update { full: true, reports: reports(), events, ..Update::default() };
    let recorded = store.record_update(&device, &update, NOW).await.unwrap();
    assert_eq!((recorded.unknown, recorded.events_stored), ([key("/made-up")].into(), 2));
    let paths = async || {
        let all = store.instances(&project(), None).await.unwrap();
        all.into_iter().filter(|one| one.report.is_some()).map(|one| one.key.path.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(paths().await, ["/vm", "/vm/db"]);
    let of_events = async |last| {
        let page = store.last_events(&project(), &EventFilter { application: None, limit: last }).await.unwrap();
        page.events.into_iter().map(|e| e.path.map(|path| path.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(of_events(2).await, [Some("/vm/db".to_owned()), None]);
    // One that was assigned when it was first told of is told of to its end.
    apply(&store, 2, "shop", &["/vm"]).await;
    let update = Update { reports: reports(), ..Update::default() };
    assert_eq!(store.record_update(&device, &update, NOW).await.unwrap().unknown, [key("/made-up")].into());
    let update = Update { removed: vec![key("/vm/db")], events: vec![told(3, "/vm/db")], ..Update::default() };
    store.record_update(&device, &update, NOW).await.unwrap();
    assert_eq!((paths().await, of_events(1).await), (vec!["/vm".to_owned()], vec![Some("/vm/db".to_owned())]));
    let update = Update { reports: reports(), ..Update::default() };
    assert_eq!(store.record_update(&device, &update, NOW).await.unwrap().unknown.len(), 2);
}

#[tokio::test]
async fn what_was_written_is_there_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm", "/vm/db"]).await;
    store.device_online(&device, &Facts { hostname: "h".into(), ..Facts::default() }, NOW).await.unwrap();
    assert!(matches!(Store::open(data.path()).await, Err(StoreError::Locked { .. })));
    store.close().await;

    let store = Store::open(data.path()).await.unwrap();
    let record = store.device(&device).await.unwrap().unwrap();
    assert_eq!((record.facts.hostname.as_str(), record.generation, record.online), ("h", Generation(1), false));
    assert_eq!(record.labels["site"], "tokyo");
    let assignment = store.assignment(&device).await.unwrap().unwrap();
    assert_eq!((assignment.generation, assignment.instances.len()), (Generation(1), 2));
    let shop: ApplicationName = "shop".parse().unwrap();
    assert_eq!(store.application(&project(), &shop).await.unwrap().unwrap().revision, revision(1, "shop"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("robo.db"), "certainly not SQLite, but long enough to be looked at. ".repeat(99))
        .unwrap();
    let error = Store::open(data.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_form_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET version = 99 WHERE version = 1").execute(&store.writer).await.unwrap();
    store.close().await;
    let error = Store::open(data.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { version: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn an_enrolment_token_is_good_for_one_device() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    assert_eq!(enrol(&store, "two", "t-first").await, Enrolment::TokenUsed);
    assert_eq!(enrol(&store, "two", "t-unknown").await, Enrolment::TokenUsed);
    assert!(store.device_named(&project(), &"two".parse().unwrap()).await.unwrap().is_none());

    // A refused name leaves the token unused.
    add_token(&store, "t-second", false).await;
    assert_eq!(enrol(&store, "one", "t-second").await, Enrolment::NameTaken);
    assert_eq!(enrol(&store, "two", "t-second").await, Enrolment::Done);

    add_token(&store, "t-third", true).await;
    let facts = Facts::default();
    let name = "one".parse().unwrap();
    let again = NewDevice {
        token: "t-third",
        id: &device,
        name: &name,
        key_fingerprint: "k2",
        certificate_ends: None,
        facts: &facts,
    };
    assert_eq!(store.enroll(&again, NOW).await.unwrap(), Enrolment::Done);
    assert_eq!(store.device(&device).await.unwrap().unwrap().key_fingerprint, "k2");
}

#[tokio::test]
async fn a_project_is_a_world_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm", "/vm/db"]).await;
    store.device_online(&device, &Facts::default(), NOW).await.unwrap();
    let reports = vec![report("/vm", None), report("/vm/db", Some("1"))];
    store.record_update(&device, &Update { full: true, reports, ..Update::default() }, NOW).await.unwrap();
    sqlx::query("INSERT INTO projects (name) VALUES ('lab')").execute(&store.writer).await.unwrap();
    let shop: ApplicationName = "shop".parse().unwrap();
    let seen = async |project: &ProjectName| {
        let names = std::slice::from_ref(&shop);
        let filter = EventFilter { application: None, limit: 100 };
        [
            store.devices(project).await.unwrap().len(),
            store.applications(project).await.unwrap().len(),
            store.instances(project, None).await.unwrap().len(),
            store.specs(project, None).await.unwrap().len(),
            store.providers(project, names).await.unwrap().len(),
            store.last_events(project, &filter).await.unwrap().events.len().min(1),
        ]
    };
    let lab: ProjectName = "lab".parse().unwrap();
    assert!(store.has_project(&lab).await.unwrap());
    // The same names there mean nothing here.
    assert_eq!((seen(&project()).await, seen(&lab).await), ([1, 1, 2, 2, 1, 1], [0; 6]));
    assert_eq!(store.specs(&project(), Some(&shop)).await.unwrap().len(), 2);
    assert_eq!(store.specs(&project(), Some(&"other".parse().unwrap())).await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_update_told_twice_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm", "/vm/db"]).await;
    let update = Update {
        seq: 1,
        generation: Generation(1),
        full: true,
        reports: vec![report("/vm", None), report("/vm/db", Some("10.0.0.1"))],
        removed: Vec::new(),
        events: vec![event(1, EventBody::Forgotten), event(2, EventBody::Deleted), event(3, EventBody::Forgotten)],
        imports: None,
        more: false,
    };
    let recorded = store.record_update(&device, &update, NOW).await.unwrap();
    let shop: ApplicationName = "shop".parse().unwrap();
    let expect =
        Recorded { events_stored: 3, exports_changed: vec![shop.clone()], events_added: true, ..Recorded::default() };
    assert_eq!(recorded, expect);
    let again = store.record_update(&device, &update, NOW).await.unwrap();
    assert_eq!(again, Recorded { events_stored: 3, ..Recorded::default() });
    let all = store.last_events(&project(), &EventFilter { application: None, limit: 100 }).await.unwrap();
    let forgotten = all.events.iter().filter(|e| e.body == EventBody::Forgotten).count();
    // What only a manager can know is not believed.
    assert!(forgotten == 2 && all.events.iter().all(|e| e.body != EventBody::Deleted), "{all:?}");

    let offered = store.providers(&project(), &[shop]).await.unwrap();
    assert_eq!(offered.iter().map(|(on, p)| (on, p.key.path.as_str())).collect::<Vec<_>>(), [(&device, "/vm/db")]);
}

#[tokio::test]
async fn a_device_offers_what_it_was_assigned_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm"]).await;
    let offer = async |variable: &str, value: &str| {
        let mut forged = report("/vm", None);
        forged.exports = [(variable.parse().unwrap(), value.to_owned())].into();
        store.record_update(&device, &Update { reports: vec![forged], ..Update::default() }, NOW).await.unwrap();
        let offered = store.providers(&project(), &["shop".parse().unwrap()]).await.unwrap();
        offered.into_iter().flat_map(|(_, p)| p.exports.into_values()).collect::<Vec<_>>()
    };
    assert_eq!(offer("Db.ip", "10.0.0.1").await, ["10.0.0.1"]);
    assert!(offer("Other.ip", "10.0.0.1").await.is_empty());
    assert!(offer("Db.ip", "10.0.0.1\0").await.is_empty());
    assert!(offer("Db.ip", &"x".repeat(robo_model::limits::MAX_VALUE_BYTES + 1)).await.is_empty());
}

#[tokio::test]
async fn a_generation_can_be_raised_and_keeps_its_content() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    apply(&store, 1, "shop", &["/vm"]).await;
    let before = store.assignment(&device).await.unwrap().unwrap();
    let raise = async |from, to| store.raise_generation(&device, Generation(from), Generation(to)).await.unwrap();
    assert_eq!(raise(1, 9).await, None);
    assert_eq!(raise(1, 12).await, Some(Generation(9)), "another one was made since that was read");
    let after = store.assignment(&device).await.unwrap().unwrap();
    assert_eq!((after.generation, after.instances), (Generation(9), before.instances));
    assert_eq!(store.device(&device).await.unwrap().unwrap().generation, Generation(9));
}

#[tokio::test]
async fn a_full_update_is_all_there_is() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    let update = |full, reports| Update { seq: 1, full, reports, ..Update::default() };
    apply(&store, 1, "shop", &["/vm", "/db"]).await;
    store
        .record_update(&device, &update(true, vec![report("/vm", None), report("/db", Some("x"))]), NOW)
        .await
        .unwrap();
    store.record_update(&device, &update(false, vec![report("/vm", None)]), NOW).await.unwrap();
    assert_eq!(store.instances(&project(), None).await.unwrap().len(), 2);
    apply(&store, 2, "shop", &[]).await;
    let recorded = store.record_update(&device, &update(true, vec![report("/vm", None)]), NOW).await.unwrap();
    assert_eq!(recorded.exports_changed, ["shop".parse().unwrap()]);
    let left = store.instances(&project(), None).await.unwrap();
    assert_eq!(left.iter().map(|i| i.key.path.as_str()).collect::<Vec<_>>(), ["/vm"]);
    // It is not assigned any more, so it has to go.
    assert_eq!(left[0].wanted, None);
}

#[tokio::test]
async fn assignments_move_only_when_they_change() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    assert_eq!(apply(&store, 1, "shop", &["/vm"]).await.devices, std::slice::from_ref(&device));
    assert_eq!(apply(&store, 2, "shop", &["/vm"]).await.devices, []);
    apply(&store, 1, "fleet", &["/vm"]).await;
    let assignment = store.assignment(&device).await.unwrap().unwrap();
    let keys: Vec<String> = assignment.instances.iter().map(|s| s.key.to_string()).collect();
    assert_eq!((assignment.generation, keys), (Generation(2), vec!["fleet/vm".to_owned(), "shop/vm".to_owned()]));

    store
        .record_update(&device, &Update { reports: vec![report("/vm", None)], ..Update::default() }, NOW)
        .await
        .unwrap();
    let deleted = store.delete_application(&project(), &"shop".parse().unwrap(), &[], NOW).await.unwrap();
    assert_eq!(deleted.devices, std::slice::from_ref(&device));
    let leaving = store.instances(&project(), Some(&"shop".parse().unwrap())).await.unwrap();
    assert_eq!((leaving[0].wanted, leaving[0].installer.as_str()), (None, "script"));
    let fleet = store.instances(&project(), Some(&"fleet".parse().unwrap())).await.unwrap();
    assert_eq!((fleet[0].wanted, fleet[0].report.is_none()), (Some(Wanted::Started), true));
    let missing = store.delete_application(&project(), &"shop".parse().unwrap(), &[], NOW).await;
    assert!(matches!(missing, Err(StoreError::NoApplication { .. })));
}

#[tokio::test]
async fn two_applications_that_do_not_fit_on_one_device_together_are_refused_whole() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    let apply = async |application: &str| {
        let revision = revision(1, application);
        let mut large = spec(application, "/vm");
        let value = ExportValue::Text("x".repeat(robo_wire::frame::MAX_CONTROL_FRAME / 2));
        large.exports.insert("Db.v".parse().unwrap(), value);
        let (specs, told) = ([(device.clone(), vec![large])].into(), Told::default());
        let (ports, overrides) = (Ports::new(), BTreeMap::new());
        let apply = Apply { revision: &revision, told: &told, new_ports: &ports, specs: &specs, overrides: &overrides };
        store.apply(&project(), &apply, NOW).await
    };
    apply("shop").await.unwrap();
    let before = (store.device(&device).await.unwrap(), store.assignment(&device).await.unwrap());
    let error = apply("fleet").await.unwrap_err();
    assert!(matches!(error, StoreError::AssignmentTooLarge { .. }));
    assert!(error.to_string().starts_with("the assignment of device id-one would have "), "{error}");
    assert_eq!((store.device(&device).await.unwrap(), store.assignment(&device).await.unwrap()), before);
    assert!(store.application(&project(), &"fleet".parse().unwrap()).await.unwrap().is_none());
    let events = store.last_events(&project(), &EventFilter { application: None, limit: 9 }).await.unwrap();
    assert_eq!(events.events.iter().filter(|e| matches!(e.body, EventBody::Applied { .. })).count(), 1);
}

#[tokio::test]
async fn acceptance_never_goes_back() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    store.refused(&device, Generation(3), "too large", NOW).await.unwrap();
    let refused = store.device(&device).await.unwrap().unwrap().refused.unwrap();
    assert!(refused.contains("assignment 3") && refused.contains("too large"), "{refused}");
    store.accepted(&device, Generation(4), NOW).await.unwrap();
    store.accepted(&device, Generation(2), NOW).await.unwrap();
    store.refused(&device, Generation(3), "late", NOW).await.unwrap();
    let record = store.device(&device).await.unwrap().unwrap();
    assert_eq!((record.accepted, record.refused), (Generation(4), None));
}

#[tokio::test]
async fn events_are_read_page_by_page() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let new = |application: Option<&str>| NewEvent {
        at: NOW,
        device: None,
        application: application.map(|a| a.parse().unwrap()),
        path: None,
        body: EventBody::Online,
    };
    let newest = store.add_events(&project(), &[new(None), new(Some("a")), new(None), new(Some("a"))]).await.unwrap();
    assert_eq!(newest, 4);
    let ids = |page: &EventPage| page.events.iter().map(|e| e.id).collect::<Vec<_>>();
    let of_a = EventFilter { application: Some("a".parse().unwrap()), limit: 1 };
    let page = store.events_after(&project(), 0, &of_a).await.unwrap();
    assert_eq!((ids(&page), page.cursor, page.more), (vec![2], 2, true));
    let page = store.events_after(&project(), 2, &EventFilter { limit: 9, ..of_a.clone() }).await.unwrap();
    assert_eq!((ids(&page), page.cursor, page.more), (vec![4], 4, false));
    let page = store.last_events(&project(), &EventFilter { application: None, limit: 2 }).await.unwrap();
    assert_eq!((ids(&page), page.cursor), (vec![3, 4], 4));
}

#[tokio::test]
async fn coming_and_going_is_told_once() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    for _ in 0..2 {
        store.device_online(&device, &Facts::default(), NOW).await.unwrap();
    }
    for _ in 0..2 {
        store.device_offline(&device, "cable", Instant::now(), NOW).await.unwrap();
    }
    let all = store.last_events(&project(), &EventFilter { application: None, limit: 9 }).await.unwrap();
    let told: Vec<String> = all.events.iter().map(|e| e.body.to_string()).collect();
    assert_eq!(told, ["enrolled", "online", "offline: cable"]);
    let nobody = store.device_online(&id("nobody"), &Facts::default(), NOW).await;
    assert!(matches!(nobody, Err(StoreError::NoDevice { .. })));
}
