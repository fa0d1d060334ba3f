//! A Roboconf project folder: the descriptor, the graph, the instances, and what stands beside them.
//!
//! - `folder`: which files there are.
//! - `beside`: commands, rules and measures.
//! - `location`: files of the model that are not where they belong, or that nothing imports.
//!
//! The files of all of them are looked at in one run, whatever is wrong in the others. Which files there are is the
//! loader's to say; where it cannot, what depends on it is not checked.

mod beside;
mod folder;
mod location;

use std::collections::{BTreeMap, BTreeSet};

use crate::block::ApplicationDecl;
use crate::code::Code;
use crate::compile::{Built, CompileOptions, Compiled, build};
use crate::convert::{Files, Kind, Model};
use crate::descriptor::{self, Descriptor};
use crate::diagnostic::{Diagnostic, Sink};
use crate::recipe;
use crate::source::{Loader, Place, Span, Spanned};
use crate::suggest::did_you_mean;

pub(crate) use folder::{Folder, names};

/// The name of an application whose descriptor gives none.
const NAMELESS: &str = "application";

/// The name of a recipe that has no descriptor, as in the original.
const GENERATED: &str = "generated";

/// What the original does not mind in a reusable recipe: who uses it has the machines, and uses its facets.
const NOT_IN_RECIPES: &[Code] = &[
    Code::RootInstaller,
    Code::UnresolvableFacetVariable,
    Code::UnreachableComponent,
    Code::OrphanFacet,
    Code::OrphanFacetWithChildren,
];

/// Compiles a Roboconf project folder: `descriptor/application.properties`, `graph/`, `instances/`.
/// Paths given to the loader start with these folders.
pub fn compile_project(loader: &mut dyn Loader) -> Compiled {
    compile_project_with(&CompileOptions::default(), loader)
}

/// [`compile_project`] with options.
pub fn compile_project_with(options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    let mut sink = Sink::default();
    let mut files = Files::new(loader);
    let descriptor = descriptor(&mut files, &options.properties, &mut sink);
    finish(descriptor, files, sink, false)
}

/// Checks a reusable recipe: a folder with `graph/`, and without a descriptor where it needs none. A recipe is no
/// application: its roots need not be machines, and what it leaves open is for those who import it.
pub fn compile_recipe_with(options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    let mut sink = Sink::without(NOT_IN_RECIPES);
    let mut files = Files::new(loader);
    let descriptor = if files.has_folder("descriptor") {
        descriptor(&mut files, &options.properties, &mut sink)
    } else {
        generated(&mut files, &mut sink)
    };
    finish(descriptor, files, sink, true)
}

fn finish(descriptor: Option<Descriptor>, mut files: Files<'_>, mut sink: Sink, is_recipe: bool) -> Compiled {
    let mut model = Model::default();
    let graph = graph(descriptor.as_ref(), &mut files, &mut model, &mut sink);
    instances(descriptor.as_ref(), graph, &mut files, &mut model, &mut sink);
    if is_recipe {
        reusable(&model, &mut files, &mut sink);
    }
    let mut built = None;
    if graph {
        let application = descriptor.as_ref().map(|descriptor| &descriptor.application);
        built = Some(build(model, application, NAMELESS, &mut sink));
    }
    let mut folder = Folder::new(&mut files);
    if let Some(built) = &built {
        recipe::check(&built.graph, "graph", &mut folder, &mut sink);
    }
    beside(built.as_ref(), &mut folder, &mut sink);
    location::check(&mut folder, &mut sink);
    let application = built.and_then(|built| built.application).filter(|_| sink.errors() == 0);
    Compiled { application, diagnostics: sink.finish(), sources: files.sources }
}

/// Commands, rules, measures.
fn beside(built: Option<&Built>, folder: &mut Folder<'_, '_>, sink: &mut Sink) {
    let application = built.and_then(|built| built.application.as_ref());
    let commands = beside::commands(folder, application, sink);
    let names: BTreeSet<&str> = commands.iter().map(String::as_str).collect();
    beside::rules(folder, &names, sink);
    beside::measures(folder, built.map(|built| &built.graph), sink);
}

/// Reads the descriptor; nothing, and reported, when there is none.
fn descriptor(files: &mut Files<'_>, values: &BTreeMap<String, String>, sink: &mut Sink) -> Option<Descriptor> {
    let bytes = match files.bytes(descriptor::PATH) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let file = files.add(descriptor::PATH, String::new());
            let place = Place { file, span: Span::default() };
            let code = if files.has_folder("descriptor") { Code::NoDescriptor } else { Code::NoDescriptorFolder };
            let message = format!("the descriptor `{}` cannot be read: {reason}", descriptor::PATH);
            sink.push(Diagnostic::new(code, place, message).help(
                "a project folder has a descriptor with `application-name`, `application-version` and \
                 `graph-entry-point`; a single file is applied by its own name",
            ));
            return None;
        }
    };
    let source = descriptor::Source::new(bytes, values);
    let file = files.add(descriptor::PATH, source.text.clone());
    let descriptor = source.read(file, sink)?;
    if let Some(template) = &descriptor.template {
        let message = format!("this is an application made from the template `{}`, which is not here", template.value);
        sink.push(
            Diagnostic::new(Code::TemplateNotFound, template.place, message)
                .label("the graph is the template's")
                .help("give the template's folder: robo needs the graph and the instances together"),
        );
    }
    Some(descriptor)
}

