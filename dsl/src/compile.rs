//! From files to an application: which stage runs when, and on what.
//!
//! Every stage runs on what could be read, whatever was wrong before, so that one run tells all mistakes.
//! What could not be read is marked where it stands (`Unread` in a declaration, `Gaps` for the rest), and the later
//! stages conclude nothing from what is missing there: one mistake is one diagnostic.

use std::collections::BTreeMap;

use robo_model::graph::Application;

use crate::block::ApplicationDecl;
use crate::check;
use crate::code::Code;
use crate::convert::{self, Files, Graph, Kind, Model};
use crate::diagnostic::{Diagnostic, Sink};
use crate::project::{compile_project_with, compile_recipe_with};
use crate::recipe;
use crate::single;
use crate::source::{FileId, Loader, Place, SourceFile, Span};

mod instances;
pub use instances::{compile_instances, graph_entry};

/// What a compilation gives.
#[derive(Debug)]
pub struct Compiled {
    /// Nothing when any diagnostic is an error, and for a file of another kind that is checked by itself.
    pub application: Option<Application>,
    /// All mistakes of all files, each once, in reading order.
    pub diagnostics: Vec<Diagnostic>,
    /// Every file that was read, in order; a [`FileId`] counts them. Compiling exactly these again gives the same.
    pub sources: Vec<SourceFile>,
}

/// What the caller knows and the files do not say.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// The application's name when no application block gives one; the entry's file name without its ending
    /// where this is nothing. What cannot stand in a name becomes `-`.
    pub default_name: Option<String>,
    /// Replaces `${key}` in a project folder's descriptor before it is read, as Maven does.
    /// The descriptor in [`Compiled::sources`] is the one after that.
    pub properties: BTreeMap<String, String>,
}

/// Folders that only a Roboconf project has.
const PROJECT_FOLDERS: [&str; 5] = ["descriptor", "instances", "commands", "rules.autonomic", "probes"];

/// Compiles what `entry` is: a project where it lies in one of a project's folders, a reusable recipe where it lies in
/// `graph/` and there is no descriptor, otherwise a file by its name's ending.
pub fn compile_any(entry: &str, options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    let folder = entry.split_once('/').map_or("", |(folder, _)| folder);
    if folder == "graph" && !loader.has_folder("descriptor") {
        return compile_recipe_with(options, loader);
    }
    if folder == "graph" || PROJECT_FOLDERS.contains(&folder) {
        return compile_project_with(options, loader);
    }
    match single::Kind::of(entry) {
        Some(kind) => single::compile(kind, entry, options, loader),
        None => compile_file_with(entry, options, loader),
    }
}

/// Compiles one entry file in robo's form, with what it imports. `entry` is relative to its own folder.
pub fn compile_file(entry: &str, loader: &mut dyn Loader) -> Compiled {
    compile_file_with(entry, &CompileOptions::default(), loader)
}

/// [`compile_file`] with options.
pub fn compile_file_with(entry: &str, options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    if let Some(kind) = single::Kind::of(entry) {
        return single::refuse(kind, entry, loader);
    }
    let mut sink = Sink::default();
    let mut files = Files::new(loader);
    let mut model = Model::default();
    if let Err(reason) = files.read("", entry, Kind::Any, &mut model, &mut sink) {
        model.gaps.files = true;
        unreadable(entry, &reason, &mut files, &mut sink);
    }
    without_graph(&mut model, &mut sink);
    let stem = entry.rsplit('/').next().unwrap_or(entry);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let default_name = options.default_name.as_deref().unwrap_or(stem);
    let applications = std::mem::take(&mut model.applications);
    one_application(&applications, &mut sink);
    let built = build(model, applications.first(), default_name, &mut sink);
    recipe::beside(&built.graph, &mut files, &mut sink);
    finish(built, files.sources, sink)
}

/// The mistakes of one text's lines and blocks alone, without looking up names: for editors, as one types.
#[must_use]
pub fn syntax_errors(text: &str) -> Vec<Diagnostic> {
    let mut sink = Sink::default();
    crate::syntax::parse(text, FileId(0), &mut sink);
    sink.finish()
}

fn unreadable(entry: &str, reason: &str, files: &mut Files<'_>, sink: &mut Sink) {
    let file = files.add(entry, String::new());
    let place = Place { file, span: Span::default() };
    sink.push(
        Diagnostic::new(Code::IoError, place, format!("`{entry}` cannot be read: {reason}"))
            .help("is the path right, and may it be read?"),
    );
}

/// Instances of components that nothing declares: one mistake, and not one for each instance.
fn without_graph(model: &mut Model, sink: &mut Sink) {
    let Some(first) = model.instances.first() else { return };
    if model.gaps.files || model.gaps.any || !model.components.is_empty() || !model.facets.is_empty() {
        return;
    }
    let place = first.place;
    sink.push(
        Diagnostic::new(Code::GraphNotBuilt, place, "the instances have no graph: no component is defined")
            .label("which graph defines this component?")
            .help("write `import FILE;` with the file of the components, or check it with `robo check --graph FILE`"),
    );
    model.gaps.files = true;
}

fn one_application(applications: &[ApplicationDecl], sink: &mut Sink) {
    let Some((first, others)) = applications.split_first() else { return };
    for other in others {
        sink.push(
            Diagnostic::new(Code::DuplicateApplication, other.name.place, "there is a second application block")
                .label("a second one")
                .help("an application has one block, in the file that is applied")
                .related(first.name.place, "the first one"),
        );
    }
}

fn finish(built: Built, sources: Vec<SourceFile>, sink: Sink) -> Compiled {
    let application = built.application.filter(|_| sink.errors() == 0);
    Compiled { application, diagnostics: sink.finish(), sources }
}

/// What became of the declarations.
pub(crate) struct Built {
    /// Its names are looked up as far as they are known.
    pub(crate) graph: Graph,
    /// Nothing when there are errors.
    pub(crate) application: Option<Application>,
}

/// From declarations to an application, with all checks of the whole.
pub(crate) fn build(model: Model, application: Option<&ApplicationDecl>, default_name: &str, sink: &mut Sink) -> Built {
    let graph = convert::graph(model.components, model.facets, model.gaps, sink);
    let nodes = convert::instances(model.instances, &graph, sink);
    if graph.complete {
        check::check(&graph, &nodes, sink);
    }
    let head = check::head(application, default_name, &graph, sink);
    let application = (sink.errors() == 0).then(|| convert::assemble(head, &graph, &nodes));
    Built { graph, application }
}
