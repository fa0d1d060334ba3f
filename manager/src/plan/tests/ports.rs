//! Ports that are handed out: never twice on a device, never a forbidden or a used one, and for ever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use robo_model::limits::{FIRST_RANDOM_PORT, LAST_RANDOM_PORT};

use super::{Store, app, offering};
use crate::plan::{Desired, PortRanges, Ports, Problem};

#[test]
fn forbidden_and_used_ports_are_left_out() {
    let mut store = Store::new(&["a", "b"]);
    store.forbidden = "9000-10001,10003".parse().unwrap();
    store.devices[0].ports_in_use = vec![10_002, 10_005];
    let desired = app(&["/a Vm target | Vm.one=random, Vm.two=random", "/b Vm2 target | Vm2.one=random"]);
    let planned = store.apply(&desired);
    let ports = |planned: &Ports| -> Vec<u16> { planned.values().copied().collect() };
    assert_eq!(ports(&planned.new_ports), [10_004, 10_006, 10_002]);
    // What robo handed out is then in use by whom it was given to, and stays.
    store.devices[0].ports_in_use.extend([10_004, 10_006]);
    store.forbidden = "10000-20000".parse().unwrap();
    assert!(store.plan(&desired).unwrap().new_ports.is_empty());
}

#[test]
fn a_full_device_says_what_keeps_ports_back() {
    let mut store = Store::new(&["a"]);
    store.forbidden = format!("{FIRST_RANDOM_PORT}-{LAST_RANDOM_PORT}").parse().unwrap();
    let error = store.plan(&app(&["/a Vm target | Vm.port=random"])).unwrap_err();
    assert!(matches!(error.problems[..], [Problem::NoFreePort { .. }]), "{error}");
    assert!(error.help().contains("--forbidden-ports 10000-65499"), "{}", error.help());
}

/// Instances with ports, some by number, on two hosts.
fn desired(name: &'static str) -> impl Strategy<Value = Desired> {
    let instance = (0..2_usize, 0..4_usize, prop_oneof![Just(None), (10_000_u16..10_012).prop_map(Some)]);
    prop::collection::vec(instance, 0..6).prop_map(move |instances| {
        let mut lines: BTreeMap<String, String> =
            (0..2).map(|host| (format!("/h{host}"), format!("/h{host} Host target"))).collect();
        for (host, number, port) in instances {
            let (path, port) = (format!("/h{host}/i{number}"), port.map_or("random".to_owned(), |p| p.to_string()));
            let line =
                format!("{path} K{host}{number} script | K{host}{number}.port={port}, x.port={port}, x.b=random");
            lines.insert(path, line);
        }
        offering(app(&lines.values().map(String::as_str).collect::<Vec<_>>()), name, "P", &[])
    })
}

proptest! {
    #[test]
    fn ports_are_unique_free_and_kept(
        steps in prop::collection::vec((any::<bool>(), desired("one"), desired("two")), 1..6),
        used in prop::collection::btree_set(10_000_u16..10_012, 0..6),
        forbidden in 10_000_u16..10_012,
    ) {
        let mut store = Store::new(&["h0", "h1"]);
        let forbidden: PortRanges = forbidden.to_string().parse().unwrap();
        store.forbidden = forbidden.clone();
        store.devices[0].ports_in_use = used.iter().copied().collect();
        for (first, one, two) in steps {
            let desired = if first { one } else { two };
            store.turn_to(desired.application.name.as_str());
            let before = store.ports.clone();
            let planned = store.apply(&desired);
            prop_assert!(before.iter().all(|(key, port)| store.ports.get(key) == Some(port)));
            for ((device, key, variable), port) in &planned.new_ports {
                prop_assert!(!forbidden.contains(*port), "{key} {variable} {port}");
                prop_assert!(device.as_str() != "id-h0" || !used.contains(port), "{key} {variable} {port}");
            }
            // One number a device, but for the prefixes under which one instance offers one and the same port.
            let mut taken: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
            for ((device, key, variable), port) in &store.ports {
                taken.entry((device, *port)).or_default().insert((key, &variable.local));
            }
            prop_assert!(taken.values().all(|by| by.len() == 1), "{taken:?}");
            // What is gone gives its ports back, as the store does.
            let there: BTreeSet<_> = planned.specs.iter().flat_map(|(d, s)| s.iter().map(move |s| (d, &s.key))).collect();
            let name = &desired.application.name;
            store.ports.retain(|(device, key, _), _| key.application != *name || there.contains(&(device, key)));
        }
    }
}
