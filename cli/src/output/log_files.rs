//! Files of logs as a table.

use comfy_table::Cell;
use indicatif::BinaryBytes;
use jiff::tz::TimeZone;
use robo_model::name::DeviceName;
use robo_model::quantity::UnixMillis;
use robo_wire::log_files::LogFile;
use serde::Serialize;

use super::harmless::harmless;
use super::table::{Look, plain};
use super::when;

/// A file on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileView {
    pub(crate) device: DeviceName,
    pub(crate) of: String,
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
    /// By the device's clock.
    pub(crate) changed_at: Option<UnixMillis>,
}

impl FileView {
    pub(crate) fn new(device: &DeviceName, file: LogFile) -> Self {
        let LogFile { of, path, size, changed_at } = file;
        Self { device: device.clone(), of, path, size, changed_at }
    }

    /// As `robo cp` takes it.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.device, harmless(&self.path))
    }
}

/// All of them.
pub(crate) fn table(files: &[FileView], look: Look) -> String {
    let zone = TimeZone::system();
    let row = |view: &FileView| {
        let changed = view.changed_at.map(|at| changed(at, look, &zone));
        vec![
            Cell::new(&view.device),
            Cell::new(harmless(&view.of)),
            Cell::new(BinaryBytes(view.size)),
            Cell::new(changed.unwrap_or_default()),
            Cell::new(harmless(&view.path)),
        ]
    };
    plain(&["DEVICE", "LOG OF", "SIZE", "CHANGED", "PATH"], files.iter().map(row).collect(), look.palette)
}

fn changed(at: UnixMillis, look: Look, zone: &TimeZone) -> String {
    if look.wide { when::full(at, zone) } else { format!("{} ago", when::ago(at, look.now)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::NOW;

    #[test]
    fn files_are_shown_with_whose_they_are() {
        let file = |of: &str, path: &str, size, ago: Option<u64>| {
            let changed_at = ago.map(|ago| UnixMillis(NOW.0 - ago));
            FileView::new(
                &"robot-7".parse().unwrap(),
                LogFile { of: of.to_owned(), path: path.to_owned(), size, changed_at },
            )
        };
        let all = [
            file("agent", "/var/lib/robo-agent/log/agent.log", 70_000, Some(5_000)),
            file("backup", "/var/log/robo/robo-logs.jsonl", 10_000_000, Some(7_200_000)),
            file("shop/a", "/s/instances/shop/a/@logs/\u{1b}]0;x", 0, None),
        ];
        let look = Look { palette: Palette::new(false), width: Some(100), wide: false, now: NOW };
        insta::assert_snapshot!(table(&all, look), @r"
        DEVICE   LOG OF  SIZE       CHANGED  PATH
        robot-7  agent   68.36 KiB  5s ago   /var/lib/robo-agent/log/agent.log
        robot-7  backup  9.54 MiB   2h ago   /var/log/robo/robo-logs.jsonl
        robot-7  shop/a  0 B                 /s/instances/shop/a/@logs/�]0;x
        ");
        assert_eq!(all[0].name(), "robot-7:/var/lib/robo-agent/log/agent.log");
        assert!(!all[2].name().contains('\u{1b}'));
    }
}
