//! What moved under a plan, in words.

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
    if reasons.is_empty() {
        return "the files or settings differ from those that were planned".to_owned();
    }
    reasons.join("; ")
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
}
