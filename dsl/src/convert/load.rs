//! The files of an application: the entry, and what it imports, each once.

use std::collections::{HashSet, VecDeque};

use robo_model::limits::MAX_SOURCE_BYTES;
use robo_model::spec::RelativePath;

use super::foreign::foreign;
use crate::block::{self, ApplicationDecl, ComponentDecl, Declarations, FacetDecl, Gaps, InstanceDecl};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Loader, Place, SourceFile, Span, Spanned, narrow};
use crate::syntax::{self, short};

/// What a file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Components and facets: `graph/` of a project folder.
    Graph,
    /// Instances: `instances/` of a project folder.
    Instances,
    /// All of it, and an application block: robo's own form.
    Any,
}

/// Everything that the files declare, in the order they were read.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) components: Vec<ComponentDecl>,
    pub(crate) facets: Vec<FacetDecl>,
    pub(crate) instances: Vec<InstanceDecl>,
    pub(crate) applications: Vec<ApplicationDecl>,
    pub(crate) gaps: Gaps,
}

/// The files that were read so far.
pub(crate) struct Files<'l> {
    loader: &'l mut dyn Loader,
    pub(crate) sources: Vec<SourceFile>,
}

impl<'l> Files<'l> {
    pub(crate) fn new(loader: &'l mut dyn Loader) -> Self {
        Self { loader, sources: Vec::new() }
    }

    /// The same files, and further ones from elsewhere.
    pub(crate) fn from<'n>(self, loader: &'n mut dyn Loader) -> Files<'n> {
        Files { loader, sources: self.sources }
    }

    /// The bytes of one file.
    pub(crate) fn bytes(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.loader.load(path)
    }

    /// Whether a folder is there.
    pub(crate) fn has_folder(&mut self, path: &str) -> bool {
        self.loader.has_folder(path)
    }

    /// All files below a folder, as the loader takes them; nothing when it cannot tell.
    pub(crate) fn list(&mut self, folder: &str) -> Option<Vec<String>> {
        self.loader.files(folder)
    }

    /// Adds a file that was read.
    pub(crate) fn add(&mut self, name: &str, text: String) -> FileId {
        self.sources.push(SourceFile::new(name, text));
        FileId(self.sources.len() - 1)
    }

    /// Reads the files that `entry` leads to into `model`. Both `entry` and imports are relative to `folder`,
    /// which is empty or ends with `/`.
    ///
    /// # Errors
    /// Why the entry itself cannot be read.
    pub(crate) fn read(
        &mut self,
        folder: &str,
        entry: &str,
        kind: Kind,
        model: &mut Model,
        sink: &mut Sink,
    ) -> Result<(), String> {
        let entry = normalized(entry).ok_or("the path leads out of its folder")?;
        let bytes = self.bytes(&format!("{folder}{entry}"))?;
        let mut seen = HashSet::from([entry.clone()]);
        let mut queue = VecDeque::from([(entry, bytes)]);
        while let Some((path, bytes)) = queue.pop_front() {
            let mut declared = self.file(&format!("{folder}{path}"), bytes, kind, sink);
            let graph = kind != Kind::Instances || declared.graph_at.is_some();
            if !graph {
                // What could not be read there is nothing that instances refer to.
                declared.gaps = Gaps::default();
            }
            for import in &declared.imports {
                let Some(path) = normalized(&import.value) else {
                    model.gaps.files |= graph;
                    sink.push(leaves_root(import));
                    continue;
                };
                if !seen.insert(path.clone()) {
                    continue;
                }
                match self.bytes(&format!("{folder}{path}")) {
                    Ok(bytes) => queue.push_back((path, bytes)),
                    Err(reason) => {
                        model.gaps.files |= graph;
                        sink.push(unreachable_file(import, &reason));
                    }
                }
            }
            model.add(declared);
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: Vec<u8>, kind: Kind, sink: &mut Sink) -> Declarations {
        let Some(file) = self.text(name, bytes, sink) else {
            let mut nothing = Declarations::default();
            nothing.gaps.files = true;
            return nothing;
        };
        let text = self.sources.last().map_or("", |source| source.text.as_str());
        if let Some(found) = foreign(name, text, file) {
            sink.push(found);
            let mut nothing = Declarations::default();
            nothing.gaps.files = true;
            return nothing;
        }
        if !carriage_returns(text, file, sink) {
            let mut nothing = Declarations::default();
            nothing.gaps.files = true;
            return nothing;
        }
        let errors = sink.errors();
        let tree = syntax::parse(text, file, sink);
        let mut declared = block::check(text, file, &tree, sink);
        let clean = sink.errors() == errors;
        kind_fits(&mut declared, file, kind, clean, sink);
        declared
    }

    /// Adds a file of text; nothing, and reported, when its bytes are none.
    pub(crate) fn text(&mut self, name: &str, bytes: Vec<u8>, sink: &mut Sink) -> Option<FileId> {
        let (text, problem) = decode(name, bytes);
        let file = self.add(name, text);
        let Some((code, span, message, help)) = problem else { return Some(file) };
        sink.push(Diagnostic::new(code, Place { file, span }, message).label("here").help(help));
        None
    }
}

impl Model {
    fn add(&mut self, declared: Declarations) {
        let base = self.instances.len();
        self.components.extend(declared.components);
        self.facets.extend(declared.facets);
        self.applications.extend(declared.applications);
        self.gaps.extend(declared.gaps);
        self.instances.extend(declared.instances.into_iter().map(|mut instance| {
            instance.parent = instance.parent.map(|parent| base + parent);
            instance
        }));
    }
}

/// `path` without `.`, empty parts and inner `..`; nothing when it leads out of the folder.
fn normalized(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    RelativePath::new(parts.join("/")).ok().map(|path| path.as_str().to_owned())
}

