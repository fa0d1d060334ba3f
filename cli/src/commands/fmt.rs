//! `robo fmt`: one layout for all graph and instance files.

mod find;
mod rewrite;

use std::path::{Path, PathBuf};

use robo_dsl::{Compiled, Unformatted};
use serde::Serialize;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::diagnostics::{self, Plain};
use crate::output::diff;

/// Lays out graph and instance files in one form.
///
/// Only blanks, line ends and the case of keywords change: every comment stays, and the file means what it meant.
/// A file that cannot be read is left as it is, and its mistakes are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo fmt                           all *.graph and *.instances in this folder and below
  robo fmt app.graph                 one file
  robo fmt --check examples/         show what would change; exit code 1 if anything would
  robo fmt - < app.graph             standard input to standard output, for editors

The layout: one tab for each level, `name: value;`, one blank after a comma, one empty line between blocks.
A list stays on the lines it is on. Values that are no list stay as they are: a blank before `;` belongs to them.")]
pub(crate) struct FmtArgs {
    /// Files, and folders with all `*.graph` and `*.instances` below; `-` is standard input. This folder if none is given.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; show what would change, and end with 1 if anything would.
    #[arg(long)]
    check: bool,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Unchanged,
    Formatted,
    /// With `--check`.
    WouldChange,
    /// It has mistakes.
    Refused,
    /// It cannot be read or written.
    Failed,
}

pub(crate) fn run(args: &FmtArgs, env: &Env) -> Result<Exit, CliError> {
    let is_input = |path: &PathBuf| path.as_os_str() == "-";
    if args.paths.iter().any(is_input) {
        if args.paths.len() > 1 {
            return Err(CliError::new("`-` stands alone: standard input is one file")
                .help("format the files with another `robo fmt`"));
        }
        return standard_input(args, env);
    }
    let mut counts = Counts::default();
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here } else { args.paths.as_slice() };
    for found in find::files(paths) {
        let outcome = match found {
            Ok(path) => one_file(&path, args.check, env)?,
            Err(error) => {
                env.ui.error(&error);
                Outcome::Failed
            }
        };
        counts.add(outcome);
    }
    if !env.ui.is_machine() {
        let verdict = counts.to_string();
        env.ui.note(if counts.exit() == Exit::Done { verdict } else { env.ui.err.bad(&verdict) });
    }
    Ok(counts.exit())
}

/// Formats one file, or shows what would change; what is wrong with it is told here.
fn one_file(path: &Path, check: bool, env: &Env) -> Result<Outcome, CliError> {
    let name = path.display().to_string();
    let (outcome, refused) = match attempt(path, &name, check, env) {
        Ok(outcome) => (outcome, None),
        Err(Failure::Mistakes(refused)) => (Outcome::Refused, Some(compiled(refused))),
        Err(Failure::Unusable(error)) => {
            env.ui.error(&error);
            (Outcome::Failed, None)
        }
        Err(Failure::Output(error)) => return Err(error),
    };
    if let Some(compiled) = &refused {
        show_mistakes(compiled, env);
    }
    match env.ui.format {
        Format::Table | Format::Wide => {
            if outcome == Outcome::Formatted {
                env.ui.note(format!("formatted {name}"));
            }
        }
        Format::Json | Format::Yaml => env.ui.element(&Line {
            file: &name,
            outcome,
            diagnostics: refused.iter().flat_map(|c| c.diagnostics.iter().map(|d| Plain::of(d, c))).collect(),
        })?,
        Format::Name if outcome != Outcome::Unchanged => env.ui.line(&name)?,
        Format::Name => {}
    }
    Ok(outcome)
}

/// Why a file was not formatted.
enum Failure {
    Mistakes(Unformatted),
    Unusable(CliError),
    /// Not the file's fault: nothing more can be printed.
    Output(CliError),
}

fn attempt(path: &Path, name: &str, check: bool, env: &Env) -> Result<Outcome, Failure> {
    let old = rewrite::read(path).map_err(Failure::Unusable)?;
    let new = robo_dsl::format_file(name, old.clone()).map_err(Failure::Mistakes)?;
    if new.as_bytes() == old {
        return Ok(Outcome::Unchanged);
    }
    if check {
        show_difference(name, &old, &new, env).map_err(Failure::Output)?;
        return Ok(Outcome::WouldChange);
    }
    rewrite::write(path, new.as_bytes()).map_err(Failure::Unusable)?;
    Ok(Outcome::Formatted)
}

fn standard_input(args: &FmtArgs, env: &Env) -> Result<Exit, CliError> {
    let old = rewrite::read_input()?;
    match robo_dsl::format_file("-", old.clone()) {
        Ok(new) if !args.check => {
            env.ui.text(&new)?;
            Ok(Exit::Done)
        }
        Ok(new) if new.as_bytes() == old => Ok(Exit::Done),
        Ok(new) => {
            show_difference("-", &old, &new, env)?;
            Ok(Exit::Error)
        }
        Err(refused) => {
            show_mistakes(&compiled(refused), env);
            Ok(Exit::Error)
        }
    }
}

fn show_difference(name: &str, old: &[u8], new: &str, env: &Env) -> Result<(), CliError> {
    if env.ui.is_machine() || env.ui.format == Format::Name {
        return Ok(());
    }
    // What was formatted is UTF-8.
    let old = String::from_utf8_lossy(old);
    env.ui.text(&diff::unified(name, &old, new, env.ui.out, env.ui.out_is_terminal))
}

/// On standard error: on standard output stands what was asked for, a formatted text or a difference.
fn show_mistakes(compiled: &Compiled, env: &Env) {
    if !env.ui.is_machine() {
        env.ui.note(format!("{}\n", diagnostics::render(compiled, env.ui.err, env.ui.width)));
    }
}

/// What `robo check` would show.
fn compiled(refused: Unformatted) -> Compiled {
    Compiled { application: None, diagnostics: refused.diagnostics, sources: vec![refused.source] }
}

/// One file for programs.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<Plain<'a>>,
}

/// How many files came out how.
#[derive(Debug, Default)]
struct Counts {
    unchanged: usize,
    formatted: usize,
    would_change: usize,
    refused: usize,
    failed: usize,
}

impl Counts {
    const fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Formatted => &mut self.formatted,
            Outcome::WouldChange => &mut self.would_change,
            Outcome::Refused => &mut self.refused,
            Outcome::Failed => &mut self.failed,
        } += 1;
    }

    const fn exit(&self) -> Exit {
        if self.would_change + self.refused + self.failed == 0 { Exit::Done } else { Exit::Error }
    }
}

impl std::fmt::Display for Counts {
    /// `formatted 3 files, 12 unchanged`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = |count: usize| format!("{count} file{}", if count == 1 { "" } else { "s" });
        let mut rest = vec![(self.unchanged, "unchanged"), (self.refused, "with mistakes"), (self.failed, "failed")];
        f.write_str(&match (self.would_change, self.formatted, self.unchanged) {
            (0, 0, 0) => "nothing formatted".to_owned(),
            (0, 0, _) => {
                rest.remove(0);
                format!("{} unchanged", files(self.unchanged))
            }
            (0, formatted, _) => format!("formatted {}", files(formatted)),
            (changing, _, _) => format!("{} would change", files(changing)),
        })?;
        rest.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}
