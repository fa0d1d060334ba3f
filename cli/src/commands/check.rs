//! `robo check`: says what is wrong with a graph; needs no manager.

use std::path::{Path, PathBuf};

use super::plan::Properties;
use crate::bundle::{self, Checked};
use crate::cli::{Env, Format, Output, formats_and_sarif};
use crate::error::{CliError, Exit};
use crate::output::diagnostics::{self, Counts, Plain};
use crate::output::sarif::Log;

/// Says what is wrong with a graph, without a manager.
///
/// All mistakes are shown, each with its line and with what to write instead; `robo explain CODE` tells more.
///
/// With `-o json` there is a line for each mistake, an object: `code`, `alias` (Roboconf's name), `severity`, `stage`,
/// `message`, `label`, `help`, `file`, `start` and `end` (bytes), `line`, `column`, `end_line` and `end_column` (from
/// 1, in characters), `range` (`start` and `end`, each with `line` and `character` from 0, in UTF-16 code units, as the
/// language server protocol has them), `related` (objects with `label`, `file` and the same numbers). The end of a
/// place is never included.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 no errors, 1 errors; with --deny-warnings 1 also for warnings.

Examples:
  robo check app.graph               one file, with all that it imports
  robo check warehouse/              a folder with one graph in it, or a Roboconf project folder
  robo check --graph app.graph test.instances
  robo check - < app.graph           what an editor has not saved yet
  robo check -o json app.graph       one object per mistake, for an editor
  robo check -o sarif . > robo.sarif")]
pub(crate) struct CheckArgs {
    /// Graph files, folders with one graph in them, Roboconf project folders, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The graph that files of instances refer to; in a project folder it is found without.
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
    /// End with 1 when there are warnings, not only for errors.
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    properties: Properties,
    /// How to print the mistakes.
    // Of the same name as the option of every command, which it replaces here.
    #[arg(short, long, value_parser = formats_and_sarif(), default_value = "table", value_name = "FORMAT")]
    #[arg(help_heading = "Options of every command")]
    output: Output,
}

pub(crate) fn run(args: &CheckArgs, env: &Env) -> Result<Exit, CliError> {
    let mut counts = Counts::default();
    let mut unreadable = false;
    let mut log = (args.output == Output::Sarif).then(Log::new);
    for path in &args.paths {
        let checked = match check(args, path) {
            Ok(checked) => checked,
            // The others are checked all the same.
            Err(error) => {
                unreadable = true;
                env.ui.error(&error);
                continue;
            }
        };
        if let Some(note) = checked.note.as_ref().filter(|_| !env.ui.is_machine()) {
            env.ui.note(note);
        }
        counts += Counts::of(&checked.compiled);
        show(&checked, log.as_mut(), env)?;
    }
    if let Some(log) = log {
        env.ui.value(&log)?;
    }
    let nothing = unreadable && args.paths.len() == 1;
    if !env.ui.is_machine() && !nothing {
        verdict(args, counts, env);
    }
    let bad = unreadable || counts.errors > 0 || (args.deny_warnings && counts.warnings > 0);
    Ok(if bad { Exit::Error } else { Exit::Done })
}

fn check(args: &CheckArgs, path: &Path) -> Result<Checked, CliError> {
    let properties = args.properties.map();
    match &args.graph {
        Some(graph) => bundle::check_with_graph(path, graph, &properties),
        None => bundle::check(path, &properties),
    }
}

fn verdict(args: &CheckArgs, counts: Counts, env: &Env) {
    let what = match args.paths.as_slice() {
        [one] if one.as_os_str() == "-" => "standard input".to_owned(),
        [one] => one.display().to_string(),
        many => format!("{} graphs", many.len()),
    };
    let palette = env.ui.err;
    let text = counts.to_string();
    let verdict = match (counts.errors, counts.warnings) {
        (0, 0) => palette.good(&text),
        (0, _) => palette.busy(&text),
        _ => palette.bad(&text),
    };
    env.ui.note(format!("{}: {verdict}", robo_dsl::printable(&what)));
}

fn show(checked: &Checked, log: Option<&mut Log>, env: &Env) -> Result<(), CliError> {
    let compiled = &checked.compiled;
    if let Some(log) = log {
        log.add(compiled);
        return Ok(());
    }
    let mut plain = compiled.diagnostics.iter().map(|found| Plain::of(found, compiled));
    match env.ui.format {
        Format::Table | Format::Wide => {
            let text = diagnostics::render(compiled, env.ui.out, env.ui.width);
            if text.is_empty() { Ok(()) } else { env.ui.line(format!("{text}\n")) }
        }
        Format::Json | Format::Yaml => plain.try_for_each(|found| env.ui.element(&found)),
        Format::Name => plain.try_for_each(|found| env.ui.line(found.name())),
    }
}
