//! Tables of instances, devices and other lists.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use console::measure_text_width;
use robo_model::label::Labels;
use robo_model::name::DeviceName;
use robo_model::quantity::UnixMillis;
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use robo_wire::api::{ApplicationView, DeviceState, DeviceView, InstallView, InstanceView, Standing, Status};

use super::paint::Palette;
use super::{installs, when};

/// Narrowest column of notes, so that it does not jump in and out: with less, they go on lines of their own.
const MIN_NOTE_WIDTH: usize = 24;

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Colours.
    pub(crate) palette: Palette,
    /// Columns of the terminal; nothing when the reader is a program, which wants one line per row.
    pub(crate) width: Option<usize>,
    /// More columns.
    pub(crate) wide: bool,
    /// What "2m ago" is reckoned from.
    pub(crate) now: UnixMillis,
}

impl Look {
    /// As the user's terminal has it, on standard output.
    pub(crate) fn of(ui: &super::Ui) -> Self {
        Self {
            palette: ui.out,
            width: ui.out_is_terminal.then_some(ui.width),
            wide: ui.format == crate::cli::Format::Wide,
            now: when::now(),
        }
    }
}

/// All instances of a status, by application.
pub(crate) fn status(status: &Status, look: Look) -> String {
    let mut text = String::new();
    for application in &status.applications {
        let own: Vec<_> = status.instances.iter().filter(|i| i.application == application.name).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&heading(application, &own, look));
        text.push('\n');
        text.push_str(&instances(&own, look));
    }
    // What is left of applications that were deleted.
    let known = |i: &InstanceView| status.applications.iter().any(|a| a.name == i.application);
    let orphans: Vec<_> = status.instances.iter().filter(|i| !known(i)).collect();
    if !orphans.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&look.palette.bold("Being removed"));
        text.push('\n');
        text.push_str(&instances(&orphans, look));
    }
    text
}

/// `shop, revision 3, version 1.0.0, applied 2m ago: 11 instances, all as wished`.
fn heading(application: &ApplicationView, instances: &[&InstanceView], look: Look) -> String {
    let version = application.version.as_ref().map(|v| format!(", version {v}")).unwrap_or_default();
    let good = instances.iter().filter(|i| i.is_as_wished()).count();
    let total = instances.len();
    let all = if good == total {
        look.palette.good("all as wished")
    } else {
        look.palette.busy(&format!("{good} as wished"))
    };
    let drifted = match instances.iter().filter(|i| i.has_drifted()).count() {
        0 => String::new(),
        1 => look.palette.busy(", 1 has drifted"),
        more => look.palette.busy(&format!(", {more} have drifted")),
    };
    let text = format!(
        "{}, revision {}{version}, applied {} ago: {total} {}, {all}{drifted}",
        look.palette.bold(application.name.as_str()),
        application.revision,
        when::ago(application.applied_at, look.now),
        if total == 1 { "instance" } else { "instances" },
    );
    look.width.map_or_else(|| text.clone(), |width| wrap(&text, width).join("\n"))
}

/// The table of some instances of one application.
pub(crate) fn instances(instances: &[&InstanceView], look: Look) -> String {
    let mut header = vec!["INSTANCE", "COMPONENT", "STATE", "SINCE", "DEVICE"];
    if look.wide {
        header.extend(["INSTALLER", "PID", "RESTARTS", "EXPORTS"]);
    }
    let rows: Vec<Vec<Cell>> = instances.iter().map(|i| instance_row(i, look)).collect();
    let notes: Vec<String> = instances.iter().map(|i| note(i, look.now)).collect();
    with_notes(&header, rows, &notes, look)
}

