//! The command line as a whole: global options, what every command gets, and the way out.

use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use robo_model::name::ProjectName;

use crate::client::Client;
use crate::commands::{self, Command};
use crate::context::Contexts;
use crate::error::{CliError, Exit};
use crate::output::Ui;
use crate::paths::Paths;

const EXAMPLES: &str = "\
Examples:
  robo up app.graph                  run it all on this machine: a manager and an agent per machine
  robo plan app.graph                show what an apply would do
  robo apply app.graph               do it, and wait until everything is as wished
  robo status                        what runs where
  robo rollback shop                 what it was before
  robo exec device-42 -- uptime      run a command on a device
  robo cp app.conf device-42:/etc/   copy a file to it, or from it
  robo shell device-42               a terminal on it
  robo forward 8080:device-42:80     its port 80 is localhost:8080

Exit codes: 0 done or nothing to do, 1 error, 2 changes planned, 3 some targets failed,
            4 manager unreachable, 5 log in again, 124 timed out, 130 interrupted";

/// Deploys applications made of parts that need each other onto robots, devices and virtual machines.
#[derive(Debug, Parser)]
#[command(name = "robo", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 100)]
#[command(infer_long_args = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Options {
    /// How to print what was asked for.
    #[arg(short, long, global = true, value_parser = formats(), default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Output,
    /// The manager to talk to, by its name in `robo context list`.
    #[arg(long, global = true, env = "ROBO_CONTEXT", value_name = "NAME", add = crate::complete::contexts())]
    pub(crate) context: Option<String>,
    /// The project to work in, instead of the context's.
    #[arg(long, global = true, env = "ROBO_PROJECT", value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Say on standard error what is being done; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with a wide terminal.
    Wide,
    /// For programs; a stream is one object per line.
    Json,
    /// For programs and people.
    Yaml,
    /// Names only, one per line.
    Name,
}

/// What `-o` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// What every command can print.
    Data(Format),
    /// The format of code review tools, of `check` alone.
    Sarif,
    /// The format of Graphviz, of `graph` alone.
    Dot,
    /// The format of Mermaid, of `graph` alone.
    Mermaid,
    /// A picture, of `graph` alone.
    Svg,
    /// A page for browsers, of `doc` alone.
    Html,
    /// A page for repositories, of `doc` alone.
    Markdown,
}

impl Default for Output {
    fn default() -> Self {
        Self::Data(Format::default())
    }
}

impl Output {
    /// How data is printed beside a format of the command's own.
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Data(format) => format,
            Self::Sarif => Format::Json,
            Self::Dot | Self::Mermaid | Self::Svg | Self::Html | Self::Markdown => Format::Table,
        }
    }
}

/// The formats of every command.
pub(crate) fn formats() -> impl TypedValueParser<Value = Output> {
    clap::builder::EnumValueParser::<Format>::new().map(Output::Data)
}

/// Those of `check`.
pub(crate) fn formats_and_sarif() -> impl TypedValueParser<Value = Output> {
    formats_and(&[("sarif", "SARIF 2.1.0, for code review tools", Output::Sarif)])
}

/// Those of `graph`.
pub(crate) fn formats_and_drawings() -> impl TypedValueParser<Value = Output> {
    formats_and(&[
        ("dot", "For Graphviz", Output::Dot),
        ("mermaid", "For Mermaid, as Markdown shows it on many sites", Output::Mermaid),
        ("svg", "A picture", Output::Svg),
    ])
}

/// Those of `doc`, which has no others.
pub(crate) fn formats_of_pages() -> impl TypedValueParser<Value = Output> {
    let html = PossibleValue::new("html").help("One page for browsers, with everything in it");
    let markdown = PossibleValue::new("markdown").help("For repositories, with drawings for Mermaid");
    PossibleValuesParser::new([html, markdown])
        .map(|text| if text == "markdown" { Output::Markdown } else { Output::Html })
}

/// The formats of every command, and some that a command has beside them: name, help and meaning.
fn formats_and(own: &'static [(&str, &str, Output)]) -> impl TypedValueParser<Value = Output> {
    let known = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let own_values = own.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(known.chain(own_values)).map(|text| {
        let own = own.iter().find(|(name, _, _)| *name == text).map(|(_, _, output)| *output);
        own.unwrap_or_else(|| Output::Data(Format::from_str(&text, false).unwrap_or_default()))
    })
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) ui: Ui,
    pub(crate) paths: Paths,
    pub(crate) options: Options,
}

impl Env {
    /// A client of the manager that the options, the environment or the current context name.
    ///
    /// # Errors
    /// When there is no such context, or what it says is unusable.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let contexts = Contexts::load(&self.paths)?;
        let (name, context) = contexts.select(self.options.context.as_deref())?;
        let project = self.options.project.clone().or_else(|| context.project.clone());
        let client = Client::new(name, context, project.unwrap_or_else(ProjectName::default_project))?;
        Ok(client.telling(&self.ui))
    }
}

/// Reads the command line, runs the command, tells the shell how it went.
pub(crate) fn run() -> ExitCode {
    match crate::complete::answer() {
        Ok(false) => {}
        Ok(true) => return Exit::Done.into(),
        Err(error) => {
            Ui::from_environment(Format::Table).error(&error);
            return error.exit().into();
        }
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let ui = Ui::from_environment(cli.options.output.format());
    let result = Paths::from_environment().and_then(|paths| {
        let env = Env { ui: ui.clone(), paths, options: cli.options };
        if !cli.command.is_service() {
            crate::output::log_to_stderr(env.options.verbose);
        }
        let runtime = runtime(matches!(cli.command, Command::Manager(_) | Command::Relay(_)))?;
        runtime.block_on(commands::dispatch(cli.command, &env))
    });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error);
            error.exit().into()
        }
    }
}

/// Help and version are answers; all else is a mistake of the caller.
fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    // Who reads may stop reading: that is no error.
    let failed = shown.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
    if error.use_stderr() || failed { Exit::Error.into() } else { Exit::Done.into() }
}

/// One thread is enough for a client and for an agent; a manager and a relay use all cores.
fn runtime(all_cores: bool) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = if all_cores {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build().map_err(|error| CliError::new(format!("the runtime does not start: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["robo", "status", "-o", "json", "--project", "lab"]).unwrap();
        assert_eq!(cli.options.output, Output::Data(Format::Json));
        assert_eq!(cli.options.project.unwrap().as_str(), "lab");
        assert!(Cli::try_parse_from(["robo", "--project", "no good", "status"]).is_err());
    }

    #[test]
    fn sarif_is_for_check_alone() {
        let output = |args: &[&str]| Cli::try_parse_from(args).map(|cli| cli.options.output).map_err(|e| e.to_string());
        assert_eq!(output(&["robo", "check", "-o", "sarif", "x"]), Ok(Output::Sarif));
        assert_eq!(output(&["robo", "check", "-o", "yaml", "x"]), Ok(Output::Data(Format::Yaml)));
        assert_eq!(output(&["robo", "-o", "json", "check", "x"]), Ok(Output::Data(Format::Json)));
        assert_eq!(output(&["robo", "check", "x"]), Ok(Output::default()));
        assert_eq!(output(&["robo", "graph", "-o", "dot", "x"]), Ok(Output::Dot));
        let refused = output(&["robo", "plan", "-o", "sarif", "x"]).unwrap_err();
        assert!(refused.contains("possible values: table, wide, json, yaml, name"), "{refused}");
    }
}
