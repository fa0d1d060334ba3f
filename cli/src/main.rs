//! `robo`: the command line, and the one binary that also is manager and agent.
//!
//! One file per command in `commands/`; `draw` makes pictures of a graph, `doc` a page; `complete` knows the names that exist; [`output`] is the only place that prints; [`error`] decides exit codes.

mod bundle;
mod cli;
mod client;
mod commands;
mod complete;
mod context;
mod doc;
mod draw;
mod error;
mod output;
mod paths;
mod progress;
mod service;
mod terminal;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = robo_agent::as_helper(std::env::args_os()) {
        return code;
    }
    cli::run()
}