fn instance_row(view: &InstanceView, look: Look) -> Vec<Cell> {
    let indent = "  ".repeat(view.path.depth().saturating_sub(1));
    let since = view.report.as_ref().map(|r| when::ago(r.since, look.now)).unwrap_or_default();
    let mut cells = vec![
        Cell::new(format!("{indent}/{}", view.path.leaf())),
        Cell::new(&view.component),
        state_cell(view, look),
        Cell::new(since).set_alignment(CellAlignment::Right),
        Cell::new(&view.device),
    ];
    if look.wide {
        let report = view.report.as_ref();
        let exports = report.map(|r| r.exports.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "));
        cells.push(Cell::new(&view.installer));
        cells.push(Cell::new(report.and_then(|r| r.pid).map(|p| p.to_string()).unwrap_or_default()));
        cells.push(Cell::new(report.map(|r| r.restarts.to_string()).unwrap_or_default()));
        cells.push(Cell::new(exports.unwrap_or_default()));
    }
    cells
}

fn state_cell(view: &InstanceView, look: Look) -> Cell {
    let cell = Cell::new(view.state);
    if !look.palette.is_on() {
        return cell;
    }
    if !view.online {
        return cell.add_attribute(Attribute::Dim);
    }
    match view.state {
        InstanceState::DeployedStarted if view.report.as_ref().is_none_or(|r| r.healthy) => cell.fg(Color::DarkGreen),
        InstanceState::Problem | InstanceState::DeployedStarted => cell.fg(Color::DarkRed),
        InstanceState::NotDeployed | InstanceState::DeployedStopped => cell.add_attribute(Attribute::Dim),
        InstanceState::Deploying
        | InstanceState::Starting
        | InstanceState::Stopping
        | InstanceState::Undeploying
        | InstanceState::WaitingForAncestor
        | InstanceState::Unresolved => cell.fg(Color::DarkYellow),
    }
}

/// What a person should know of an instance beside its state.
pub(crate) fn note(view: &InstanceView, now: UnixMillis) -> String {
    let mut parts = Vec::new();
    if view.is_homeless() {
        // Why stands in what holds it.
    } else if view.state == InstanceState::Problem {
        parts.push("its device is silent".to_owned());
    } else if !view.online {
        parts.push("device offline".to_owned());
    }
    if view.wanted.is_none() {
        parts.push("being removed".into());
    }
    if let Some(report) = &view.report {
        if !report.waits_for.is_empty() {
            parts.push(format!("waits for {}", report.waits_for.join(", ")));
        }
        // A step that was cancelled failed because of that: it is said once.
        if let Some(failure) = report.failure.as_ref().filter(|failure| report.hold.as_ref() != Some(&failure.reason)) {
            parts.push(failure_note(failure, now));
        }
        if !report.healthy && !view.is_homeless() {
            parts.push("its check fails".into());
        }
        parts.extend(held(report, view));
        parts.extend(drift(report));
    } else if view.online && view.wanted.is_some_and(|w| w != Wanted::NotDeployed) {
        parts.push("not heard of yet".into());
    }
    if view.lapsed {
        parts.push("exports withdrawn".into());
    }
    if view.overridden {
        parts.push(match view.wanted {
            Some(Wanted::Started) => "started on request".into(),
            Some(Wanted::Stopped) => "stopped on request".into(),
            Some(Wanted::NotDeployed) => "undeployed on request".into(),
            None => "changed on request".into(),
        });
    }
    parts.join("; ")
}

/// What keeps it from going on, and what it waits for before it stops.
fn held(report: &InstanceReport, view: &InstanceView) -> Option<String> {
    if let Some(hold) = &report.hold {
        let target = super::shell_word(&format!("{}{}", view.application, view.path));
        let cancelled = report.failure.as_ref().filter(|failure| failure.reason == *hold);
        let step = cancelled.map(|failure| format!("{} ", failure.step)).unwrap_or_default();
        let advice = if view.is_freed_by_retry() { format!(", `robo retry {target}`") } else { String::new() };
        return Some(format!("{step}{hold}{advice}"));
    }
    let prefixes: BTreeSet<&str> = report.held_for.iter().map(|topic| topic.prefix.as_str()).collect();
    let names = prefixes.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| format!("waits for those who need {names} to stop"))
}

fn drift(report: &InstanceReport) -> Option<String> {
    let first = report.drift.first()?;
    Some(match report.drift.len() {
        1 => format!("changed behind our back: {first}"),
        more => format!("changed behind our back: {first} and {} more", more - 1),
    })
}

/// When a silent device was last heard of, where a host's own state would say since when it was well.
pub(crate) fn since_silent(status: &mut Status, devices: &[DeviceView]) {
    let seen: BTreeMap<&DeviceName, UnixMillis> =
        devices.iter().filter_map(|device| Some((&device.name, device.last_seen?))).collect();
    for view in status.instances.iter_mut().filter(|view| view.state == InstanceState::Problem && !view.is_homeless()) {
        if let (Some(report), Some(at)) = (view.report.as_mut(), seen.get(&view.device)) {
            report.since = *at;
        }
    }
}

