//! All that is known of one thing, a line each.

use robo_model::quantity::UnixMillis;
use robo_model::resolve::Topic;
use robo_model::state::{Failure, InstanceState};
use robo_wire::api::{DeviceView, Facts, InstanceView, LastUpgrade};

use super::table::{self, Look};
use super::when;
use crate::progress::failure;

/// Width of the column of names.
const NAME_WIDTH: usize = 12;

/// One instance.
pub(crate) fn instance(view: &InstanceView, look: &Look) -> String {
    let zone = jiff::tz::TimeZone::system();
    let mut lines = Lines::new(look);
    lines.add("instance", &format!("{}{}", view.application, view.path));
    lines.add("component", &format!("{}, installer {}", view.component, view.installer));
    lines.add("device", &format!("{}{}", view.device, if view.online { "" } else { ", offline" }));
    let since = view.report.as_ref().map(|r| format!(", since {}", when::full(r.since, &zone))).unwrap_or_default();
    lines.add("state", &format!("{}{since}", look.palette.state(view.state, view.state.as_str())));
    let wanted = match view.wanted {
        Some(wanted) if view.overridden => format!("{}, on request", wanted.state()),
        Some(wanted) => wanted.state().to_string(),
        None => "gone: it is no longer part of the application".into(),
    };
    lines.add("wanted", &wanted);
    let Some(report) = &view.report else { return lines.text };
    if view.state == InstanceState::Problem && !view.is_homeless() {
        lines.add("silent", "its device was not heard of since; what it runs goes on there");
    }
    if view.lapsed {
        lines.add("exports", &look.palette.busy("withdrawn: its device is silent for longer than their lease"));
    }
    lines.add("waits for", &report.waits_for.join(", "));
    let until = if view.is_freed_by_retry() { ", until `robo retry`" } else { "" };
    lines.add("held", &report.hold.as_ref().map(|hold| format!("{hold}{until}")).unwrap_or_default());
    let needed: Vec<String> = report.held_for.iter().map(|topic| topic_name(topic, view)).collect();
    if !needed.is_empty() {
        lines.add("stops after", &format!("those who need {}", needed.join(", ")));
    }
    for need in &report.needs {
        let names: Vec<String> = need.iter().map(|topic| topic_name(topic, view)).collect();
        lines.add("needs", &names.join(" or "));
    }
    for change in &report.drift {
        lines.add("drift", &look.palette.busy(change));
    }
    if !report.healthy && !view.is_homeless() {
        lines.add("check", &look.palette.bad("fails"));
    }
    lines.add(
        "process",
        &report.pid.map(|pid| format!("{pid}, restarted {} times", report.restarts)).unwrap_or_default(),
    );
    for (name, value) in &report.exports {
        lines.add("exports", &format!("{name} = {value}"));
    }
    if let Some(failure) = &report.failure {
        lines.add("failed", &failed(failure, look.now, &zone));
    }
    if let Some(failure) = failure(view, look.palette) {
        lines.text.push('\n');
        lines.text.push_str(&failure);
        lines.text.push('\n');
    }
    lines.text
}

/// `Database`, or `shop's Database` where it is another application's.
fn topic_name(topic: &Topic, view: &InstanceView) -> String {
    if topic.application == view.application {
        topic.prefix.to_string()
    } else {
        format!("{}'s {}", topic.application, topic.prefix)
    }
}

/// `start at 2026-01-31 13:45:02, exit code 7, 3 times in a row, again in 4s`.
fn failed(failure: &Failure, now: UnixMillis, zone: &jiff::tz::TimeZone) -> String {
    let mut text = format!("{} at {}", failure.step, when::full(failure.at, zone));
    if let Some(code) = failure.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if failure.attempts > 1 {
        text.push_str(&format!(", {} times in a row", failure.attempts));
    }
    text.push_str(&match failure.retry_at {
        Some(at) if at > now => format!(", again in {}", when::short(at.since(now))),
        Some(_) => ", again now".to_owned(),
        None => ", not tried again by itself".to_owned(),
    });
    text
}

