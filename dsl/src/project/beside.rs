//! Rules and measures of a project.

use std::collections::BTreeSet;

use robo_model::graph::Application;

use super::folder::Folder;
use crate::code::Code;
use crate::commands::{self, CommandContext};
use crate::convert::Graph;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::{self, Properties};
use crate::source::FileId;
use crate::suggest::did_you_mean;
use crate::syntax::short;
use crate::{measures, rules};

const COMMANDS: &str = "commands";
const COMMANDS_ENDING: &str = ".commands";
const RULES: &str = "rules.autonomic";
const RULES_ENDING: &str = ".drl";
const PROBES: &str = "probes";
const MEASURES_ENDING: &str = ".measures";
const VALUES_ENDING: &str = ".measures.properties";

/// Checks every file of commands; their names. Without an application their paths are not looked up.
pub(super) fn commands(folder: &mut Folder<'_, '_>, application: Option<&Application>, sink: &mut Sink) -> Vec<String> {
    let paths = only(folder, COMMANDS, COMMANDS_ENDING, Code::InvalidCommandExtension, sink);
    let found: Vec<(String, Option<FileId>)> = paths
        .iter()
        .map(|path| (stem(path, COMMANDS_ENDING).to_owned(), folder.text(path, Code::UnknownCommandsFile, sink)))
        .collect();
    let texts: Vec<(&str, &str)> =
        found.iter().map(|(name, file)| (name.as_str(), file.map_or("", |file| folder.text_of(file)))).collect();
    let context = application.map_or_else(CommandContext::default, CommandContext::of).siblings(texts);
    for (name, file) in &found {
        if let Some(file) = file {
            commands::check(folder.text_of(*file), *file, &context.clone().file(name), sink);
        }
    }
    found.into_iter().map(|(name, _)| name).collect()
}

/// Checks every rule; `commands` are the names of those there are.
pub(super) fn rules(folder: &mut Folder<'_, '_>, commands: &BTreeSet<&str>, sink: &mut Sink) {
    for path in only(folder, RULES, RULES_ENDING, Code::InvalidRuleExtension, sink) {
        let Some(file) = folder.text(&path, Code::UnreadableRule, sink) else { continue };
        for command in rules::check(folder.text_of(file), file, sink).commands {
            if commands.contains(command.value.as_str()) {
                continue;
            }
            let name = short(&command.value);
            let help = did_you_mean(&command.value, commands.iter().copied(), || {
                format!("write the file `{COMMANDS}/{name}{COMMANDS_ENDING}`")
            });
            let message = format!("the rule runs `{name}`, and there are no such commands");
            sink.push(
                Diagnostic::new(Code::UnknownRuleCommand, command.place, message)
                    .label("not in `commands/`")
                    .help(help),
            );
        }
    }
}

/// Checks every file of measures. `graph` is nothing when there is none to look at.
pub(super) fn measures(folder: &mut Folder<'_, '_>, graph: Option<&Graph>, sink: &mut Sink) {
    let all = folder.below(PROBES).unwrap_or_default();
    for path in &all {
        let Some(base) = path.strip_suffix(MEASURES_ENDING) else { continue };
        let Some(file) = folder.text(path, Code::IoError, sink) else { continue };
        let values = values(&format!("{base}{VALUES_ENDING}"), &all, folder, sink);
        measures::check(folder.text_of(file), file, values.as_ref(), sink);
        let name = stem(path, MEASURES_ENDING);
        let graph = graph.filter(|graph| !graph.gaps.mention(name));
        if let Some(graph) = graph.filter(|graph| graph.find(name).is_none()) {
            let help = did_you_mean(name, graph.component_names(), || {
                "call the file like the component whose instances are watched".to_owned()
            });
            let place = folder.place(path);
            let message = format!("`{}` are the measures of no component", short(path));
            sink.push(Diagnostic::new(Code::ProbeComponent, place, message).label("nobody measures these").help(help));
        }
    }
}

/// The values of a file of measures, where there are some; `all` are the files of the folder, sorted.
fn values(path: &str, all: &[String], folder: &mut Folder<'_, '_>, sink: &mut Sink) -> Option<Properties> {
    all.binary_search_by(|there| there.as_str().cmp(path)).ok()?;
    let bytes = match folder.bytes(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let place = folder.place(path);
            sink.push(Diagnostic::new(Code::IoError, place, format!("`{path}` cannot be read: {reason}")));
            return None;
        }
    };
    let (text, _) = properties::decode(bytes);
    let file = folder.add(path, text);
    let values = Properties::read(folder.text_of(file), file);
    if let Some(place) = values.malformed() {
        let message = "the values of the measures are not well formed: `\\u` needs four digits";
        sink.push(
            Diagnostic::new(Code::ProbePlaceholder, place, message)
                .label("not four hexadecimal digits")
                .help("write `\\u00e9` for a letter, or `\\\\` for a backslash"),
        );
    }
    Some(values)
}

/// The files of a folder that may hold one kind only; others are reported.
fn only(folder: &mut Folder<'_, '_>, name: &str, ending: &str, code: Code, sink: &mut Sink) -> Vec<String> {
    let (right, wrong): (Vec<String>, Vec<String>) =
        folder.below(name).unwrap_or_default().into_iter().partition(|path| path.ends_with(ending));
    for path in wrong {
        let place = folder.place(&path);
        sink.push(
            Diagnostic::new(code, place, format!("`{}` does not end in `{ending}`", short(&path)))
                .label("not read")
                .help(format!("rename it, or move it out of `{name}/`")),
        );
    }
    right
}

/// A file's name without folder and ending.
fn stem<'p>(path: &'p str, ending: &str) -> &'p str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(ending).unwrap_or(name)
}
