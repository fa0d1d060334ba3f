//! What the store decides, apart from the database: plain functions of what is known, for the store itself and for
//! whatever has to answer as it does.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use robo_model::limits::MAX_VALUE_BYTES;
use robo_model::name::{ApplicationName, Variable};
use robo_model::quantity::Millis;
use robo_model::resolve::{Provider, Topic};
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::{InstanceReport, InstanceState};
use robo_wire::event::{AgentEvent, EventBody};

/// The applications for which an update changed something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those whose instances offer something else now.
    pub offers: BTreeSet<ApplicationName>,
    /// Those where somebody who waits for others to stop may have been freed.
    pub release: BTreeSet<ApplicationName>,
}

impl Touched {
    /// Notes what a device told of an instance before and tells of it now.
    pub fn note(&mut self, before: Option<&InstanceReport>, after: Option<&InstanceReport>) {
        let moved = moved(before, after);
        for report in before.into_iter().chain(after) {
            if moved.offers {
                self.offers.insert(report.application.clone());
            }
            if moved.release {
                // Those that it needed until now may be what it frees.
                self.release.insert(report.application.clone());
                self.release.extend(reaches(report).into_iter().cloned());
            }
        }
    }
}

/// The variables that an assignment lets an instance offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    exports: BTreeSet<Variable>,
    outside: BTreeSet<Variable>,
}

impl Named {
    /// Those of an instance with this specification.
    #[must_use]
    pub fn of(spec: &InstanceSpec) -> Self {
        Self { exports: spec.exports.keys().cloned().collect(), outside: spec.outside.keys().cloned().collect() }
    }

    fn has(&self, variable: &Variable, inside: bool) -> bool {
        if inside { self.exports.contains(variable) } else { self.outside.contains(variable) }
    }

    /// True when one of these may be offered, inside the application or outside.
    #[must_use]
    pub fn any_of(&self, variables: &BTreeSet<Variable>) -> bool {
        variables.iter().any(|variable| self.has(variable, true) || self.has(variable, false))
    }
}

/// The report without what its instance may not offer: a device that was broken into must not speak for others.
/// `named` is nothing for an instance that is not assigned.
#[must_use]
pub fn cut<'a>(report: &'a InstanceReport, named: Option<&Named>) -> Cow<'a, InstanceReport> {
    let none = Named::default();
    let named = named.unwrap_or(&none);
    let fits = |allowed: &BTreeSet<Variable>, variable: &Variable, value: &String| {
        allowed.contains(variable) && value.len() <= MAX_VALUE_BYTES && !value.contains('\0')
    };
    let exports_fit = report.exports.iter().all(|(variable, value)| fits(&named.exports, variable, value));
    let outside_fit = report.outside.iter().all(|(variable, value)| fits(&named.outside, variable, value));
    if exports_fit && outside_fit {
        return Cow::Borrowed(report);
    }
    let mut report = report.clone();
    report.exports.retain(|variable, value| fits(&named.exports, variable, value));
    report.outside.retain(|variable, value| fits(&named.outside, variable, value));
    Cow::Owned(report)
}

/// The variables in the report that its instance may not offer, by name.
#[must_use]
pub fn unnamed(report: &InstanceReport, named: Option<&Named>) -> BTreeSet<Variable> {
    let is_named = |variable: &&Variable, inside| named.is_some_and(|named| named.has(variable, inside));
    let inside = report.exports.keys().filter(|variable| !is_named(variable, true));
    inside.chain(report.outside.keys().filter(|variable| !is_named(variable, false))).cloned().collect()
}

