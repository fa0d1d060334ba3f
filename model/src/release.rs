//! Consumers stop first: when an instance that is to stop may do so.
//!
//! An instance that others cannot do without withdraws its exports, and waits until all of them have stopped that
//! have nobody else to turn to. The device sees to those beside it; about those elsewhere the manager asks here.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::DeviceId;
use crate::resolve::{self, Topic};
use crate::spec::InstanceKey;
use crate::state::InstanceReport;

/// What is known of one instance.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Where it runs.
    pub device: &'a DeviceId,
    /// Whether that device is connected. Nobody waits for one that is not: it hears of nothing.
    pub online: bool,
    /// What it told last.
    pub report: &'a InstanceReport,
}

/// The waiting instances that may stop now, as far as instances on other devices are concerned: nobody who runs
/// needs one of the places that they offered at and has no other one.
#[must_use]
pub fn released<'a>(known: impl IntoIterator<Item = Known<'a>>) -> BTreeSet<(DeviceId, InstanceKey)> {
    let known: Vec<Known<'a>> = known.into_iter().collect();
    let mut offered: BTreeMap<Topic, usize> = BTreeMap::new();
    for one in &known {
        for topic in resolve::topics_offered(&one.report.application, &one.report.exports, &one.report.outside) {
            *offered.entry(topic).or_default() += 1;
        }
    }
    // Who holds up whom, by the place that is needed and by the device of the one who needs it.
    let mut wanting: BTreeMap<&Topic, BTreeSet<&DeviceId>> = BTreeMap::new();
    for one in known.iter().filter(|one| one.online) {
        let own = resolve::topics_offered(&one.report.application, &one.report.exports, &one.report.outside);
        let others = |topic: &Topic| offered.get(topic).copied().unwrap_or_default() > usize::from(own.contains(topic));
        for need in one.report.needs.iter().filter(|need| !need.iter().any(others)) {
            for topic in need {
                wanting.entry(topic).or_default().insert(one.device);
            }
        }
    }
    let free = |one: &&Known<'a>| {
        let elsewhere = |topic| wanting.get(topic).is_some_and(|by| by.iter().any(|device| *device != one.device));
        !one.report.held_for.is_empty() && !one.report.held_for.iter().any(elsewhere)
    };
    known.iter().filter(free).map(|one| (one.device.clone(), key_of(one.report))).collect()
}

fn key_of(report: &InstanceReport) -> InstanceKey {
    InstanceKey { application: report.application.clone(), path: report.path.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(prefixes: &[&str]) -> BTreeSet<Topic> {
        let topic = |prefix: &&str| Topic {
            application: "shop".parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            outside: false,
        };
        prefixes.iter().map(topic).collect()
    }

    fn report(path: &str, exports: &[&str], needs: &[&[&str]], held_for: &[&str]) -> InstanceReport {
        let text = format!(
            r#"{{"application": "shop", "path": "{path}", "component": "X", "state": "DEPLOYED_STARTED", "since": 0}}"#
        );
        InstanceReport {
            exports: exports.iter().map(|name| (name.parse().unwrap(), String::new())).collect(),
            needs: needs.iter().map(|need| topics(need)).collect(),
            held_for: topics(held_for),
            ..serde_json::from_str(&text).unwrap()
        }
    }

    /// Each report on a device of its own, unless `devices` says otherwise; the offline ones end in `-`.
    fn check(devices: &[&str], reports: &[InstanceReport], expect: &[&str]) {
        let ids: Vec<DeviceId> = devices.iter().map(|name| name.trim_end_matches('-').parse().unwrap()).collect();
        let known = reports.iter().zip(&ids).zip(devices).map(|((report, device), name)| Known {
            device,
            online: !name.ends_with('-'),
            report,
        });
        let got: Vec<String> = released(known).into_iter().map(|(_, key)| key.path.to_string()).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn it_waits_for_those_who_have_nobody_else() {
        let db = || report("/db", &[], &[], &["Db"]);
        check(&["a"], &[db()], &["/db"]);
        check(&["a", "b"], &[db(), report("/web", &[], &[&["Db"]], &[])], &[]);
        check(&["a", "b-"], &[db(), report("/web", &[], &[&["Db"]], &[])], &["/db"]);
        check(&["a", "a"], &[db(), report("/web", &[], &[&["Db"]], &[])], &["/db"]);
        let (web, other) = (report("/web", &[], &[&["Db"]], &[]), report("/db2", &["Db.ip"], &[], &[]));
        check(&["a", "b", "c"], &[db(), web.clone(), other], &["/db"]);
        check(&["a", "b", "c"], &[db(), web, report("/db2", &[], &[], &["Db"])], &[]);
        // What one offers oneself helps nobody.
        check(&["a", "b"], &[db(), report("/peer", &["Db.ip"], &[&["Db"]], &[])], &[]);
        check(&["a", "b"], &[db(), report("/web", &[], &[&["Db", "Cache"]], &[])], &[]);
    }
}
