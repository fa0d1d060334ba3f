//! `robo check`: says what is wrong with a graph; needs no manager.

use std::path::PathBuf;

use super::plan::Properties;
use crate::bundle::{self, Graph};
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::diagnostics::{self, Counts, Plain};

/// Says what is wrong with a graph, without a manager.
///
/// All mistakes are shown, each with its line and with what to write instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo check app.graph               one file, with all that it imports
  robo check warehouse/              a folder with one graph in it, or a Roboconf project folder
  robo check -o json app.graph       one object per mistake, for an editor")]
pub(crate) struct CheckArgs {
    /// Graph files, folders with one graph in them, or Roboconf project folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    properties: Properties,
}

pub(crate) fn run(args: &CheckArgs, env: &Env) -> Result<Exit, CliError> {
    let mut counts = Counts::default();
    for path in &args.paths {
        let graph = bundle::compile(path, &args.properties.map())?;
        counts += Counts::of(&graph.compiled);
        show(&graph, env)?;
    }
    if !env.ui.is_machine() {
        let files = match args.paths.as_slice() {
            [one] => one.display().to_string(),
            many => format!("{} graphs", many.len()),
        };
        let verdict =
            if counts.errors > 0 { env.ui.err.bad(&counts.to_string()) } else { env.ui.err.good(&counts.to_string()) };
        env.ui.note(format!("{files}: {verdict}"));
    }
    Ok(if counts.errors > 0 { Exit::Error } else { Exit::Done })
}

fn show(graph: &Graph, env: &Env) -> Result<(), CliError> {
    let compiled = &graph.compiled;
    match env.ui.format {
        Format::Table | Format::Wide => {
            let text = diagnostics::render(compiled, env.ui.out, env.ui.width);
            if text.is_empty() { Ok(()) } else { env.ui.line(format!("{text}\n")) }
        }
        Format::Json | Format::Yaml => {
            compiled.diagnostics.iter().try_for_each(|d| env.ui.element(&Plain::of(d, compiled)))
        }
        Format::Name => compiled.diagnostics.iter().try_for_each(|d| env.ui.line(Plain::of(d, compiled).name())),
    }
}
