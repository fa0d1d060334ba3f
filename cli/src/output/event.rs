//! Events as people read them: when, where, what; one line each.

use jiff::tz::TimeZone;
use robo_model::quantity::UnixMillis;
use robo_wire::event::{Event, EventBody};

use super::paint::Palette;
use super::when;

/// Widths of the columns of devices and instances; a longer name only moves its own line.
const DEVICE_WIDTH: usize = 12;
const INSTANCE_WIDTH: usize = 20;

/// One line, in the time of this machine.
pub(crate) fn line(event: &Event, palette: Palette) -> String {
    line_at(event, when::now(), &TimeZone::system(), palette)
}

fn line_at(event: &Event, now: UnixMillis, zone: &TimeZone, palette: Palette) -> String {
    let time = when::clock(event.at, now, zone);
    let device = event.device.as_ref().map_or("-", |d| d.as_str());
    let subject = match (&event.path, &event.application) {
        (Some(path), _) => path.as_str(),
        (None, Some(application)) => application.as_str(),
        (None, None) => "-",
    };
    // A reason may hold several lines; an event has one.
    let text = event.body.to_string().replace(char::is_control, " ");
    let line = format!(
        "{}  {device:<DEVICE_WIDTH$}  {subject:<INSTANCE_WIDTH$}  {}",
        palette.dim(&time),
        colour(&event.body, &text, palette)
    );
    line.trim_end().to_owned()
}

fn colour(body: &EventBody, text: &str, palette: Palette) -> String {
    match body {
        EventBody::State { to, .. } => palette.state(*to, text),
        EventBody::Failed { .. } | EventBody::Health { healthy: false, .. } | EventBody::Gap { .. } => {
            palette.bad(text)
        }
        EventBody::Drift { changes } if changes.is_empty() => palette.good(text),
        EventBody::Offline { .. }
        | EventBody::LeaseEnded
        | EventBody::Drift { .. }
        | EventBody::HostKeys { .. }
        | EventBody::Cancelled { .. } => palette.busy(text),
        EventBody::Health { healthy: true, .. } | EventBody::Online | EventBody::Adopted { .. } => palette.good(text),
        EventBody::Applied { .. }
        | EventBody::Asked { .. }
        | EventBody::Retried { .. }
        | EventBody::Bound { .. }
        | EventBody::Labelled { .. }
        | EventBody::Switched { .. }
        | EventBody::Admitted { .. }
        | EventBody::Revoked { .. }
        | EventBody::Rejected { .. }
        | EventBody::Renamed { .. }
        | EventBody::Removed
        | EventBody::Moved { .. }
        | EventBody::Deleted => palette.bold(text),
        EventBody::Updated { .. }
        | EventBody::Forgotten
        | EventBody::Assigned { .. }
        | EventBody::Enrolled
        | EventBody::KeyRotated { .. }
        | EventBody::Executed { .. }
        | EventBody::JobBegan { .. }
        | EventBody::JobEnded { .. }
        | EventBody::SessionBegan { .. }
        | EventBody::SessionEnded { .. }
        | EventBody::Unknown => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use robo_model::name::{ApplicationName, DeviceName, InstancePath};
    use robo_model::state::InstanceState;

    use super::*;

    fn event(device: Option<&str>, path: Option<&str>, body: EventBody) -> Event {
        Event {
            id: 1,
            at: UnixMillis(1000),
            device: device.map(|d| DeviceName::new(d).unwrap()),
            application: Some(ApplicationName::new("shop").unwrap()),
            path: path.map(|p| InstancePath::new(p).unwrap()),
            body,
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let state = |to, waits_for: &[&str]| EventBody::State {
            from: InstanceState::Starting,
            to,
            waits_for: waits_for.iter().map(|w| (*w).to_owned()).collect(),
        };
        let events = [
            event(Some("web-1"), Some("/web-1/web"), state(InstanceState::DeployedStarted, &[])),
            event(Some("web-1"), Some("/web-1/web"), state(InstanceState::Unresolved, &["Database.ip"])),
            event(None, None, EventBody::Applied { revision: 3, of: None }),
            event(Some("web-1"), None, EventBody::Offline { reason: "reset\nby peer".into() }),
        ];
        let lines: Vec<_> =
            events.iter().map(|e| line_at(e, UnixMillis(2000), &TimeZone::UTC, Palette::new(false))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        00:00:01  web-1         /web-1/web            STARTING → DEPLOYED_STARTED
        00:00:01  web-1         /web-1/web            STARTING → UNRESOLVED, waits for Database.ip
        00:00:01  -             shop                  revision 3 applied
        00:00:01  web-1         shop                  offline: reset by peer
        ");
    }
}
