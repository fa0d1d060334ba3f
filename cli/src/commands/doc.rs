//! `robo doc`: writes a page about a graph; needs no manager.

use std::path::PathBuf;

use super::graph::write;
use super::plan::GraphArgs;
use crate::bundle;
use crate::cli::{Env, Output, formats_of_pages};
use crate::doc;
use crate::error::{CliError, Exit};

/// Writes a page about a graph, from its components, comments and instances.
///
/// The page is one file with its drawings in it: for browsers, or as Markdown. Secrets stay references.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo doc app.graph --out app.html          a page for browsers, and for printing
  robo doc app.graph -o markdown > APP.md    a page for a repository")]
pub(crate) struct DocArgs {
    #[command(flatten)]
    graph: GraphArgs,
    /// Write to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which kind of page.
    // Of the same name as the option of every command, which it replaces here.
    #[arg(short, long, value_parser = formats_of_pages(), default_value = "html", value_name = "FORMAT")]
    #[arg(help_heading = "Options of every command")]
    output: Output,
}

pub(crate) fn run(args: &DocArgs, env: &Env) -> Result<Exit, CliError> {
    let graph = bundle::compile_or(&args.graph.path, &args.graph.properties.map(), "nothing is written", &env.ui)?;
    let application = graph.application().ok_or_else(|| CliError::new("a graph with errors cannot be described"))?;
    let text = if args.output == Output::Markdown { doc::markdown(application) } else { doc::html(application) };
    match &args.out {
        Some(file) => write(file, &text, env)?,
        None => env.ui.text(&text)?,
    }
    Ok(Exit::Done)
}
