//! All that is known of one thing, a line each.

use robo_wire::api::{DeviceView, InstanceView};

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
    lines.add("waits for", &report.waits_for.join(", "));
    if !report.healthy {
        lines.add("check", &look.palette.bad("fails"));
    }
    lines.add(
        "process",
        &report.pid.map(|pid| format!("{pid}, restarted {} times", report.restarts)).unwrap_or_default(),
    );
    for (name, value) in &report.exports {
        lines.add("exports", &format!("{name} = {value}"));
    }
    if let Some(failure) = failure(view, look.palette) {
        lines.text.push('\n');
        lines.text.push_str(&failure);
        lines.text.push('\n');
    }
    lines.text
}

/// One device.
pub(crate) fn device(view: &DeviceView, look: &Look) -> String {
    let zone = jiff::tz::TimeZone::system();
    let mut lines = Lines::new(look);
    lines.add("device", view.name.as_str());
    lines.add("id", &view.id.to_string());
    let online = if view.online { look.palette.good("online") } else { look.palette.bad("offline") };
    let seen = view.last_seen.map_or_else(|| ", never seen".into(), |at| format!(", seen {}", when::full(at, &zone)));
    lines.add("state", &format!("{online}{seen}"));
    lines.add("labels", &table::labels(view));
    lines.add("address", &view.facts.address);
    lines.add("hostname", &view.facts.hostname);
    lines.add("system", &view.facts.os);
    lines.add("kernel", &view.facts.kernel);
    lines.add("processor", &view.facts.arch);
    lines.add("agent", &view.facts.agent_version);
    lines.add("installers", &view.facts.installers.join(", "));
    lines.add("enrolled", &when::full(view.enrolled_at, &zone));
    lines.add("key", &view.key_fingerprint);
    lines.add("assignment", &format!("{} of {} accepted", view.accepted, view.generation));
    lines.add("refused", &view.refused.as_ref().map(|why| look.palette.bad(why)).unwrap_or_default());
    let applications: Vec<_> = view.applications.iter().map(|a| a.as_str()).collect();
    lines.add("applications", &applications.join(", "));
    lines.text
}

struct Lines<'a> {
    look: &'a Look,
    text: String,
}

impl<'a> Lines<'a> {
    const fn new(look: &'a Look) -> Self {
        Self { look, text: String::new() }
    }

    /// Adds a line, unless there is nothing to say.
    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let name = self.look.palette.dim(&format!("{name:<NAME_WIDTH$}"));
            self.text.push_str(&format!("{name}  {value}\n"));
        }
    }
}
