//! Files of devices that the manager keeps, and links to them, as tables.

use comfy_table::Cell;
use indicatif::BinaryBytes;
use jiff::tz::TimeZone;
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::upload::{Purged, ShareView, UploadState, UploadView};

use super::harmless::harmless;
use super::table::{Look, judged, plain};
use super::when;

/// The table of files.
pub(crate) fn table(files: &[UploadView], look: Look) -> String {
    table_in(files, look, &TimeZone::system())
}

fn table_in(files: &[UploadView], look: Look, zone: &TimeZone) -> String {
    let mut header = vec!["FILE", "DEVICE", "SIZE", "STATE", "ASKED"];
    if look.wide {
        header.extend(["BY", "PATH", "META"]);
    }
    let row = |view: &UploadView| {
        let mut row = vec![
            Cell::new(&view.name),
            Cell::new(&view.device),
            Cell::new(size(view)),
            state(view),
            Cell::new(time(view.created_at, look, zone)),
        ];
        if look.wide {
            row.extend([Cell::new(&view.by), Cell::new(harmless(&view.path)), Cell::new(meta(view))]);
        }
        row
    };
    plain(&header, files.iter().map(row).collect(), look.palette)
}

/// All that is known of one file.
pub(crate) fn detail(view: &UploadView) -> String {
    detail_in(view, &TimeZone::system())
}

fn detail_in(view: &UploadView, zone: &TimeZone) -> String {
    let bytes = |bytes: u64| format!("{} ({bytes} bytes)", BinaryBytes(bytes));
    let mut lines = vec![
        ("file", view.name.to_string()),
        ("device", view.device.to_string()),
        ("path", harmless(&view.path).into_owned()),
        ("state", view.state.to_string()),
        ("total", view.total.map_or_else(|| "not known yet".to_owned(), bytes)),
        ("here", bytes(view.sent)),
    ];
    lines.extend(view.sha256.as_ref().map(|sha256| ("sha256", harmless(sha256).into_owned())));
    lines.extend(view.error.as_ref().map(|error| ("error", harmless(error).into_owned())));
    lines.extend(view.purge.as_ref().map(|purge| ("there", purged(purge))));
    lines.extend(view.limit.map(|limit| ("limit", format!("{}/s", BinaryBytes(limit)))));
    lines.extend(Some(("meta", meta(view))).filter(|(_, meta)| !meta.is_empty()));
    lines.push(("by", view.by.clone()));
    lines.push(("asked", when::full(view.created_at, zone)));
    lines.extend(view.ended_at.map(|at| ("ended", when::full(at, zone))));
    lines.into_iter().map(|(key, value)| format!("{key:<8}{value}\n")).collect()
}

/// What became of the device's own file.
fn purged(purge: &Purged) -> String {
    match purge {
        Purged::Wanted => "is to be removed".to_owned(),
        Purged::Done => "was removed".to_owned(),
        Purged::Kept { reason } => format!("stays: {}", harmless(reason)),
    }
}

/// The table of links.
pub(crate) fn shares(links: &[ShareView], look: Look) -> String {
    shares_in(links, look, &TimeZone::system())
}

fn shares_in(links: &[ShareView], look: Look, zone: &TimeZone) -> String {
    let row = |link: &ShareView| {
        let left = Millis(link.expires_at.0.saturating_sub(look.now.0));
        let ends = if look.wide { when::full(link.expires_at, zone) } else { format!("in {}", when::short(left)) };
        vec![
            Cell::new(harmless(&link.id)),
            Cell::new(&link.file),
            Cell::new(&link.by),
            Cell::new(time(link.created_at, look, zone)),
            Cell::new(ends),
        ]
    };
    plain(&["LINK", "FILE", "BY", "MADE", "ENDS"], links.iter().map(row).collect(), look.palette)
}

fn time(at: UnixMillis, look: Look, zone: &TimeZone) -> String {
    if look.wide { when::full(at, zone) } else { format!("{} ago", when::ago(at, look.now)) }
}

fn size(view: &UploadView) -> String {
    match (view.state, view.total) {
        (UploadState::Pending | UploadState::InProgress, Some(total)) if total > 0 => {
            let percent = u128::from(view.sent) * 100 / u128::from(total);
            format!("{percent} % of {}", BinaryBytes(total))
        }
        (UploadState::Failed | UploadState::Cancelled, _) => String::new(),
        (_, Some(total)) => BinaryBytes(total).to_string(),
        (_, None) => String::new(),
    }
}

fn state(view: &UploadView) -> Cell {
    match view.state {
        UploadState::Failed => judged(view.state.name(), false),
        UploadState::Completed => judged(view.state.name(), true),
        UploadState::Pending | UploadState::InProgress | UploadState::Cancelled => Cell::new(view.state.name()),
    }
}

fn meta(view: &UploadView) -> String {
    let pairs: Vec<String> = view.meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
    harmless(&pairs.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::paint::Palette;
    use super::*;

    fn view(name: &str, state: UploadState) -> UploadView {
        UploadView {
            name: name.parse().unwrap(),
            device: "robot-7".parse().unwrap(),
            path: "/var/log/\x1b[31mapp".into(),
            state,
            total: Some(3 << 20),
            sent: 1 << 20,
            sha256: None,
            error: None,
            meta: [("run".to_owned(), "42".to_owned())].into(),
            by: "ann".into(),
            created_at: UnixMillis(1_000),
            ended_at: None,
            purge: None,
            limit: None,
        }
    }

    #[test]
    fn a_file_is_told_in_a_line() {
        let files = [
            view("a.log", UploadState::Completed),
            view("b.log", UploadState::InProgress),
            UploadView { total: None, sent: 0, ..view("c.log", UploadState::Pending) },
            view("d.log", UploadState::Failed),
            view("e.log", UploadState::Cancelled),
        ];
        let look = Look { palette: Palette::new(false), now: UnixMillis(121_000), width: None, wide: false };
        insta::assert_snapshot!(table_in(&files, look, &TimeZone::UTC), @"
        FILE   DEVICE   SIZE              STATE        ASKED
        a.log  robot-7  3.00 MiB          completed    2m ago
        b.log  robot-7  33 % of 3.00 MiB  in_progress  2m ago
        c.log  robot-7                    pending      2m ago
        d.log  robot-7                    failed       2m ago
        e.log  robot-7                    cancelled    2m ago
        ");
    }

    #[test]
    fn what_a_device_says_steers_no_terminal() {
        let bad = UploadView {
            error: Some("\x1b]0;x\x07gone".into()),
            purge: Some(Purged::Kept { reason: "\x1b[2J".into() }),
            meta: [("k".to_owned(), "\x1b[1m".to_owned())].into(),
            ..view("a.log", UploadState::Failed)
        };
        let look = Look { palette: Palette::new(false), now: UnixMillis(121_000), width: None, wide: true };
        let told = detail_in(&bad, &TimeZone::UTC) + &table_in(&[bad], look, &TimeZone::UTC);
        // Colours may be; they end with their text.
        let steers = ["\x1b]", "\x1b[2J", "\x07"].iter().any(|sign| told.contains(sign));
        assert!(!steers && told.contains("gone"), "{told:?}");
    }
}