/// The report with its texts and lists cut where they are together larger than [`MAX_EVENT_BYTES`], as those of an event
/// are: agents of ours bound them far below that.
#[must_use]
pub fn bounded(report: &InstanceReport) -> Cow<'_, InstanceReport> {
    let lines = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
    let failure = report.failure.as_ref().map_or(0, |failure| failure.reason.len() + lines(&failure.output));
    let hold = report.hold.as_ref().map_or(0, String::len);
    if lines(&report.waits_for) + lines(&report.drift) + failure + hold <= MAX_EVENT_BYTES {
        return Cow::Borrowed(report);
    }
    let mut report = report.clone();
    shorten_lines(&mut report.waits_for);
    shorten_lines(&mut report.drift);
    if let Some(failure) = &mut report.failure {
        shorten(&mut failure.reason);
        shorten_lines(&mut failure.output);
    }
    report.hold.iter_mut().for_each(shorten);
    Cow::Owned(report)
}

/// Which instance the report is of.
#[must_use]
pub fn key_of(report: &InstanceReport) -> InstanceKey {
    InstanceKey { application: report.application.clone(), path: report.path.clone() }
}

/// What others may import from the instance.
#[must_use]
pub fn provider(report: InstanceReport) -> Provider {
    let key = key_of(&report);
    Provider { key, component: report.component, exports: report.exports, outside: report.outside }
}

/// What a new report of an instance, or its end, moves for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// It offers other variables or other values.
    pub offers: bool,
    /// Somebody who waits to stop may be free now, or has begun to wait.
    pub release: bool,
}

/// What is different for others between two reports of an instance; nothing stands for one that is not there.
#[must_use]
pub fn moved(before: Option<&InstanceReport>, after: Option<&InstanceReport>) -> Moved {
    let (before, after) = (before.map(Shown::of), after.map(Shown::of));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let offers = before.offers != after.offers;
    Moved { offers, release: offers || (before.needs, before.held_for) != (after.needs, after.held_for) }
}

/// What of a report concerns others; an instance that is not there shows the same as one that has nothing.
#[derive(Default)]
struct Shown<'a> {
    offers: Vec<(&'a Variable, &'a str, bool)>,
    needs: &'a [BTreeSet<Topic>],
    held_for: Vec<&'a Topic>,
}

impl<'a> Shown<'a> {
    fn of(report: &'a InstanceReport) -> Self {
        let inside = report.exports.iter().map(|(variable, value)| (variable, value.as_str(), false));
        let outside = report.outside.iter().map(|(variable, value)| (variable, value.as_str(), true));
        Self {
            offers: inside.chain(outside).collect(),
            needs: &report.needs,
            held_for: report.held_for.iter().collect(),
        }
    }
}

/// The other applications that the instance cannot do without while it runs.
#[must_use]
pub fn reaches(report: &InstanceReport) -> BTreeSet<&ApplicationName> {
    report.needs.iter().flatten().map(|topic| &topic.application).filter(|name| **name != report.application).collect()
}

/// `applications` and all that are connected with them through instances that reach from one into another, however
/// long the way: the smallest set in which all who wait for each other are.
#[must_use]
pub fn connected<'a>(
    applications: impl IntoIterator<Item = &'a ApplicationName>,
    reaching: impl IntoIterator<Item = (&'a ApplicationName, &'a ApplicationName)>,
) -> BTreeSet<ApplicationName> {
    let mut beside: BTreeMap<&ApplicationName, Vec<&ApplicationName>> = BTreeMap::new();
    for (one, other) in reaching {
        beside.entry(one).or_default().push(other);
        beside.entry(other).or_default().push(one);
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<&ApplicationName> = applications.into_iter().collect();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(beside.get(name).into_iter().flatten());
        }
    }
    found
}

/// True when something that lasts for `time` without contact is over after `lost_for` of it.
#[must_use]
pub fn is_over(time: Millis, lost_for: Millis) -> bool {
    lost_for >= time
}

/// The state of an instance as people see it: a machine that is there and silent is PROBLEM.
#[must_use]
pub fn shown(reported: InstanceState, is_host: bool, silent: bool) -> InstanceState {
    use InstanceState::{
        DeployedStarted, DeployedStopped, Deploying, NotDeployed, Problem, Starting, Stopping, Undeploying, Unresolved,
        WaitingForAncestor,
    };
    match reported {
        // Nothing was to be heard of it yet, or any more.
        NotDeployed | Deploying | Undeploying => reported,
        DeployedStopped | WaitingForAncestor | Unresolved | Starting | DeployedStarted | Stopping | Problem => {
            if is_host && silent {
                Problem
            } else {
                reported
            }
        }
    }
}

