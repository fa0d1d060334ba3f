//! `robo plan`: shows what an apply would do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use robo_wire::plan::SavedPlan;

use super::saved;
use crate::bundle;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output;

/// Shows what an apply would do, and does nothing.
///
/// `+` comes, `~` changes, `-` goes; `↻` is not changed itself and notices because what it imports moves; `!` is what
/// somebody asked for beside the application (`robo stop` and friends). A plan in a file is applied by `robo apply`,
/// today or tomorrow, and only while it still holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing would change, 2 something would.

Examples:
  robo plan app.graph
  robo plan app.graph -o wide        with every step, wave by wave
  robo plan app.graph --out plan.json && robo apply plan.json")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    graph: GraphArgs,
    /// Write the plan to this file as well, for `robo apply FILE`.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    out: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// What becomes of what was asked for beside the application.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OverrideArgs {
    /// What somebody stopped, started or undeployed by hand stays so.
    #[arg(long)]
    pub(crate) keep_overrides: bool,
}

/// Which graph.
#[derive(Debug, clap::Args)]
pub(crate) struct GraphArgs {
    /// A graph file, a folder with one graph in it, or a Roboconf project folder.
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
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
    let keep_overrides = args.overrides.keep_overrides;
    let plan = client.plan(&packed.bundle, keep_overrides).await?;
    let exit = if plan.is_empty() { Exit::Done } else { Exit::Changes };
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&plan)?,
        Format::Name => plan.changes.iter().try_for_each(|c| ui.line(format!("{}{}", plan.application, c.path)))?,
        Format::Table | Format::Wide => ui.text(&output::plan::render(&plan, ui.format == Format::Wide, ui.out))?,
    }
    if let Some(path) = &args.out {
        let project = client.project().clone();
        let robo_plan = SavedPlan::FORMAT;
        saved::write(path, &SavedPlan { robo_plan, project, bundle: packed.bundle, keep_overrides, plan })?;
        let word = output::shell_word(&path.display().to_string());
        ui.note(format!("The plan is in {}. Apply it: `robo apply {word}`", path.display()));
    }
    Ok(exit)
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
