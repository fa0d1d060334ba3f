//! Recipes: the folder of each component, with what its installer expects in it.
//!
//! A component without a folder of its own has that of the nearest one it extends. As in the original, what is
//! expected follows from the component's own installer, not from an inherited one.

mod puppet;
mod targets;

use std::collections::BTreeSet;

use crate::block::{Named, Part};
use crate::code::Code;
use crate::convert::{ComponentId, Files, Graph};
use crate::diagnostic::{Diagnostic, Sink};
use crate::project::Folder;
use crate::source::Place;

/// Where an installer that runs scripts looks for them.
const SCRIPTS: &str = "scripts";

/// A component's recipe.
struct Recipe<'g> {
    graph: &'g Graph,
    id: ComponentId,
    /// Its folder, without `/` at its end.
    folder: String,
    /// All files in it, sorted.
    files: Vec<String>,
}

impl Recipe<'_> {
    /// The component's name.
    fn name(&self) -> &str {
        self.graph.component(self.id).decl.name.value.as_str()
    }

    /// Where mistakes of the folder as a whole are shown: at the installer that expects something of it.
    fn place(&self) -> Place {
        let decl = &self.graph.component(self.id).decl;
        decl.installer.as_ref().map_or(decl.name.place, |installer| installer.place)
    }
}

/// Warns of missing recipes beside a graph of one file. Most installers need none there, and a graph beside which no
/// recipe lies at all is a sketch; but where some are, one that is missed is most often one that is spelt differently.
pub(crate) fn beside(graph: &Graph, files: &mut Files<'_>, sink: &mut Sink) {
    let mut has = |id: ComponentId| {
        let mut lineage = graph.component(id).lineage.iter();
        lineage.any(|above| files.has_folder(graph.component(*above).decl.name.value.as_str()))
    };
    let needs = |id: &ComponentId| {
        let installer = graph.installer(*id).map_or("", |installer| installer.value.as_str());
        ["script", "puppet"].iter().any(|name| installer.eq_ignore_ascii_case(name))
    };
    let missed: Vec<ComponentId> = graph.component_ids().filter(needs).filter(|id| !has(*id)).collect();
    if missed.is_empty() || !graph.component_ids().any(has) {
        return;
    }
    for id in missed {
        missing(graph, id, "", sink);
    }
}

/// Checks the recipes of all components of a project, which are folders below `root`.
pub(crate) fn check(graph: &Graph, root: &str, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let Some(all) = folder.below(root) else { return };
    let mut targets = BTreeSet::new();
    for id in graph.component_ids() {
        let Some(recipe) = find(graph, id, root, &all, folder) else {
            // What cannot be told is which folder a wrong name would have, or where it is inherited from.
            let component = graph.component(id);
            if component.decl.named == Named::Well && !component.open.has(Part::Extends) && !component.shadowed {
                missing(graph, id, root, sink);
            }
            continue;
        };
        let installer = graph.component(id).decl.installer.as_ref().map_or("", |installer| installer.value.as_str());
        if installer.eq_ignore_ascii_case("target") {
            if targets.insert(recipe.folder.clone()) {
                targets::check(&recipe, folder, sink);
            }
        } else if installer.eq_ignore_ascii_case("script") {
            script(&recipe, folder, sink);
        } else if installer.eq_ignore_ascii_case("puppet") {
            puppet::check(&recipe, folder, sink);
        }
    }
}

/// The recipe of the component, or of the nearest one it extends.
fn find<'g>(
    graph: &'g Graph,
    id: ComponentId,
    root: &str,
    all: &[String],
    folder: &mut Folder<'_, '_>,
) -> Option<Recipe<'g>> {
    for above in &graph.component(id).lineage {
        let name = graph.component(*above).decl.name.value.as_str();
        let path = if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") };
        let files = below(all, &path);
        if !files.is_empty() || folder.has_folder(&path) {
            return Some(Recipe { graph, id, folder: path, files: files.to_vec() });
        }
    }
    None
}

/// Of sorted paths those below a folder.
fn below<'a>(all: &'a [String], folder: &str) -> &'a [String] {
    let prefix = format!("{folder}/");
    let start = all.partition_point(|path| path.as_str() < prefix.as_str());
    let rest = all.get(start..).unwrap_or_default();
    rest.get(..rest.partition_point(|path| path.starts_with(&prefix))).unwrap_or_default()
}

fn missing(graph: &Graph, id: ComponentId, root: &str, sink: &mut Sink) {
    let name = &graph.component(id).decl.name;
    let folder = if root.is_empty() { format!("{}/", name.value) } else { format!("{root}/{}/", name.value) };
    sink.push(
        Diagnostic::new(Code::NoResourceFolder, name.place, format!("`{}` has no recipe folder", name.value))
            .label(format!("there is no `{folder}`"))
            .help(format!("put its recipe into `{folder}`; an empty folder says that it needs none")),
    );
}

/// What is run lies in `scripts/`.
fn script(recipe: &Recipe<'_>, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let scripts = format!("{}/{SCRIPTS}", recipe.folder);
    if recipe.files.is_empty() || !below(&recipe.files, &scripts).is_empty() || folder.has_folder(&scripts) {
        return;
    }
    let message = format!("the recipe of `{}` has files, but no folder `{SCRIPTS}`", recipe.name());
    sink.push(
        Diagnostic::new(Code::ScriptNoFolder, recipe.place(), message)
            .label(format!("nothing to run is found in `{}/`", recipe.folder))
            .help(format!("put `start.sh`, `stop.sh` and their like into `{scripts}/`")),
    );
}
