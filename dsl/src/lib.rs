//! The graph language: text in, model and diagnostics out.
//!
//! Nothing here reads a file, a clock, the network or the environment: files come through a [`Loader`].
//!
//! - [`compile_file`] and [`compile_project`] do all of it.
//! - `syntax`: lines and blocks, with every byte kept; [`tokens`] shows them.
//! - `block`: each block by itself, to typed declarations.
//! - `convert`: names looked up, inheritance applied, instances copied.
//! - `check`: the whole; what cannot work although every name is known.
//! - `project`: a Roboconf project folder: `descriptor`, the files of `properties`, and what stands beside the graph:
//!   `target`, `rules`, `measures`.
//! - [`format()`]: the canonical layout of a file.
//! - [`check_commands`]: files of commands, against the instances that are there.
//! - `single`: a file of another kind, checked by itself.
//! - [`explain`]: a code's page, with examples.
//! - [`Code`]: every mistake's number; the message stands beside the check that raises it.
//! - [`Reporter`]: diagnostics as `miette` draws them; [`Position`]: their lines and columns.

mod block;
mod check;
mod code;
mod commands;
mod compile;
mod convert;
mod descriptor;
mod diagnostic;
mod explain;
mod format;
mod measures;
mod position;
mod project;
mod properties;
mod recipe;
mod report;
mod rules;
mod single;
mod source;
mod suggest;
mod syntax;
mod target;

pub use code::{Code, Severity, Stage};
pub use commands::{Action, BulkTarget, CommandContext, Commands, Instruction, Verb, check_commands};
pub use compile::{
    CompileOptions, Compiled, compile_any, compile_file, compile_file_with, compile_instances, graph_entry,
    syntax_errors,
};
pub use descriptor::check_descriptor;
pub use diagnostic::{Diagnostic, MAX_DIAGNOSTICS, Related};
pub use explain::{Example, Page, explain, find_code, similar_codes};
pub use format::{Unformatted, format, format_file};
pub use measures::{FileCondition, Measure, Operator, Probe, check_measures};
pub use position::{EditorPosition, Position};
pub use project::{compile_project, compile_project_with, compile_recipe_with};
pub use report::{Report, Reporter, printable, report};
pub use rules::{Rule, check_rule};
pub use source::{FileId, Loader, SourceFile, Span};
pub use suggest::closest;
pub use syntax::{Token, TokenKind, tokens};
pub use target::{Target, check_target};

#[cfg(test)]
mod tests;
