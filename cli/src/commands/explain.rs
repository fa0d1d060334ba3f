//! `robo explain`: what a code of a mistake means.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use robo_dsl::Code;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::explain::{self, Entry, Explained};

/// Tells what a code of `robo check` means, with a wrong and a right example.
///
/// CODE is a number as in E0107, e0107 or 107, or Roboconf's own name for the mistake.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo explain E0107
  robo explain PM_INVALID_CHILD_NAME
  robo explain                       all codes, with their titles")]
pub(crate) struct ExplainArgs {
    /// A code; without one, all of them are listed.
    #[arg(value_name = "CODE", value_parser = CodeParser, hide_possible_values = true)]
    code: Option<String>,
}

pub(crate) fn run(args: &ExplainArgs, env: &Env) -> Result<Exit, CliError> {
    let ui = &env.ui;
    let Some(text) = &args.code else {
        list(env)?;
        return Ok(Exit::Done);
    };
    let code = robo_dsl::find_code(text).ok_or_else(|| unknown(text))?;
    match ui.format {
        Format::Table | Format::Wide => ui.text(&explain::page(code, ui.out, ui.width))?,
        Format::Json | Format::Yaml => ui.value(&Explained::of(code))?,
        Format::Name => ui.line(code)?,
    }
    Ok(Exit::Done)
}

fn list(env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Table => ui.text(&explain::list(ui.out, Some(ui.width).filter(|_| ui.out_is_terminal))),
        Format::Wide => ui.text(&explain::list(ui.out, None)),
        Format::Json | Format::Yaml => ui.value(&Code::ALL.iter().map(|code| Entry::of(*code)).collect::<Vec<_>>()),
        Format::Name => Code::ALL.iter().try_for_each(|code| ui.line(code)),
    }
}

fn unknown(text: &str) -> CliError {
    let error = CliError::new(format!("there is no code `{}`", robo_dsl::printable(text)));
    let similar: Vec<String> = robo_dsl::similar_codes(text).iter().map(|code| describe(*code)).collect();
    let error = if similar.is_empty() { error } else { error.help(format!("did you mean {}?", similar.join(" or "))) };
    error.help("see all codes: `robo explain`")
}

fn describe(code: Code) -> String {
    format!("{code} ({})", code.alias().unwrap_or(code.title()))
}

/// Takes any text, so that a wrong one gets an answer of ours; offers every code to the shell.
#[derive(Clone)]
struct CodeParser;

impl TypedValueParser for CodeParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Code::ALL.iter().map(|code| PossibleValue::new(code.as_str()).help(code.title()))))
    }
}
