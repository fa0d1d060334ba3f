//! One instruction after the other: read, checked, and its effect worked out for those after it.

use std::collections::HashSet;
use std::ops::Range;

use robo_model::name::{ComponentName, InstanceName, InstancePath, NameError};

use crate::code::Code;
use crate::diagnostic::Sink;
use crate::source::FileId;
use crate::suggest::did_you_mean;
use crate::syntax::short;

use super::context::CommandContext;
use super::line::{Line, Lines, references};
use super::pattern::Kind;
use super::world::{Found, Limit, MAX_SUBSTITUTED_BYTES, World};
use super::{Action, Commands, Instruction, define};

mod check;
mod help;

/// Reads all instructions of a file.
pub(super) fn read(text: &str, file: FileId, context: &CommandContext, sink: &mut Sink) -> Commands {
    let mut commands = Commands::default();
    let mut world = World::new(context);
    let mut substituted = 0;
    let mut callers = None;
    for mut line in Lines::new(text) {
        let expansion = line.expand(&world.variables, MAX_SUBSTITUTED_BYTES - substituted);
        substituted += expansion.bytes;
        let span = line.span();
        let before = text.get(..span.range().start).unwrap_or_default();
        let mut reader =
            Reader { file, sink, world: &mut world, line: &line, wrong: false, before, callers: &mut callers };
        if substituted > MAX_SUBSTITUTED_BYTES {
            reader.too_much(Code::ValueTooLong, "the variables of this file put too much text into its lines");
            return commands;
        }
        let done = match Kind::of(&line.text) {
            None => {
                reader.unrecognized();
                Ok(None)
            }
            Some(kind) => {
                commands.recognized += 1;
                reader.instruction(kind, expansion.disabled)
            }
        };
        match done {
            Ok(Some((action, disabled))) => {
                commands.instructions.push(Instruction { action, line: line.number, span, disabled });
            }
            Ok(None) => {}
            Err(limit) => {
                reader.too_much(Code::TooManyInstances, limit.why());
                return commands;
            }
        }
    }
    commands
}

/// Reads one line.
pub(super) struct Reader<'r, 'c, 's> {
    file: FileId,
    sink: &'s mut Sink,
    world: &'r mut World<'c>,
    line: &'r Line,
    /// The line has a mistake.
    wrong: bool,
    /// What stands in the file before this line.
    before: &'r str,
    /// The files that lead to this one; made when first asked for.
    callers: &'r mut Option<HashSet<&'c str>>,
}

impl<'r> Reader<'r, '_, '_> {
    /// The instruction, and whether it is skipped.
    fn instruction(&mut self, kind: Kind, disabled: bool) -> Result<Option<(Action, bool)>, Limit> {
        let parsed = check::parse(kind, &self.line.text);
        if parsed.is_none() {
            self.malformed(kind);
        }
        self.unresolved(kind);
        let defined = parsed.as_ref().and_then(|parsed| parsed.defined(&self.line.text));
        let checked = parsed.filter(|_| !self.wrong).and_then(|parsed| self.check(parsed));
        let Some(checked) = checked.filter(|_| !self.wrong) else {
            if let Some(name) = defined {
                self.world.not_defined.insert(name.to_owned(), self.line.number);
            }
            return Ok(None);
        };
        let (action, not_found) = self.carry_out(checked)?;
        Ok(Some((action, disabled || not_found)))
    }

    /// A part of the line.
    pub(super) fn text(&self, range: &Range<usize>) -> &'r str {
        self.line.text.get(range.clone()).unwrap_or_default()
    }

    /// Reports a mistake; the help is only made when it will be shown.
    pub(super) fn wrong(
        &mut self,
        code: Code,
        range: &Range<usize>,
        message: impl Into<String>,
        label: &str,
        help: impl FnOnce(&World<'_>) -> String,
    ) {
        self.wrong = true;
        let mut found = self.line.wrong(self.file, code, range, message, label);
        if !self.sink.is_full() {
            found = found.help(help(self.world));
        }
        self.sink.push(found);
    }

    fn all(&self) -> Range<usize> {
        0..self.line.text.len()
    }

    fn unrecognized(&mut self) {
        let text = self.line.text.as_str();
        let message = if text.is_empty() {
            "a `\\` goes on in a line where nothing stands".to_owned()
        } else {
            format!("`{}` is no instruction", short(text))
        };
        let before = self.before;
        self.wrong(Code::UnrecognizedInstruction, &self.all(), message, "begins like none", |_| {
            help::of_unrecognized(text, before)
        });
    }

    fn malformed(&mut self, kind: Kind) {
        let message = format!("`{}` is not well formed", short(&self.line.text));
        let before = self.before;
        let text = self.line.text.as_str();
        self.wrong(Code::InvalidInstructionSyntax, &self.all(), message, "not well formed", |_| {
            help::of_malformed(kind, text, before)
        });
    }

    /// Each `$(…)` that is left.
    fn unresolved(&mut self, kind: Kind) {
        let line = self.line;
        for (name, range) in references(&line.text) {
            let builtin = define::is_builtin(name);
            if builtin && kind == Kind::Define {
                continue;
            }
            let message = format!("nothing defines the variable `$({})`", short(name));
            self.wrong(Code::UnresolvedCommandVariable, &range, message, "not defined", |world| {
                if builtin {
                    return format!(
                        "built-in values stand in `define` only: write `define x = $({name})`, then `$(x)`"
                    );
                }
                if let Some(line) = world.not_defined.get(name) {
                    return format!("its definition on line {line} has a mistake; mend that one first");
                }
                let names = world.variables.keys().map(String::as_str).chain(define::NAMES);
                did_you_mean(name, names, || "define it above, as in `define NAME = value`".to_owned())
            });
        }
    }

    /// A limit is reached: nothing after it is looked at.
    fn too_much(&mut self, code: Code, why: &str) {
        self.wrong(code, &self.all(), why, "here it became too much", |_| {
            "split the file, or repeat less in it; nothing after this line was checked".to_owned()
        });
    }

    /// The effect on what comes after; true when an index was not found.
    fn carry_out(&mut self, checked: Checked) -> Result<(Action, bool), Limit> {
        let Checked { action, parent } = checked;
        let world = &mut *self.world;
        match &action {
            Action::Define { name, value } => {
                let value = world.define(name, value, parent.as_ref())?;
                let disabled = value.disabled;
                return Ok((Action::Define { name: name.clone(), value: value.text }, disabled));
            }
            Action::Create { component, name, parent } => {
                let path = parent.as_ref().map_or_else(|| InstancePath::root(name), |parent| parent.child(name));
                world.add(path, Some(component.clone()))?;
            }
            Action::Replicate { path, name } => world.copy(path, &InstancePath::root(name))?,
            Action::Rename { path, name } => world.rename(path, &super::world::sibling(path, name))?,
            Action::Bulk { verb: super::Verb::Delete, target: super::BulkTarget::Path(path) } => {
                world.remove(path)?;
            }
            Action::Bulk { verb: super::Verb::Delete, target: super::BulkTarget::Component(name) } => {
                world.remove_all_of(name)?;
            }
            Action::Associate { .. }
            | Action::ChangeStatus { .. }
            | Action::Bulk { .. }
            | Action::Email { .. }
            | Action::Write { .. }
            | Action::Append { .. }
            | Action::Execute { .. } => {}
        }
        Ok((action, false))
    }
}

/// An instruction without mistakes.
pub(super) struct Checked {
    action: Action,
    /// The path after `under` of a definition.
    parent: Option<InstancePath>,
}
