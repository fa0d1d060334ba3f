//! `robo project`: namespaces for applications, devices and roles.

use robo_model::name::ProjectName;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Lists the projects, or makes one.
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    command: ProjectCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ProjectCommand {
    /// Lists the projects of which you see anything.
    List,
    /// Makes a project; `--project NAME` then works in it.
    Add {
        /// Its name.
        name: ProjectName,
    },
}

pub(crate) async fn run(args: ProjectArgs, env: &Env) -> Result<Exit, CliError> {
    let (ui, client) = (&env.ui, env.client()?);
    match args.command {
        ProjectCommand::List => {
            let projects = client.projects().await?;
            match ui.format {
                Format::Json | Format::Yaml => ui.value(&projects)?,
                Format::Name => projects.iter().try_for_each(|project| ui.line(&project.name))?,
                Format::Table | Format::Wide if projects.is_empty() => ui.note("There is no project that you see."),
                Format::Table | Format::Wide => {
                    ui.text(&access::projects(&projects, client.project(), Look::of(ui)))?;
                }
            }
        }
        ProjectCommand::Add { name } => {
            let project = client.add_project(&name).await?;
            match ui.format {
                Format::Json | Format::Yaml => ui.value(&project)?,
                Format::Name => ui.line(&project.name)?,
                Format::Table | Format::Wide => {
                    ui.note(format!("There is a project {name}: `robo --project {name} …` works in it."));
                }
            }
        }
    }
    Ok(Exit::Done)
}