/// Those of a device's events that are not stored yet, and the highest number there is then. What only a manager can
/// know is left out: a history that devices could forge would be none.
#[must_use]
pub fn news(events_stored: u64, told: &[AgentEvent]) -> (Vec<&AgentEvent>, u64) {
    let mut stored = events_stored;
    let mut news = Vec::new();
    for event in told {
        if event.seq > stored {
            stored = event.seq;
            if is_of_an_agent(&event.body) {
                news.push(event);
            } else {
                tracing::warn!(seq = event.seq, "a device tells what only a manager can know; dropped");
            }
        }
    }
    (news, stored)
}

const fn is_of_an_agent(body: &EventBody) -> bool {
    match body {
        EventBody::State { .. }
        | EventBody::Failed { .. }
        | EventBody::Updated { .. }
        | EventBody::Health { .. }
        | EventBody::Adopted { .. }
        | EventBody::Forgotten
        | EventBody::Assigned { .. }
        | EventBody::Gap { .. }
        | EventBody::Cancelled { .. }
        | EventBody::Retried { .. }
        | EventBody::Drift { .. }
        | EventBody::Unknown => true,
        EventBody::Enrolled
        | EventBody::Online
        | EventBody::Offline { .. }
        | EventBody::Applied { .. }
        | EventBody::LeaseEnded
        | EventBody::Removed
        | EventBody::Moved { .. }
        | EventBody::HostKeys { .. }
        | EventBody::Switched { .. }
        | EventBody::Admitted { .. }
        | EventBody::Revoked { .. }
        | EventBody::Rejected { .. }
        | EventBody::Renamed { .. }
        | EventBody::KeyRotated { .. }
        | EventBody::Labelled { .. }
        | EventBody::Bound { .. }
        | EventBody::Asked { .. }
        | EventBody::Deleted
        | EventBody::Executed { .. }
        | EventBody::JobBegan { .. }
        | EventBody::JobEnded { .. }
        | EventBody::SessionBegan { .. }
        | EventBody::SessionEnded { .. } => false,
    }
}

/// Largest event that is kept, in bytes as JSON: thousands of the usual size fit into one. With
/// [`MAX_EVENTS`](super::MAX_EVENTS) of them a history stays below any disk.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// What is kept of one text, and of all lines of one list, when an event is cut, in bytes. JSON may write six for one,
/// and an event has at most one text and one list that devices or people fill as they like.
const KEPT_BYTES: usize = 4 * 1024;

/// Stands where something was cut.
const CUT: &str = "… (cut: it was too large)";

/// The event with its texts and lists cut so that it is no larger than [`MAX_EVENT_BYTES`].
#[must_use]
pub fn shortened(body: &EventBody) -> EventBody {
    let mut body = body.clone();
    match &mut body {
        EventBody::State { waits_for: lines, .. }
        | EventBody::Updated { changes: lines }
        | EventBody::Drift { changes: lines }
        | EventBody::Executed { command: lines, .. }
        | EventBody::JobBegan { command: lines, .. }
        | EventBody::SessionBegan { command: lines, .. } => shorten_lines(lines),
        EventBody::Failed { failure } => {
            shorten(&mut failure.reason);
            shorten_lines(&mut failure.output);
        }
        EventBody::Health { reason: text, .. }
        | EventBody::Offline { reason: text }
        | EventBody::Cancelled { by: text }
        | EventBody::Retried { by: text } => shorten(text),
        // Of names, numbers, reasons and labels, which have bounds of their own.
        EventBody::Admitted { .. }
        | EventBody::Revoked { .. }
        | EventBody::Rejected { .. }
        | EventBody::Renamed { .. }
        | EventBody::KeyRotated { .. }
        | EventBody::Adopted { .. }
        | EventBody::Forgotten
        | EventBody::Assigned { .. }
        | EventBody::Gap { .. }
        | EventBody::LeaseEnded
        | EventBody::Enrolled
        | EventBody::Removed
        | EventBody::Moved { .. }
        | EventBody::HostKeys { .. }
        | EventBody::Switched { .. }
        | EventBody::Labelled { .. }
        | EventBody::Bound { .. }
        | EventBody::Online
        | EventBody::Applied { .. }
        | EventBody::Asked { .. }
        | EventBody::Deleted
        | EventBody::JobEnded { .. }
        | EventBody::SessionEnded { .. }
        | EventBody::Unknown => {}
    }
    body
}

