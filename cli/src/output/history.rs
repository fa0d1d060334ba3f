//! Revisions of an application, and how two of them differ.

use comfy_table::Cell;
use console::measure_text_width;
use jiff::tz::TimeZone;
use robo_model::name::ApplicationName;
use robo_model::spec::FileRef;
use robo_wire::api::{FileDiff, RevisionDiff, RevisionView};
use robo_wire::plan::Summary;

use super::paint::Palette;
use super::table::{Look, judged, plain};
use super::{Ui, diff as lines, plan, when};

/// Least columns of a note, however narrow the terminal is.
const LEAST_NOTE: usize = 16;

/// One side of a file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileText {
    /// The file is not there.
    Absent,
    /// Its lines.
    Text(String),
    /// It is no text.
    Binary,
    /// It is too large to be compared line by line.
    Large,
}

impl FileText {
    /// What `bytes` are.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Self::Text(text.to_owned()),
            Ok(_) | Err(_) => Self::Binary,
        }
    }

    const fn text(&self) -> Option<&str> {
        match self {
            Self::Absent => Some(""),
            Self::Text(text) => Some(text.as_str()),
            Self::Binary | Self::Large => None,
        }
    }
}

/// The table of revisions; the first is the one that is applied.
pub(crate) fn revisions(revisions: &[RevisionView], look: Look) -> String {
    revisions_in(revisions, look, &TimeZone::system())
}

fn revisions_in(revisions: &[RevisionView], look: Look, zone: &TimeZone) -> String {
    let versions = revisions.iter().any(|revision| revision.version.is_some());
    let mut header = vec!["REV", "APPLIED", "BY", "CHANGES"];
    if versions {
        header.push("VERSION");
    }
    if look.wide {
        header.push("INSTANCES");
    }
    let row = |(at, revision): (usize, &RevisionView)| {
        let applied = if look.wide {
            when::full(revision.applied_at, zone)
        } else {
            format!("{} ago", when::ago(revision.applied_at, look.now))
        };
        let by = if revision.by.is_empty() { "-".to_owned() } else { revision.by.clone() };
        let number = revision.number.to_string();
        let number = if at == 0 { judged(&number, true) } else { Cell::new(number) };
        let mut row = vec![number, Cell::new(applied), Cell::new(by), Cell::new(changes(revision.summary))];
        if versions {
            row.push(Cell::new(revision.version.as_deref().unwrap_or_default()));
        }
        if look.wide {
            row.push(Cell::new(revision.instances));
        }
        row
    };
    let mut rows: Vec<Vec<Cell>> = revisions.iter().enumerate().map(row).collect();
    let used = plain(&header, rows.clone(), look.palette).lines().map(measure_text_width).max().unwrap_or_default();
    let room = look.width.map_or(usize::MAX, |width| width.saturating_sub(used + 2).max(LEAST_NOTE));
    header.push("NOTE");
    for (row, revision) in rows.iter_mut().zip(revisions) {
        row.push(Cell::new(note(revision, room)));
    }
    plain(&header, rows, look.palette)
}

/// `+3 ~1 -2 ↻4`; what is zero is left out.
fn changes(summary: Summary) -> String {
    let Summary { create, change, delete, ripple } = summary;
    let parts = [('+', create), ('~', change), ('-', delete), ('↻', ripple)];
    let told: Vec<_> =
        parts.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| format!("{sign}{count}")).collect();
    if told.is_empty() { "-".to_owned() } else { told.join(" ") }
}

