//! What moved under a plan, in words.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, ComponentName};
use robo_wire::plan::Ground;

/// What a person reads when the plan they agreed to no longer comes out. `planned` is what it stood on, where that is
/// still remembered.
#[must_use]
pub fn reason(planned: Option<&Ground>, now: &Ground) -> String {
    let Some(planned) = planned else {
        return "it does not come out of these files and of what is there now".to_owned();
    };
    let mut reasons = Vec::new();
    if planned.revision != now.revision {
        reasons.push(match (planned.revision, now.revision) {
            (Some(then), Some(now)) => format!("the revision was {then} when planned, is {now} now"),
            (None, Some(now)) => format!("the application did not exist when planned, is at revision {now} now"),
            (Some(then), None) => format!("the revision was {then} when planned, the application is deleted now"),
            (None, None) => String::new(),
        });
    }
    if planned.overrides != now.overrides {
        reasons.push("somebody started, stopped or undeployed instances since".to_owned());
    }
    for (host, then) in &planned.devices {
        match now.devices.get(host) {
            Some(device) if device == then => {}
            Some(device) => {
                reasons.push(format!("`{host}` was device `{}` when planned, is `{}` now", then.name, device.name));
            }
            None => reasons.push(format!("`{host}` was device `{}` when planned, is none now", then.name)),
        }
    }
    for (host, device) in &now.devices {
        if !planned.devices.contains_key(host) {
            reasons.push(format!("`{host}` had no device when planned, is `{}` now", device.name));
        }
    }
    reasons.extend(bindings(planned, now));
    reasons.extend(others(planned, now));
    if reasons.is_empty() {
        return "the files or settings differ from those that were planned, or ports that were free then are taken now"
            .to_owned();
    }
    reasons.join("; ")
}

/// What became of the application's own bindings, and of those of the others.
fn bindings(planned: &Ground, now: &Ground) -> Vec<String> {
    let mut reasons = rebound(&planned.bindings, &now.bindings);
    let none = BTreeMap::new();
    for name in planned.others.keys().filter(|name| now.others.contains_key(*name)) {
        let of = |ground: &'_ Ground| ground.other_bindings.get(name).unwrap_or(&none).clone();
        reasons.extend(rebound(&of(planned), &of(now)).into_iter().map(|reason| format!("in `{name}`, {reason}")));
    }
    reasons
}

type Bindings = BTreeMap<ComponentName, BTreeSet<ApplicationName>>;

fn rebound(planned: &Bindings, now: &Bindings) -> Vec<String> {
    let names = |to: Option<&BTreeSet<ApplicationName>>| match to.filter(|to| !to.is_empty()) {
        None => "nobody".to_owned(),
        Some(to) => to.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    let prefixes: BTreeSet<&ComponentName> = planned.keys().chain(now.keys()).collect();
    let sides = prefixes.into_iter().map(|prefix| (prefix, planned.get(prefix), now.get(prefix)));
    sides
        .filter(|(_, then, now)| then != now)
        .map(|(prefix, then, now)| {
            format!("`{prefix}` was bound to {} when planned, is bound to {} now", names(then), names(now))
        })
        .collect()
}

/// What became of the applications that it is bound to, or that are bound to it.
fn others(planned: &Ground, now: &Ground) -> Vec<String> {
    let names: BTreeSet<&ApplicationName> = planned.others.keys().chain(now.others.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (planned.others.get(name), now.others.get(name)) {
            (Some(then), Some(at)) if then == at => {
                let asked = planned.other_overrides.get(name) != now.other_overrides.get(name);
                asked.then(|| format!("somebody started, stopped or undeployed instances of `{name}` since"))
            }
            (Some(then), Some(now)) => Some(format!("`{name}` was at revision {then} when planned, is at {now} now")),
            (Some(_), None) => Some(format!("`{name}` had to do with it when planned, and has no longer")),
            (None, _) => Some(format!("`{name}` has to do with it now, and had not when planned")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use robo_wire::plan::Bound;

    use super::*;

    fn ground(revision: Option<u64>, overrides: u64, device: &str) -> Ground {
        let bound = Bound { id: device.parse().unwrap(), name: device.parse().unwrap() };
        Ground { revision, devices: [("/vm".parse().unwrap(), bound)].into(), overrides, ..Ground::default() }
    }

    #[test]
    fn what_moved_is_named() {
        let check = |planned: Option<Ground>, expect: &str| {
            let got = reason(planned.as_ref(), &ground(Some(4), 1, "b"));
            assert!(got.contains(expect), "{got}");
        };
        check(Some(ground(Some(3), 1, "b")), "the revision was 3 when planned, is 4 now");
        check(Some(ground(None, 1, "b")), "did not exist when planned");
        check(Some(ground(Some(4), 0, "b")), "stopped");
        check(Some(ground(Some(4), 1, "a")), "`/vm` was device `a` when planned, is `b` now");
        check(Some(ground(Some(4), 1, "b")), "files or settings differ");
        check(None, "does not come out");
    }

    #[test]
    fn other_applications_are_named() {
        let tied = |to: &[&str], others: &[(&str, u64)]| {
            let bound = to.iter().map(|name| name.parse().unwrap()).collect();
            Ground {
                bindings: [("Wh".parse().unwrap(), bound)].into(),
                others: others.iter().map(|(name, revision)| (name.parse().unwrap(), *revision)).collect(),
                ..ground(Some(4), 1, "b")
            }
        };
        let check = |planned: Ground, now: Ground, expect: &str| assert_eq!(reason(Some(&planned), &now), expect);
        check(
            tied(&["a"], &[("a", 1), ("c", 1)]),
            tied(&["a", "b"], &[("a", 2), ("b", 1)]),
            "`Wh` was bound to `a` when planned, is bound to `a`, `b` now; \
             `a` was at revision 1 when planned, is at 2 now; \
             `b` has to do with it now, and had not when planned; \
             `c` had to do with it when planned, and has no longer",
        );
        check(ground(Some(4), 1, "b"), tied(&["a"], &[]), "`Wh` was bound to nobody when planned, is bound to `a` now");
        let same = || tied(&["a"], &[("a", 1)]);
        check(
            same(),
            same(),
            "the files or settings differ from those that were planned, or ports that were free then are taken now",
        );
        let stopped = Ground { other_overrides: [("a".parse().unwrap(), 1)].into(), ..same() };
        check(same(), stopped, "somebody started, stopped or undeployed instances of `a` since");
        let to = |name: &str| BTreeMap::from([("Db".parse().unwrap(), BTreeSet::from([name.parse().unwrap()]))]);
        let bound = |name: &str| Ground { other_bindings: [("a".parse().unwrap(), to(name))].into(), ..same() };
        check(bound("b"), bound("c"), "in `a`, `Db` was bound to `b` when planned, is bound to `c` now");
        check(bound("b"), same(), "in `a`, `Db` was bound to `b` when planned, is bound to nobody now");
    }
}
