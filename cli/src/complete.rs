//! Names that exist right now, for the shell's completion: instances, devices, applications, revisions, contexts.
//!
//! Whoever presses the tab key waits for nothing: one connection, one short time, and silence when there is no manager.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use robo_model::name::{ApplicationName, ProjectName};
use robo_wire::api::Status;

use crate::cli::Cli;
use crate::client::Client;
use crate::context::Contexts;
use crate::error::CliError;
use crate::output::when;
use crate::paths::Paths;

/// How long a manager may take: more than any that is near needs, less than a person notices as a hang.
const PATIENCE: Duration = Duration::from_millis(700);

/// Most names that are offered: nobody reads more, and shells get slow.
const MAX_NAMES: usize = 2_000;

/// Answers the shell's question, when this process was started to do so; false when it was not.
///
/// # Errors
/// When the shell is unknown or reads no answer.
pub(crate) fn answer() -> Result<bool, CliError> {
    CompleteEnv::with_factory(Cli::command)
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
        .map_err(|error| CliError::new(error.to_string()))
}

/// Applications.
pub(crate) fn applications() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.applications().await.ok()?;
            let told = |view: &robo_wire::api::ApplicationView| format!("revision {}", view.revision);
            Some(all.iter().filter_map(|view| offer(view.name.as_str(), &told(view), current)).collect())
        })
    })
}

/// Applications and instances.
pub(crate) fn targets() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        ask(current, async |client, current| Some(of_status(&client.status(None).await.ok()?, &typed(), current)))
    })
}

/// Applications and their revisions.
pub(crate) fn revisions() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.applications().await.ok()?;
            let typed = typed();
            let named = all.iter().find(|view| typed.iter().any(|word| word == view.name.as_str()));
            let application = named.or(if all.len() == 1 { all.first() } else { None });
            let mut names = Vec::new();
            if named.is_none() {
                names.extend(all.iter().filter_map(|view| offer(view.name.as_str(), "", current)));
            }
            if let Some(view) = application {
                for revision in client.revisions(&view.name).await.ok()? {
                    let note = revision.note.unwrap_or_default();
                    let told = format!("{} ago {note}", when::ago(revision.applied_at, when::now()));
                    names.extend(offer(&revision.number.to_string(), told.trim(), current));
                }
            }
            Some(names)
        })
    })
}

/// Devices.
pub(crate) fn devices() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.devices().await.ok()?;
            let told = |online| if online { "online" } else { "offline" };
            Some(all.iter().filter_map(|view| offer(view.name.as_str(), told(view.online), current)).collect())
        })
    })
}

/// Shell sessions: those that go on, or all.
pub(crate) fn sessions(ended_too: bool) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.sessions().await.ok()?;
            let told = |view: &robo_wire::shell::SessionView| format!("{} on {}", view.by, view.device);
            let wanted = all.iter().filter(|view| ended_too || view.ended_at.is_none());
            Some(wanted.filter_map(|view| offer(view.id.as_str(), &told(view), current)).collect())
        })
    })
}

/// Jobs: those that go on, or all.
pub(crate) fn jobs(ended_too: bool) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.jobs(&crate::client::JobQuery::default()).await.ok()?;
            let wanted = all.iter().filter(|view| ended_too || view.ended_at.is_none());
            let told = |view: &robo_wire::job::JobView| crate::output::jobs::command(view, false);
            Some(wanted.filter_map(|view| offer(view.id.as_str(), &told(view), current)).collect())
        })
    })
}

/// Files of devices that the manager keeps.
pub(crate) fn files() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        ask(current, async |client, current| {
            let all = client.uploads(&crate::client::UploadQuery::default()).await.ok()?;
            Some(all.iter().filter_map(|view| offer(view.name.as_str(), view.state.name(), current)).collect())
        })
    })
}

/// Contexts: they are in a file, and need no manager.
pub(crate) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let contexts = Paths::from_environment().and_then(|paths| Contexts::load(&paths));
        let Ok(contexts) = contexts else { return Vec::new() };
        let current = current.to_string_lossy();
        contexts.contexts.iter().filter_map(|(name, context)| offer(name, &context.url, &current)).collect()
    })
}