fn failure_note(failure: &robo_model::state::Failure, now: UnixMillis) -> String {
    let times = if failure.attempts > 1 { format!(", {} times", failure.attempts) } else { String::new() };
    let again = match failure.retry_at {
        Some(at) if at > now => format!(", again in {}", when::short(at.since(now))),
        Some(_) => ", again now".into(),
        None => String::new(),
    };
    format!("{} failed: {}{times}{again}", failure.step, failure.reason)
}

/// The devices, and the machines that are on their way to become some.
pub(crate) fn devices(devices: &[DeviceView], installs: &[InstallView], look: Look) -> String {
    let mut header = vec!["DEVICE", "STATE", "SEEN", "ADDRESS", "LABELS", "APPLICATIONS"];
    if look.wide {
        header.extend(["OS", "ARCH", "AGENT", "ASSIGNMENT"]);
    }
    let coming = installs.iter().map(|install| installs::among_devices(install, look));
    let rows = devices.iter().map(|device| device_row(device, look)).chain(coming).collect();
    let notes: Vec<String> = devices.iter().map(device_note).chain(installs.iter().map(installs::note)).collect();
    with_notes(&header, rows, &notes, look)
}

fn device_row(device: &DeviceView, look: Look) -> Vec<Cell> {
    let seen = device.last_seen.map_or_else(|| "never".into(), |at| when::ago(at, look.now));
    let applications: Vec<_> = device.applications.iter().map(|a| a.as_str()).collect();
    let mut cells = vec![
        Cell::new(&device.name),
        device_state_cell(device, look.palette),
        Cell::new(seen).set_alignment(CellAlignment::Right),
        Cell::new(&device.facts.address),
        Cell::new(labels(device)),
        Cell::new(applications.join(" ")),
    ];
    if look.wide {
        cells.push(Cell::new(&device.facts.os));
        cells.push(Cell::new(&device.facts.arch));
        cells.push(Cell::new(&device.facts.agent_version));
        cells.push(Cell::new(format!("{}/{}", device.accepted, device.generation)));
    }
    cells
}

/// A device's state in its colour: green is there, yellow waits, grey was there and is not, red is shut out or missed.
pub(crate) fn device_state(device: &DeviceView, palette: Palette) -> String {
    let state = state_of(device);
    let text = state.as_str();
    match state {
        DeviceState::Online => palette.good(text),
        DeviceState::Pending => palette.busy(text),
        DeviceState::New => palette.bold(text),
        DeviceState::Offline | DeviceState::Unknown => palette.dim(text),
        DeviceState::Silent | DeviceState::Rejected | DeviceState::Revoked => palette.bad(text),
    }
}

/// The same in a cell, whose text has no colours of its own: text of devices must not have any.
fn device_state_cell(device: &DeviceView, palette: Palette) -> Cell {
    let state = state_of(device);
    let cell = Cell::new(state.as_str());
    if !palette.is_on() {
        return cell;
    }
    match state {
        DeviceState::Online => cell.fg(Color::DarkGreen),
        DeviceState::Pending => cell.fg(Color::DarkYellow),
        DeviceState::New => cell.add_attribute(Attribute::Bold),
        DeviceState::Offline | DeviceState::Unknown => cell.add_attribute(Attribute::Dim),
        DeviceState::Silent | DeviceState::Rejected | DeviceState::Revoked => cell.fg(Color::DarkRed),
    }
}

/// Where a device stands, also when an older manager does not say it in one word.
fn state_of(device: &DeviceView) -> DeviceState {
    if device.state != DeviceState::Unknown {
        return device.state;
    }
    match (device.standing, device.online, device.last_seen) {
        (Standing::Pending, ..) => DeviceState::Pending,
        (Standing::Revoked, ..) => DeviceState::Revoked,
        (Standing::Accepted, true, _) => DeviceState::Online,
        (Standing::Accepted, false, None) => DeviceState::New,
        (Standing::Accepted, false, Some(_)) if device.silent => DeviceState::Silent,
        (Standing::Accepted, false, Some(_)) => DeviceState::Offline,
    }
}

/// Why a device is not what it should be, and what to do about it.
fn device_note(device: &DeviceView) -> String {
    match (&device.refused, device.standing) {
        (_, Standing::Pending) => format!("waits for you: `robo device accept {}`", device.name),
        (Some(why), _) => format!("refuses assignment {}: {why}", device.generation),
        (None, _) => device.reason.clone(),
    }
}

