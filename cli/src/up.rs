//! Everything on this machine: a manager and an agent for each machine of a graph, as processes of their own.
//!
//! - `record`: `up.json`, what was started; `process`: processes that outlive us.
//! - `address`: which loopback address each machine has.
//! - `environment`: starts what is missing, under a lock; `stop`: ends it all, gently or at once.
//! - `urls`: where to look; `watch`: tells what happens while it runs, and starts again what died.
//!
//! There is one environment per state folder; it may hold several applications.

mod address;
mod environment;
mod process;
mod record;
mod stop;
mod urls;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use robo_model::graph::{Application, Binding};
use robo_model::name::{DeviceName, NameError};

use crate::commands::manager::{CA_FILE, TOKEN_FILE};
use crate::context::{Context, Contexts};
use crate::error::CliError;
use crate::output::Ui;
use crate::paths::Paths;

pub(crate) use environment::{Children, Environment};
pub(crate) use urls::urls;
pub(crate) use watch::{Watch, until_one_dies};

/// The subcommands that are started, and the flags by which they are known again.
const MANAGER_COMMAND: &str = "manager";
const AGENT_COMMAND: &str = "agent";
const ADDRESS_FLAG: &str = "--address";

/// The context that `robo up` makes.
const CONTEXT: &str = "local";

/// The folder of the environment.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The one in robo's state folder.
    pub(crate) fn new(paths: &Paths) -> Self {
        let folder = paths.state.join("up");
        // Absolute: the processes are known again by it, and the context names it from anywhere.
        Self(std::path::absolute(&folder).unwrap_or(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn record(&self) -> PathBuf {
        self.0.join("up.json")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn ready(&self) -> PathBuf {
        self.0.join("ready")
    }

    fn manager(&self) -> PathBuf {
        self.0.join("manager")
    }

    fn agents(&self) -> PathBuf {
        self.0.join("agents")
    }

    fn agent(&self, device: &DeviceName) -> PathBuf {
        self.agents().join(device.as_str())
    }

    fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The manager's certificate authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.manager().join(CA_FILE)
    }

    /// The administrator's token.
    fn token(&self) -> PathBuf {
        self.manager().join(TOKEN_FILE)
    }
}

/// The devices that the host instances of `application` go to, each once.
///
/// # Errors
/// When an instance's path makes no device name.
pub(crate) fn hosts(application: &Application) -> Result<BTreeSet<DeviceName>, NameError> {
    let hosts = application.instances.values().filter(|i| application.is_host(i));
    hosts
        .filter_map(|host| match &host.binding {
            Some(Binding::Device(name)) => Some(Ok(name.clone())),
            // Which devices match, or how a machine is made, is the manager's business.
            Some(Binding::Devices { .. } | Binding::Target(_)) => None,
            None => Some(DeviceName::for_host(&host.path)),
        })
        .collect()
}

/// Makes the context `local` and uses it, unless another one is used now.
///
/// # Errors
/// When the contexts cannot be read or written.
pub(crate) fn use_context(paths: &Paths, context: Context, ui: &Ui) -> Result<(), CliError> {
    let mut contexts = Contexts::load(paths)?;
    if contexts.contexts.get(CONTEXT).is_some_and(|there| !is_ours(there)) {
        ui.note(format!("The context `{CONTEXT}` is another manager's and stays as it is."));
        return Ok(());
    }
    if contexts.contexts.get(CONTEXT) == Some(&context) && contexts.current.as_deref() == Some(CONTEXT) {
        return Ok(());
    }
    let current = contexts.current.take().filter(|name| name != CONTEXT);
    contexts.put(CONTEXT, context);
    if let Some(name) = current {
        ui.note(format!(
            "The context `{name}` stays in use; for this one: `robo context use {CONTEXT}`, or `--context {CONTEXT}` in each command."
        ));
        contexts.current = Some(name);
    }
    contexts.save(paths)
}

/// Removes the context `local`, if it is the environment's.
///
/// # Errors
/// When the contexts cannot be read or written.
pub(crate) fn forget_context(paths: &Paths) -> Result<(), CliError> {
    let mut contexts = Contexts::load(paths)?;
    if contexts.contexts.get(CONTEXT).is_some_and(is_ours) && contexts.remove(CONTEXT) {
        contexts.save(paths)?;
    }
    Ok(())
}

/// True for a context that some `robo up` made.
fn is_ours(context: &Context) -> bool {
    let end = Path::new("up/manager").join(TOKEN_FILE);
    context.token_file.as_ref().is_some_and(|path| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;

    fn context(port: u16, file: &str) -> Context {
        Context {
            url: format!("https://127.0.0.1:{port}"),
            ca: "PEM".into(),
            token_file: Some(file.into()),
            token: None,
            login: None,
            project: None,
        }
    }

    #[test]
    fn the_context_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { config: folder.path().join("c"), state: folder.path().join("s") };
        let ui = Ui::from_environment(Format::Table);
        let ours = format!("/s/up/manager/{}", TOKEN_FILE);
        let current = || Contexts::load(&paths).unwrap().current;
        let url = || Contexts::load(&paths).unwrap().contexts.get(CONTEXT).map(|c| c.url.clone());

        use_context(&paths, context(1, &ours), &ui).unwrap();
        assert_eq!(current().as_deref(), Some(CONTEXT));
        use_context(&paths, context(2, &ours), &ui).unwrap();
        assert_eq!(url().as_deref(), Some("https://127.0.0.1:2"));

        let mut contexts = Contexts::load(&paths).unwrap();
        contexts.put("lab", context(3, "/lab/token"));
        contexts.save(&paths).unwrap();
        use_context(&paths, context(4, &ours), &ui).unwrap();
        assert_eq!((current().as_deref(), url().as_deref()), (Some("lab"), Some("https://127.0.0.1:4")));

        forget_context(&paths).unwrap();
        assert_eq!((current().as_deref(), url()), (Some("lab"), None));

        contexts.put(CONTEXT, context(5, "/my/token"));
        contexts.save(&paths).unwrap();
        use_context(&paths, context(6, &ours), &ui).unwrap();
        forget_context(&paths).unwrap();
        assert_eq!(url().as_deref(), Some("https://127.0.0.1:5"));
    }
}
