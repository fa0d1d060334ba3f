//! A file of another kind than the graph, checked by itself: what is known only with its application is not checked.

use crate::code::Code;
use crate::commands::{self, CommandContext};
use crate::compile::Compiled;
use crate::convert::Files;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Loader, Place, Span};

/// The kinds of files that can be checked by themselves, by the ending of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `commands/*.commands` of a project folder.
    Commands,
}

impl Kind {
    /// The kind of the file `name`; nothing for a graph and for what only its content can tell.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "commands" => Some(Self::Commands),
            _ => None,
        }
    }

    /// What it holds, in the plural.
    const fn what(self) -> &'static str {
        match self {
            Self::Commands => "commands",
        }
    }
}

/// Checks the file `entry`. There is no application in what comes out.
pub(crate) fn compile(kind: Kind, entry: &str, loader: &mut dyn Loader) -> Compiled {
    let mut sink = Sink::default();
    let mut files = Files::new(loader);
    match files.bytes(entry) {
        Ok(bytes) => check(kind, entry, bytes, &mut files, &mut sink),
        Err(reason) => {
            let place = Place { file: files.add(entry, String::new()), span: Span::default() };
            let code = match kind {
                Kind::Commands => Code::UnknownCommandsFile,
            };
            sink.push(
                Diagnostic::new(code, place, format!("`{entry}` cannot be read: {reason}"))
                    .help("is the name right, and the folder?"),
            );
        }
    }
    Compiled { application: None, diagnostics: sink.finish(), sources: files.sources }
}

fn check(kind: Kind, entry: &str, bytes: Vec<u8>, files: &mut Files<'_>, sink: &mut Sink) {
    match kind {
        Kind::Commands => {
            let Some(file) = files.text(entry, bytes, sink) else { return };
            let text = files.sources.get(file.0).map_or("", |source| source.text.as_str());
            let name = entry.rsplit('/').next().unwrap_or(entry);
            commands::check(text, file, &CommandContext::unknown().file(name), sink);
        }
    }
}

/// What is said where an application was asked for.
pub(crate) fn refuse(kind: Kind, entry: &str, loader: &mut dyn Loader) -> Compiled {
    let what = kind.what();
    let mut files = Files::new(loader);
    // The file itself is of no use here, and need not even be there.
    let place = Place { file: files.add(entry, String::new()), span: Span::default() };
    let found = Diagnostic::new(Code::NotGraphOrInstances, place, format!("`{entry}` holds {what}, and no graph"))
        .help(format!("a graph is applied; {what} belong to one, and are checked by `robo check`"));
    Compiled { application: None, diagnostics: vec![found], sources: files.sources }
}
