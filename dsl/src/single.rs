//! A file of another kind than the graph, checked by itself: what is known only with its application is not checked.

use crate::code::Code;
use crate::commands::{self, CommandContext};
use crate::compile::{CompileOptions, Compiled};
use crate::convert::Files;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::{self, Properties};
use crate::source::{FileId, Loader, Place, Span};
use crate::{descriptor, measures, rules, target};

/// The name of a descriptor, in whichever folder it is.
const DESCRIPTOR: &str = "application.properties";

/// The kinds of files that can be checked by themselves, by the ending of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `commands/*.commands` of a project folder.
    Commands,
    /// `rules.autonomic/*.drl`.
    Rule,
    /// `probes/*.measures`.
    Measures,
    /// `application.properties`.
    Descriptor,
    /// Other properties: `target.properties` and its like.
    Target,
}

impl Kind {
    /// The kind of the file `name`; nothing for a graph and for what only its content can tell.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let name = name.rsplit('/').next().unwrap_or(name);
        match name.rsplit_once('.')?.1 {
            "commands" => Some(Self::Commands),
            "drl" => Some(Self::Rule),
            "measures" => Some(Self::Measures),
            "properties" if name == DESCRIPTOR => Some(Self::Descriptor),
            "properties" => Some(Self::Target),
            _ => None,
        }
    }

    /// What it holds, in the plural.
    const fn what(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Rule => "rules",
            Self::Measures => "measures",
            Self::Descriptor => "descriptors",
            Self::Target => "targets",
        }
    }
}

/// Checks the file `entry`. There is no application in what comes out.
pub(crate) fn compile(kind: Kind, entry: &str, options: &CompileOptions, loader: &mut dyn Loader) -> Compiled {
    let mut sink = Sink::default();
    let mut files = Files::new(loader);
    match files.bytes(entry) {
        Ok(bytes) => check(kind, entry, bytes, options, &mut files, &mut sink),
        Err(reason) => {
            let place = Place { file: files.add(entry, String::new()), span: Span::default() };
            let code = match kind {
                Kind::Commands => Code::UnknownCommandsFile,
                Kind::Rule => Code::UnreadableRule,
                Kind::Measures => Code::IoError,
                Kind::Descriptor => Code::UnreadableDescriptor,
                Kind::Target => Code::TargetUnreadable,
            };
            sink.push(
                Diagnostic::new(code, place, format!("`{entry}` cannot be read: {reason}"))
                    .help("is the name right, and the folder?"),
            );
        }
    }
    Compiled { application: None, diagnostics: sink.finish(), sources: files.sources }
}

fn check(kind: Kind, entry: &str, bytes: Vec<u8>, options: &CompileOptions, files: &mut Files<'_>, sink: &mut Sink) {
    match kind {
        Kind::Descriptor => {
            let source = descriptor::Source::new(bytes, &options.properties);
            let file = files.add(entry, source.text.clone());
            source.read(file, sink);
            return;
        }
        Kind::Target => {
            let (text, _) = properties::decode(bytes);
            let file = files.add(entry, text);
            target::check(text_of(files, file), file, sink);
            return;
        }
        Kind::Commands | Kind::Rule | Kind::Measures => {}
    }
    let Some(file) = files.text(entry, bytes, sink) else { return };
    let values = (kind == Kind::Measures).then(|| values(entry, files)).flatten();
    let text = text_of(files, file);
    if kind == Kind::Commands {
        let name = entry.rsplit('/').next().unwrap_or(entry);
        commands::check(text, file, &CommandContext::unknown().file(name), sink);
    } else if kind == Kind::Rule {
        rules::check(text, file, sink);
    } else {
        measures::check(text, file, values.as_ref(), sink);
    }
}

fn text_of<'f>(files: &'f Files<'_>, file: FileId) -> &'f str {
    files.sources.get(file.0).map_or("", |source| source.text.as_str())
}

/// The values of measures, from the file beside them where there is one.
fn values(entry: &str, files: &mut Files<'_>) -> Option<Properties> {
    let path = format!("{entry}.properties");
    let (text, _) = properties::decode(files.bytes(&path).ok()?);
    let file = files.add(&path, text);
    Some(Properties::read(text_of(files, file), file))
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
