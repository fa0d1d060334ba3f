//! Instances and the graph they refer to, given as two files.

use std::collections::BTreeMap;

use super::{CompileOptions, Compiled, build, finish, one_application, unreadable};
use crate::convert::{Files, Kind, Model};
use crate::descriptor;
use crate::diagnostic::Sink;
use crate::source::{FileId, Loader};

/// Compiles a file of instances with the graph that it refers to: first the graph's file with its imports, then the
/// instances. Each has a loader of its own, and what it imports is relative to that one's root; in
/// [`Compiled::sources`] the graph's files come first. Instances in the graph's own file are left out.
pub fn compile_instances(
    entry: &str,
    loader: &mut dyn Loader,
    graph_entry: &str,
    graph_loader: &mut dyn Loader,
    options: &CompileOptions,
) -> Compiled {
    let mut sink = Sink::default();
    let mut model = Model::default();
    let mut files = Files::new(graph_loader);
    if let Err(reason) = files.read("", graph_entry, Kind::Any, &mut model, &mut sink) {
        unreadable(graph_entry, &reason, &mut files, &mut sink);
        model.gaps.files = true;
    }
    model.instances.clear();
    let mut files = files.from(loader);
    if let Err(reason) = files.read("", entry, Kind::Instances, &mut model, &mut sink) {
        unreadable(entry, &reason, &mut files, &mut sink);
    }
    let applications = std::mem::take(&mut model.applications);
    one_application(&applications, &mut sink);
    let default_name = options.default_name.as_deref().unwrap_or("application");
    let built = build(model, applications.first(), default_name, &mut sink);
    finish(built, files.sources, sink)
}

/// The graph's entry point, below `graph/`, that a project folder's descriptor names. What is wrong with the
/// descriptor is not told.
pub fn graph_entry(properties: &BTreeMap<String, String>, loader: &mut dyn Loader) -> Option<String> {
    let descriptor = descriptor::Source::new(loader.load(descriptor::PATH).ok()?, properties);
    descriptor.read(FileId(0), &mut Sink::default())?.graph.map(|entry| entry.value)
}
