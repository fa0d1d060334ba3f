//! `robo context`: the managers this user knows.

use std::path::PathBuf;

use robo_model::name::ProjectName;
use serde::Serialize;

use crate::cli::{Env, Format};
use crate::client::{Address, Client};
use crate::context::{Context, Contexts, read_bounded};
use crate::error::{CliError, Exit};
use crate::output::table;

/// Longest name of a context, in characters: a table has to have room for it.
const MAX_NAME: usize = 64;

/// Lists the managers you know, chooses one, adds or removes one.
#[derive(Debug, clap::Args)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ContextCommand {
    /// Lists the contexts; `*` is the one in use.
    List,
    /// Uses a context from now on.
    Use {
        /// The context.
        name: String,
    },
    /// Shows a context, without its token.
    Show {
        /// The context; the one in use where none is given.
        name: Option<String>,
    },
    Add(AddArgs),
    /// Forgets a context.
    Remove {
        /// The context.
        name: String,
    },
}

/// Adds a context, or changes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo context add lab --url https://manager.lab:7626 --ca ca.pem --token-file ~/.lab-token")]
struct AddArgs {
    /// What you want to call it.
    name: String,
    /// The manager's address.
    #[arg(long, value_name = "https://HOST:PORT")]
    url: String,
    /// The manager's CA, in PEM; it is copied.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The file with your token; it is read each time.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Use it from now on, even when there is one in use.
    #[arg(long = "use")]
    use_it: bool,
}

/// A context without its secrets.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    url: &'a str,
    project: Option<&'a ProjectName>,
    token: String,
}

impl<'a> Shown<'a> {
    fn of(name: &'a str, context: &'a Context, contexts: &Contexts) -> Self {
        let token = match &context.token_file {
            Some(path) => format!("in {}", path.display()),
            None if context.login.is_some() => "of a login".into(),
            None if context.token.is_some() => "kept in the context".into(),
            None => "none".into(),
        };
        let current = contexts.current.as_deref() == Some(name);
        Shown { name, current, url: &context.url, project: context.project.as_ref(), token }
    }
}

pub(crate) fn run(args: ContextArgs, env: &Env) -> Result<Exit, CliError> {
    let contexts = Contexts::load(&env.paths)?;
    match args.command {
        ContextCommand::List => list(&contexts, env)?,
        ContextCommand::Use { name } => switch(contexts, &name, env)?,
        ContextCommand::Show { name } => show(&contexts, name.as_deref().or(env.options.context.as_deref()), env)?,
        ContextCommand::Add(args) => add(contexts, args, env)?,
        ContextCommand::Remove { name } => remove(contexts, &name, env)?,
    }
    Ok(Exit::Done)
}

fn list(contexts: &Contexts, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let shown: Vec<_> = contexts.contexts.iter().map(|(name, context)| Shown::of(name, context, contexts)).collect();
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&shown),
        Format::Name => shown.iter().try_for_each(|context| ui.line(context.name)),
        Format::Table | Format::Wide if shown.is_empty() => {
            ui.note("There is no context yet. `robo up app.graph` makes one, or `robo context add`.");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let row = |c: &Shown<'_>| {
                let mark = if c.current { "*" } else { "" };
                let project = c.project.map_or("default", |p| p.as_str());
                vec![mark.to_owned(), c.name.to_owned(), c.url.to_owned(), project.to_owned()]
            };
            ui.text(&table::plain(&["", "CONTEXT", "MANAGER", "PROJECT"], shown.iter().map(row).collect(), ui.out))
        }
    }
}

fn switch(mut contexts: Contexts, name: &str, env: &Env) -> Result<(), CliError> {
    let (_, context) = contexts.select(Some(name))?;
    env.ui.note(format!("Now using {name}: {}", context.url));
    contexts.current = Some(name.to_owned());
    contexts.save(&env.paths)
}

fn show(contexts: &Contexts, name: Option<&str>, env: &Env) -> Result<(), CliError> {
    let (name, context) = contexts.select(name)?;
    let shown = Shown::of(name, context, contexts);
    match env.ui.format {
        Format::Json | Format::Yaml => env.ui.value(&shown),
        Format::Name => env.ui.line(shown.name),
        Format::Table | Format::Wide => {
            let project = shown.project.map_or("default", |p| p.as_str());
            let lines =
                [("context", shown.name), ("manager", shown.url), ("project", project), ("token", &shown.token)];
            lines.iter().try_for_each(|(name, value)| env.ui.line(format!("{name:<8}  {value}")))
        }
    }
}

fn add(mut contexts: Contexts, args: AddArgs, env: &Env) -> Result<(), CliError> {
    let AddArgs { name, url, ca, token_file, use_it } = args;
    check_name(&name)?;
    Address::parse(&url).map_err(|reason| CliError::new(format!("the address is wrong: {reason}")))?;
    let ca = read_bounded(&ca)
        .map_err(|error| CliError::new(format!("the CA cannot be read from {}: {error}", ca.display())))?;
    let token_file = std::path::absolute(&token_file)
        .map_err(|error| CliError::new(format!("cannot find {}: {error}", token_file.display())))?;
    let project = env.options.project.clone();
    let context = Context { url, ca, token_file: Some(token_file), token: None, login: None, project };
    // What is wrong with it shows now and not at the first use.
    drop(Client::new(&name, &context, ProjectName::default_project())?);
    if use_it || contexts.current.is_none() {
        env.ui.note(format!("Now using {name}: {}", context.url));
        contexts.put(&name, context);
    } else {
        env.ui.note(format!("Added {name}. Use it with `robo context use {name}` or `--context {name}`."));
        contexts.contexts.insert(name, context);
    }
    contexts.save(&env.paths)
}

/// A name has to fit on a command line and in a table.
pub(super) fn check_name(name: &str) -> Result<(), CliError> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(good) && name.starts_with(char::is_alphanumeric) && name.chars().count() <= MAX_NAME {
        return Ok(());
    }
    Err(CliError::new(format!("`{}` cannot be a context's name", name.escape_debug()))
        .help(format!("take at most {MAX_NAME} letters, digits, `-`, `_` and `.`, and begin with a letter or digit")))
}

fn remove(mut contexts: Contexts, name: &str, env: &Env) -> Result<(), CliError> {
    contexts.select(Some(name))?;
    if contexts.remove(name) {
        env.ui.note(format!("{name} is forgotten."));
    }
    contexts.save(&env.paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word() {
        for good in ["lab", "lab-2", "eu.prod", "7", "büro"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "l ab", "-x", "a/b", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