/// `site=tokyo gpu`.
pub(crate) fn labels(device: &DeviceView) -> String {
    labels_of(&device.labels)
}

/// The same, of anything that has labels.
pub(crate) fn labels_of(labels: &Labels) -> String {
    let label = |(key, value): (&String, &String)| {
        if value.is_empty() { key.clone() } else { format!("{key}={value}") }
    };
    labels.iter().map(label).collect::<Vec<_>>().join(" ")
}

/// A cell in the colour of what is well, or of what is not.
pub(crate) fn judged(text: &str, well: bool) -> Cell {
    Cell::new(text).fg(if well { Color::DarkGreen } else { Color::DarkRed })
}

/// A plain table. Cells bring their colours along; text that has them is shown with its escapes.
pub(crate) fn plain<C: Into<Cell>>(header: &[&str], rows: Vec<Vec<C>>, palette: Palette) -> String {
    let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
    lines(header, rows, palette).join("\n") + "\n"
}

/// A table with a column of notes, which go below their rows when they do not fit beside them.
pub(crate) fn with_notes(header: &[&str], rows: Vec<Vec<Cell>>, notes: &[String], look: Look) -> String {
    let longest = notes.iter().map(|n| measure_text_width(n)).max().unwrap_or_default();
    let drawn = lines(header, rows, look.palette);
    let used = drawn.iter().map(|line| measure_text_width(line)).max().unwrap_or_default();
    if longest == 0 {
        return drawn.join("\n") + "\n";
    }
    let room = look.width.map_or(usize::MAX, |width| width.saturating_sub(used + 2));
    let beside = room >= longest.max(MIN_NOTE_WIDTH);
    let mut text = String::new();
    for (at, line) in drawn.iter().enumerate() {
        let note = if at == 0 { None } else { notes.get(at - 1).filter(|n| !n.is_empty()) };
        text.push_str(line);
        let gap = used.saturating_sub(measure_text_width(line)) + 2;
        match note {
            None if at == 0 && beside => text.push_str(&format!("{}{}", " ".repeat(gap), look.palette.dim("NOTE"))),
            Some(note) if beside => text.push_str(&format!("{}{note}", " ".repeat(gap))),
            Some(note) => text.push_str(&below(note, look)),
            None => {}
        }
        text.push('\n');
    }
    text
}

/// A note on lines of its own, under the row.
fn below(note: &str, look: Look) -> String {
    let width = look.width.unwrap_or(usize::MAX).saturating_sub(6).max(20);
    let mut text = String::new();
    for (at, line) in wrap(note, width).into_iter().enumerate() {
        text.push_str(if at == 0 { "\n    ↳ " } else { "\n      " });
        text.push_str(&look.palette.dim(&line));
    }
    text
}

/// Cuts at spaces so that no line is wider than `width`, unless a single word is.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn lines(header: &[&str], rows: Vec<Vec<Cell>>, palette: Palette) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if palette.is_on() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let dim = |text: &&str| {
        let cell = Cell::new(text);
        if palette.is_on() { cell.add_attribute(Attribute::Dim) } else { cell }
    };
    table.set_header(header.iter().map(dim).collect::<Vec<_>>());
    // One cell is one line: what comes from elsewhere must not break the table.
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(flat).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn flat(cell: Cell) -> Cell {
    let content = cell.content();
    if content.contains(char::is_control) { Cell::new(content.replace(char::is_control, " ")) } else { cell }
}

