//! Who may stop, over applications and devices.

use robo_model::resolve::Topic;

use super::*;

fn topic(application: &str, prefix: &str) -> Topic {
    Topic { application: application.parse().unwrap(), prefix: prefix.parse().unwrap(), outside: application != "shop" }
}

/// An instance that needs, waits for and offers what is said; `fleet` is another application.
fn telling(application: &str, path: &str, needs: &[&str], held_for: &[&str], ip: Option<&str>) -> InstanceReport {
    let topics = |list: &[&str]| list.iter().map(|owner| topic(owner, "Db")).collect::<BTreeSet<_>>();
    InstanceReport {
        application: application.parse().unwrap(),
        needs: if needs.is_empty() { Vec::new() } else { vec![topics(needs)] },
        held_for: topics(held_for),
        ..report(path, ip)
    }
}

async fn tell(store: &Store, device: &str, reports: Vec<InstanceReport>) -> Recorded {
    for report in reports.iter().filter(|report| report.path.as_str() != "/three/db") {
        assign(store, &id(device), report).await;
    }
    store.record_update(&id(device), &Update { reports, ..Update::default() }, NOW).await.unwrap()
}

async fn released(store: &Store, application: &str) -> Vec<String> {
    let found = store.released(&project(), &[application.parse().unwrap()]).await.unwrap();
    found.into_iter().map(|(device, key)| format!("{device} {key}")).collect()
}

#[tokio::test]
async fn a_waiting_instance_is_released_when_its_consumers_elsewhere_have_stopped() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    with_device(&store).await;
    for name in ["two", "three"] {
        add_token(&store, name, false).await;
        enrol(&store, name, name).await;
        store.device_online(&id(&format!("id-{name}")), &Facts::default(), NOW).await.unwrap();
    }
    let quiet = tell(&store, "id-two", vec![telling("shop", "/two/web", &["shop"], &[], None)]).await;
    assert_eq!(quiet.release_changed, [], "nobody waits");
    assert_eq!(released(&store, "shop").await, Vec::<String>::new());

    let waits = tell(&store, "id-one", vec![telling("shop", "/db", &[], &["shop"], None)]).await;
    assert_eq!(waits.release_changed, ["shop".parse().unwrap()]);
    assert_eq!(released(&store, "shop").await, Vec::<String>::new());
    // What an unassigned instance says that it offers is no other provider.
    tell(&store, "id-three", vec![telling("shop", "/three/db", &[], &[], Some("1"))]).await;
    assert_eq!(released(&store, "shop").await, Vec::<String>::new());
    store.device_offline(&id("id-two"), "cable", Instant::now(), NOW).await.unwrap();
    assert_eq!(released(&store, "shop").await, ["id-one shop/db"]);
    store.device_online(&id("id-two"), &Facts::default(), NOW).await.unwrap();
    let stopped = tell(&store, "id-two", vec![telling("shop", "/two/web", &[], &[], None)]).await;
    assert_eq!(stopped.release_changed, ["shop".parse().unwrap()]);
    assert_eq!(released(&store, "shop").await, ["id-one shop/db"]);
    tell(&store, "id-one", vec![telling("shop", "/db", &[], &[], None)]).await;
    assert_eq!(released(&store, "shop").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_consumer_in_another_application_counts_whoever_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    with_device(&store).await;
    add_token(&store, "two", false).await;
    enrol(&store, "two", "two").await;
    store.device_online(&id("id-two"), &Facts::default(), NOW).await.unwrap();
    tell(&store, "id-two", vec![telling("shop", "/two/web", &["fleet"], &[], None)]).await;
    tell(&store, "id-one", vec![telling("fleet", "/db", &[], &["fleet"], None)]).await;
    assert_eq!(released(&store, "fleet").await, Vec::<String>::new());
    let stopped = tell(&store, "id-two", vec![telling("shop", "/two/web", &[], &[], None)]).await;
    assert_eq!(stopped.release_changed, ["fleet".parse().unwrap(), "shop".parse().unwrap()]);
    assert_eq!(released(&store, "fleet").await, ["id-one fleet/db"]);
    // Nothing connects the two any more; who asks for one is told of that one.
    assert_eq!(released(&store, "shop").await, Vec::<String>::new());
}
