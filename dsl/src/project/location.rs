//! Files of the model that are in the wrong folder, or that nothing imports.

use super::folder::Folder;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};

/// Endings of the model's files, and the folders they belong into.
const KINDS: [(&str, &str, &str); 2] =
    [(".graph", "graph", "graph-entry-point"), (".instances", "instances", "instance-entry-point")];

/// Warns of each.
pub(super) fn check(folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let Some(all) = folder.below("") else { return };
    for (ending, right, key) in KINDS {
        for path in all.iter().filter(|path| path.ends_with(ending)) {
            let inside = path.strip_prefix(right).is_some_and(|rest| rest.starts_with('/'));
            if inside && folder.is_read(path) {
                continue;
            }
            let place = folder.place(path);
            sink.push(if inside {
                Diagnostic::new(Code::UnreachableModelFile, place, format!("nothing imports `{path}`"))
                    .label("not a part of the application")
                    .help(format!("import it, name it as `{key}`, or remove it"))
            } else {
                Diagnostic::new(Code::InvalidFileLocation, place, format!("`{path}` is not in `{right}/`"))
                    .label("nobody looks for it here")
                    .help(format!("move it into `{right}/`"))
            });
        }
    }
}
