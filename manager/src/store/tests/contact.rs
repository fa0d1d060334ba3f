//! Leases, silence and removal.

use std::time::Duration;

use robo_model::lifecycle::{Of, TABLE};
use robo_model::quantity::Millis;

use super::*;

const SILENT: Millis = Millis::from_secs(90);

/// A host and three instances on it; `/vm/db` has a lease of its own.
async fn with_shop(store: &Store) -> DeviceId {
    let device = with_device(store).await;
    let mut specs = ["/vm", "/vm/db", "/vm/web"].map(|path| spec("shop", path));
    specs[0].installer = serde_json::from_str(r#"{"kind": "target"}"#).unwrap();
    specs[1].settings.lease = Some(Millis::from_secs(600));
    let revision = revision(1, "shop");
    let specs: Specs = [(device.clone(), specs.to_vec())].into();
    let told = Told::default();
    let (ports, overrides) = (Ports::new(), BTreeMap::new());
    let apply = Apply { revision: &revision, told: &told, new_ports: &ports, specs: &specs, overrides: &overrides };
    store.apply(&project(), &apply, NOW).await.unwrap();
    let reports = vec![report("/vm", None), report("/vm/db", Some("1")), report("/vm/web", Some("2"))];
    store.device_online(&device, &Facts::default(), NOW).await.unwrap();
    store.record_update(&device, &Update { full: true, reports, ..Update::default() }, NOW).await.unwrap();
    device
}

async fn offered(store: &Store) -> Vec<String> {
    let providers = store.providers(&project(), &["shop".parse().unwrap()]).await.unwrap();
    providers.into_iter().map(|(_, provider)| provider.key.path.to_string()).collect()
}

async fn told(store: &Store, last: u32) -> Vec<String> {
    let page = store.last_events(&project(), &EventFilter { application: None, limit: last }).await.unwrap();
    page.events.iter().map(|e| format!("{} {}", e.path.as_ref().map_or("", |p| p.as_str()), e.body)).collect()
}

async fn silence(store: &Store, device: &DeviceId, seconds: u64) -> Vec<ApplicationName> {
    let up_to = Instant::now() + Duration::from_secs(seconds);
    store.contact_lost(device, up_to, SILENT, NOW).await.unwrap().exports_changed
}

#[tokio::test]
async fn leases_end_one_by_one_and_all_begin_anew() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    let shop: ApplicationName = "shop".parse().unwrap();
    assert_eq!(silence(&store, &device, 10_000).await, [], "it is connected");
    store.device_offline(&device, "cable", Instant::now(), NOW).await.unwrap();
    let contact = store.contact(&device).await.unwrap().unwrap();
    assert_eq!(contact.leases, [60, 600].map(Millis::from_secs).into());
    assert_eq!(store.lost_contacts().await.unwrap(), [contact]);

    assert_eq!(silence(&store, &device, 59).await, []);
    assert_eq!(offered(&store).await, ["/vm/db", "/vm/web"]);
    assert_eq!(silence(&store, &device, 61).await, std::slice::from_ref(&shop));
    assert_eq!(silence(&store, &device, 62).await, [], "it is told once");
    assert_eq!(offered(&store).await, ["/vm/db"]);
    assert!(told(&store, 1).await[0].starts_with("/vm/web exports withdrawn"));

    assert_eq!(silence(&store, &device, 91).await, []);
    assert!(store.device(&device).await.unwrap().unwrap().silent);
    assert_eq!(told(&store, 1).await, ["/vm DEPLOYED_STARTED → PROBLEM"]);
    let contact = store.contact(&device).await.unwrap().unwrap();
    assert_eq!((contact.silent, contact.leases), (true, [Millis::from_secs(600)].into()));
    assert_eq!(silence(&store, &device, 601).await, std::slice::from_ref(&shop));
    let lapsed = |all: Vec<ReportedInstance>| all.iter().filter(|i| i.lapsed).count();
    assert_eq!(lapsed(store.instances(&project(), None).await.unwrap()), 2);

    drop(store.contacts_moved().await);
    assert_eq!(store.device_online(&device, &Facts::default(), NOW).await.unwrap(), [shop]);
    assert_eq!(store.contacts_moved().await, [(device.clone(), ContactMoved::Itself)].into());
    assert_eq!(offered(&store).await, ["/vm/db", "/vm/web"]);
    assert_eq!(told(&store, 2).await, [" online", "/vm PROBLEM → DEPLOYED_STARTED"]);
    assert!(!store.device(&device).await.unwrap().unwrap().silent);
}

/// All that becomes of a host with this state, from its device's silence to its return.
async fn ways(state: InstanceState) -> Vec<(InstanceState, InstanceState)> {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    let reports = vec![InstanceReport { state, ..report("/vm", None) }];
    store.record_update(&device, &Update { reports, ..Update::default() }, NOW).await.unwrap();
    store.device_offline(&device, "cable", Instant::now(), NOW).await.unwrap();
    silence(&store, &device, 91).await;
    store.device_online(&device, &Facts::default(), NOW).await.unwrap();
    let page = store.last_events(&project(), &EventFilter { application: None, limit: 100 }).await.unwrap();
    let bodies = page.events.into_iter().map(|event| event.body);
    bodies
        .filter_map(|body| if let EventBody::State { from, to, .. } = body { Some((from, to)) } else { None })
        .collect()
}