/// One device.
pub(crate) fn device(view: &DeviceView, look: &Look) -> String {
    let zone = jiff::tz::TimeZone::system();
    let mut lines = Lines::new(look);
    lines.add("device", view.name.as_str());
    lines.add("id", &view.id.to_string());
    let since = view.since.map(|at| format!(" since {}", when::full(at, &zone))).unwrap_or_default();
    lines.add("state", &format!("{}{since}", table::device_state(view, look.palette)));
    lines.add("reason", &view.reason);
    lines.add("last online", &view.last_seen.map_or_else(|| "never".into(), |at| when::full(at, &zone)));
    lines.add("labels", &table::labels(view));
    lines.add("address", &view.facts.address);
    for interface in &view.facts.interfaces {
        lines.add("interface", &format!("{}  {}", interface.name, interface.addresses.join(" ")));
    }
    lines.add("hostname", &view.facts.hostname);
    lines.add("system", &view.facts.os);
    lines.add("kernel", &view.facts.kernel);
    lines.add("processor", &view.facts.arch);
    lines.add("machine", &machine(&view.facts));
    lines.add("has", &view.facts.capabilities.join(", "));
    lines.add("agent", &view.facts.agent_version);
    lines.add("program", &view.facts.program);
    lines.add("upgrade", &view.facts.upgrade.as_ref().map(|last| upgraded(last, look, &zone)).unwrap_or_default());
    lines.add("runs as", &view.facts.exec_user);
    for (name, off) in &view.switches.off {
        let since = when::full(off.at, &zone);
        lines.add("off", &look.palette.busy(&format!("{name}, by {} since {since}", off.by)));
    }
    lines.add("without", &view.facts.without.join(", "));
    lines.add("installers", &view.facts.installers.join(", "));
    let by = if view.enrolled_by.is_empty() { String::new() } else { format!(" by {}", view.enrolled_by) };
    lines.add("registered", &format!("{}{by}", when::full(view.enrolled_at, &zone)));
    lines.add("key", &view.key_fingerprint);
    lines.add(
        "certificate",
        &view.certificate_ends.map(|at| format!("until {}", when::full(at, &zone))).unwrap_or_default(),
    );
    lines.add("assignment", &format!("{} of {} accepted", view.accepted, view.generation));
    lines.add("refused", &view.refused.as_ref().map(|why| look.palette.bad(why)).unwrap_or_default());
    let applications: Vec<_> = view.applications.iter().map(|a| a.as_str()).collect();
    lines.add("applications", &applications.join(", "));
    for instance in &view.instances {
        let state = look.palette.state(instance.state, instance.state.as_str());
        lines.add("runs", &format!("{}{}  {}  {state}", instance.application, instance.path, instance.component));
    }
    lines.text
}

/// `ended well at 2026-01-31 13:45:02`, or with what failed.
fn upgraded(last: &LastUpgrade, look: &Look, zone: &jiff::tz::TimeZone) -> String {
    let at = when::full(last.at, zone);
    if last.code.is_empty() {
        return format!("ended well at {at}");
    }
    format!("{} at {at}: {}", look.palette.bad(&format!("failed {}", last.code)), last.reason)
}

/// `4 cores, 8.0 GiB of memory, 59.6 GiB of disk`; what is not known is left out.
fn machine(facts: &Facts) -> String {
    let cores =
        (facts.cores > 0).then(|| format!("{} {}", facts.cores, if facts.cores == 1 { "core" } else { "cores" }));
    let of = |bytes: u64, what: &str| (bytes > 0).then(|| format!("{} of {what}", indicatif::BinaryBytes(bytes)));
    let all = [cores, of(facts.memory, "memory"), of(facts.disk, "disk")];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) struct Lines<'a> {
    look: &'a Look,
    pub(super) text: String,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(look: &'a Look) -> Self {
        Self { look, text: String::new() }
    }

    /// Adds a line, unless there is nothing to say.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let name = self.look.palette.dim(&format!("{name:<NAME_WIDTH$}"));
            self.text.push_str(&format!("{name}  {value}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::{NOW, homeless, view};

    /// All but the times, which depend on where the test runs.
    fn lines(view: &InstanceView) -> String {
        let look = Look { palette: Palette::new(false), width: None, wide: false, now: NOW };
        instance(view, &look)
            .lines()
            .filter(|line| !line.starts_with("state"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn advice_is_given_where_it_helps() {
        let held = |hold: &str| {
            let mut view = view("/web-1/web", "Web", "web-1", InstanceState::DeployedStopped);
            view.report.as_mut().unwrap().hold = Some(hold.to_owned());
            lines(&view).lines().find(|line| line.starts_with("held")).unwrap().to_owned()
        };
        assert_eq!(held("cancelled by ann"), "held          cancelled by ann, until `robo retry`");
        assert_eq!(held("a value that it needs cannot be made"), "held          a value that it needs cannot be made");
        insta::assert_snapshot!(lines(&homeless()), @r"
        instance      shop/worker
        component     Machine, installer target
        device        worker, offline
        wanted        DEPLOYED_STARTED
        held          device `worker` was removed: apply `shop` anew
        ");
    }
}
