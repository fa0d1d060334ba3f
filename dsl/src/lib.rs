//! The graph language: text in, model and diagnostics out.
//!
//! Nothing here reads a file, a clock, the network or the environment: files come through a [`Loader`].
//!
//! - [`compile_file`] and [`compile_project`] do all of it.
//! - `syntax`: lines and blocks, with every byte kept; [`tokens`] shows them.
//! - `block`: each block by itself, to typed declarations.
//! - `convert`: names looked up, inheritance applied, instances copied.
//! - `check`: the whole; what cannot work although every name is known.
//! - `descriptor`: the properties file of a Roboconf project folder.
//! - [`format`]: the canonical layout of a file.
//! - [`explain`]: a code's page, with examples.
//! - [`Code`]: every mistake's number; the message stands beside the check that raises it.
//! - [`report`]: a diagnostic as `miette` draws it.

mod block;
mod check;
mod code;
mod compile;
mod convert;
mod descriptor;
mod diagnostic;
mod explain;
mod format;
mod report;
mod source;
mod suggest;
mod syntax;

pub use code::{Code, Severity, Stage};
pub use compile::{
    CompileOptions, Compiled, compile_any, compile_file, compile_file_with, compile_project, compile_project_with,
    syntax_errors,
};
pub use diagnostic::{Diagnostic, MAX_DIAGNOSTICS, Related};
pub use explain::{Example, Page, explain};
pub use format::{Unformatted, format, format_file};
pub use report::{Report, report};
pub use source::{FileId, Loader, Position, SourceFile, Span};
pub use syntax::{Token, TokenKind, tokens};

#[cfg(test)]
mod tests;
