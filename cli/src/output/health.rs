//! How a device is: what its doctor finds, and how the parts of its agent are.

use comfy_table::Cell;
use robo_model::quantity::UnixMillis;
use robo_wire::health::{AgentPart, CheckStatus, HealthCheck, HealthReport, HealthView, PartState};

use super::detail::Lines;
use super::table::{self, Look};
use super::when;

/// Below the lines about a device.
pub(crate) fn text(view: &HealthView, look: Look) -> String {
    let mut lines = Lines::new(&look);
    let asked = match (&view.report, view.at) {
        (Some(_), Some(at)) if !view.live => format!(", as it said {} ago", when::ago(at, look.now)),
        (None, _) => ", and it was never asked".to_owned(),
        (Some(_), _) => String::new(),
    };
    let state = match &view.report {
        Some(report) if report.ok => look.palette.good("ok"),
        Some(report) => look.palette.bad(&trouble(report)),
        None => look.palette.bad("unknown"),
    };
    let why = if view.live { String::new() } else { format!(": {}", view.why) };
    lines.add("health", &format!("{state}{asked}{why}"));
    let Some(report) = &view.report else { return lines.text };
    for check in report.checks.iter().filter(|check| check.status == CheckStatus::Failed) {
        failed(&mut lines, check);
    }
    if report.parts.is_empty() {
        return lines.text;
    }
    let header = ["PART", "STATE", "SINCE", "RESTARTS", "DOES"];
    // Its own clock at the time counts, as far as we know that.
    let now = view.at.filter(|_| !view.live).unwrap_or(look.now);
    let rows = report.parts.iter().map(|part| row(part, now, look)).collect();
    let notes: Vec<String> = report.parts.iter().map(|part| part.last_error.clone().unwrap_or_default()).collect();
    format!("{}\n{}", lines.text, table::with_notes(&header, rows, &notes, look))
}

/// `1 check failed, 2 parts in trouble`.
fn trouble(report: &HealthReport) -> String {
    let checks = report.checks.iter().filter(|check| check.status == CheckStatus::Failed).count();
    let parts = report.parts.iter().filter(|part| part.state == PartState::Error).count();
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let told =
        [counted(checks, "check failed", "checks failed"), counted(parts, "part in trouble", "parts in trouble")];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn failed(lines: &mut Lines<'_>, check: &HealthCheck) {
    lines.add("failed", &format!("{}: {}", check.check, check.found));
    lines.add("  code", check.code.as_deref().unwrap_or_default());
    lines.add("  cause", check.cause.as_deref().unwrap_or_default());
    lines.add("  remedy", check.remedy.as_deref().unwrap_or_default());
}

fn row(part: &AgentPart, now: UnixMillis, look: Look) -> Vec<Cell> {
    let state = match (part.off.is_some(), part.state) {
        (true, _) => "off",
        (false, PartState::Running) => "running",
        (false, PartState::Idle) => "idle",
        (false, PartState::Error) => "error",
    };
    let is_well = part.state != PartState::Error;
    vec![
        Cell::new(&part.name),
        if look.palette.is_on() { table::judged(state, is_well) } else { Cell::new(state) },
        Cell::new(when::ago(part.since, now)),
        Cell::new(part.restarts),
        Cell::new(&part.detail),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::NOW;

    fn shown(view: &HealthView) -> String {
        text(view, Look { palette: Palette::new(false), width: None, wide: false, now: NOW })
    }

    #[test]
    fn a_device_says_how_it_is_or_what_it_said_last() {
        let never = HealthView { live: false, why: "it is offline".into(), at: None, report: None };
        assert_eq!(shown(&never), "health        unknown, and it was never asked: it is offline\n");
        let part = AgentPart {
            name: "link".into(),
            state: PartState::Error,
            since: NOW,
            restarts: 3,
            detail: String::new(),
            last_error: Some("the manager hung up".into()),
            last_error_at: Some(NOW),
            off: None,
        };
        let check = HealthCheck {
            check: "room".into(),
            status: CheckStatus::Failed,
            found: "1 MB are free".into(),
            code: Some("AGT_DISK_FULL".into()),
            cause: Some("There is too little room.".into()),
            remedy: Some("Make room.".into()),
        };
        let report = HealthReport { ok: false, checks: vec![check], parts: vec![part] };
        let live = HealthView { live: true, why: String::new(), at: Some(NOW), report: Some(report) };
        let text = shown(&live);
        assert!(text.starts_with("health        1 check failed, 1 part in trouble\n"), "{text}");
        for line in ["failed        room: 1 MB are free", "  code        AGT_DISK_FULL", "  remedy      Make room."] {
            assert!(text.lines().any(|shown| shown == line), "no {line}: {text}");
        }
        let link = text.lines().find(|line| line.starts_with("link")).unwrap();
        assert!(link.contains(" error ") && link.contains(" 3 ") && link.ends_with("the manager hung up"), "{text}");
        let earlier = HealthView { live: false, why: "it is offline".into(), ..live };
        let first = shown(&earlier).lines().next().unwrap().to_owned();
        assert!(first.contains(", as it said ") && first.ends_with(" ago: it is offline"), "{first}");
    }
}