/// Asks the manager that the command line names; nothing comes of it when that does not work at once.
fn ask(
    current: &OsStr,
    question: impl AsyncFn(Client, &str) -> Option<Vec<CompletionCandidate>>,
) -> Vec<CompletionCandidate> {
    let Some(client) = client() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let current = current.to_string_lossy();
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, question(client, &current)).await });
    let mut names = answer.ok().flatten().unwrap_or_default();
    names.truncate(MAX_NAMES);
    // An answer that never came is not waited for.
    runtime.shutdown_background();
    names
}

fn client() -> Option<Client> {
    let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
    let told = |flag: &str, variable: &str| {
        option(&words, flag).or_else(|| std::env::var_os(variable).and_then(|value| value.into_string().ok()))
    };
    let contexts = Contexts::load(&Paths::from_environment().ok()?).ok()?;
    let (name, context) = contexts.select(told("--context", "ROBO_CONTEXT").as_deref()).ok()?;
    let project = told("--project", "ROBO_PROJECT").and_then(|name| ProjectName::new(name).ok());
    let project = project.or_else(|| context.project.clone()).unwrap_or_else(ProjectName::default_project);
    Client::new(name, context, project).ok().map(Client::impatient)
}

/// The value of `--flag VALUE` or `--flag=VALUE`.
fn option(words: &[String], flag: &str) -> Option<String> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(flag)? {
        "" => words.get(at + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

/// The words of the command line that is completed: they stand after `--` in ours.
fn typed() -> Vec<String> {
    let mut words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    words.by_ref().filter_map(|word: OsString| word.into_string().ok()).collect()
}

/// Applications; behind a name with a slash its instances; paths alone where they are unambiguous.
fn of_status(status: &Status, typed: &[String], current: &str) -> Vec<CompletionCandidate> {
    let is_typed = |name: &ApplicationName| typed.iter().any(|word| word == name.as_str() && word != current);
    let named: Option<&ApplicationName> = status.applications.iter().map(|view| &view.name).find(|name| is_typed(name));
    let only = named.or(match status.applications.as_slice() {
        [one] => Some(&one.name),
        _ => None,
    });
    let mut names = Vec::new();
    if named.is_none() {
        names.extend(status.applications.iter().filter_map(|view| offer(view.name.as_str(), "", current)));
    }
    for view in &status.instances {
        let state = view.state.as_str();
        if only.is_none_or(|name| *name == view.application) {
            names.extend(offer(view.path.as_str(), state, current));
        }
        // Before a slash is typed, the name of the application is enough.
        if current.contains('/') && named.is_none() {
            names.extend(offer(&format!("{}{}", view.application, view.path), state, current));
        }
    }
    names
}

fn offer(name: &str, told: &str, current: &str) -> Option<CompletionCandidate> {
    let candidate = name.starts_with(current).then(|| CompletionCandidate::new(name))?;
    Some(candidate.help((!told.is_empty()).then(|| told.to_owned().into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::shop;

    #[test]
    fn names_are_offered_as_far_as_they_are_typed() {
        let check = |typed: &[&str], current: &str, expect: &[&str]| {
            let typed: Vec<String> = typed.iter().map(|word| (*word).to_owned()).collect();
            let found = of_status(&shop(), &typed, current);
            let found: Vec<_> = found.iter().map(|c| c.get_value().to_string_lossy().into_owned()).collect();
            assert_eq!(found, expect, "{typed:?} {current}");
        };
        check(&["robo", "status", "s"], "s", &["shop"]);
        check(&["robo", "status", "/web"], "/web", &["/web-1", "/web-1/web"]);
        check(&["robo", "status", "shop/web"], "shop/web", &["shop/web-1", "shop/web-1/web"]);
        check(&["robo", "status", "shop", "/d"], "/d", &["/database", "/database/db"]);
        check(&["robo", "status", "x"], "x", &[]);
    }

    #[test]
    fn the_manager_is_the_one_of_the_command_line() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(option(&words(text), "--context").as_deref(), expect, "{text}");
        };
        check("robo --context lab status", Some("lab"));
        check("robo status --context=lab", Some("lab"));
        check("robo status --contexts lab", None);
        check("robo status --context", None);
    }
}
