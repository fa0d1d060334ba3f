//! A Roboconf project folder: the descriptor, the graph, the instances, and what stands beside them.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::compile::{CompileOptions, Compiled, finish};
use crate::convert::{Files, Kind, Model};
use crate::descriptor::{self, Descriptor};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Loader, Place, Span};

/// The name of an application whose descriptor gives none.
const NAMELESS: &str = "application";

/// Compiles a Roboconf project folder: `descriptor/application.properties`, `graph/`, `instances/`.
/// Paths given to the loader start with these folders.
pub fn compile_project(loader: &mut dyn Loader) -> Compiled {
    compile_project_with(&CompileOptions::default(), loader)
}

/// [`compile_project`] with options.
pub fn compile_project_with(options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    let mut sink = Sink::default();
    let mut files = Files::new(loader);
    let mut model = Model::default();
    let Some(descriptor) = descriptor(&mut files, &options.properties, &mut sink) else {
        return finish(model, None, NAMELESS, files.sources, sink);
    };
    if let Some(entry) = &descriptor.graph
        && let Err(reason) = files.read("graph/", &entry.value, Kind::Graph, &mut model, &mut sink)
    {
        sink.incomplete = true;
        let folder = files.has_folder("graph");
        let code = if folder { Code::MissingGraphEntry } else { Code::NoGraphFolder };
        let message = format!("the graph's entry point `graph/{}` cannot be read: {reason}", entry.value);
        sink.push(
            Diagnostic::new(code, entry.place, message)
                .label("named here")
                .help("`graph-entry-point` names a file in `graph/`"),
        );
    }
    if let Some(entry) = &descriptor.instances {
        let read = files.read("instances/", &entry.value, Kind::Instances, &mut model, &mut sink);
        // Without the folder nothing happens, as in the original: the instances are made later.
        if let Some(reason) = read.err().filter(|_| files.has_folder("instances")) {
            let message = format!("the instances' entry point `instances/{}` cannot be read: {reason}", entry.value);
            sink.push(
                Diagnostic::new(Code::MissingInstanceEntry, entry.place, message)
                    .label("named here")
                    .help("`instance-entry-point` names a file in `instances/`"),
            );
        }
    }
    finish(model, Some(&descriptor.application), NAMELESS, files.sources, sink)
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
    source.read(file, sink)
}
