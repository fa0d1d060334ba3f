//! `robo plan`: shows what an apply would do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::bundle;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output;

/// Shows what an apply would do, and does nothing.
///
/// `+` comes, `~` changes, `-` goes; `↻` is not changed itself and notices because what it imports moves.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing would change, 2 something would.

Examples:
  robo plan app.graph
  robo plan app.graph -o json        the whole plan, with the order of the starts")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    graph: GraphArgs,
}

/// Which graph.
#[derive(Debug, clap::Args)]
pub(crate) struct GraphArgs {
    /// A graph file, a folder with one graph in it, or a Roboconf project folder.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) properties: Properties,
}

/// Values for the placeholders of a descriptor.
#[derive(Debug, clap::Args)]
pub(crate) struct Properties {
    /// Put VALUE for `${KEY}` in a Roboconf project's descriptor; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = property)]
    set: Vec<(String, String)>,
}

impl Properties {
    /// By key; the last one wins.
    pub(crate) fn map(&self) -> BTreeMap<String, String> {
        self.set.iter().cloned().collect()
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE, as in project.version=1.0".into()),
    }
}

pub(crate) async fn run(args: PlanArgs, env: &Env) -> Result<Exit, CliError> {
    let ui = &env.ui;
    let graph = bundle::compile_checked(&args.graph.path, &args.graph.properties.map(), ui)?;
    let packed = graph.pack()?;
    let client = env.client()?;
    packed.upload(&client, ui).await?;
    let plan = client.plan(&packed.bundle).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&plan)?,
        Format::Name => plan.changes.iter().try_for_each(|c| ui.line(format!("{}{}", plan.application, c.path)))?,
        Format::Table | Format::Wide => ui.text(&output::plan::render(&plan, ui.out))?,
    }
    Ok(if plan.is_empty() { Exit::Done } else { Exit::Changes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_have_a_key_and_a_value() {
        assert_eq!(property("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert_eq!(property("a="), Ok(("a".into(), String::new())));
        assert!(property("=c").is_err() && property("abc").is_err());
    }
}