/// What stands for a descriptor in a recipe without one: the first graph is the entry point.
fn generated(files: &mut Files<'_>, sink: &mut Sink) -> Option<Descriptor> {
    let mut graphs = files.list("graph").unwrap_or_default();
    graphs.sort();
    let mut direct = graphs.iter().filter_map(|path| path.strip_prefix("graph/")).filter(|name| !name.contains('/'));
    let Some(entry) = direct.find(|name| name.ends_with(".graph")) else {
        let place = Place { file: files.add("graph", String::new()), span: Span::default() };
        if files.has_folder("graph") {
            sink.push(
                Diagnostic::new(Code::MissingGraphEntry, place, "the recipe has no graph")
                    .label("there is no `*.graph` directly in `graph/`")
                    .help("write one with the recipe's components in it"),
            );
        }
        return None;
    };
    let spanned = |value: &str| Spanned { value: value.to_owned(), place: Place::default() };
    let application = ApplicationDecl {
        name: spanned(GENERATED),
        version: None,
        description: None,
        tags: Vec::new(),
        exports_prefix: None,
        exports: Vec::new(),
        rollout: None,
        unread: false,
    };
    Some(Descriptor { application, graph: Some(spanned(entry)), instances: None, template: None })
}

/// Reads the graph; false, and reported, when there is none.
fn graph(descriptor: Option<&Descriptor>, files: &mut Files<'_>, model: &mut Model, sink: &mut Sink) -> bool {
    let entry = descriptor.and_then(|descriptor| descriptor.graph.as_ref());
    let read = entry.map(|entry| files.read("graph/", &entry.value, Kind::Graph, model, sink));
    if let Some(Ok(())) = read {
        return true;
    }
    model.gaps.files = true;
    let there = files.has_folder("graph");
    let place = entry.map_or_else(Place::default, |entry| entry.place);
    if !there {
        sink.push(
            Diagnostic::new(Code::NoGraphFolder, place, "the project has no folder `graph`")
                .label("a project keeps its components in `graph/`")
                .help("make `graph/` with the file that `graph-entry-point` names in it"),
        );
    } else if let Some((entry, Err(reason))) = entry.zip(read) {
        let there = Folder::new(files).below("graph").unwrap_or_default();
        let graphs = names(&there, "graph").into_iter().filter(|name| name.ends_with(".graph"));
        let help = did_you_mean(&entry.value, graphs, || "`graph-entry-point` names a file in `graph/`".to_owned());
        let message = format!("the graph's entry point `graph/{}` cannot be read: {reason}", entry.value);
        sink.push(Diagnostic::new(Code::MissingGraphEntry, place, message).label("named here").help(help));
    }
    false
}

/// Reads the instances, also those that no graph is there for: their own mistakes are told all the same.
fn instances(descriptor: Option<&Descriptor>, graph: bool, files: &mut Files<'_>, model: &mut Model, sink: &mut Sink) {
    // Without the folder nothing happens, as in the original: the instances are made later.
    let Some(descriptor) = descriptor.filter(|_| files.has_folder("instances")) else { return };
    let entry = descriptor.instances.as_ref();
    if !graph && descriptor.template.is_none() {
        let place = entry.map_or(descriptor.application.name.place, |entry| entry.place);
        sink.push(
            Diagnostic::new(Code::GraphNotBuilt, place, "there are instances, but no graph that says what they are of")
                .label("the instances are here")
                .help("give the project a graph first: `graph-entry-point = main.graph`"),
        );
    }
    let Some(entry) = entry else { return };
    if let Err(reason) = files.read("instances/", &entry.value, Kind::Instances, model, sink) {
        let message = format!("the instances' entry point `instances/{}` cannot be read: {reason}", entry.value);
        sink.push(
            Diagnostic::new(Code::MissingInstanceEntry, entry.place, message)
                .label("named here")
                .help("`instance-entry-point` names a file in `instances/`"),
        );
    }
}

/// What others expect of a recipe that they import.
fn reusable(model: &Model, files: &mut Files<'_>, sink: &mut Sink) {
    if let Some(instance) = model.instances.first() {
        sink.push(
            Diagnostic::new(Code::RecipeInstances, instance.place, "the recipe has instances")
                .label("everybody who imports the recipe gets them, wanted or not")
                .help("take them out: instances belong to the application that uses the recipe"),
        );
    }
    let Some(all) = files.list("") else { return };
    let is_readme =
        |path: &String| path.get(.."readme".len()).is_some_and(|start| start.eq_ignore_ascii_case("readme"));
    if !all.iter().any(is_readme) {
        sink.push(
            Diagnostic::new(Code::MissingReadme, Place::default(), "the recipe has no readme")
                .label("what is it for?")
                .help("write a `readme.md` that says what the recipe installs, exports and imports"),
        );
    }
}
