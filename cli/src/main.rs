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
mod up;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before all else: one keeper stands beside each process of an application, so it must be small and start quickly.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "keeper")
        && let Some(folder) = words.next()
    {
        return robo_agent::keeper::main(Path::new(&folder));
    }
    cli::run()
}
