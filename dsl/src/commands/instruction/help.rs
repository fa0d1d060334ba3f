//! What to write instead of a line that is no instruction.

use std::collections::BTreeSet;

use super::*;
use crate::suggest::closest;

/// Most names that one help lists.
const MOST_NAMES: usize = 5;

const NOT_GLUED: &str =
    "a `\\` goes on in the next line only when it is the last character before LF: no blank and no CR may follow it";

/// The words that instructions begin with, and how those are written.
const WORDS: [(&str, &str); 14] = [
    ("associate", Kind::Associate.usage()),
    ("change", Kind::ChangeStatus.usage()),
    ("deploy", Kind::Bulk.usage()),
    ("start", Kind::Bulk.usage()),
    ("stop", "stop all /PATH"),
    ("undeploy", "undeploy all /PATH"),
    ("delete", "delete /PATH"),
    ("email", Kind::Email.usage()),
    ("define", Kind::Define.usage()),
    ("create", Kind::Create.usage()),
    ("replicate", Kind::Replicate.usage()),
    ("rename", Kind::Rename.usage()),
    ("write", Kind::Write.usage()),
    ("append", Kind::Append.usage()),
];

/// For a line that begins like no instruction.
pub(super) fn of_unrecognized(text: &str, before: &str) -> String {
    if text.starts_with('\u{FEFF}') {
        return crate::syntax::BOM_HELP.to_owned();
    }
    if breaks_off(before) {
        return NOT_GLUED.to_owned();
    }
    let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
    let words = WORDS.iter().map(|(word, _)| *word).chain(["execute"]);
    let exact = words.clone().find(|word| *word == first);
    let near = exact.or_else(|| closest(&first, words));
    let usage = near.map(|near| WORDS.iter().find(|(word, _)| *word == near).map_or(Kind::Execute.usage(), |(_, u)| u));
    usage.map_or_else(
        || {
            let words = WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("`, `");
            format!("an instruction begins with `{words}` or `execute`")
        },
        |usage| format!("did you mean `{usage}`?"),
    )
}

/// For an instruction that is not well formed.
pub(super) fn of_malformed(kind: Kind, text: &str, before: &str) -> String {
    if text.contains(super::super::line::ends_line) {
        return "a character that ends a line, such as CR, stands inside of it: save the file with LF line ends"
            .to_owned();
    }
    if text.ends_with('\\') || breaks_off(before) {
        return NOT_GLUED.to_owned();
    }
    let needs_path = matches!(kind, Kind::Associate | Kind::ChangeStatus | Kind::Replicate | Kind::Rename);
    let hint = if needs_path && !text.contains('/') {
        "; a path begins with `/`"
    } else if kind == Kind::Define && !text.contains('=') {
        "; the value stands after `=`"
    } else {
        ""
    };
    format!("write `{}`{hint}", kind.usage())
}

/// Which components may hold a new instance.
pub(super) fn of_parents(parents: &BTreeSet<ComponentName>) -> String {
    let names: Vec<&str> = parents.iter().take(MOST_NAMES).map(ComponentName::as_str).collect();
    let more = if parents.len() > MOST_NAMES { " or others" } else { "" };
    format!("it stands below an instance of `{}`{more}", names.join("`, `"))
}

/// Which instances there are.
pub(super) fn of_paths(world: &World<'_>) -> String {
    let paths: Vec<&str> = world.paths().take(MOST_NAMES).map(InstancePath::as_str).collect();
    match (world.paths().len(), paths.join("`, `")) {
        (0, _) => "no instance is there at this line; a path begins with `/`".to_owned(),
        (count, names) if count <= MOST_NAMES => format!("at this line there are `{names}`"),
        (_, names) => format!("at this line there are `{names}` and others"),
    }
}

/// Whether the line before ends with a `\` that does not glue.
fn breaks_off(before: &str) -> bool {
    before.trim_end_matches(super::super::line::is_blank).ends_with('\\')
}