pub(super) fn shorten(text: &mut String) {
    if text.len() > KEPT_BYTES {
        text.truncate(text.floor_char_boundary(KEPT_BYTES));
        text.push_str(CUT);
    }
}

fn shorten_lines(lines: &mut Vec<String>) {
    let mut taken = 0;
    let fits = |line: &&String| {
        // Each line costs its quotes and its comma, too.
        taken += line.len() + 3;
        taken <= KEPT_BYTES
    };
    let kept = lines.iter().take_while(fits).count();
    if kept < lines.len() {
        lines.truncate(kept);
        lines.push(CUT.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_event_is_cut_to_its_bound_and_says_so() {
        let nasty = || "\u{1}".repeat(100_000);
        let lines = || vec![nasty(); 3].into_iter().chain(vec!["x".to_owned(); 200_000]).collect::<Vec<_>>();
        let failure =
            serde_json::json!({"step": "start", "reason": nasty(), "output": lines(), "at": 0, "attempts": 1});
        let failed = EventBody::Failed { failure: serde_json::from_value(failure).unwrap() };
        let short: Vec<String> = vec!["a".to_owned(); 9_000];
        for body in [
            failed,
            EventBody::Updated { changes: lines() },
            EventBody::Drift { changes: short },
            EventBody::Offline { reason: "ü".repeat(50_000) },
        ] {
            let text = serde_json::to_string(&shortened(&body)).unwrap();
            assert!(text.len() <= MAX_EVENT_BYTES && text.contains("cut"), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_large_report_is_cut_and_a_usual_one_is_not() {
        let text = |bytes: usize| "x".repeat(bytes);
        let report = |bytes: usize| -> InstanceReport {
            serde_json::from_value(serde_json::json!({
                "application": "shop", "path": "/a", "component": "A", "state": "PROBLEM", "since": 0,
                "waits_for": [text(bytes)], "drift": [text(bytes)], "hold": text(bytes), "failure": {
                    "step": "start", "reason": text(bytes), "output": vec![text(100); bytes / 100], "at": 0, "attempts": 1
                },
            }))
            .unwrap()
        };
        assert!(matches!(bounded(&report(4_000)), Cow::Borrowed(_)));
        let cut = serde_json::to_string(&*bounded(&report(1_000_000))).unwrap();
        assert!(cut.len() < 6 * KEPT_BYTES && cut.matches("(cut").count() == 5, "{} bytes", cut.len());
    }

    fn names(list: &[&str]) -> Vec<ApplicationName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn applications_are_connected_both_ways_and_over_others() {
        let check = |from: &[&str], pairs: &[(&str, &str)], expect: &[&str]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| (names(&[a]).remove(0), names(&[b]).remove(0))).collect();
            let found = connected(&names(from), pairs.iter().map(|(a, b)| (a, b)));
            assert_eq!(found.into_iter().collect::<Vec<_>>(), names(expect));
        };
        check(&["a"], &[], &["a"]);
        check(&["b"], &[("a", "b"), ("b", "c"), ("d", "c"), ("e", "f")], &["a", "b", "c", "d"]);
        check(&["a", "b"], &[("a", "b"), ("b", "a")], &["a", "b"]);
    }
}
