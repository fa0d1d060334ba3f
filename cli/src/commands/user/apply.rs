//! `robo user apply`: users, groups and roles as a file says.

use std::path::{Path, PathBuf};

use robo_wire::api::{AccessAction, AccessChange, AccessFile, AccessRequest};

use super::super::apply::agreed;
use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};

/// Largest file that is read, in bytes: thousands of users fit.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Makes users, groups and roles as a YAML file says: shows what changes, asks, and does all of it or nothing.
///
/// What is there and not in the file stays, but for members of the groups that it names. With `--prune` it goes: roles,
/// groups and users; never the user `admin`, nothing that a login gave, and never your own right to do this.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example of a file:
  users:
  - {name: ann}
  - {name: pipeline, kind: machine}
  groups:
  - {name: operators, members: [ann, pipeline]}
  bindings:
  - {group: operators, role: operator, project: default, labels: site=tokyo}
  - {user: ann, role: viewer, all_projects: true}")]
pub(super) struct ApplyArgs {
    /// The file.
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Remove what the file does not name.
    #[arg(long)]
    prune: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn apply(args: &ApplyArgs, env: &Env) -> Result<Exit, CliError> {
    let file = read(&args.file)?;
    let (ui, client) = (&env.ui, env.client()?);
    let mut request = AccessRequest { file, prune: args.prune, dry_run: true };
    let planned = client.apply_access(&request).await?;
    if planned.is_empty() || args.dry_run {
        show(&planned, env)?;
        return Ok(Exit::Done);
    }
    planned.iter().for_each(|change| ui.note(line(change)));
    if !agreed(args.yes, "Make these changes?", ui)? {
        ui.note("Nothing was changed.");
        return Ok(Exit::Error);
    }
    request.dry_run = false;
    let done = client.apply_access(&request).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&done)?,
        Format::Name => {}
        Format::Table | Format::Wide => ui.note("Done."),
    }
    Ok(Exit::Done)
}

fn show(changes: &[AccessChange], env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(changes),
        Format::Name | Format::Table | Format::Wide if changes.is_empty() => {
            ui.note("All is as the file says.");
            Ok(())
        }
        Format::Name | Format::Table | Format::Wide => changes.iter().try_for_each(|change| ui.line(line(change))),
    }
}

fn line(change: &AccessChange) -> String {
    let sign = match change.action {
        AccessAction::Add => "+",
        AccessAction::Remove => "-",
    };
    format!("{sign} {}", change.what)
}

fn read(path: &Path) -> Result<AccessFile, CliError> {
    let unread = |why: String| CliError::new(format!("cannot read {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(unread(format!("it has {length} bytes, at most {MAX_FILE} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
    serde_yaml::from_str(&text).map_err(|error| {
        CliError::new(format!("{} is no file of users: {error}", path.display()))
            .help("`robo user apply --help` shows one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_a_wrong_one_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let check = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let file = check("users:\n- {name: ann}\ngroups:\n- {name: ops, members: [ann]}\n").unwrap();
        assert_eq!((file.users.len(), file.groups[0].members.len(), file.bindings.len()), (1, 1, 0));
        for (text, expect) in [
            ("users:\n- {nam: ann}\n", "nam"),
            ("users:\n- {name: 'a b'}\n", "line 2"),
            ("bindings:\n- {user: ann, role: king, project: x}\n", "king"),
            ("people: []\n", "people"),
            ("- a\n", "users.yaml"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.what().contains(expect), "{text}: {}", error.what());
        }
        assert!(read(&folder.path().join("none")).unwrap_err().what().contains("cannot read"));
    }
}
