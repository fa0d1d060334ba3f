//! Files of commands: what is to be done with the instances of an application, one instruction a line.
//!
//! The rules are the original's, to the letter where a valid file depends on them: a `\` right before LF goes on in the
//! next line, `#` begins a comment anywhere, an instruction is known by how its line begins, and the *last* `as`,
//! `with`, `to`, `into` or `under` parts it. Each instruction is checked against what those before it leave behind.
//!
//! - `context`: what a file may refer to.
//! - `line`: lines glued and variables replaced, with the place in the file of every byte.
//! - `pattern`: which instruction a line is, and its parts.
//! - `instruction`: each instruction by itself; `define` and `date` the variables.
//! - `world`: the instances after the instructions so far.
//! - `executes`: files that execute each other.

mod context;
mod date;
mod define;
mod executes;
mod instruction;
mod line;
mod pattern;
mod world;

#[cfg(test)]
mod tests;

use robo_model::name::{ComponentName, InstanceName, InstancePath};
use robo_model::state::InstanceState;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span};

pub use context::CommandContext;

/// What a file of commands asks for, in order. What has mistakes is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    /// The instructions without mistakes.
    pub instructions: Vec<Instruction>,
    /// How many lines begin like an instruction, those with mistakes included.
    pub recognized: usize,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What is to be done.
    pub action: Action,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its bytes, from its first to its last.
    pub span: Span,
    /// It uses an index that was not found: it is skipped.
    pub disabled: bool,
}

/// What is to be done. Variables are already replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `associate /path with target`: the machine of a host instance is made by this target.
    Associate {
        /// The host instance.
        path: InstancePath,
        /// The target's name.
        target: String,
    },
    /// `change status of /path to status`.
    ChangeStatus {
        /// The instance.
        path: InstancePath,
        /// A state that lasts.
        status: InstanceState,
    },
    /// `deploy and start all …` and its like.
    Bulk {
        /// What is done.
        verb: Verb,
        /// With which instances.
        target: BulkTarget,
    },
    /// `email a, b with message`.
    Email {
        /// Addresses; those that always get mail come to it.
        to: Vec<String>,
        /// Subject and text as written, `\n` made a line end.
        message: String,
    },
    /// `define name = value`: nothing to be done, the value is already in place.
    Define {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// `create component as name under /path`.
    Create {
        /// What it will be.
        component: ComponentName,
        /// Its name.
        name: InstanceName,
        /// Below which instance; nothing for a root.
        parent: Option<InstancePath>,
    },
    /// `replicate /path as name`: a root instance with all below it, once more.
    Replicate {
        /// The instance that is copied.
        path: InstancePath,
        /// The copy's name.
        name: InstanceName,
    },
    /// `rename /path as name`.
    Rename {
        /// The instance.
        path: InstancePath,
        /// Its new name.
        name: InstanceName,
    },
    /// `write text into file`: replaces the file.
    Write {
        /// The text.
        text: String,
        /// The file as written; `%TMP%` in it is the folder for temporary files.
        file: String,
    },
    /// `append text into file`: adds a line.
    Append {
        /// The text.
        text: String,
        /// The file as written; `%TMP%` in it is the folder for temporary files.
        file: String,
    },
    /// `execute name`: the commands of another file.
    Execute {
        /// The file's name without `.commands`.
        commands: String,
    },
}

/// What is done with several instances at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Undeploy and remove from the application.
    Delete,
    /// Deploy and start, parents first.
    DeployAndStartAll,
    /// Stop.
    StopAll,
    /// Undeploy.
    UndeployAll,
}

/// Which instances a bulk instruction means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkTarget {
    /// An instance and all below it.
    Path(InstancePath),
    /// Every instance of a component, and all below it.
    Component(ComponentName),
}

/// Reads a file of commands and checks it against `context`. Diagnostics are in reading order and have [`FileId`] 0.
///
/// As in the original, blanks at the end of a line do not count; one before a comment does.
#[must_use]
pub fn check_commands(text: &str, context: &CommandContext) -> (Commands, Vec<Diagnostic>) {
    let mut sink = Sink::default();
    let commands = check(text, FileId(0), context, &mut sink);
    (commands, sink.finish())
}

/// [`check_commands`] for one of several files.
pub(crate) fn check(text: &str, file: FileId, context: &CommandContext, sink: &mut Sink) -> Commands {
    let commands = instruction::read(text, file, context, sink);
    if commands.recognized == 0 {
        let start = Place { file, span: Span::default() };
        sink.push(
            Diagnostic::new(Code::NoInstruction, start, "the file has no instruction")
                .help("write one, as in `deploy and start all /vm`, or remove the file"),
        );
    }
    commands
}
