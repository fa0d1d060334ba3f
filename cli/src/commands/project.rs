//! `robo project`: namespaces for applications, devices and roles.

use std::str::FromStr;

use robo_model::name::ProjectName;
use robo_wire::api::{ProjectRequest, ProjectView, QuotaRequest};

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Lists the projects, makes one, or says how many devices one may have.
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
        /// How many devices it may have; any number where nothing is said.
        #[arg(long, value_name = "NUMBER")]
        max_devices: Option<u32>,
    },
    /// Says how many devices a project may have.
    ///
    /// Beyond that none enrols or is moved there. Those that are there stay, also where they are more.
    Set {
        /// Its name.
        name: ProjectName,
        /// So many, or `none` for any number.
        #[arg(long, value_name = "NUMBER")]
        max_devices: Bound,
    },
}

/// How many devices a project may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound(Option<u32>);

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|max| Self(Some(max))).map_err(|_| "write a number, or none".to_owned())
    }
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
        ProjectCommand::Set { name, max_devices } => {
            let project = client.set_quota(&name, &QuotaRequest { max_devices: max_devices.0 }).await?;
            match ui.format {
                Format::Json | Format::Yaml => ui.value(&project)?,
                Format::Name => ui.line(&project.name)?,
                Format::Table | Format::Wide => ui.note(bounded(&project)),
            }
        }
        ProjectCommand::Add { name, max_devices } => {
            let project = client.add_project(&ProjectRequest { name: name.clone(), max_devices }).await?;
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

/// What a bound means for a project as it is.
fn bounded(project: &ProjectView) -> String {
    let (name, has) = (&project.name, project.devices.unwrap_or_default());
    match project.max_devices {
        None => format!("Project {name} may have any number of devices; it has {has}."),
        Some(max) if has > max => {
            format!("Project {name} may have {max} devices; it has {has}, which stay, and no other one comes.")
        }
        Some(max) => format!("Project {name} may have {max} devices; it has {has}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_none() {
        for (text, expect) in [("7", Some(Bound(Some(7)))), ("0", Some(Bound(Some(0)))), ("none", Some(Bound(None)))] {
            assert_eq!(text.parse().ok(), expect);
        }
        for bad in ["", "-1", "many", "4294967296", "None"] {
            assert!(bad.parse::<Bound>().is_err(), "{bad}");
        }
    }
}