pub(crate) type Problem = (Code, Span, String, &'static str);

/// The text, and why it is none. Text that is not UTF-8 is kept with replacements, so that places in it have lines.
pub(crate) fn decode(name: &str, bytes: Vec<u8>) -> (String, Option<Problem>) {
    if bytes.len() > MAX_SOURCE_BYTES {
        let message = format!(
            "`{name}` has {} MB; a file of a graph may have {} MB",
            bytes.len().div_ceil(MEGABYTE),
            MAX_SOURCE_BYTES / MEGABYTE
        );
        let help = "is this the right file? If so, split it with `import`";
        return (String::new(), Some((Code::SourceTooLarge, Span::default(), message, help)));
    }
    let nul = bytes.iter().position(|byte| *byte == 0);
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            let problem = nul.map(|at| nul_byte(name, at, &text));
            return (text, problem);
        }
        Err(error) => error,
    };
    let at = bytes.utf8_error().valid_up_to();
    let byte = bytes.as_bytes().get(at).copied().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.as_bytes()).into_owned();
    // Before the first NUL nothing may have been replaced, else the other problem comes first.
    if let Some(nul) = nul.filter(|nul| *nul < at) {
        let problem = nul_byte(name, nul, &text);
        return (text, Some(problem));
    }
    let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let message = format!("`{name}` is not UTF-8 text: its byte {at}, on line {line}, is {byte:#04X}");
    // One replacement character has three bytes.
    let span = Span::new(narrow(at), narrow(at + 3));
    (text, Some((Code::NotUtf8, span, message, "save it with the encoding UTF-8; or is this the right file?")))
}

fn nul_byte(name: &str, at: usize, text: &str) -> Problem {
    debug_assert_eq!(text.as_bytes().get(at), Some(&0), "nothing was replaced before it");
    let message = format!("`{name}` is not text: its byte {at} is NUL");
    // Some editors write each character in two bytes, one of which is mostly NUL.
    let nuls = text.bytes().take(UTF_16_LOOK).filter(|byte| *byte == 0).count();
    let help = if nuls * 3 > text.len().min(UTF_16_LOOK) {
        "is it UTF-16? Save it with the encoding UTF-8"
    } else {
        "is this the right file?"
    };
    (Code::NulByte, Span::new(narrow(at), narrow(at + 1)), message, help)
}

/// Bytes that tell whether a file is UTF-16.
const UTF_16_LOOK: usize = 256;

/// For messages.
const MEGABYTE: usize = 1024 * 1024;

/// The original deletes every CR, so a file with CR alone is one line. False, and reported, for one.
fn carriage_returns(text: &str, file: FileId, sink: &mut Sink) -> bool {
    let at = text.find('\r').filter(|_| !text.contains('\n')).filter(|at| at + 1 < text.len());
    let Some(at) = at else { return true };
    let place = Place { file, span: Span::new(narrow(at), narrow(at + 1)) };
    sink.push(
        Diagnostic::new(
            Code::CarriageReturns,
            place,
            "the lines of this file end with CR alone, so it is all one line",
        )
        .label("LF is missing here")
        .help("save it with LF or CR LF line ends"),
    );
    false
}

/// `clean` says that the file had no mistake so far: a block that could not be read is no empty file.
fn kind_fits(declared: &mut Declarations, file: FileId, kind: Kind, clean: bool, sink: &mut Sink) {
    let start = Place { file, span: Span::default() };
    let nothing = declared.graph_at.is_none() && declared.instances_at.is_none() && declared.applications.is_empty();
    if nothing {
        if clean && declared.imports.is_empty() {
            sink.push(
                Diagnostic::new(Code::EmptyFile, start, "the file has only blank lines and comments")
                    .help("write a component, or do not import the file"),
            );
        }
        return;
    }
    let foreign = match kind {
        Kind::Any => return,
        Kind::Graph => declared.instances_at.map(|at| (Code::NotAGraph, at, "a file of the graph holds instances")),
        Kind::Instances => declared.graph_at.map(|at| (Code::NotInstances, at, "a file of instances holds a graph")),
    };
    if let Some((code, at, message)) = foreign {
        let mixed = declared.graph_at.is_some() && declared.instances_at.is_some();
        let code = if mixed { Code::InvalidFileType } else { code };
        // What does not belong here is not looked at further, and that something is missing is no second mistake.
        match kind {
            Kind::Instances => {
                (declared.components, declared.facets) = (Vec::new(), Vec::new());
                declared.gaps.files = true;
            }
            Kind::Graph | Kind::Any => {
                declared.instances = Vec::new();
                declared.gaps.files |= !mixed;
            }
        }
        sink.push(Diagnostic::new(code, at, message).label("does not belong into this file").help(
            "a project folder keeps components in `graph/` and instances in `instances/`; one file with both is applied by its own name",
        ));
    }
    if let Some(application) = declared.applications.first() {
        let message =
            "a project folder has its name in `descriptor/application.properties`, not in an application block";
        sink.push(Diagnostic::new(Code::InvalidName, application.name.place, message).label("not in a project folder"));
    }
}

fn leaves_root(import: &Spanned<String>) -> Diagnostic {
    let message = format!("the import `{}` does not name a file inside of the folder", short(&import.value));
    Diagnostic::new(Code::ImportLeavesRoot, import.place, message)
        .label("leads out of the folder")
        .help("imports are relative to the entry file's folder, and stay in it")
}

fn unreachable_file(import: &Spanned<String>, reason: &str) -> Diagnostic {
    let message = format!("the imported file `{}` cannot be read: {reason}", short(&import.value));
    Diagnostic::new(Code::UnreachableFile, import.place, message)
        .label("imported here")
        .help("imports are relative to the entry file's folder, wherever the importing file is")
}
