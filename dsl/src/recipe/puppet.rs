//! Recipes for Puppet: one module `roboconf_…`, whose classes take what the agent gives them.

mod manifest;

use std::collections::BTreeSet;

use super::Recipe;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::project::{Folder, names};
use crate::source::{Place, Span, narrow};
use manifest::{Class, Manifest};

/// How the module's name begins, in any case.
const MODULE: &str = "roboconf_";

/// Most manifests of one module that are read; each operation has one.
const MAX_MANIFESTS: usize = 1000;

pub(super) fn check(recipe: &Recipe<'_>, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    wildcard(recipe, sink);
    let found = names(&recipe.files, &recipe.folder);
    let modules: Vec<&str> = found
        .into_iter()
        .filter_map(|name| name.strip_suffix('/'))
        .filter(|name| name.get(..MODULE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MODULE)))
        .collect();
    match modules.as_slice() {
        [] => sink.push(
            Diagnostic::new(
                Code::PuppetNoModule,
                recipe.place(),
                format!("the recipe of `{}` has no Puppet module of its own", recipe.name()),
            )
            .label(format!("there is no `{}/{MODULE}…/`", recipe.folder))
            .help(format!("write a module `{MODULE}{}` with `manifests/init.pp`", recipe.name().to_lowercase())),
        ),
        [module] => manifests(recipe, &format!("{}/{module}/manifests", recipe.folder), folder, sink),
        [first, second, ..] => sink.push(
            Diagnostic::new(
                Code::PuppetManyModules,
                recipe.place(),
                format!("the recipe of `{}` has {} modules `{MODULE}…`", recipe.name(), modules.len()),
            )
            .label(format!("`{first}`, `{second}`: which one is it?"))
            .help(format!("keep one; modules that it needs have names that do not begin with `{MODULE}`")),
        ),
    }
}

fn wildcard(recipe: &Recipe<'_>, sink: &mut Sink) {
    let imports = &recipe.graph.component(recipe.id).imports;
    let Some(import) = imports.iter().find(|import| import.import.variable.is_none()) else { return };
    sink.push(
        Diagnostic::new(
            Code::PuppetWildcard,
            import.place,
            format!("`{}` is for Puppet and imports `{}`", recipe.name(), import.import),
        )
        .label("Puppet wants each variable by its name")
        .help(format!("write the variables that it uses, as in `{}.ip`", import.import.prefix)),
    );
}

fn manifests(recipe: &Recipe<'_>, manifests: &str, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let all: Vec<String> = names(&recipe.files, manifests)
        .into_iter()
        .filter(|name| name.to_ascii_lowercase().ends_with(".pp"))
        .take(MAX_MANIFESTS)
        .map(|name| format!("{manifests}/{name}"))
        .collect();
    let update = format!("{manifests}/update.pp");
    let updating = if all.contains(&update) { update } else { format!("{manifests}/init.pp") };
    for path in &all {
        let Some(file) = folder.text(path, Code::IoError, sink) else { continue };
        let read = Manifest::read(folder.text_of(file));
        let place =
            |span: std::ops::Range<usize>| Place { file, span: Span::new(narrow(span.start), narrow(span.end)) };
        if let Some((at, message, help)) = &read.problem {
            let found = Diagnostic::new(Code::PuppetSyntax, place(at.clone()), *message);
            sink.push(found.label("here").help(*help));
        }
        if let Some(class) = &read.class {
            parameters(recipe, class, *path == updating, place(class.name.clone()), sink);
        }
    }
}

/// The class must take what the agent gives it.
fn parameters(recipe: &Recipe<'_>, class: &Class<'_>, updating: bool, place: Place, sink: &mut Sink) {
    let has = |name: &str| class.parameters.contains(name);
    if updating && !has("$importDiff") {
        sink.push(
            Diagnostic::new(Code::PuppetNoImportDiff, place, "the class that is run at updates has no `$importDiff`")
                .label("a parameter is missing")
                .help("add `$importDiff = undef` to its parameters"),
        );
    }
    if !has("$runningState") {
        sink.push(
            Diagnostic::new(Code::PuppetNoRunningState, place, "the class has no `$runningState`")
                .label("a parameter is missing")
                .help("add `$runningState = undef` to its parameters"),
        );
    }
    let imports = &recipe.graph.component(recipe.id).imports;
    let prefixes: BTreeSet<String> =
        imports.iter().map(|import| import.import.prefix.as_str().to_ascii_lowercase()).collect();
    for prefix in prefixes {
        if !has(&format!("${prefix}")) {
            let message = format!("the class has no `${prefix}`, which `{}` imports", recipe.name());
            sink.push(
                Diagnostic::new(Code::PuppetNoImportParameter, place, message)
                    .label("a parameter is missing")
                    .help(format!("add `${prefix} = undef` to its parameters")),
            );
        }
    }
}
