//! Which files a project has, and their texts, each read once.

use std::collections::{BTreeSet, HashMap};

use crate::code::Code;
use crate::convert::{Files, decode};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span};

/// A project's files.
pub(crate) struct Folder<'f, 'l> {
    files: &'f mut Files<'l>,
    known: HashMap<String, FileId>,
}

impl<'f, 'l> Folder<'f, 'l> {
    /// What was read so far is known.
    pub(crate) fn new(files: &'f mut Files<'l>) -> Self {
        let known = files.sources.iter().enumerate().map(|(i, source)| (source.name.clone(), FileId(i))).collect();
        Self { files, known }
    }

    /// All files below a folder, sorted; nothing when the loader cannot tell.
    pub(crate) fn below(&mut self, folder: &str) -> Option<Vec<String>> {
        let mut all = self.files.list(folder)?;
        all.sort();
        Some(all)
    }

    /// Whether there is a folder of this name, with or without files in it.
    pub(crate) fn has_folder(&mut self, folder: &str) -> bool {
        self.files.has_folder(folder)
    }

    /// Whether a file was read as a part of the model.
    pub(crate) fn is_read(&self, path: &str) -> bool {
        self.known.contains_key(path)
    }

    /// The place of a file as a whole: before its first character. Its text is not read.
    pub(crate) fn place(&mut self, path: &str) -> Place {
        let file = match self.known.get(path) {
            Some(file) => *file,
            None => self.add(path, String::new()),
        };
        Place { file, span: Span::default() }
    }

    /// The bytes of a file that is not in the language's own form.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn bytes(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.files.bytes(path)
    }

    /// A text, read once; nothing, and reported as `unreadable`, when there is none.
    pub(crate) fn text(&mut self, path: &str, unreadable: Code, sink: &mut Sink) -> Option<FileId> {
        if let Some(file) = self.known.get(path) {
            return Some(*file);
        }
        match self.files.bytes(path) {
            Ok(bytes) => {
                let (text, problem) = decode(path, bytes);
                let file = self.add(path, text);
                if let Some((code, span, message, help)) = problem {
                    sink.push(Diagnostic::new(code, Place { file, span }, message).label("here").help(help));
                    return None;
                }
                Some(file)
            }
            Err(reason) => {
                let place = self.place(path);
                sink.push(Diagnostic::new(unreadable, place, format!("`{path}` cannot be read: {reason}")));
                None
            }
        }
    }

    /// Adds a text that was read.
    pub(crate) fn add(&mut self, path: &str, text: String) -> FileId {
        let file = self.files.add(path, text);
        self.known.insert(path.to_owned(), file);
        file
    }

    /// The text of a file that was read.
    pub(crate) fn text_of(&self, file: FileId) -> &str {
        self.files.sources.get(file.0).map_or("", |source| source.text.as_str())
    }
}

/// The names directly in a folder, of what is below it: files, and folders with a `/` at their end.
pub(crate) fn names<'p>(paths: &'p [String], folder: &str) -> BTreeSet<&'p str> {
    let below = |path: &'p String| path.strip_prefix(folder)?.strip_prefix('/');
    let name = |rest: &'p str| match rest.find('/') {
        Some(at) => rest.get(..=at),
        None => Some(rest),
    };
    paths.iter().filter_map(below).filter_map(name).collect()
}