#[tokio::test]
async fn a_silent_machine_goes_the_ways_of_the_table_and_no_other() {
    let states: BTreeSet<_> = TABLE.iter().filter(|row| row.of == Of::Machine).map(|row| row.from).collect();
    assert_eq!(states.len(), 2);
    let mut seen = BTreeSet::new();
    for state in states {
        let told = ways(state).await;
        let shown = rules::shown(state, true, true);
        // As it is shown, so it is told; and back as what was reported last.
        let expect = if shown == state { vec![] } else { vec![(state, shown), (shown, state)] };
        assert_eq!(told, expect, "{state}");
        seen.extend(told);
    }
    let rows = TABLE.iter().filter(|row| row.of == Of::Contact).map(|row| (row.from, row.to));
    assert_eq!(rows.collect::<BTreeSet<_>>(), seen);
}

#[tokio::test]
async fn silence_counts_from_the_last_word() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    // It froze a minute before its link was given up.
    let last_heard = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    store.device_offline(&device, "silent", last_heard, NOW).await.unwrap();
    assert_eq!(store.contact(&device).await.unwrap().unwrap().lost, Some(last_heard));
    assert_eq!(silence(&store, &device, 1).await.len(), 1);
    assert_eq!(offered(&store).await, ["/vm/db"]);
    assert!(!store.device(&device).await.unwrap().unwrap().silent);
    silence(&store, &device, 31).await;
    assert!(store.device(&device).await.unwrap().unwrap().silent);
}

#[tokio::test]
async fn who_is_found_without_a_link_is_offline_unless_it_came_back() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    let online = store.online_devices().await.unwrap();
    assert_eq!(online, [(device.clone(), Some(NOW))]);
    let later = UnixMillis(NOW.0 + 1);
    store.device_online(&device, &Facts::default(), later).await.unwrap();
    assert_eq!(store.found_offline(&device, Some(NOW), later).await.unwrap(), None);
    assert_eq!(store.found_offline(&device, Some(later), later).await.unwrap(), Some(project()));
    assert_eq!(store.online_devices().await.unwrap(), []);
    assert!(told(&store, 1).await[0].starts_with(" offline: its link was gone"));
    assert_eq!(store.found_offline(&device, Some(later), later).await.unwrap(), None);
}

#[tokio::test]
async fn a_manager_that_was_down_ends_no_lease_and_forgets_none_that_is_over() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    store.device_offline(&device, "cable", Instant::now(), NOW).await.unwrap();
    silence(&store, &device, 100).await;
    store.close().await;
    let before = Instant::now();
    let store = Store::open(data.path()).await.unwrap();
    let contact = store.contact(&device).await.unwrap().unwrap();
    assert!(contact.silent && contact.lost.unwrap() >= before);
    assert_eq!(offered(&store).await, ["/vm/db"]);
}

#[tokio::test]
async fn a_removed_device_leaves_nothing_but_its_history_and_a_homeless_host() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_shop(&store).await;
    assert_eq!(store.hosts_on(&device).await.unwrap().len(), 1);
    let token = EnrollTokenRecord {
        name: Some("one".parse().unwrap()),
        replace: true,
        ..EnrollTokenRecord::new(project(), UnixMillis(5_000))
    };
    store.add_enroll_token("t-again", &token, NOW).await.unwrap();
    let removed = store.remove_device(&device, NOW).await.unwrap();
    assert_eq!(removed.exports_changed, ["shop".parse().unwrap()]);
    assert_eq!(told(&store, 1).await, [" removed"]);
    assert_eq!(store.enroll_token("t-again").await.unwrap(), None);
    assert!(store.device(&device).await.unwrap().is_none());
    assert_eq!((offered(&store).await, store.instances(&project(), None).await.unwrap()), (Vec::new(), Vec::new()));
    let homeless = store.homeless(&project(), None).await.unwrap();
    assert_eq!(homeless.iter().map(|h| (h.key.path.as_str(), h.device.as_str())).collect::<Vec<_>>(), [("/vm", "one")]);
    let late = store.record_update(&device, &Update::default(), NOW).await;
    assert!(matches!(late, Err(StoreError::NoDevice { .. })));
    // What is left of the application still can be changed, and the next apply houses its host.
    assert_eq!(apply(&store, 2, "shop", &["/vm"]).await.devices, []);
    assert_eq!(store.homeless(&project(), None).await.unwrap(), []);
}

#[tokio::test]
async fn labels_are_told_once() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    let labels: Labels = [("site".to_owned(), "osaka".to_owned())].into();
    assert!(store.set_labels(&device, &labels, NOW).await.unwrap());
    assert!(!store.set_labels(&device, &labels, NOW).await.unwrap());
    assert_eq!(told(&store, 2).await, [" enrolled", " labels: site=osaka"]);
}

#[tokio::test]
async fn files_are_needed_by_revisions_and_assignments() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let device = with_device(&store).await;
    let file = |digit: &str| serde_json::json!({"hash": digit.repeat(64), "size": 1});
    let mut revision = revision(1, "shop");
    revision.bundle = serde_json::from_value(serde_json::json!({
        "entry": {"kind": "project"}, "sources": {"a": file("1")}, "recipes": {"Db": {"x": file("2")}}
    }))
    .unwrap();
    let mut spec = spec("shop", "/vm");
    spec.files = serde_json::from_value(serde_json::json!({"x": file("3")})).unwrap();
    let specs: Specs = [(device, vec![spec])].into();
    let told = Told::default();
    let (ports, overrides) = (Ports::new(), BTreeMap::new());
    let apply = Apply { revision: &revision, told: &told, new_ports: &ports, specs: &specs, overrides: &overrides };
    store.apply(&project(), &apply, NOW).await.unwrap();
    let needed = store.needed_files().await.unwrap();
    assert_eq!(needed.iter().map(|hash| hash.as_str().chars().next().unwrap()).collect::<String>(), "123");
}