/// The note on one line, in `room` columns.
fn note(revision: &RevisionView, room: usize) -> String {
    let text = match (&revision.note, revision.rollback_of) {
        (Some(note), Some(of)) if !note.contains(&of.to_string()) => format!("{note} (rollback to {of})"),
        (Some(note), _) => note.clone(),
        (None, Some(of)) => format!("rollback to {of}"),
        (None, None) => String::new(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    console::truncate_str(&line, room, "…").into_owned()
}

/// Everything that differs: instances as a plan shows them, then the files as `diff -u` does.
pub(crate) fn diff(application: &ApplicationName, diff: &RevisionDiff, texts: &[[FileText; 2]], ui: &Ui) -> String {
    let palette = ui.out;
    if diff.changes.is_empty() && diff.files.is_empty() {
        return format!("Revisions {} and {} of {application} are the same.\n", diff.from, diff.to);
    }
    let title = format!("{application}, revision {} → {}", diff.from, diff.to);
    let mut out = format!("{}\n", palette.bold(&title));
    if diff.changes.is_empty() {
        out.push_str("\nNo instance differs.\n");
    } else {
        out.push('\n');
        out.push_str(&plan::changes(&diff.changes, palette));
    }
    for (file, [old, new]) in diff.files.iter().zip(texts) {
        out.push('\n');
        out.push_str(&file_diff(file, (old, new), palette, ui.out_is_terminal));
    }
    out
}

fn file_diff(file: &FileDiff, (old, new): (&FileText, &FileText), palette: Palette, terminal: bool) -> String {
    let named =
        |what: &str| format!("{}\n", palette.bold(&format!("{}: {what}", file.path.replace(char::is_control, "?"))));
    let runs = |side: &Option<FileRef>| side.as_ref().is_some_and(|file| file.executable);
    let mode = match (runs(&file.before), runs(&file.after)) {
        (false, true) if file.before.is_some() => named("becomes executable"),
        (true, false) if file.after.is_some() => named("is no longer executable"),
        _ => String::new(),
    };
    if file.before.as_ref().map(|f| &f.hash) == file.after.as_ref().map(|f| &f.hash) {
        return mode;
    }
    if let (Some(old), Some(new)) = (old.text(), new.text()) {
        let text = lines::unified(&file.path, old, new, palette, terminal);
        // An empty file that comes or goes has no lines to show.
        return mode + &if text.is_empty() { named(word(file)) } else { text };
    }
    let kind = if [old, new].contains(&&FileText::Large) { "too large to compare" } else { "binary" };
    let size =
        |side: &Option<FileRef>| side.as_ref().map_or_else(|| "none".to_owned(), |f| format!("{} bytes", f.size));
    mode + &named(&format!("{}, {kind} ({} → {})", word(file), size(&file.before), size(&file.after)))
}

const fn word(file: &FileDiff) -> &'static str {
    match (&file.before, &file.after) {
        (None, _) => "added",
        (Some(_), None) => "removed",
        (Some(_), Some(_)) => "differs",
    }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::UnixMillis;
    use robo_model::spec::FileHash;
    use robo_wire::plan::Action;

    use super::*;
    use crate::output::plan::tests::change;
    use crate::output::table::tests::NOW;

    fn view(number: u64, note: Option<&str>, rollback_of: Option<u64>, summary: Summary) -> RevisionView {
        RevisionView {
            number,
            applied_at: UnixMillis(NOW.0 - 3_600_000 * (10 - number)),
            by: if number == 1 { String::new() } else { "ann".to_owned() },
            note: note.map(str::to_owned),
            rollback_of,
            version: Some("1.0.0".to_owned()),
            instances: 10,
            summary,
        }
    }

    #[test]
    fn revisions_are_a_table() {
        let all = [
            view(4, Some("rollback to 2"), Some(2), Summary { change: 2, ripple: 1, ..Summary::default() }),
            view(3, Some("because"), Some(1), Summary::default()),
            view(
                2,
                Some("another\ngreeting, as was asked for by those who read it"),
                None,
                Summary { change: 12, ..Summary::default() },
            ),
            view(1, None, None, Summary { create: 10, ..Summary::default() }),
        ];
        let look = |wide, width| Look { palette: Palette::new(false), width, wide, now: NOW };
        insta::assert_snapshot!(revisions_in(&all, look(false, Some(80)), &TimeZone::UTC), @r"
        REV  APPLIED  BY   CHANGES  VERSION  NOTE
        4    6h ago   ann  ~2 ↻1    1.0.0    rollback to 2
        3    7h ago   ann  -        1.0.0    because (rollback to 1)
        2    8h ago   ann  ~12      1.0.0    another greeting, as was asked for by thos…
        1    9h ago   -    +10      1.0.0
        ");
        insta::assert_snapshot!(revisions_in(&all, look(true, Some(120)), &TimeZone::UTC), @r"
        REV  APPLIED              BY   CHANGES  VERSION  INSTANCES  NOTE
        4    1970-01-12 07:46:40  ann  ~2 ↻1    1.0.0    10         rollback to 2
        3    1970-01-12 06:46:40  ann  -        1.0.0    10         because (rollback to 1)
        2    1970-01-12 05:46:40  ann  ~12      1.0.0    10         another greeting, as was asked for by those who read it
        1    1970-01-12 04:46:40  -    +10      1.0.0    10
        ");
    }

    fn file(path: &str, before: Option<(u64, bool)>, after: Option<(u64, bool)>) -> FileDiff {
        let side = |side: Option<(u64, bool)>| {
            side.map(|(size, executable)| FileRef {
                hash: FileHash::new(format!("{size:064}")).unwrap(),
                size,
                executable,
            })
        };
        FileDiff { path: path.to_owned(), before: side(before), after: side(after) }
    }

    #[test]
    fn files_are_shown_as_far_as_they_are_text() {
        let files = vec![
            file("app.graph", Some((1, false)), Some((2, false))),
            file("Db/data.bin", Some((10, false)), Some((20, false))),
            file("Db/scripts/start.sh", Some((3, false)), Some((3, true))),
            file("Db/empty", None, Some((0, false))),
            file("Db/huge", Some((1 << 30, false)), None),
        ];
        let text = |text: &str| FileText::of(text.as_bytes());
        let texts = vec![
            [text("a: 1;\n"), text("a: 2;\n")],
            [text("x\0"), text("y")],
            [text("x"), text("x")],
            [FileText::Absent, text("")],
            [FileText::Large, FileText::Absent],
        ];
        let changes = vec![change("/db", "Db", Action::Change(robo_model::effect::Effect::Restart), &["port 1 → 2"])];
        let told = RevisionDiff { from: 1, to: 2, changes, files };
        let ui = Ui { width: 80, ..crate::output::tests::ui() };
        let shop = "shop".parse().unwrap();
        insta::assert_snapshot!(diff(&shop, &told, &texts, &ui), @r"
        shop, revision 1 → 2

          ~ /db  Db  on web-1, restarts
              port 1 → 2

        --- app.graph
        +++ app.graph
        @@ -1 +1 @@
        -a: 1;
        +a: 2;

        Db/data.bin: differs, binary (10 bytes → 20 bytes)

        Db/scripts/start.sh: becomes executable

        Db/empty: added

        Db/huge: removed, too large to compare (1073741824 bytes → none)
        ");
        let same = RevisionDiff { changes: vec![], files: vec![], ..told };
        insta::assert_snapshot!(diff(&shop, &same, &[], &ui), @"Revisions 1 and 2 of shop are the same.");
    }
}
