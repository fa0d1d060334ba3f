//! The targets of a host component: every properties file directly in its folder.

use std::collections::HashMap;

use super::Recipe;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::project::{Folder, names};
use crate::properties;
use crate::source::{Place, Spanned};
use crate::{syntax::short, target};

const ENDING: &str = ".properties";

pub(super) fn check(recipe: &Recipe<'_>, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let direct: Vec<String> = names(&recipe.files, &recipe.folder)
        .into_iter()
        .filter(|name| name.ends_with(ENDING))
        .map(|name| format!("{}/{name}", recipe.folder))
        .collect();
    let mut ids: HashMap<String, Place> = HashMap::new();
    for path in &direct {
        let Some(found) = read(path, folder, sink) else { continue };
        if let Some(first) = ids.get(&found.value) {
            let message = format!("two targets of `{}` have the id `{}`", recipe.name(), short(&found.value));
            sink.push(
                Diagnostic::new(Code::TargetConflict, found.place, message)
                    .label("used again")
                    .help("choose another id")
                    .related(*first, "first used here"),
            );
        } else {
            ids.insert(found.value, found.place);
        }
    }
    if direct.is_empty() {
        let deeper = recipe.files.iter().any(|path| path.ends_with(ENDING));
        let (message, help) = match deeper {
            true => ("the properties of the targets of `{}` are not directly in its folder", "move them into"),
            false => ("the folder of `{}` says nothing of how its machine is made", "put a `target.properties` into"),
        };
        sink.push(
            Diagnostic::new(Code::TargetNoProperties, recipe.place(), message.replace("{}", recipe.name()))
                .label(format!("there is no `*{ENDING}` in `{}/`", recipe.folder))
                .help(format!("{help} `{}/`", recipe.folder)),
        );
    }
}

/// The id of a target, whatever else is wrong with it.
fn read(path: &str, folder: &mut Folder<'_, '_>, sink: &mut Sink) -> Option<Spanned<String>> {
    let bytes = match folder.bytes(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let place = folder.place(path);
            let message = format!("the target `{path}` cannot be read: {reason}");
            sink.push(Diagnostic::new(Code::TargetUnreadable, place, message));
            return None;
        }
    };
    let (text, _) = properties::decode(bytes);
    let file = folder.add(path, text);
    target::check(folder.text_of(file), file, sink).id
}
