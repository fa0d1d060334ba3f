//! Machines that are on their way to become devices.

use comfy_table::Cell;
use robo_wire::api::InstallView;

use super::table::{self, Look};
use super::when;

/// As a table, with why those that failed did.
pub(crate) fn table(installs: &[InstallView], look: Look) -> String {
    let header = ["DEVICE", "HOST", "STATE", "SEEN", "LABELS", "TOKEN"];
    let row = |install: &InstallView| {
        vec![
            Cell::new(&install.name),
            Cell::new(&install.host),
            cell(install, look),
            Cell::new(when::ago(install.at, look.now)),
            Cell::new(table::labels_of(&install.labels)),
            Cell::new(&install.token),
        ]
    };
    let notes: Vec<String> = installs.iter().map(note).collect();
    table::with_notes(&header, installs.iter().map(row).collect(), &notes, look)
}

/// As rows among devices; as many cells as those have.
pub(super) fn among_devices(install: &InstallView, look: Look) -> Vec<Cell> {
    let mut cells = vec![
        Cell::new(&install.name),
        cell(install, look),
        Cell::new(when::ago(install.at, look.now)).set_alignment(comfy_table::CellAlignment::Right),
        Cell::new(""),
        Cell::new(table::labels_of(&install.labels)),
        Cell::new(""),
    ];
    if look.wide {
        cells.extend(std::iter::repeat_n("", 4).map(Cell::new));
    }
    cells
}

/// What to do about one that failed.
pub(super) fn note(install: &InstallView) -> String {
    install.remedy.clone().unwrap_or_default()
}

/// All that is known of one.
pub(crate) fn detail(install: &InstallView, look: Look) -> String {
    let zone = jiff::tz::TimeZone::system();
    let mut lines = super::detail::Lines::new(&look);
    let state = state(install);
    lines.add("device", &install.name);
    lines.add("state", &if install.code.is_some() { look.palette.bad(&state) } else { look.palette.busy(&state) });
    lines.add("host", &install.host);
    lines.add("labels", &table::labels_of(&install.labels));
    lines.add("code", install.code.as_deref().unwrap_or_default());
    lines.add("cause", install.cause.as_deref().unwrap_or_default());
    lines.add("remedy", install.remedy.as_deref().unwrap_or_default());
    lines.add("told", &install.detail);
    lines.add("seen", &when::full(install.at, &zone));
    lines.add("token", &install.token);
    lines.text
}

fn cell(install: &InstallView, look: Look) -> Cell {
    let state = state(install);
    if look.palette.is_on() { table::judged(&state, install.code.is_none()) } else { Cell::new(state) }
}

/// `installing 60 % (unpack)`, or `failed AGT_DOWNLOAD (download)`.
fn state(install: &InstallView) -> String {
    match &install.code {
        Some(code) => format!("failed {code} ({})", install.stage),
        None => format!("installing {} % ({})", install.percent, install.stage),
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::api::InstallStage;

    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::NOW;

    #[test]
    fn a_machine_on_its_way_says_how_far_it_is() {
        let install = InstallView {
            name: "robot-7".into(),
            host: "raspberrypi".into(),
            token: "1a1b2c3d4e5f".into(),
            labels: robo_model::label::Labels::new(),
            stage: InstallStage::Unpack,
            percent: 60,
            code: None,
            cause: None,
            remedy: None,
            detail: String::new(),
            at: NOW,
        };
        let failed = InstallView {
            stage: InstallStage::Download,
            code: Some("AGT_DOWNLOAD".into()),
            remedy: Some("Look at the network.".into()),
            ..install.clone()
        };
        let look = Look { palette: Palette::new(false), width: None, wide: false, now: NOW };
        assert_eq!(state(&install), "installing 60 % (unpack)");
        assert_eq!(state(&failed), "failed AGT_DOWNLOAD (download)");
        let text = table(&[install.clone(), failed], look);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 3 && lines[1].contains("raspberrypi"), "{text}");
        assert!(lines[2].ends_with("Look at the network.") && !lines[1].contains("Look at"), "{text}");
        let shown = detail(&install, look);
        assert!(shown.starts_with("device        robot-7\nstate         installing 60 % (unpack)\n"), "{shown}");
    }
}