#[cfg(test)]
pub(crate) mod tests {
    use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath};
    use robo_model::state::{Failure, Step};

    use super::*;

    pub(crate) const NOW: UnixMillis = UnixMillis(1_000_000_000);

    pub(crate) fn view(path: &str, component: &str, device: &str, state: InstanceState) -> InstanceView {
        let application = ApplicationName::new("shop").unwrap();
        let path = InstancePath::new(path).unwrap();
        let component = ComponentName::new(component).unwrap();
        let report = InstanceReport {
            application: application.clone(),
            path: path.clone(),
            component: component.clone(),
            state,
            since: UnixMillis(NOW.0 - 125_000),
            waits_for: vec![],
            failure: None,
            exports: [].into(),
            pid: None,
            restarts: 0,
            healthy: true,
            settled: true,
            outside: Default::default(),
            needs: Vec::new(),
            held_for: Default::default(),
            drift: Vec::new(),
            hold: None,
        };
        InstanceView {
            lapsed: false,
            settled: true,
            application,
            path,
            component,
            installer: "process".into(),
            device: DeviceName::new(device).unwrap(),
            online: true,
            wanted: Some(Wanted::Started),
            overridden: false,
            state,
            report: Some(report),
        }
    }

    pub(crate) fn shop() -> Status {
        let mut web = view("/web-1/web", "Web", "web-1", InstanceState::Unresolved);
        web.report.as_mut().unwrap().waits_for = vec!["Database.ip".into(), "Database.port".into()];
        let mut database = view("/database/db", "Database", "database", InstanceState::DeployedStopped);
        database.overridden = true;
        database.wanted = Some(Wanted::Stopped);
        let mut worker = view("/worker/worker", "Worker", "worker", InstanceState::Starting);
        worker.online = false;
        worker.report.as_mut().unwrap().failure = Some(failure(3));
        Status {
            cursor: 1,
            applications: vec![ApplicationView {
                name: ApplicationName::new("shop").unwrap(),
                revision: 3,
                version: Some("1.0.0".into()),
                applied_at: UnixMillis(NOW.0 - 7_200_000),
            }],
            instances: vec![
                view("/database", "Machine", "database", InstanceState::DeployedStarted),
                database,
                view("/web-1", "Machine", "web-1", InstanceState::DeployedStarted),
                web,
                worker,
            ],
            circles: Vec::new(),
        }
    }

    /// A host whose device was removed, as the manager tells it.
    pub(crate) fn homeless() -> InstanceView {
        let mut host = view("/worker", "Machine", "worker", InstanceState::Problem);
        (host.online, host.installer) = (false, "target".into());
        let report = host.report.as_mut().unwrap();
        (report.healthy, report.hold) = (false, Some("device `worker` was removed: apply `shop` anew".into()));
        host
    }

    pub(crate) fn failure(attempts: u32) -> Failure {
        Failure {
            step: Step::Start,
            reason: "exit code 7".into(),
            exit_code: Some(7),
            output: vec!["cannot bind".into(), "bye".into()],
            at: NOW,
            attempts,
            retry_at: Some(UnixMillis(NOW.0 + 4000)),
        }
    }

    fn look(width: Option<usize>) -> Look {
        Look { palette: Palette::new(false), width, wide: false, now: NOW }
    }

    #[test]
    fn a_status_fits_eighty_columns() {
        let text = status(&shop(), look(Some(80)));
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        shop, revision 3, version 1.0.0, applied 2h ago: 5 instances, 3 as wished
        INSTANCE   COMPONENT  STATE             SINCE  DEVICE
        /database  Machine    DEPLOYED_STARTED     2m  database
          /db      Database   DEPLOYED_STOPPED     2m  database
            ↳ stopped on request
        /web-1     Machine    DEPLOYED_STARTED     2m  web-1
          /web     Web        UNRESOLVED           2m  web-1
            ↳ waits for Database.ip, Database.port
          /worker  Worker     STARTING             2m  worker
            ↳ device offline; start failed: exit code 7, 3 times, again in 4s
        ");
    }

    #[test]
    fn a_program_gets_one_line_per_row() {
        insta::assert_snapshot!(status(&shop(), look(None)), @r"
        shop, revision 3, version 1.0.0, applied 2h ago: 5 instances, 3 as wished
        INSTANCE   COMPONENT  STATE             SINCE  DEVICE    NOTE
        /database  Machine    DEPLOYED_STARTED     2m  database
          /db      Database   DEPLOYED_STOPPED     2m  database  stopped on request
        /web-1     Machine    DEPLOYED_STARTED     2m  web-1
          /web     Web        UNRESOLVED           2m  web-1     waits for Database.ip, Database.port
          /worker  Worker     STARTING             2m  worker    device offline; start failed: exit code 7, 3 times, again in 4s
        ");
    }

    #[test]
    fn what_keeps_an_instance_is_said() {
        let topic = |prefix: &str| robo_model::resolve::Topic {
            application: "shop".parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            outside: false,
        };
        let mut db = view("/database/db", "Database", "database", InstanceState::DeployedStarted);
        db.wanted = Some(Wanted::Stopped);
        db.overridden = true;
        db.report.as_mut().unwrap().held_for = [topic("Database"), topic("storage")].into();
        let mut web = view("/web-1/web", "Web", "web-1", InstanceState::DeployedStopped);
        web.report.as_mut().unwrap().hold = Some("cancelled by ann".into());
        let mut cache = view("/web-1/cache", "Cache", "web-1", InstanceState::DeployedStarted);
        cache.report.as_mut().unwrap().drift = vec!["conf/cache.conf changed".into(), "run.sh removed".into()];
        let mut worker = view("/worker", "Machine", "worker", InstanceState::Problem);
        worker.online = false;
        worker.report.as_mut().unwrap().state = InstanceState::DeployedStarted;
        let mut job = view("/worker/job", "Worker", "worker", InstanceState::DeployedStarted);
        (job.online, job.lapsed) = (false, true);
        let mut status = Status { instances: vec![db, web, cache, worker, job], ..shop() };
        let device: DeviceView = serde_json::from_value(serde_json::json!({
            "id": "d1", "name": "worker", "labels": {}, "facts": {}, "key_fingerprint": "", "online": false,
            "silent": true, "enrolled_at": 0, "last_seen": NOW.0 - 600_000, "generation": 1, "accepted": 1,
        }))
        .unwrap();
        since_silent(&mut status, std::slice::from_ref(&device));
        let text = super::status(&status, look(Some(80)));
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        shop, revision 3, version 1.0.0, applied 2h ago: 5 instances, 1 as wished, 1 has
        drifted
        INSTANCE  COMPONENT  STATE             SINCE  DEVICE
          /db     Database   DEPLOYED_STARTED     2m  database
            ↳ waits for those who need Database, storage to stop; stopped on request
          /web    Web        DEPLOYED_STOPPED     2m  web-1
            ↳ cancelled by ann, `robo retry shop/web-1/web`
          /cache  Cache      DEPLOYED_STARTED     2m  web-1
            ↳ changed behind our back: conf/cache.conf changed and 1 more
        /worker   Machine    PROBLEM             10m  worker
            ↳ its device is silent
          /job    Worker     DEPLOYED_STARTED     2m  worker
            ↳ device offline; exports withdrawn
        ");
        insta::assert_snapshot!(devices(&[device], &[], look(Some(80))), @r"
        DEVICE  STATE   SEEN  ADDRESS  LABELS  APPLICATIONS
        worker  silent   10m
        ");
    }

    #[test]
    fn a_removed_device_is_not_called_silent_and_drift_is_counted() {
        assert_eq!(note(&homeless(), NOW), "device `worker` was removed: apply `shop` anew");
        let heading = |drifted: usize| {
            let mut instances = vec![view("/a", "A", "one", InstanceState::DeployedStarted); 3];
            for view in instances.iter_mut().take(drifted) {
                view.report.as_mut().unwrap().drift = vec!["run.sh changed".into()];
            }
            let text = status(&Status { instances, ..shop() }, look(None));
            text.lines().next().unwrap().split_once("3 instances, ").unwrap().1.to_owned()
        };
        assert_eq!(heading(0), "all as wished");
        assert_eq!(heading(1), "all as wished, 1 has drifted");
        assert_eq!(heading(2), "all as wished, 2 have drifted");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = status(&shop(), Look { palette: Palette::new(true), ..look(Some(80)) });
        assert_ne!(coloured, status(&shop(), look(Some(80))));
        let plain = console::strip_ansi_codes(&coloured);
        let lines: Vec<_> = plain.lines().map(str::trim_end).collect();
        assert_eq!(lines, status(&shop(), look(Some(80))).lines().collect::<Vec<_>>());

        let device: DeviceView = serde_json::from_value(serde_json::json!({
            "id": "d1", "name": "hall", "labels": {}, "facts": {}, "key_fingerprint": "", "online": true,
            "enrolled_at": 0, "last_seen": NOW.0, "generation": 1, "accepted": 1,
        }))
        .unwrap();
        let of = |on| devices(std::slice::from_ref(&device), &[], Look { palette: Palette::new(on), ..look(Some(80)) });
        let coloured = of(true);
        assert!(coloured.contains("\u{1b}[38;5;2monline"), "{coloured:?}");
        let plain = console::strip_ansi_codes(&coloured);
        assert_eq!(plain.lines().map(str::trim_end).collect::<Vec<_>>(), of(false).lines().collect::<Vec<_>>());
    }
}
